//! What every version of the store does alike: in memory, and over S3 against a server on loopback.

mod packs;
mod site;

use std::{future::Future, pin::Pin, sync::Arc};

use base::{Fault, Faulty as _, Shutdown};
use proto::{
    key,
    result::{DeadLetter, FrameResult},
};
use site::{Site, Stores};

use crate::{
    FrameReader, FrameWriter, PAGE_KEYS_MAX, Put, ResultReader, StoreError,
    faulty::{Faulty, Plan},
    memory::MemoryFrames,
    testing::{FRAMES_BUCKET, Mode, ObjectServer, RESULTS_BUCKET},
};

/// Runs a story on each version of the store.
async fn check(
    story: impl for<'a> Fn(&'a Site, &'a Stores) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
) {
    let site = Site::new();
    story(&site, &site.memory()).await;
    let shutdown = Shutdown::default();
    let server = ObjectServer::start(&shutdown).await.unwrap();
    story(&site, &site.s3(&server).await).await;
    shutdown.request();
}

#[tokio::test]
async fn a_frame_is_created_once_and_reads_back_whole_and_by_its_head() {
    check(|site, stores| {
        Box::pin(async move {
            let frame = site.frame(14, 2);
            let key = key::frame_key(frame.manifest());
            assert_eq!(stores.frame_writer.put_frame(&frame).await.unwrap(), Put::Created);
            assert_eq!(stores.frame_writer.put_frame(&frame).await.unwrap(), Put::AlreadyThere);
            let read = stores.frame_reader.frame(&key).await.unwrap();
            assert_eq!(read.bytes(), frame.bytes());
            let head = stores.frame_reader.head(&key).await.unwrap();
            assert_eq!(head.manifest(), frame.manifest());
        })
    })
    .await;
}

#[tokio::test]
async fn an_annotated_picture_is_created_once_at_the_key_of_its_frame_and_model() {
    check(|site, stores| {
        Box::pin(async move {
            let result = site.result(site.frame(14, 2).manifest());
            let key = crate::annotated_key(&result).unwrap();
            assert!(key.starts_with(key::ANNOTATED) && key.ends_with(".jpg"), "{key}");
            assert!(stores.result_reader.annotated(&result).await.is_err(), "there is none yet");
            let (picture, other) = ([0xFF, 0xD8, 0xFF, 0xDB, 1], [0xFF, 0xD8, 0xFF, 0xDB, 2]);
            let put = async |picture: &[u8]| {
                stores.result_writer.put_annotated(&result, picture).await.unwrap()
            };
            assert_eq!(put(&picture).await, Put::Created);
            assert_eq!(put(&other).await, Put::AlreadyThere);
            assert_eq!(stores.result_reader.annotated(&result).await.unwrap(), picture);
            let page = stores.result_reader.results(key::RESULTS, None).await.unwrap();
            assert!(page.keys.is_empty(), "nobody takes it for a result: {page:?}");
            for wrong in [b"{}".to_vec(), vec![0xFF; proto::limits::ENVELOPE_BYTES_MAX + 1]] {
                let error = stores.result_writer.put_annotated(&result, &wrong).await.unwrap_err();
                assert_eq!(error.fault(), Fault::Corrupt, "{error}");
            }
        })
    })
    .await;
}

#[tokio::test]
async fn the_first_object_at_a_key_stays() {
    check(|site, stores| {
        Box::pin(async move {
            let (first, second) = (site.frame(1, 2), site.frame(1, 3));
            assert_ne!(first.bytes(), second.bytes());
            assert_eq!(stores.frame_writer.put_frame(&first).await.unwrap(), Put::Created);
            assert_eq!(stores.frame_writer.put_frame(&second).await.unwrap(), Put::AlreadyThere);
            let key = key::frame_key(first.manifest());
            assert_eq!(stores.frame_reader.frame(&key).await.unwrap().bytes(), first.bytes());
        })
    })
    .await;
}

#[tokio::test]
async fn the_head_of_a_crowd_is_longer_than_the_first_range() {
    check(|site, stores| {
        Box::pin(async move {
            let frame = site.frame(2, proto::limits::FACES_MAX);
            assert_eq!(stores.frame_writer.put_frame(&frame).await.unwrap(), Put::Created);
            let head = stores.frame_reader.head(&key::frame_key(frame.manifest())).await.unwrap();
            assert_eq!(head.manifest(), frame.manifest());
        })
    })
    .await;
}

#[tokio::test]
async fn what_nobody_sealed_is_no_frame_and_what_was_moved_is_none_either() {
    check(|site, stores| {
        Box::pin(async move {
            let genuine = site.frame(3, 2);
            let key = key::frame_key(genuine.manifest());
            let mut altered = genuine.bytes().to_vec();
            *altered.last_mut().unwrap() ^= 1;
            let over = vec![0; proto::limits::ENVELOPE_BYTES_MAX + 1];
            let other_root = Site::with_seed(9).frame(3, 2).bytes().to_vec();
            for bytes in [Vec::new(), b"hello".to_vec(), altered, over, other_root] {
                (stores.plant_frame)(&key, bytes);
                let error = stores.frame_reader.frame(&key).await.unwrap_err();
                assert_eq!(error.fault(), Fault::Corrupt, "{error}");
            }
            for bytes in [Vec::new(), b"hello".to_vec(), vec![0xFF; 300_000]] {
                (stores.plant_frame)(&key, bytes);
                let error = stores.frame_reader.head(&key).await.unwrap_err();
                assert_eq!(error.fault(), Fault::Corrupt, "{error}");
            }
            (stores.plant_frame)(&key, site.frame(4, 2).bytes().to_vec());
            let whole = stores.frame_reader.frame(&key).await.unwrap_err();
            let head = stores.frame_reader.head(&key).await.unwrap_err();
            for error in [whole, head] {
                assert!(matches!(error, StoreError::WrongKey { .. }), "{error}");
            }
        })
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_missing_and_what_is_no_key_is_not_asked_for() {
    check(|site, stores| {
        Box::pin(async move {
            let key = key::frame_key(site.frame(5, 1).manifest());
            for error in [
                stores.frame_reader.frame(&key).await.unwrap_err(),
                stores.frame_reader.head(&key).await.unwrap_err(),
                stores.result_reader.result("results/v1/x").await.unwrap_err(),
            ] {
                assert!(matches!(error, StoreError::Missing { .. }), "{error}");
            }
            for key in ["", "frames/v2/a.jpg", "results/v1/a.json", "frames/v1/a.txt"] {
                let error = stores.frame_reader.frame(key).await.unwrap_err();
                assert!(matches!(error, StoreError::NoKey { .. }), "{error}");
            }
            let error = stores.result_reader.results("frames/v1/", None).await.unwrap_err();
            assert!(matches!(error, StoreError::NoKey { .. }), "{error}");
        })
    })
    .await;
}

#[tokio::test]
async fn a_result_lies_beside_its_frame_and_is_created_once() {
    check(|site, stores| {
        Box::pin(async move {
            let frame = site.frame(6, 2);
            let result = site.result(frame.manifest());
            assert_eq!(stores.result_writer.put_result(&result).await.unwrap(), Put::Created);
            assert_eq!(stores.result_writer.put_result(&result).await.unwrap(), Put::AlreadyThere);
            let key = key::result_key(frame.manifest(), &result.model.digest);
            assert_eq!(crate::result_key(&result).unwrap(), key);
            assert_eq!(stores.result_reader.result(&key).await.unwrap(), result);
        })
    })
    .await;
}

#[tokio::test]
async fn a_result_that_does_not_hold_together_is_neither_written_nor_believed() {
    let spoils: [fn(&mut FrameResult); 6] = [
        |r| r.schema += 1,
        |r| r.no_mask += 1,
        |r| r.share_without_mask = Some(0.25),
        |r| r.faces[0].mask = 1.5,
        |r| r.faces[0].rect.x = r.width,
        |r| r.frame.slot += 1,
    ];
    for (index, spoil) in spoils.into_iter().enumerate() {
        check(|site, stores| {
            Box::pin(async move {
                let frame = site.frame(7, 2);
                let mut result = site.result(frame.manifest());
                let key = crate::result_key(&result).unwrap();
                spoil(&mut result);
                let written = stores.result_writer.put_result(&result).await;
                assert_eq!(written.unwrap_err().fault(), Fault::Corrupt, "written: {index}");
                (stores.plant_result)(&key, serde_json::to_vec(&result).unwrap());
                let error = stores.result_reader.result(&key).await.unwrap_err();
                assert_eq!(error.fault(), Fault::Corrupt, "read: {index}");
            })
        })
        .await;
    }
}

#[tokio::test]
async fn a_result_at_the_key_of_another_frame_is_not_believed() {
    check(|site, stores| {
        Box::pin(async move {
            let (ours, other) = (site.frame(8, 1), site.frame(9, 1));
            let result = site.result(other.manifest());
            let key = key::result_key(ours.manifest(), &result.model.digest);
            (stores.plant_result)(&key, serde_json::to_vec(&result).unwrap());
            let error = stores.result_reader.result(&key).await.unwrap_err();
            assert!(matches!(error, StoreError::WrongKey { .. }), "{error}");
            (stores.plant_result)(&key, vec![b' '; proto::result::RESULT_BYTES_MAX + 1]);
            let error = stores.result_reader.result(&key).await.unwrap_err();
            assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
        })
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_says_why_a_frame_has_no_result_and_the_first_reason_stays() {
    check(|site, stores| {
        Box::pin(async move {
            let key = key::frame_key(site.frame(10, 1).manifest());
            assert_eq!(stores.result_reader.dead_letter(&key).await.unwrap(), None);
            let letter = |reason: &str| DeadLetter {
                schema: proto::result::RESULT_SCHEMA,
                key: key.clone(),
                reason: reason.to_owned(),
            };
            let (first, second) = (letter("not sealed"), letter("something else"));
            let writer = &stores.result_writer;
            assert_eq!(writer.put_dead_letter(&first).await.unwrap(), Put::Created);
            assert_eq!(writer.put_dead_letter(&second).await.unwrap(), Put::AlreadyThere);
            assert_eq!(stores.result_reader.dead_letter(&key).await.unwrap(), Some(first));
            let over = letter(&"x".repeat(20_000));
            assert_eq!(writer.put_dead_letter(&over).await.unwrap_err().fault(), Fault::Corrupt);
            let other = key::frame_key(site.frame(11, 1).manifest());
            let moved = serde_json::to_vec(&letter("moved")).unwrap();
            (stores.plant_result)(&key::dead_letter_key(&other), moved);
            let error = stores.result_reader.dead_letter(&other).await.unwrap_err();
            assert_eq!(error.fault(), Fault::Corrupt, "{error}");
        })
    })
    .await;
}

#[tokio::test]
async fn results_are_listed_in_pages_within_their_prefix() {
    check(|_, stores| {
        Box::pin(async move {
            let key = |n: usize| format!("results/v1/town/cam/2026/11/24/12/{n:05}.json");
            let all = PAGE_KEYS_MAX + 5;
            for n in 0..all {
                (stores.plant_result)(&key(n), vec![1]);
            }
            (stores.plant_result)("results/v1/town/cam/2026/11/24/13/0.json", vec![1]);
            (stores.plant_result)("results/v1/town/cam/2026/11/24/11/0.json", vec![1]);
            let prefix = "results/v1/town/cam/2026/11/24/12/";
            let first = stores.result_reader.results(prefix, None).await.unwrap();
            assert!(first.more && first.keys.len() == PAGE_KEYS_MAX, "{}", first.keys.len());
            let last = first.keys.last().map(String::as_str);
            let second = stores.result_reader.results(prefix, last).await.unwrap();
            assert!(!second.more);
            let listed = [first.keys, second.keys].concat();
            assert_eq!(listed, (0..all).map(key).collect::<Vec<_>>());
            let early = stores.result_reader.results(prefix, Some("a")).await.unwrap();
            assert_eq!(early.keys.first(), listed.first(), "a token before the prefix");
            let none = stores.result_reader.results(prefix, Some(&key(all))).await.unwrap();
            assert_eq!(none, crate::Page::default());
        })
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_away_or_overloaded_is_worth_another_try() {
    let (site, shutdown) = (Site::new(), Shutdown::default());
    let server = ObjectServer::start(&shutdown).await.unwrap();
    let stores = site.s3(&server).await;
    let frame = site.frame(1, 1);
    let key = key::frame_key(frame.manifest());
    for mode in [Mode::Away, Mode::Overloaded, Mode::AnswerLost] {
        server.set_mode(mode);
        for error in [
            stores.frame_writer.put_frame(&frame).await.unwrap_err(),
            stores.frame_reader.frame(&key).await.unwrap_err(),
            stores.frame_reader.head(&key).await.unwrap_err(),
            stores.result_reader.results("results/v1/", None).await.unwrap_err(),
        ] {
            assert_eq!(error.fault(), Fault::Transient, "{mode:?}: {error}");
        }
    }
    server.set_mode(Mode::Sound);
    let put = stores.frame_writer.put_frame(&frame).await.unwrap();
    assert_eq!(put, Put::AlreadyThere, "the write whose answer was lost has been done");
    assert_eq!(server.seen().iter().filter(|seen| seen.method == "PUT").count(), 4);
    shutdown.request();
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_and_worth_another_try() {
    let (site, shutdown) = (Site::new(), Shutdown::default());
    let server = ObjectServer::start(&shutdown).await.unwrap();
    server.set_mode(Mode::Silent);
    let s3 = site::s3_with(&server.settings(), crate::testing::SECRET).await;
    let s3 = s3.with_patience(std::time::Duration::from_millis(100));
    let put = s3.frames(site.root()).put_frame(&site.frame(1, 1)).await;
    let list = s3.results().results("results/v1/", None).await;
    for error in [put.unwrap_err(), list.unwrap_err()] {
        assert!(error.fault() == Fault::Transient && error.to_string().contains("in time"));
    }
    shutdown.request();
}

#[tokio::test]
async fn a_wrong_secret_or_bucket_is_for_a_person_to_mend() {
    let (site, shutdown) = (Site::new(), Shutdown::default());
    let server = ObjectServer::start(&shutdown).await.unwrap();
    let frame = site.frame(1, 1);
    let wrong = site::s3_with(&server.settings(), "another-secret").await.frames(site.root());
    let error = wrong.put_frame(&frame).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    assert_eq!(error.fault(), Fault::Misuse);
    let mut settings = server.settings();
    settings.frames_bucket = "elsewhere".to_owned();
    let elsewhere = site::s3_with(&settings, crate::testing::SECRET).await.frames(site.root());
    let error = elsewhere.put_frame(&frame).await.unwrap_err();
    assert!(matches!(error, StoreError::NoBucket { .. }), "{error}");
    assert_eq!(server.keys(FRAMES_BUCKET), Vec::<String>::new());
    assert_eq!(server.keys(RESULTS_BUCKET), Vec::<String>::new());
    shutdown.request();
}

#[tokio::test]
async fn nobody_at_the_address_is_worth_another_try() {
    let site = Site::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = crate::Settings {
        endpoint: Some(endpoint),
        region: "us-east-1".into(),
        frames_bucket: "frames".into(),
        results_bucket: "results".into(),
    };
    let store = site::s3_with(&settings, "secret").await.frames(site.root());
    let error = store.put_frame(&site.frame(1, 1)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Transient, "{error}");
}

#[tokio::test]
async fn the_faulty_store_fails_by_plan_and_an_answer_that_is_lost_was_work_done() {
    let site = Site::new();
    let memory = Arc::new(MemoryFrames::new(site.root()));
    let faulty = Faulty::new(memory.clone(), Plan::AnswerLost(0));
    let frame = site.frame(1, 1);
    assert_eq!(faulty.put_frame(&frame).await.unwrap_err().fault(), Fault::Transient);
    assert_eq!(memory.keys().len(), 1);
    assert_eq!(faulty.put_frame(&frame).await.unwrap(), Put::AlreadyThere);
    faulty.set_plan(Plan::AwayOnce(1));
    assert!(faulty.put_frame(&frame).await.is_ok());
    assert_eq!(faulty.put_frame(&frame).await.unwrap_err().fault(), Fault::Transient);
    assert!(faulty.put_frame(&frame).await.is_ok());
    faulty.set_plan(Plan::Refusing);
    let key = key::frame_key(frame.manifest());
    assert_eq!(faulty.frame(&key).await.unwrap_err().fault(), Fault::Misuse);
    assert_eq!(faulty.calls(), 1);
}
