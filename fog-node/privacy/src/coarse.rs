//! Owns how coarsely an answer leaves: what is likeliest, and one of three levels of how sure that is; where a mask is worn
//! incorrectly, also whether that is nearer to one or to none. The probabilities of a
//! network are a description of the face that it looked at: an attacker who learned from four decimals of them named
//! .38 of forty people after 16 looks, more than from the noisy cells of policy `cells` (`evaluation reidentify`, 2026-11-28).

use models::{
    CellInput, ClassifierInfo, MaskClassifier, MaskProbabilities, classifier::ClassifyError,
};
use proto::result::NOT_A_FACE_MIN;

use crate::ClassifierError;

/// Probability from which on an answer is likely; from here on, and not below, one is told that there is no face.
const LIKELY: f32 = NOT_A_FACE_MIN;
/// Probability from which on it is sure.
const SURE: f32 = 0.9;

/// The least that an unsure answer may be worth.
const UNSURE_MIN: f32 = 0.45;

/// Of what a mask that is worn incorrectly leaves, the share of the likelier one of a mask and none.
const NEARER: f32 = 2.0 / 3.0;

/// A classifier whose answers are one of fourteen: three ways to wear a mask at three levels, twice as many of one of
/// them, and no face at the upper two.
pub struct Coarse<M> {
    model: M,
    /// Probability of the likeliest answer when it is unsure, likely, sure.
    levels: [f32; 3],
}

impl<M: MaskClassifier> Coarse<M> {
    /// Of a classifier that says what its levels are worth.
    ///
    /// # Errors
    /// When it does not, or a level lies outside of its range.
    pub fn new(model: M) -> Result<Self, ClassifierError> {
        let info = model.info();
        let wrong = || ClassifierError::Levels { name: info.name.clone(), levels: info.levels };
        let levels = info.levels.ok_or_else(wrong)?;
        // Of an unsure answer the others have less each than it, whichever it is.
        let ranges = [(UNSURE_MIN, LIKELY), (LIKELY, SURE), (SURE, 1.0)];
        let fits = levels.iter().zip(ranges).all(|(p, (low, high))| (low..=high).contains(p));
        if fits { Ok(Self { model, levels }) } else { Err(wrong()) }
    }

    /// The rest is shared by the other answers. That there is no face is said where it is likely, and has no share else.
    fn coarse(&self, answer: &MaskProbabilities) -> MaskProbabilities {
        let MaskProbabilities { mask, no_mask, incorrect, not_a_face } = *answer;
        let none = not_a_face >= LIKELY;
        let top = if none { not_a_face } else { mask.max(no_mask).max(incorrect) };
        let [unsure, likely, sure] = self.levels;
        let level = match top {
            p if p >= SURE => sure,
            p if p >= LIKELY => likely,
            _ => unsure,
        };
        let rest = 1.0 - level;
        let (half, third) = (rest / 2.0, rest / 3.0);
        // The first of several that are as likely, as a label has it.
        let [mask, no_mask, incorrect, not_a_face] = if none {
            [third, third, third, level]
        } else if mask >= top {
            [level, half, half, 0.0]
        } else if no_mask >= top {
            [half, level, half, 0.0]
        } else if mask >= no_mask {
            [rest * NEARER, rest * (1.0 - NEARER), level, 0.0]
        } else {
            [rest * (1.0 - NEARER), rest * NEARER, level, 0.0]
        };
        MaskProbabilities { mask, no_mask, incorrect, not_a_face }
    }
}

impl<M: MaskClassifier> MaskClassifier for Coarse<M> {
    fn classify(
        &mut self,
        faces: &[CellInput<'_>],
    ) -> Result<Vec<MaskProbabilities>, ClassifyError> {
        let answers = self.model.classify(faces)?;
        Ok(answers.iter().map(|answer| self.coarse(answer)).collect())
    }

    fn info(&self) -> &ClassifierInfo {
        self.model.info()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use models::ShadeClassifier;
    use proptest::prelude::*;

    use super::*;

    fn twin() -> Coarse<ShadeClassifier> {
        Coarse::new(ShadeClassifier::new(2, 1)).unwrap()
    }

    fn shares(answer: &MaskProbabilities) -> [f32; 4] {
        [answer.mask, answer.no_mask, answer.incorrect, answer.not_a_face]
    }

    #[test]
    fn fourteen_answers_leave_and_no_other() {
        let mut left = BTreeSet::new();
        let steps = 0..=40u8;
        for (a, b, c) in steps.clone().flat_map(|a| {
            let steps = steps.clone();
            steps.clone().flat_map(move |b| steps.clone().map(move |c| (a, b, c)))
        }) {
            let Some(d) = 40u8.checked_sub(a + b + c) else { continue };
            let answer = MaskProbabilities::new([a, b, c, d].map(|part| f32::from(part) / 40.0));
            let coarse = shares(&twin().coarse(&answer.unwrap()));
            left.insert(coarse.map(f32::to_bits));
        }
        assert_eq!(left.len(), 14);
    }

    proptest! {
        #[test]
        fn a_coarse_answer_is_a_distribution_with_the_same_label(
            parts in prop::array::uniform4(0.0f32..1.0)
        ) {
            let sum: f32 = parts.iter().sum::<f32>().max(1e-3);
            let Some(answer) = MaskProbabilities::new(parts.map(|part| part / sum)) else {
                return Ok(());
            };
            let twin = twin();
            let coarse = twin.coarse(&answer);
            prop_assert!(MaskProbabilities::new(shares(&coarse)).is_some(), "{:?}", coarse);
            let face = CellInput { cells: &[], box_w: 90, box_h: 90 };
            prop_assert_eq!(twin.info().label(&face, &coarse), twin.info().label(&face, &answer));
        }
    }

    #[test]
    fn levels_that_are_missing_or_out_of_their_range_are_refused() {
        for levels in [
            None,
            Some([0.4, 0.8, 0.95]),
            Some([0.6, 0.95, 0.97]),
            Some([0.6, 0.8, 1.1]),
            Some([f32::NAN; 3]),
        ] {
            let error = Coarse::new(ShadeClassifier::of_levels(levels)).err().unwrap();
            assert!(error.to_string().contains("shade"), "{error}");
        }
    }
}
