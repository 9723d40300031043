//! Workers that crash, hang, speak nonsense or do not start, under a whole fog node.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod world;

use std::{path::Path, process::Command};

use fog_node::{config::Config, node::count, parent::WorkerError, service::StartError};
use proto::wire::RefuseReason;
use rustix::process::{Pid, Signal, kill_process};
use world::{CLIP_BYTES, Fog, Mood, Step, World, counted, eventually, offer, reason};

#[tokio::test]
async fn a_worker_that_aborts_costs_one_attempt_of_one_clip() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, "workers = 1").await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    // It says that it is ready, as always, then aborts with the clip; the second one answers for another clip.
    script.then(Step::Abort);
    script.then(Step::Answer(&offer(9, &clip)));
    script.then(Step::Answer(&offer(1, &clip)));
    for what in ["abort", "another clip's record"] {
        let outcome = gateway.upload_at_last(&offer(1, &clip), &clip).await;
        assert_eq!(reason(&outcome), Some(RefuseReason::Failed), "{what}");
    }
    assert!(bridge.books().committed.is_empty());
    assert_eq!(reason(&gateway.upload_at_last(&offer(1, &clip), &clip).await), None);
    let status = fog.stop().await;
    assert_eq!(counted(&status, count::WORKER_CRASHES), 2);
    assert_eq!(counted(&status, count::FAILED), 2);
    assert_eq!(counted(&status, count::WORKERS_STARTED), 3);
}

#[tokio::test]
async fn a_worker_that_hangs_is_killed_at_the_deadline_and_the_next_clip_works() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, "workers = 1\nclip_deadline = '1s'").await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    script.then(Step::Hang);
    let hung = script.pids();
    let outcome = gateway.upload_at_last(&offer(1, &clip), &clip).await;
    assert_eq!(reason(&outcome), Some(RefuseReason::Failed));
    assert!(hung.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()), "it still runs");
    script.then(Step::Answer(&offer(2, &clip)));
    assert_eq!(reason(&gateway.upload_at_last(&offer(2, &clip), &clip).await), None);
    let status = fog.stop().await;
    assert_eq!(counted(&status, count::WORKER_DEADLINES), 1);
    assert_eq!(counted(&status, count::WORKER_CRASHES), 0);
}

#[tokio::test]
async fn a_worker_that_is_killed_while_idle_costs_no_attempt() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, "workers = 1").await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let [pid] = script.pids()[..] else { panic!("{:?}", script.pids()) };
    let process = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(process, Signal::KILL).unwrap();
    // Dead, and not waited for yet: its state in /proc is that of a zombie.
    let stat = format!("/proc/{pid}/stat");
    let dead = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    assert!(eventually(dead).await);
    let clip = [7; CLIP_BYTES];
    script.then(Step::Answer(&offer(1, &clip)));
    assert_eq!(reason(&gateway.upload_at_last(&offer(1, &clip), &clip).await), None);
    let status = fog.stop().await;
    assert_eq!(counted(&status, count::WORKER_CRASHES), 1);
    assert_eq!(counted(&status, count::FAILED), 0);
}

#[tokio::test]
async fn a_fog_node_that_is_stopped_in_the_middle_of_a_hanging_clip_leaves_no_worker() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, "workers = 2\nclip_deadline = '10m'").await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    script.then(Step::Hang);
    let offered = offer(1, &clip);
    let upload = link::transfer::upload_clip(&gateway.0, &offered, &clip);
    let stopping = async {
        assert!(eventually(|| script.taken() == 1).await, "no worker took the clip");
        let status = fog.stop().await;
        assert_eq!(counted(&status, count::FAILED), 0, "our own end was an attempt of the clip");
    };
    let (outcome, ()) = tokio::join!(upload, stopping);
    // The edge has no answer, which is no attempt.
    assert!(outcome.is_err(), "{outcome:?}");
    let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
    assert!(script.pids().len() == 2 && script.pids().iter().all(gone), "a worker is left");
}

#[tokio::test]
async fn a_fog_node_whose_workers_do_not_start_does_not_start() {
    let world = World::new();
    let config = world.config("127.0.0.1:1", Path::new("none"), "workers = 2");
    let config = Config::load(&config).unwrap();
    let failing = || {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 64"]);
        command
    };
    let error = Fog::start(config, failing).await.err().unwrap();
    assert!(error.is_misuse(), "{error}");
    assert!(matches!(error, StartError::Worker(WorkerError::Crashed { code: Some(64), .. })));
}

#[tokio::test]
async fn a_fog_node_with_the_certificate_of_another_does_not_start() {
    let world = World::new();
    let path = world.config("127.0.0.1:1", Path::new("none"), "");
    let text = std::fs::read_to_string(&path).unwrap().replace("name = 'fog-1'", "name = 'fog-2'");
    std::fs::write(&path, text).unwrap();
    let script = world.script();
    let config = Config::load(&path).unwrap();
    let error = Fog::start(config, move || script.command()).await.err().unwrap();
    assert!(error.is_misuse() && error.to_string().contains("fog-2"), "{error}");
}
