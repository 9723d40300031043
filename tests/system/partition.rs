//! A part of the path is away for a while: what is before it waits, nothing is lost, nothing comes twice.

use rustix::process::{Pid, Signal, kill_process};
use system_tests::{assets, data};

use crate::{
    happy::{Folders, scene},
    site::{self, Run, eventually, files, results},
};

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[test]
fn frames_wait_at_the_bridge_while_the_object_store_hangs() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let video = data().map_or_else(|| scene(&folders), |d| d.join("video/masks-on-and-off.mp4"));
    let settings = ["--every", "1s", "--clip", "3s"];
    let run = Run::process(&video, &folders.state, &folders.out, &settings);
    let mut store = None;
    eventually("the object store", || {
        store = run.processes("celosia object-store").first().copied();
        store.is_some() && !run.processes("edge-agent").is_empty()
    });
    signal(store.unwrap(), Signal::STOP);
    // The edge gets receipts all the same: the bridge's disk is what a receipt stands for.
    eventually("a clip that waits in the outbox", || {
        files(&folders.state.join("outbox"))
            .iter()
            .any(|f| f.extension().is_some_and(|e| e == "rec"))
    });
    signal(store.unwrap(), Signal::CONT);
    site::succeeded(&run.end());
    assert!(results(&folders.out).len() >= 4);
    let left = files(&folders.state.join("outbox"));
    assert!(!left.iter().any(|f| f.extension().is_some_and(|e| e == "rec")), "{left:?}");
}
