//! What a fog node may commit, what it is told, and what two of them at once cannot do: over real QUIC.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod world;

use std::sync::Arc;

use base::Shutdown;
use cloud_bridge::{book, bridge::count, committer::ReceiptAfter};
use proto::{
    ClipId, Digest, UtcTime,
    record::{ClipFailure, SlotOutcome},
    wire::CommitMessage,
};
use spool::filesystem::{Faulty, Plan};
use world::{
    Clip, Site,
    parts::{Borders, Parts, Setup},
    until,
};

#[tokio::test]
async fn a_clip_is_committed_once_and_known_from_then_on_wherever_it_is() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let clip = site.clip(0, 3);
    assert_eq!(fog.status(clip.id()).await, CommitMessage::Unknown);
    let receipt = fog.receipt(&clip).await;
    site.check_receipt(&receipt, &clip);
    assert_eq!(parts.waiting(), 1);
    assert_eq!(fog.status(clip.id()).await, CommitMessage::Committed(receipt.clone()));
    assert_eq!(fog.receipt(&clip).await, receipt, "the second commit gets the first answer");
    parts.forward();
    until("the clip has left the outbox", async || parts.waiting() == 0).await;
    assert_eq!(fog.status(clip.id()).await, CommitMessage::Committed(receipt.clone()));
    assert_eq!(fog.receipt(&clip).await, receipt);
    assert_eq!(borders.frames.keys(), site.keys(&[clip]));
    assert_eq!((parts.counted(count::COMMITTED), parts.counted(count::KNOWN)), (1, 4));
    parts.stop().await;
}

#[tokio::test]
async fn several_clips_go_through_one_channel_one_after_the_other() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let mut channel = fog.0.open_channel().await.unwrap();
    for seq in 0..3 {
        let clip = site.clip(seq, 2);
        channel.send(&CommitMessage::Status(clip.id().clone())).await.unwrap();
        assert_eq!(channel.recv::<CommitMessage>().await.unwrap(), CommitMessage::Unknown);
        let [envelope] = clip.envelopes.as_slice() else { panic!("one frame") };
        let length = u32::try_from(envelope.len()).unwrap();
        channel.send(&CommitMessage::Frame { length }).await.unwrap();
        channel.send_bytes(envelope).await.unwrap();
        channel.send(&CommitMessage::Commit(Box::new(clip.record.clone()))).await.unwrap();
        let answer = channel.recv().await.unwrap();
        let CommitMessage::Committed(receipt) = answer else { panic!("{answer:?}") };
        site.check_receipt(&receipt, &clip);
    }
    assert_eq!(parts.waiting(), 3);
    parts.stop().await;
}

#[tokio::test]
async fn two_fog_nodes_that_commit_one_clip_at_once_get_one_answer() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let address = parts.listen(&site);
    parts.forward();
    let (one, two) = (site.fog(&address, "fog-1").await, site.fog(&address, "fog-2").await);
    for seq in 0..20 {
        let clip = site.clip(seq, 3);
        // The second attempt differs: another attempt number, so another record.
        let mut again = clip.clone();
        again.record.attempt = 2;
        let (first, second) = tokio::join!(one.receipt(&clip), two.receipt(&again));
        assert_eq!(first, second, "clip {seq}");
    }
    until("all have left the outbox", async || parts.waiting() == 0).await;
    assert_eq!(parts.counted(count::COMMITTED), 20);
    assert_eq!(borders.book.clips().len(), 20);
    parts.stop().await;
}

#[tokio::test]
async fn a_clip_that_could_not_be_read_is_committed_too() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let mut clip = site.clip(0, 3);
    clip.envelopes.clear();
    clip.record.failure = Some(ClipFailure::NotVideo);
    clip.record.slots.iter_mut().for_each(|slot| slot.outcome = SlotOutcome::Undecodable);
    let receipt = fog.receipt(&clip).await;
    assert_eq!(receipt.failure, Some(ClipFailure::NotVideo));
    parts.stop().await;
}

/// A way to spoil a clip, and the counter of its refusal.
type Spoil = (&'static str, fn(&Site, &mut Clip), &'static str);

const SPOILS: &[Spoil] = &[
    ("an altered byte", |_, clip| *clip.envelopes[0].last_mut().unwrap() ^= 1, count::UNSEALED),
    ("no envelope at all", |_, clip| clip.envelopes[0] = b"hello".to_vec(), count::UNSEALED),
    ("a grant that the fog node wrote", forged, count::UNSEALED),
    ("a policy that is not granted", ungranted, count::NOT_GRANTED),
    ("a grant that has ended", expired, count::NOT_GRANTED),
    ("another site", other_site, count::NOT_GRANTED),
    (
        "a record of another site",
        |_, clip| {
            clip.record.clip.site = "city".parse().unwrap();
            clip.envelopes.clear();
        },
        count::OTHER_SITE,
    ),
    ("a slot too few", |_, clip| clip.record.slots.truncate(2), count::RECORDS_REFUSED),
    ("a slot twice", |_, clip| clip.record.slots[1].slot = 0, count::RECORDS_REFUSED),
    (
        "a failed clip with frames",
        |_, clip| {
            clip.record.failure = Some(ClipFailure::NotVideo);
        },
        count::RECORDS_REFUSED,
    ),
    ("a frame missing", |_, clip| drop(clip.envelopes.pop()), count::MISMATCHED),
    ("a frame twice", |_, clip| clip.envelopes.push(clip.envelopes[0].clone()), count::MISMATCHED),
    (
        "a frame of another clip",
        |site, clip| {
            clip.envelopes[0] = site.clip(9, 3).envelopes[0].clone();
        },
        count::MISMATCHED,
    ),
    (
        "a frame that the record says was withheld",
        |site, clip| {
            clip.envelopes.push(site.seal(&site.manifest(&clip.record, 2)));
        },
        count::MISMATCHED,
    ),
    (
        "another digest",
        |_, clip| {
            clip.record.slots[0].outcome = SlotOutcome::Frame(Digest::of(b"other"));
        },
        count::MISMATCHED,
    ),
    (
        "a record of another policy",
        |_, clip| {
            clip.record.policy = Digest::of(b"none");
        },
        count::MISMATCHED,
    ),
    (
        "a record of another time",
        |_, clip| {
            clip.record.captured_at = UtcTime::EPOCH;
        },
        count::MISMATCHED,
    ),
    ("a frame of another time than its slot", shifted, count::MISMATCHED),
];

/// Replaces the first frame and says so in the record.
fn replace(clip: &mut Clip, envelope: Vec<u8>) {
    clip.record.slots[0].outcome = SlotOutcome::Frame(Digest::of(&envelope));
    clip.envelopes[0] = envelope;
}

fn forged(site: &Site, clip: &mut Clip) {
    let mut manifest = site.manifest(&clip.record, 0);
    manifest.policy.digest = Digest::of(b"no redaction at all");
    let envelope = site.seal_forged(&manifest);
    replace(clip, envelope);
}

fn ungranted(site: &Site, clip: &mut Clip) {
    let mut manifest = site.manifest(&clip.record, 0);
    manifest.policy.digest = Digest::of(b"no redaction at all");
    let envelope = site.seal_ungranted(&manifest);
    replace(clip, envelope);
}

fn expired(site: &Site, clip: &mut Clip) {
    let at = "2020-01-01T00:00:00Z".parse().unwrap();
    let envelope = site.seal_until(&site.manifest(&clip.record, 0), at);
    replace(clip, envelope);
}

fn other_site(site: &Site, clip: &mut Clip) {
    let mut manifest = site.manifest(&clip.record, 0);
    manifest.frame.clip.site = "city".parse().unwrap();
    let envelope = site.seal_ungranted(&manifest);
    replace(clip, envelope);
}

fn shifted(site: &Site, clip: &mut Clip) {
    let mut manifest = site.manifest(&clip.record, 0);
    manifest.captured_at = manifest.captured_at.plus_ns(3_000_000_000);
    let envelope = site.seal(&manifest);
    replace(clip, envelope);
}

#[tokio::test]
async fn what_does_not_verify_is_refused_counted_and_leaves_nothing() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    for (what, spoil, counter) in SPOILS {
        let before = parts.counted(counter);
        let mut clip = site.clip(0, 3);
        spoil(&site, &mut clip);
        let answer = fog.commit(&clip).await;
        assert!(matches!(answer, CommitMessage::Refuse { .. }), "{what}: {answer:?}");
        assert_eq!(parts.counted(counter), before + 1, "{what}: {:?}", parts.bridge.counters);
        assert_eq!(parts.waiting(), 0, "{what}");
    }
    // And the channel and the clip are as good as before.
    site.check_receipt(&fog.receipt(&site.clip(0, 3)).await, &site.clip(0, 3));
    parts.stop().await;
}

#[tokio::test]
async fn a_question_about_a_clip_of_another_site_is_refused() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let id: ClipId = site.clip(0, 1).id().to_string().replace("town", "city").parse().unwrap();
    assert!(matches!(fog.status(&id).await, CommitMessage::Refuse { .. }));
    assert_eq!(parts.counted(count::OTHER_SITE), 1);
    parts.stop().await;
}

#[tokio::test]
async fn what_has_no_place_in_the_protocol_ends_the_channel() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let over = u32::try_from(proto::limits::ENVELOPE_BYTES_MAX).unwrap() + 1;
    for wrong in [CommitMessage::Unknown, CommitMessage::Frame { length: over }] {
        let mut channel = fog.0.open_channel().await.unwrap();
        channel.send(&wrong).await.unwrap();
        assert!(channel.recv::<CommitMessage>().await.is_err(), "{wrong:?}");
    }
    let mut many = site.clip(0, 2);
    many.envelopes = vec![many.envelopes[0].clone(); proto::limits::SLOTS_MAX + 1];
    assert!(fog.try_commit(&many).await.is_err());
    until("all are counted", async || parts.counted(count::PROTOCOL) == 3).await;
    assert_eq!(fog.status(many.id()).await, CommitMessage::Unknown, "the connection goes on");
    parts.stop().await;
}

#[tokio::test]
async fn a_process_that_is_no_fog_node_does_not_get_in() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let address = parts.listen(&site);
    let credentials = site.credentials(proto::Role::Edge, "gw-1");
    let connected =
        link::quic::connect(&address, &credentials, link::Protocol::Commit, proto::Role::Bridge)
            .await;
    if let Ok(peer) = connected {
        let mut channel = peer.open_channel().await.unwrap();
        let id = site.clip(0, 1).id().clone();
        let asked = channel.send(&CommitMessage::Status(id)).await;
        assert!(asked.is_err() || channel.recv::<CommitMessage>().await.is_err());
    }
    let refused = "peers_of_wrong_role_total";
    until("it is counted", async || parts.counted(refused) == 1).await;
    parts.stop().await;
}

#[tokio::test]
async fn a_full_outbox_is_told_before_work_is_wasted_and_at_the_commit() {
    let site = Site::new();
    let borders = Borders::new(&site);
    // Less than what must be free before a fog node is told to go ahead, and more than a clip.
    let setup = Setup { outbox_bytes: 16_000, ..Setup::default() };
    let parts = Parts::new(&site, &borders, setup);
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let (first, second) = (site.clip(0, 3), site.clip(1, 3));
    assert!(matches!(fog.status(first.id()).await, CommitMessage::Full { retry_after_ms: 1.. }));
    let receipt = fog.receipt(&first).await;
    for _ in 0..3 {
        let mut clip = second.clone();
        clip.record.attempt += 1;
        let answer = fog.commit(&clip).await;
        if matches!(answer, CommitMessage::Full { .. }) {
            break;
        }
        let filler = site.clip(2 + parts.waiting(), 3);
        drop(fog.commit(&filler).await);
    }
    assert!(parts.counted(count::FULL) >= 2, "{:?}", parts.bridge.counters);
    let known = fog.status(first.id()).await;
    assert_eq!(known, CommitMessage::Committed(receipt), "what is known is told however full");
    parts.stop().await;
}

#[tokio::test]
async fn a_disk_that_takes_nothing_acknowledges_nothing_and_heals() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let disk = Faulty::new(Arc::new(borders.disk.clone()), Plan::Sound);
    let setup = Setup { files: Some(Arc::new(disk.clone())), ..Setup::default() };
    let parts = Parts::new(&site, &borders, setup);
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let clip = site.clip(0, 3);
    for plan in [Plan::FullFrom(0), Plan::Once(0), Plan::Once(1), Plan::Once(2), Plan::Once(3)] {
        disk.set_plan(plan);
        let answer = fog.commit(&clip).await;
        assert!(matches!(answer, CommitMessage::Full { .. }), "{plan:?}: {answer:?}");
        disk.set_plan(Plan::Sound);
        assert_eq!(parts.waiting(), 0, "{plan:?}");
        assert_eq!(fog.status(clip.id()).await, CommitMessage::Unknown, "{plan:?}");
    }
    assert_eq!(parts.counted(count::DISK_FAILED), 5);
    site.check_receipt(&fog.receipt(&clip).await, &clip);
    parts.stop().await;
}

#[tokio::test]
async fn a_database_that_is_away_is_never_guessed_over() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let (asked, unasked, waiting) = (site.clip(0, 3), site.clip(1, 3), site.clip(2, 3));
    let receipt = fog.receipt(&waiting).await;
    assert_eq!(fog.status(asked.id()).await, CommitMessage::Unknown);
    parts.book.set_plan(book::Plan::Away);
    // What the outbox has is known, what was unknown when the database answered still is, the rest is not guessed.
    assert_eq!(fog.status(waiting.id()).await, CommitMessage::Committed(receipt));
    site.check_receipt(&fog.receipt(&asked).await, &asked);
    assert!(matches!(fog.status(unasked.id()).await, CommitMessage::Full { .. }));
    assert!(matches!(fog.commit(&unasked).await, CommitMessage::Full { .. }));
    assert_eq!(parts.counted(count::UNSURE), 2);
    parts.book.set_plan(book::Plan::Sound);
    site.check_receipt(&fog.receipt(&unasked).await, &unasked);
    parts.stop().await;
}

#[tokio::test]
async fn a_clip_that_has_left_the_outbox_is_not_committed_again_while_the_database_is_away() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let clip = site.clip(0, 3);
    assert_eq!(fog.status(clip.id()).await, CommitMessage::Unknown);
    let receipt = fog.receipt(&clip).await;
    parts.forward();
    until("it has left the outbox", async || parts.waiting() == 0).await;
    parts.book.set_plan(book::Plan::Away);
    let mut again = clip.clone();
    again.record.attempt = 2;
    assert!(matches!(fog.commit(&again).await, CommitMessage::Full { .. }));
    parts.book.set_plan(book::Plan::Sound);
    assert_eq!(fog.receipt(&again).await, receipt);
    assert_eq!(parts.counted(count::COMMITTED), 1);
    parts.stop().await;
}

#[tokio::test]
async fn a_receipt_after_the_store_waits_until_store_and_database_have_the_clip() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let setup = Setup { after: ReceiptAfter::Store, ..Setup::default() };
    let parts = Parts::new(&site, &borders, setup);
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let clip = site.clip(0, 3);
    let (answer, ()) = tokio::join!(fog.commit(&clip), async {
        until("it is in the outbox", async || parts.waiting() == 1).await;
        assert_eq!(borders.book.clips(), vec![], "no receipt may have been given yet");
        parts.forward();
    });
    let CommitMessage::Committed(receipt) = answer else { panic!("{answer:?}") };
    site.check_receipt(&receipt, &clip);
    assert_eq!(borders.frames.keys(), site.keys(std::slice::from_ref(&clip)));
    assert_eq!(fog.status(clip.id()).await, CommitMessage::Committed(receipt));
    parts.stop().await;
}

#[tokio::test]
async fn a_receipt_after_the_store_is_not_given_while_the_store_is_away() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let store_plan = store::faulty::Plan::Away;
    let setup = Setup { after: ReceiptAfter::Store, store_plan, ..Setup::default() };
    let parts = Parts::new(&site, &borders, setup);
    parts.forward();
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let clip = site.clip(0, 3);
    assert!(matches!(fog.commit(&clip).await, CommitMessage::Full { .. }));
    assert_eq!(parts.waiting(), 1, "it is safe all the same");
    parts.frames.set_plan(store::faulty::Plan::Sound);
    until("it has left the outbox", async || parts.waiting() == 0).await;
    assert!(matches!(fog.status(clip.id()).await, CommitMessage::Committed(_)));
    parts.stop().await;
}

#[tokio::test]
async fn shutdown_lets_a_commit_that_is_under_way_finish() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let clip = site.clip(0, 3);
    let mut channel = fog.0.open_channel().await.unwrap();
    let length = u32::try_from(clip.envelopes[0].len()).unwrap();
    channel.send(&CommitMessage::Frame { length }).await.unwrap();
    channel.send_bytes(&clip.envelopes[0]).await.unwrap();
    // The bridge has begun to read when it has opened the frame; a second question shows that it is not deaf yet.
    assert_eq!(fog.status(clip.id()).await, CommitMessage::Unknown);
    Shutdown::default().sleep(std::time::Duration::from_millis(300)).await;
    parts.shutdown.request();
    let length = u32::try_from(clip.envelopes[1].len()).unwrap();
    channel.send(&CommitMessage::Frame { length }).await.unwrap();
    channel.send_bytes(&clip.envelopes[1]).await.unwrap();
    channel.send(&CommitMessage::Commit(Box::new(clip.record.clone()))).await.unwrap();
    let answer = channel.recv().await.unwrap();
    let CommitMessage::Committed(receipt) = answer else { panic!("{answer:?}") };
    site.check_receipt(&receipt, &clip);
    parts.stop().await;
}
