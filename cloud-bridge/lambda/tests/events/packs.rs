//! Packs: the frames of a clip as one object with one result.

use mask_lambda::handler::HandleError;
use models::ShadeClassifier;
use proto::{envelope::SealedFrame, key};
use serde_json::json;
use store::{FrameWriter, Pack, Put, ResultReader, faulty::Plan};

use crate::{World, created, frame, root, s3};

impl World {
    /// Puts the frames of these slots as one pack; its key.
    pub(crate) async fn put_pack(&self, slots: std::ops::Range<u64>) -> String {
        let frames: Vec<SealedFrame> = slots.map(|slot| frame(slot).0).collect();
        let pack = Pack::of(&frames).unwrap();
        assert_eq!(self.frames.put_pack(&pack).await.unwrap(), Put::Created);
        pack.key().to_owned()
    }
}

#[tokio::test]
async fn a_pack_has_one_result_with_the_results_that_its_frames_have_alone() {
    let (packed, alone) = (World::new(), World::new());
    let pack = packed.put_pack(1..4).await;
    let event = s3(vec![created(&pack)]);
    let answer = packed.handler.handle(&event).await.unwrap();
    assert_eq!(
        (&answer["frames"][0]["frames"], &answer["frames"][0]["faces"]),
        (&json!(3), &json!(3))
    );
    let keys = packed.results.keys();
    assert_eq!(keys.len(), 1);
    let clip = packed.results.clip_result(&keys[0]).await.unwrap();
    assert_eq!(clip.pack, pack);
    for (slot, result) in (1..4).zip(&clip.frames) {
        let key = alone.put(slot).await;
        assert_eq!(alone.outcomes(s3(vec![created(&key)])).await, ["written"]);
        let place = store::result_key(result).unwrap();
        assert_eq!(alone.results.result(&place).await.unwrap(), *result);
    }
    // A replay finds it there, and another function computes the very same bytes.
    assert_eq!(packed.outcomes(event.clone()).await, ["already_there"]);
    let other = World::new();
    other.put_pack(1..4).await;
    assert_eq!(other.outcomes(event).await, ["written"]);
    let same = other.results.clip_result(&keys[0]).await.unwrap();
    assert_eq!(serde_json::to_vec(&clip).unwrap(), serde_json::to_vec(&same).unwrap());
}

#[tokio::test]
async fn a_pack_that_does_not_verify_or_that_the_network_fails_on_is_set_aside_whole() {
    let world = World::new();
    let pack = world.put_pack(1..3).await;
    let other = Pack::of(&[frame(4).0, frame(4).0]).unwrap();
    world.frames.plant(&pack, other.bytes().to_vec());
    assert_eq!(world.outcomes(s3(vec![created(&pack)])).await, ["set_aside"]);
    assert_eq!(world.letters(), [key::dead_letter_key(&pack)]);
    let letter = world.results.dead_letter(&pack).await.unwrap().unwrap();
    assert!(letter.reason.contains("twice"), "{}", letter.reason);
    let world = World::with(root().public(), Box::new(ShadeClassifier::failing(8, 2)));
    let event = s3(vec![created(&world.put_pack(1..3).await)]);
    for _ in 0..2 {
        assert!(matches!(world.handler.handle(&event).await, Err(HandleError::Classify { .. })));
    }
    assert_eq!(world.outcomes(event).await, ["set_aside"]);
    // A pack that is gone, and a store that is away.
    let world = World::new();
    let gone = Pack::of(&[frame(1).0, frame(2).0]).unwrap().key().to_owned();
    assert_eq!(world.outcomes(s3(vec![created(&gone)])).await, ["gone"]);
    world.flaky_frames.set_plan(Plan::Away);
    assert!(world.handler.handle(&s3(vec![created(&gone)])).await.is_err());
}
