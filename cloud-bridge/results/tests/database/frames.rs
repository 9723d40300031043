//! Stories of clips and frames: every write can be repeated, and nothing that is done is undone.

use base::{Fault, Faulty};
use proto::{UtcTime, pack::Within, result::FaceLabel};
use results::{ClipFilter, FrameFilter, FrameState, Order, Results, StateKind};

use crate::example::{at, frame, receipt, record, result};

pub(crate) async fn clip_once(results: Results) {
    let record = record("door", 3);
    assert_eq!(results.receipt(&record.clip).await.unwrap(), None);
    let first = receipt(&record, 100);
    assert!(results.record_clip(&record, &first).await.unwrap());
    assert!(!results.record_clip(&record, &first).await.unwrap());
    assert!(!results.record_clip(&record, &receipt(&record, 200)).await.unwrap());
    assert_eq!(results.receipt(&record.clip).await.unwrap(), Some(first.clone()));
    let clips = results.clips(&ClipFilter::default(), 10).await.unwrap();
    assert_eq!(clips.len(), 1);
    assert_eq!((&clips[0].record, &clips[0].receipt), (&record, &first));
}

pub(crate) async fn other_receipt(results: Results) {
    let (ours, other) = (record("door", 3), record("door", 4));
    let error = results.record_clip(&ours, &receipt(&other, 1)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Misuse, "{error}");
    assert!(error.to_string().contains("town/door/"), "{error}");
    assert_eq!(results.receipt(&ours.clip).await.unwrap(), None);
}

pub(crate) async fn clips_in_pages(results: Results) {
    for seq in [4, 0, 2, 1, 3] {
        for camera in ["door", "yard"] {
            let record = record(camera, seq);
            results.record_clip(&record, &receipt(&record, 1)).await.unwrap();
        }
    }
    let mut filter = ClipFilter { camera: Some("door".parse().unwrap()), ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = results.clips(&filter, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some((last.record.captured_at, last.record.clip.clone()));
        seen.extend(page.iter().map(|row| row.record.clip.seq));
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    let window = ClipFilter { from: Some(at(10)), until: Some(at(30)), ..Default::default() };
    assert_eq!(results.clips(&window, 100).await.unwrap().len(), 4);
    let session = Some(record("door", 0).clip.session);
    let session = ClipFilter { session, ..Default::default() };
    assert_eq!(results.clips(&session, 100).await.unwrap().len(), 10);
}

pub(crate) async fn never_back(results: Results) {
    let (manifest, key) = frame("door", 7);
    assert!(results.await_frame(&manifest, &key, at(50)).await.unwrap());
    assert!(!results.await_frame(&manifest, &key, at(60)).await.unwrap());
    let row = results.frame(&manifest.frame).await.unwrap().unwrap();
    assert_eq!(row.state, FrameState::Awaiting { tries: 0, tried_at: None });
    assert_eq!((row.awaited_at, row.captured_at), (at(50), at(35)));
    assert_eq!(row.about.unwrap().detector, manifest.detector);

    let result = result(&manifest, &[FaceLabel::Mask]);
    assert!(results.insert_result(&key, &result, at(70)).await.unwrap());
    for _ in 0..2 {
        assert!(!results.await_frame(&manifest, &key, at(80)).await.unwrap());
        results.tried(&key, at(80)).await.unwrap();
        results.mark_dead(&key, "late").await.unwrap();
        assert!(!results.insert_result(&key, &result, at(90)).await.unwrap());
    }
    let row = results.frame(&manifest.frame).await.unwrap().unwrap();
    assert_eq!(row.state, FrameState::Done { result: Box::new(result), at: at(70) });
    assert!(results.awaiting(at(1_000), 10).await.unwrap().is_empty());
}

pub(crate) async fn overdue(results: Results) {
    for (slot, awaited) in [(0, 30), (1, 10), (2, 20), (3, 500)] {
        let (manifest, key) = frame("door", slot);
        results.await_frame(&manifest, &key, at(awaited)).await.unwrap();
    }
    let slots = |before: UtcTime| async move {
        let overdue = results.awaiting(before, 10).await.unwrap();
        (results, overdue.iter().map(|a| (a.frame.slot, a.tries)).collect::<Vec<_>>())
    };
    let (results, overdue) = slots(at(30)).await;
    assert_eq!(overdue, [(1, 0), (2, 0), (0, 0)]);
    let key = frame("door", 1).1;
    results.tried(&key, at(100)).await.unwrap();
    results.tried(&key, at(100)).await.unwrap();
    let overdue = results.awaiting(at(99), 10).await.unwrap();
    assert_eq!(overdue.iter().map(|a| a.frame.slot).collect::<Vec<_>>(), [2, 0]);
    let overdue = results.awaiting(at(100), 2).await.unwrap();
    assert_eq!(overdue.iter().map(|a| a.frame.slot).collect::<Vec<_>>(), [2, 0], "the limit");
    let overdue = results.awaiting(at(100), 10).await.unwrap();
    let last = overdue.last().unwrap();
    assert_eq!((last.frame.slot, last.tries, last.tried_at), (1, 1, Some(at(100))));
}

pub(crate) async fn dead(results: Results) {
    let (manifest, key) = frame("door", 1);
    results.await_frame(&manifest, &key, at(10)).await.unwrap();
    results.tried(&key, at(20)).await.unwrap();
    results.mark_dead(&key, "model refused").await.unwrap();
    results.mark_dead(&key, "another reason").await.unwrap();
    assert!(!results.await_frame(&manifest, &key, at(30)).await.unwrap());
    let row = results.frame(&manifest.frame).await.unwrap().unwrap();
    assert_eq!(row.state, FrameState::Dead { tries: 1, reason: "model refused".into() });
    assert!(results.awaiting(at(1_000), 10).await.unwrap().is_empty());
    let result = result(&manifest, &[]);
    assert!(results.insert_result(&key, &result, at(40)).await.unwrap());
    let row = results.frame(&manifest.frame).await.unwrap().unwrap();
    assert_eq!(row.state.kind(), StateKind::Done);
}

pub(crate) async fn fast_result(results: Results) {
    let (manifest, key) = frame("door", 1);
    let result = result(&manifest, &[FaceLabel::NoMask]);
    assert!(results.insert_result(&key, &result, at(10)).await.unwrap());
    let row = results.frame(&manifest.frame).await.unwrap().unwrap();
    assert_eq!((row.about, row.state.kind()), (None, StateKind::Done));
    assert!(!results.await_frame(&manifest, &key, at(20)).await.unwrap());
    let row = results.frame(&manifest.frame).await.unwrap().unwrap();
    assert_eq!(row.about.unwrap().clock, manifest.clock);
    assert_eq!(row.state, FrameState::Done { result: Box::new(result), at: at(10) });
}

pub(crate) async fn other_frame(results: Results) {
    let ((ours, key), (other, other_key)) = (frame("door", 1), frame("door", 2));
    let error = results.await_frame(&ours, &other_key, at(1)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Misuse, "{error}");
    let error = results.insert_result(&key, &result(&other, &[]), at(1)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Misuse, "{error}");
    assert!(results.frames(&FrameFilter::default(), 10).await.unwrap().is_empty());
    // The same frame at another hour's key.
    results.await_frame(&ours, &key, at(1)).await.unwrap();
    let mut moved = ours.clone();
    moved.clip_captured_at = at(7_200);
    let moved_key = proto::key::frame_key(&moved);
    let error = results.await_frame(&moved, &moved_key, at(2)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Misuse, "{error}");
    let error = results.insert_result(&moved_key, &result(&moved, &[]), at(2)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Misuse, "{error}");
    assert_eq!(results.frames(&FrameFilter::default(), 10).await.unwrap().len(), 1);
}

pub(crate) async fn frames_in_pages(results: Results) {
    for slot in 0..5 {
        for camera in ["door", "yard"] {
            let (manifest, key) = frame(camera, slot);
            results.await_frame(&manifest, &key, at(100)).await.unwrap();
            if slot == 2 {
                let result = result(&manifest, &[]);
                results.insert_result(&key, &result, at(101)).await.unwrap();
            }
        }
    }
    for (order, expected) in [
        (Order::Newest, [4, 4, 3, 3, 2, 2, 1, 1, 0, 0]),
        (Order::Oldest, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
    ] {
        let mut filter = FrameFilter { order, ..Default::default() };
        let mut seen = Vec::new();
        loop {
            let page = results.frames(&filter, 3).await.unwrap();
            let Some(last) = page.last() else { break };
            filter.after = Some(last.place());
            seen.extend(page.iter().map(|row| row.frame.slot));
        }
        assert_eq!(seen, expected);
    }
    let count = |filter: FrameFilter| {
        let results = results.clone();
        async move { results.frames(&filter, 100).await.unwrap().len() }
    };
    let all = FrameFilter::default;
    assert_eq!(count(FrameFilter { camera: Some("yard".parse().unwrap()), ..all() }).await, 5);
    assert_eq!(count(FrameFilter { camera: Some("none".parse().unwrap()), ..all() }).await, 0);
    assert_eq!(count(FrameFilter { state: Some(StateKind::Done), ..all() }).await, 2);
    assert_eq!(count(FrameFilter { state: Some(StateKind::Awaiting), ..all() }).await, 8);
    assert_eq!(count(FrameFilter { from: Some(at(5)), until: Some(at(15)), ..all() }).await, 4);
    let session = frame("door", 0).0.frame.clip.session;
    assert_eq!(count(FrameFilter { session: Some(session), ..all() }).await, 10);
}

/// Where a frame lies in a pack is kept from the first word on, however often it is said and whatever came before.
pub(crate) async fn packed(results: Results) {
    let within = Within { offset: 4096, length: 1234 };
    let (alone, alone_key) = frame("door", 1);
    let (packed, key) = frame("door", 2);
    results.await_frame(&alone, &alone_key, at(10)).await.unwrap();
    assert!(results.await_stored(&packed, &key, Some(within), at(20)).await.unwrap());
    // A bridge whose setting was changed says it otherwise: the object of the first word is there.
    assert!(!results.await_frame(&packed, &key, at(30)).await.unwrap());
    assert!(!results.await_stored(&alone, &alone_key, Some(within), at(30)).await.unwrap());
    let row = async |manifest: &proto::Manifest| {
        results.frame(&manifest.frame).await.unwrap().unwrap().within()
    };
    assert_eq!((row(&packed).await, row(&alone).await), (Some(within), None));
    let awaiting = results.awaiting(at(100), 10).await.unwrap();
    let objects: Vec<String> = awaiting.iter().map(results::Awaiting::object).collect();
    assert_eq!(objects, [alone_key, proto::key::pack_key(&packed)]);
    // A result that is faster than the bridge leaves the place to be said later.
    let (fast, fast_key) = frame("door", 3);
    let said = result(&fast, &[FaceLabel::Mask]);
    assert!(results.insert_result(&fast_key, &said, at(40)).await.unwrap());
    assert_eq!(row(&fast).await, None);
    assert!(!results.await_stored(&fast, &fast_key, Some(within), at(50)).await.unwrap());
    assert_eq!(row(&fast).await, Some(within));
}
