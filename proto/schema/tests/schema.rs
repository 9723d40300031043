//! The published schema of results: what the types say, what real results are, and what is none.

use serde_json::{Value, json};

/// What the function really wrote, with its timings and without: `mask-lambda` holds them byte for byte.
const FRAME: &str = include_str!("../../../cloud-bridge/lambda/tests/golden/frame-v1.json");
const CLIP: &str = include_str!("../../../cloud-bridge/lambda/tests/golden/clip-v1.json");
const FRAME_TIMED: &str =
    include_str!("../../../cloud-bridge/lambda/tests/golden/frame-v1-timed.json");
const CLIP_TIMED: &str =
    include_str!("../../../cloud-bridge/lambda/tests/golden/clip-v1-timed.json");

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
    let timed = [FRAME_TIMED, CLIP_TIMED].map(|text| serde_json::from_str::<Value>(text).unwrap());
    for real in [&frame, &clip, &timed[0], &timed[1]] {
        let wrong: Vec<String> = published.iter_errors(real).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
    let spoiled = |at: &str, value: Value| {
        let mut spoiled = frame.clone();
        *spoiled.pointer_mut(at).unwrap() = value;
        spoiled
    };
    let mut compared = timed[0].clone();
    assert!(compared.as_object_mut().unwrap().remove("timings").is_some());
    assert_eq!(compared, frame, "without its timings it is what is compared");
    let mut more = frame.clone();
    more["seconds"] = json!(1);
    let mut late = timed[0].clone();
    late["timings"]["read_us"] = json!(-1);
    let mut less = frame.clone();
    less.as_object_mut().unwrap().remove("model");
    for wrong in [
        more,
        late,
        less,
        spoiled("/faces/0/mask", json!(1.5)),
        spoiled("/faces/0/label", json!("perhaps")),
        spoiled("/classified_on", json!("moon")),
        json!([]),
    ] {
        assert!(!published.is_valid(&wrong), "{wrong}");
    }
}
