//! Owns what lies between a network's tensors and a detector's answer: the scales at which a picture is looked
//! at, and how the candidates of all scales become one list.

use serde::{Deserialize, Serialize};

use crate::{
    detect::{CANDIDATES_MAX, DetectError, Detection, possible},
    pixels::PixelView,
    resample::Fit,
};

/// Most scales of one detector: each is a run of the network.
pub const SCALES_MAX: usize = 4;
/// Longest side of a network's input, in pixels: CenterFace at 1920x1088 already holds 800 MB.
pub const LONG_SIDE_MAX: u32 = 1920;
/// Shortest long side, in pixels: less than a few strides of the network finds nothing.
pub const LONG_SIDE_MIN: u32 = 128;

/// How a detector looks at pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// Lengths of the longer side at which the picture is looked at, in pixels, [`LONG_SIDE_MIN`] to
    /// [`LONG_SIDE_MAX`]. More and longer ones find smaller faces and cost time in proportion to their area.
    pub long_sides: Vec<u32>,
    /// How many times a small picture is made larger at most, 1 to 4.
    pub upscale_max: f32,
    /// Lowest score of a face, above 0 and below 1. Lower ones find more faces and more that are none.
    pub threshold: f32,
    /// Candidates of one scale that overlap by more than this (intersection over union, 0 to 1) are one face.
    pub nms_iou: f32,
    /// The same for the faces of different scales; 1 keeps them all, for whoever clusters boxes himself.
    pub merge_iou: f32,
}

/// A [`Look`] that nothing can be seen with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{key} is {value}; it must be {range}")]
pub struct LookError {
    /// The key of [`Look`].
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub range: &'static str,
}

impl Look {
    /// `self` if every value is in its range.
    ///
    /// # Errors
    /// [`LookError`] names the first key that is not.
    pub fn checked(self) -> Result<Self, LookError> {
        let wrong = |key, value: String, range| Err(LookError { key, value, range });
        let sides = &self.long_sides;
        if sides.is_empty() || sides.len() > SCALES_MAX {
            return wrong("long_sides", format!("{sides:?}"), "one to four lengths");
        }
        if let Some(side) = sides.iter().find(|side| !(LONG_SIDE_MIN..=LONG_SIDE_MAX).contains(side)) {
            return wrong("long_sides", side.to_string(), "128 to 1920 pixels each");
        }
        if !(1.0..=4.0).contains(&self.upscale_max) {
            return wrong("upscale_max", self.upscale_max.to_string(), "1 to 4");
        }
        if !(self.threshold > 0.0 && self.threshold < 1.0) {
            return wrong("threshold", self.threshold.to_string(), "above 0 and below 1");
        }
        for (key, value) in [("nms_iou", self.nms_iou), ("merge_iou", self.merge_iou)] {
            if !(0.0..=1.0).contains(&value) {
                return wrong(key, value.to_string(), "0 to 1");
            }
        }
        Ok(self)
    }

    /// The runs that a picture of `view`'s size needs, without those that its size makes equal.
    #[must_use]
    pub fn fits(&self, view: PixelView<'_>, multiple: u32) -> Vec<Fit> {
        let mut fits: Vec<Fit> = Vec::with_capacity(self.long_sides.len());
        for side in &self.long_sides {
            let fit = Fit::new(view.width(), view.height(), *side, self.upscale_max, multiple);
            if !fits.contains(&fit) {
                fits.push(fit);
            }
        }
        fits
    }
}

/// The faces among one scale's `candidates` (in pixels of the input `fit`), in pixels of the picture.
///
/// A candidate that lies wholly in the padding is no face of the picture and goes; everything else is checked.
///
/// # Errors
/// [`DetectError::TooMany`] and [`DetectError::Impossible`].
pub fn of_scale(
    detector: &str,
    candidates: Vec<Detection>,
    fit: Fit,
    view: PixelView<'_>,
    nms_iou: f32,
) -> Result<Vec<Detection>, DetectError> {
    let (width, height) = (view.width() as f32, view.height() as f32);
    let (across, down) = (width / fit.width as f32, height / fit.height as f32);
    let mut faces = Vec::with_capacity(candidates.len());
    for Detection { x, y, w, h, score } in candidates {
        let face = Detection { x: x * across, y: y * down, w: w * across, h: h * down, score };
        let face = possible(detector, face, view.width(), view.height())?;
        let inside = face.x < width && face.y < height && face.x + face.w > 0.0 && face.y + face.h > 0.0;
        if inside {
            faces.push(face);
        }
    }
    suppress(detector, faces, nms_iou)
}

/// The best of each set of `faces` that overlap by more than `iou`, best score first.
///
/// # Errors
/// [`DetectError::TooMany`]: the work is quadratic, so it is bounded.
pub fn suppress(
    detector: &str,
    mut faces: Vec<Detection>,
    iou: f32,
) -> Result<Vec<Detection>, DetectError> {
    if faces.len() > CANDIDATES_MAX {
        return Err(DetectError::TooMany { detector: detector.to_owned() });
    }
    // The order must not depend on the order in which scales were run: ties are broken by place and size.
    faces.sort_by(|a, b| {
        let by = |value: fn(&Detection) -> f32| value(a).total_cmp(&value(b));
        by(|face| -face.score)
            .then(by(|face| face.y))
            .then(by(|face| face.x))
            .then(by(|face| face.w))
            .then(by(|face| face.h))
    });
    let mut kept: Vec<Detection> = Vec::new();
    for face in faces {
        if kept.iter().all(|other| overlap(other, &face) <= iou) {
            kept.push(face);
        }
    }
    Ok(kept)
}

/// Intersection over union of two boxes, 0 to 1.
#[must_use]
pub fn overlap(a: &Detection, b: &Detection) -> f32 {
    let across = (a.x + a.w).min(b.x + b.w) - a.x.max(b.x);
    let down = (a.y + a.h).min(b.y + b.h) - a.y.max(b.y);
    if across <= 0.0 || down <= 0.0 {
        return 0.0;
    }
    let both = across * down;
    both / (a.w * a.h + b.w * b.h - both)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLACK: [u8; 300] = [0; 300];

    fn view() -> PixelView<'static> {
        PixelView::new(10, 10, 30, &BLACK).unwrap()
    }

    fn face(x: f32, y: f32, side: f32, score: f32) -> Detection {
        Detection { x, y, w: side, h: side, score }
    }

    fn look() -> Look {
        let long_sides = vec![640, 1280];
        Look { long_sides, upscale_max: 2.0, threshold: 0.1, nms_iou: 0.3, merge_iou: 0.5 }
    }

    #[test]
    fn of_overlapping_candidates_the_best_is_kept() {
        let faces = vec![face(0.0, 0.0, 10.0, 0.5), face(1.0, 0.0, 10.0, 0.9), face(30.0, 0.0, 10.0, 0.2)];
        let kept = suppress("d", faces, 0.3).unwrap();
        assert_eq!(kept, [face(1.0, 0.0, 10.0, 0.9), face(30.0, 0.0, 10.0, 0.2)]);
    }

    #[test]
    fn a_broken_candidate_is_an_error_even_when_it_lies_in_the_padding() {
        let fit = Fit { width: 10, height: 10, padded_width: 32, padded_height: 32 };
        let padding = face(20.0, 20.0, 5.0, 0.9);
        assert_eq!(of_scale("d", vec![padding], fit, view(), 0.3), Ok(vec![]));
        let broken = Detection { w: f32::NAN, ..padding };
        assert!(matches!(
            of_scale("d", vec![broken], fit, view(), 0.3),
            Err(DetectError::Impossible { .. })
        ));
    }

    #[test]
    fn too_many_candidates_are_an_error() {
        let faces = vec![face(0.0, 0.0, 1.0, 0.5); CANDIDATES_MAX + 1];
        assert!(matches!(suppress("d", faces, 0.3), Err(DetectError::TooMany { .. })));
    }

    #[test]
    fn candidates_return_to_the_pictures_own_pixels() {
        let fit = Fit { width: 20, height: 5, padded_width: 32, padded_height: 32 };
        let faces = of_scale("d", vec![face(4.0, 1.0, 2.0, 0.5)], fit, view(), 0.3).unwrap();
        assert_eq!(faces, [Detection { x: 2.0, y: 2.0, w: 1.0, h: 4.0, score: 0.5 }]);
    }

    #[test]
    fn scales_that_a_small_picture_makes_equal_run_once() {
        assert_eq!(look().fits(view(), 32).len(), 1);
        let wide = [0u8; 1600 * 3];
        assert_eq!(look().fits(PixelView::new(1600, 1, 4800, &wide).unwrap(), 32).len(), 2);
    }

    #[test]
    fn a_look_that_sees_nothing_names_the_key() {
        assert_eq!(look().checked(), Ok(look()));
        for (key, wrong) in [
            ("long_sides", Look { long_sides: vec![], ..look() }),
            ("long_sides", Look { long_sides: vec![64], ..look() }),
            ("long_sides", Look { long_sides: vec![640; 5], ..look() }),
            ("upscale_max", Look { upscale_max: f32::NAN, ..look() }),
            ("threshold", Look { threshold: 0.0, ..look() }),
            ("nms_iou", Look { nms_iou: 1.5, ..look() }),
            ("merge_iou", Look { merge_iou: -0.1, ..look() }),
        ] {
            assert_eq!(wrong.checked().unwrap_err().key, key);
        }
    }

    proptest! {
        #[test]
        fn suppression_keeps_no_overlap_drops_no_lone_face_and_forgets_the_order(
            places in prop::collection::vec((0f32..50.0, 0f32..50.0, 1f32..20.0, 0f32..1.0), 0..40),
            iou in 0.05f32..0.9,
        ) {
            let faces: Vec<_> = places.iter().map(|(x, y, side, score)| face(*x, *y, *side, *score)).collect();
            let kept = suppress("d", faces.clone(), iou).unwrap();
            for (index, a) in kept.iter().enumerate() {
                prop_assert!(kept.iter().skip(index + 1).all(|b| overlap(a, b) <= iou));
            }
            for gone in faces.iter().filter(|face| !kept.contains(face)) {
                prop_assert!(kept.iter().any(|k| k.score >= gone.score && overlap(k, gone) > iou));
            }
            let reversed: Vec<_> = faces.into_iter().rev().collect();
            prop_assert_eq!(suppress("d", reversed, iou).unwrap(), kept);
        }
    }
}
