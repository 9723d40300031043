//! Results byte for byte: what a replay gives on any day, and what `proto/schema` holds against the published schema.

use std::path::Path;

use store::ResultReader;

use crate::{World, created, s3};

#[tokio::test]
async fn results_of_a_frame_and_of_a_pack_keep_their_golden_bytes() {
    let world = World::new();
    let (key, pack) = (world.put(9).await, world.put_pack(1..4).await);
    assert_eq!(world.outcomes(s3(vec![created(&key), created(&pack)])).await, ["written"; 2]);
    let keys = world.results.keys();
    let [frame, clip] = keys.as_slice() else { panic!("{keys:?}") };
    let frame = serde_json::to_string(&world.results.result(frame).await.unwrap()).unwrap();
    let clip = serde_json::to_string(&world.results.clip_result(clip).await.unwrap()).unwrap();
    for (name, real) in [("frame-v1.json", frame), ("clip-v1.json", clip)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(golden.trim(), real, "{name}: every result there is would be another one");
    }
}
