//! Frames whose faces the fog classified before it covered them whole.

use models::ShadeClassifier;
use proto::{
    key,
    manifest::{example, example_classified},
    result::Placement,
};
use store::{FrameWriter as _, Pack, Put, ResultReader as _};

use crate::{World, created, root, s3, sealed};

/// A network that always fails: it is not asked.
fn world() -> World {
    World::with(root().public(), Box::new(ShadeClassifier::failing(8, 2)))
}

#[tokio::test]
async fn what_the_fog_said_becomes_a_result_of_its_model_without_the_network() {
    let world = world();
    let manifest = example_classified();
    assert_eq!(world.frames.put_frame(&sealed(&manifest)).await.unwrap(), Put::Created);
    let key = key::frame_key(&manifest);
    assert_eq!(world.outcomes(s3(vec![created(&key)])).await, ["written"]);
    let classifier = manifest.classifier.clone().unwrap();
    let place = key::result_key(&manifest, &classifier.digest);
    let result = world.results.result(&place).await.unwrap();
    assert_eq!((result.classified_on, &result.model), (Placement::Fog, &classifier));
    assert_eq!((result.faces.len(), result.mask), (1, 1));
    // A frame whose cells are to be classified here is tried again: the network fails.
    let mut cells = example();
    cells.frame.slot += 1;
    assert_eq!(world.frames.put_frame(&sealed(&cells)).await.unwrap(), Put::Created);
    assert!(world.handler.handle(&s3(vec![created(&key::frame_key(&cells))])).await.is_err());
}

#[tokio::test]
async fn a_pack_of_such_frames_has_one_result_of_that_model() {
    let world = world();
    let frames = [1, 2, 3].map(|slot| {
        let mut manifest = example_classified();
        manifest.frame.slot = slot;
        sealed(&manifest)
    });
    let pack = Pack::of(&frames).unwrap();
    assert_eq!(world.frames.put_pack(&pack).await.unwrap(), Put::Created);
    assert_eq!(world.outcomes(s3(vec![created(pack.key())])).await, ["written"]);
    let [place] = world.results.keys().try_into().unwrap();
    let clip = world.results.clip_result(&place).await.unwrap();
    assert_eq!(Some(clip.model), example_classified().classifier);
    assert!(clip.frames.iter().all(|frame| frame.classified_on == Placement::Fog));
}
