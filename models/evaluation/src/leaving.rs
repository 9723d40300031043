//! Owns what leaves of a face: the cells that a policy draws or, where a face is covered whole, the classifier's answer.

use std::sync::{Mutex, PoisonError};

use models::{CellInput, Detection, MaskClassifier, weights::BEFORE_COVERING};
use onnx::{MaskCells, Runtime};
use privacy::{Coarse, Noise, Policy, RawFrame};
use proto::manifest::Said;

use crate::still;

/// What leaves of a face under some policy.
#[derive(Clone, Copy)]
pub(crate) enum Leaving<'a> {
    /// Cells.
    Cells(&'a Policy),
    /// What a classifier says before the face is covered.
    Answer(&'a Answers),
}

impl<'a> Leaving<'a> {
    /// Under a policy.
    pub(crate) const fn under(policy: &'a Policy, answers: &'a Answers) -> Self {
        if policy.releases_cells() { Self::Cells(policy) } else { Self::Answer(answers) }
    }

    /// As numbers of 0 to 1, always as many.
    pub(crate) fn features(
        self,
        frame: &RawFrame,
        found: Detection,
        noise: &Noise,
    ) -> anyhow::Result<Vec<f32>> {
        match self {
            Self::Cells(policy) => {
                let (rows, cols) = policy.grid().unwrap_or_default();
                let grid = still::cells(frame, found, policy, noise)?;
                let size = usize::from(rows) * usize::from(cols) * 3;
                // A box too small for its grid is filled: nothing is seen of it.
                let cells = grid.map_or_else(|| vec![128; size], |grid| grid.cells);
                Ok(cells.iter().map(|value| f32::from(*value) / 255.0).collect())
            }
            Self::Answer(answers) => answers.features(frame, found, noise),
        }
    }
}

/// The classifier that reads a face before it is covered.
pub(crate) struct Answers {
    read: Policy,
    model: Mutex<Coarse<Box<dyn MaskClassifier>>>,
}

/// Probabilities of mask, no mask, incorrect, not a face.
const PARTS: usize = 4;

impl Answers {
    /// The shipped one's.
    pub(crate) fn shipped(runtime: &Runtime) -> anyhow::Result<Self> {
        Self::of(Box::new(MaskCells::shipped(runtime, &BEFORE_COVERING)?))
    }

    /// A classifier's.
    pub(crate) fn of(model: Box<dyn MaskClassifier>) -> anyhow::Result<Self> {
        let info = model.info();
        let read = Policy::trial((info.rows, info.cols), 0, 1);
        Ok(Self { read, model: Mutex::new(Coarse::new(model)?) })
    }

    /// The probabilities as a manifest has them, and their logarithms: what is linear in them is what attackers learn. And
    /// the detector's score in quarters, as it leaves.
    fn features(
        &self,
        frame: &RawFrame,
        found: Detection,
        noise: &Noise,
    ) -> anyhow::Result<Vec<f32>> {
        let Some(grid) = still::cells(frame, found, &self.read, noise)? else {
            return Ok(vec![0.0; 2 * PARTS + 1]);
        };
        let input = CellInput { cells: &grid.cells, box_w: grid.rect.w, box_h: grid.rect.h };
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = model.classify(&[input])?;
        drop(model);
        let parts = answers.first().map_or([0.0; PARTS], |answer| {
            let shares = [answer.mask, answer.no_mask, answer.incorrect, answer.not_a_face];
            shares.map(|share| f32::from(Said::part(share)) / 1e4)
        });
        let logarithms = parts.map(|part| (part + 1e-4).ln() / 1e-4f32.ln());
        let score = f32::from(grid.score_milli) / 1000.0;
        Ok(parts.into_iter().chain(logarithms).chain([score]).collect())
    }
}

#[cfg(test)]
mod tests {
    use models::ShadeClassifier;

    use super::*;
    use crate::still::Still;

    #[test]
    fn under_solid_fill_the_answer_leaves_and_no_cell() {
        let planes = (0..3 * 120 * 120).map(|i| (i % 251) as f32).collect();
        let frame = Still { width: 120, height: 120, planes }.frame().unwrap();
        let face = Detection { x: 30.0, y: 30.0, w: 60.0, h: 60.0, score: 1.0 };
        let answers = Answers::of(Box::new(ShadeClassifier::new(4, 2))).unwrap();
        let of = |policy: &Policy, key: u8| {
            Leaving::under(policy, &answers)
                .features(&frame, face, &Noise::new([key; 32], 0))
                .unwrap()
        };
        let solid = Policy::named("solid").unwrap();
        let seen = of(&solid, 1);
        assert_eq!(seen.len(), 2 * PARTS + 1);
        assert!((seen[..PARTS].iter().sum::<f32>() - 1.0).abs() < 1e-3, "{seen:?}");
        assert_eq!(seen, of(&solid, 2), "an answer has no noise");
        let cells = Policy::named("cells").unwrap();
        assert_eq!(of(&cells, 1).len(), 8 * 3);
        assert_ne!(of(&cells, 1), of(&cells, 2));
    }
}
