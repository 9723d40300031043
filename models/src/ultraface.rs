//! Owns UltraFace's tensors: what goes in, and how scores and corners become boxes.
//!
//! The packaged network takes 320x240 only, red, green, blue planes of (level - 127) / 128, and decodes its anchors
//! itself: scores (no face, face) and corners (left, top, right, bottom, 0 to 1) of 4,420 anchors. Large pictures are
//! therefore looked at as a whole and in overlapping windows.

use crate::{
    Detection,
    pixels::{Norm, Window},
};

/// Width of the input.
pub const INPUT_WIDTH: usize = 320;
/// Height of the input.
pub const INPUT_HEIGHT: usize = 240;
/// How pixel values go in.
pub const NORM: Norm = Norm { mean: 127.0, scale: 128.0 };
/// Boxes that overlap by more than this are one face.
pub const OVERLAP_MAX: f32 = 0.3;
/// Sides of a window: twice the input's. A face of 20 px is 10 px there, the smallest anchor.
const WINDOW: (usize, usize) = (2 * INPUT_WIDTH, 2 * INPUT_HEIGHT);

/// The whole picture and, when it is larger than one window, windows that cover it and share an eighth of a side or
/// more with their neighbours: a face on a border lies whole in one of them, or is large enough for the whole picture.
#[must_use]
pub fn windows(width: usize, height: usize) -> Vec<Window> {
    let mut windows = vec![Window { x: 0, y: 0, w: width, h: height }];
    let (across, down) = (starts(width, WINDOW.0), starts(height, WINDOW.1));
    if across.len() * down.len() > 1 {
        for y in down {
            let (w, h) = (width.min(WINDOW.0), height.min(WINDOW.1));
            windows.extend(across.iter().map(|x| Window { x: *x, y, w, h }));
        }
    }
    windows
}

/// Where windows of `window` pixels start along a side, evenly.
fn starts(side: usize, window: usize) -> Vec<usize> {
    let room = side.saturating_sub(window);
    let steps = room.div_ceil(window - window / 8);
    (0..=steps).map(|i| (room * i).checked_div(steps).unwrap_or(0)).collect()
}

/// Every box over `threshold` in the window `from`, in pixels of the picture. Nothing when the tensors do not belong
/// together. A score that is no number counts as over the threshold, so that whoever checks the boxes sees it.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
pub fn decode(
    scores: &[f32],
    boxes: &[f32],
    threshold: f32,
    from: Window,
) -> Option<Vec<Detection>> {
    let ((scores, []), (corners, [])) = (scores.as_chunks::<2>(), boxes.as_chunks::<4>()) else {
        return None;
    };
    if scores.len() != corners.len() {
        return None;
    }
    let (x, y, w, h) = (from.x as f32, from.y as f32, from.w as f32, from.h as f32);
    let mut found = Vec::new();
    for ([_, score], [left, top, right, bottom]) in scores.iter().zip(corners) {
        if *score <= threshold {
            continue;
        }
        found.push(Detection {
            x: x + left * w,
            y: y + top * h,
            w: (right - left) * w,
            h: (bottom - top) * h,
            score: *score,
        });
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Window = Window { x: 100, y: 50, w: 640, h: 480 };

    #[test]
    fn corners_become_a_box_in_the_picture() {
        let scores = [0.9, 0.1, 0.2, 0.8];
        let boxes = [0.0, 0.0, 1.0, 1.0, 0.25, 0.5, 0.5, 0.75];
        let found = decode(&scores, &boxes, 0.5, FROM).unwrap();
        assert_eq!(found, [Detection { x: 260.0, y: 290.0, w: 160.0, h: 120.0, score: 0.8 }]);
    }

    #[test]
    fn a_score_that_is_no_number_is_a_box_that_is_not_sane() {
        let found = decode(&[0.9, f32::NAN], &[0.0, 0.0, 0.5, 0.5], 0.5, FROM).unwrap();
        assert_eq!(found.len(), 1);
        assert!(!found[0].is_sane(1000.0, 1000.0));
    }

    #[test]
    fn tensors_that_do_not_belong_together_are_refused() {
        assert!(decode(&[0.9, 0.1, 0.5], &[0.0; 4], 0.5, FROM).is_none());
        assert!(decode(&[0.9, 0.1], &[0.0; 8], 0.5, FROM).is_none());
    }

    #[test]
    fn windows_cover_every_pixel_and_overlap() {
        assert_eq!(windows(400, 300), [Window { x: 0, y: 0, w: 400, h: 300 }]);
        for (width, height) in [(1920, 1080), (641, 480), (480, 2000), (3840, 2160)] {
            let tiles = windows(width, height).split_off(1);
            let columns: Vec<usize> = tiles.iter().take_while(|t| t.y == 0).map(|t| t.x).collect();
            assert!(tiles.iter().all(|t| t.x + t.w <= width && t.y + t.h <= height));
            let last = tiles.last().unwrap();
            assert_eq!((last.x + last.w, last.y + last.h), (width, height));
            for pair in columns.windows(2) {
                assert!(pair[1] - pair[0] <= tiles[0].w - tiles[0].w / 8, "{width}: {columns:?}");
            }
        }
    }
}
