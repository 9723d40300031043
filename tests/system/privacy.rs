//! What a camera saw is found nowhere outside the worker: not in the bucket, a folder, a log, or a message.

use std::fs;

use models::FaceDetector;
use onnx::Detectors;
use privacy::{FrameMeta, RawClip, RawFrame};
use proto::{Clock, UtcTime, time::ClockSource};
use system_tests::{assets, data};

use crate::{
    anonymise::runtime,
    happy::{Folders, scene},
    site::{self, Run, files, results},
};

/// Bytes of one needle: long enough that it is nowhere by chance.
const NEEDLE_BYTES: usize = 48;
/// A face that is seen in a raw frame with at least this score must not be seen in what leaves.
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

#[test]
fn neither_raw_video_nor_a_face_is_found_anywhere() {
    let Some(assets) = assets() else { return };
    let folders = Folders::new();
    let video = data().map_or_else(|| scene(&folders), |d| d.join("video/masks-on-and-off.mp4"));
    let run = Run::process(&video, &folders.state, &folders.out, &["--every", "2s"]);
    site::succeeded(&run.end());

    let raw = fs::read(&video).unwrap();
    let needles = needles(&raw);
    assert!(needles.len() > 300, "{} needles", needles.len());
    assert_eq!(found(&needles, &raw), needles.len(), "the search finds what is there");
    let kept = files(&folders.state);
    assert!(kept.iter().any(|f| f.extension().is_some_and(|e| e == "log")), "{kept:?}");
    for file in kept.iter().chain(&files(&folders.out)) {
        let bytes = fs::read(file).unwrap_or_default();
        assert_eq!(found(&needles, &bytes), 0, "raw video in {}", file.display());
    }

    let Detectors { mut detector, .. } = Detectors::open(runtime(&assets), &assets).unwrap();
    let clip = RawClip::open(&raw).unwrap();
    let mut faces = 0;
    for frame in results(&folders.out).into_values() {
        let (_, slot) = frame.place();
        let at_ns = i64::try_from(slot).unwrap() * 2_000_000_000;
        let before = clip.frame_at(at_ns, meta(slot)).unwrap();
        let before = detector.detect(before.view().unwrap()).unwrap();
        let image = fs::read(folders.out.join(&frame.image)).unwrap();
        let after = RawFrame::from_still(&image, meta(slot)).unwrap();
        let after = detector.detect(after.view().unwrap()).unwrap();
        for face in before.iter().filter(|face| face.score >= SURE) {
            faces += 1;
            let left = after.iter().find(|d| d.overlap(face) > 0.3 && d.score >= SURE);
            assert!(left.is_none(), "{}: {face:?} is still seen: {left:?}", frame.image);
        }
    }
    assert!(faces > 0, "the detector saw no face to look for");
}
