//! Owns UltraFace's windows and the decoding of its outputs (input 320x240, values (v - 127) / 128; boxes are corners
//! in units of the window). It looks at the whole picture and at overlapping windows, so that small faces are seen.

use crate::{
    Detection,
    pixels::{Norm, Window},
};

/// Width of the network's input.
pub const INPUT_WIDTH: usize = 320;
/// Height of the network's input.
pub const INPUT_HEIGHT: usize = 240;
/// Value scaling of the network's input.
pub const NORM: Norm = Norm { mean: 127.0, scale: 128.0 };
/// Overlap over which two boxes are the same face.
pub const OVERLAP_MAX: f32 = 0.3;
/// A window is this many times the network's input: a face of 24 px still covers 12 px there.
const WINDOW_SCALE: usize = 2;

/// The whole picture first, then windows of at most 640x480 that overlap.
#[must_use]
pub fn windows(width: usize, height: usize) -> Vec<Window> {
    let whole = Window { x: 0, y: 0, w: width, h: height };
    let (w, h) = (INPUT_WIDTH * WINDOW_SCALE, INPUT_HEIGHT * WINDOW_SCALE);
    if width <= w && height <= h {
        return vec![whole];
    }
    let (w, h) = (w.min(width), h.min(height));
    let tiles = starts(height, h)
        .into_iter()
        .flat_map(|y| starts(width, w).into_iter().map(move |x| Window { x, y, w, h }));
    std::iter::once(whole).chain(tiles).collect()
}

/// Even starts so that neighbours overlap by a quarter of the window at least.
fn starts(side: usize, window: usize) -> Vec<usize> {
    let room = side - window;
    let steps = room.div_ceil(window * 3 / 4);
    (0..=steps).map(|i| (room * i).checked_div(steps).unwrap_or(0)).collect()
}

/// Boxes over the threshold, in pixels of the picture. `scores` are pairs (background, face), `boxes` corners.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
pub fn decode(scores: &[f32], boxes: &[f32], threshold: f32, from: Window) -> Vec<Detection> {
    let (w, h) = (from.w as f32, from.h as f32);
    let rows = scores.as_chunks::<2>().0.iter().zip(boxes.as_chunks::<4>().0);
    // As in CenterFace, a NaN is let through for the caller to refuse.
    let found = rows.filter(|([_, score], _)| score.is_nan() || *score > threshold);
    found
        .map(|(&[_, score], &[x0, y0, x1, y1])| Detection {
            x: from.x as f32 + x0 * w,
            y: from.y as f32 + y0 * h,
            w: (x1 - x0) * w,
            h: (y1 - y0) * h,
            score,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_stay_inside_and_cover_every_pixel() {
        for (width, height) in [(1920, 1080), (960, 506), (3840, 2160), (641, 100), (320, 240)] {
            let windows = windows(width, height);
            assert!(windows.iter().all(|t| t.x + t.w <= width && t.y + t.h <= height));
            let tiles = if windows.len() > 1 { &windows[1..] } else { &windows[..] };
            for x in 0..width {
                assert!(tiles.iter().any(|t| (t.x..t.x + t.w).contains(&x)), "{width} {x}");
            }
        }
        assert_eq!(windows(320, 240).len(), 1);
    }

    #[test]
    fn a_box_is_placed_in_its_window() {
        let from = Window { x: 100, y: 50, w: 640, h: 480 };
        let boxes = [0.5, 0.25, 0.75, 0.5, 0.0, 0.0, 1.0, 1.0];
        let found = decode(&[0.1, 0.9, 0.8, 0.2], &boxes, 0.5, from);
        assert_eq!(found, [Detection { x: 420.0, y: 170.0, w: 160.0, h: 120.0, score: 0.9 }]);
    }
}
