//! Owns which faces of a clip are one person's, its track, and what its frames say of it together: a pure function of the
//! clip's results, whatever order they came in.
//!
//! Frames of one clip share their noise and show the same people, so that they are one look at a person and not many:
//! each track is counted once, in the frame that it begins in. Nothing is followed from one clip to the next: whoever
//! stays for several is counted in each.
//!
//! Faces are linked by the fog's rule and its thresholds (`fog-node/privacy/src/memory.rs`), in integers, so that every
//! machine links alike. What the fog took for one track may yet be two here: it sees every box, this only what has an
//! answer, and a face that was remembered without cells, or whose frame was withheld, is a gap that the fog did not have.

use std::collections::BTreeSet;

use proto::{
    manifest::{Rect, Said},
    result::{FaceLabel, FaceResult, FrameResult},
};
use serde::{Deserialize, Serialize};

use crate::Counts;

/// A face that goes on is found within this many millionths of its own side, and as many more as microseconds have
/// passed.
const REACH_PPM: u128 = 500_000;
/// Beyond this many microseconds nobody is followed by motion, only where he stands.
const FOLLOWED_US: u64 = 2_000_000;
/// A face that goes on changes its size by this factor at most: 8 to 5.
const GROWTH_MAX: (u128, u128) = (8, 5);
/// What parts of one are given in, below.
const PPM: u128 = 1_000_000;

/// What the frames of a clip say together of one face.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Which track of the clip, counted from 0 in the order in which they begin.
    pub number: u32,
    /// What is said of it: the likeliest by the mean of its votes; uncertain without one.
    pub label: FaceLabel,
    /// Its counted faces of which something was said.
    pub votes: u32,
}

/// What became of a frame's faces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tracked {
    /// Key of the frame.
    pub(crate) key: String,
    /// The track of each face, in the result's order.
    pub(crate) faces: Vec<Track>,
    /// The counted tracks that begin in this frame.
    pub(crate) begin: Counts,
}

/// The votes of a track.
#[derive(Debug, Clone, Copy)]
struct Votes {
    /// Whether one of its faces is counted.
    counted: bool,
    n: u32,
    /// Of mask, no mask, incorrect, not a face: in parts, so that the sum is the same in every order.
    parts: [u64; 4],
    /// What the last one said.
    said: FaceLabel,
}

impl Votes {
    const NONE: Self = Self { counted: false, n: 0, parts: [0; 4], said: FaceLabel::Uncertain };

    /// A face that is too small does not vote; nor does one that is not counted, whose box lies worse.
    fn add(&mut self, face: &FaceResult) {
        self.counted |= face.counted;
        if !face.counted || face.label == FaceLabel::Uncertain {
            return;
        }
        self.n += 1;
        self.said = face.label;
        let said = [face.mask, face.no_mask, face.incorrect, face.not_a_face];
        for (sum, p) in self.parts.iter_mut().zip(said) {
            *sum += u64::from(Said::part(p));
        }
    }

    /// A single vote stands as it is: its probabilities were rounded after it was made.
    fn label(&self) -> FaceLabel {
        if self.n < 2 {
            return self.said;
        }
        let whole = f64::from(self.n) * f64::from(proto::manifest::PARTS);
        #[expect(clippy::cast_possible_truncation, reason = "a mean of probabilities")]
        let mean = self.parts.map(|sum| (crate::counts::float(sum) / whole) as f32);
        FaceLabel::likeliest(mean)
    }
}

/// Links the faces of all frames of one clip; one answer for each frame, in the order of time.
pub(crate) fn tracks(mut frames: Vec<FrameResult>) -> Vec<Tracked> {
    frames.sort_by(|a, b| {
        (a.captured_at, a.frame.slot)
            .cmp(&(b.captured_at, b.frame.slot))
            .then(a.image.cmp(&b.image))
    });
    let mut votes: Vec<Votes> = Vec::new();
    // For each frame, the track of each face and which tracks begin.
    let mut linked: Vec<(Vec<usize>, std::ops::Range<usize>)> = Vec::new();
    let mut before: Option<(&FrameResult, Vec<usize>)> = None;
    for frame in &frames {
        let first_new = votes.len();
        let mut of_face: Vec<Option<usize>> = vec![None; frame.faces.len()];
        if let Some((earlier, numbers)) = &before {
            let apart = frame.captured_at.micros().abs_diff(earlier.captured_at.micros());
            for (old, new) in pairs(&boxes(earlier), &boxes(frame), apart) {
                if let (Some(place), Some(number)) = (of_face.get_mut(new), numbers.get(old)) {
                    *place = Some(*number);
                }
            }
        }
        let mut numbers = Vec::with_capacity(of_face.len());
        for (face, known) in frame.faces.iter().zip(of_face) {
            let number = known.unwrap_or_else(|| {
                votes.push(Votes::NONE);
                votes.len() - 1
            });
            if let Some(votes) = votes.get_mut(number) {
                votes.add(face);
            }
            numbers.push(number);
        }
        linked.push((numbers.clone(), first_new..votes.len()));
        before = Some((frame, numbers));
    }
    let told = |(frame, (numbers, new)): (&FrameResult, (Vec<usize>, std::ops::Range<usize>))| {
        let track = |number: usize| {
            let votes = votes.get(number).copied().unwrap_or(Votes::NONE);
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            Track { number, label: votes.label(), votes: votes.n }
        };
        Tracked {
            key: frame.image.clone(),
            faces: numbers.into_iter().map(track).collect(),
            begin: begin(votes.get(new).unwrap_or_default()),
        }
    };
    frames.iter().zip(linked).map(told).collect()
}

fn boxes(frame: &FrameResult) -> Vec<Rect> {
    frame.faces.iter().map(|face| face.rect).collect()
}

/// Tracks that begin in a frame, by what is said of them.
fn begin(tracks: &[Votes]) -> Counts {
    let counted = tracks.iter().filter(|votes| votes.counted);
    counted.fold(Counts { frames: 1, ..Counts::default() }, |mut counts, votes| {
        match votes.label() {
            FaceLabel::Mask => counts.mask += 1,
            FaceLabel::NoMask => counts.no_mask += 1,
            FaceLabel::Incorrect => counts.incorrect += 1,
            FaceLabel::Uncertain => counts.uncertain += 1,
            FaceLabel::NotAFace => {}
        }
        counts
    })
}

/// Which of the old boxes is which of the new ones: the nearest first, each once.
fn pairs(old: &[Rect], new: &[Rect], apart_us: u64) -> Vec<(usize, usize)> {
    let moving = if apart_us <= FOLLOWED_US { u128::from(apart_us) } else { 0 };
    let reach = REACH_PPM + moving;
    let mut near: Vec<(u128, usize, usize)> = Vec::new();
    for (i, a) in old.iter().enumerate() {
        for (j, b) in new.iter().enumerate() {
            let (area_a, area_b) = (area(a), area(b));
            let (small, large) = (area_a.min(area_b), area_a.max(area_b).max(1));
            let grown = large * GROWTH_MAX.1.pow(2) > small * GROWTH_MAX.0.pow(2);
            // Between their middles, squared, in quarters of a pixel's square: middles lie at halves.
            let far4 = between(a.x, a.w, b.x, b.w).pow(2) + between(a.y, a.h, b.y, b.h).pow(2);
            if !grown && far4 * PPM * PPM <= 4 * large * reach.pow(2) {
                near.push((far4 * PPM / large, i, j));
            }
        }
    }
    near.sort_unstable();
    let (mut of_old, mut of_new) = (BTreeSet::new(), BTreeSet::new());
    near.retain(|(_, i, j)| {
        let free = !of_old.contains(i) && !of_new.contains(j);
        free && of_old.insert(*i) && of_new.insert(*j)
    });
    near.into_iter().map(|(_, i, j)| (i, j)).collect()
}

fn area(rect: &Rect) -> u128 {
    u128::from(rect.w) * u128::from(rect.h)
}

/// Twice the distance of two stretches' middles.
fn between(a: u32, a_length: u32, b: u32, b_length: u32) -> u128 {
    let twice = |start: u32, length: u32| 2 * u128::from(start) + u128::from(length);
    twice(a, a_length).abs_diff(twice(b, b_length))
}

#[cfg(test)]
pub(crate) use tests::example;

#[cfg(test)]
mod tests;
