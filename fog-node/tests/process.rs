//! The real binary: what it says when it cannot start, and that it serves and ends as a supervisor expects.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod world;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use proto::wire::RefuseReason;
use rustix::process::{Pid, Signal, kill_process};
use world::{Mood, World, assets, eventually, offer, reason};

fn serve(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fog-node"));
    command.arg("serve").arg("--config").arg(config);
    command
}

fn output(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_wrong_configuration_exits_64_and_names_file_and_key() {
    let world = World::new();
    let path = world.config("127.0.0.1:1", Path::new("none"), "clip_seconds = 3");
    let (code, text) = output(serve(&path));
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("clip_seconds") && text.contains("fog.toml"), "{text}");

    let path = world.config("127.0.0.1:1", Path::new("none"), "");
    let mut check = serve(&path);
    check.arg("--check");
    assert_eq!(output(check).0, Some(0));
    assert_eq!(output(serve(Path::new("no-such-file.toml"))).0, Some(64));
}

#[test]
fn a_missing_or_corrupt_model_or_key_exits_64_and_names_the_file() {
    let world = World::new();
    let path = world.config("127.0.0.1:1", &world.path("nothing-here"), "workers = 1");
    let (code, text) = output(serve(&path));
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("nothing-here"), "the worker's line is not in the log: {text}");

    std::fs::write(world.path("seal.key"), "not a key").unwrap();
    let (code, text) = output(serve(&path));
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("seal.key"), "{text}");

    let Some(assets) = assets() else { return };
    let copy = world.path("assets");
    std::fs::create_dir(&copy).unwrap();
    for name in ["libonnxruntime.so", "ultraface.onnx"] {
        std::os::unix::fs::symlink(assets.join(name), copy.join(name)).unwrap();
    }
    std::fs::write(copy.join("centerface.onnx"), "not a model").unwrap();
    let path = world.config("127.0.0.1:1", &copy, "workers = 1");
    let (code, text) = output(serve(&path));
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("centerface.onnx"), "{text}");
}

/// A fog node in a process of its own, with real workers, that ends with the test.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    /// Waits for the ready line.
    fn start(config: &Path) -> Self {
        let mut command = serve(config);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).env("CELOSIA_PARENT_PIPE", "stdin");
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value =
            serde_json::from_str(line.strip_prefix("ready ").unwrap_or("null")).unwrap();
        let address = ready["address"].as_str().unwrap().to_owned();
        assert_eq!(ready["identity"], "celosia://town/fog/fog-1");
        Self { child, address }
    }

    /// Process ids of its workers.
    fn workers(&self) -> Vec<Pid> {
        let parent = format!("PPid:\t{}", self.child.id());
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = processes.filter_map(|p| p.file_name().to_string_lossy().parse::<i32>().ok());
        let is_child = |id: &i32| {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            status.lines().any(|line| line == parent)
        };
        ids.filter(is_child).map(|id| Pid::from_raw(id).unwrap()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn is_there(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn the_binary_serves_survives_its_worker_and_ends_with_its_parents_pipe() {
    let Some(assets) = assets() else { return };
    let world = World::new();
    let bridge = world.bridge(Mood::Takes);
    let config = world.config(&bridge.address, &assets, "workers = 1");
    let mut fog = tokio::task::spawn_blocking(move || Running::start(&config)).await.unwrap();
    let gateway = world.gateway("gw-1", &fog.address).await;
    let upload = async |seq| gateway.upload_at_last(&offer(seq, b"no video"), b"no video").await;
    assert_eq!(reason(&upload(1).await), None);

    let workers = fog.workers();
    assert_eq!(workers.len(), 1);
    kill_process(workers[0], Signal::KILL).unwrap();
    let outcome = upload(2).await;
    // Killed at the very moment when the clip reached it, the clip has an attempt behind it.
    assert!([None, Some(RefuseReason::Failed)].contains(&reason(&outcome)), "{outcome:?}");
    assert_eq!(reason(&upload(3).await), None);

    // No core dump, nobody looks in: also for the parent, which holds whole clips.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", fog.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().skip(4).take(2).eq(["0", "0"]), "{core}");

    let workers = fog.workers();
    drop(fog.child.stdin.take());
    let ended = tokio::task::spawn_blocking(move || fog.child.wait().unwrap()).await.unwrap();
    assert!(ended.success(), "{ended}");
    assert!(!workers.iter().any(|pid| is_there(*pid)), "a worker is left");
}

#[tokio::test]
async fn a_fog_node_that_is_killed_takes_its_workers_with_it() {
    let Some(assets) = assets() else { return };
    let world = World::new();
    let config = world.config("127.0.0.1:1", &assets, "workers = 2");
    let mut fog = tokio::task::spawn_blocking(move || Running::start(&config)).await.unwrap();
    let workers = fog.workers();
    assert_eq!(workers.len(), 2);
    // The pipe stays open in our hand: it is not its end that the workers see.
    let _pipe = fog.child.stdin.take();
    fog.child.kill().unwrap();
    fog.child.wait().unwrap();
    assert!(eventually(|| !workers.iter().any(|pid| is_there(*pid))).await, "a worker is left");
}
