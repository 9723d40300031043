//! From a frame that is put to its result, with every process real: object store, event, function host, mask-lambda.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::{collections::BTreeMap, process::Stdio};

use aws_sdk_s3::primitives::ByteStream;
use support::{children, event, eventually, free_port, invoke, lives, site::Site};

#[tokio::test]
async fn a_frame_that_is_put_gets_its_result_once() {
    let Some(site) = Site::new() else { return };
    let (store, function) = (site.store(), site.function(site.store_port, "", Stdio::inherit()));
    let key = site.put(1).await;
    let [result_key] = site.results(&key).await.try_into().unwrap();
    let result = site.result(&result_key).await;
    assert_eq!((result.image.as_str(), result.faces.len()), (key.as_str(), 1));
    assert_eq!(result.model.name, models::weights::OF_CELLS.name);
    // The same event again, waited for this time: nothing changes.
    let before = serde_json::to_vec(&result).unwrap();
    let (head, body) =
        invoke(&site.invoke_url(), "RequestResponse", &event("frames", &key)).await.unwrap();
    assert!(head.starts_with("http/1.1 200") && !head.contains("function-error"), "{head}");
    assert!(body.contains("already_there"), "{body}");
    assert_eq!(site.results(&key).await, [result_key.as_str()]);
    assert_eq!(serde_json::to_vec(&site.result(&result_key).await).unwrap(), before);
    // An unknown function, a payload that is no JSON, an unknown kind.
    let other = site.invoke_url().replace("/mask/", "/other/");
    let (head, _) = invoke(&other, "Event", "{}").await.unwrap();
    assert!(head.contains(" 404 ") && head.contains("resourcenotfoundexception"), "{head}");
    assert!(invoke(&site.invoke_url(), "Event", "{").await.unwrap().0.contains(" 400 "));
    assert!(invoke(&site.invoke_url(), "Maybe", "{}").await.unwrap().0.contains(" 400 "));
    assert_eq!(function.stop(), Some(0));
    assert_eq!(store.stop(), Some(0));
}

#[tokio::test]
async fn killed_processes_of_the_function_cost_no_frame_and_double_none() {
    let Some(site) = Site::new() else { return };
    let _store = site.store();
    let function = site.function(site.store_port, "children = 2\n", Stdio::inherit());
    let mut keys = Vec::new();
    for slot in 0..30 {
        keys.push(site.put(slot).await);
        if slot % 10 == 5 {
            children(function.child.id()).into_iter().for_each(support::kill);
        }
    }
    for key in keys {
        assert_eq!(site.results(&key).await.len(), 1, "{key}");
    }
    assert_eq!(function.stop(), Some(0));
}

#[tokio::test]
async fn a_killed_host_takes_its_processes_along_and_overdue_frames_are_invoked_again() {
    let Some(site) = Site::new() else { return };
    let _store = site.store();
    let function = site.function(site.store_port, "", Stdio::inherit());
    let first = site.put(1).await;
    site.results(&first).await;
    let [process] = children(function.child.id()).try_into().unwrap();
    assert!(lives(process));
    function.kill();
    eventually("the end of the process", async || (!lives(process)).then_some(())).await;
    // Its event finds nobody: the bridge notices that it is overdue, and asks.
    let second = site.put(2).await;
    let _function = site.function(site.store_port, "", Stdio::inherit());
    for key in [&first, &second] {
        let event = event("frames", key);
        let (head, _) = invoke(&site.invoke_url(), "RequestResponse", &event).await.unwrap();
        assert!(head.starts_with("http/1.1 200") && !head.contains("function-error"), "{head}");
        assert_eq!(site.results(key).await.len(), 1);
    }
}

#[tokio::test]
async fn an_invocation_that_takes_too_long_is_killed_answered_and_followed_by_others() {
    let Some(site) = Site::new() else { return };
    // An object store that takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let function = site.function(port, "timeout_ms = 300\n", Stdio::inherit());
    let [before] = children(function.child.id()).try_into().unwrap();
    let (_, key, _) = support::sealed(1);
    let event = event("frames", &key);
    let (head, body) = invoke(&site.invoke_url(), "RequestResponse", &event).await.unwrap();
    assert!(head.contains("x-amz-function-error: unhandled"), "{head}");
    assert!(body.contains("Sandbox.Timedout") && body.contains("0.30 seconds"), "{body}");
    assert!(!lives(before), "the process that hung is still there");
    drop(silent);
    let _store = site.store();
    let (head, body) = invoke(&site.invoke_url(), "RequestResponse", &event).await.unwrap();
    assert!(head.contains("function-error") && body.contains("Store"), "{body}");
    assert_eq!(function.stop(), Some(0));
}

#[tokio::test]
async fn a_program_that_cannot_start_fails_what_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("function.toml");
    let port = free_port();
    let text = format!("listen = '127.0.0.1:{port}'\nprogram = '/bin/false'\nretry_after_ms = 1\n");
    std::fs::write(&config, text).unwrap();
    let shutdown = base::Shutdown::default();
    let config = celosia::function::Config::load(&config).unwrap();
    let url = format!("http://127.0.0.1:{port}/2015-03-31/functions/mask/invocations");
    let asked = async {
        let answer =
            eventually("an answer", async || invoke(&url, "RequestResponse", "{}").await.ok());
        let (head, body) = answer.await;
        assert!(head.contains("function-error") && body.contains("Runtime.ExitError"), "{body}");
        shutdown.request();
    };
    let (ended, ()) = tokio::join!(celosia::function::run(config, shutdown.clone()), asked);
    ended.unwrap();
}

#[tokio::test]
async fn a_warm_invocation_takes_milliseconds_and_tells_its_times() {
    const ROUNDS: u64 = 200;
    let Some(site) = Site::new() else { return };
    let _store = site.store_telling("");
    let log = site.path("function.log");
    let file = std::fs::File::create(&log).unwrap();
    let function = site.function(site.store_port, "", file.into());
    let mut times: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut memory = 0;
    // Five faces a frame, each frame new; invoked directly, so that the times are of one invocation each.
    for slot in 0..ROUNDS {
        let (frame, key, _) = support::sealed_crowd(slot, 5);
        let body = ByteStream::from(frame.bytes().to_vec());
        let put = site.bridge.put_object().bucket("frames").key(&key).body(body);
        put.send().await.unwrap();
        let event = event("frames", &key);
        let (_, body) = invoke(&site.invoke_url(), "RequestResponse", &event).await.unwrap();
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        for name in ["read_us", "classify_us", "write_us"] {
            times.entry(name).or_default().push(answer["frames"][0][name].as_u64().unwrap());
        }
        memory = memory.max(answer["memory_max_kib"].as_u64().unwrap());
    }
    assert_eq!(function.stop(), Some(0));
    let mut total = 0;
    for (name, times) in &mut times {
        times.sort_unstable();
        let (half, most) = (times[times.len() / 2], times[times.len() * 95 / 100]);
        support::say(&format!("MEASURED: {name}: median {half}, 95% {most}"));
        total += half;
    }
    let said = std::fs::read_to_string(&log).unwrap();
    let init = said.lines().find(|line| line.contains("library_us")).unwrap();
    support::say(&format!("MEASURED: a frame of 5 faces {total} us, memory {memory} KiB; {init}"));
    assert!(total < 500_000, "a frame took {total} us");
}
