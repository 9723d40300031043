//! A live camera waits for nobody: what is missed is counted, and nothing else is missing and nothing comes twice.

use std::{
    collections::BTreeSet,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use capture::testing::TestCamera;
use proto::control::{Action, CameraState};
use results::StateKind;
use rustix::process::{Pid, Signal, kill_process};
use system_tests::assets;

use crate::{
    happy::Folders,
    onlooker::{Onlooker, end},
    site::{self, Run, eventually, files, processes_of},
};

const SETTINGS: [&str; 4] = ["--every", "1s", "--clip", "2s"];
const EVERY_US: i64 = 1_000_000;

/// Asks the camera to stop, waits until everything is in, and holds the books against each other. `strange`: objects
/// that others put into the frames, each with its dead letter.
pub(crate) fn everything_is_accounted_for(site: &Onlooker, folders: &Folders, strange: u64) -> u64 {
    assert!(site.command(Action::Stop).applied);
    eventually("rest", || {
        site.camera().is_some_and(|c| c.state == CameraState::Paused) && site.is_at_rest()
    });
    let ledger = site.camera().unwrap().ledger;
    let clips = site.clips();
    let mut slots = 0;
    for clip in &clips {
        clip.record.check().unwrap();
        slots += clip.record.slots.len() as u64;
    }
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!((ledger.captured, ledger.held, ledger.dropped), (slots, 0, 0), "{ledger:?}");

    // Between two clips there is nothing, or a gap that was counted.
    let mut gaps = 0;
    for pair in clips.windows(2) {
        let (before, after) = (&pair[0].record.clip, &pair[1].record.clip);
        let gap_us = pair[1].record.captured_at.micros() - end(&pair[0]).micros();
        if before.session == after.session {
            assert_eq!(after.seq, before.seq + 1, "a clip is missing");
            assert!(gap_us.abs() <= 1, "{gap_us} us between two clips of one session");
        }
        gaps += (gap_us / EVERY_US).max(0).cast_unsigned();
    }
    assert_eq!(ledger.gaps, gaps, "counted and seen");
    let all_us = end(clips.last().unwrap()).micros() - clips[0].record.captured_at.micros();
    let due = (all_us / EVERY_US).cast_unsigned();
    let sessions: BTreeSet<_> = clips.iter().map(|c| c.record.clip.session).collect();
    // Each session begins a grid of its own.
    let difference = (ledger.captured + ledger.gaps).abs_diff(due);
    assert!(difference <= sessions.len() as u64, "{ledger:?} for {due} slots, {sessions:?}");

    // Nothing twice: neither in the database nor in the buckets.
    let done = site.frames(StateKind::Done);
    let frames: BTreeSet<_> = done.iter().map(|row| row.frame.to_string()).collect();
    assert_eq!(frames.len(), done.len(), "a frame has two results");
    assert_eq!(done.len() as u64, ledger.delivered);
    for kind in ["jpg", "json"] {
        let objects = files(&folders.state.join("objects"));
        let objects = objects.iter().filter(|f| f.extension().is_some_and(|e| e == kind));
        assert_eq!(objects.count() as u64, ledger.delivered + strange, "{kind}");
    }
    ledger.gaps
}

/// What is killed, in the direction of the pictures, and what the broker then says for it.
const KILLED: [(&str, &[&str]); 7] = [
    ("fog-node worker", &[]),
    ("fog-node serve", &["fog-fog-1/status", "fog-fog-1/endpoint"]),
    ("cloud-bridge", &["bridge-bridge/status"]),
    ("mask-lambda", &[]),
    ("celosia function", &[]),
    ("celosia object-store", &[]),
    ("mosquitto", &[]),
];

#[test]
fn a_live_camera_loses_nothing_but_counted_gaps_when_each_process_is_killed() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let mut run = Run::up(&folders.state, &[&["--camera", "test:ball"], &SETTINGS[..]].concat());
    let site = Onlooker::at(&mut run, &folders.state);
    let done = || site.frames(StateKind::Done).len();
    // Clips and results of what was recorded after the kill: whatever was killed is back, and the rest goes on.
    let goes_on = |run: &mut Run, what: &str| {
        let (clips, before) = (site.clips().len(), done());
        eventually(&format!("clips and results after the kill of {what}"), || {
            run.has_ended() || (site.clips().len() >= clips + 2 && done() >= before + 2)
        });
        assert!(!run.has_ended(), "it ended by itself");
    };
    eventually("the first result", || run.has_ended() || done() > 0);
    for (what, documents) in KILLED {
        run.kill(what);
        // The broker says what it cannot say itself.
        for document in documents {
            eventually(document, || run.has_ended() || site.was_told_offline(document));
        }
        goes_on(&mut run, what);
    }
    // It hangs before it is killed, so that more than a slot is missing.
    let edge = run.processes("edge-agent")[0];
    kill_process(Pid::from_raw(edge).unwrap(), Signal::STOP).unwrap();
    let stopped = now();
    eventually("a slot to pass", || stopped.elapsed() > Duration::from_millis(1500));
    run.kill("edge-agent");
    eventually("its last will", || run.has_ended() || site.was_told_offline("edge-gw-1/status"));
    goes_on(&mut run, "edge-agent");

    let gaps = everything_is_accounted_for(&site, &folders, 0);
    assert!(gaps >= 1, "the gateway was away for a second and a half");
    // Nobody else's death is a gap: the gateway holds its clips and goes on recording.
    let edge_alone =
        gaps.saturating_mul(1_000) < u64::try_from(stopped.elapsed().as_millis()).unwrap();
    assert!(edge_alone, "{gaps} slots are missing, {:?} since the gateway hung", stopped.elapsed());
    drop(site);
    run.interrupt();
    site::succeeded(&run.end());
}

#[test]
fn a_network_camera_that_goes_away_and_comes_back_is_seen_again() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let password = folders.root.path().join("door.password");
    std::fs::write(&password, "open sesame\n").unwrap();
    let mut camera = TestCamera::start(Some(("viewer", "open sesame")));
    let url = camera.url();
    let login = ["--camera-user", "viewer", "--camera-password-file", password.to_str().unwrap()];
    let arguments = [&["--camera", &url], &login[..], &SETTINGS[..]].concat();
    let mut run = Run::up(&folders.state, &arguments);
    let site = Onlooker::at(&mut run, &folders.state);
    let done = |site: &Onlooker| site.frames(StateKind::Done);
    eventually("the first result", || run.has_ended() || !done(&site).is_empty());

    camera.go_away();
    eventually("the gateway to notice", || {
        run.has_ended() || site.camera().is_some_and(|c| c.state == CameraState::Reconnecting)
    });
    let reason = site.camera().unwrap().reason.unwrap_or_default();
    assert!(reason.contains(&url) && !reason.contains("sesame"), "{reason}");
    let before: BTreeSet<_> = site.clips().iter().map(|c| c.record.clip.session).collect();
    camera.come_back();
    eventually("a result of what it shows now", || {
        run.has_ended() || done(&site).iter().any(|row| !before.contains(&row.frame.clip.session))
    });
    assert!(!run.has_ended(), "it ended by itself");
    everything_is_accounted_for(&site, &folders, 0);
    drop(site);
    run.interrupt();
    site::succeeded(&run.end());
    assert_eq!(processes_of(&folders.state), []);
}

#[test]
fn a_device_is_a_camera() {
    let Some(_) = assets() else { return };
    let device = "/dev/video0";
    if !Path::new(device).exists() {
        let line = format!("SKIPPED: {device} is not there; plug one in or load v4l2loopback\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let folders = Folders::new();
    let mut run = Run::up(&folders.state, &[&["--camera", device], &SETTINGS[..]].concat());
    let site = Onlooker::at(&mut run, &folders.state);
    eventually("the first result", || run.has_ended() || !site.frames(StateKind::Done).is_empty());
    everything_is_accounted_for(&site, &folders, 0);
    drop(site);
    run.interrupt();
    site::succeeded(&run.end());
}

#[expect(clippy::disallowed_methods, reason = "real processes: looked at, not slept for")]
fn now() -> Instant {
    Instant::now()
}
