//! The function and the store against other people's servers: AWS's own runtime interface emulator, and SeaweedFS.
//! `celosia fetch --group test` brings them; without them each test says so and ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use base::{Fault, Faulty};
use proto::{
    key,
    result::{DeadLetter, RESULT_SCHEMA},
};
use rustix::process::{Pid, Signal, kill_process_group};
use store::{FrameReader, FrameWriter, Put, ResultReader, ResultWriter, Settings, s3::S3};
use support::{
    event, eventually, free_port, invoke, s3, secret,
    site::{Site, function_environment},
};

/// Somebody else's server with all that it starts.
struct Others(Child);

impl Others {
    fn start(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt;
        command.stdin(Stdio::null()).process_group(0);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process_group(group, Signal::KILL).ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn the_function_answers_under_aws_own_emulator() {
    let Some(site) = Site::new() else { return };
    let Some(emulator) = support::asset("aws-lambda-rie", " --group test") else { return };
    let _store = site.store_telling("");
    let (invoke_port, api_port) = (free_port(), free_port());
    let mut command = Command::new(emulator);
    // Without both addresses it listens on every interface.
    command.args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{invoke_port}")]);
    command.args(["--runtime-api-address", &format!("127.0.0.1:{api_port}")]);
    // The folder of the zip (deploy/lambda-zip): everything lies beside the program.
    command.arg(task(site.folder.path()).join("bootstrap"));
    let mut environment = function_environment(site.folder.path(), site.store_port);
    environment.retain(|name, _| !["CELOSIA_ASSETS", "CELOSIA_MODEL"].contains(name));
    command.envs(environment).env("AWS_REGION", "eu-south-2");
    command.env("AWS_LAMBDA_FUNCTION_TIMEOUT", "10");
    let _emulator = Others::start(&mut command);

    let url = format!("http://127.0.0.1:{invoke_port}/2015-03-31/functions/function/invocations");
    let test_event = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"frames"}"#;
    let (head, body) = eventually("an answer", async || {
        invoke(&url, "RequestResponse", test_event).await.ok().filter(|(head, _)| !head.is_empty())
    })
    .await;
    assert!(head.contains(" 200 ") && body.contains(r#""frames":[]"#), "{head}: {body}");
    for slot in 0..3 {
        let key = site.put(slot).await;
        let (_, body) = invoke(&url, "RequestResponse", &event("frames", &key)).await.unwrap();
        assert!(body.contains("\"written\""), "{body}");
        let [result] = site.results(&key).await.try_into().unwrap();
        assert_eq!(site.result(&result).await.faces.len(), 1);
        let (_, body) = invoke(&url, "RequestResponse", &event("frames", &key)).await.unwrap();
        assert!(body.contains("already_there"), "{body}");
    }
    // An error of the function reaches whoever invokes.
    let (_, body) = invoke(&url, "RequestResponse", "{}").await.unwrap();
    assert!(body.contains("errorType") && body.contains("Event"), "{body}");
}

/// `celosia function-power` on the real function: what it is called with, and figures that hang together.
#[test]
fn function_power_measures_the_real_function_under_a_share_of_the_processor() {
    let Some(emulator) = support::asset("aws-lambda-rie", " --group test") else { return };
    if !rustix::process::geteuid().is_root() {
        support::say("SKIPPED: only root may hold a processor back, function-power was not tried");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_celosia"));
    command.args(["function-power", "--json", "--memory", "128,1769", "--starts", "1"]);
    command.args(["--frames", "8", "--emulator"]).arg(emulator);
    command.arg("--task").arg(task(folder.path())).arg("--out").arg(folder.path());
    let output = command.current_dir(support::project()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let power: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = |index: usize, name: &str| power["rows"][index][name].as_f64().unwrap();
    // By what the kernel says, and not by times: this machine may have other work. So little of a processor is spent even
    // where there is hardly any to be had.
    let held_back = [row(0, "held_back_ms"), row(1, "held_back_ms")];
    assert!(held_back[0] > 20.0, "a fourteenth of a processor was not held back: {held_back:?}");
    assert!(held_back[0] > held_back[1], "nor more than a whole one: {held_back:?}");
    assert!(row(1, "warm_ms") > 0.0 && row(1, "memory_mib") < 128.0, "{power}");
    let cost = |index: usize| power["months"][index]["video"].as_f64().unwrap();
    assert!(cost(0) > cost(1), "packs of clips cost less: {power}");
    let table = std::fs::read_to_string(folder.path().join("power.md")).unwrap();
    assert!(table.contains("128") && folder.path().join("power.svg").exists(), "{table}");
}

/// What the zip holds, with its ONNX Runtime where that was fetched.
fn task(folder: &Path) -> PathBuf {
    let task = folder.join("task");
    std::fs::create_dir(&task).unwrap();
    let small = support::asset("libonnxruntime-1.20.1.so", " --group function");
    let library = small.unwrap_or_else(|| support::assets().join("libonnxruntime.so"));
    for (from, to) in [(support::mask_lambda(), "bootstrap"), (library, "libonnxruntime.so")] {
        std::fs::copy(from, task.join(to)).unwrap();
    }
    let model = task.join(models::weights::OF_CELLS.name);
    std::fs::write(model.with_extension("onnx"), models::weights::OF_CELLS.model).unwrap();
    std::fs::write(model.with_extension("json"), models::weights::OF_CELLS.description).unwrap();
    task
}

/// SeaweedFS on loopback, with the identities of a site; its S3 address.
fn seaweed(program: &Path, folder: &Path) -> (Others, u16) {
    let identity = |name: &str, actions: &[&str]| {
        serde_json::json!({ "name": name, "actions": actions,
            "credentials": [{ "accessKey": name, "secretKey": secret(name) }] })
    };
    let identities = serde_json::json!({ "identities": [
        identity("admin", &["Admin", "Read", "Write", "List"]),
        identity("bridge", &["Write:frames", "Read:frames", "Read:results", "List:results"]),
        identity("function", &["Read:frames", "Write:results"]),
    ] });
    let (config, data) = (folder.join("s3.json"), folder.join("weed"));
    std::fs::write(&config, identities.to_string()).unwrap();
    std::fs::create_dir(&data).unwrap();
    let port = free_port();
    let log = std::fs::File::create(folder.join("weed.log")).unwrap();
    let mut command = Command::new(program);
    command.args(["mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false"]);
    command.args(["-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
    command.arg(format!("-dir={}", data.display()));
    command.arg(format!("-s3.config={}", config.display()));
    command.arg(format!("-s3.port={port}"));
    for name in ["master.port", "volume.port", "filer.port", "admin.port"] {
        command.arg(format!("-{name}={}", free_port()));
        command.arg(format!("-{name}.grpc={}", free_port()));
    }
    command.arg(format!("-s3.port.grpc={}", free_port()));
    command.stdout(log.try_clone().unwrap()).stderr(log);
    (Others::start(&mut command), port)
}

async fn buckets(port: u16) {
    let admin = s3(&format!("127.0.0.1:{port}"), "admin", &secret("admin"));
    for bucket in ["frames", "results"] {
        eventually("a bucket", async || {
            if let Err(error) = admin.create_bucket().bucket(bucket).send().await {
                let error = error.into_service_error();
                return error.is_bucket_already_owned_by_you().then_some(());
            }
            Some(())
        })
        .await;
    }
}

fn settings(port: u16) -> Settings {
    Settings {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        region: "eu-south-2".to_owned(),
        frames_bucket: "frames".to_owned(),
        results_bucket: "results".to_owned(),
    }
}

#[tokio::test]
async fn seaweedfs_keeps_the_contract_of_the_store_and_serves_the_function() {
    let Some(site) = Site::new() else { return };
    let Some(program) = support::asset("weed", " --group test") else { return };
    let (_seaweed, port) = seaweed(&program, site.folder.path());
    buckets(port).await;
    let (frame, frame_key, root) = support::sealed(1);
    let bridge = S3::with_keys(&settings(port), "bridge", &secret("bridge")).await;
    let (frames, results) = (bridge.frames(root), bridge.results());
    // Volumes are made with the first object, which takes its time.
    let put = eventually("a first object", async || frames.put_frame(&frame).await.ok()).await;
    assert!(matches!(put, Put::Created | Put::AlreadyThere));
    assert_eq!(frames.put_frame(&frame).await.unwrap(), Put::AlreadyThere);
    assert_eq!(frames.frame(&frame_key).await.unwrap().bytes(), frame.bytes());
    assert_eq!(frames.head(&frame_key).await.unwrap().manifest(), frame.manifest());
    let (_, missing, _) = support::sealed(2);
    assert_eq!(frames.head(&missing).await.unwrap_err().fault(), Fault::Permanent);

    // The whole path of the function, invoked as the bridge does: SeaweedFS sends no events of S3.
    let function = site.function(port, "", Stdio::inherit());
    for expected in ["\"written\"", "already_there"] {
        let event = event("frames", &frame_key);
        let (_, body) = invoke(&site.invoke_url(), "RequestResponse", &event).await.unwrap();
        assert!(body.contains(expected), "{body}");
    }
    let page = results.results(&key::results_prefix(&frame_key).unwrap(), None).await.unwrap();
    assert_eq!((page.keys.len(), page.more), (1, false));
    assert_eq!(results.result(&page.keys[0]).await.unwrap().image, frame_key);
    assert_eq!(function.stop(), Some(0));

    // Keys that may not, and keys that are none.
    let key = frame_key.clone();
    let letter = DeadLetter { schema: RESULT_SCHEMA, key, reason: "a test".to_owned() };
    assert_eq!(results.put_dead_letter(&letter).await.unwrap_err().fault(), Fault::Misuse);
    let function = S3::with_keys(&settings(port), "function", &secret("function")).await;
    assert_eq!(function.results().put_dead_letter(&letter).await.unwrap(), Put::Created);
    assert_eq!(function.results().put_dead_letter(&letter).await.unwrap(), Put::AlreadyThere);
    let forged = S3::with_keys(&settings(port), "bridge", &secret("other")).await;
    assert_eq!(forged.frames(root).head(&frame_key).await.unwrap_err().fault(), Fault::Misuse);
}
