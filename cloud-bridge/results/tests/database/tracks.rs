//! Stories of tracks: the frames of one clip count a person once, whatever order their results come in.

use std::collections::BTreeMap;

use proto::{
    Manifest, UtcTime, key,
    manifest::Rect,
    result::{
        FaceLabel::{self, Mask, NoMask, NotAFace, Uncertain},
        FaceResult, FrameResult,
    },
};
use results::{BucketWidth, Counts, FrameFilter, Order, Results, Track};

use crate::example::{at, frame, result};

/// The frame in this slot of a camera's first clip, captured then, with these faces by place.
pub(crate) fn seen(
    camera: &str,
    slot: u64,
    captured_at: UtcTime,
    faces: &[(u32, FaceLabel)],
) -> (String, FrameResult) {
    let (mut manifest, _): (Manifest, _) = frame(camera, slot);
    manifest.frame.clip.seq = 0;
    manifest.captured_at = captured_at;
    manifest.clip_captured_at = at(0);
    let labels: Vec<FaceLabel> = faces.iter().map(|(_, label)| *label).collect();
    let mut result = result(&manifest, &labels);
    for (face, (x, label)) in result.faces.iter_mut().zip(faces) {
        let p = |of| if *label == of { 0.85 } else { 0.05 };
        *face = FaceResult {
            rect: Rect { x: *x, y: 40, w: 40, h: 48 },
            mask: p(Mask),
            no_mask: p(NoMask),
            incorrect: 0.05,
            not_a_face: p(NotAFace),
            ..face.clone()
        };
    }
    (key::frame_key(&manifest), result)
}

/// Every face's track by slot, and the sums of a camera by their three ways.
#[derive(Debug, PartialEq)]
struct Known {
    tracks: BTreeMap<u64, Vec<Track>>,
    camera: Counts,
    minutes: Vec<(UtcTime, Counts)>,
    hours: Vec<(UtcTime, Counts)>,
}

async fn known(results: &Results, camera: &str) -> Known {
    let id = camera.parse().unwrap();
    let filter = FrameFilter { camera: Some(id), order: Order::Oldest, ..FrameFilter::default() };
    let frames = results.frames(&filter, 1000).await.unwrap();
    let cameras = results.cameras().await.unwrap();
    let camera = cameras.iter().find(|totals| totals.camera.as_str() == camera).unwrap();
    let mut buckets = Vec::new();
    for width in [BucketWidth::Minute, BucketWidth::Hour] {
        let (from, until) = (at(-7_200), at(7_200));
        let found = results.counts_over_time(Some(&camera.camera), width, from, until).await;
        buckets
            .push(found.unwrap().into_iter().map(|b| (b.at, b.counts.total())).collect::<Vec<_>>());
    }
    let [minutes, hours] = buckets.try_into().unwrap();
    for sum in [&minutes, &hours] {
        let mut all = Counts::default();
        sum.iter().for_each(|(_, counts)| all.add(counts));
        assert_eq!(all, camera.counts.total(), "the sums of {} do not agree", camera.camera);
    }
    Known {
        tracks: frames.into_iter().map(|row| (row.frame.slot, row.tracks)).collect(),
        camera: camera.counts.total(),
        minutes,
        hours,
    }
}

/// A late frame that lies between two others makes two tracks one, also over the end of an hour.
pub(crate) async fn late_frame(results: Results) {
    let (first, middle, last) = (
        seen("door", 0, at(-1), &[(100, Mask), (300, Uncertain)]),
        seen("door", 1, at(0), &[(130, NoMask), (300, NoMask)]),
        seen("door", 2, at(1), &[(400, NoMask), (200, Mask)]),
    );
    let counts = |frames, mask, no_mask, uncertain| Counts {
        frames,
        mask,
        no_mask,
        uncertain,
        incorrect: 0,
    };
    for (key, result) in [&last, &first, &last] {
        results.insert_result(key, result, at(60)).await.unwrap();
    }
    let two = known(&results, "door").await;
    // After two seconds 100 to 200 is in reach, and 300 to 400 is.
    assert_eq!(two.camera, counts(2, 1, 1, 0));
    assert_eq!(two.hours, [(at(-3_600), counts(1, 1, 1, 0)), (at(0), counts(1, 0, 0, 0))]);
    for _ in 0..2 {
        results.insert_result(&middle.0, &middle.1, at(70)).await.unwrap();
    }
    let three = known(&results, "door").await;
    // Now the last ones are too far from the middle ones to be theirs.
    let track = |number, label, votes| Track { number, label, votes };
    assert_eq!(three.tracks[&0], [track(0, Mask, 2), track(1, NoMask, 1)]);
    assert_eq!(three.tracks[&1], [track(0, Mask, 2), track(1, NoMask, 1)]);
    assert_eq!(three.tracks[&2], [track(2, NoMask, 1), track(3, Mask, 1)]);
    assert_eq!(three.camera, counts(3, 2, 2, 0));
    assert_eq!(three.hours, [(at(-3_600), counts(1, 1, 1, 0)), (at(0), counts(2, 1, 1, 0))]);
    // The same people in the next clip are counted again.
    let (mut manifest, _) = frame("door", 2);
    manifest.captured_at = at(2);
    let next = result(&manifest, &[Mask]);
    results.insert_result(&key::frame_key(&manifest), &next, at(80)).await.unwrap();
    assert_eq!(known(&results, "door").await.camera, counts(4, 3, 2, 0));
}

/// Clips of people who walk about, told in the order of time to one camera, and in any order with replays to another.
pub(crate) async fn any_order(results: Results) {
    for seed in 0..16u64 {
        println!("seed {seed}");
        let mut state = seed;
        let mut next = |below: u64| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (mixed ^ (mixed >> 31)) % below
        };
        let said = [Mask, NoMask, NotAFace, Uncertain];
        let mut frames = Vec::new();
        for slot in 0..2 + next(4) {
            let faces = (0..next(4)).map(|_| {
                let place = u32::try_from(100 + 15 * next(8)).unwrap();
                (place, said[usize::try_from(next(4)).unwrap()])
            });
            let second = i64::try_from(slot).unwrap() - 2;
            frames.push((slot, at(second), faces.collect::<Vec<_>>()));
        }
        let (ordered, shuffled) = (format!("ordered{seed}"), format!("shuffled{seed}"));
        for (slot, captured_at, faces) in &frames {
            let (key, result) = seen(&ordered, *slot, *captured_at, faces);
            assert!(results.insert_result(&key, &result, at(60)).await.unwrap());
        }
        let mut left = frames.clone();
        left.extend(frames);
        while !left.is_empty() {
            let pick = usize::try_from(next(left.len() as u64)).unwrap();
            let (slot, captured_at, faces) = left.swap_remove(pick);
            let (key, result) = seen(&shuffled, slot, captured_at, &faces);
            results.insert_result(&key, &result, at(60)).await.unwrap();
        }
        assert_eq!(known(&results, &ordered).await, known(&results, &shuffled).await);
    }
}

/// Two writers with a half of a clip's frames each: nobody is counted twice since neither saw the other's.
pub(crate) async fn two_handles_link_one_clip(one: &Results, two: &Results) {
    const FRAMES: u64 = 12;
    let half = async |results: &Results, of: u64| {
        for slot in (of..FRAMES).step_by(2) {
            let second = i64::try_from(slot).unwrap();
            let (key, result) = seen("gate", slot, at(second), &[(100, Mask)]);
            results.insert_result(&key, &result, at(60)).await.unwrap();
        }
    };
    tokio::join!(half(one, 0), half(two, 1));
    let known = known(one, "gate").await;
    assert_eq!(known.camera, Counts { frames: FRAMES, mask: 1, ..Counts::default() });
    let votes = u32::try_from(FRAMES).unwrap();
    let all = Track { number: 0, label: Mask, votes };
    assert!(known.tracks.values().all(|tracks| *tracks == [all]), "{known:?}");
}
