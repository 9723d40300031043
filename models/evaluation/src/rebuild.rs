//! Owns reconstruction: from the cells of many looks to one finer picture, and from blurred pictures back to sharp ones.

use models::{Detection, pixels::Window};
use nalgebra::{Cholesky, DMatrix};
use proto::manifest::Grid;

use crate::still::Still;

/// Sides of a picture rebuilt from cells.
const FINE: usize = 20;
/// Sides of a picture rebuilt from blurred ones.
const SHARP: usize = 48;

/// The smoothest picture of the face in `place` whose means over all the cells are those that were released: the places
/// of the cells are in the manifest. `smooth` weighs smoothness against the cells, which are noisy.
pub(crate) fn from_cells(looks: &[Grid], place: Detection, smooth: f64) -> Option<Still> {
    let unknown = FINE * FINE;
    let mut normal = DMatrix::<f64>::zeros(unknown, unknown);
    let mut right = DMatrix::<f64>::zeros(unknown, 3);
    for grid in looks {
        let (rows, columns) = (usize::from(grid.rows), usize::from(grid.cols));
        let down = shares(grid.rect.y, grid.rect.h, rows, place.y, place.h);
        let across = shares(grid.rect.x, grid.rect.w, columns, place.x, place.w);
        for (cell, colour) in grid.cells.as_chunks::<3>().0.iter().enumerate() {
            let of = down.get(cell / columns).zip(across.get(cell % columns));
            let Some((down, across)) = of else { continue };
            let covered: Vec<(usize, f64)> = down
                .iter()
                .flat_map(|(y, a)| across.iter().map(move |(x, b)| (y * FINE + x, a * b)))
                .collect();
            for (i, a) in &covered {
                for (j, b) in &covered {
                    add(&mut normal, (*i, *j), a * b);
                }
                for (channel, value) in colour.iter().enumerate() {
                    add(&mut right, (*i, channel), a * f64::from(*value));
                }
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few hundred looks")]
    let weight = smooth * looks.len() as f64;
    for at in 0..unknown {
        // Neighbours to the right and below should be alike; the tiny rest keeps unseen corners finite.
        add(&mut normal, (at, at), 1e-6);
        let beside = (at % FINE + 1 < FINE).then_some(at + 1);
        let below = (at / FINE + 1 < FINE).then_some(at + FINE);
        for other in beside.into_iter().chain(below) {
            for (place, value) in [
                ((at, at), weight),
                ((other, other), weight),
                ((at, other), -weight),
                ((other, at), -weight),
            ] {
                add(&mut normal, place, value);
            }
        }
    }
    let solved = Cholesky::new(normal)?.solve(&right);
    #[expect(clippy::cast_possible_truncation, reason = "grey levels")]
    let planes = solved.iter().map(|value| value.clamp(0.0, 255.0) as f32).collect();
    Some(Still { width: FINE, height: FINE, planes })
}

fn add(matrix: &mut DMatrix<f64>, at: (usize, usize), value: f64) {
    if let Some(entry) = matrix.get_mut(at) {
        *entry += value;
    }
}

/// For each of `n` cells along a side, which of the fine pixels it covers by which share of itself.
#[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
fn shares(start: u32, size: u32, n: usize, place: f32, length: f32) -> Vec<Vec<(usize, f64)>> {
    let step = f64::from(length) / FINE as f64;
    (0..n)
        .map(|cell| {
            let edge = |i: usize| f64::from(start) + f64::from(size) * i as f64 / n as f64;
            let (low, high) = (edge(cell), edge(cell + 1));
            let covered = (0..FINE).filter_map(|pixel| {
                let from = f64::from(place) + step * pixel as f64;
                let shared = high.min(from + step) - low.max(from);
                (shared > 0.0).then_some((pixel, shared))
            });
            let covered: Vec<(usize, f64)> = covered.collect();
            let sum: f64 = covered.iter().map(|(_, shared)| shared).sum();
            covered.into_iter().map(|(pixel, shared)| (pixel, shared / sum)).collect()
        })
        .collect()
}

/// A blur along one side, as weights of offsets in pixels.
pub(crate) struct Kernel(Vec<(f32, f32)>);

impl Kernel {
    /// A Gaussian of this standard deviation in pixels.
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "some pixels")]
    pub(crate) fn gaussian(sigma: f32) -> Self {
        Self::cut_gaussian(2 * (3.0 * sigma).ceil() as usize + 1, sigma)
    }

    /// One that is cut off after an odd number of pixels.
    #[expect(clippy::cast_precision_loss, reason = "some pixels")]
    pub(crate) fn cut_gaussian(taps: usize, sigma: f32) -> Self {
        let reach = taps as f32 / 2.0 - 0.5;
        let at = (0..taps).map(|tap| tap as f32 - reach);
        Self(at.map(|at| (at, (-0.5 * (at / sigma).powi(2)).exp())).collect()).normalised()
    }

    /// The mean of so many pixels.
    #[expect(clippy::cast_precision_loss, reason = "some pixels")]
    pub(crate) fn mean(pixels: usize) -> Self {
        let first = -(pixels as f32 - 1.0) / 2.0;
        Self((0..pixels).map(|at| (first + at as f32, 1.0)).collect()).normalised()
    }

    fn normalised(self) -> Self {
        let sum: f32 = self.0.iter().map(|(_, weight)| weight).sum();
        Self(self.0.into_iter().map(|(at, weight)| (at, weight / sum)).collect())
    }

    /// How much of the `k`-th half wave over `side` pixels is left.
    #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
    fn kept(&self, k: usize, side: usize) -> f32 {
        let wave = std::f32::consts::PI * k as f32 / side as f32;
        let weighed = self.0.iter().map(|(at, weight)| {
            // Between two pixels lies a part of each, as where it was blurred.
            let (low, part) = (at.floor(), at - at.floor());
            weight * ((wave * low).cos() * (1.0 - part) + (wave * (low + 1.0)).cos() * part)
        });
        weighed.sum()
    }
}

/// The picture blurred across and down, borders mirrored, in whole grey levels as a file would have them.
pub(crate) fn blurred(still: &Still, [across, down]: [&Kernel; 2]) -> Still {
    let (width, height) = (still.width, still.height);
    let mut planes = Vec::with_capacity(still.planes.len());
    for plane in still.planes.chunks_exact(width * height) {
        let rows: Vec<f32> = plane.chunks_exact(width).flat_map(|row| along(row, across)).collect();
        let columns = (0..width).map(|x| {
            let column: Vec<f32> = rows.iter().skip(x).step_by(width).copied().collect();
            along(&column, down)
        });
        let columns: Vec<Vec<f32>> = columns.collect();
        for y in 0..height {
            planes.extend(columns.iter().filter_map(|column| column.get(y)).map(|v| v.round()));
        }
    }
    Still { width, height, planes }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "mirrored into the line"
)]
fn along(line: &[f32], kernel: &Kernel) -> Vec<f32> {
    let n = line.len() as i64;
    let mirrored = |at: i64| {
        let at = at.rem_euclid(2 * n);
        line.get(at.min(2 * n - 1 - at) as usize).copied().unwrap_or(0.0)
    };
    let value = |at: i64| {
        let weighed = kernel.0.iter().map(|(offset, weight)| {
            let from = at as f32 + offset;
            let (low, part) = (from.floor() as i64, from - from.floor());
            let between = if part > 0.0 {
                mirrored(low) * (1.0 - part) + mirrored(low + 1) * part
            } else {
                mirrored(low)
            };
            weight * between
        });
        weighed.sum()
    };
    (0..n).map(value).collect()
}

/// A blurred face and where its box lay in the frame.
pub(crate) struct Blurred {
    pub still: Still,
    pub place: Window,
}

/// Power of rounding to whole grey levels over that of a face's picture, at its lowest waves: a level's variance of 1/12 in
/// each pixel, against a spread of 50 levels. Towards finer waves a face's power falls with the third power of their number
/// (the best of three exponents and three ratios on ten faces: half of what a Gaussian took comes back from one frame).
const ROUNDING: f32 = 1e-7;

/// The sharp picture behind blurred ones of a still face in `place`: each half wave divided by what the blur left of it, as
/// far as rounding lets it (Wiener), and the pictures of all frames, whose boxes lie a little apart, put over each other.
pub(crate) fn from_blurred(
    looks: &[Blurred],
    kernels: impl Fn(Window) -> [Kernel; 2],
    place: Window,
) -> Option<Still> {
    let turn = cosines();
    let mut sum = vec![0.0; 3 * SHARP * SHARP];
    for look in looks {
        let sharp = sharpened(look, kernels(look.place), &turn)?;
        for (total, value) in sum.iter_mut().zip(aligned(&sharp, look.place, place)) {
            *total += value;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few looks")]
    let n = looks.len().max(1) as f32;
    let planes = sum.into_iter().map(|total| (total / n).clamp(0.0, 255.0)).collect();
    Some(Still { width: SHARP, height: SHARP, planes })
}

fn sharpened(look: &Blurred, [across, down]: [Kernel; 2], turn: &DMatrix<f32>) -> Option<Still> {
    let (across, down) = (waves(&across, look.still.width), waves(&down, look.still.height));
    let small = look.still.reduced(SHARP, SHARP);
    let mut planes = Vec::with_capacity(3 * SHARP * SHARP);
    for plane in small.planes.chunks_exact(SHARP * SHARP) {
        let mut wave = turn * DMatrix::from_row_slice(SHARP, SHARP, plane) * turn.transpose();
        for (k, mut row) in wave.row_iter_mut().enumerate() {
            for (l, value) in row.iter_mut().enumerate() {
                #[expect(clippy::cast_precision_loss, reason = "48 at most")]
                let rounding = ROUNDING * ((1 + k * k + l * l) as f32).powf(1.5);
                let kept = down.get(k)? * across.get(l)?;
                *value *= kept / (kept * kept + rounding);
            }
        }
        let sharp = turn.transpose() * wave * turn;
        planes.extend(sharp.transpose().iter());
    }
    Some(Still { width: SHARP, height: SHARP, planes })
}

/// The picture of one box as it lies in another, bilinear; beyond its border the border goes on.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the picture"
)]
fn aligned(sharp: &Still, from: Window, to: Window) -> Vec<f32> {
    let line = |from: (usize, usize), to: (usize, usize)| -> Vec<(usize, usize, f32)> {
        let at = |i: usize| {
            let place = to.0 as f32 + (i as f32 + 0.5) / SHARP as f32 * to.1 as f32;
            let there = (place - from.0 as f32) / from.1 as f32 * SHARP as f32 - 0.5;
            let there = there.clamp(0.0, SHARP as f32 - 1.0);
            (there as usize, (there as usize + 1).min(SHARP - 1), there.fract())
        };
        (0..SHARP).map(at).collect()
    };
    let columns = line((from.x, from.w), (to.x, to.w));
    let rows = line((from.y, from.h), (to.y, to.h));
    let mut out = Vec::with_capacity(sharp.planes.len());
    for plane in sharp.planes.chunks_exact(SHARP * SHARP) {
        let at = |x: usize, y: usize| plane.get(y * SHARP + x).copied().unwrap_or(0.0);
        for &(y0, y1, down) in &rows {
            out.extend(columns.iter().map(|&(x0, x1, across)| {
                let mix = |y| at(x0, y) * (1.0 - across) + at(x1, y) * across;
                mix(y0) * (1.0 - down) + mix(y1) * down
            }));
        }
    }
    out
}

fn waves(kernel: &Kernel, side: usize) -> Vec<f32> {
    (0..SHARP).map(|k| kernel.kept(k, side)).collect()
}

/// The orthonormal cosine transform.
#[expect(clippy::cast_precision_loss, reason = "48 at most")]
fn cosines() -> DMatrix<f32> {
    DMatrix::from_fn(SHARP, SHARP, |k, at| {
        let scale = if k == 0 { 1.0 } else { 2.0f32 } / SHARP as f32;
        scale.sqrt() * (std::f32::consts::PI * k as f32 * (at as f32 + 0.5) / SHARP as f32).cos()
    })
}

#[cfg(test)]
mod tests {
    use proto::manifest::Rect;

    use super::*;

    fn waves_of(width: usize, height: usize, finer: f32) -> Still {
        let at = |i: usize| {
            let (x, y) = ((i % width) as f32 / width as f32, (i / width) as f32 / height as f32);
            128.0 + 60.0 * (x * 12.0 * finer).sin() * (y * 9.0 * finer).cos()
        };
        let plane: Vec<f32> = (0..width * height).map(at).collect();
        Still { width, height, planes: [plane.clone(), plane.clone(), plane].concat() }
    }

    fn difference(a: &Still, b: &Still) -> f32 {
        let pairs = a.planes.iter().zip(&b.planes);
        pairs.map(|(a, b)| (a - b).abs()).sum::<f32>() / a.planes.len() as f32
    }

    /// Grey levels between the clear picture and the blurred one, and the one rebuilt from so many frames.
    fn undone(kernel: &dyn Fn(usize) -> Kernel, finer: f32, frames: usize) -> (f32, f32) {
        let picture = waves_of(140, 160, finer);
        let frame = picture.frame().unwrap();
        let cut = |place| Still::cut(frame.view().unwrap(), place).unwrap();
        let kernels = |place: Window| [kernel(place.w), kernel(place.h)];
        let look = |at: usize| {
            let place = Window { x: 20 + at % 4, y: 20 + at * 3 % 5, w: 96 + at % 3, h: 120 };
            let [across, down] = kernels(place);
            Blurred { still: blurred(&cut(place), [&across, &down]), place }
        };
        let looks: Vec<Blurred> = (0..frames).map(look).collect();
        let place = looks[0].place;
        let back = from_blurred(&looks, kernels, place).unwrap();
        let clear = cut(place).reduced(SHARP, SHARP);
        let seen = looks[0].still.reduced(SHARP, SHARP);
        (difference(&seen, &clear), difference(&back, &clear))
    }

    /// The design's Gaussian, whatever the size of the face: an eighth of what it took is left, from one frame.
    #[test]
    fn a_gaussian_blur_is_undone() {
        let gaussian = |side: usize| Kernel::gaussian(side as f32 / 12.0);
        let (seen, one) = undone(&gaussian, 1.0, 1);
        assert!(one < seen / 8.0, "{one} of {seen} grey levels are left of one frame");
        let (_, many) = undone(&gaussian, 1.0, 16);
        assert!(many < one, "{many} of 16 frames, {one} of one");
    }

    /// As programs ship it: details four times as fine come back, of which one of that width leaves next to nothing.
    #[test]
    fn a_shipped_gaussian_is_undone_further_than_a_wide_one() {
        let shipped = |side: usize| crate::blurs::shipped(side);
        let (seen, one) = undone(&shipped, 4.0, 1);
        assert!(one < seen / 4.0, "{one} of {seen} grey levels are left of one frame");
        let (seen, one) = undone(&|side| Kernel::gaussian(side as f32 / 10.0), 4.0, 1);
        assert!(one > seen / 2.0, "{one} of {seen} grey levels are left of a wide one");
    }

    #[test]
    fn the_mean_of_ten_pixels_is_undone() {
        let (seen, one) = undone(&|_| Kernel::mean(10), 3.0, 1);
        assert!(one < seen / 4.0, "{one} of {seen} grey levels are left");
    }

    #[test]
    fn shifted_cells_without_noise_give_a_finer_picture_than_one_look() {
        let truth = waves_of(120, 120, 1.0);
        let look = |shift: u32| {
            let rect = Rect { x: 10 + shift, y: 10 + shift, w: 88, h: 88 };
            let cells = (0..16u32).flat_map(|cell| {
                let (x, y) = (rect.x + cell % 4 * 22, rect.y + cell / 4 * 22);
                let pixels = (0..22 * 22)
                    .map(|i| truth.pixel(((y + i / 22) * 120 + x + i % 22) as usize)[0]);
                [(pixels.sum::<f32>() / 484.0).round() as u8; 3]
            });
            Grid {
                rect,
                rows: 4,
                cols: 4,
                cells: cells.collect(),
                score_milli: 1000,
                counted: true,
            }
        };
        let place = Detection { x: 10.0, y: 10.0, w: 100.0, h: 100.0, score: 1.0 };
        let one = from_cells(&[look(0)], place, 1e-4).unwrap();
        let many = from_cells(&(0..12).map(look).collect::<Vec<_>>(), place, 1e-4).unwrap();
        let window = Window { x: 10, y: 10, w: 100, h: 100 };
        let frame = truth.frame().unwrap();
        let truth = Still::cut(frame.view().unwrap(), window).unwrap().reduced(FINE, FINE);
        assert!(difference(&many, &truth) < difference(&one, &truth) / 1.5);
    }
}
