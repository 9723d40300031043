//! The real binary: the whole way from a fog node to the database, and `kill -9` between the steps.

use std::{process::Command, time::Duration};

use base::{Clock, Shutdown, SystemClock};
use cloud_bridge::outbox::Outbox;
use proto::wire::CommitMessage;
use results::{ClipFilter, FrameState};
use sqlx::Connection;
use store::testing::{FRAMES_BUCKET, Mode};

use crate::world::{
    Clip, copy_folder,
    process::{Around, Process},
    put_results, until,
};

/// Commits clips; every one gets its receipt.
async fn commit(around: &Around, process: &Process, clips: &[Clip]) {
    let fog = around.site.fog(&process.address, "fog-1").await;
    for clip in clips {
        around.site.check_receipt(&fog.receipt(clip).await, clip);
    }
    fog.0.finish("done").await;
}

/// Every frame is in the store and awaited or done, each once; every clip is recorded; the outbox is empty.
async fn check(around: &Around, clips: &[Clip]) {
    let keys = around.site.keys(clips);
    assert_eq!(around.server.keys(FRAMES_BUCKET), keys);
    let rows: Vec<String> = around.frames().await.into_iter().map(|row| row.key).collect();
    assert_eq!(rows, keys);
    let database = around.database().await;
    let recorded = database.clips(&ClipFilter::default(), 1000).await.unwrap();
    for (row, clip) in recorded.iter().zip(clips) {
        assert_eq!(&row.record, &clip.record);
        around.site.check_receipt(&row.receipt, clip);
    }
    assert_eq!(recorded.len(), clips.len());
    database.close().await;
    let (outbox, _) = Outbox::open(&around.site.path("outbox"), 1_000_000_000).unwrap();
    assert_eq!((outbox.names(), outbox.set_aside_records()), (vec![], 0));
}

/// Waits until the database has recorded this many clips.
async fn recorded(around: &Around, clips: usize) {
    let database = around.database().await;
    until("all clips are recorded", async || {
        database.clips(&ClipFilter::default(), 1000).await.unwrap().len() == clips
    })
    .await;
    database.close().await;
}

/// Waits until nothing is left in the outbox.
async fn emptied(around: &Around) {
    let records = around.site.path("outbox").join("records");
    until("the outbox is empty", async || std::fs::read_dir(&records).unwrap().count() == 0).await;
}

/// A fresh bridge finishes what the killed one had begun, knows its clips, and ends well.
async fn finish(around: &Around, clips: &[Clip]) {
    let process = around.start().await;
    recorded(around, clips.len()).await;
    emptied(around).await;
    let fog = around.site.fog(&process.address, "fog-2").await;
    for clip in clips {
        let known = fog.status(clip.id()).await;
        let CommitMessage::Committed(receipt) = known else { panic!("{known:?}") };
        around.site.check_receipt(&receipt, clip);
    }
    assert_eq!(process.stop().await, Some(0));
    check(around, clips).await;
}

#[tokio::test]
async fn a_clip_goes_all_the_way_to_its_results_in_the_database() {
    let around = Around::new("", "overdue = '1h'").await;
    let process = around.start().await;
    let clips: Vec<Clip> = (0..3).map(|seq| around.site.clip(seq, 3)).collect();
    commit(&around, &process, &clips).await;
    recorded(&around, 3).await;
    emptied(&around).await;
    put_results(&around.site, &clips, &around.s3().await.results()).await;
    let database = around.database().await;
    until("all frames are done", async || {
        let rows = database.frames(&Default::default(), 1000).await.unwrap();
        rows.len() == 6 && rows.iter().all(|row| row.result().is_some())
    })
    .await;
    let cameras = database.cameras().await.unwrap();
    let [camera] = cameras.as_slice() else { panic!("one camera: {cameras:?}") };
    assert_eq!((camera.delivered, camera.withheld, camera.counts.total().frames), (6, 3, 6));
    assert_eq!(camera.counts.total().no_mask, 3, "one face that stays in both frames of each clip");
    database.close().await;
    assert_eq!(process.stop().await, Some(0));
    check(&around, &clips).await;
    assert!(around.function.keys().is_empty(), "nothing was overdue");
}

#[tokio::test]
async fn an_overdue_frame_is_asked_for_by_the_lambda_api_and_dies_after_its_tries() {
    let around = Around::new("", "overdue = '1s'\ntries_max = 2").await;
    let process = around.start().await;
    let clips = [around.site.clip(0, 1)];
    commit(&around, &process, &clips).await;
    let database = around.database().await;
    until("the frame is dead", async || {
        let rows = database.frames(&Default::default(), 1000).await.unwrap();
        matches!(rows.as_slice(), [row] if matches!(row.state, FrameState::Dead { tries: 2, .. }))
    })
    .await;
    database.close().await;
    let key = around.site.keys(&clips).concat();
    assert_eq!(around.function.keys(), vec![key.clone(), key]);
    let events = around.function.events();
    let record = &events[0]["Records"][0];
    assert_eq!(record["eventName"], "ObjectCreated:Put");
    assert_eq!(record["s3"]["bucket"]["name"], FRAMES_BUCKET);
    assert_eq!(process.stop().await, Some(0));
}

#[tokio::test]
async fn killed_after_the_commit() {
    let around = Around::new("", "overdue = '1h'").await;
    around.server.set_mode(Mode::Away);
    let process = around.start().await;
    let clips: Vec<Clip> = (0..3).map(|seq| around.site.clip(seq, 3)).collect();
    commit(&around, &process, &clips).await;
    process.kill().await;
    assert!(around.server.keys(FRAMES_BUCKET).is_empty());
    around.server.set_mode(Mode::Sound);
    finish(&around, &clips).await;
}

#[tokio::test]
async fn killed_after_the_put_and_before_its_answer() {
    let around = Around::new("", "overdue = '1h'").await;
    around.server.set_mode(Mode::AnswerLost);
    let process = around.start().await;
    let clips: Vec<Clip> = (0..3).map(|seq| around.site.clip(seq, 3)).collect();
    commit(&around, &process, &clips).await;
    until("a frame is stored", async || !around.server.keys(FRAMES_BUCKET).is_empty()).await;
    process.kill().await;
    assert!(around.frames().await.is_empty());
    around.server.set_mode(Mode::Sound);
    finish(&around, &clips).await;
}

#[tokio::test]
async fn killed_between_the_put_and_the_database() {
    let around = Around::new("", "overdue = '1h'").await;
    let process = around.start().await;
    let url = format!("sqlite:{}", around.site.path("results.db").display());
    sqlx::any::install_default_drivers();
    let mut writer = sqlx::AnyConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    let clips: Vec<Clip> = (0..3).map(|seq| around.site.clip(seq, 3)).collect();
    commit(&around, &process, &clips).await;
    let keys = around.site.keys(&clips);
    until("all frames are stored", async || around.server.keys(FRAMES_BUCKET) == keys).await;
    process.kill().await;
    sqlx::query("ROLLBACK").execute(&mut writer).await.unwrap();
    writer.close().await.unwrap();
    assert!(around.frames().await.is_empty());
    finish(&around, &clips).await;
}

#[tokio::test]
async fn killed_between_the_database_and_the_removal() {
    let around = Around::new("", "overdue = '1h'").await;
    around.server.set_mode(Mode::Away);
    let process = around.start().await;
    let clips: Vec<Clip> = (0..3).map(|seq| around.site.clip(seq, 3)).collect();
    commit(&around, &process, &clips).await;
    process.kill().await;
    // What a kill at that moment leaves: store and database have everything, and so has the outbox.
    copy_folder(&around.site.path("outbox"), &around.site.path("before"));
    around.server.set_mode(Mode::Sound);
    finish(&around, &clips).await;
    std::fs::remove_dir_all(around.site.path("outbox")).unwrap();
    std::fs::rename(around.site.path("before"), around.site.path("outbox")).unwrap();
    let puts = || around.server.seen().iter().filter(|seen| seen.method == "PUT").count();
    let before = puts();
    finish(&around, &clips).await;
    assert_eq!(puts(), before + 6, "every frame was put again, and was there");
}

#[tokio::test]
async fn killed_again_and_again_at_any_moment() {
    // Deterministic moments; the machine's own pace makes them fall into any step.
    let mut seed: u64 = 20_261_124;
    let around = Around::new("", "overdue = '1h'").await;
    let clips: Vec<Clip> = (0..24).map(|seq| around.site.clip(seq, 3)).collect();
    let s3 = around.s3().await;
    let pauses = Shutdown::default();
    let mut committed = Vec::new();
    for part in clips.chunks(4) {
        let process = around.start().await;
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_millis((seed >> 33) % 120);
        let fog = around.site.fog(&process.address, "fog-1").await;
        let work = async {
            for clip in part {
                // The bridge may die before it answers; the edge keeps the clip then.
                let Ok(CommitMessage::Committed(receipt)) = fog.try_commit(clip).await else {
                    return;
                };
                around.site.check_receipt(&receipt, clip);
                committed.push(clip.clone());
                put_results(&around.site, std::slice::from_ref(clip), &s3.results()).await;
            }
        };
        tokio::select! {
            () = async { work.await; std::future::pending().await } => {}
            _ = pauses.sleep(moment) => {}
        }
        eprintln!("killed after {moment:?}");
        process.kill().await;
    }
    // The edge sends again what has no receipt.
    let process = around.start().await;
    commit(&around, &process, &clips).await;
    put_results(&around.site, &clips, &s3.results()).await;
    recorded(&around, clips.len()).await;
    emptied(&around).await;
    let database = around.database().await;
    until("all frames are done", async || {
        let rows = database.frames(&Default::default(), 1000).await.unwrap();
        rows.len() == 48 && rows.iter().all(|row| row.result().is_some())
    })
    .await;
    let cameras = database.cameras().await.unwrap();
    let counts = cameras[0].counts.total();
    assert_eq!((cameras[0].delivered, counts.frames), (48, 48), "counted once each");
    assert_eq!(counts.no_mask, 24, "one face that stays in both frames of each clip");
    database.close().await;
    assert_eq!(process.stop().await, Some(0));
    check(&around, &clips).await;
    eprintln!("{} clips had their receipt before a kill", committed.len());
}

#[tokio::test]
async fn a_bridge_ends_in_time_although_the_store_never_answers() {
    let around = Around::new("", "overdue = '1h'").await;
    around.server.set_mode(Mode::Silent);
    let process = around.start().await;
    let clips = [around.site.clip(0, 3)];
    commit(&around, &process, &clips).await;
    until("the store was asked", async || !around.server.seen().is_empty()).await;
    let clock = SystemClock::default();
    assert_eq!(process.stop().await, Some(0));
    let took = clock.now();
    assert!(took < Duration::from_secs(10), "a call of a minute was waited for: {took:?}");
    around.server.set_mode(Mode::Sound);
    finish(&around, &clips).await;
}

#[tokio::test]
async fn an_object_that_nobody_sealed_changes_nothing() {
    let around = Around::new("", "overdue = '1h'").await;
    let process = around.start().await;
    let key = "frames/v1/town/cam-1/2026/11/24/12/planted.jpg";
    around.server.plant(FRAMES_BUCKET, key, b"nobody sealed this".to_vec());
    let clips = [around.site.clip(0, 3)];
    commit(&around, &process, &clips).await;
    recorded(&around, 1).await;
    let rows = around.frames().await;
    assert!(rows.len() == 2 && rows.iter().all(|row| row.key != key), "{rows:?}");
    assert!(around.server.seen().iter().all(|seen| !seen.target.contains("planted")));
    assert_eq!(process.stop().await, Some(0));
}

#[tokio::test]
async fn a_bridge_that_is_set_up_wrongly_says_so_and_ends_with_64() {
    let around = Around::new("", "").await;
    let run = |config: &str, check: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloud-bridge"));
        command.arg("--config").arg(around.site.path(config));
        if check {
            command.arg("--check");
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run("bridge.toml", true).0, Some(0));
    let text = std::fs::read_to_string(around.site.path("bridge.toml")).unwrap();
    let other = |name: &str, from: &str, to: &str| {
        std::fs::write(around.site.path(name), text.replace(from, to)).unwrap();
    };
    other("unknown.toml", "outbox = ", "outbocks = 'x'\noutbox = ");
    other("name.toml", "name = 'bridge-1'", "name = 'bridge-2'");
    other("root.toml", "seal_root = 'seal.root'", "seal_root = 'nowhere'");
    other("receipt.toml", "receipt_key = 'receipt.key'", "receipt_key = 'bridge.toml'");
    for (config, part) in [
        ("unknown.toml", "outbocks"),
        ("name.toml", "bridge-2"),
        ("root.toml", "nowhere"),
        ("receipt.toml", "receipt key"),
        ("missing.toml", "missing.toml"),
    ] {
        let (code, told) = run(config, false);
        assert!(code == Some(64) && told.contains(part), "{config}: {code:?} {told}");
    }
}
