//! What the frames of a clip, and of the next one, tell each other, through the pipeline that a worker runs: real clips and real pictures,
//! scripted detectors.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod world;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use fog_node::pipeline::{ClipOutput, Known, Pipeline};
use models::{DetectError, Detection, detector::Scripted};
use proto::{
    ClipId, Clock, Digest, FrameId, Interval, UtcTime,
    envelope::SealedFrame,
    manifest::{Manifest, Rect},
    record::{SlotOutcome, WithheldReason},
    time::ClockSource,
    watch::Notes,
    wire::{NoiseKey, Offer},
};

/// A pipeline whose detector says these in turn, one a frame.
fn pipeline(mut looks: Vec<Vec<Detection>>) -> Pipeline {
    looks.reverse();
    let detector = Scripted::answers(1, move || Ok(looks.pop().unwrap()));
    world::pipeline(detector, Scripted::boxes(2, vec![]))
}

/// A second of plain grey: cells of a face differ by their noise alone.
fn clip() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mkv");
    let line = format!(
        "videotestsrc num-buffers=10 pattern=solid-color foreground-color=0xff808080 ! video/x-raw,width=320,height=240,framerate=10/1 ! x264enc ! \
         h264parse ! matroskamux ! filesink location={}",
        clip.display()
    );
    let made = Command::new("gst-launch-1.0").arg("-q").args(line.split_whitespace()).status();
    assert!(made.unwrap().success());
    std::fs::read(clip).unwrap()
}

/// A camera's first clip.
fn processed(looks: Vec<Vec<Detection>>) -> ClipOutput {
    process(&name(0), looks.len(), Known::default(), pipeline(looks))
}

/// The clip that comes next on the same camera, and what is known by then.
fn processed_next(looks: Vec<Vec<Detection>>, known: Known) -> ClipOutput {
    process(&name(1), looks.len(), known, pipeline(looks))
}

fn name(seq: u64) -> String {
    format!("town/cam-1/000102030405060708090a0b0c0d0e0f/{seq}")
}

/// Slots of a camera's first clip, and from one to the next.
const SLOTS: i64 = 4;
const EVERY_NS: i64 = 200_000_000;

/// So many frames of a clip of this name.
fn process(clip_id: &str, frames: usize, known: Known, mut pipeline: Pipeline) -> ClipOutput {
    let bytes = clip();
    let every_ns = EVERY_NS;
    let end_ns = every_ns * i64::try_from(frames).unwrap();
    let clip: ClipId = clip_id.parse().unwrap();
    let before_ns = if clip.seq == 1 { SLOTS * EVERY_NS } else { 0 };
    let offer = Offer {
        clip,
        digest: Digest::of(&bytes),
        length: bytes.len() as u64,
        attempt: 1,
        noise_key: NoiseKey([3; 32]),
        noise_epoch: 0,
        interval: Interval { start_ns: 0, end_ns },
        every_ns,
        captured_at: UtcTime::EPOCH.plus_ns(before_ns),
        clock: Clock { source: ClockSource::Unknown, uncertainty_ms: None },
    };
    pipeline.process(&offer, known, &bytes)
}

fn manifests(output: ClipOutput) -> Vec<Manifest> {
    let opened =
        output.envelopes.into_iter().map(|bytes| SealedFrame::open(bytes, &world::root().public()));
    opened.map(|frame| frame.unwrap().manifest().clone()).collect()
}

fn face(x: f32, score: f32) -> Detection {
    Detection { x, y: 80.0, w: 48.0, h: 60.0, score }
}

fn covers(manifest: &Manifest, found: &Detection) -> bool {
    let fills: Vec<Rect> = manifest.regions.iter().flat_map(|r| r.fill.clone()).collect();
    let hidden = |x: f32, y: f32| {
        fills.iter().any(|r| {
            (r.x as f32..(r.x + r.w) as f32).contains(&x)
                && (r.y as f32..(r.y + r.h) as f32).contains(&y)
        })
    };
    (0..100).all(|i| {
        let at = |k: i32| (k as f32 + 0.5) / 10.0;
        hidden(found.x + found.w * at(i % 10), found.y + found.h * at(i / 10))
    })
}

#[test]
fn a_face_hidden_from_the_detector_in_one_frame_of_a_clip_is_covered_in_it_and_not_counted() {
    for hidden in 0..4 {
        let looks = (0..4).map(|i| if i == hidden { vec![] } else { vec![face(100.0, 0.8)] });
        let manifests = manifests(processed(looks.collect()));
        assert_eq!(manifests.len(), 4);
        for (number, manifest) in manifests.iter().enumerate() {
            assert!(covers(manifest, &face(100.0, 0.8)), "{hidden}: it flashes in {number}");
            let cells = usize::from(number != hidden);
            assert_eq!(manifest.grids().count(), cells, "{hidden}: counted in {number}");
        }
    }
}

#[test]
fn a_frame_without_neighbours_that_saw_a_face_covers_nothing() {
    let manifests = manifests(processed(vec![vec![], vec![], vec![], vec![]]));
    assert!(manifests.iter().all(|manifest| manifest.regions.is_empty()));
}

/// The lattice of places has a border at 128: a face that trembles over it had two draws of noise without its track.
#[test]
fn a_face_that_walks_or_trembles_keeps_its_noise_and_redacting_again_gives_the_same_bytes() {
    let looks = || (0..4u8).map(|i| vec![face(96.0 + 8.0 * f32::from(i), 0.8)]).collect::<Vec<_>>();
    let (first, again) = (processed(looks()), processed(looks()));
    assert_eq!(first.envelopes, again.envelopes, "a worker that is killed and begins anew");
    let cells: Vec<Vec<u8>> =
        manifests(first).iter().map(|m| m.grids().next().unwrap().cells.clone()).collect();
    let alone = |x: f32| {
        let manifests = manifests(processed(vec![vec![face(x, 0.8)]]));
        manifests[0].grids().next().unwrap().cells.clone()
    };
    assert!(cells.iter().all(|cells| *cells == alone(96.0)), "one drew the noise of its own place");
    assert_ne!(alone(96.0), alone(120.0), "there is no border between them");
}

fn known(output: &ClipOutput) -> Known {
    Known { before: output.last.clone(), ..Known::default() }
}

#[test]
fn a_face_that_goes_on_into_the_next_clip_keeps_its_noise_and_that_clip_comes_out_the_same_again() {
    let looks = |from: u8| (from..from + 4).map(|i| vec![face(80.0 + 8.0 * f32::from(i), 0.8)]);
    let first = processed(looks(0).collect());
    let known = known(&first);
    let next = processed_next(looks(4).collect(), known.clone());
    let again = processed_next(looks(4).collect(), known);
    assert_eq!(next.envelopes, again.envelopes, "a worker that is killed and begins anew");
    // Without a neighbour it draws the noise of its own place, beyond a border of the lattice, as in a camera's first clip.
    let cells = |output: ClipOutput| manifests(output)[0].grids().next().unwrap().cells.clone();
    let alone = |x: f32| cells(processed(vec![vec![face(x, 0.8)]]));
    let lost = cells(processed_next(looks(4).collect(), Known::default()));
    assert_eq!((cells(first), cells(next)), (alone(80.0), alone(80.0)));
    assert_eq!(lost, alone(112.0));
    assert_ne!(lost, alone(80.0), "there is no border between them");
}

#[test]
fn a_face_hidden_in_the_first_or_last_frame_of_a_clip_is_covered_in_it() {
    let see = || vec![face(100.0, 0.4)];
    // In the last frame, which nothing follows: it was in the two before it.
    let first = processed(vec![see(), see(), see(), vec![]]);
    assert!(covers(&manifests(first)[3], &see()[0]), "it flashes in the last frame");
    let walked_by = processed(vec![vec![], vec![], see(), vec![]]);
    assert!(manifests(walked_by)[3].regions.is_empty(), "one weak look is too little");
    // In the first: the clip before had it at its end, and the next frame has it again.
    let known = known(&processed(vec![see(), see(), see(), see()]));
    let next = |known| manifests(processed_next(vec![vec![], see(), see(), see()], known));
    assert!(covers(&next(known)[0], &see()[0]), "it flashes in the first frame");
    assert!(next(Known::default())[0].regions.is_empty());
}

#[test]
fn a_frame_that_fails_says_so_at_its_slot_and_the_others_go_on() {
    let nan = Detection { x: f32::NAN, ..face(100.0, 0.8) };
    let see = || vec![face(100.0, 0.8)];
    let output = processed(vec![see(), vec![nan], see(), see()]);
    let outcomes: Vec<SlotOutcome> = output.record.slots.iter().map(|s| s.outcome).collect();
    assert_eq!(outcomes[1], SlotOutcome::Withheld(WithheldReason::Detector));
    let delivered = [0, 2, 3].map(|at| outcomes[at]);
    let digests: Vec<SlotOutcome> =
        output.envelopes.iter().map(|bytes| SlotOutcome::Frame(Digest::of(bytes))).collect();
    assert_eq!(delivered.as_slice(), digests, "envelopes in the order of slots");
    assert!(output.record.check().is_ok());
}

/// Canaries are looked at when their frame is decided: whatever the detector says of them, frames, memory, record and all
/// other notes are the same.
#[test]
fn canaries_touch_nothing_but_their_own_count() {
    // The first clip whose first frame alone has canaries.
    let due = |seq: u64, slot: u64| {
        fog_node::canary::is_due(&FrameId { clip: name(seq).parse().unwrap(), slot })
    };
    let alone = |seq: &u64| due(*seq, 0) && (1..4).all(|slot| !due(*seq, slot));
    let seq = (0..10_000).find(alone).unwrap();
    // Looks at two frames, then at the first one's canaries, then at the other two.
    let run = |of_canaries: fn() -> Result<Vec<Detection>, DetectError>| {
        let looks = Arc::new(AtomicU32::new(0));
        let of = Arc::clone(&looks);
        let detector = Scripted::answers(1, move || match of.fetch_add(1, Ordering::Relaxed) {
            2 => of_canaries(),
            _ => Ok(vec![face(100.0, 0.8)]),
        });
        let output = process(
            &name(seq),
            4,
            Known::default(),
            world::pipeline(detector, Scripted::boxes(2, vec![])),
        );
        (output, looks.load(Ordering::Relaxed))
    };
    let everywhere = || {
        let places = (0..12).flat_map(|x| (0..9).map(move |y| (x as f32 * 26.0, y as f32 * 26.0)));
        Ok(places.map(|(x, y)| Detection { x, y, w: 26.0, h: 26.0, score: 0.9 }).collect())
    };
    let failed = || Err(DetectError::Run { name: "twin".to_owned(), message: "no".to_owned() });
    let ((seen, looks), (unseen, _)) = (run(everywhere), run(failed));
    assert_eq!(looks, 5, "one look for the canaries");
    let drawn = |output: &ClipOutput| output.notes.canaries.iter().map(|c| c.drawn).sum::<u32>();
    assert!(drawn(&seen) > 0 && drawn(&unseen) == 0, "{:?}", seen.notes);
    assert_eq!(seen.envelopes, unseen.envelopes);
    assert_eq!(seen.record, unseen.record);
    assert_eq!(seen.last, unseen.last);
    let others = |output: &ClipOutput| Notes { canaries: Default::default(), ..output.notes };
    assert_eq!(others(&seen), others(&unseen));
}
