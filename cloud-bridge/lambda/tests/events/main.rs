//! Every shape in which news of frames arrives, over the stores in memory and their faulty twins.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod annotated;
mod classified;
mod golden;
mod packs;
mod timings;

use std::sync::Arc;

use base::{Clock, ManualClock};
use mask_lambda::{
    Handler,
    handler::{HandleError, count},
};
use models::{MaskClassifier, ShadeClassifier};
use proto::{
    Manifest, UtcTime,
    envelope::{SealGrant, SealedFrame, seal},
    key,
    manifest::example,
    result::Placement,
    signing::{PublicKey, SigningKey},
};
use serde_json::{Value, json};
use store::{
    FrameWriter, Put, ResultReader,
    faulty::{Faulty, Plan},
    memory::{MemoryFrames, MemoryResults},
};

const PICTURE: &[u8] = &[0xFF, 0xD8, 0xFF, 0xDB, 0, 3, 1, 9, 9, 9, 0xFF, 0xD9];

fn root() -> SigningKey {
    SigningKey::from_seed(&[1; 32]).unwrap()
}

fn sealed(manifest: &Manifest) -> SealedFrame {
    sealed_as(manifest, PICTURE)
}

fn sealed_as(manifest: &Manifest, picture: &[u8]) -> SealedFrame {
    let fog = SigningKey::from_seed(&[2; 32]).unwrap();
    let until: UtcTime = "2100-01-01T00:00:00Z".parse().unwrap();
    let policies = vec![manifest.policy.digest];
    let site = manifest.frame.clip.site.clone();
    let grant = SealGrant::issue(&root(), fog.public(), site, UtcTime::EPOCH, until, policies);
    let bytes = seal(manifest, picture, &fog, &grant).unwrap();
    SealedFrame::open(bytes, &root().public()).unwrap()
}

/// The frame of a slot, and its key.
fn frame(slot: u64) -> (SealedFrame, String) {
    let mut manifest = example();
    manifest.frame.slot = slot;
    let key = key::frame_key(&manifest);
    (sealed(&manifest), key)
}

struct World {
    frames: Arc<MemoryFrames>,
    results: Arc<MemoryResults>,
    flaky_frames: Faulty<MemoryFrames>,
    flaky_results: Faulty<MemoryResults>,
    handler: Handler,
}

impl World {
    fn new() -> Self {
        Self::with(root().public(), Box::new(ShadeClassifier::new(8, 2)))
    }

    fn with(root: PublicKey, model: Box<dyn MaskClassifier>) -> Self {
        Self::timed(root, model, Arc::new(ManualClock::default()))
    }

    fn timed(root: PublicKey, model: Box<dyn MaskClassifier>, clock: Arc<dyn Clock>) -> Self {
        let (frames, results) =
            (Arc::new(MemoryFrames::new(root)), Arc::<MemoryResults>::default());
        let flaky_frames = Faulty::new(Arc::clone(&frames), Plan::Sound);
        let flaky_results = Faulty::new(Arc::clone(&results), Plan::Sound);
        let handler = Handler::new(
            Arc::new(flaky_frames.clone()),
            Arc::new(flaky_results.clone()),
            "frames".to_owned(),
            model,
            Placement::Lambda,
            clock,
        );
        Self { frames, results, flaky_frames, flaky_results, handler }
    }

    async fn put(&self, slot: u64) -> String {
        let (frame, key) = frame(slot);
        assert_eq!(self.frames.put_frame(&frame).await.unwrap(), Put::Created);
        key
    }

    /// The outcomes of an event of S3, in order.
    async fn outcomes(&self, event: Value) -> Vec<String> {
        let answer = self.handler.handle(&event).await.unwrap();
        let told = answer["frames"].as_array().unwrap().iter();
        told.map(|frame| frame["outcome"].as_str().unwrap().to_owned()).collect()
    }

    fn letters(&self) -> Vec<String> {
        let keys = self.results.keys();
        keys.into_iter().filter(|key| key.starts_with(key::DEAD_LETTERS)).collect()
    }
}

/// A record as Amazon S3 words it, structure 2.1.
fn record(name: &str, key: &str, more: &[(&str, Value)]) -> Value {
    let mut object = json!({ "key": key, "size": 1024,
        "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "0055AED6DCD90281E5" });
    for (field, value) in more {
        object[*field] = value.clone();
    }
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-south-2",
        "eventTime": "2026-11-24T12:01:11.123Z", "eventName": name,
        "userIdentity": { "principalId": "AWS:AIDAEXAMPLE" },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "responseElements": { "x-amz-request-id": "C3D13FE58DE4C810",
            "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD" },
        "s3": { "s3SchemaVersion": "1.0", "configurationId": "frames",
            "bucket": { "name": "frames", "ownerIdentity": { "principalId": "A3NL1KOZZKExample" },
                "arn": "arn:aws:s3:::frames" },
            "object": object },
    })
}

fn created(key: &str) -> Value {
    record("ObjectCreated:Put", key, &[])
}

fn s3(records: Vec<Value>) -> Value {
    json!({ "Records": records })
}

fn message(id: &str, body: &str, received: u32) -> Value {
    json!({
        "messageId": id, "receiptHandle": "handle", "body": body,
        "attributes": { "ApproximateReceiveCount": received.to_string(),
            "SentTimestamp": "1523232000000", "SenderId": "123456789012",
            "ApproximateFirstReceiveTimestamp": "1523232000001" },
        "messageAttributes": {}, "md5OfBody": "7b270e59b47ff90a553787216d55d91d",
        "eventSource": "aws:sqs", "awsRegion": "eu-south-2",
        "eventSourceARN": "arn:aws:sqs:eu-south-2:123456789012:frames",
    })
}

#[tokio::test]
async fn one_event_with_several_records_gives_a_result_for_each() {
    let world = World::new();
    let mut keys = Vec::new();
    for slot in 0..3 {
        keys.push(world.put(slot).await);
    }
    let event = s3(keys.iter().map(|key| created(key)).collect());
    assert_eq!(world.outcomes(event).await, ["written"; 3]);
    for key in keys {
        let page = world.results.results(&key::results_prefix(&key).unwrap(), None).await.unwrap();
        let result = world.results.result(&page.keys[0]).await.unwrap();
        assert_eq!((result.image, result.faces.len()), (key, 1));
    }
}

#[tokio::test]
async fn a_url_encoded_key_is_decoded() {
    let world = World::new();
    let key = world.put(1).await;
    let encoded = key.replace('-', "%2D");
    assert_ne!(encoded, key);
    assert_eq!(world.outcomes(s3(vec![created(&encoded)])).await, ["written"]);
    // A key with a space can be no frame's: it is known by its decoded name, and set aside.
    assert_eq!(world.outcomes(s3(vec![created("frames/v1/a+b.txt")])).await, ["set_aside"]);
    assert_eq!(world.letters(), [key::dead_letter_key("frames/v1/a b.txt")]);
}

#[tokio::test]
async fn a_versioned_object_is_classified_once_whatever_its_versions() {
    let world = World::new();
    let key = world.put(1).await;
    let version = |id: &str| record("ObjectCreated:Put", &key, &[("versionId", json!(id))]);
    assert_eq!(world.outcomes(s3(vec![version("096fKKXTRTtl3on89fVO")])).await, ["written"]);
    assert_eq!(world.outcomes(s3(vec![version("1dVpkSrP0gBEXAMPLE")])).await, ["already_there"]);
}

#[tokio::test]
async fn a_duplicate_leaves_the_bytes_of_the_first_result() {
    let world = World::new();
    let key = world.put(1).await;
    assert_eq!(world.outcomes(s3(vec![created(&key), created(&key)])).await, ["written"]);
    let place = world.results.keys()[0].clone();
    let before = serde_json::to_vec(&world.results.result(&place).await.unwrap()).unwrap();
    assert_eq!(world.outcomes(s3(vec![created(&key)])).await, ["already_there"]);
    let after = serde_json::to_vec(&world.results.result(&place).await.unwrap()).unwrap();
    assert_eq!(before, after);
    // And another function that has never seen the frame computes the very same bytes.
    let other = World::new();
    other.put(1).await;
    other.outcomes(s3(vec![created(&key)])).await;
    let same = serde_json::to_vec(&other.results.result(&place).await.unwrap()).unwrap();
    assert_eq!(before, same);
}

#[tokio::test]
async fn events_out_of_order_give_the_same_results() {
    let (a, b) = (World::new(), World::new());
    let mut events = Vec::new();
    for slot in 0..4 {
        a.put(slot).await;
        events.push(s3(vec![created(&b.put(slot).await)]));
    }
    for event in &events {
        a.outcomes(event.clone()).await;
    }
    for event in events.iter().rev() {
        b.outcomes(event.clone()).await;
    }
    assert_eq!(a.results.keys(), b.results.keys());
    for key in a.results.keys() {
        assert_eq!(a.results.result(&key).await.unwrap(), b.results.result(&key).await.unwrap());
    }
}

#[tokio::test]
async fn an_object_that_is_gone_is_no_error_and_no_result() {
    let world = World::new();
    let (_, key) = frame(1);
    assert_eq!(world.outcomes(s3(vec![created(&key)])).await, ["gone"]);
    let removed = record("ObjectRemoved:Delete", &key, &[]);
    assert!(world.outcomes(s3(vec![removed])).await.is_empty());
    assert!(world.results.keys().is_empty());
}

#[tokio::test]
async fn a_folder_marker_and_what_is_not_ours_is_passed_over() {
    let world = World::new();
    let marker = record("ObjectCreated:Put", "frames/v1/town/", &[("size", json!(0))]);
    assert!(world.outcomes(s3(vec![marker])).await.is_empty());
    let mut elsewhere = created("frames/v1/x.jpg");
    elsewhere["s3"]["bucket"]["name"] = json!("other");
    let event = s3(vec![elsewhere, created("logs/x.txt")]);
    assert_eq!(world.outcomes(event).await, ["ignored", "ignored"]);
    assert_eq!(world.flaky_frames.calls(), 0, "nothing of it was read");
    assert!(world.results.keys().is_empty());
}

#[tokio::test]
async fn the_test_event_of_s3_is_answered() {
    let world = World::new();
    let event = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent",
        "Time": "2026-11-24T12:00:00.000Z", "Bucket": "frames",
        "RequestId": "5582815E1AEA5ADF", "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3e" });
    assert!(world.outcomes(event.clone()).await.is_empty());
    let wrapped = s3(vec![message("m-1", &event.to_string(), 1)]);
    let answer = world.handler.handle(&wrapped).await.unwrap();
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
}

#[tokio::test]
async fn messages_of_sqs_fail_one_by_one() {
    let world = World::new();
    let (first, second) = (world.put(1).await, world.put(2).await);
    let body = |key: &str| s3(vec![created(key)]).to_string();
    let event = s3(vec![
        message("m-1", &body(&first), 1),
        message("m-2", &body(&second), 1),
        message("m-3", "not JSON", 1),
    ]);
    world.flaky_frames.set_plan(Plan::AwayOnce(0));
    let answer = world.handler.handle(&event).await.unwrap();
    let failed = json!([{ "itemIdentifier": "m-1" }, { "itemIdentifier": "m-3" }]);
    assert_eq!(answer["batchItemFailures"], failed);
    assert_eq!(world.results.keys().len(), 1, "the second has its result");
    // They come again: the frame is read now, the text is given up the third time.
    let event = s3(vec![message("m-1", &body(&first), 2), message("m-3", "not JSON", 3)]);
    let answer = world.handler.handle(&event).await.unwrap();
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
    assert_eq!(world.results.keys().len(), 3);
    assert_eq!(world.letters(), [key::dead_letter_key("sqs/m-3")]);
}

#[tokio::test]
async fn a_store_that_is_away_fails_the_event_after_everything_else_in_it_was_done() {
    let world = World::new();
    let (first, second) = (world.put(1).await, world.put(2).await);
    let event = s3(vec![created(&first), created(&second)]);
    world.flaky_frames.set_plan(Plan::AwayOnce(0));
    assert!(matches!(world.handler.handle(&event).await, Err(HandleError::Store(_))));
    assert_eq!(world.results.keys().len(), 1);
    assert_eq!(world.outcomes(event.clone()).await, ["written", "already_there"]);
    // An answer that was lost: the result is there, the event comes again, and nothing is written twice.
    let third = s3(vec![created(&world.put(3).await)]);
    world.flaky_results.set_plan(Plan::AnswerLost(0));
    assert!(world.handler.handle(&third).await.is_err());
    assert_eq!(world.outcomes(third).await, ["already_there"]);
    // However often the store is away or refuses, that is never the frame's fault.
    let fourth = s3(vec![created(&world.put(4).await)]);
    for plan in [Plan::Away, Plan::Refusing] {
        world.flaky_frames.set_plan(plan);
        for _ in 0..5 {
            assert!(world.handler.handle(&fourth).await.is_err());
        }
    }
    assert!(world.letters().is_empty());
}

#[tokio::test]
async fn what_nobody_granted_sealed_is_set_aside_at_once_with_the_reason() {
    let other = SigningKey::from_seed(&[9; 32]).unwrap().public();
    let world = World::with(other, Box::new(ShadeClassifier::new(8, 2)));
    let key = world.put(1).await;
    let (moved, place) = (frame(2).0, frame(3).1);
    assert_eq!(world.outcomes(s3(vec![created(&key)])).await, ["set_aside"]);
    let world = World::new();
    world.frames.plant(&place, moved.bytes().to_vec());
    world.frames.plant(&key, b"a picture that nobody redacted".to_vec());
    let mut cut = frame(4).0.bytes().to_vec();
    cut.truncate(200);
    world.frames.plant(&frame(4).1, cut);
    let event = s3(vec![created(&place), created(&key), created(&frame(4).1)]);
    assert_eq!(world.outcomes(event.clone()).await, ["set_aside"; 3]);
    assert_eq!(world.letters().len(), 3);
    assert_eq!(world.results.keys().len(), 3, "there is no result of any of them");
    assert_eq!(world.outcomes(event).await, ["set_aside"; 3], "and again, without another letter");
    assert_eq!(world.letters().len(), 3);
    assert_eq!(world.handler.counters()[count::SET_ASIDE], 3, "each is counted once");
}

#[tokio::test]
async fn a_frame_that_the_network_fails_on_is_set_aside_the_third_time() {
    let world = World::with(root().public(), Box::new(ShadeClassifier::failing(8, 2)));
    let event = s3(vec![created(&world.put(1).await)]);
    for tries in 1..3 {
        match world.handler.handle(&event).await {
            Err(HandleError::Classify { tries: told, .. }) => assert_eq!(told, tries),
            other => panic!("{other:?}"),
        }
        assert!(world.letters().is_empty());
    }
    assert_eq!(world.outcomes(event).await, ["set_aside"]);
    assert_eq!(world.letters().len(), 1);
    // A queue knows the number of tries, also when another process had the others.
    let world = World::with(root().public(), Box::new(ShadeClassifier::failing(8, 2)));
    let body = s3(vec![created(&world.put(1).await)]).to_string();
    let answer = world.handler.handle(&s3(vec![message("m-1", &body, 3)])).await.unwrap();
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
    assert_eq!(world.letters().len(), 1);
    // So does the bridge, which asks for what is overdue.
    let world = World::with(root().public(), Box::new(ShadeClassifier::failing(8, 2)));
    let mut asked = s3(vec![created(&world.put(1).await)]);
    asked["Records"][0]["tries"] = json!(2);
    assert!(matches!(
        world.handler.handle(&asked).await,
        Err(HandleError::Classify { tries: 2, .. })
    ));
    asked["Records"][0]["tries"] = json!(3);
    assert_eq!(world.outcomes(asked).await, ["set_aside"]);
}

#[tokio::test]
async fn a_solid_frame_has_a_result_without_faces() {
    let world = World::new();
    let mut manifest = example();
    manifest.regions.iter_mut().for_each(|region| region.grid = None);
    assert_eq!(world.frames.put_frame(&sealed(&manifest)).await.unwrap(), Put::Created);
    let event = s3(vec![created(&key::frame_key(&manifest))]);
    assert_eq!(world.outcomes(event).await, ["written"]);
    let result = world.results.result(&world.results.keys()[0]).await.unwrap();
    assert_eq!((result.faces.len(), result.share_without_mask), (0, None));
}

#[tokio::test]
async fn the_event_of_an_overdue_frame_needs_no_size_and_no_e_tag() {
    let world = World::new();
    let mut record = created(&world.put(1).await);
    for field in ["size", "eTag", "sequencer"] {
        record["s3"]["object"].as_object_mut().unwrap().remove(field);
    }
    assert_eq!(world.outcomes(s3(vec![record])).await, ["written"]);
}

#[tokio::test]
async fn an_event_of_unknown_form_is_an_error() {
    let world = World::new();
    for wrong in [json!({}), json!({ "detail-type": "Object Created" }), json!(null)] {
        assert!(matches!(world.handler.handle(&wrong).await, Err(HandleError::Event(_))));
    }
}

#[tokio::test]
async fn a_message_of_sqs_with_several_records_comes_again_whole_and_doubles_nothing() {
    let world = World::new();
    let (first, second) = (world.put(1).await, world.put(2).await);
    let body = s3(vec![created(&first), created(&second)]).to_string();
    world.flaky_frames.set_plan(Plan::AwayOnce(1));
    let event = s3(vec![message("m-1", &body, 1)]);
    let answer = world.handler.handle(&event).await.unwrap();
    assert_eq!(answer["batchItemFailures"], json!([{ "itemIdentifier": "m-1" }]));
    assert_eq!(world.results.keys().len(), 1);
    let answer = world.handler.handle(&event).await.unwrap();
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
    assert_eq!(world.results.keys().len(), 2);
}
