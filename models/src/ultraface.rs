//! Owns UltraFace's tensors: what goes in, and how scores and corners become boxes.
//!
//! The prepared network takes any size in multiples of 32: red, green, blue planes of (level - 127) / 128. It answers at
//! strides of 8, 16, 32 and 64 pixels with two planes a box (no face, face: logits) and four (centre across and down,
//! width, height, against the anchor). The anchors of a cell are squares around its middle.

use crate::{Detection, Finding, pixels::Norm};

/// Sides of the input are multiples of this.
pub const MULTIPLE: usize = 32;
/// How pixel values go in.
pub const NORM: Norm = Norm { mean: 127.0, scale: 128.0 };
/// Boxes that overlap by more than this are one face.
pub const OVERLAP_MAX: f32 = 0.3;
/// Pixels from one cell to the next, and the sides of a cell's anchors, for each head.
pub const HEADS: [(usize, &[f32]); 4] = [
    (8, &[10.0, 16.0, 24.0]),
    (16, &[32.0, 48.0]),
    (32, &[64.0, 96.0]),
    (64, &[128.0, 192.0, 256.0]),
];
/// What the network's corners were divided by when it was trained: centres, sides.
const VARIANCES: (f32, f32) = (0.1, 0.2);

/// How the fog audits: half a picture's sides and less, since the auditor looks twice at every frame.
#[must_use]
pub fn finding() -> Finding {
    Finding { long_sides: vec![640, 320], seen: 0.1, alone: 0.7, together: 0.6 }
}

/// The outputs of one head.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Two planes for each anchor.
    pub scores: &'a [f32],
    /// Four planes for each anchor.
    pub corners: &'a [f32],
}

/// Every box over `threshold`, in pixels of the picture; `back` is how many of them one pixel of the input is, across
/// and down; `width` and `height` are the input's. Nothing when the tensors do not belong together. A score that is no
/// number counts as over the threshold, so that whoever checks the boxes sees it.
#[must_use]
pub fn decode(
    heads: &[Head<'_>],
    (width, height): (usize, usize),
    threshold: f32,
    back: (f32, f32),
) -> Option<Vec<Detection>> {
    if heads.len() != HEADS.len() {
        return None;
    }
    let mut found = Vec::new();
    for (head, (stride, anchors)) in heads.iter().zip(HEADS) {
        let (columns, rows) = (width.div_ceil(stride), height.div_ceil(stride));
        let cells = columns * rows;
        let wanted = (2 * anchors.len() * cells, 4 * anchors.len() * cells);
        if cells == 0 || (head.scores.len(), head.corners.len()) != wanted {
            return None;
        }
        let pairs = head.scores.chunks_exact(2 * cells).zip(head.corners.chunks_exact(4 * cells));
        for ((scores, corners), anchor) in pairs.zip(anchors) {
            let (none, face) = scores.split_at(cells);
            for (cell, (none, face)) in none.iter().zip(face).enumerate() {
                let score = 1.0 / (1.0 + (none - face).exp());
                if score <= threshold {
                    continue;
                }
                let corner = |plane: usize| corners.get(plane * cells + cell).copied();
                let at = (cell % columns, cell / columns);
                let numbers = [corner(0)?, corner(1)?, corner(2)?, corner(3)?];
                found.push(boxed(numbers, at, stride, *anchor, score, back));
            }
        }
    }
    Some(found)
}

#[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
fn boxed(
    [across, down, wide, high]: [f32; 4],
    (column, row): (usize, usize),
    stride: usize,
    anchor: f32,
    score: f32,
    (right, below): (f32, f32),
) -> Detection {
    let (centre, side) = VARIANCES;
    let middle = |cell: usize| (cell as f32 + 0.5) * stride as f32;
    let (x, y) = (middle(column) + across * centre * anchor, middle(row) + down * centre * anchor);
    let (w, h) = (anchor * (wide * side).exp(), anchor * (high * side).exp());
    Detection {
        x: (x - w / 2.0) * right,
        y: (y - h / 2.0) * below,
        w: w * right,
        h: h * below,
        score,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (128, 64);

    fn quiet() -> Vec<(Vec<f32>, Vec<f32>)> {
        let head = |&(stride, anchors): &(usize, &[f32])| {
            let cells = SIZE.0.div_ceil(stride) * SIZE.1.div_ceil(stride);
            // The first plane of each pair is "no face".
            let scores = (0..2 * anchors.len())
                .flat_map(|p| vec![if p % 2 == 0 { 9.0 } else { -9.0 }; cells]);
            (scores.collect(), vec![0.0; 4 * anchors.len() * cells])
        };
        HEADS.iter().map(head).collect()
    }

    fn decoded(heads: &[(Vec<f32>, Vec<f32>)], back: (f32, f32)) -> Option<Vec<Detection>> {
        let heads: Vec<Head<'_>> =
            heads.iter().map(|(scores, corners)| Head { scores, corners }).collect();
        decode(&heads, SIZE, 0.5, back)
    }

    #[test]
    fn a_face_becomes_a_box_around_its_anchor() {
        let mut heads = quiet();
        // Stride 16, second anchor (48 px), cell 3 across and 1 down; twice as large across in the picture.
        let (cells, cell) = (8 * 4, 8 + 3);
        heads[1].0[2 * cells + cell] = -2.0;
        heads[1].0[3 * cells + cell] = 2.0;
        heads[1].1[4 * cells + cell] = 1.0;
        heads[1].1[7 * cells + cell] = 5.0 * 2f32.ln();
        let found = decoded(&heads, (2.0, 1.0)).unwrap();
        let [found] = found.as_slice() else { panic!("{found:?}") };
        // Centre: 3.5 * 16 + .1 * 48 = 60.8 across, 24 down; 48 wide, 96 high.
        assert!((found.x - (60.8 - 24.0) * 2.0).abs() < 1e-3, "{found:?}");
        assert!((found.y - (24.0 - 48.0)).abs() < 1e-3, "{found:?}");
        assert!((found.w - 96.0).abs() < 1e-3 && (found.h - 96.0).abs() < 1e-3, "{found:?}");
        assert!((found.score - 0.982).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn a_score_that_is_no_number_is_a_box_that_is_not_sane() {
        let mut heads = quiet();
        heads[0].0[5] = f32::NAN;
        let found = decoded(&heads, (1.0, 1.0)).unwrap();
        assert_eq!(found.len(), 1);
        assert!(!found[0].is_sane(128.0, 64.0));
    }

    #[test]
    fn tensors_that_do_not_belong_together_are_refused() {
        assert_eq!(decoded(&quiet(), (1.0, 1.0)), Some(vec![]));
        assert!(decoded(&quiet()[..3], (1.0, 1.0)).is_none());
        for head in 0..4 {
            let mut wrong = quiet();
            wrong[head].0.pop();
            assert!(decoded(&wrong, (1.0, 1.0)).is_none());
            let mut wrong = quiet();
            wrong[head].1.pop();
            assert!(decoded(&wrong, (1.0, 1.0)).is_none());
        }
    }
}
