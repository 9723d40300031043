//! Owns the correction of a share by what its classifier gets wrong. The confusion matrix of each classifier that is
//! shipped, from held-out faces of 16 px and more, stands beside its weights. It knows one model on one source: another camera's errors
//! may differ, and clips of one person are not independent, so the interval is the least uncertainty, not all of it. The
//! matrix holds errors of single faces; how often the mean of a track's frames errs was not measured.

use std::sync::LazyLock;

use proto::Digest;
use serde::Deserialize;

use crate::{
    Counts, Share,
    counts::{Z95, float},
};

const SHIPPED: [&str; 2] = [
    include_str!("../../../models/weights/mask-solid.confusion.json"),
    include_str!("../../../models/weights/mask-8x1.confusion.json"),
];
/// Read once. A test reads both.
static READ: LazyLock<Vec<Confusion>> =
    LazyLock::new(|| SHIPPED.iter().filter_map(|json| serde_json::from_str(json).ok()).collect());
/// Sensitivity and specificity that add up to less than one and this much say too little to correct anything.
const SKILL_MIN: f64 = 0.2;

/// How often each truth was answered how, on held-out faces.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confusion {
    /// Digest of the model.
    pub digest: Digest,
    /// Names of the columns: mask, no mask, incorrect, not a face.
    pub answers: [String; 4],
    /// Names of the rows: mask, no mask, incorrect.
    pub truths: [String; 3],
    faces: [[u64; 4]; 3],
}

impl Confusion {
    /// Of every model that is shipped.
    pub fn shipped() -> impl Iterator<Item = Self> {
        READ.iter().cloned()
    }

    /// Of this model, if it is shipped.
    #[must_use]
    pub fn of(model: &Digest) -> Option<Self> {
        READ.iter().find(|known| known.digest == *model).cloned()
    }

    /// Of the faces of one truth that were answered: how many were said to be without a mask, and how many there are.
    fn said_without(&self, truths: &[usize]) -> (f64, f64) {
        let rows = truths.iter().filter_map(|truth| self.faces.get(*truth));
        rows.fold((0.0, 0.0), |(said, all), [mask, no_mask, incorrect, _]| {
            (said + float(*no_mask), all + float(mask + no_mask + incorrect))
        })
    }

    /// The share without mask as it most likely is, given how often the classifier errs either way; nothing when there is
    /// no face or the matrix says too little. Rogan and Gladen's estimate; the interval is Lang and Reiczigel's (2014),
    /// which counts both the tracks that were seen and the faces that the matrix was measured on.
    #[must_use]
    pub fn share_without_mask(&self, counts: &Counts) -> Option<Share> {
        Some(self.correct(counts)?.share(counts.answered()))
    }

    /// The same before it is made a share.
    pub(crate) fn correct(&self, counts: &Counts) -> Option<Corrected> {
        let (hits, bare) = self.said_without(&[1]);
        let (false_alarms, others) = self.said_without(&[0, 2]);
        let n = counts.answered();
        if n == 0 || bare == 0.0 || others == 0.0 {
            return None;
        }
        let estimate = |said, right: f64, wrong: f64| (said - wrong) / (right - wrong);
        let (right, wrong) = (hits / bare, false_alarms / others);
        if right - wrong < SKILL_MIN {
            return None;
        }
        let (said, faces, z2) = (float(counts.no_mask), float(n), Z95 * Z95);
        let share = estimate(said / faces, right, wrong).clamp(0.0, 1.0);
        // As the paper has it: each proportion a little nearer to a half, and the middle moved a little.
        let (seen, seen_n) = ((said + z2 / 2.0) / (faces + z2), faces + z2);
        let (right, right_n) = ((hits + 1.0) / (bare + 2.0), bare + 2.0);
        let (wrong, wrong_n) = ((false_alarms + 1.0) / (others + 2.0), others + 2.0);
        let middle = estimate(seen, right, wrong).clamp(0.0, 1.0);
        let spread = |p: f64, n: f64| p * (1.0 - p) / n;
        let (of_right, of_wrong) = (spread(right, right_n), spread(wrong, wrong_n));
        let shift = 2.0 * z2 * (middle * of_right - (1.0 - middle) * of_wrong);
        let variance = spread(seen, seen_n)
            + middle * middle * of_right
            + (1.0 - middle) * (1.0 - middle) * of_wrong;
        let variance = variance / ((right - wrong) * (right - wrong));
        Some(Corrected { share, middle: middle + shift, variance })
    }
}

/// A share without mask with the errors taken off.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Corrected {
    /// As it most likely is.
    share: f64,
    /// The middle of its interval, and the variance that gives its width.
    middle: f64,
    variance: f64,
}

impl Corrected {
    /// Adds a part of this weight that is independent of the others.
    pub(crate) const fn add(&mut self, part: &Self, weight: f64) {
        self.share += weight * part.share;
        self.middle += weight * part.middle;
        self.variance += weight * weight * part.variance;
    }

    /// With its 95% interval, of so many tracks.
    pub(crate) fn share(self, n: u64) -> Share {
        let (share, half) = (self.share, Z95 * self.variance.sqrt());
        let low = (self.middle - half).clamp(0.0, 1.0).min(share);
        let high = (self.middle + half).clamp(0.0, 1.0).max(share);
        Share { share, low, high, n }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(faces: [[u64; 4]; 3]) -> Confusion {
        Confusion { faces, ..Confusion::shipped().next().unwrap() }
    }

    fn counts(mask: u64, no_mask: u64) -> Counts {
        Counts { frames: 1, mask, no_mask, incorrect: 0, uncertain: 0 }
    }

    /// Each matrix that is compiled in belongs to the weights beside it, and its classifier knows more than nothing.
    #[test]
    fn the_shipped_matrices_belong_to_the_shipped_models() {
        let sidecars = [
            include_str!("../../../models/weights/mask-solid.json"),
            include_str!("../../../models/weights/mask-8x1.json"),
        ];
        for sidecar in sidecars {
            let sidecar: serde_json::Value = serde_json::from_str(sidecar).unwrap();
            let digest = serde_json::from_value(sidecar["digest"].clone()).unwrap();
            let shipped = Confusion::of(&digest).unwrap_or_else(|| panic!("none of {sidecar}"));
            assert_eq!(shipped.answers, ["mask", "no_mask", "incorrect", "not_a_face"]);
            assert!(shipped.share_without_mask(&counts(50, 50)).is_some());
        }
        assert_eq!(Confusion::shipped().count(), SHIPPED.len());
        assert!(Confusion::of(&Digest::of(b"another")).is_none());
    }

    #[test]
    fn a_classifier_without_errors_corrects_nothing_and_a_blind_one_says_nothing() {
        let perfect = matrix([[1_000_000, 0, 0, 0], [0, 1_000_000, 0, 0], [0, 0, 1_000_000, 0]]);
        let share = perfect.share_without_mask(&counts(75, 25)).unwrap();
        assert!((share.share - 0.25).abs() < 1e-9 && share.n == 100, "{share:?}");
        // Close to Wilson's interval of 25 of 100: .175 to .343.
        assert!(
            (share.low - 0.175).abs() < 0.005 && (share.high - 0.343).abs() < 0.005,
            "{share:?}"
        );
        let blind = matrix([[50, 50, 0, 0], [50, 50, 0, 0], [50, 50, 0, 0]]);
        assert_eq!(blind.share_without_mask(&counts(75, 25)), None);
        assert_eq!(perfect.share_without_mask(&counts(0, 0)), None);
    }

    /// One in ten masked faces is said to be bare: of 100 faces that all wear masks about ten are, and none is.
    #[test]
    fn false_alarms_are_taken_off() {
        let errs = matrix([[900, 100, 0, 0], [100, 900, 0, 0], [0, 0, 0, 0]]);
        let none = errs.share_without_mask(&counts(90, 10)).unwrap();
        assert!(none.share.abs() < 1e-9 && none.low == 0.0 && none.high > 0.03, "{none:?}");
        let half = errs.share_without_mask(&counts(50, 50)).unwrap();
        assert!((half.share - 0.5).abs() < 1e-9, "{half:?}");
    }

    /// The truth lies inside 95% intervals about 19 times in 20, though the matrix itself was measured on few faces; an
    /// interval of the counted faces alone would miss it far more often.
    #[test]
    fn the_interval_holds_what_it_says_when_the_matrix_is_uncertain_too() {
        let mut state = 7u64;
        // Split-mix: the next of a sequence of well-mixed numbers.
        let mut below = |p: f64| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64 <= p
        };
        let (truth, right, wrong) = (0.6, 0.8, 0.1);
        let mut many = |n: u64, p: f64| (0..n).filter(|_| below(p)).count() as u64;
        let (mut inside, mut narrow) = (0, 0);
        for _ in 0..1000 {
            let (hits, alarms) = (many(80, right), many(200, wrong));
            let errs = matrix([[200 - alarms, alarms, 0, 0], [80 - hits, hits, 0, 0], [0; 4]]);
            let bare = many(400, truth);
            let said = many(bare, right) + many(400 - bare, wrong);
            let seen = counts(400 - said, said);
            let share = errs.share_without_mask(&seen).unwrap();
            inside += u32::from((share.low..=share.high).contains(&truth));
            let alone = seen.share_without_mask().unwrap();
            narrow += u32::from((alone.low..=alone.high).contains(&truth));
        }
        assert!((930..=985).contains(&inside), "{inside} of 1000");
        assert!(narrow < 500, "{narrow} of 1000");
    }
}
