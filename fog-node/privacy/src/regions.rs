//! Owns the geometry of redaction: boxes to clusters, clusters to regions. Integers, snapped outwards.

use models::Detection;
use proto::manifest::Rect;

/// Grids snap outwards to multiples of this many pixels, so that a box that trembles keeps its cells.
const SNAP: f32 = 4.0;
/// Boxes that share this much of the smaller one belong to one face.
const SAME_FACE: f32 = 0.4;

/// Boxes that are taken for one face, the best first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cluster(pub(crate) Vec<Detection>);

/// Puts boxes into clusters around the best ones.
pub(crate) fn cluster(boxes: &[Detection]) -> Vec<Cluster> {
    let mut sorted = boxes.to_vec();
    sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut clusters: Vec<Cluster> = Vec::new();
    for candidate in sorted {
        let home = clusters.iter_mut().find(|c| c.0.first().is_some_and(|b| same(b, &candidate)));
        match home {
            Some(cluster) => cluster.0.push(candidate),
            None => clusters.push(Cluster(vec![candidate])),
        }
    }
    clusters
}

fn same(a: &Detection, b: &Detection) -> bool {
    let side = |a: f32, aw: f32, b: f32, bw: f32| ((a + aw).min(b + bw) - a.max(b)).max(0.0);
    let shared = side(a.x, a.w, b.x, b.w) * side(a.y, a.h, b.y, b.h);
    shared > SAME_FACE * (a.w * a.h).min(b.w * b.h)
}

/// The box grown about its middle to `percent` of its sides, snapped outwards and cut to the picture; nothing when
/// no pixel is left.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to the picture, whose sides are under 2^16, right before"
)]
pub(crate) fn snapped(found: &Detection, percent: u16, width: u32, height: u32) -> Option<Rect> {
    let grow = f32::from(percent) / 100.0;
    let edge = |at: f32, size: f32, side: u32| {
        let (middle, half) = (at + size / 2.0, size * grow / 2.0);
        let low = ((middle - half) / SNAP).floor() * SNAP;
        let high = ((middle + half) / SNAP).ceil() * SNAP;
        (low.clamp(0.0, side as f32) as u32, high.clamp(0.0, side as f32) as u32)
    };
    let (x0, x1) = edge(found.x, found.w, width);
    let (y0, y1) = edge(found.y, found.h, height);
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
    fn one_face_seen_at_two_scales_is_one_cluster() {
        let clusters = cluster(&[
            at(10.0, 10.0, 30.0, 0.4),
            at(8.0, 8.0, 34.0, 0.9),
            at(80.0, 10.0, 30.0, 0.3),
        ]);
        assert_eq!(clusters.len(), 2);
        assert_eq!(clusters[0].0, [at(8.0, 8.0, 34.0, 0.9), at(10.0, 10.0, 30.0, 0.4)]);
    }

    #[test]
    fn boxes_snap_outwards_and_stay_in_the_picture() {
        let snap = |d: &Detection, p| snapped(d, p, 100, 50);
        assert_eq!(snap(&at(10.0, 10.0, 11.0, 1.0), 100), Some(Rect { x: 8, y: 8, w: 16, h: 16 }));
        assert_eq!(
            snap(&at(90.0, 40.0, 20.0, 1.0), 160),
            Some(Rect { x: 84, y: 32, w: 16, h: 18 })
        );
        assert_eq!(snap(&at(-30.0, 0.0, 20.0, 1.0), 100), None);
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
