//! What a fog node may commit, what it is told, and what two of them at once cannot do: over real QUIC.

use std::sync::Arc;

use cloud_bridge::{book, bridge::count, committer::ReceiptAfter};
use proto::{
    record::{ClipFailure, SlotOutcome},
    wire::CommitMessage,
};
use spool::filesystem::{Faulty, Plan};

use crate::world::{
    Site,
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

#[tokio::test]
async fn a_full_outbox_is_told_before_work_is_wasted_and_at_the_commit() {
    let site = Site::new();
    let borders = Borders::new(&site);
    // Less than what must be free before a fog node is told to go ahead, and more than a clip.
    let setup = Setup { outbox_bytes: 16_000, ..Setup::default() };
    let parts = Parts::new(&site, &borders, setup);
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let first = site.clip(0, 3);
    assert!(matches!(fog.status(first.id()).await, CommitMessage::Full { retry_after_ms: 1.. }));
    let receipt = fog.receipt(&first).await;
    let mut seq = 1;
    while let CommitMessage::Committed(_) = fog.commit(&site.clip(seq, 3)).await {
        seq += 1;
        assert!(seq < 20, "the outbox has no end");
    }
    assert_eq!((parts.waiting(), parts.counted(count::FULL)), (seq, 2));
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
    let (address, desk) = parts.listen_at(&site);
    let fog = site.fog(&address, "fog-1").await;
    let clip = site.clip(0, 3);
    let mut channel = fog.0.open_channel().await.unwrap();
    let length = u32::try_from(clip.envelopes[0].len()).unwrap();
    channel.send(&CommitMessage::Frame { length }).await.unwrap();
    channel.send_bytes(&clip.envelopes[0]).await.unwrap();
    until("the bridge holds the first frame", async || desk.held_kib() > 0).await;
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
