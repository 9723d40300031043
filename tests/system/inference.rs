//! Where faces are classified: by the function, beside the bridge, or by the worker before it covers them whole. The
//! same results come out; and annotated pictures for whoever asks, and for nobody else.

use std::{collections::BTreeSet, fs, path::Path, process::Output};

use proto::{Manifest, key::ANNOTATED, manifest::MANIFEST_VERSION_CLASSIFIED};
use system_tests::{assets, data};

use crate::{
    happy::{Folders, scene},
    site::{self, Frame, Run, celosia, files, results},
};

/// What the worker may hold at most, under any policy.
const WORKER_BYTES_MAX: u64 = 600_000_000;

/// `celosia process` on a video, with its summary as JSON.
fn process(folders: &Folders, video: &Path, more: &[&str]) -> Output {
    let mut command = celosia();
    command.arg("process").arg(video).arg("--json").args(["--every", "2s"]).args(more);
    command.arg("--state").arg(&folders.state).arg("--out").arg(&folders.out);
    let output = Run::start(&mut command, &folders.state).end();
    site::succeeded(&output);
    output
}

fn places(frames: &[&Frame]) -> BTreeSet<String> {
    frames.iter().map(|frame| frame.classified_on.clone()).collect()
}

/// The manifests of all frames in the object store, as they were signed.
fn manifests(folders: &Folders) -> Vec<Manifest> {
    let objects = files(&folders.state.join("objects"));
    let frames = objects.iter().filter(|path| path.to_string_lossy().contains("/frames/v1/"));
    let manifest = |path: &std::path::PathBuf| {
        let bytes = fs::read(path).unwrap();
        let start = bytes.windows(11).position(|w| w == b"{\"version\":").unwrap();
        let length = bytes[start - 4..start].try_into().map(u32::from_be_bytes).unwrap() as usize;
        Manifest::from_json(&bytes[start..start + length]).unwrap()
    };
    frames.map(manifest).collect()
}

#[test]
fn beside_the_bridge_the_same_function_gives_the_same_results_and_the_store_tells_nobody() {
    let Some(_) = assets() else { return };
    for pack in ["frame", "clip"] {
        let folders = Folders::new();
        let video = scene(&folders);
        process(&folders, &video, &["--inference", "fog", "--pack", pack, "--policy", "cells"]);
        let frames = results(&folders.out);
        let all: Vec<&Frame> = frames.values().collect();
        assert_eq!(all.len(), 15, "{pack}");
        assert_eq!(places(&all), BTreeSet::from(["fog".to_owned()]), "{pack}");
        assert!(all.iter().any(|f| f.mask > 0) && all.iter().any(|f| f.no_mask > 0), "{all:?}");
        // No object was overdue, so each was asked for when it was stored, and nobody was told of any.
        let log = fs::read_to_string(folders.state.join("logs/bridge.log")).unwrap();
        let counted = |name: &str| {
            let (_, rest) = log.rsplit_once(&format!("\"{name}\": ")).unwrap_or_default();
            rest.split([',', '}']).next().and_then(|n| n.parse().ok()).unwrap_or(0u64)
        };
        let objects = counted("frames_put_total") + counted("packs_put_total");
        assert_eq!(counted("function_asked_total"), objects, "{pack}: {log}");
        assert!(objects >= 3, "{pack}: {objects}");
        let store = fs::read_to_string(folders.state.join("logs/store.log")).unwrap();
        assert!(!store.contains("events_posted_total"), "{store}");
    }
}

#[test]
fn faces_that_are_covered_whole_are_classified_before_and_no_cell_leaves() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let video = data().map_or_else(|| scene(&folders), |d| d.join("video/masks-on-and-off.mp4"));
    let output = process(&folders, &video, &[]);
    let frames = results(&folders.out);
    let all: Vec<&Frame> = frames.values().collect();
    assert!(all.len() >= 9, "{} frames", all.len());
    assert_eq!(places(&all), BTreeSet::from(["fog".to_owned()]));
    let sum = |count: fn(&Frame) -> u32| all.iter().map(|frame| count(frame)).sum::<u32>();
    let (mask, no_mask) = (sum(|f| f.mask), sum(|f| f.no_mask));
    assert!(mask >= 5 && no_mask >= 5, "{mask} with a mask, {no_mask} without: {all:?}");
    for face in all.iter().flat_map(|frame| &frame.faces) {
        let classes = ["mask", "no_mask", "incorrect", "not_a_face"];
        let sum: f64 = classes.iter().map(|class| face[*class].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 0.01, "probabilities of {face} add up to {sum}");
    }
    let manifests = manifests(&folders);
    assert_eq!(manifests.len(), all.len());
    for manifest in &manifests {
        assert_eq!((manifest.version, manifest.grids().count()), (MANIFEST_VERSION_CLASSIFIED, 0));
    }
    let said = manifests.iter().flat_map(|m| &m.regions).filter(|region| region.said.is_some());
    assert_eq!(said.count(), all.iter().map(|frame| frame.faces.len()).sum::<usize>());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let worker = report["memory_bytes"]["worker"].as_u64().unwrap();
    eprintln!("a worker that classifies held {} MB", worker / 1_000_000);
    assert!(worker < WORKER_BYTES_MAX, "a worker held {worker} bytes");
}

#[test]
fn annotated_pictures_are_there_when_they_were_asked_for_and_else_not() {
    let Some(_) = assets() else { return };
    let annotated_objects = |folders: &Folders| {
        let objects = files(&folders.state.join("objects"));
        objects.iter().filter(|path| path.to_string_lossy().contains(ANNOTATED)).count()
    };
    let folders = Folders::new();
    let video = scene(&folders);
    process(&folders, &video, &[]);
    assert_eq!(annotated_objects(&folders), 0);
    assert!(!folders.out.join("annotated").exists());
    for more in [["--pack", "frame"], ["--pack", "clip"]] {
        let folders = Folders::new();
        process(&folders, &video, &[&more[..], &["--annotated"]].concat());
        let frames = results(&folders.out);
        assert_eq!((frames.len(), annotated_objects(&folders)), (15, 15), "{more:?}");
        for frame in frames.values() {
            let annotated = fs::read(folders.out.join(frame.annotated.as_ref().unwrap())).unwrap();
            let plain = fs::read(folders.out.join(&frame.image)).unwrap();
            assert!(annotated.starts_with(&[0xFF, 0xD8, 0xFF]) && annotated != plain);
            // The seal stays with the frame: what was drawn on is no evidence.
            assert!(!annotated.windows(8).any(|window| window == b"CELOSIA\0"));
        }
    }
}
