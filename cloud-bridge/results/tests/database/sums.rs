//! Stories of sums: they follow from what was written, once, whatever was repeated.

use std::time::Duration;

use proto::{
    UtcTime,
    record::{ClipFailure, SlotOutcome},
    result::FaceLabel::{Incorrect, Mask, NoMask, NotAFace, Uncertain},
};
use results::{BucketWidth, Confusion, Counts, CountsByModel, FrameFilter, Results};

use crate::example::{EVERY_NS, at, frame, receipt, record, result};

/// Three clips of a camera, their frames, and results of two of these; each written twice.
async fn fill(results: &Results, camera: &str) {
    for _ in 0..2 {
        for seq in 0..3 {
            let record = record(camera, seq);
            results.record_clip(&record, &receipt(&record, 1)).await.unwrap();
            let (manifest, key) = frame(camera, seq * 2);
            results.await_frame(&manifest, &key, at(60)).await.unwrap();
        }
        let (manifest, key) = frame(camera, 0);
        let labels = [Mask, Mask, NoMask, Incorrect, Uncertain, NotAFace];
        results.insert_result(&key, &result(&manifest, &labels), at(61)).await.unwrap();
        let (manifest, key) = frame(camera, 2);
        results.insert_result(&key, &result(&manifest, &[Mask]), at(61)).await.unwrap();
        results.mark_dead(&frame(camera, 4).1, "gone").await.unwrap();
    }
}

pub(crate) async fn written_once(results: Results) {
    fill(&results, "door").await;
    fill(&results, "yard").await;
    let (manifest, key) = frame("yard", 400);
    results.await_frame(&manifest, &key, at(60)).await.unwrap();
    let cameras = results.cameras().await.unwrap();
    assert_eq!(cameras.len(), 2);
    let (door, yard) = (&cameras[0], &cameras[1]);
    assert_eq!(door.camera.as_str(), "door");
    assert_eq!((door.delivered, door.withheld, door.undecodable), (3, 3, 0));
    let counts = Counts { frames: 2, mask: 3, no_mask: 1, incorrect: 1, uncertain: 1 };
    assert_eq!(door.counts.total(), counts);
    assert_eq!((door.awaiting, door.dead), (0, 1));
    assert_eq!((yard.awaiting, yard.dead), (1, 1));
    assert_eq!((door.every_ns, door.newest), (Some(EVERY_NS), Some(at(20))));
    assert_eq!(yard.newest, Some(at(2_000)));
}

pub(crate) async fn minutes_and_hours(results: Results) {
    fill(&results, "door").await;
    fill(&results, "yard").await;
    let later = frame("door", 3 * 720);
    let result = result(&later.0, &[NoMask, NoMask]);
    results.insert_result(&later.1, &result, at(99)).await.unwrap();
    let door = "door".parse().unwrap();
    for width in [BucketWidth::Minute, BucketWidth::Hour] {
        let (from, until) = (at(-1), at(3 * 3600 + 60));
        let from = from.plus_ns(-3_600_000_000_000);
        let buckets = results.counts_over_time(Some(&door), width, from, until).await.unwrap();
        let seen: Vec<_> = buckets.iter().map(|b| (b.at, b.counts.total().all())).collect();
        assert_eq!(seen, [(at(0), 6), (at(3 * 3600), 2)], "{width:?}");
        let all = results.counts_over_time(None, width, from, until).await.unwrap();
        assert_eq!(all.len(), 3, "{width:?}");
        // The start is brought down to the start of its bucket; the end is not in the window.
        let inside = results.counts_over_time(Some(&door), width, at(30), at(3 * 3600)).await;
        assert_eq!(inside.unwrap().len(), 1, "{width:?}");
    }
}

/// Around a change of classifier each one's counts stay its own, in every sum, and so does what corrects them.
pub(crate) async fn by_model(results: Results) {
    let shipped: Vec<_> = Confusion::shipped().map(|known| known.digest).collect();
    let said = [[NoMask, NoMask, Mask], [Mask, Mask, NoMask]];
    let mut expected = CountsByModel::default();
    for (slot, (digest, labels)) in (0..).step_by(2).zip(shipped.iter().zip(&said)) {
        let (manifest, key) = frame("door", slot);
        let mut result = result(&manifest, labels);
        result.model.digest = *digest;
        results.insert_result(&key, &result, at(61)).await.unwrap();
        expected.add(&CountsByModel::of(Some(*digest), Counts::of(&result)));
    }
    let door = "door".parse().unwrap();
    assert_eq!(results.cameras().await.unwrap()[0].counts, expected);
    for width in [BucketWidth::Minute, BucketWidth::Hour] {
        let buckets = results.counts_over_time(Some(&door), width, at(0), at(60)).await.unwrap();
        let [bucket] = buckets.as_slice() else { panic!("{buckets:?}") };
        assert_eq!(bucket.counts, expected, "{width:?}");
    }
    let mut frames = CountsByModel::default();
    let rows = results.frames(&FrameFilter::default(), 10).await.unwrap();
    rows.iter().for_each(|row| frames.add(&row.counts));
    assert_eq!(frames, expected);
    assert!(expected.corrected_share().is_some());
    // One answer of a classifier that nobody knows, and nothing is corrected any more.
    let (manifest, key) = frame("door", 4);
    results.insert_result(&key, &result(&manifest, &[Mask]), at(62)).await.unwrap();
    let counts = results.cameras().await.unwrap().remove(0).counts;
    assert_eq!((counts.total().all(), counts.corrected_share()), (7, None));
}

pub(crate) async fn unseen(results: Results) {
    fill(&results, "door").await;
    let mut lost = record("door", 9);
    lost.failure = Some(ClipFailure::Truncated);
    lost.slots.iter_mut().for_each(|slot| slot.outcome = SlotOutcome::Undecodable);
    results.record_clip(&lost, &receipt(&lost, 1)).await.unwrap();
    let (from, until) = (UtcTime::EPOCH, at(i64::from(u32::MAX)));
    let rows = results.unseen(Some(&"door".parse().unwrap()), from, until).await.unwrap();
    let rows: Vec<_> =
        rows.iter().map(|r| (r.outcome.as_str(), r.reason.as_str(), r.slots)).collect();
    let expected = [
        ("undecodable", "truncated", 2),
        ("withheld", "residual", 2),
        ("withheld", "too_many_faces", 1),
    ];
    assert_eq!(rows, expected);
    // The slot in the middle of the first clip is at 5 s, and no other is before 6 s.
    let begin = at(0).plus_ns(i64::try_from(Duration::from_secs(6).as_nanos()).unwrap());
    assert_eq!(results.unseen(None, at(0), begin).await.unwrap().len(), 1);
    assert!(results.unseen(Some(&"yard".parse().unwrap()), from, until).await.unwrap().is_empty());
}
