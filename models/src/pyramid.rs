//! Owns the scales at which a network sees a picture: from large to small, each made from the one before, so that a face
//! is averaged and not sampled, and padded to what the network takes, so that it is not stretched.

use crate::{
    PixelView,
    pixels::{Norm, Window},
};

/// A picture smaller than a scale is enlarged to this many times its sides at most: small faces in small pictures are
/// found more often, and beyond that there is nothing left to see.
const ENLARGED_MAX: usize = 2;

/// One scale of a picture: planes of red, green, blue.
#[derive(Debug, Clone)]
pub struct Level {
    /// Columns that show the picture.
    pub width: usize,
    /// Rows that show the picture.
    pub height: usize,
    planes: Vec<f32>,
}

/// The levels of a picture whose longer sides are `long_sides` pixels, the largest first, each once.
#[must_use]
pub fn levels(view: PixelView<'_>, long_sides: &[usize], norm: Norm) -> Vec<Level> {
    let longest = view.width().max(view.height());
    let mut levels: Vec<Level> = Vec::new();
    let mut sorted = long_sides.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    for long in sorted {
        let long = long.min(longest.saturating_mul(ENLARGED_MAX)).max(1);
        let side = |side: usize| ((side * long + longest / 2) / longest).max(1);
        let (width, height) = (side(view.width()), side(view.height()));
        let level = match levels.last() {
            Some(last) if (last.width, last.height) == (width, height) => continue,
            Some(last) => last.scaled(width, height),
            None => Level::of(view, width, height, norm),
        };
        levels.push(level);
    }
    levels
}

impl Level {
    /// Scales the picture itself, by halves first while it is twice as large or more.
    fn of(view: PixelView<'_>, width: usize, height: usize, norm: Norm) -> Self {
        if view.width() < 2 * width || view.height() < 2 * height {
            let whole = Window { x: 0, y: 0, w: view.width(), h: view.height() };
            return Self { width, height, planes: view.planes(whole, width, height, norm) };
        }
        let (w, h) = (view.width() / 2, view.height() / 2);
        let mut level = Self { width: w, height: h, planes: view.halved(norm) };
        while level.width >= 2 * width && level.height >= 2 * height {
            level = level.scaled(level.width / 2, level.height / 2);
        }
        if (level.width, level.height) == (width, height) {
            return level;
        }
        level.scaled(width, height)
    }

    /// Bilinear with pixel centres; down to a half this averages.
    fn scaled(&self, width: usize, height: usize) -> Self {
        let columns = crate::pixels::axis(0, self.width, width);
        let rows = crate::pixels::axis(0, self.height, height);
        let mut planes = Vec::with_capacity(3 * width * height);
        // One more than there are columns: the last has itself as its neighbour.
        let mut line = vec![0.0; self.width + 1];
        for plane in self.planes.chunks_exact((self.width * self.height).max(1)) {
            for &(y0, y1, fy) in &rows {
                let row = |y: usize| plane.get(y * self.width..).unwrap_or(&[]);
                for ((out, low), high) in line.iter_mut().zip(row(y0)).zip(row(y1)) {
                    *out = low + (high - low) * fy;
                }
                if let [.., last, beyond] = line.as_mut_slice() {
                    *beyond = *last;
                }
                planes.extend(columns.iter().map(|&(x, _, fx)| {
                    let pair = line.get(x..).and_then(|rest| rest.first_chunk());
                    let [left, right] = pair.copied().unwrap_or_default();
                    left + (right - left) * fx
                }));
            }
        }
        Self { width, height, planes }
    }

    /// The planes with columns and rows of zeros after them, up to multiples of `multiple`; and that width and height.
    #[must_use]
    pub fn padded(&self, multiple: usize) -> (Vec<f32>, usize, usize) {
        let up = |side: usize| side.next_multiple_of(multiple.max(1));
        let (width, height) = (up(self.width), up(self.height));
        let mut padded = Vec::with_capacity(3 * width * height);
        for (number, plane) in self.planes.chunks_exact(self.width * self.height).enumerate() {
            for row in plane.chunks_exact(self.width) {
                padded.extend_from_slice(row);
                padded.resize(padded.len() + width - self.width, 0.0);
            }
            padded.resize((number + 1) * width * height, 0.0);
        }
        (padded, width, height)
    }

    /// Pixels of a picture of this width to one of the level's.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
    pub fn back(&self, view: PixelView<'_>) -> (f32, f32) {
        (view.width() as f32 / self.width as f32, view.height() as f32 / self.height as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Norm = Norm { mean: 0.0, scale: 1.0 };

    fn sizes(width: usize, height: usize, long_sides: &[usize]) -> Vec<(usize, usize)> {
        let grey = vec![100; width * height * 3];
        let view = PixelView::new(width, height, &grey).unwrap();
        let levels = levels(view, long_sides, PLAIN);
        for level in &levels {
            assert_eq!(level.planes.len(), 3 * level.width * level.height);
            assert!(level.planes.iter().all(|v| (v - 100.0).abs() < 1e-3), "grey stays grey");
        }
        levels.iter().map(|level| (level.width, level.height)).collect()
    }

    #[test]
    fn levels_keep_the_shape_and_enlarge_a_small_picture_to_twice_at_most() {
        assert_eq!(sizes(1920, 1080, &[960, 640, 320]), [(960, 540), (640, 360), (320, 180)]);
        assert_eq!(sizes(3840, 2160, &[640]), [(640, 360)]);
        assert_eq!(sizes(400, 300, &[960, 640]), [(800, 600), (640, 480)]);
        assert_eq!(sizes(100, 50, &[960, 640, 160]), [(200, 100), (160, 80)], "each size once");
        assert_eq!(sizes(1, 1, &[960]), [(2, 2)]);
        assert_eq!(sizes(3000, 2, &[960]), [(960, 1)]);
    }

    #[test]
    fn a_level_averages_what_it_makes_smaller() {
        // Columns of 0 and 200 in turn: at a half every pixel is their mean, and so it stays.
        let stripes: Vec<u8> =
            (0..64 * 32).flat_map(|i| [if i % 2 == 0 { 0 } else { 200 }; 3]).collect();
        let view = PixelView::new(64, 32, &stripes).unwrap();
        for level in levels(view, &[32, 16], PLAIN) {
            assert!(level.planes.iter().all(|v| (v - 100.0).abs() < 1e-3));
        }
        let quarter = levels(view, &[16], PLAIN);
        assert!(quarter[0].planes.iter().all(|v| (v - 100.0).abs() < 1e-3), "halved twice");
    }

    #[test]
    fn padding_follows_each_row_and_each_plane() {
        let level = Level { width: 2, height: 1, planes: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        let (padded, width, height) = level.padded(3);
        assert_eq!((width, height), (3, 3));
        let plane = |a, b| [[a, b, 0.0], [0.0; 3], [0.0; 3]].concat();
        assert_eq!(padded, [plane(1.0, 2.0), plane(3.0, 4.0), plane(5.0, 6.0)].concat());
    }
}
