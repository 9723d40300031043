//! Owns CenterFace's tensors: what goes in, and how heat map, scale and offset become faces.
//!
//! Input RGB 0..=255, sides in multiples of 32. Outputs at a quarter of the input's sides: `heat` (one plane,
//! after the sigmoid), `scale` (two planes: logarithm of height and of width in cells), `offset` (two planes: down
//! and across, in cells). The file from the registry also gives landmarks; the prepared one does not.

use crate::{
    detect::{CANDIDATES_MAX, DetectError, Detection},
    resample::{Fit, Levels},
};

/// What the manifest calls it.
pub const NAME: &str = "centerface";
/// Its family: anchor-free, MobileNetV2, feature pyramid.
pub const FAMILY: &str = "centerface";
/// Sides of the input are multiples of this.
pub const MULTIPLE: u32 = 32;
/// Grey levels go in as they are.
pub const LEVELS: Levels = Levels { offset: 0.0, gain: 1.0 };
/// Name of the input in the prepared file.
pub const INPUT: &str = "input.1";
/// Names of heat map, scale and offset in the prepared file.
pub const OUTPUTS: [&str; 3] = ["537", "538", "539"];
/// Pixels of the input from one cell of the outputs to the next.
const STRIDE: u32 = 4;

/// The candidates over `threshold`, in pixels of the input.
///
/// # Errors
/// [`DetectError::Shape`] when a tensor does not belong to `fit`, [`DetectError::Impossible`] for a score that is
/// no number, [`DetectError::TooMany`].
pub fn candidates(
    fit: Fit,
    heat: &[f32],
    scale: &[f32],
    offset: &[f32],
    threshold: f32,
) -> Result<Vec<Detection>, DetectError> {
    let cols = (fit.padded_width / STRIDE) as usize;
    let cells = cols * (fit.padded_height / STRIDE) as usize;
    for (tensor, expected) in [(heat, cells), (scale, 2 * cells), (offset, 2 * cells)] {
        if tensor.len() != expected {
            return Err(DetectError::Shape {
                detector: NAME.to_owned(),
                got: tensor.len(),
                expected,
            });
        }
    }
    let stride = STRIDE as f32;
    let (log_h, log_w) = scale.split_at(cells);
    let (down, across) = offset.split_at(cells);
    let mut found = Vec::new();
    let planes = heat.iter().zip(log_h.iter().zip(log_w)).zip(down.iter().zip(across)).enumerate();
    for (cell, ((score, (log_h, log_w)), (down, across))) in planes {
        // A NaN is over no threshold: it must not pass for a cell without a face.
        if *score <= threshold {
            continue;
        }
        let (row, col) = ((cell / cols) as f32, (cell % cols) as f32);
        let (h, w) = (log_h.exp() * stride, log_w.exp() * stride);
        let x = (col + across + 0.5) * stride - w / 2.0;
        let y = (row + down + 0.5) * stride - h / 2.0;
        let face = Detection { x, y, w, h, score: *score };
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

#[cfg(test)]
mod tests {
    use super::*;

    const FIT: Fit = Fit { width: 60, height: 30, padded_width: 64, padded_height: 32 };
    const CELLS: usize = 16 * 8;

    fn quiet() -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        (vec![0.01; CELLS], vec![0.0; 2 * CELLS], vec![0.0; 2 * CELLS])
    }

    #[test]
    fn a_peak_becomes_a_box_around_its_centre() {
        let (mut heat, mut scale, mut offset) = quiet();
        let cell = 3 * 16 + 5;
        heat[cell] = 0.8;
        scale[cell] = 4f32.ln();
        scale[CELLS + cell] = 2f32.ln();
        offset[cell] = 0.25;
        offset[CELLS + cell] = -0.5;
        let found = candidates(FIT, &heat, &scale, &offset, 0.3).unwrap();
        let [face] = found.as_slice() else { panic!("{found:?}") };
        // Centre: x = (5 - .5 + .5) * 4 = 20, y = (3 + .25 + .5) * 4 = 15; 8 wide, 16 high.
        assert!((face.x - 16.0).abs() < 1e-4 && (face.y - 7.0).abs() < 1e-4, "{face:?}");
        assert!((face.w - 8.0).abs() < 1e-4 && (face.h - 16.0).abs() < 1e-4, "{face:?}");
    }

    #[test]
    fn a_score_that_is_no_number_is_an_error_and_not_a_cell_without_a_face() {
        let (mut heat, scale, offset) = quiet();
        heat[7] = f32::NAN;
        let error = candidates(FIT, &heat, &scale, &offset, 0.3).unwrap_err();
        assert!(matches!(error, DetectError::Impossible { .. }));
    }

    #[test]
    fn tensors_of_another_size_are_an_error() {
        let (heat, scale, offset) = quiet();
        for (heat, scale, offset) in [
            (&heat[1..], &scale[..], &offset[..]),
            (&heat[..], &scale[1..], &offset[..]),
            (&heat[..], &scale[..], &[][..]),
        ] {
            let error = candidates(FIT, heat, scale, offset, 0.3).unwrap_err();
            assert!(matches!(error, DetectError::Shape { .. }), "{error}");
        }
    }

    #[test]
    fn a_network_that_sees_faces_everywhere_is_an_error() {
        let fit = Fit { width: 640, height: 640, padded_width: 640, padded_height: 640 };
        let cells = 160 * 160;
        let error =
            candidates(fit, &vec![0.9; cells], &vec![0.0; 2 * cells], &vec![0.0; 2 * cells], 0.3);
        assert!(matches!(error, Err(DetectError::TooMany { .. })));
    }
}
