//! Tests of tracks: what goes on, who votes, and that the order of arrival changes nothing.

use proptest::prelude::*;
use proto::{Digest, UtcTime, manifest::ModelRef, result::Placement};

use super::*;

const MASK: [f32; 4] = [0.8, 0.1, 0.1, 0.0];
const BARE: [f32; 4] = [0.1, 0.8, 0.1, 0.0];
const NONE: [f32; 4] = [0.1, 0.05, 0.05, 0.8];

fn face(x: u32, [mask, no_mask, incorrect, not_a_face]: [f32; 4]) -> FaceResult {
    FaceResult {
        rect: Rect { x, y: 40, w: 40, h: 48 },
        score_milli: 900,
        counted: true,
        mask,
        no_mask,
        incorrect,
        not_a_face,
        label: FaceLabel::likeliest([mask, no_mask, incorrect, not_a_face]),
    }
}

/// The result of the frame in this slot, this many milliseconds after 1970.
fn frame(slot: u64, at_ms: i64, faces: Vec<FaceResult>) -> FrameResult {
    let example = proto::manifest::example();
    let mut frame = example.frame.clone();
    frame.slot = slot;
    FrameResult {
        schema: proto::result::RESULT_SCHEMA,
        image: format!("key-{slot}"),
        frame,
        captured_at: UtcTime::EPOCH.plus_ns(at_ms * 1_000_000),
        model: ModelRef { name: "mask".into(), digest: Digest::of(b"model") },
        policy: example.policy,
        classified_on: Placement::Lambda,
        width: 640,
        height: 480,
        faces,
        mask: 0,
        no_mask: 0,
        incorrect: 0,
        uncertain: 0,
        share_without_mask: None,
        timings: None,
    }
}

/// One face with a mask at the same place in every slot, all of one clip.
pub(crate) fn example(slot: u64) -> FrameResult {
    frame(slot, i64::try_from(slot).unwrap(), vec![face(100, MASK)])
}

/// The numbers of the tracks of each frame's faces.
fn numbers(frames: &[FrameResult]) -> Vec<Vec<u32>> {
    let of = |tracked: Tracked| tracked.faces.iter().map(|track| track.number).collect();
    tracks(frames.to_vec()).into_iter().map(of).collect()
}

#[test]
fn a_face_that_goes_on_is_one_track_and_counted_where_it_begins() {
    let frames = [
        frame(0, 0, vec![face(100, MASK), face(400, BARE)]),
        // In another order, both have walked, and somebody has come.
        frame(1, 200, vec![face(415, BARE), face(112, MASK), face(250, BARE)]),
        frame(2, 400, vec![face(124, MASK), face(430, BARE)]),
    ];
    assert_eq!(numbers(&frames), [vec![0, 1], vec![1, 0, 2], vec![0, 1]]);
    let begin: Vec<_> = tracks(frames.to_vec()).iter().map(|t| t.begin.numbers()).collect();
    assert_eq!(begin, [[1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 0, 0]]);
}

/// The thresholds are the fog's: half a side, and a side more for each second up to two; a factor of 1.6 in size.
#[test]
fn somebody_else_is_no_continuation() {
    let goes_on = |apart_ms, other: Rect| {
        let mut second = face(0, MASK);
        second.rect = other;
        let frames = [frame(0, 0, vec![face(100, MASK)]), frame(1, apart_ms, vec![second])];
        numbers(&frames)[1] == [0]
    };
    let at = |x| Rect { x, ..face(0, MASK).rect };
    // Its side is 43.8 px: 21.9 px at once, 43.8 more after a second.
    assert!(goes_on(0, at(121)) && !goes_on(0, at(122)));
    assert!(goes_on(1_000, at(165)) && !goes_on(1_000, at(166)));
    assert!(goes_on(2_000, at(209)) && !goes_on(2_000, at(210)));
    // After that only who stands still is taken for the same.
    assert!(goes_on(2_001, at(121)) && !goes_on(2_001, at(122)));
    assert!(goes_on(0, Rect { x: 88, y: 30, w: 64, h: 70 }), "1.53 times as large");
    assert!(!goes_on(0, Rect { x: 88, y: 26, w: 66, h: 76 }), "1.62 times as large");
    assert!(!goes_on(0, Rect { x: 120, y: 64, w: 0, h: 0 }), "no box at all");
}

#[test]
fn the_nearer_face_goes_on_and_a_face_goes_on_once() {
    let frames =
        [frame(0, 0, vec![face(100, MASK)]), frame(1, 0, vec![face(118, BARE), face(104, MASK)])];
    assert_eq!(numbers(&frames), [vec![0], vec![1, 0]]);
}

/// One frame says otherwise, less surely than the two others together: the track says what they say.
#[test]
fn a_track_says_what_its_frames_say_on_the_mean() {
    let unsure = [0.45, 0.55, 0.0, 0.0];
    let said = |all: &[[f32; 4]]| {
        let frames = all
            .iter()
            .zip(0..)
            .map(|(said, n)| frame(n, i64::try_from(n).unwrap() * 100, vec![face(100, *said)]));
        tracks(frames.collect())[0].faces[0]
    };
    let track = |label, votes| Track { number: 0, label, votes };
    assert_eq!(said(&[unsure]), track(FaceLabel::NoMask, 1));
    assert_eq!(said(&[unsure, MASK]), track(FaceLabel::Mask, 2));
    assert_eq!(said(&[unsure, unsure, BARE]), track(FaceLabel::NoMask, 3));
    // Whether there is a face at all is voted on like the rest.
    assert_eq!(said(&[NONE, NONE]), track(FaceLabel::NotAFace, 2));
    assert_eq!(said(&[NONE, MASK]), track(FaceLabel::Mask, 2));
}

#[test]
fn faces_that_are_small_or_not_counted_link_and_do_not_vote() {
    let small = FaceResult { label: FaceLabel::Uncertain, ..face(100, BARE) };
    let weak = FaceResult { counted: false, ..face(100, BARE) };
    let frames = |faces: &[&FaceResult]| -> Vec<FrameResult> {
        let frame = |(n, f): (u64, &&FaceResult)| {
            frame(n, i64::try_from(n).unwrap() * 100, vec![(*f).clone()])
        };
        (0..).zip(faces).map(frame).collect()
    };
    let mask = face(100, MASK);
    let of = |faces: &[&FaceResult]| {
        let tracked = tracks(frames(faces));
        assert!(tracked.iter().all(|t| t.faces[0].number == 0), "{tracked:?}");
        (tracked[0].faces[0].label, tracked[0].faces[0].votes, tracked[0].begin.numbers())
    };
    assert_eq!(of(&[&small, &mask, &weak]), (FaceLabel::Mask, 1, [1, 1, 0, 0, 0]));
    assert_eq!(of(&[&small, &small]), (FaceLabel::Uncertain, 0, [1, 0, 0, 0, 1]));
    assert_eq!(of(&[&weak, &weak]).2, [1, 0, 0, 0, 0], "nobody");
    let none = face(100, NONE);
    assert_eq!(of(&[&none]), (FaceLabel::NotAFace, 1, [1, 0, 0, 0, 0]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Every face is in one track, a track has at most one face of a frame, each counted track is counted once, and the
    /// order of arrival changes nothing.
    #[test]
    fn tracks_do_not_depend_on_the_order_of_arrival(
        (frames, shuffled) in clip().prop_flat_map(|frames| {
            (Just(frames.clone()), Just(frames).prop_shuffle())
        }),
    ) {
        let tracked = tracks(frames.clone());
        prop_assert_eq!(&tracked, &tracks(shuffled));
        let mut votes = BTreeSet::new();
        for (tracked, frame) in tracked.iter().zip(&frames) {
            prop_assert_eq!(tracked.faces.len(), frame.faces.len());
            let of_frame: BTreeSet<u32> = tracked.faces.iter().map(|t| t.number).collect();
            prop_assert_eq!(of_frame.len(), frame.faces.len());
            votes.extend(tracked.faces.iter().map(|t| (t.number, t.votes, t.label == FaceLabel::NotAFace)));
        }
        // All faces are counted and none is too small: the votes are the faces, and each track is in the counts or none.
        let faces: usize = frames.iter().map(|frame| frame.faces.len()).sum();
        prop_assert_eq!(votes.iter().map(|(_, n, _)| *n as usize).sum::<usize>(), faces);
        let counted: u64 = tracked.iter().map(|t| t.begin.all()).sum();
        prop_assert_eq!(counted, votes.iter().filter(|(_, _, none)| !none).count() as u64);
    }
}

/// Frames in the order of time, some at the same instant, with faces near those of their neighbours.
fn clip() -> impl Strategy<Value = Vec<FrameResult>> {
    let said = prop_oneof![Just(MASK), Just(BARE), Just(NONE), Just([0.4, 0.35, 0.25, 0.0])];
    let face = (0u32..8, said).prop_map(|(place, said)| face(100 + 12 * place, said));
    let frame =
        (prop_oneof![Just(0i64), Just(200), Just(5_000)], prop::collection::vec(face, 0..5));
    prop::collection::vec(frame, 1..7).prop_map(|frames| {
        let mut at = 0;
        (0..)
            .zip(frames)
            .map(|(slot, (wait, faces))| {
                at += wait;
                self::frame(slot, at, faces)
            })
            .collect()
    })
}
