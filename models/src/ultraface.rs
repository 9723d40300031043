//! Owns UltraFace's (RFB) tensors: what goes in, and how scores and raw locations become faces.
//!
//! Input RGB as (level - 127) / 128, sides in multiples of 64. Outputs `scores` (`[anchors, 2]`, after the softmax:
//! no face, face) and `locations` (`[anchors, 4]`, raw). The file from the registry decodes locations with anchors
//! for 320x240 only; the prepared one stops before that, so that the anchors can follow the input's size here.

use crate::{
    detect::{CANDIDATES_MAX, DetectError, Detection},
    resample::{Fit, Levels},
};

/// What the manifest calls it.
pub const NAME: &str = "ultraface";
/// Its family: single-shot with anchors, plain depthwise convolutions.
pub const FAMILY: &str = "ultraface";
/// Sides of the input are multiples of this, the coarsest stride, so that every feature map comes out even.
pub const MULTIPLE: u32 = 64;
/// Grey levels go in centred.
pub const LEVELS: Levels = Levels { offset: 127.0, gain: 1.0 / 128.0 };
/// Name of the input in the prepared file.
pub const INPUT: &str = "input";
/// Names of scores and raw locations in the prepared file.
pub const OUTPUTS: [&str; 2] = ["scores", "462"];
/// Stride of each feature map and the sides of its anchors, in pixels of the input.
const ANCHORS: [(u32, &[f32]); 4] = [
    (8, &[10.0, 16.0, 24.0]),
    (16, &[32.0, 48.0]),
    (32, &[64.0, 96.0]),
    (64, &[128.0, 192.0, 256.0]),
];
/// What the network's centre locations are multiplied with, in sides of the anchor.
const CENTRE_VARIANCE: f32 = 0.1;
/// What the network's logarithmic sizes are multiplied with.
const SIZE_VARIANCE: f32 = 0.2;

/// The candidates over `threshold`, in pixels of the input.
///
/// # Errors
/// [`DetectError::Shape`] when a tensor does not belong to `fit`, [`DetectError::Impossible`] for a score that is
/// no number, [`DetectError::TooMany`].
pub fn candidates(
    fit: Fit,
    scores: &[f32],
    locations: &[f32],
    threshold: f32,
) -> Result<Vec<Detection>, DetectError> {
    let maps = ANCHORS.map(|(stride, sides)| {
        let (cols, rows) = (fit.padded_width / stride, fit.padded_height / stride);
        (stride, cols, rows, sides)
    });
    let anchors: usize =
        maps.iter().map(|(_, cols, rows, sides)| (*cols * *rows) as usize * sides.len()).sum();
    for (tensor, expected) in [(scores, 2 * anchors), (locations, 4 * anchors)] {
        if tensor.len() != expected {
            return Err(DetectError::Shape {
                detector: NAME.to_owned(),
                got: tensor.len(),
                expected,
            });
        }
    }
    let places = maps.iter().flat_map(|(stride, cols, rows, sides)| {
        let centre = move |index: u32| (index as f32 + 0.5) * *stride as f32;
        (0..*rows).flat_map(move |row| {
            (0..*cols).flat_map(move |col| {
                sides.iter().map(move |side| (centre(col), centre(row), *side))
            })
        })
    });
    let (scores, _) = scores.as_chunks::<2>();
    let (locations, _) = locations.as_chunks::<4>();
    let mut found = Vec::new();
    for ((place, [_, score]), location) in places.zip(scores).zip(locations) {
        // A NaN is over no threshold: it must not pass for an anchor without a face.
        if *score <= threshold {
            continue;
        }
        let face = decode(place, *location, *score);
        if !score.is_finite() {
            return Err(DetectError::Impossible { detector: NAME.to_owned(), found: face });
        }
        if found.len() == CANDIDATES_MAX {
            return Err(DetectError::TooMany { detector: NAME.to_owned() });
        }
        found.push(face);
    }
    Ok(found)
}

fn decode(
    (centre_x, centre_y, side): (f32, f32, f32),
    location: [f32; 4],
    score: f32,
) -> Detection {
    let [across, down, log_w, log_h] = location;
    let (w, h) = ((log_w * SIZE_VARIANCE).exp() * side, (log_h * SIZE_VARIANCE).exp() * side);
    let x = centre_x + across * CENTRE_VARIANCE * side - w / 2.0;
    let y = centre_y + down * CENTRE_VARIANCE * side - h / 2.0;
    Detection { x, y, w, h, score }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIT: Fit = Fit { width: 128, height: 64, padded_width: 128, padded_height: 64 };
    // 16x8 cells of 3 anchors, 8x4 of 2, 4x2 of 2, 2x1 of 3.
    const COUNT: usize = 384 + 64 + 16 + 6;

    #[test]
    fn an_anchor_moves_and_grows_as_the_network_says() {
        let mut scores = [1.0, 0.0].repeat(COUNT);
        let mut locations = vec![0.0; 4 * COUNT];
        // Stride 16, second row, third column, second anchor (48 px): centre 40, 24.
        let anchor = 384 + (8 + 2) * 2 + 1;
        scores[2 * anchor + 1] = 0.9;
        locations[4 * anchor] = 1.0;
        locations[4 * anchor + 3] = 5.0 * 2f32.ln();
        let found = candidates(FIT, &scores, &locations, 0.5).unwrap();
        let [face] = found.as_slice() else { panic!("{found:?}") };
        assert!((face.w - 48.0).abs() < 1e-3 && (face.h - 96.0).abs() < 1e-3, "{face:?}");
        assert!(
            (face.x - (40.0 + 4.8 - 24.0)).abs() < 1e-3 && (face.y - (24.0 - 48.0)).abs() < 1e-3
        );
    }

    #[test]
    fn a_score_that_is_no_number_or_a_tensor_of_another_size_is_an_error() {
        let mut scores = [1.0, 0.0].repeat(COUNT);
        let locations = vec![0.0; 4 * COUNT];
        assert!(matches!(
            candidates(FIT, &scores[2..], &locations, 0.5),
            Err(DetectError::Shape { .. })
        ));
        scores[1] = f32::NAN;
        assert!(matches!(
            candidates(FIT, &scores, &locations, 0.5),
            Err(DetectError::Impossible { .. })
        ));
    }
}
