//! The published schema of results: what the types say, what real results are, and what is none.

use serde_json::{Value, json};

/// What the function really wrote: `mask-lambda` holds it byte for byte.
const FRAME: &str = include_str!("../../../cloud-bridge/lambda/tests/golden/frame-v1.json");
const CLIP: &str = include_str!("../../../cloud-bridge/lambda/tests/golden/clip-v1.json");

fn schema() -> Value {
    serde_json::from_str(include_str!("../result-v1.json")).unwrap()
}

#[test]
fn the_published_schema_is_what_the_types_say() {
    let generated = serde_json::to_value(proto::result::schema()).unwrap();
    assert_eq!(schema(), generated, "a change of the contract: cargo run > result-v1.json");
}

#[test]
fn real_results_are_what_the_schema_says_and_nothing_else_is() {
    let published = jsonschema::validator_for(&schema()).unwrap();
    let (frame, clip): (Value, Value) =
        (serde_json::from_str(FRAME).unwrap(), serde_json::from_str(CLIP).unwrap());
    for real in [&frame, &clip] {
        let wrong: Vec<String> = published.iter_errors(real).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
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
        assert!(!published.is_valid(&wrong), "{wrong}");
    }
}
