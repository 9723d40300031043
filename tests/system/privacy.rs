//! What a camera saw is found nowhere outside the worker: not in the bucket, a folder, a log, or a message.

use std::{
    fs,
    path::{Path, PathBuf},
};

use models::{
    Detection, FaceDetector, PixelView,
    pixels::{Norm, Window},
};
use onnx::Detectors;
use privacy::{FrameMeta, RawClip, RawFrame};
use proto::{Clock, UtcTime, time::ClockSource};
use system_tests::{assets, data};

use crate::{
    anonymise::runtime,
    happy::{Folders, scene},
    onlooker::Onlooker,
    site::{self, Run, eventually, files, results},
};

/// Bytes of one needle: long enough that it is nowhere by chance.
const NEEDLE_BYTES: usize = 48;
/// A face that is seen in a raw frame with at least this score must not be seen in what leaves, but for rows of skin and
/// cloth that a detector at times takes for a face, as [`TAKEN_FOR_A_FACE`] says.
const SURE: f32 = 0.5;

fn meta(slot: u64) -> FrameMeta {
    let clip = "town/cam-1/000102030405060708090a0b0c0d0e0f/0".parse().unwrap();
    FrameMeta {
        frame: proto::FrameId { clip, slot },
        captured_at: UtcTime::EPOCH,
        clip_captured_at: UtcTime::EPOCH,
        clock: Clock { source: ClockSource::Unknown, uncertainty_ms: None },
    }
}

/// Pieces of a file, one from each of many places: whoever keeps a part of the raw video keeps some of them.
fn needles(bytes: &[u8]) -> Vec<&[u8]> {
    let places = (0..400).map(|k| k * bytes.len() / 400);
    let pieces = places.filter_map(|at| bytes.get(at..at + NEEDLE_BYTES));
    // Constant stretches (padding) could be found anywhere.
    pieces.filter(|piece| piece.iter().any(|b| b != &piece[0])).collect()
}

fn found(needles: &[&[u8]], haystack: &[u8]) -> usize {
    let starts: std::collections::HashSet<[u8; 8]> =
        needles.iter().map(|n| n[..8].try_into().unwrap()).collect();
    let windows = haystack.windows(NEEDLE_BYTES);
    windows.filter(|w| starts.contains(&w[..8]) && needles.contains(w)).count()
}

/// Every secret of a site: the file that it belongs into, and what it looks like there or in memory.
fn secrets(state: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut secrets = Vec::new();
    for file in files(&state.join("pki")) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if !["key.pem", ".key", ".secret"].iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        // Of PEM the longest line, which is none of its frame.
        let line = text.lines().max_by_key(|line| line.len()).unwrap().trim().to_owned();
        assert!(line.len() >= 20, "{} holds {} characters", file.display(), line.len());
        let pairs = line.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let raw: Result<Vec<u8>, _> = pairs.map(|pair| u8::from_str_radix(pair, 16)).collect();
        secrets.extend(raw.map(|raw| (file.clone(), raw)));
        secrets.push((file, line.into_bytes()));
    }
    secrets
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Files on a disk that a process may write to at the moment.
fn written_by(pid: i32) -> Vec<PathBuf> {
    let process = Path::new("/proc").join(pid.to_string());
    let mut found = Vec::new();
    for entry in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let text = target.to_string_lossy();
        let info = fs::read_to_string(process.join("fdinfo").join(entry.file_name()));
        let flags = info.unwrap_or_default();
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok());
        let on_disk = target.is_absolute()
            && !["/dev/", "/proc/", "/memfd:"].iter().any(|other| text.starts_with(other));
        if on_disk && flags.is_some_and(|flags| flags & 3 != 0) {
            found.push(target.clone());
        }
    }
    found
}

/// Side of the square to which a face is scaled before its detail is compared.
const SIDE: usize = 64;
/// Half the side of the square whose mean is taken away: what is left is finer than a cell of the drawing.
const NEAR: usize = 4;

/// What is fine in a face: eyes, mouth, edges; nothing of its colour and shade.
fn detail(view: PixelView<'_>, face: &Detection) -> Vec<f64> {
    let [left, top] = [face.x, face.y].map(|v| v.max(0.0) as usize);
    let (left, top) = (left.min(view.width() - 2), top.min(view.height() - 2));
    let w = (face.w as usize).clamp(1, view.width() - left);
    let h = (face.h as usize).clamp(1, view.height() - top);
    let window = Window { x: left, y: top, w, h };
    let planes = view.planes(window, SIDE, SIDE, Norm { mean: 0.0, scale: 1.0 });
    let area = SIDE * SIDE;
    let grey = |x: usize, y: usize| -> f64 {
        (0..3).map(|plane| f64::from(planes[plane * area + y * SIDE + x])).sum()
    };
    let mut fine = Vec::new();
    for (x, y) in (0..area).map(|at| (at % SIDE, at / SIDE)) {
        let near = |v: usize| v.saturating_sub(NEAR)..(v + NEAR + 1).min(SIDE);
        let around: Vec<f64> =
            near(y).flat_map(|y| near(x).map(move |x| (x, y))).map(|(x, y)| grey(x, y)).collect();
        fine.push(grey(x, y) - around.iter().sum::<f64>() / around.len() as f64);
    }
    fine
}

/// How alike two details are: 1 for the same, about 0 for strangers.
fn likeness(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

#[test]
fn neither_raw_video_nor_a_face_nor_a_key_is_found_anywhere() {
    let Some(assets) = assets() else { return };
    let folders = Folders::new();
    let video = data().map_or_else(|| scene(&folders), |d| d.join("video/masks-on-and-off.mp4"));
    let temporary = folders.root.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut run = Run::process_in(&temporary, &video, &folders.state, &folders.out);
    let site = Onlooker::at(&mut run, &folders.state);
    eventually("the first frame", || {
        let objects = files(&folders.state.join("objects"));
        run.has_ended() || objects.iter().any(|f| f.extension().is_some_and(|e| e == "jpg"))
    });
    // While it works: the fog node and its workers write logs, and nothing else that is on a disk.
    let fog = run.processes("fog-node");
    let written: Vec<PathBuf> = fog.iter().flat_map(|pid| written_by(*pid)).collect();
    assert!(!run.has_ended(), "it ended too early: {:?}", run.end());
    assert!(fog.len() >= 2 && written.len() >= 2, "{fog:?} {written:?}");
    let logs = folders.state.canonicalize().unwrap().join("logs");
    assert!(written.iter().all(|file| file.starts_with(&logs)), "{written:?}");
    site::succeeded(&run.end());

    let raw = fs::read(&video).unwrap();
    let needles = needles(&raw);
    assert!(needles.len() > 300, "{} needles", needles.len());
    assert_eq!(found(&needles, &raw), needles.len(), "the search finds what is there");
    let secrets = secrets(&folders.state);
    assert!(secrets.len() >= 15, "{} secrets", secrets.len());
    let kept = files(&folders.state);
    for log in ["edge", "fog", "bridge", "function", "store", "broker"] {
        assert!(kept.iter().any(|f| f.ends_with(format!("logs/{log}.log"))), "{log}: {kept:?}");
    }
    let belongs = [folders.state.join("pki"), folders.state.join("console.password")];
    for file in kept.iter().chain(&files(&folders.out)).chain(&files(&temporary)) {
        let bytes = fs::read(file).unwrap_or_default();
        assert_eq!(found(&needles, &bytes), 0, "raw video in {}", file.display());
        if belongs.iter().any(|place| file.starts_with(place)) {
            continue;
        }
        for (home, secret) in &secrets {
            assert!(!holds(&bytes, secret), "{} in {}", home.display(), file.display());
        }
    }

    let heard = site.heard();
    for about in ["edge-gw-1/status", "fog-fog-1/endpoint", "bridge-bridge/status", "results/"] {
        assert!(heard.iter().any(|m| m.topic.contains(about)), "nothing was heard of {about}");
    }
    for message in &heard {
        let payload = &message.payload;
        serde_json::from_slice::<serde_json::Value>(payload).unwrap();
        // Counters and names; a picture of any use has no room in it, in whatever letters.
        assert!(payload.len() < 4096, "{} bytes on {}", payload.len(), message.topic);
        assert_eq!(found(&needles, payload), 0, "raw video on {}", message.topic);
        for (home, secret) in &secrets {
            assert!(!holds(payload, secret), "{} on {}", home.display(), message.topic);
        }
    }
    let (faces, taken) = faces_left(&assets, &raw, &folders);
    assert!(taken.is_empty(), "of {faces} still seen: {taken:#?}");
}

/// One of so many drawings may look like some face to a detector: which, follows from the site's noise. Whose it is
/// cannot be seen in them; that is what their fine detail is looked at for.
const TAKEN_FOR_A_FACE: usize = 5;

#[test]
fn cells_that_leave_look_like_nobody() {
    let Some(assets) = assets() else { return };
    let folders = Folders::new();
    let video = data().map_or_else(|| scene(&folders), |d| d.join("video/masks-on-and-off.mp4"));
    let settings = ["--every", "2s", "--policy", "cells"];
    site::succeeded(&Run::process(&video, &folders.state, &folders.out, &settings).end());
    let (faces, taken) = faces_left(&assets, &fs::read(&video).unwrap(), &folders);
    assert!(taken.len() * TAKEN_FOR_A_FACE <= faces, "of {faces} still seen: {taken:#?}");
}

/// Looks for every face that the camera saw in every frame that left: with a detector, and by its fine detail. How many
/// there were, and which a detector still sees.
fn faces_left(assets: &Path, raw: &[u8], folders: &Folders) -> (usize, Vec<String>) {
    let Detectors { mut detector, .. } = Detectors::open(runtime(assets), assets).unwrap();
    let clip = RawClip::open(raw).unwrap();
    let (mut faces, mut taken, mut twins, mut alike) = (0, Vec::new(), Vec::new(), Vec::new());
    for frame in results(&folders.out).into_values() {
        let (_, slot) = frame.place();
        let at_ns = i64::try_from(slot).unwrap() * 2_000_000_000;
        let before = clip.frame_at(at_ns, meta(slot)).unwrap();
        // A picture later the camera sees nearly the same.
        let twin = clip.frame_at(at_ns + 40_000_000, meta(slot)).unwrap();
        let seen = detector.detect(before.view().unwrap()).unwrap();
        let image = fs::read(folders.out.join(&frame.image)).unwrap();
        let after = RawFrame::from_still(&image, meta(slot)).unwrap();
        let still_seen = detector.detect(after.view().unwrap()).unwrap();
        for face in seen.iter().filter(|face| face.score >= SURE) {
            faces += 1;
            let left = still_seen.iter().find(|d| d.overlap(face) > 0.3 && d.score >= SURE);
            taken.extend(left.map(|left| format!("{}: {left:?}", frame.image)));
            let pattern = detail(before.view().unwrap(), face);
            twins.push(likeness(&pattern, &detail(twin.view().unwrap(), face)));
            alike.push(likeness(&pattern, &detail(after.view().unwrap(), face)));
        }
    }
    assert!(faces > 0, "the detector saw no face to look for");
    twins.sort_by(f64::total_cmp);
    let (worst, middle) = (alike.iter().copied().fold(0.0, f64::max), twins[twins.len() / 2]);
    eprintln!("{faces} faces; likeness of what left at most {worst:.2}, of twins {middle:.2}");
    assert!(middle > 0.6, "the search does not find a face that is there: {twins:?}");
    assert!(worst < 0.4, "the detail of a face is still there: {alike:?}");
    (faces, taken)
}
