//! The way out of the outbox: what a crash at any step, an outage and a damaged record do to it.

use std::sync::Arc;

use cloud_bridge::{
    book,
    bridge::count,
    clip::SealedClip,
    committer::{Answer, ReceiptAfter},
    outbox::Outbox,
};
use proto::{Identity, record::Receipt, signing::SigningKey};
use spool::filesystem::{Faulty, Filesystem, Memory, Plan};
use store::faulty;

use crate::world::{
    Clip, RECEIPT_SEED, Site,
    parts::{Borders, OUTBOX_BYTES, Parts, Setup},
    until,
};

fn fog() -> Identity {
    "celosia://town/fog/fog-1".parse().unwrap()
}

fn sealed(site: &Site, clip: &Clip) -> SealedClip {
    SealedClip::assemble(clip.record.clone(), site.frames(clip), &"town".parse().unwrap()).unwrap()
}

async fn commit(parts: &Parts, site: &Site, clip: &Clip) -> Answer {
    parts.committer.commit(sealed(site, clip), &fog()).await
}

/// Everything that was committed is where it belongs, once, and the outbox is empty.
fn check(site: &Site, borders: &Borders, clips: &[Clip], what: &str) {
    assert_eq!(borders.frames.keys(), site.keys(clips), "{what}");
    let awaited: Vec<String> = borders.book.frames().into_keys().collect();
    assert_eq!(awaited, site.keys(clips), "{what}");
    let recorded: Vec<_> = clips.iter().map(|clip| clip.id().clone()).collect();
    assert_eq!(borders.book.clips(), recorded, "{what}");
}

/// A bridge that is started after the crash finishes what the one before had begun.
async fn finish(site: &Site, borders: &Borders, clips: &[Clip], what: &str) {
    let parts = Parts::new(site, borders, Setup::default());
    parts.forward();
    until(what, async || parts.waiting() == 0).await;
    check(site, borders, clips, what);
    for clip in clips {
        let answer = parts.committer.status(clip.id()).await;
        let Answer::Committed(receipt) = answer else { panic!("{what}: {answer:?}") };
        site.check_receipt(&receipt, clip);
    }
    assert_eq!(parts.counted(count::ALARMS), 0, "{what}");
    parts.stop().await;
}

#[tokio::test]
async fn a_crash_at_any_step_of_the_commit_loses_no_receipt_and_leaves_no_half_clip() {
    let site = Site::new();
    let clip = site.clip(0, 3);
    let mut acknowledged = [0, 0];
    for step in 0.. {
        let borders = Borders::new(&site);
        drop(Parts::new(&site, &borders, Setup::default()));
        let disk = Faulty::new(Arc::new(borders.disk.clone()), Plan::Sound);
        let setup = Setup { files: Some(Arc::new(disk.clone())), ..Setup::default() };
        let parts = Parts::new(&site, &borders, setup);
        disk.set_plan(Plan::DeadFrom(step));
        let answer = commit(&parts, &site, &clip).await;
        let survived = disk.operations() <= step;
        parts.stop().await;
        // The worst that a disk may do: nothing that was not synced is there.
        borders.disk.crash(|_| 0);
        let committed = matches!(answer, Answer::Committed(_));
        acknowledged[usize::from(committed)] += 1;
        let what = format!("step {step}");
        let parts = Parts::new(&site, &borders, Setup::default());
        let after = parts.committer.status(clip.id()).await;
        parts.stop().await;
        match (committed, after) {
            (true, after) => {
                assert_eq!(after, answer, "{what}");
                finish(&site, &borders, std::slice::from_ref(&clip), &what).await;
            }
            // A whole record whose answer was lost is as good: its receipt is given when somebody asks.
            (false, Answer::Committed(receipt)) => site.check_receipt(&receipt, &clip),
            (false, after) => assert_eq!(after, Answer::Unknown, "{what}"),
        }
        if survived {
            break;
        }
    }
    let [lost, kept] = acknowledged;
    assert!(lost >= 4 && kept >= 1, "{lost} steps before the answer, {kept} after");
}

/// At any moment: what is awaited is stored, what is recorded is awaited, and what has left the outbox is recorded.
fn check_order(site: &Site, borders: &Borders, clips: &[Clip], what: &str) {
    let (stored, awaited) = (borders.frames.keys(), borders.book.frames());
    let (recorded, outbox) = (borders.book.clips(), outbox(&borders.disk));
    assert!(awaited.keys().all(|key| stored.contains(key)), "{what}: {awaited:?}");
    for clip in clips {
        let is_recorded = recorded.contains(clip.id());
        let keys = site.keys(std::slice::from_ref(clip));
        assert!(!is_recorded || keys.iter().all(|key| awaited.contains_key(key)), "{what}");
        assert!(is_recorded || outbox.contains(clip.id()), "{what}: {} is lost", clip.id());
    }
}

/// Which border dies, and at which call.
#[derive(Debug, Clone, Copy)]
enum Death {
    StoreBefore(u64),
    StoreAfter(u64),
    BookBefore(u64),
    BookAfter(u64),
    Disk(u64),
}

#[tokio::test]
async fn a_crash_before_and_after_any_step_of_forwarding_loses_and_duplicates_nothing() {
    let site = Site::new();
    let clips = [site.clip(0, 3), site.clip(1, 3)];
    // Two frames a clip: four puts; two awaits and a record a clip: six calls of the book; some dozen of the disk.
    let store = (0..4).flat_map(|n| [Death::StoreBefore(n), Death::StoreAfter(n)]);
    let book = (0..6).flat_map(|n| [Death::BookBefore(n), Death::BookAfter(n)]);
    for death in store.chain(book).chain((0..8).map(Death::Disk)) {
        let borders = Borders::new(&site);
        let disk = Faulty::new(Arc::new(borders.disk.clone()), Plan::Sound);
        let setup = Setup { files: Some(Arc::new(disk.clone())), ..Setup::default() };
        let parts = Parts::new(&site, &borders, setup);
        for clip in &clips {
            assert!(matches!(commit(&parts, &site, clip).await, Answer::Committed(_)));
        }
        match death {
            Death::StoreBefore(n) => parts.frames.set_plan(faulty::Plan::AwayFrom(n)),
            Death::StoreAfter(n) => parts.frames.set_plan(faulty::Plan::AwayAfter(n)),
            Death::BookBefore(n) => parts.book.set_plan(book::Plan::AwayFrom(n)),
            Death::BookAfter(n) => parts.book.set_plan(book::Plan::AwayAfter(n)),
            Death::Disk(n) => disk.set_plan(Plan::DeadFrom(n)),
        }
        let what = format!("{death:?}");
        parts.forward();
        until(&what, async || match death {
            Death::StoreBefore(n) | Death::StoreAfter(n) => parts.frames.calls() > n + 1,
            Death::BookBefore(n) | Death::BookAfter(n) => parts.book.calls() > n + 1,
            Death::Disk(_) => parts.waiting() == 0,
        })
        .await;
        parts.stop().await;
        borders.disk.crash(|_| 0);
        check_order(&site, &borders, &clips, &what);
        finish(&site, &borders, &clips, &what).await;
    }
}

#[tokio::test]
async fn an_outage_of_the_store_makes_the_outbox_grow_and_nothing_else() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let setup = Setup { store_plan: faulty::Plan::Away, ..Setup::default() };
    let parts = Parts::new(&site, &borders, setup);
    parts.forward();
    let clips: Vec<Clip> = (0..6).map(|seq| site.clip(seq, 3)).collect();
    for clip in &clips {
        assert!(matches!(commit(&parts, &site, clip).await, Answer::Committed(_)));
    }
    until("the store was asked", async || parts.counted(count::STORE_FAILED) > 3).await;
    assert_eq!((parts.waiting(), borders.book.clips().len()), (6, 0));
    assert_eq!(parts.counted(count::ALARMS), 0, "an outage is no alarm");
    parts.frames.set_plan(faulty::Plan::Sound);
    until("all is forwarded", async || parts.waiting() == 0).await;
    check(&site, &borders, &clips, "after the outage");
    parts.stop().await;
}

#[tokio::test]
async fn a_store_that_refuses_is_an_alarm_and_loses_nothing() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let setup = Setup { store_plan: faulty::Plan::Refusing, ..Setup::default() };
    let parts = Parts::new(&site, &borders, setup);
    let clip = site.clip(0, 3);
    assert!(matches!(commit(&parts, &site, &clip).await, Answer::Committed(_)));
    parts.forward();
    until("it is an alarm", async || parts.counted(count::ALARMS) == 1).await;
    assert_eq!(parts.waiting(), 1);
    parts.stop().await;
    finish(&site, &borders, &[clip], "with the right keys").await;
}

#[tokio::test]
async fn an_answer_that_was_lost_is_found_done() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let setup = Setup { store_plan: faulty::Plan::AnswerLost(0), ..Setup::default() };
    let parts = Parts::new(&site, &borders, setup);
    let clip = site.clip(0, 3);
    assert!(matches!(commit(&parts, &site, &clip).await, Answer::Committed(_)));
    parts.forward();
    until("all is forwarded", async || parts.waiting() == 0).await;
    assert_eq!((parts.counted(count::FRAMES_PUT), parts.counted(count::FRAMES_THERE)), (1, 1));
    check(&site, &borders, &[clip], "after the lost answer");
    parts.stop().await;
}

/// Opens the outbox on the disk without a bridge.
fn outbox(disk: &Memory) -> Outbox {
    let files: Arc<dyn Filesystem> = Arc::new(disk.clone());
    Outbox::open_on(files, std::path::Path::new("/outbox"), OUTBOX_BYTES).unwrap().0
}

#[tokio::test]
async fn a_record_that_does_not_verify_is_set_aside_whole_with_an_alarm() {
    let site = Site::new();
    let borders = Borders::new(&site);
    // Sealed under another root: what a wrong `seal_root` in the configuration would make of every clip.
    let (bad, good) = (site.clip(0, 3), site.clip(1, 3));
    let key = SigningKey::from_seed(&RECEIPT_SEED).unwrap();
    let before = outbox(&borders.disk);
    for clip in [&bad, &good] {
        let receipt = Receipt::sign(&key, &clip.record, clip.record.captured_at);
        before.append(&sealed(&site, clip), &receipt, &fog()).unwrap();
    }
    drop(before);
    let mut parts = Parts::new(&site, &borders, Setup::default());
    parts.site_root = SigningKey::from_seed(&[9; 32]).unwrap().public();
    parts.forward();
    until("both are set aside", async || parts.counted(count::SET_ASIDE) == 2).await;
    assert_eq!((parts.waiting(), parts.bridge.outbox.set_aside_records()), (0, 2));
    assert_eq!(parts.counted(count::ALARMS), 2);
    assert!(borders.frames.keys().is_empty() && borders.book.clips().is_empty());
    // Nobody is told that it arrived.
    assert_eq!(parts.committer.status(bad.id()).await, Answer::Unknown);
    parts.stop().await;
    let status = outbox(&borders.disk);
    assert_eq!(status.set_aside_records(), 2, "they are still there after a restart");
}

#[tokio::test]
async fn a_damaged_record_does_not_hold_up_the_others() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let clips = [site.clip(0, 3), site.clip(1, 3)];
    for clip in &clips {
        assert!(matches!(commit(&parts, &site, clip).await, Answer::Committed(_)));
    }
    parts.stop().await;
    let files = borders.disk.files();
    let seq = |path: &std::path::Path| path.to_string_lossy().contains("_0.");
    let (path, bytes) = files.iter().find(|(path, b)| seq(path) && b.len() > 1000).unwrap();
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    Filesystem::write(&borders.disk, path, &damaged).unwrap();
    let parts = Parts::new(&site, &borders, Setup::default());
    parts.forward();
    until("both are gone", async || parts.waiting() == 0).await;
    until("it is counted", async || parts.counted(count::SET_ASIDE) == 1).await;
    check(&site, &borders, &clips[1..], "the sound one");
    parts.stop().await;
}

#[tokio::test]
async fn the_same_clip_from_many_hands_at_once_is_committed_once_while_it_is_forwarded() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let setup = Setup { after: ReceiptAfter::Outbox, ..Setup::default() };
    let parts = Parts::new(&site, &borders, setup);
    parts.forward();
    let clips: Vec<Clip> = (0..5).map(|seq| site.clip(seq, 3)).collect();
    for clip in &clips {
        let one = commit(&parts, &site, clip);
        let two = commit(&parts, &site, clip);
        let three = async {
            until("it has left the outbox", async || !borders.book.clips().is_empty()).await;
            commit(&parts, &site, clip).await
        };
        let (one, two, three) = tokio::join!(one, two, three);
        assert!(matches!(one, Answer::Committed(_)) && one == two && two == three, "{one:?}");
    }
    assert_eq!(parts.counted(count::COMMITTED), 5);
    parts.stop().await;
}
