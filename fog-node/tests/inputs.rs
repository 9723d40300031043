//! What cameras and disks make of video, through a whole fog node with real workers: each clip ends in one record that
//! accounts for every slot.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod world;

use std::{path::Path, process::Command};

use fog_node::node::count;
use link::transfer::UploadOutcome;
use proto::{
    Interval,
    envelope::SealedFrame,
    record::{ClipFailure, ClipRecord, SlotOutcome, Tally},
    wire::Offer,
};
use world::{Fog, Gateway, Mood, TwinBridge, World, counted, offer, root};

/// Runs a GStreamer pipeline that ends by itself.
fn gst(line: &str) {
    let made = Command::new("gst-launch-1.0").arg("-q").args(line.split_whitespace()).status();
    assert!(made.unwrap().success(), "{line}");
}

/// x264 from the test source at 10 pictures a second, a key frame each `group` pictures, in this container.
fn video(path: &Path, size: (u32, u32), pictures: u32, group: u32, mux: &str) -> Vec<u8> {
    let (width, height) = size;
    gst(&format!(
        "videotestsrc num-buffers={pictures} pattern=ball ! \
         video/x-raw,width={width},height={height},framerate=10/1 ! \
         x264enc key-int-max={group} bframes=0 ! h264parse ! {mux} ! filesink location={}",
        path.display()
    ));
    std::fs::read(path).unwrap()
}

/// The same stream without its key frames: parameter sets, then pictures that need one that is not there.
fn without_key_frames(folder: &Path) -> Vec<u8> {
    let stream = video(
        &folder.join("all.h264"),
        (320, 240),
        20,
        250,
        "video/x-h264,stream-format=byte-stream,alignment=au",
    );
    let starts: Vec<usize> =
        (0..stream.len() - 3).filter(|at| stream[*at..].starts_with(&[0, 0, 1])).collect();
    let ends = starts.iter().copied().skip(1).chain([stream.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| &stream[*start..end]);
    // Type 5 is a slice of a key frame.
    let kept: Vec<u8> = units.filter(|unit| unit[3] & 0x1f != 5).flatten().copied().collect();
    let path = folder.join("cut.h264");
    std::fs::write(&path, kept).unwrap();
    let muxed = folder.join("cut.mkv");
    gst(&format!(
        "filesrc location={} ! video/x-h264,framerate=10/1 ! h264parse ! matroskamux ! \
         filesink location={}",
        path.display(),
        muxed.display()
    ));
    std::fs::read(muxed).unwrap()
}

struct Way {
    world: World,
    bridge: TwinBridge,
    fog: Fog,
    gateway: Gateway,
}

/// A fog node with one real worker; nothing when the models are not there.
async fn way() -> Option<Way> {
    let world = World::new();
    let bridge = world.bridge(Mood::Takes);
    let fog = world.real_fog(&bridge.address, "workers = 1").await?;
    let gateway = world.gateway("gw-1", &fog.address).await;
    Some(Way { world, bridge, fog, gateway })
}

impl Way {
    /// The record that the bridge has of this clip, and its envelopes.
    async fn record(&self, offered: &Offer, bytes: &[u8]) -> (ClipRecord, Vec<Vec<u8>>) {
        let outcome = self.gateway.upload_at_last(offered, bytes).await;
        let UploadOutcome::Receipt(receipt) = outcome else { panic!("{outcome:?}") };
        receipt.verify(&TwinBridge::key().public()).unwrap();
        let books = self.bridge.books();
        let committed = &books.committed[&offered.clip];
        committed.record.check().unwrap();
        assert_eq!(receipt.tally, committed.record.tally());
        assert_eq!(receipt.failure, committed.record.failure);
        (committed.record.clone(), committed.envelopes.clone())
    }
}

#[tokio::test]
async fn frames_of_a_clip_are_sealed_and_stand_in_its_record() {
    let Some(way) = way().await else { return };
    let bytes = video(&way.world.path("a.mp4"), (640, 360), 20, 10, "mp4mux");
    let offered = offer(1, &bytes);
    let (record, envelopes) = way.record(&offered, &bytes).await;
    assert_eq!(record.tally(), Tally { delivered: 2, withheld: 0, undecodable: 0 });
    for (slot, envelope) in record.slots.iter().zip(envelopes) {
        let frame = SealedFrame::open(envelope, &root().public()).unwrap();
        assert_eq!(slot.outcome, SlotOutcome::Frame(frame.digest()));
        let manifest = frame.manifest();
        assert_eq!((&manifest.frame.clip, manifest.frame.slot), (&offered.clip, slot.slot));
        assert_eq!(manifest.clip_captured_at, offered.captured_at);
        assert_eq!((manifest.width, manifest.height), (640, 360));
    }
    let status = way.fog.stop().await;
    assert_eq!((counted(&status, count::FRAMES), counted(&status, count::UNREADABLE)), (2, 0));
}

#[tokio::test]
async fn what_is_no_video_is_one_record_that_says_why_and_the_next_clip_works() {
    let Some(way) = way().await else { return };
    let whole = video(&way.world.path("a.mp4"), (320, 240), 20, 10, "mp4mux");
    let wide = video(&way.world.path("b.mkv"), (3856, 240), 20, 10, "matroskamux");
    let cases: [(&str, &[u8], &[ClipFailure]); 5] = [
        ("a letter", b"not a video, and never was one", &[ClipFailure::NotVideo]),
        ("nothing but zeros", &[0; 4096], &[ClipFailure::NotVideo]),
        ("a single byte", b"x", &[ClipFailure::NotVideo]),
        // The index of an MP4 is at its end.
        (
            "a truncated MP4",
            &whole[..whole.len() / 2],
            &[ClipFailure::NotVideo, ClipFailure::Truncated],
        ),
        ("too large a picture", &wide, &[ClipFailure::PictureTooLarge]),
    ];
    for (seq, (what, bytes, failures)) in (0..).zip(cases) {
        let (record, envelopes) = way.record(&offer(seq, bytes), bytes).await;
        assert!(record.failure.is_some_and(|f| failures.contains(&f)), "{what}: {record:?}");
        assert_eq!(record.tally().undecodable, 2, "{what}");
        assert!(envelopes.is_empty(), "{what}");
    }
    let (record, _) = way.record(&offer(9, &whole), &whole).await;
    assert_eq!(record.tally().delivered, 2);
    let status = way.fog.stop().await;
    assert_eq!(counted(&status, count::UNREADABLE), 5);
    assert_eq!(counted(&status, count::WORKER_CRASHES), 0);
}

#[tokio::test]
async fn a_clip_without_a_key_frame_has_no_frame_and_says_so() {
    let Some(way) = way().await else { return };
    let bytes = without_key_frames(way.world.folder.path());
    let (record, envelopes) = way.record(&offer(1, &bytes), &bytes).await;
    assert_eq!(record.tally(), Tally { delivered: 0, withheld: 0, undecodable: 2 });
    assert!(record.failure.is_some() && envelopes.is_empty(), "{record:?}");
}

#[tokio::test]
async fn a_clip_that_ends_early_gives_the_frames_that_are_there() {
    let Some(way) = way().await else { return };
    let whole = video(&way.world.path("a.mkv"), (320, 240), 60, 10, "matroskamux");
    let bytes = &whole[..whole.len() / 2];
    let mut offered = offer(1, bytes);
    offered.interval.end_ns = 6_000_000_000;
    let (record, envelopes) = way.record(&offered, bytes).await;
    let tally = record.tally();
    assert_eq!(tally.delivered + tally.undecodable, 6);
    assert!(tally.delivered >= 1 && tally.undecodable >= 1, "{record:?}");
    assert_eq!(envelopes.len() as u32, tally.delivered);
}

#[tokio::test]
async fn three_minutes_with_one_group_of_pictures_are_clips_of_a_minute_the_first_of_which_decodes()
{
    let Some(way) = way().await else { return };
    // The edge cuts such a file at 60 s; this is a longer file than its offer says, which changes nothing.
    let bytes = video(&way.world.path("a.mkv"), (160, 120), 1800, 100_000, "matroskamux");
    let mut offered = offer(1, &bytes);
    offered.interval = Interval { start_ns: 0, end_ns: 60_000_000_000 };
    offered.every_ns = 15_000_000_000;
    let (record, _) = way.record(&offered, &bytes).await;
    assert_eq!(record.tally().delivered, 4, "{record:?}");
}
