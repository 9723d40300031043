//! Owns what a mask classifier is: it reads cells over a face, as a manifest has them or as they are before a face is
//! covered, never a picture.

use proto::{Digest, result::FaceLabel};
use serde::{Deserialize, Serialize};

/// The cells of one face.
#[derive(Debug, Clone, Copy)]
pub struct CellInput<'a> {
    /// Row by row, three bytes (red, green, blue) a cell.
    pub cells: &'a [u8],
    /// Width of the box in pixels.
    pub box_w: u32,
    /// Height of the box in pixels.
    pub box_h: u32,
}

impl CellInput<'_> {
    /// Natural logarithm of the geometric mean of the box's sides in pixels: the network's second input.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
    pub fn log_box(&self) -> f32 {
        ((self.box_w.max(1) as f32) * (self.box_h.max(1) as f32)).ln() / 2.0
    }
}

/// Calibrated probabilities of one face; they sum to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskProbabilities {
    /// A mask over nose and mouth.
    pub mask: f32,
    /// No mask.
    pub no_mask: f32,
    /// A mask worn incorrectly.
    pub incorrect: f32,
    /// No face at all: the detector was wrong.
    pub not_a_face: f32,
}

impl MaskProbabilities {
    /// Of a face that nobody could look at.
    pub const KNOWS_NOTHING: Self =
        Self { mask: 1.0 / 3.0, no_mask: 1.0 / 3.0, incorrect: 1.0 / 3.0, not_a_face: 0.0 };

    /// From a network's output; nothing when the numbers are no distribution.
    #[must_use]
    pub fn new([mask, no_mask, incorrect, not_a_face]: [f32; 4]) -> Option<Self> {
        let all = [mask, no_mask, incorrect, not_a_face];
        let sane = all.iter().all(|p| (0.0..=1.0).contains(p));
        let sums = (all.iter().sum::<f32>() - 1.0).abs() < 1e-3;
        (sane && sums).then_some(Self { mask, no_mask, incorrect, not_a_face })
    }
}

/// What a model says of itself, in the JSON file beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierInfo {
    /// Short name.
    pub name: String,
    /// Digest of the ONNX file.
    pub digest: Digest,
    /// Rows of cells it reads.
    pub rows: u8,
    /// Columns of cells it reads.
    pub cols: u8,
    /// Name of the policy that it learned under: whose cells it reads or, where none are released, before covering.
    pub policy: String,
    /// Boxes whose shorter side is below this many pixels are `uncertain`.
    pub min_face_px: u32,
    /// Of a classifier that reads faces before they are covered: how often the likeliest answer was right where it is
    /// unsure, likely and sure, on held-out faces. Its answers leave as these and no finer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<[f32; 3]>,
}

impl ClassifierInfo {
    /// What is said of a face: nothing of one that is too small, else the likeliest.
    #[must_use]
    pub fn label(&self, face: &CellInput<'_>, answer: &MaskProbabilities) -> FaceLabel {
        let MaskProbabilities { mask, no_mask, incorrect, not_a_face } = *answer;
        if face.box_w.min(face.box_h) < self.min_face_px {
            FaceLabel::Uncertain
        } else {
            FaceLabel::likeliest([mask, no_mask, incorrect, not_a_face])
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClassifyError {
    /// Cells of another size than the model reads.
    #[error("model {name} reads {rows}x{cols} cells, a face has {bytes} bytes of them")]
    Shape {
        /// The model.
        name: String,
        /// Rows it reads.
        rows: u8,
        /// Columns it reads.
        cols: u8,
        /// What the face has.
        bytes: usize,
    },
    /// The network could not be run, or returned no distribution.
    #[error("model {name} failed: {message}")]
    Run {
        /// The model.
        name: String,
        /// What happened.
        message: String,
    },
}

/// Says of each face how it wears a mask.
pub trait MaskClassifier: Send {
    /// One answer a face, in order.
    ///
    /// # Errors
    /// When a face's cells do not fit or the network fails.
    fn classify(
        &mut self,
        faces: &[CellInput<'_>],
    ) -> Result<Vec<MaskProbabilities>, ClassifyError>;
    /// What the model says of itself.
    fn info(&self) -> &ClassifierInfo;
}

/// A twin without a network: calls a face masked when the lower half of its cells is darker than the upper one, or
/// always fails. The in-memory and the faulty version in one, for tests of others.
pub struct ShadeClassifier {
    info: ClassifierInfo,
    failing: bool,
}

impl ShadeClassifier {
    /// For cells of `rows` by `cols`.
    #[must_use]
    pub fn new(rows: u8, cols: u8) -> Self {
        let (name, policy) = ("shade".to_owned(), "solid".to_owned());
        let digest = Digest::of(name.as_bytes());
        let levels = Some([0.6, 0.8, 0.95]);
        let info = ClassifierInfo { name, digest, rows, cols, policy, min_face_px: 0, levels };
        Self { info, failing: false }
    }

    /// That says this of its levels.
    #[must_use]
    pub fn of_levels(levels: Option<[f32; 3]>) -> Self {
        let twin = Self::new(2, 1);
        Self { info: ClassifierInfo { levels, ..twin.info }, ..twin }
    }

    /// Always an error.
    #[must_use]
    pub fn failing(rows: u8, cols: u8) -> Self {
        Self { failing: true, ..Self::new(rows, cols) }
    }

    fn answer(&self, face: &CellInput<'_>) -> Result<MaskProbabilities, ClassifyError> {
        let ClassifierInfo { name, rows, cols, .. } = &self.info;
        let (name, bytes) = (name.clone(), face.cells.len());
        if bytes != usize::from(*rows) * usize::from(*cols) * 3 {
            return Err(ClassifyError::Shape { name, rows: *rows, cols: *cols, bytes });
        }
        let (upper, lower) = face.cells.split_at(bytes / 2);
        let sum = |half: &[u8]| half.iter().map(|value| u64::from(*value)).sum::<u64>();
        let [mask, no_mask] = if sum(lower) < sum(upper) { [0.9, 0.05] } else { [0.05, 0.9] };
        Ok(MaskProbabilities { mask, no_mask, incorrect: 0.05, not_a_face: 0.0 })
    }
}

impl MaskClassifier for ShadeClassifier {
    fn classify(
        &mut self,
        faces: &[CellInput<'_>],
    ) -> Result<Vec<MaskProbabilities>, ClassifyError> {
        if self.failing {
            let (name, message) = (self.info.name.clone(), "scripted".to_owned());
            return Err(ClassifyError::Run { name, message });
        }
        faces.iter().map(|face| self.answer(face)).collect()
    }

    fn info(&self) -> &ClassifierInfo {
        &self.info
    }
}

impl<M: MaskClassifier + ?Sized> MaskClassifier for Box<M> {
    fn classify(
        &mut self,
        faces: &[CellInput<'_>],
    ) -> Result<Vec<MaskProbabilities>, ClassifyError> {
        (**self).classify(faces)
    }

    fn info(&self) -> &ClassifierInfo {
        (**self).info()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_no_distribution_are_refused() {
        assert!(MaskProbabilities::new([0.5, 0.25, 0.25, 0.0]).is_some());
        for wrong in [[0.5, 0.5, 0.5, 0.0], [1.5, -0.5, 0.0, 0.0], [f32::NAN, 0.5, 0.5, 0.0]] {
            assert!(MaskProbabilities::new(wrong).is_none());
        }
    }

    #[test]
    fn the_label_is_the_likeliest_answer_unless_the_face_is_small_or_none() {
        let info = ShadeClassifier::new(2, 1).info;
        let info = ClassifierInfo { min_face_px: 16, ..info };
        let label = |side, shares| {
            let face = CellInput { cells: &[], box_w: side, box_h: 40 };
            info.label(&face, &MaskProbabilities::new(shares).unwrap())
        };
        assert_eq!(label(16, [0.5, 0.3, 0.2, 0.0]), FaceLabel::Mask);
        assert_eq!(label(16, [0.3, 0.5, 0.2, 0.0]), FaceLabel::NoMask);
        assert_eq!(label(16, [0.2, 0.2, 0.3, 0.3]), FaceLabel::Incorrect);
        assert_eq!(label(16, [0.1, 0.1, 0.1, 0.7]), FaceLabel::NotAFace);
        assert_eq!(label(16, [0.1, 0.1, 0.2, 0.6]), FaceLabel::Incorrect);
        assert_eq!(label(15, [0.5, 0.3, 0.2, 0.0]), FaceLabel::Uncertain);
    }

    #[test]
    fn the_shade_twin_answers_by_the_lower_half_and_refuses_other_grids() {
        let face = |cells| CellInput { cells, box_w: 9, box_h: 9 };
        let mut twin = ShadeClassifier::new(2, 1);
        let answers = twin.classify(&[face(&[9, 9, 9, 1, 1, 1]), face(&[1, 1, 1, 9, 9, 9])]);
        let masks: Vec<f32> = answers.unwrap().iter().map(|answer| answer.mask).collect();
        assert_eq!(masks, [0.9, 0.05]);
        assert!(matches!(twin.classify(&[face(&[1; 3])]), Err(ClassifyError::Shape { .. })));
        assert!(ShadeClassifier::failing(2, 1).classify(&[]).is_err());
    }
}
