//! Owns CenterFace's tensors: what goes in, and how heat map, scale and offset become boxes.
//!
//! Input: red, green, blue planes of 0 to 255, sides in multiples of 32. Outputs at a quarter of the input's sides:
//! heat map (one plane, after the sigmoid), scale (two planes: logarithm of height and of width in cells), offset
//! (two planes: down and across, in cells). Landmarks, which come fourth, are never read.

use crate::{Detection, Finding};

/// Sides of the input are multiples of this.
pub const MULTIPLE: usize = 32;
/// Pixels of the input from one cell of the outputs to the next.
const STRIDE: f32 = 4.0;
/// Boxes of one scale that overlap by more than this are one face.
pub const OVERLAP_MAX: f32 = 0.3;

/// How the fog finds faces: three scales find faces from a fortieth of the picture to all of it, and what one of them
/// is unsure of needs a second (measured: models/evaluation).
#[must_use]
pub fn finding() -> Finding {
    Finding { long_sides: vec![960, 640, 320], seen: 0.05, alone: 0.4, together: 0.3 }
}

/// The outputs of one run.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// Confidence of each cell.
    pub heat: &'a [f32],
    /// Height, then width, of each cell's face.
    pub scale: &'a [f32],
    /// How far down, then across, the centre lies from the cell's.
    pub offset: &'a [f32],
    /// Cells in one row.
    pub columns: usize,
}

/// Every box over `threshold`, in pixels of the picture; `back` is how many of them one pixel of the input is, across
/// and down. Nothing when the tensors do not belong together. A score that is no number counts as over the
/// threshold, so that whoever checks the boxes sees it.
#[must_use]
pub fn decode(outputs: Outputs<'_>, threshold: f32, back: (f32, f32)) -> Option<Vec<Detection>> {
    let Outputs { heat, scale, offset, columns } = outputs;
    let cells = heat.len();
    if columns == 0 || cells % columns != 0 || [scale, offset].iter().any(|t| t.len() != 2 * cells)
    {
        return None;
    }
    let (log_h, log_w) = scale.split_at(cells);
    let (down, across) = offset.split_at(cells);
    let planes = heat.iter().zip(log_h.iter().zip(log_w)).zip(down.iter().zip(across)).enumerate();
    let mut boxes = Vec::new();
    for (cell, ((score, (log_h, log_w)), (down, across))) in planes {
        if *score <= threshold {
            continue;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "an output has fewer than 2^16 cells a side"
        )]
        let (row, column) = ((cell / columns) as f32, (cell % columns) as f32);
        let (w, h) = (log_w.exp() * STRIDE, log_h.exp() * STRIDE);
        let x = (column + across + 0.5) * STRIDE - w / 2.0;
        let y = (row + down + 0.5) * STRIDE - h / 2.0;
        let (right, below) = back;
        boxes.push(Detection {
            x: x * right,
            y: y * below,
            w: w * right,
            h: h * below,
            score: *score,
        });
    }
    Some(boxes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: usize = 16;
    const CELLS: usize = COLUMNS * 8;

    #[test]
    fn a_peak_becomes_a_box_around_its_centre() {
        let (mut heat, mut scale, mut offset) = quiet();
        let cell = 3 * COLUMNS + 5;
        heat[cell] = 0.8;
        scale[cell] = 4f32.ln();
        scale[CELLS + cell] = 2f32.ln();
        offset[cell] = 0.25;
        offset[CELLS + cell] = -0.5;
        let outputs = Outputs { heat: &heat, scale: &scale, offset: &offset, columns: COLUMNS };
        let boxes = decode(outputs, 0.3, (2.0, 1.0)).unwrap();
        let [found] = boxes.as_slice() else { panic!("{boxes:?}") };
        // Centre: x = (5 - .5 + .5) * 4 = 20, y = (3 + .25 + .5) * 4 = 15; 8 wide, 16 high; twice that across.
        assert!((found.x - 32.0).abs() < 1e-3 && (found.y - 7.0).abs() < 1e-3, "{found:?}");
        assert!((found.w - 16.0).abs() < 1e-3 && (found.h - 16.0).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn a_score_that_is_no_number_is_a_box_that_is_not_sane_and_not_a_cell_without_a_face() {
        let (mut heat, scale, offset) = quiet();
        heat[7] = f32::NAN;
        let outputs = Outputs { heat: &heat, scale: &scale, offset: &offset, columns: COLUMNS };
        let boxes = decode(outputs, 0.3, (1.0, 1.0)).unwrap();
        assert_eq!(boxes.len(), 1);
        assert!(!boxes[0].is_sane(64.0, 32.0));
    }

    #[test]
    fn tensors_that_do_not_belong_together_are_refused() {
        let (heat, scale, offset) = quiet();
        let whole = Outputs { heat: &heat, scale: &scale, offset: &offset, columns: COLUMNS };
        assert!(decode(whole, 0.3, (1.0, 1.0)).is_some());
        for wrong in [
            Outputs { heat: &heat[1..], ..whole },
            Outputs { scale: &scale[1..], ..whole },
            Outputs { offset: &[], ..whole },
            Outputs { columns: 0, ..whole },
        ] {
            assert!(decode(wrong, 0.3, (1.0, 1.0)).is_none());
        }
    }

    fn quiet() -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        (vec![0.01; CELLS], vec![0.0; 2 * CELLS], vec![0.0; 2 * CELLS])
    }
}
