//! Owns what the fog says of a face that it classified before covering it whole: the answer, and none of the cells that
//! it was made from.

use serde::{Deserialize, Serialize};

use super::Rect;
use crate::result::FaceLabel;

/// Probabilities are told in parts of this many, so that a manifest has no fractions in it.
pub const PARTS: u16 = 10_000;
/// How far four rounded parts may be from [`PARTS`] together.
const ROUNDING_MAX: u32 = 4;

/// What the fog says of one face.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Where the face is: the detector's box snapped outwards. Its cells are nowhere.
    pub rect: Rect,
    /// Score of the detection in thousandths, 0 to 1000. This fog rounds it down to quarters.
    pub score_milli: u16,
    /// Whether the score is high enough to count this face in results.
    pub counted: bool,
    /// Probabilities of mask, no mask, incorrect and not a face, in [`PARTS`]; their sum is [`PARTS`] but for rounding.
    pub parts: [u16; 4],
    /// What is said of it.
    pub label: FaceLabel,
}

impl Said {
    pub(super) fn fits(&self, width: u32, height: u32) -> bool {
        let sum: u32 = self.parts.iter().map(|part| u32::from(*part)).sum();
        self.rect.fits(width, height)
            && self.score_milli <= 1000
            && sum.abs_diff(u32::from(PARTS)) <= ROUNDING_MAX
    }

    /// A probability from 0 to 1 as a part, and back: as results have it.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped right before"
    )]
    pub fn part(probability: f32) -> u16 {
        (probability.clamp(0.0, 1.0) * f32::from(PARTS)).round() as u16
    }

    /// The probabilities of mask, no mask, incorrect and not a face, from 0 to 1.
    #[must_use]
    pub fn probabilities(&self) -> [f32; 4] {
        self.parts.map(|part| f32::from(part) / f32::from(PARTS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_probabilities_rounded_as_results_round_them() {
        for probability in [0.0, 0.00004, 0.00006, 0.3333, 0.871_25, 0.99999, 1.0, -1.0, 2.0] {
            let parts = [Said::part(probability); 4];
            let rect = Rect { x: 0, y: 0, w: 1, h: 1 };
            let label = FaceLabel::Mask;
            let said = Said { rect, score_milli: 0, counted: true, parts, label };
            let rounded = (probability.clamp(0.0, 1.0) * 10_000.0).round() / 10_000.0;
            assert_eq!(said.probabilities(), [rounded; 4], "{probability}");
        }
    }
}
