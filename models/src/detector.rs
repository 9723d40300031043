//! Owns what a face detector is: a trait, its detections, what it may not return, and scripted twins for tests.

use proto::Digest;
use serde::{Deserialize, Serialize};

use crate::PixelView;

/// A box that may hold a face.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Left edge in pixels; may lie outside the picture.
    pub x: f32,
    /// Top edge in pixels; may lie outside the picture.
    pub y: f32,
    /// Width in pixels.
    pub w: f32,
    /// Height in pixels.
    pub h: f32,
    /// Confidence, 0 to 1.
    pub score: f32,
}

/// A box may reach this many picture sides beyond the picture; further out the network has lost its mind.
const REACH_MAX: f32 = 2.0;

impl Detection {
    /// Whether every number is finite and the box has an area and lies near the picture.
    #[must_use]
    pub fn is_sane(&self, width: f32, height: f32) -> bool {
        let sides = [(self.x, self.w, width), (self.y, self.h, height)];
        let near = sides.iter().all(|&(at, size, side)| {
            at.abs() <= REACH_MAX * side && size > 0.0 && size <= REACH_MAX * side
        });
        near && (0.0..=1.0).contains(&self.score)
    }

    /// Area of the overlap divided by the area of the union, 0 to 1.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> f32 {
        let side = |a: f32, aw: f32, b: f32, bw: f32| ((a + aw).min(b + bw) - a.max(b)).max(0.0);
        let shared =
            side(self.x, self.w, other.x, other.w) * side(self.y, self.h, other.y, other.h);
        shared / (self.w * self.h + other.w * other.h - shared)
    }
}

/// Why a detector gives no answer. Its frame is withheld.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The network could not be run.
    #[error("detector {name} failed: {message}")]
    Run {
        /// Which detector.
        name: String,
        /// What the runtime says.
        message: String,
    },
    /// Numbers came out that are no boxes.
    #[error("detector {name} returned numbers that are no boxes")]
    NotBoxes {
        /// Which detector.
        name: String,
    },
}

/// A network family. An auditor must be of another family than the detector, not merely of another threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Anchor-free, heat map of centres.
    CenterFace,
    /// Single-shot with anchors.
    UltraFace,
    /// A scripted twin, numbered.
    Scripted(u8),
}

/// Finds faces.
pub trait FaceDetector: Send {
    /// Every box over the detector's threshold.
    ///
    /// # Errors
    /// When the network fails or returns what cannot be boxes; never a silent empty answer.
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError>;
    /// Short name for manifests.
    fn name(&self) -> &str;
    /// Digest of the model file.
    fn digest(&self) -> Digest;
    /// Network family.
    fn family(&self) -> Family;
}

/// Keeps the best of boxes that overlap by more than `overlap_max` (greedy non-maximum suppression).
#[must_use]
pub fn suppress(mut boxes: Vec<Detection>, overlap_max: f32) -> Vec<Detection> {
    boxes.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Detection> = Vec::new();
    for candidate in boxes {
        if kept.iter().all(|k| k.overlap(&candidate) <= overlap_max) {
            kept.push(candidate);
        }
    }
    kept
}

/// A twin that answers from a script: the in-memory and the faulty version in one, for tests of others.
pub struct Scripted {
    family: Family,
    answer: Box<dyn FnMut() -> Result<Vec<Detection>, DetectError> + Send>,
}

impl Scripted {
    /// Always these boxes.
    #[must_use]
    pub fn boxes(family: u8, boxes: Vec<Detection>) -> Self {
        Self::answers(family, move || Ok(boxes.clone()))
    }

    /// Always an error.
    #[must_use]
    pub fn failing(family: u8) -> Self {
        let message = "scripted".to_owned();
        Self::answers(family, move || {
            Err(DetectError::Run { name: "scripted".to_owned(), message: message.clone() })
        })
    }

    /// Whatever the function says.
    pub fn answers(
        family: u8,
        answer: impl FnMut() -> Result<Vec<Detection>, DetectError> + Send + 'static,
    ) -> Self {
        Self { family: Family::Scripted(family), answer: Box::new(answer) }
    }
}

impl FaceDetector for Scripted {
    fn detect(&mut self, _: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        (self.answer)()
    }

    fn name(&self) -> &'static str {
        "scripted"
    }

    fn digest(&self) -> Digest {
        Digest::of(b"scripted")
    }

    fn family(&self) -> Family {
        self.family
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, score: f32) -> Detection {
        Detection { x, y: 0.0, w: 10.0, h: 10.0, score }
    }

    #[test]
    fn the_best_of_overlapping_boxes_stays() {
        let kept = suppress(vec![at(1.0, 0.5), at(0.0, 0.9), at(30.0, 0.2)], 0.3);
        assert_eq!(kept, [at(0.0, 0.9), at(30.0, 0.2)]);
    }

    #[test]
    fn what_is_no_box_is_not_sane() {
        assert!(at(0.0, 0.5).is_sane(100.0, 100.0));
        for x in [f32::NAN, f32::INFINITY, 1e9] {
            assert!(!at(x, 0.5).is_sane(100.0, 100.0));
        }
        assert!(!at(0.0, f32::NAN).is_sane(100.0, 100.0));
        assert!(!Detection { w: 0.0, ..at(0.0, 0.5) }.is_sane(100.0, 100.0));
    }
}
