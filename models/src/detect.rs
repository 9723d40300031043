//! Owns what a face detector is: the trait, its answer, and the check that no answer is silently repaired.
//!
//! A box that is not finite, empty or absurdly large is an error of the detector, never a face less: whoever
//! redacts must withhold the frame then.

use proto::Digest;

use crate::pixels::PixelView;

/// How many times the picture's longer side a box may be wide or high. A close-up reaches beyond the picture;
/// what is larger than this is a broken network.
pub const BOX_SIDES_MAX: f32 = 4.0;

/// One face in pixels of the picture, `x` and `y` its left top corner. It may reach beyond the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Left edge, pixels from the picture's left edge.
    pub x: f32,
    /// Top edge, pixels from the picture's top edge.
    pub y: f32,
    /// Width in pixels, above zero.
    pub w: f32,
    /// Height in pixels, above zero.
    pub h: f32,
    /// The network's belief in it, 0 to 1. Not calibrated.
    pub score: f32,
}

/// Finds faces in one picture. Implementations keep buffers, hence `&mut self`; one per thread.
pub trait FaceDetector: Send {
    /// What the manifest calls this detector, such as `centerface`.
    fn name(&self) -> &str;

    /// The family of networks it belongs to: an auditor must be of another family than the detector it checks.
    fn family(&self) -> &str;

    /// BLAKE3 of the model file.
    fn digest(&self) -> Digest;

    /// Every face over this detector's threshold, best score first, each face once. Blocks for as long as the
    /// network runs.
    ///
    /// # Errors
    /// [`DetectError`]: the picture's faces are unknown, so nothing of it may be released.
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError>;
}

/// A detector did not answer, or not with faces.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DetectError {
    /// The network did not run.
    #[error("{detector} failed: {reason}")]
    Failed {
        /// Its [`FaceDetector::name`].
        detector: String,
        /// What the runtime said.
        reason: String,
    },
    /// The network's tensors are not of the shape that its picture asks for.
    #[error(
        "{detector} gave {got} values where {expected} belong to the picture: is this the right model file?"
    )]
    Shape {
        /// Its [`FaceDetector::name`].
        detector: String,
        /// Values given.
        got: usize,
        /// Values that belong to the picture.
        expected: usize,
    },
    /// A score or a box is NaN, infinite, without area or larger than any face.
    #[error("{detector} gave an impossible face: {found:?}")]
    Impossible {
        /// Its [`FaceDetector::name`].
        detector: String,
        /// The face as the network gave it.
        found: Detection,
    },
    /// More candidates than [`CANDIDATES_MAX`] over the threshold.
    #[error("{detector} gave over {CANDIDATES_MAX} candidates in one picture")]
    TooMany {
        /// Its [`FaceDetector::name`].
        detector: String,
    },
}

/// Most candidates over the threshold before clustering: a crowd of `proto::limits::FACES_MAX` faces with some
/// twenty candidates each. More means a broken network, and clustering is quadratic.
pub const CANDIDATES_MAX: usize = 10_000;

/// `found` if it can be a face in a picture of `width` x `height`.
///
/// # Errors
/// [`DetectError::Impossible`] for a value that is not finite, a side of zero or less, a score outside 0..=1, or
/// a box that is [`BOX_SIDES_MAX`] times larger or farther away than the picture is long.
pub fn possible(
    detector: &str,
    found: Detection,
    width: u32,
    height: u32,
) -> Result<Detection, DetectError> {
    let Detection { x, y, w, h, score } = found;
    let limit = width.max(height) as f32 * BOX_SIDES_MAX;
    let near = |value: f32| value.is_finite() && value.abs() <= limit;
    let side = |value: f32| near(value) && value > 0.0;
    if near(x) && near(y) && side(w) && side(h) && (0.0..=1.0).contains(&score) {
        return Ok(found);
    }
    Err(DetectError::Impossible { detector: detector.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_that_no_face_has_are_errors() {
        let good = Detection { x: -5.0, y: 3.0, w: 120.0, h: 90.0, score: 0.4 };
        assert_eq!(
            possible("d", good, 100, 80),
            Ok(good),
            "a close-up may reach beyond the picture"
        );
        let nan = f32::NAN;
        let infinite = f32::INFINITY;
        for bad in [
            Detection { x: nan, ..good },
            Detection { y: infinite, ..good },
            Detection { w: nan, ..good },
            Detection { w: 0.0, ..good },
            Detection { h: -1.0, ..good },
            Detection { h: 401.0, ..good },
            Detection { x: -401.0, ..good },
            Detection { score: nan, ..good },
            Detection { score: 1.1, ..good },
        ] {
            let error = possible("d", bad, 100, 80).unwrap_err();
            assert!(matches!(error, DetectError::Impossible { .. }), "{bad:?}");
        }
    }
}
