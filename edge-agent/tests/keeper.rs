//! The keeper against a disk in memory that fails and a process that dies at any write.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{path::Path, time::Duration};

use edge_agent::{
    due::Due,
    held::{Failure, Fresh, Retention},
    keeper::{KeepError, Keeper},
    schedule::{Plan, Schedule},
    store::{Store, memory::MemoryStore},
};
use proto::{
    CameraId, ClipId, Clock, Digest, Interval, SessionId, UtcTime,
    record::{ClipFailure, ClipRecord, Receipt, SlotOutcome, SlotRecord},
    signing::SigningKey,
    time::ClockSource,
};

const SECOND: i64 = 1_000_000_000;
const EVERY: i64 = 5 * SECOND;
const CLOCK: Clock = Clock { source: ClockSource::System, uncertainty_ms: None };

fn bridge() -> SigningKey {
    SigningKey::from_seed(&[9; 32]).unwrap()
}

fn open(store: &MemoryStore, state: &Path, now: UtcTime) -> Result<Keeper, KeepError> {
    let retention = Retention { age_max: Duration::from_secs(7 * 86_400) };
    Keeper::open(Box::new(store.clone()), state, retention, bridge().public(), &[], now)
}

fn at(seconds: i64) -> UtcTime {
    UtcTime::EPOCH.plus_ns(seconds * SECOND)
}

fn camera() -> CameraId {
    "cam".parse().unwrap()
}

fn clip(seq: u64) -> ClipId {
    let session = SessionId::new([7; 16]);
    ClipId { site: "town".parse().unwrap(), camera: camera(), session, seq }
}

/// Clip `seq` of 10 s: two slots.
fn keep(keeper: &mut Keeper, seq: u64, bytes: &[u8]) -> Result<bool, KeepError> {
    let start_ns = seq.cast_signed() * 10 * SECOND;
    let interval = Interval { start_ns, end_ns: start_ns + 10 * SECOND };
    let captured_at = UtcTime::EPOCH.plus_ns(start_ns);
    let fresh =
        Fresh { clip: clip(seq), bytes, interval, every_ns: EVERY, captured_at, clock: CLOCK };
    keeper.keep(&fresh, captured_at)
}

/// What is due of a camera that was started, by a process that began at this second.
fn due(schedule: Schedule, began: i64) -> Due {
    Due::of(&Plan { schedule, started: true, now_until: None }, at(began))
}

fn receipt(seq: u64, failure: Option<ClipFailure>) -> Receipt {
    let start_ns = seq.cast_signed() * 10 * SECOND;
    let interval = Interval { start_ns, end_ns: start_ns + 10 * SECOND };
    let outcome = match failure {
        Some(_) => SlotOutcome::Undecodable,
        None => SlotOutcome::Frame(Digest::of(b"frame")),
    };
    let slots = interval.slots(EVERY).map(|slot| SlotRecord { slot, outcome }).collect();
    let record = ClipRecord {
        clip: clip(seq),
        interval,
        every_ns: EVERY,
        captured_at: at(0),
        clock: CLOCK,
        attempt: 1,
        policy: Digest::of(b"policy"),
        slots,
        failure,
    };
    Receipt::sign(&bridge(), &record, at(0))
}

#[test]
fn a_clip_is_destroyed_only_by_a_valid_receipt_for_it() {
    let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(1000));
    let mut keeper = open(&store, folder.path(), at(0)).unwrap();
    assert!(keep(&mut keeper, 0, &[1; 100]).unwrap());
    let job = keeper.next(Duration::ZERO).unwrap().unwrap();
    assert_eq!((job.offer.attempt, job.offer.length), (1, 100));
    assert_eq!(job.offer.digest, Digest::of(&job.bytes));

    let mut forged = receipt(0, None);
    forged.tally.delivered = 1;
    let other = receipt(1, None);
    for wrong in [forged, other] {
        assert!(keeper.settle(&job.name, &clip(0), &wrong, at(1)).is_err());
        assert!(store.read(&job.name.to_string()).is_ok(), "the clip was destroyed");
    }
    keeper.settle(&job.name, &clip(0), &receipt(0, None), at(1)).unwrap();
    assert!(store.read(&job.name.to_string()).is_err());
    let ledger = keeper.ledger(&camera());
    assert_eq!((ledger.captured, ledger.delivered, ledger.held), (2, 2, 0));
    assert!(ledger.balances());
}

#[test]
fn the_attempt_is_durable_before_the_upload_and_three_crashes_quarantine() {
    let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(1000));
    keep(&mut open(&store, folder.path(), at(0)).unwrap(), 0, b"crasher").unwrap();
    for attempt in 1..=3 {
        // The process dies during each upload: nobody gives the clip back.
        let mut keeper = open(&store, folder.path(), at(0)).unwrap();
        let job = keeper.next(Duration::from_secs(1)).unwrap().unwrap();
        assert_eq!(job.offer.attempt, attempt);
    }
    let mut keeper = open(&store, folder.path(), at(0)).unwrap();
    assert!(keeper.next(Duration::from_secs(1)).unwrap().is_none());
    assert_eq!(keeper.held(), (1, 1));
    keep(&mut keeper, 1, b"fresh").unwrap();
    let job = keeper.next(Duration::from_secs(7200)).unwrap().unwrap();
    assert_eq!(job.offer.clip.seq, 1, "the quarantined clip stood in front");
}

#[test]
fn a_busy_refusal_is_no_attempt() {
    let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(1000));
    let mut keeper = open(&store, folder.path(), at(0)).unwrap();
    keep(&mut keeper, 0, b"clip").unwrap();
    for n in 0..10 {
        let now = Duration::from_secs(n * 10);
        let job = keeper.next(now).unwrap().unwrap();
        assert_eq!(job.offer.attempt, 1);
        keeper.give_back(&job.name, Failure::NotTried, now).unwrap();
    }
    let job = keeper.next(Duration::from_secs(100)).unwrap().unwrap();
    keeper.give_back(&job.name, Failure::Attempt, Duration::from_secs(100)).unwrap();
    assert_eq!(keeper.next(Duration::from_secs(110)).unwrap().unwrap().offer.attempt, 2);
}

#[test]
fn the_quota_drops_the_oldest_and_counts_its_slots() {
    let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(32 + 250));
    let mut keeper = open(&store, folder.path(), at(0)).unwrap();
    for seq in 0..5 {
        assert!(keep(&mut keeper, seq, &[0; 100]).unwrap());
    }
    let ledger = keeper.ledger(&camera());
    assert_eq!((ledger.captured, ledger.held, ledger.dropped), (10, 4, 6));
    assert!(keep(&mut keeper, 5, &[0; 1000]).is_err(), "a clip over the whole quota was kept");
}

#[test]
fn an_undecodable_clip_stays_a_day_and_is_counted_once() {
    let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(1000));
    let mut keeper = open(&store, folder.path(), at(0)).unwrap();
    keep(&mut keeper, 0, b"noise").unwrap();
    let job = keeper.next(Duration::ZERO).unwrap().unwrap();
    let failed = receipt(0, Some(ClipFailure::Undecodable));
    keeper.settle(&job.name, &clip(0), &failed, at(100)).unwrap();
    let mut keeper = open(&store, folder.path(), at(200)).unwrap();
    assert!(keeper.next(Duration::from_secs(9999)).unwrap().is_none());
    assert_eq!(keeper.purge(at(86_000)).unwrap(), 0);
    assert!(store.read(&job.name.to_string()).is_ok());
    keeper.purge(at(100 + 86_401)).unwrap();
    assert!(store.read(&job.name.to_string()).is_err());
    let ledger = keeper.ledger(&camera());
    assert_eq!((ledger.undecodable, ledger.dropped, ledger.held), (2, 0, 0));
}

#[test]
fn a_held_clip_over_age_is_dropped_and_counted() {
    let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(1000));
    let mut keeper = open(&store, folder.path(), at(0)).unwrap();
    keep(&mut keeper, 0, b"old").unwrap();
    assert_eq!(keeper.purge(at(7 * 86_400 - 1)).unwrap(), 0);
    assert_eq!(keeper.purge(at(7 * 86_400 + 1)).unwrap(), 2);
    assert_eq!(keeper.ledger(&camera()).dropped, 2);
}

#[test]
fn a_noise_key_lives_as_long_as_its_epoch() {
    let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(10_000));
    let mut keeper = open(&store, folder.path(), at(0)).unwrap();
    let keys = || store.names().into_iter().filter(|n| n.starts_with("noise.")).count();
    // 90 clips of 10 s are an epoch of 15 minutes; clip 90 is in the next one.
    keep(&mut keeper, 0, b"a").unwrap();
    keep(&mut keeper, 1, b"b").unwrap();
    let first = keeper.next(Duration::ZERO).unwrap().unwrap();
    let second = keeper.next(Duration::ZERO).unwrap().unwrap();
    assert_eq!(first.offer.noise_key, second.offer.noise_key);
    keeper.settle(&first.name, &clip(0), &receipt(0, None), at(1)).unwrap();
    keeper.settle(&second.name, &clip(1), &receipt(1, None), at(1)).unwrap();
    assert_eq!(keys(), 1, "the epoch may get further clips");
    keep(&mut keeper, 90, b"c").unwrap();
    let third = keeper.next(Duration::ZERO).unwrap().unwrap();
    assert_ne!(third.offer.noise_key, first.offer.noise_key);
    keeper.settle(&third.name, &clip(90), &receipt(90, None), at(1)).unwrap();
    assert_eq!(keys(), 1, "the key of a past epoch is still there");
    keeper.end(&camera()).unwrap();
    assert_eq!(keys(), 0);
}

#[test]
fn slots_balance_whatever_write_is_the_last_before_a_crash() {
    // The disk dies after each number of writes, the process with it; then both come back and finish.
    for writes in 0..14 {
        let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(1000));
        store.fail_after(Some(writes));
        let mut kept = 0;
        if let Ok(mut keeper) = open(&store, folder.path(), at(0)) {
            for seq in 0..3 {
                kept += u64::from(keep(&mut keeper, seq, &[0; 10]).is_ok());
            }
            for _ in 0..3 {
                let Ok(Some(job)) = keeper.next(Duration::ZERO) else { break };
                let seq = job.offer.clip.seq;
                // On a failed removal the slots are counted and the bytes are still there.
                drop(keeper.settle(&job.name, &clip(seq), &receipt(seq, None), at(1)));
            }
            assert!(keeper.ledger(&camera()).balances());
        }
        store.fail_after(None);
        let mut keeper = open(&store, folder.path(), at(0)).unwrap();
        assert_eq!(keeper.ledger(&camera()).captured, 2 * kept, "after {writes} writes");
        while let Some(job) = keeper.next(Duration::from_secs(10)).unwrap() {
            let seq = job.offer.clip.seq;
            keeper.settle(&job.name, &clip(seq), &receipt(seq, None), at(1)).unwrap();
        }
        let ledger = keeper.ledger(&camera());
        assert_eq!((ledger.delivered, ledger.held), (2 * kept, 0), "after {writes} writes");
    }
}

#[test]
fn what_a_live_camera_did_not_record_is_counted_across_crashes_and_once() {
    let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(1000));
    let gap = |keeper: &mut Keeper, now| keeper.gap(&camera(), EVERY, at(now)).unwrap();
    let expect = |keeper: &mut Keeper, now| {
        keeper.expect(&camera(), due(Schedule::Continuous, now), EVERY, at(now)).unwrap()
    };
    let mut keeper = open(&store, folder.path(), at(0)).unwrap();
    assert_eq!(gap(&mut keeper, 100), 0, "nothing was expected yet");
    assert_eq!(expect(&mut keeper, 0), 0);
    keep(&mut keeper, 0, b"10 s").unwrap();
    assert_eq!(gap(&mut keeper, 14), 0, "less than a slot");
    drop(keeper);

    // Killed, and back at 31 s: 21 s are missing, whether the clip is still held or not.
    let mut keeper = open(&store, folder.path(), at(31)).unwrap();
    assert_eq!(expect(&mut keeper, 31), 0);
    let job = keeper.next(Duration::ZERO).unwrap().unwrap();
    keeper.settle(&job.name, &clip(0), &receipt(0, None), at(31)).unwrap();
    drop(keeper);
    let mut keeper = open(&store, folder.path(), at(31)).unwrap();
    assert_eq!(gap(&mut keeper, 31), 4);
    assert_eq!(gap(&mut keeper, 34), 0);
    assert_eq!(gap(&mut keeper, 35), 1, "the second over 20 was not forgotten");
    drop(keeper);

    let mut keeper = open(&store, folder.path(), at(36)).unwrap();
    assert_eq!(gap(&mut keeper, 36), 0);
    // Told to stop: what comes until it is told to start is no gap.
    keeper.rest(&camera()).unwrap();
    drop(keeper);
    let mut keeper = open(&store, folder.path(), at(9000)).unwrap();
    assert_eq!(expect(&mut keeper, 9000), 0);
    assert_eq!(gap(&mut keeper, 9004), 0);
    let ledger = keeper.ledger(&camera());
    assert_eq!((ledger.captured, ledger.gaps), (2, 5));
    assert!(ledger.balances());
}

#[test]
fn a_clock_that_is_set_makes_no_gap() {
    let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(1000));
    let mut keeper = open(&store, folder.path(), at(0)).unwrap();
    let due = due(Schedule::Continuous, 0);
    keeper.expect(&camera(), due, EVERY, at(0)).unwrap();
    keeper.expect_anew(&camera(), due, at(86_400)).unwrap();
    let mut gap = |now| keeper.gap(&camera(), EVERY, at(now)).unwrap();
    assert_eq!((gap(86_404), gap(10)), (0, 0));
}

/// 10 s each 60 s, two slots a stretch. Whenever the gateway dies and however long it is away: what the periods of the
/// one that died had in them is counted, not what those of its successor would have.
#[test]
fn what_a_periodic_camera_did_not_record_is_counted_exactly_by_the_periods_that_were_missed() {
    let schedule = Schedule::periodic(Duration::from_secs(10), Duration::from_secs(60)).unwrap();
    // Killed at a second of its first period and back at another: slots that nobody recorded.
    for (killed, back, slots) in [
        // In the middle of a stretch, of which 5 s are kept.
        (5, 8, 0),
        (5, 12, 1),
        (5, 59, 1),
        (5, 63, 1),
        (5, 66, 2),
        (5, 200, 7),
        // In a pause.
        (30, 59, 0),
        (30, 69, 1),
        (30, 100, 2),
        (30, 300, 8),
        // For a day.
        (30, 30 + 86_400, 2 * 1_440),
    ] {
        let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(1000));
        let mut keeper = open(&store, folder.path(), at(0)).unwrap();
        let before = due(schedule, 0);
        assert_eq!(keeper.expect(&camera(), before, EVERY, at(0)).unwrap(), 0);
        // Accounted for up to a clip's end, or up to the pause.
        keeper.expect_anew(&camera(), before, at(killed)).unwrap();
        drop(keeper);
        let mut keeper = open(&store, folder.path(), at(back)).unwrap();
        let after = due(schedule, back);
        let counted = keeper.expect(&camera(), after, EVERY, at(back)).unwrap();
        assert_eq!(counted, slots, "killed at {killed}, back at {back}");
        // Its own stretch begins now, and the camera answers after a second.
        assert_eq!(keeper.gap(&camera(), EVERY, at(back + 1)).unwrap(), 0, "{killed} {back}");
        assert_eq!(keeper.ledger(&camera()).gaps, slots);
    }
}

#[test]
fn another_plan_does_not_change_what_was_due_before_it() {
    let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(1000));
    let mut keeper = open(&store, folder.path(), at(0)).unwrap();
    keeper.expect(&camera(), due(Schedule::Continuous, 0), EVERY, at(0)).unwrap();
    // It is away, and is told to record less at 20 s: four slots were due until then.
    let schedule = Schedule::periodic(Duration::from_secs(10), Duration::from_secs(60)).unwrap();
    assert_eq!(keeper.expect(&camera(), due(schedule, 0), EVERY, at(20)).unwrap(), 4);
    assert_eq!(keeper.gap(&camera(), EVERY, at(59)).unwrap(), 0);
    assert_eq!(keeper.gap(&camera(), EVERY, at(71)).unwrap(), 2);
}
