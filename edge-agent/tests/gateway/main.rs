//! Whole gateways, in this process and as the real binary, against a fog node on a real QUIC socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod commands;
mod world;

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use base::Shutdown;
use edge_agent::{
    config::Config,
    service::{self, End},
};
use link::testing::TestBroker;
use proto::{CameraId, Digest, Role, control::Presence, topic};
use world::{Mood, Seen, World, video};

const CAMERA: &str = "[[camera]]\nid = 'cam'\nsource = 'video.mkv'\nclip = '2s'\nevery = '1s'\n\
    start = '2026-11-24T12:00:00Z'\n";

async fn run(path: &Path) -> End {
    service::run(Config::load(path).unwrap(), Shutdown::default()).await.unwrap()
}

fn records(spool: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(spool).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(records(&path));
        } else {
            all.extend(std::fs::read(path).unwrap());
        }
    }
    all
}

#[tokio::test]
async fn a_file_arrives_whole_in_order_and_leaves_nothing_behind() {
    let mut world = World::start(Mood::Takes).await;
    video(&world.folder.path().join("video.mkv"), 11);
    let path = world.config("exit_when_done = true", CAMERA);
    assert_eq!(run(&path).await, End::Done);
    let mut clips = Vec::new();
    for _ in 0..6 {
        clips.push(world.next_clip().await);
    }
    clips.sort_by_key(|(offer, _)| offer.clip.seq);
    let mut end = 0;
    for (n, (offer, bytes)) in clips.iter().enumerate() {
        assert_eq!((offer.clip.seq, offer.attempt), (n as u64, 1));
        assert_eq!(offer.interval.start_ns, end);
        assert_eq!(offer.digest, Digest::of(bytes));
        assert_eq!(offer.captured_at.to_string().get(..17), Some("2026-11-24T12:00:"));
        end = offer.interval.end_ns;
    }
    assert!((10_900_000_000..=11_100_000_000).contains(&end), "{end}");
    let left = std::fs::read_dir(world.folder.path().join("spool/records"));
    assert_eq!(left.map_or(0, Iterator::count), 0);

    // A finished file is a new session at the next start, which does not collide.
    assert_eq!(run(&path).await, End::Done);
    let (again, _) = world.next_clip().await;
    assert_ne!(again.clip.session, clips[0].0.clip.session);
}

#[tokio::test]
async fn a_gateway_killed_in_the_middle_of_a_file_goes_on_where_it_was() {
    let mut world = World::start(Mood::Busy).await;
    video(&world.folder.path().join("video.mkv"), 21);
    let path = world.config("exit_when_done = true", CAMERA);
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
        command.arg("--config").arg(&path).stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    let mut first = start();
    // An offer means that a clip is durable, and others are on their way.
    let Seen::Offer(offer) = world.next().await else { panic!("a busy fog took a clip") };
    first.kill().unwrap();
    first.wait().unwrap();

    let spool = records(&world.folder.path().join("spool"));
    assert!(!spool.is_empty());
    for plain in [&b"matroska"[..], &[0x1a, 0x45, 0xdf, 0xa3]] {
        assert!(!spool.windows(plain.len()).any(|w| w == plain), "video lies in the clear");
    }

    world.set(Mood::Takes);
    let mut second = start();
    let code = tokio::task::spawn_blocking(move || second.wait().unwrap()).await.unwrap();
    assert!(code.success(), "{code}");
    let mut seen = BTreeSet::new();
    for _ in 0..11 {
        let (clip, _) = world.next_clip().await;
        assert_eq!(clip.clip.session, offer.clip.session);
        assert!(seen.insert(clip.clip.seq), "clip {} came twice", clip.clip.seq);
    }
    assert_eq!(seen, (0..11).collect());
}

#[tokio::test]
async fn a_clip_that_crashes_the_worker_three_times_is_quarantined_and_named() {
    let mut world = World::start(Mood::Crashes).await;
    video(&world.folder.path().join("video.mkv"), 1);
    let path = world.config("exit_when_done = true", CAMERA);
    let End::Missing(lines) = run(&path).await else { panic!("nothing was missing") };
    assert!(lines.iter().any(|line| line.contains("quarantined")), "{lines:?}");
    for attempt in 1..=3 {
        assert_eq!(world.next_clip().await.0.attempt, attempt);
    }
}

#[tokio::test]
async fn a_receipt_of_another_bridge_deletes_nothing() {
    let mut world = World::start(Mood::Forges).await;
    video(&world.folder.path().join("video.mkv"), 1);
    let path = world.config("exit_when_done = true", CAMERA);
    let shutdown = Shutdown::default();
    let ended = service::run(Config::load(&path).unwrap(), shutdown.clone());
    let forged = async {
        let (offer, _) = world.next_clip().await;
        // The clip comes again: it was kept.
        let again = world.next_clip().await.0;
        assert_eq!((again.clip, again.digest), (offer.clip, offer.digest));
        world.set(Mood::Takes);
        world.next_clip().await
    };
    let (ended, _) = tokio::join!(ended, forged);
    assert_eq!(ended.unwrap(), End::Done);
}

#[tokio::test]
async fn a_file_that_is_no_video_is_named_and_others_go_on() {
    let mut world = World::start(Mood::Takes).await;
    video(&world.folder.path().join("video.mkv"), 1);
    std::fs::write(world.folder.path().join("letter.mp4"), "not a video").unwrap();
    let both = format!("{CAMERA}[[camera]]\nid = 'letter'\nsource = 'letter.mp4'\n");
    let path = world.config("exit_when_done = true", &both);
    let End::Missing(lines) = run(&path).await else { panic!("nothing was missing") };
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("camera letter") && lines[0].contains("letter.mp4"), "{lines:?}");
    world.next_clip().await;
}

#[tokio::test]
async fn a_gateway_that_ends_keeps_its_own_last_words_at_a_real_broker() {
    let mut world = World::start(Mood::Takes).await;
    let Some(broker) = TestBroker::start(&world.site) else { return };
    video(&world.folder.path().join("video.mkv"), 1);
    let port = broker.port();
    let top = format!("exit_when_done = true\nbroker = {{ host = 'localhost', port = {port} }}");
    let path = world.config(&top, CAMERA);

    let stop = Shutdown::default();
    let watching = world.console("one", port, &stop);
    let status = topic::status(&world.site.identity(Role::Edge, "gw"));
    let mut statuses = watching.subscribe(&status).unwrap();
    // Without a connection yet there is nobody to say anything to.
    let online =
        async { while !World::next_status(&mut statuses).await.cameras.contains_key(&camera()) {} };
    let (end, ()) = tokio::join!(run(&path), online);
    assert_eq!(end, End::Done);
    world.next_clip().await;

    // Whoever comes later finds the last status and not the last will, which has neither time nor cameras.
    let late = world.console("two", port, &stop);
    let last = World::next_status(&mut late.subscribe(&status).unwrap()).await;
    assert_eq!(last.presence, Presence::Offline);
    assert!(last.at.is_some() && last.cameras[&camera()].ledger.delivered == 1, "{last:?}");
}

fn camera() -> CameraId {
    "cam".parse().unwrap()
}

#[tokio::test]
async fn a_wrong_configuration_exits_64_and_names_the_key() {
    let world = World::start(Mood::Takes).await;
    let path = world.config("clip_seconds = 3", CAMERA);
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
    let output = command.arg("--config").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("clip_seconds") && text.contains("edge.toml"), "{text}");
}

#[tokio::test]
async fn a_gateway_that_is_asked_to_stop_closes_every_open_clip_and_keeps_it() {
    /// Less than the minute after which an open clip would end by itself, many times what it takes, also on a machine
    /// with other work. A gateway that leaves its clips open when its grace is over has none to send at the next start.
    const SOON: Duration = Duration::from_secs(45);
    let mut world = World::start(Mood::Takes).await;
    // Many at once: which of two wake-ups a recorder sees first is chance, and each must do the same.
    let long: BTreeSet<CameraId> = (0..8).map(|n| format!("long-{n}").parse().unwrap()).collect();
    let camera = |id: &str, clip| {
        format!("[[camera]]\nid = '{id}'\nsource = 'test:black'\nclip = '{clip}'\nevery = '1s'\n")
    };
    let mut cameras = camera("short", "1s");
    long.iter().for_each(|id| cameras.push_str(&camera(id.as_str(), "60s")));
    let path = world.config("", &cameras);
    let config = Config::load(&path).unwrap();
    let shutdown = Shutdown::default();
    // A clip of a second has come, so every camera records, and no clip of a minute is near its end.
    let stop = async {
        let (offer, _) = world.next_clip().await;
        assert_eq!(offer.clip.camera.as_str(), "short");
        shutdown.request();
    };
    let ends = async { tokio::join!(service::run(config, shutdown.clone()), stop).0 };
    let end = tokio::time::timeout(SOON, ends).await;
    assert_eq!(end.expect("it waits for clips of a minute").unwrap(), End::Done);

    // What did not get through on the last moment is in the spool, and comes at the next start.
    let again = Shutdown::default();
    let config = Config::load(&path).unwrap();
    let seen = async {
        let mut seen = BTreeSet::new();
        while !seen.is_superset(&long) {
            seen.insert(world.next_clip().await.0.clip.camera);
        }
        again.request();
    };
    let ends = async { tokio::join!(service::run(config, again.clone()), seen).0 };
    let end = tokio::time::timeout(SOON, ends).await;
    assert_eq!(end.expect("it waits for clips of a minute").unwrap(), End::Done);
}
