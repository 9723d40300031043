//! The object store as its clients see it: the real command, spoken to by the AWS SDK, and killed in the middle.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::{path::Path, sync::Arc};

use aws_sdk_s3::{Client, error::ProvideErrorMetadata, primitives::ByteStream};
use support::{Service, key, s3, secret};
use tokio::sync::Mutex;

fn start(folder: &Path, more: &str) -> Service {
    let keys = [
        key(folder, "bridge", "'put:frames', 'get:results', 'list:results'"),
        key(folder, "console", "'get:frames', 'list:frames'"),
    ];
    let config = folder.join("store.toml");
    let text = format!(
        "listen = '127.0.0.1:0'\nfolder = 'objects'\nbuckets = ['frames', 'results']\n{}{more}",
        keys.concat()
    );
    std::fs::write(&config, text).unwrap();
    Service::start("object-store", &config)
}

async fn put(client: &Client, bucket: &str, key: &str, bytes: &[u8]) -> Result<(), (u16, String)> {
    let body = ByteStream::from(bytes.to_vec());
    let put = client.put_object().bucket(bucket).key(key).if_none_match("*").body(body);
    outcome(put.send().await.map(drop))
}

fn outcome<T, E: ProvideErrorMetadata>(
    result: Result<T, aws_sdk_s3::error::SdkError<E>>,
) -> Result<T, (u16, String)> {
    result.map_err(|error| {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        (status, error.code().unwrap_or_default().to_owned())
    })
}

async fn get(
    client: &Client,
    bucket: &str,
    key: &str,
    range: Option<&str>,
) -> Result<Vec<u8>, (u16, String)> {
    let get = client.get_object().bucket(bucket).key(key).set_range(range.map(str::to_owned));
    let found = outcome(get.send().await)?;
    Ok(found.body.collect().await.unwrap().to_vec())
}

#[tokio::test]
async fn the_sdk_puts_once_gets_ranges_and_lists_pages() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(folder.path(), "");
    let bridge = s3(&service.address(), "bridge", &secret("bridge"));
    let console = s3(&service.address(), "console", &secret("console"));
    let bytes: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
    // A site and a camera with the longest names that there are, and a clip's number of many digits.
    let long = format!(
        "frames/v1/{0}/{0}/2026/11/24/12/{1}-{2}-63.jpg",
        "n".repeat(63),
        "0".repeat(32),
        u64::MAX
    );
    put(&bridge, "frames", &long, &bytes).await.unwrap();
    let again = put(&bridge, "frames", &long, b"another").await.unwrap_err();
    assert_eq!(again, (412, "PreconditionFailed".to_owned()));
    assert_eq!(get(&console, "frames", &long, None).await.unwrap(), bytes);
    let head = get(&console, "frames", &long, Some("bytes=0-65535")).await.unwrap();
    assert_eq!(head, bytes[..65536]);
    assert_eq!(get(&console, "frames", &long, Some("bytes=-1")).await.unwrap(), bytes[199_999..]);
    let past = get(&console, "frames", &long, Some("bytes=200000-")).await.unwrap_err();
    assert_eq!(past, (416, "InvalidRange".to_owned()));
    let gone = get(&console, "frames", "frames/v1/none.jpg", None).await.unwrap_err();
    assert_eq!(gone, (404, "NoSuchKey".to_owned()));
    let found = console.head_object().bucket("frames").key(&long).send().await.unwrap();
    assert_eq!(found.content_length(), Some(200_000));
    assert_eq!(found.content_type(), Some("image/jpeg"));

    for n in 0..25 {
        put(&bridge, "frames", &format!("pages/{n:02}"), b"x").await.unwrap();
    }
    let pages = console.list_objects_v2().bucket("frames").prefix("pages/").max_keys(10);
    let mut pages = pages.into_paginator().send();
    let mut sizes = Vec::new();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        sizes.push(page.contents().len());
        keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(keys, (0..25).map(|n| format!("pages/{n:02}")).collect::<Vec<_>>());
    let after = console.list_objects_v2().bucket("frames").prefix("pages/").start_after("pages/22");
    assert_eq!(after.send().await.unwrap().contents().len(), 2);
    assert_eq!(service.stop(), Some(0), "it ends cleanly when it is asked to");
}

#[tokio::test]
async fn a_key_may_do_what_it_is_allowed_and_a_wrong_one_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(folder.path(), "");
    let address = service.address();
    let bridge = s3(&address, "bridge", &secret("bridge"));
    put(&bridge, "frames", "a", b"x").await.unwrap();
    let denied = Err((403, "AccessDenied".to_owned()));
    assert_eq!(get(&bridge, "frames", "a", None).await.map(drop), denied);
    assert_eq!(put(&bridge, "results", "a", b"x").await, denied);
    let console = s3(&address, "console", &secret("console"));
    assert_eq!(put(&console, "frames", "b", b"x").await, denied);
    assert_eq!(
        outcome(console.delete_object().bucket("frames").key("a").send().await).map(drop),
        denied
    );
    let copy = console.copy_object().bucket("frames").key("c").copy_source("frames/a");
    assert_eq!(outcome(copy.send().await).map(drop), denied);
    assert_eq!(outcome(console.list_buckets().send().await).map(drop), denied);
    let forged = s3(&address, "bridge", &secret("console"));
    let error = put(&forged, "frames", "b", b"x").await.unwrap_err();
    assert_eq!(error, (403, "SignatureDoesNotMatch".to_owned()));
    let unknown = s3(&address, "nobody", &secret("nobody"));
    assert_eq!(put(&unknown, "frames", "b", b"x").await.unwrap_err().0, 403);
    assert_eq!(get(&console, "frames", "b", None).await.unwrap_err().0, 404, "nothing was kept");
}

#[tokio::test]
async fn bytes_that_are_not_those_of_their_checksum_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(folder.path(), "");
    let bridge = s3(&service.address(), "bridge", &secret("bridge"));
    let console = s3(&service.address(), "console", &secret("console"));
    let body = || ByteStream::from_static(b"whole");
    let put = |key| bridge.put_object().bucket("frames").key(key).body(body());
    let wrong = put("a").checksum_crc32("AAAAAA==");
    assert_eq!(outcome(wrong.send().await).unwrap_err(), (400, "BadDigest".to_owned()));
    let wrong = put("a").content_md5("AAAAAAAAAAAAAAAAAAAAAA==");
    assert_eq!(outcome(wrong.send().await).unwrap_err(), (400, "BadDigest".to_owned()));
    assert_eq!(get(&console, "frames", "a", None).await.unwrap_err().0, 404);
    put("a").send().await.unwrap();
    let large = ByteStream::from(vec![0; 8 * 1024 * 1024 + 1]);
    let large = bridge.put_object().bucket("frames").key("b").body(large);
    assert_eq!(outcome(large.send().await).unwrap_err(), (400, "EntityTooLarge".to_owned()));
}

/// Each object tells its own number and length, so that half of one is seen.
fn object(number: u32) -> Vec<u8> {
    let length = 50_000 + usize::try_from(number % 7).unwrap() * 40_000;
    number.to_le_bytes().repeat(length / 4)
}

#[tokio::test]
async fn killed_in_the_middle_of_puts_it_has_whole_objects_or_none_and_all_that_it_answered_for() {
    let folder = tempfile::tempdir().unwrap();
    let answered = Arc::new(Mutex::new(Vec::new()));
    for round in 0..3u32 {
        let service = start(folder.path(), "");
        let address = service.address();
        let writers: Vec<_> = (0..4u32)
            .map(|writer| {
                let (address, answered) = (address.clone(), Arc::clone(&answered));
                let task = async move {
                    let bridge = s3(&address, "bridge", &secret("bridge"));
                    for n in 0..10_000u32 {
                        let number = round * 100_000 + writer * 10_000 + n;
                        let key = format!("frames/v1/{writer}/{number}");
                        match put(&bridge, "frames", &key, &object(number)).await {
                            Ok(()) => answered.lock().await.push(number),
                            Err((412, _)) => panic!("{key} was there"),
                            Err(_) => return,
                        }
                    }
                };
                Box::pin(task)
            })
            .collect();
        // The writers run until the server under them is gone, which is killed once they are well under way.
        let before = answered.lock().await.len();
        let killer = async {
            support::eventually("some puts", async || {
                (answered.lock().await.len() > before + 20).then_some(())
            })
            .await;
            service.kill();
        };
        let mut writers = writers.into_iter();
        let mut next = || writers.next().unwrap();
        tokio::join!(killer, next(), next(), next(), next());
    }
    let service = start(folder.path(), "");
    let console = s3(&service.address(), "console", &secret("console"));
    let answered = answered.lock().await;
    for number in answered.iter() {
        let key = format!("frames/v1/{}/{number}", number / 10_000 % 10);
        assert_eq!(get(&console, "frames", &key, None).await.unwrap(), object(*number), "{key}");
    }
    let mut pages = console.list_objects_v2().bucket("frames").into_paginator().send();
    let mut there = 0;
    while let Some(page) = pages.next().await {
        for listed in page.unwrap().contents() {
            let key = listed.key().unwrap();
            let number = key.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(get(&console, "frames", key, None).await.unwrap(), object(number), "{key}");
            there += 1;
        }
    }
    assert!(there >= answered.len() && answered.len() > 60, "{there}, {}", answered.len());
    let left = std::fs::read_dir(folder.path().join("objects/incoming")).unwrap().count();
    assert_eq!(left, 0, "what was being written stayed");
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_64_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("store.toml");
    std::fs::write(&config, "listen = '0.0.0.0:1'\nfolder = 'objects'\nbuckets = []\n").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_celosia"))
        .args(["object-store", "--check", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("loopback") && said.contains("buckets"), "{said}");
}
