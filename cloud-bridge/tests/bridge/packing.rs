//! Clips that travel as one object: what a crash at any step does to them, how their results come in, and what becomes
//! of them when the setting changes.

use std::{sync::Arc, time::Duration};

use cloud_bridge::{
    book,
    bridge::count,
    clip::SealedClip,
    collector::{Collector, Pace},
    committer::Answer,
    forwarder::Packing,
    inference::MemoryInference,
    overdue::{Overdue, Patience},
};
use proto::{
    key,
    result::{ClipResult, RESULT_SCHEMA},
};
use store::{FrameReader as _, Pack, Put, ResultWriter as _, faulty};

use crate::world::{
    Clip, Site,
    parts::{Borders, Parts, Setup},
    result_of, until,
};

fn packing() -> Setup {
    Setup { packing: Packing::Clip, ..Setup::default() }
}

async fn commit(parts: &Parts, site: &Site, clip: &Clip) {
    let site_id = "town".parse().unwrap();
    let sealed = SealedClip::assemble(clip.record.clone(), site.frames(clip), &site_id).unwrap();
    let fog = "celosia://town/fog/fog-1".parse().unwrap();
    assert!(matches!(parts.committer.commit(sealed, &fog).await, Answer::Committed(_)));
}

fn pack(site: &Site, clip: &Clip) -> Pack {
    Pack::of(&site.frames(clip)).unwrap()
}

/// Each clip is one object, each of its frames awaited as a part of it, and the clip recorded.
fn check(site: &Site, borders: &Borders, clips: &[Clip], what: &str) {
    let packs: Vec<String> = clips.iter().map(|clip| pack(site, clip).key().to_owned()).collect();
    assert_eq!(borders.frames.keys(), packs, "{what}");
    let awaited = borders.book.frames();
    assert_eq!(awaited.keys().cloned().collect::<Vec<_>>(), site.keys(clips), "{what}");
    assert!(awaited.values().all(|frame| packs.contains(&frame.awaiting.object())), "{what}");
    assert_eq!(borders.book.clips().len(), clips.len(), "{what}");
}

#[tokio::test]
async fn a_crash_before_and_after_any_step_loses_and_duplicates_nothing() {
    let site = Site::new();
    let clips = [site.clip(0, 3), site.clip(1, 3)];
    // Two puts; two awaits and a record a clip.
    let store = (0..2).flat_map(|n| [(n, true, false), (n, true, true)]);
    let book = (0..6).flat_map(|n| [(n, false, false), (n, false, true)]);
    for (n, of_store, after) in store.chain(book) {
        let what =
            format!("call {n} of the {}, after: {after}", if of_store { "store" } else { "book" });
        let borders = Borders::new(&site);
        let parts = Parts::new(&site, &borders, packing());
        for clip in &clips {
            commit(&parts, &site, clip).await;
        }
        match (of_store, after) {
            (true, false) => parts.frames.set_plan(faulty::Plan::AwayFrom(n)),
            (true, true) => parts.frames.set_plan(faulty::Plan::AwayAfter(n)),
            (false, false) => parts.book.set_plan(book::Plan::AwayFrom(n)),
            (false, true) => parts.book.set_plan(book::Plan::AwayAfter(n)),
        }
        parts.forward();
        let calls = || if of_store { parts.frames.calls() } else { parts.book.calls() };
        until(&what, async || calls() > n + 1).await;
        parts.stop().await;
        borders.disk.crash(|_| 0);
        let parts = Parts::new(&site, &borders, packing());
        parts.forward();
        until(&what, async || parts.waiting() == 0).await;
        check(&site, &borders, &clips, &what);
        parts.stop().await;
    }
}

#[tokio::test]
async fn a_clip_costs_one_put_and_each_of_its_frames_is_read_from_its_place() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, packing());
    let clip = site.clip(0, 5);
    commit(&parts, &site, &clip).await;
    parts.forward();
    until("it is forwarded", async || parts.waiting() == 0).await;
    assert_eq!((parts.frames.calls(), parts.counted(count::PACKS_PUT)), (1, 1));
    assert_eq!(parts.counted(count::FRAMES_PUT), 0);
    for (frame, within) in site.frames(&clip).iter().zip(pack(&site, &clip).places()) {
        let key = key::frame_key(frame.manifest());
        let read = borders.frames.frame_within(&key, *within).await.unwrap();
        assert_eq!(read.bytes(), frame.bytes());
    }
    parts.stop().await;
}

#[tokio::test]
async fn a_clip_of_one_frame_and_one_under_way_when_the_setting_changes_go_on_frame_by_frame() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let (single, several) = (site.clip(0, 1), site.clip(1, 3));
    // The bridge dies when it has put the frames of the second clip by themselves and awaits one of them.
    let parts = Parts::new(&site, &borders, Setup::default());
    commit(&parts, &site, &several).await;
    parts.book.set_plan(book::Plan::AwayFrom(1));
    parts.forward();
    until("it is away", async || parts.book.calls() > 2).await;
    parts.stop().await;
    borders.disk.crash(|_| 0);
    let parts = Parts::new(&site, &borders, packing());
    commit(&parts, &site, &single).await;
    parts.forward();
    until("all is forwarded", async || parts.waiting() == 0).await;
    let awaited = borders.book.frames();
    let objects: Vec<String> = awaited.values().map(|frame| frame.awaiting.object()).collect();
    let [lone] = site.keys(&[single]).try_into().unwrap();
    let [first, _] = site.keys(std::slice::from_ref(&several)).try_into().unwrap();
    // What was awaited by itself stays so; the rest lies in the pack; every object is there.
    assert_eq!(objects, [lone, first, pack(&site, &several).key().to_owned()]);
    assert!(objects.iter().all(|key| borders.frames.keys().contains(key)));
    parts.stop().await;
}

fn result(site: &Site, clip: &Clip) -> ClipResult {
    let frames: Vec<_> = site.frames(clip).iter().map(|f| result_of(f.manifest())).collect();
    let (model, pack) = (frames[0].model.clone(), pack(site, clip).key().to_owned());
    ClipResult { schema: RESULT_SCHEMA, pack, model, frames }
}

fn collect(parts: &Parts, borders: &Borders) {
    let [poll, poll_max, list_each] = [5, 20, 20].map(Duration::from_millis);
    let pace = Pace { poll, poll_max, list_each };
    let (bridge, book) = (parts.bridge.clone(), Arc::new(parts.book.clone()));
    let stop = parts.shutdown.clone();
    let collector = Collector::new(bridge, book, borders.results.clone(), None, pace, stop);
    parts.shutdown.spawn(collector.run());
}

#[tokio::test]
async fn the_result_of_a_clip_is_the_result_of_each_of_its_frames() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let clock: Arc<dyn base::Clock> = Arc::new(base::SystemClock::default());
    let ticking = Setup { clock: Some(clock), ..packing() };
    let parts = Parts::new(&site, &borders, ticking);
    let (clip, stranger) = (site.clip(0, 4), site.clip(1, 3));
    commit(&parts, &site, &clip).await;
    parts.forward();
    until("it is forwarded", async || parts.waiting() == 0).await;
    // Of a clip that nobody awaits; and a wrong one at the awaited place.
    let put = borders.results.put_clip_result(&result(&site, &stranger)).await.unwrap();
    assert_eq!(put, Put::Created);
    let place = key::pack_results_prefix(pack(&site, &clip).key()).unwrap();
    borders.results.plant(&format!("{place}{}.json", proto::Digest::of(b"x")), b"hello".to_vec());
    collect(&parts, &borders);
    until("the wrong one was seen", async || parts.counted(count::RESULTS_INVALID) == 1).await;
    let put = borders.results.put_clip_result(&result(&site, &clip)).await.unwrap();
    assert_eq!(put, Put::Created);
    let done = || borders.book.frames().values().filter(|frame| frame.result.is_some()).count();
    until("all are done", async || done() == 3).await;
    assert_eq!(parts.counted(count::RESULTS), 3);
    for frame in site.frames(&clip) {
        let kept = borders.book.frames()[&key::frame_key(frame.manifest())].result.clone();
        assert_eq!(kept, Some(result_of(frame.manifest())));
    }
    parts.stop().await;
}

#[tokio::test]
async fn an_overdue_pack_is_asked_for_once_and_its_dead_letter_is_that_of_each_frame() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, packing());
    let clip = site.clip(0, 4);
    commit(&parts, &site, &clip).await;
    parts.forward();
    until("it is forwarded", async || parts.waiting() == 0).await;
    let inference = Arc::<MemoryInference>::default();
    let overdue = Overdue {
        bridge: parts.bridge.clone(),
        book: Arc::new(parts.book.clone()),
        results: borders.results.clone(),
        inference: inference.clone(),
        patience: Patience { overdue: Duration::from_secs(60), tries_max: 2 },
        shutdown: parts.shutdown.clone(),
    };
    borders.clock.advance(Duration::from_secs(61));
    overdue.round().await.unwrap();
    assert_eq!(inference.asked(), [pack(&site, &clip).key()]);
    let tries: Vec<u64> = borders.book.frames().values().map(|f| f.awaiting.tries).collect();
    assert_eq!(tries, [1, 1, 1]);
    let (key, reason) = (pack(&site, &clip).key().to_owned(), "poison".to_owned());
    let letter = proto::result::DeadLetter { schema: RESULT_SCHEMA, key, reason };
    assert_eq!(borders.results.put_dead_letter(&letter).await.unwrap(), Put::Created);
    borders.clock.advance(Duration::from_secs(61));
    overdue.round().await.unwrap();
    let dead: Vec<_> = borders.book.frames().into_values().map(|frame| frame.dead).collect();
    assert_eq!(dead, vec![Some("poison".to_owned()); 3]);
    assert_eq!(inference.asked().len(), 1);
    parts.stop().await;
}
