//! Annotated pictures: on request only, once for each frame and model, and nothing else is touched by a request.

use jpeg_encoder::{ColorType, Encoder};
use proto::{envelope::SealedFrame, key, manifest::example};
use serde_json::json;
use store::{FrameReader as _, FrameWriter as _, Pack, Put, ResultReader as _, faulty::Plan};

use crate::{World, created, s3, sealed_as};

/// A grey picture of the example's size.
fn picture() -> Vec<u8> {
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, 85).encode(&vec![90; 640 * 360 * 3], 640, 360, ColorType::Rgb).unwrap();
    jpeg
}

fn frame(slot: u64) -> (SealedFrame, String) {
    let mut manifest = example();
    manifest.frame.slot = slot;
    (sealed_as(&manifest, &picture()), key::frame_key(&manifest))
}

fn annotated(world: &World) -> Vec<String> {
    world.results.keys().into_iter().filter(|key| key.starts_with(key::ANNOTATED)).collect()
}

#[tokio::test]
async fn a_frame_has_no_annotated_picture_until_somebody_asks_and_then_one() {
    let world = World::new();
    let (frame, key) = frame(3);
    assert_eq!(world.frames.put_frame(&frame).await.unwrap(), Put::Created);
    assert_eq!(world.outcomes(s3(vec![created(&key)])).await, ["written"]);
    assert_eq!(annotated(&world), Vec::<String>::new());
    let before = world.results.keys();
    let ask = json!({ "annotate": [{ "key": key }] });
    for already in [false, true] {
        let answer = world.handler.handle(&ask).await.unwrap();
        assert_eq!(answer["annotated"][0]["already_there"], already, "{answer}");
        assert_eq!(answer["annotated"][0]["key"], key);
    }
    let [place] = annotated(&world).try_into().unwrap();
    assert_eq!(world.results.keys().len(), before.len() + 1, "no result was added or changed");
    let result = world.results.result(&before[0]).await.unwrap();
    assert_eq!(store::annotated_key(&result).unwrap(), place);
    let drawn = world.results.annotated(&result).await.unwrap();
    assert_ne!(drawn, frame.jpeg());
    let mut decoder = jpeg_decoder::Decoder::new(drawn.as_slice());
    let pixels = decoder.decode().unwrap();
    // Without a mask, as the twin sees cells that get brighter downwards: red.
    let rect = result.faces[0].rect;
    let at = ((rect.y + 1) * 640 + rect.x + rect.w / 2) as usize * 3;
    assert!(pixels[at] > 150 && pixels[at + 1] < 110, "{:?}", &pixels[at..at + 3]);
}

#[tokio::test]
async fn a_frame_in_a_pack_is_drawn_from_its_place() {
    let world = World::new();
    let frames = [frame(1).0, frame(2).0];
    let pack = Pack::of(&frames).unwrap();
    assert_eq!(world.frames.put_pack(&pack).await.unwrap(), Put::Created);
    let (key, within) = (frame(2).1, pack.places()[1]);
    assert!(world.frames.frame_within(&key, within).await.is_ok());
    let ask = json!({ "annotate": [{ "key": key, "within": within }] });
    world.handler.handle(&ask).await.unwrap();
    assert_eq!(annotated(&world).len(), 1);
}

#[tokio::test]
async fn what_cannot_be_drawn_is_an_error_and_sets_nothing_aside() {
    let world = World::new();
    let (_, missing) = frame(1);
    // Sealed, and no picture that anybody could decode.
    let broken = world.put(7).await;
    let many = vec![json!({ "key": missing }); proto::limits::SLOTS_MAX + 1];
    for (wrong, part) in [
        (json!([{ "key": missing }]), "frames/v1/"),
        (json!([{ "key": broken }]), "no annotated picture"),
        (json!([{ "key": "results/v1/x.json" }]), "results/v1/x.json"),
        (json!(many), "too many"),
        (json!([{ "key": missing, "colour": "red" }]), "colour"),
        (json!(true), "expected form"),
    ] {
        let error = world.handler.handle(&json!({ "annotate": wrong })).await.unwrap_err();
        assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
    }
    world.flaky_frames.set_plan(Plan::Away);
    let ask = json!({ "annotate": [{ "key": broken }] });
    assert!(world.handler.handle(&ask).await.is_err());
    assert!(world.results.keys().is_empty(), "{:?}", world.results.keys());
}
