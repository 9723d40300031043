//! Owns the geometry of redaction: boxes to rectangles and cells. Integers, snapped outwards.

use models::Detection;
use proto::manifest::Rect;

use crate::policy::Ring;

/// Grids snap outwards to multiples of this many pixels, so that a box that trembles keeps its cells.
const SNAP: f32 = 4.0;

/// The box with its ring, snapped outwards and cut to the picture; nothing when no pixel is left.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to the picture, whose sides are under 2^16, right before"
)]
pub(crate) fn snapped(found: &Detection, ring: Ring, width: u32, height: u32) -> Option<Rect> {
    let edges = |at: f32, size: f32, (before, after): (u8, u8), side: u32| {
        let beyond = |hundredths: u8| size * f32::from(hundredths) / 100.0;
        let low = ((at - beyond(before)) / SNAP).floor() * SNAP;
        let high = ((at + size + beyond(after)) / SNAP).ceil() * SNAP;
        (low.clamp(0.0, side as f32) as u32, high.clamp(0.0, side as f32) as u32)
    };
    let (x0, x1) = edges(found.x, found.w, (ring.beside, ring.beside), width);
    let (y0, y1) = edges(found.y, found.h, (ring.above, ring.below), height);
    (x1 > x0 && y1 > y0).then(|| Rect { x: x0, y: y0, w: x1 - x0, h: y1 - y0 })
}

/// Which cell of `n` along a side of `size` pixels a pixel belongs to: cells differ by one pixel at most.
pub(crate) const fn cell_of(pixel: u32, size: u32, n: u8) -> u32 {
    pixel * n as u32 / size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, y: f32, side: f32, score: f32) -> Detection {
        Detection { x, y, w: side, h: side, score }
    }

    #[test]
    fn boxes_snap_outwards_and_stay_in_the_picture() {
        let snap = |d: &Detection, ring| snapped(d, ring, 100, 50);
        let whole = snap(&at(10.0, 10.0, 11.0, 1.0), Ring::NONE);
        assert_eq!(whole, Some(Rect { x: 8, y: 8, w: 16, h: 16 }));
        let ring = Ring { above: 0, beside: 30, below: 50 };
        let cut = snap(&at(90.0, 30.0, 20.0, 1.0), ring);
        assert_eq!(cut, Some(Rect { x: 84, y: 28, w: 16, h: 22 }));
        assert_eq!(snap(&at(10.0, 10.0, 20.0, 1.0), ring), Some(Rect { x: 4, y: 8, w: 32, h: 32 }));
        assert_eq!(snap(&at(-30.0, 0.0, 20.0, 1.0), Ring::NONE), None);
    }

    #[test]
    fn every_pixel_has_one_cell_and_every_cell_a_pixel() {
        for (size, n) in [(8, 8), (9, 8), (17, 2), (100, 3)] {
            let cells: Vec<u32> = (0..size).map(|p| cell_of(p, size, n)).collect();
            assert!(cells.is_sorted());
            assert_eq!((cells[0], *cells.last().unwrap()), (0, u32::from(n) - 1));
            let mut distinct = cells;
            distinct.dedup();
            assert_eq!(distinct.len(), usize::from(n));
        }
    }
}
