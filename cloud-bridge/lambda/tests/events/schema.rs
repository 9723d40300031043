//! The published JSON Schema of results: what the types say, and what real results are.

use serde_json::{Value, json};
use store::ResultReader;

use crate::{World, created, s3};

/// The published schema of results.
fn schema() -> Value {
    serde_json::from_str(include_str!("../../../../proto/schema/result-v1.json")).unwrap()
}

#[test]
fn the_published_schema_is_what_the_types_say() {
    let how =
        "cargo run --release -p mask-lambda --example result_schema > proto/schema/result-v1.json";
    let generated = serde_json::to_value(proto::result::schema()).unwrap();
    assert_eq!(schema(), generated, "a change of the schema is a change of the contract: {how}");
}

#[tokio::test]
async fn results_of_frames_and_packs_are_what_the_published_schema_says_and_nothing_else_is() {
    let world = World::new();
    let (key, pack) = (world.put(9).await, world.put_pack(1..4).await);
    assert_eq!(world.outcomes(s3(vec![created(&key), created(&pack)])).await, ["written"; 2]);
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("result.json", schema()).unwrap();
    let published = compiler.compile("result.json", &mut schemas).unwrap();
    let keys = world.results.keys();
    let [clip, frame] = keys.as_slice() else { panic!("{keys:?}") };
    let clip = serde_json::to_value(world.results.clip_result(clip).await.unwrap()).unwrap();
    let frame = serde_json::to_value(world.results.result(frame).await.unwrap()).unwrap();
    for real in [&clip, &frame] {
        let valid = schemas.validate(real, published).map_err(|error| error.to_string());
        assert_eq!(valid, Ok(()), "{real}");
    }
    let spoiled = |at: &str, value: Value| {
        let mut spoiled = frame.clone();
        *spoiled.pointer_mut(at).unwrap() = value;
        spoiled
    };
    let mut more = frame.clone();
    more["seconds"] = json!(1);
    let mut less = frame.clone();
    less.as_object_mut().unwrap().remove("model");
    for wrong in [
        more,
        less,
        spoiled("/faces/0/mask", json!(1.5)),
        spoiled("/faces/0/label", json!("perhaps")),
        spoiled("/classified_on", json!("moon")),
        json!([]),
    ] {
        assert!(schemas.validate(&wrong, published).is_err(), "{wrong}");
    }
}
