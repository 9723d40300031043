//! `kill -9` of each process in the middle of a run: everything arrives, nothing twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use system_tests::{assets, data};

use crate::{
    happy::{Folders, scene},
    site::{self, Run, eventually, files, results},
};

/// Faces of every frame, by place.
pub(crate) type Seen = BTreeMap<(u64, u64), BTreeSet<String>>;

/// Settings of all runs that are compared.
pub(crate) const SETTINGS: [&str; 4] = ["--every", "1s", "--clip", "3s"];

/// Frames and where faces are in them. Cells and so probabilities differ from site to site: noise keys do.
pub(crate) fn seen(folders: &Folders) -> Seen {
    let frames = results(&folders.out).into_iter();
    frames.map(|(place, frame)| (place, frame.boxes().into_iter().collect())).collect()
}

/// What all runs are on.
pub(crate) fn video(folders: &Folders) -> std::path::PathBuf {
    data().map_or_else(|| scene(folders), |data| data.join("video/masks-on-and-off.mp4"))
}

/// What a run without any crash gives; found once.
pub(crate) fn undisturbed() -> &'static Seen {
    static SEEN: OnceLock<Seen> = OnceLock::new();
    SEEN.get_or_init(|| {
        let folders = Folders::new();
        let run = Run::process(&video(&folders), &folders.state, &folders.out, &SETTINGS);
        site::succeeded(&run.end());
        seen(&folders)
    })
}

fn check(what: &str) {
    let Some(_) = assets() else { return };
    let expected = undisturbed();
    let folders = Folders::new();
    let video = video(&folders);
    let mut run = Run::process(&video, &folders.state, &folders.out, &SETTINGS);
    // In the middle: the first frame has arrived and the last has not.
    let objects = |kind: &str| {
        let all = files(&folders.state.join("objects"));
        all.iter().filter(|f| f.extension().is_some_and(|e| e == kind)).count()
    };
    eventually("the first frame", || run.has_ended() || objects("jpg") > 0);
    assert!(objects("jpg") < expected.len(), "the run was over before anything could be killed");
    run.kill(what);
    site::succeeded(&run.end());
    assert_eq!(&seen(&folders), expected, "after kill -9 of {what}");
    assert_eq!(objects("jpg"), expected.len(), "frames in the bucket");
    assert_eq!(objects("json"), expected.len(), "results in the bucket");
}

#[test]
fn the_gateway_is_killed() {
    check("edge-agent");
}

#[test]
fn the_fog_node_is_killed() {
    check("fog-node serve");
}

#[test]
fn a_worker_is_killed() {
    check("fog-node worker");
}

#[test]
fn the_bridge_is_killed() {
    check("cloud-bridge");
}

#[test]
fn the_function_is_killed() {
    check("mask-lambda");
}

#[test]
fn the_host_of_the_function_is_killed() {
    check("celosia function");
}

#[test]
fn the_object_store_is_killed() {
    check("celosia object-store");
}

#[test]
fn the_broker_is_killed() {
    check("mosquitto");
}
