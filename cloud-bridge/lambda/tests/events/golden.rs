//! Results byte for byte: what a replay gives on any day, and what `proto/schema` holds against the published schema.

use std::{path::Path, time::Duration};

use proto::result::{ClipResult, FrameResult};

use crate::timings::results_with_steps_of;

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read_to_string(&path).unwrap_or_default().trim().to_owned()
}

/// `frame-v1` and `clip-v1` are what is compared, and what functions wrote that did not tell their times yet.
#[tokio::test]
async fn results_of_a_frame_and_of_a_pack_keep_their_golden_bytes() {
    let (frame, clip) = results_with_steps_of(Duration::from_micros(30)).await;
    for (name, real) in [
        ("frame-v1.json", serde_json::to_string(&frame.compared()).unwrap()),
        ("clip-v1.json", serde_json::to_string(&clip.compared()).unwrap()),
        ("frame-v1-timed.json", serde_json::to_string(&frame).unwrap()),
        ("clip-v1-timed.json", serde_json::to_string(&clip).unwrap()),
    ] {
        assert_eq!(golden(name), real, "{name}: every result there is would be another one");
    }
}

#[test]
fn results_of_functions_that_did_not_tell_their_times_are_read_as_they_are() {
    let (frame, clip) = (golden("frame-v1.json"), golden("clip-v1.json"));
    let read: FrameResult = serde_json::from_str(&frame).unwrap();
    assert_eq!((read.timings, serde_json::to_string(&read).unwrap()), (None, frame));
    let read: ClipResult = serde_json::from_str(&clip).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), clip);
}
