//! A detector that fails, hangs, goes blind or returns what is no box.

use std::time::Duration;

use fog_node::{
    node::count,
    parent::{Worker, WorkerError},
    pipeline::Known,
};
use models::{DetectError, Detection, detector::Scripted};
use proto::{
    record::{SlotOutcome, Tally, WithheldReason},
    wire::RefuseReason,
};

use crate::{
    twin::{FACE, Step, clear, command, offer, pipeline, small},
    world::{self, LONG, Mood, World, counted, reason},
};

const DETECTOR: SlotOutcome = SlotOutcome::Withheld(WithheldReason::Detector);
const AUDITOR: SlotOutcome = SlotOutcome::Withheld(WithheldReason::Auditor);

/// What becomes of the slots of one small clip.
fn outcomes(detector: Scripted, auditor: Scripted, slots: i64) -> Vec<SlotOutcome> {
    let output =
        pipeline(detector, auditor).process(&offer(1, small(), slots), Known::default(), small());
    output.record.check().unwrap();
    let frames = output.record.slots.iter().filter(|s| matches!(s.outcome, SlotOutcome::Frame(_)));
    assert_eq!(frames.count(), output.envelopes.len());
    output.record.slots.iter().map(|slot| slot.outcome).collect()
}

#[test]
fn a_detector_or_auditor_that_returns_an_error_withholds_each_of_its_frames() {
    let faces = || Scripted::boxes(1, vec![FACE]);
    assert_eq!(outcomes(Scripted::failing(1), clear(), 4), [DETECTOR; 4]);
    assert_eq!(outcomes(faces(), Scripted::failing(2), 4), [AUDITOR; 4]);
}

#[test]
fn an_error_in_one_frame_withholds_that_frame_and_no_other() {
    let mut look = 0;
    let every_second = Scripted::answers(1, move || {
        look += 1;
        let (name, message) = ("scripted".to_owned(), "out of memory".to_owned());
        if look % 2 == 0 { Err(DetectError::Run { name, message }) } else { Ok(vec![FACE]) }
    });
    let outcomes = outcomes(every_second, clear(), 4);
    let withheld: Vec<bool> = outcomes.iter().map(|outcome| *outcome == DETECTOR).collect();
    assert_eq!(withheld, [false, true, false, true]);
}

#[test]
fn boxes_that_are_no_numbers_or_lie_nowhere_withhold_the_frame_though_others_are_good() {
    for wrong in [
        Detection { x: f32::NAN, ..FACE },
        Detection { h: f32::INFINITY, ..FACE },
        Detection { score: f32::NAN, ..FACE },
        Detection { w: -4.0, ..FACE },
        Detection { y: 1e9, ..FACE },
    ] {
        let mixed = |family| Scripted::boxes(family, vec![FACE, wrong]);
        assert_eq!(outcomes(mixed(1), clear(), 2), [DETECTOR; 2], "{wrong:?}");
        let faces = Scripted::boxes(1, vec![FACE]);
        assert_eq!(outcomes(faces, mixed(2), 2), [AUDITOR; 2], "{wrong:?}");
    }
}

/// What stops the frames of a blind detector is the auditor, which is of another family: it covers what it sees twice, and
/// then the detector's silence is not believed any more.
#[test]
fn a_detector_that_finds_nothing_100_times_on_a_busy_camera_is_not_believed_after_the_second() {
    let sees = Scripted::boxes(2, vec![FACE]);
    let mut pipeline = pipeline(Scripted::boxes(1, vec![]), sees);
    let output = pipeline.process(&offer(1, small(), 50), Known::default(), small());
    let again = pipeline.process(&offer(2, small(), 50), Known::default(), small());
    assert_eq!(output.record.tally(), Tally { delivered: 2, withheld: 48, undecodable: 0 });
    assert_eq!(again.record.tally(), Tally { delivered: 0, withheld: 50, undecodable: 0 });
    assert!(output.record.slots.iter().skip(2).all(|slot| slot.outcome == DETECTOR));
    assert_eq!((output.notes.looked, output.notes.silent_at_end), (50, 50));
    assert_eq!((output.notes.doubted, again.notes.doubted), (48, 50));
}

#[test]
fn an_empty_street_is_delivered_for_as_long_as_the_auditor_sees_nobody_either() {
    let mut pipeline = pipeline(Scripted::boxes(1, vec![]), clear());
    for seq in 0..2 {
        let output = pipeline.process(&offer(seq, small(), 50), Known::default(), small());
        assert_eq!(output.record.tally().delivered, 50);
        assert_eq!((output.notes.doubted, output.notes.silent_at_end), (0, 50));
    }
}

#[tokio::test]
async fn the_silence_of_a_detector_stands_in_the_status_that_the_console_hears() {
    let world = World::new();
    let bridge = world.bridge(Mood::Takes);
    let (config, folder) =
        (world.config(&bridge.address, &world.path("none"), "workers = 1"), world.path("tmp"));
    std::fs::create_dir(&folder).unwrap();
    let config = fog_node::config::Config::load(&config).unwrap();
    let fog = world::Fog::start(config, move || command(Step::Blind, &folder)).await.unwrap();
    let gateway = world.gateway("gw-1", &fog.address).await;
    let offered = offer(1, small(), 50);
    assert_eq!(reason(&gateway.upload(&offered, small()).await), None);
    let status = fog.stop().await;
    assert_eq!((counted(&status, count::SILENT), counted(&status, count::DOUBTED)), (50, 48));
    assert_eq!(counted(&status, count::WITHHELD), 48);
    let watched = &status.watched[&offered.clip.camera];
    assert_eq!((watched.silent_in_a_row, watched.doubted), (50, 48));
}

#[test]
fn a_detector_that_hangs_is_killed_with_its_worker_at_the_deadline_and_nothing_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(command(Step::Hang, folder.path()), LONG).unwrap();
    let pid = worker.id();
    let offered = offer(1, small(), 2);
    let ended = worker.process(
        offered,
        Known::default(),
        small().to_vec().into(),
        Duration::from_millis(500),
    );
    assert!(matches!(ended, Err(WorkerError::Deadline(_))), "{ended:?}");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it still runs");
}

#[tokio::test]
async fn a_detector_that_hangs_costs_one_attempt_and_nothing_is_committed() {
    let world = World::new();
    let bridge = world.bridge(Mood::Takes);
    let top = "workers = 1\nclip_deadline = '1s'";
    let config = world.config(&bridge.address, &world.path("none"), top);
    let config = fog_node::config::Config::load(&config).unwrap();
    let folder = world.folder.path().to_owned();
    let fog = world::Fog::start(config, move || command(Step::Hang, &folder)).await.unwrap();
    let gateway = world.gateway("gw-1", &fog.address).await;
    let outcome = gateway.upload(&offer(1, small(), 2), small()).await;
    assert_eq!(reason(&outcome), Some(RefuseReason::Failed));
    assert!(bridge.books().committed.is_empty());
    let status = fog.stop().await;
    assert_eq!(
        (counted(&status, count::WORKER_DEADLINES), counted(&status, count::FAILED)),
        (1, 1)
    );
}
