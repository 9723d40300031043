//! Owns what neighbouring frames tell each other, as plain boxes and never as pixels: which face of a frame is which
//! of its neighbour's, and which faces the neighbours saw that a frame's own look did not.
//!
//! A face goes on when the next frame has one of its size near by; its noise is then that of its track's first place.
//! One that does not go on is covered, without cells, where it was: when the frames before and after both have it,
//! however far apart they are; when one of them, [`HOLD_US`] away at most, was sure of it; and, in the last frame of a
//! clip, which nobody follows yet, when it was in the two frames before.
//!
//! The last frame of a clip is the first one's neighbour in the next clip, where the fog node still knows it.

use models::{Detection, agreement::grouped};
use proto::{
    UtcTime,
    limits::{FACES_MAX, MESSAGE_BYTES_MAX, PICTURE_HEIGHT_MAX, PICTURE_WIDTH_MAX},
    manifest::Rect,
    record::WithheldReason,
};
use serde::{Deserialize, Serialize};

use crate::{Withheld, noise::Place, policy::Ring, regions::snapped};

/// How far away in time, in microseconds, a frame alone vouches for a face: further on, people have walked away and
/// what is covered is street.
const HOLD_US: i64 = 1_000_000;
/// Least score at which one frame alone vouches for a face, that a box which is none does not cover three frames.
const SURE: f32 = 0.5;
/// A face that goes on is found within this many of its own sides, and as many more as seconds have passed.
const REACH: f32 = 0.5;
/// Beyond this many microseconds nobody is followed by motion, only where he stands.
const FOLLOWED_US: i64 = 2_000_000;
/// No edge of a box that only trembles moves by more than this share of its side.
const TREMBLE: f32 = 0.125;
/// A face that goes on changes its size by this factor at most.
const GROWTH_MAX: f32 = 1.6;

/// Boxes of one frame that go on into the next clip at most: three for each of [`FACES_MAX`] faces, one of each scale.
const BOXES_MAX: usize = 3 * FACES_MAX;
// A face of one box takes 60 bytes of a message at most, and each box more 20.
const _: () = assert!(60 * BOXES_MAX < MESSAGE_BYTES_MAX, "a message holds them");

/// The faces of one frame: plain boxes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    at_us: i64,
    faces: Vec<Face>,
}

/// One face.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Face {
    /// Every box of it, the best first; never empty.
    pub(crate) boxes: Vec<Detection>,
    /// Where its track began: keys its noise. Nothing when that lies outside the picture.
    pub(crate) place: Option<Place>,
    /// Its best box; that of the frame before while the face stays and its box only trembles.
    pub(crate) cells_at: Detection,
    /// Its best box, snapped; nothing when it lies outside the picture.
    #[serde(skip)]
    rect: Option<Rect>,
    /// Whether the frame before had it too.
    stood: bool,
}

impl Face {
    fn best(&self) -> Option<&Detection> {
        self.boxes.first()
    }
}

impl Seen {
    /// Puts the boxes of a frame together, each face a track of its own.
    ///
    /// # Errors
    /// [`Withheld`] when one of them is no box.
    pub(crate) fn of(
        found: &[Detection],
        at_us: i64,
        (width, height): (u32, u32),
    ) -> Result<Self, Withheld> {
        #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
        let (w, h) = (width as f32, height as f32);
        if !found.iter().all(|face| face.is_sane(w, h)) {
            return Err(Withheld(WithheldReason::Detector));
        }
        let boxes: Vec<(Detection, ())> = found.iter().map(|face| (*face, ())).collect();
        let faces = grouped(&boxes).into_iter().filter_map(|boxes| {
            let boxes: Vec<Detection> = boxes.into_iter().map(|(found, ())| found).collect();
            let cells_at = *boxes.first()?;
            let rect = snapped(&cells_at, Ring::NONE, width, height);
            Some(Face { boxes, place: None, cells_at, rect, stood: false })
        });
        let mut seen = Self { at_us, faces: faces.collect() };
        seen.place();
        Ok(seen)
    }

    /// Gives a place to each face that has none.
    fn place(&mut self) {
        let mut taken: Vec<Place> = self.faces.iter().filter_map(|face| face.place).collect();
        for face in self.faces.iter_mut().filter(|face| face.place.is_none()) {
            face.place = face.rect.map(|rect| Place::beside(&taken, rect));
            taken.extend(face.place);
        }
    }

    pub(crate) fn faces(&self) -> &[Face] {
        &self.faces
    }

    /// Whether these are boxes of some picture at some time, and no more than go on into the next clip.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
        let (w, h) = (PICTURE_WIDTH_MAX as f32, PICTURE_HEIGHT_MAX as f32);
        let boxes: usize = self.faces.iter().map(|face| face.boxes.len()).sum();
        let time = UtcTime::from_micros(self.at_us).is_ok();
        let sane = |face: &Face| {
            let mut boxes = face.boxes.iter().chain([&face.cells_at]);
            !face.boxes.is_empty() && boxes.all(|found| found.is_sane(w, h))
        };
        time && boxes <= BOXES_MAX && self.faces.iter().all(sane)
    }

    /// Goes on with the tracks of an earlier frame.
    pub(crate) fn follow(&mut self, before: &Self) {
        let pairs = pairs(&before.sides(), &self.sides(), self.at_us - before.at_us);
        self.faces.iter_mut().for_each(|face| face.place = None);
        for (old, new) in pairs {
            if let (Some(old), Some(new)) = (before.faces.get(old), self.faces.get_mut(new)) {
                (new.place, new.stood) = (old.place, true);
                if trembles(&old.cells_at, &new.cells_at) {
                    new.cells_at = old.cells_at;
                }
            }
        }
        self.place();
    }

    /// What the neighbours saw that this frame's own look did not.
    pub(crate) fn remembered(&self, before: Option<&Self>, after: Option<&Self>) -> Vec<Detection> {
        let lost = |other: Option<&Self>| -> Vec<Face> {
            let Some(other) = other else { return Vec::new() };
            let pairs = pairs(&other.sides(), &self.sides(), (self.at_us - other.at_us).abs());
            let goes_on = |index: &usize| pairs.iter().any(|(old, _)| old == index);
            let faces = other.faces.iter().enumerate().filter(|(index, _)| !goes_on(index));
            faces.map(|(_, face)| face.clone()).collect()
        };
        let (gone, new) = (lost(before), lost(after));
        let mut boxes: Vec<Detection> = Vec::new();
        for (other, faces) in [(before, &gone), (after, &new)] {
            let near = other.is_some_and(|other| (self.at_us - other.at_us).abs() <= HOLD_US);
            let sure = |face: &&Face| face.best().is_some_and(|b| b.score >= SURE);
            let stays = |face: &&Face| after.is_none() && face.stood;
            let held = faces.iter().filter(|face| (near && sure(face)) || stays(face));
            boxes.extend(held.flat_map(|face| face.boxes.iter().copied()));
        }
        if let (Some(before), Some(after)) = (before, after) {
            let sides = |faces: &[Face]| faces.iter().filter_map(|f| f.best().copied()).collect();
            let (gone_at, new_at): (Vec<_>, Vec<_>) = (sides(&gone), sides(&new));
            for (old, new) in pairs(&gone_at, &new_at, after.at_us - before.at_us) {
                let (Some(old), Some(new)) = (gone_at.get(old), new_at.get(new)) else { continue };
                let share = part(self.at_us - before.at_us, after.at_us - before.at_us);
                boxes.extend([*old, *new, between(old, new, share)]);
            }
        }
        boxes
    }

    fn sides(&self) -> Vec<Detection> {
        self.faces.iter().filter_map(|face| face.best().copied()).collect()
    }
}

/// Which of the old faces is which of the new ones: the nearest first, each once.
fn pairs(old: &[Detection], new: &[Detection], apart_us: i64) -> Vec<(usize, usize)> {
    let moving = if apart_us <= FOLLOWED_US { part(apart_us, 1_000_000) } else { 0.0 };
    let mut near: Vec<(f32, usize, usize)> = Vec::new();
    for (i, a) in old.iter().enumerate() {
        for (j, b) in new.iter().enumerate() {
            let (size_a, size_b) = ((a.w * a.h).sqrt(), (b.w * b.h).sqrt());
            let (small, large) = (size_a.min(size_b), size_a.max(size_b));
            let middle = |d: &Detection| (d.x + d.w / 2.0, d.y + d.h / 2.0);
            let ((ax, ay), (bx, by)) = (middle(a), middle(b));
            let far = (ax - bx).hypot(ay - by) / large;
            if large <= GROWTH_MAX * small && far <= REACH + moving {
                near.push((far, i, j));
            }
        }
    }
    near.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (_, i, j) in near {
        if pairs.iter().all(|(a, b)| *a != i && *b != j) {
            pairs.push((i, j));
        }
    }
    pairs
}

/// Whether a face's box is where it was but for trembling.
fn trembles(before: &Detection, now: &Detection) -> bool {
    let near = |a: f32, b: f32, side: f32| (a - b).abs() <= TREMBLE * side;
    near(before.x, now.x, before.w)
        && near(before.x + before.w, now.x + now.w, before.w)
        && near(before.y, now.y, before.h)
        && near(before.y + before.h, now.y + now.h, before.h)
}

#[expect(clippy::cast_precision_loss, reason = "times within two clips")]
fn part(of_us: i64, whole_us: i64) -> f32 {
    of_us.max(0) as f32 / whole_us.max(1) as f32
}

/// Where a face was on its way.
fn between(a: &Detection, b: &Detection, share: f32) -> Detection {
    let mix = |a: f32, b: f32| a + (b - a) * share;
    Detection {
        x: mix(a.x, b.x),
        y: mix(a.y, b.y),
        w: mix(a.w, b.w),
        h: mix(a.h, b.h),
        score: a.score.min(b.score),
    }
}

#[cfg(test)]
mod looks;

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, score: f32) -> Detection {
        Detection { x, y: 40.0, w: 40.0, h: 48.0, score }
    }

    fn seen(at_ms: i64, faces: &[Detection]) -> Seen {
        Seen::of(faces, at_ms * 1000, (640, 480)).unwrap()
    }

    #[test]
    fn a_face_that_goes_on_keeps_its_first_place_and_costs_no_memory() {
        let first = seen(0, &[face(100.0, 0.9), face(400.0, 0.9)]);
        // In another order, and both have walked.
        let mut second = seen(200, &[face(415.0, 0.9), face(112.0, 0.9)]);
        second.follow(&first);
        let mut third = seen(400, &[face(124.0, 0.9), face(430.0, 0.9)]);
        third.follow(&second);
        let places =
            |seen: &Seen| seen.faces().iter().map(|f| f.place.unwrap()).collect::<Vec<_>>();
        assert_eq!(places(&third), places(&first));
        let alone = seen(400, &[face(124.0, 0.9), face(430.0, 0.9)]);
        assert_ne!(places(&alone), places(&first), "they stayed where they were");
        assert_eq!(second.remembered(Some(&first), Some(&third)), []);
    }

    #[test]
    fn a_face_keeps_its_noise_when_its_neighbour_blinks() {
        // Two small faces of one cell of the lattice, the left one missed in the second frame.
        let small = |x: f32| Detection { x, w: 20.0, h: 24.0, ..face(x, 0.9) };
        let first = seen(0, &[small(66.0), small(100.0)]);
        let places: Vec<Place> = first.faces().iter().filter_map(|face| face.place).collect();
        assert_ne!(places[0], places[1]);
        let mut second = seen(200, &[small(101.0)]);
        second.follow(&first);
        let of = |seen: &Seen, x: f32| {
            seen.faces().iter().find(|face| face.boxes[0].x == x).and_then(|face| face.place)
        };
        assert_eq!(of(&second, 101.0), of(&first, 100.0));
        let mut third = seen(400, &[small(66.0), small(100.0)]);
        third.follow(&second);
        assert_eq!((of(&third, 66.0), of(&third, 100.0)), (of(&first, 66.0), of(&first, 100.0)));
    }

    #[test]
    fn somebody_else_is_no_continuation() {
        let first = seen(0, &[face(100.0, 0.9)]);
        let goes_on = |later: &Seen| {
            !pairs(&first.sides(), &later.sides(), later.at_us - first.at_us).is_empty()
        };
        let child = Detection { w: 20.0, h: 24.0, ..face(110.0, 0.9) };
        for (at_ms, other, expected) in [
            (200, face(110.0, 0.9), true),
            (200, face(200.0, 0.9), false),
            (200, child, false),
            // After a while only who stands still is taken for the same.
            (5_000, face(125.0, 0.9), false),
            (5_000, face(110.0, 0.9), true),
        ] {
            assert_eq!(goes_on(&seen(at_ms, &[other])), expected, "{at_ms} {other:?}");
        }
    }

    #[test]
    fn a_face_that_both_neighbours_have_is_remembered_however_far_they_are() {
        let (before, after) = (seen(0, &[face(100.0, 0.4)]), seen(10_000, &[face(110.0, 0.4)]));
        let found = seen(5_000, &[]).remembered(Some(&before), Some(&after));
        assert_eq!(found, [face(100.0, 0.4), face(110.0, 0.4), face(105.0, 0.4)]);
        let elsewhere = seen(10_000, &[face(300.0, 0.4)]);
        assert_eq!(seen(5_000, &[]).remembered(Some(&before), Some(&elsewhere)), []);
    }

    #[test]
    fn one_neighbour_vouches_for_a_face_within_a_second_and_when_it_was_sure() {
        let remembered = |score, apart_ms| {
            let sight = seen(apart_ms, &[face(100.0, score)]);
            let backward = seen(0, &[]).remembered(None, Some(&sight));
            let forward = seen(2 * apart_ms, &[]).remembered(Some(&sight), None);
            assert_eq!(backward, forward);
            !forward.is_empty()
        };
        assert!(remembered(0.6, 1_000));
        assert!(!remembered(0.6, 1_001));
        assert!(!remembered(0.4, 200));
    }

    #[test]
    fn in_the_last_frame_a_face_is_covered_that_was_in_the_two_before_it_however_far_they_are() {
        let at = |number: i64, faces: &[Detection]| seen(number * 5_000, faces);
        let mut before = at(1, &[face(100.0, 0.4), face(300.0, 0.9)]);
        before.follow(&at(0, &[face(104.0, 0.4)]));
        let last = at(2, &[]);
        assert_eq!(last.remembered(Some(&before), None), [face(100.0, 0.4)], "the other was new");
        // Where the frame after tells that both have gone, they have.
        assert_eq!(last.remembered(Some(&before), Some(&at(3, &[]))), []);
    }

    #[test]
    fn what_another_process_says_of_the_last_clip_lies_in_some_picture_and_is_no_more_than_faces() {
        let at = |faces: Vec<Face>| Seen { at_us: 0, faces };
        let one = |boxes: Vec<Detection>| Face {
            boxes,
            place: None,
            cells_at: face(100.0, 0.9),
            rect: None,
            stood: false,
        };
        let nan = Detection { x: f32::NAN, ..face(0.0, 0.5) };
        for (seen, sane) in [
            (at(vec![]), true),
            (at(vec![one(vec![face(100.0, 0.9)])]), true),
            (at(vec![one(vec![face(100.0, 0.9), nan])]), false),
            (at(vec![one(vec![face(100.0, 1.1)])]), false),
            (at(vec![one(vec![face(1e9, 0.9)])]), false),
            (at(vec![one(vec![])]), false),
            (at(vec![Face { cells_at: nan, ..one(vec![face(100.0, 0.9)]) }]), false),
            (at(vec![one(vec![face(100.0, 0.9); BOXES_MAX])]), true),
            (at(vec![one(vec![face(100.0, 0.9); BOXES_MAX + 1])]), false),
        ] {
            assert_eq!(seen.is_sane(), sane, "{seen:?}");
        }
        for at_us in [i64::MIN, i64::MAX] {
            assert!(!Seen { at_us, faces: vec![] }.is_sane(), "{at_us}");
        }
    }

    #[test]
    fn what_is_no_box_withholds_the_frame() {
        let nan = Detection { x: f32::NAN, ..face(0.0, 0.5) };
        assert!(Seen::of(&[face(0.0, 0.9), nan], 0, (640, 480)).is_err());
    }
}
