//! Canaries with the real detector: what is found of them on a healthy camera, and that a detector or a lens that gets worse
//! is noticed within a day. Pictures are drawn, time is simulated; without the models each test says so and ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod world;

use fog_node::canary::{self, drift::Drift};
use models::{Finding, centerface};
use onnx::{CenterFace, Runtime};
use privacy::{FrameMeta, RawFrame};
use proto::{
    Clock, FrameId, UtcTime,
    time::ClockSource,
    watch::{CANARY_SIZES, Canaries},
};
use world::assets;

const SIZE: (usize, usize) = (960, 540);
/// Frames of the bank that days are drawn from.
const FRAMES: u64 = 24;
/// Canaries of each size on a day with a frame each 5 s.
const A_DAY: i64 = 576;

fn frame(slot: u64) -> FrameId {
    FrameId { clip: "town/cam-1/000102030405060708090a0b0c0d0e0f/7".parse().unwrap(), slot }
}

/// A street without people: a wall with windows, a pavement, a grain; `blur` in pixels is the lens.
fn street(slot: u64, blur: usize) -> RawFrame {
    let (width, height) = SIZE;
    let shade = |x: usize, y: usize| {
        let window = x % 160 > 50 && x % 160 < 120 && y % 140 > 40 && y % 140 < 110 && y < 330;
        let wall = 150 + (x / 160 + slot as usize) % 3 * 12;
        let value = if window {
            70
        } else if y < 340 {
            wall - y / 12
        } else {
            116 - (y - 340) / 8
        };
        value as f32
    };
    let plane: Vec<f32> = (0..width * height).map(|at| shade(at % width, at / width)).collect();
    let plane = (0..3).fold(plane, |plane, _| boxed(&plane, width, blur));
    let mut file = format!("P6\n{width} {height}\n255\n").into_bytes();
    let mut state = slot as u32 + 1;
    for value in plane {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = (state >> 24) as f32 / 64.0 - 2.0;
        file.extend([1.02, 1.0, 0.95].map(|tint| (value * tint + grain).clamp(0.0, 255.0) as u8));
    }
    let meta = FrameMeta {
        frame: frame(slot),
        captured_at: UtcTime::EPOCH,
        clip_captured_at: UtcTime::EPOCH,
        clock: Clock { source: ClockSource::Unknown, uncertainty_ms: None },
    };
    RawFrame::from_still(&file, meta).unwrap()
}

/// The mean over `reach` pixels to each side, across and down.
fn boxed(plane: &[f32], width: usize, reach: usize) -> Vec<f32> {
    let height = plane.len() / width;
    let mean = |at: &dyn Fn(usize) -> f32, i: usize, n: usize| {
        let span = i.saturating_sub(reach)..(i + reach + 1).min(n);
        span.clone().map(at).sum::<f32>() / span.len() as f32
    };
    let across: Vec<f32> = (0..plane.len())
        .map(|at| mean(&|x| plane[at / width * width + x], at % width, width))
        .collect();
    (0..plane.len())
        .map(|at| mean(&|y| across[y * width + at % width], at / width, height))
        .collect()
}

/// Whether each canary of the bank was found, by frame.
fn bank(runtime: &Runtime, finding: Finding, blur: usize) -> Vec<[Canaries; 3]> {
    let model = assets().unwrap().join("centerface.onnx");
    let mut detector = CenterFace::finding(runtime, &model, finding).unwrap();
    let look = |slot| {
        let copy = street(slot, blur).for_canaries();
        canary::look(copy, &frame(slot), &[], &mut detector)
    };
    (0..FRAMES).map(look).collect()
}

/// Shares found, by size.
fn shares(bank: &[[Canaries; 3]]) -> [f64; 3] {
    [0, 1, 2].map(|size| {
        let of = |count: fn(&Canaries) -> u32| {
            f64::from(bank.iter().map(|frame| count(&frame[size])).sum::<u32>())
        };
        of(|c| c.found) / of(|c| c.drawn)
    })
}

/// Days of a camera whose canaries are those of one bank until a day, and then of another: when the alarm was raised, in
/// canaries after that day began.
fn alarm(days: i64, change: i64, usual: &[[Canaries; 3]], then: &[[Canaries; 3]]) -> Option<i64> {
    let mut drift = Drift::default();
    (0..days * A_DAY).find_map(|number| {
        let bank = if number < change * A_DAY { usual } else { then };
        // A step that has no factor in common with the bank: every frame of it comes in turn, by day and by night.
        let canaries = bank[(number * 7) as usize % bank.len()];
        drift.note(UtcTime::EPOCH.plus_ns(number * 150 * 1_000_000_000), &canaries);
        drift.is_drifting().then_some(number - change * A_DAY)
    })
}

/// What is measured of the detector is measured: shares are of drawn faces whose contrast was set for this.
#[test]
fn a_worse_detector_or_lens_is_noticed_within_a_day_and_a_healthy_camera_not_in_a_month() {
    let Some(assets) = assets() else { return };
    let runtime = Runtime::load(&assets.join("libonnxruntime.so")).unwrap();
    let finding = centerface::finding();
    let usual = bank(&runtime, finding.clone(), 0);
    let found = shares(&usual);
    eprintln!("healthy: {found:.2?} of {CANARY_SIZES:?}");
    assert!(found.iter().all(|share| (0.70..=0.95).contains(share)), "{found:?}");
    assert_eq!(alarm(30, 30, &usual, &usual), None);
    let doubled = |of: f32| of * 2.0;
    let twice = Finding {
        seen: doubled(finding.seen),
        alone: doubled(finding.alone),
        together: doubled(finding.together),
        ..finding.clone()
    };
    let lost = Finding { long_sides: finding.long_sides[1..].to_vec(), ..finding.clone() };
    for (what, finding, blur) in
        [("doubled thresholds", twice, 0), ("a lost scale", lost, 0), ("lens blur", finding, 4)]
    {
        let worse = bank(&runtime, finding, blur);
        let after = alarm(9, 8, &usual, &worse);
        eprintln!("{what}: {:.2?}, alarm after {after:?} of {A_DAY} a day", shares(&worse));
        assert!(after.is_some_and(|after| (0..A_DAY).contains(&after)), "{what}: {after:?}");
    }
}
