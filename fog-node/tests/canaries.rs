//! Canaries with the real detector: what is found of them on a healthy camera, and that a detector or a lens that gets worse
//! is noticed within a day. Pictures are drawn, time is simulated; without the models the test says so and ends. And that
//! how faint they are reaches the pixels that a worker's detector sees.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod world;

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use fog_node::{
    canary::{self, contrast, drift::Drift},
    framing::{self, WorkerMessage},
    parent::Worker,
    pipeline::Known,
    worker,
};
use models::{
    DetectError, Detection, FaceDetector, Family, Finding, PixelView, centerface,
    detector::Scripted,
    pixels::{Norm, Window},
};
use onnx::{CenterFace, Runtime};
use privacy::{FrameMeta, RawFrame, Seen};
use proto::{
    Clock, Digest, FrameId, UtcTime,
    time::ClockSource,
    watch::{CANARY_SIZES, Canaries, Contrasts},
};
use world::{assets, offer};

const SIZE: (usize, usize) = (960, 540);
/// Frames of the bank that days are drawn from.
const FRAMES: u64 = 40;
/// Looks on the day that sets the contrast: as few as can.
const SETTING: u64 = contrast::SET_MIN as u64 + 10;
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

/// A detector at this finding.
fn detector(runtime: &Runtime, finding: Finding) -> CenterFace {
    let model = assets().unwrap().join("centerface.onnx");
    CenterFace::finding(runtime, &model, finding).unwrap()
}

/// What is found of the canaries of one frame.
fn look(slot: u64, blur: usize, contrasts: Contrasts, detector: &mut CenterFace) -> [Canaries; 3] {
    let copy = street(slot, blur).for_canaries();
    canary::counted(canary::look(copy, &frame(slot), &[], contrasts, detector))
}

/// The first day of a camera: its looks are real ones, fewer than there are.
fn first_day(detector: &mut CenterFace) -> Drift {
    let mut drift = Drift::default();
    for number in 0..SETTING {
        let canaries = look(1_000 + number, 0, drift.contrasts(), detector);
        let at = UtcTime::EPOCH.plus_ns((number * 86_400 / SETTING) as i64 * 1_000_000_000);
        drift.note(at, &canaries);
    }
    drift
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

/// Further days of a camera whose canaries are those of one bank until a day, and then of another: when the alarm was
/// raised, in canaries after that day began.
fn alarm(
    mut drift: Drift,
    days: i64,
    change: i64,
    usual: &[[Canaries; 3]],
    then: &[[Canaries; 3]],
) -> Option<i64> {
    (A_DAY..days * A_DAY).find_map(|number| {
        let bank = if number < change * A_DAY { usual } else { then };
        // A step that has no factor in common with the bank: every frame of it comes in turn, by day and by night.
        let canaries = bank[(number * 7) as usize % bank.len()];
        drift.note(UtcTime::EPOCH.plus_ns(number * 150 * 1_000_000_000), &canaries);
        drift.is_drifting().then_some(number - change * A_DAY)
    })
}

/// Shares are of drawn faces whose contrast the camera's first day has set. A day is simulated, what is found is not.
#[test]
fn a_worse_detector_or_lens_is_noticed_within_a_day_and_a_healthy_camera_not_in_a_month() {
    let Some(assets) = assets() else { return };
    let runtime = Runtime::load(&assets.join("libonnxruntime.so")).unwrap();
    let finding = centerface::finding();
    let mut healthy = detector(&runtime, finding.clone());
    let drift = first_day(&mut healthy);
    let contrasts = drift.contrasts();
    let usual: Vec<_> = (0..FRAMES).map(|slot| look(slot, 0, contrasts, &mut healthy)).collect();
    let found = shares(&usual);
    eprintln!("healthy at {contrasts:?}: {found:.2?} of {CANARY_SIZES:?}");
    let mean = found.iter().sum::<f64>() / 3.0;
    assert!((0.70..=0.95).contains(&mean), "{found:?}");
    // Of a bank of so few frames one size may lie a little beside.
    assert!(found.iter().all(|share| (0.65..=0.98).contains(share)), "{found:?}");
    assert_eq!(alarm(drift.clone(), 30, 30, &usual, &usual), None);
    let doubled = |of: f32| of * 2.0;
    let twice = Finding {
        seen: doubled(finding.seen),
        alone: doubled(finding.alone),
        together: doubled(finding.together),
        ..finding.clone()
    };
    let lost = Finding { long_sides: finding.long_sides[1..].to_vec(), ..finding.clone() };
    for (what, finding, blur) in
        [("doubled thresholds", twice, 0), ("a lost scale", lost, 0), ("lens blur", finding, 3)]
    {
        let mut detector = detector(&runtime, finding);
        let look = |slot| look(slot, blur, contrasts, &mut detector);
        let worse: Vec<_> = (0..FRAMES / 2).map(look).collect();
        let after = alarm(drift.clone(), 9, 8, &usual, &worse);
        eprintln!("{what}: {:.2?}, alarm after {after:?} of {A_DAY} a day", shares(&worse));
        assert!(after.is_some_and(|after| (0..A_DAY).contains(&after)), "{what}: {after:?}");
    }
}

/// The parent's side: what a worker reads.
#[test]
fn a_worker_is_told_what_is_known_of_a_camera() {
    let folder = tempfile::tempdir().unwrap();
    let mut ready = Vec::new();
    framing::write(&mut ready, &WorkerMessage::Ready).unwrap();
    std::fs::write(folder.path().join("ready"), ready).unwrap();
    for known in [
        Known { contrasts: Contrasts([900, 400, 70]), before: Some(Seen::default()) },
        Known::default(),
    ] {
        let (offer, told) = (Box::new(offer(7, b"clip")), Box::new(known.clone()));
        let message = WorkerMessage::Clip { offer: offer.clone(), known: told };
        let mut expected = Vec::new();
        framing::write(&mut expected, &message).unwrap();
        expected.extend(b"clip");
        let mut command = Command::new("sh");
        let script = format!("cat ready; head -c {} > said", expected.len());
        command.args(["-c", &script]).current_dir(folder.path());
        let worker = Worker::start(command, world::LONG).unwrap();
        let bytes = b"clip".to_vec().into();
        assert!(worker.process(*offer, known.clone(), bytes, world::LONG).is_err());
        assert!(std::fs::read(folder.path().join("said")).unwrap() == expected, "{known:?}");
    }
}

/// The worker's side: what its detector sees of canaries.
#[test]
fn a_clips_canaries_are_as_faint_as_was_said_and_the_next_clips_as_on_a_new_camera() {
    let due = |seq: &u64| canary::is_due(&FrameId { clip: offer(*seq, b"").clip, slot: 0 });
    let seq = (0..10_000).find(due).unwrap();
    let spreads = Arc::new(Mutex::new(Vec::new()));
    let eye = Eye(Arc::clone(&spreads));
    let clip = grey();
    let mut stdin = Vec::new();
    let told = [Some(Contrasts([1000; 3])), None, Some(Contrasts([30; 3])), None];
    for contrasts in told {
        let mut offer = Box::new(offer(seq, &clip));
        offer.interval.end_ns = 1_000_000_000;
        let contrasts = contrasts.unwrap_or_default();
        let known = Box::new(Known { contrasts, before: None });
        framing::write(&mut stdin, &WorkerMessage::Clip { offer, known }).unwrap();
        stdin.extend_from_slice(&clip);
    }
    let pipeline = world::pipeline(eye, Scripted::boxes(2, vec![]));
    worker::serve_over(pipeline, &mut &stdin[..], &mut Vec::new()).unwrap();
    let spreads = spreads.lock().unwrap().clone();
    // A look at each frame, then one at its canaries.
    let [_, plain, _, new, _, faint, _, again] = spreads[..] else { panic!("{spreads:?}") };
    assert!(plain > 150.0 && faint < 20.0, "{spreads:?}");
    assert!(new > 2.0 * faint && new < 0.8 * plain && again == new, "{spreads:?}");
}

/// Half a second of grey.
fn grey() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mkv");
    let line = format!(
        "videotestsrc num-buffers=10 pattern=solid-color foreground-color=0xff808080 !          video/x-raw,width=640,height=480,framerate=10/1 ! x264enc ! h264parse ! matroskamux !          filesink location={}",
        clip.display()
    );
    let made = Command::new("gst-launch-1.0").arg("-q").args(line.split_whitespace()).status();
    assert!(made.unwrap().success());
    std::fs::read(clip).unwrap()
}

/// A detector that finds nothing and keeps how far the darkest pixel is from the brightest.
struct Eye(Arc<Mutex<Vec<f32>>>);

impl FaceDetector for Eye {
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        let (w, h) = (view.width(), view.height());
        let planes = view.planes(Window { x: 0, y: 0, w, h }, w, h, Norm { mean: 0.0, scale: 1.0 });
        let most = planes.iter().copied().fold(0.0, f32::max);
        let least = planes.iter().copied().fold(255.0, f32::min);
        self.0.lock().unwrap().push(most - least);
        Ok(Vec::new())
    }

    fn name(&self) -> &'static str {
        "eye"
    }

    fn digest(&self) -> Digest {
        Digest::of(b"eye")
    }

    fn family(&self) -> Family {
        Family::CenterFace
    }
}
