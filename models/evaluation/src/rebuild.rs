//! Owns reconstruction: from the cells of many looks to one finer picture, and from blurred pictures back to sharp ones.

use models::Detection;
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
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "some pixels")]
    pub(crate) fn gaussian(sigma: f32) -> Self {
        let reach = (3.0 * sigma).ceil() as i32;
        let weights =
            (-reach..=reach).map(|at| (at as f32, (-0.5 * (at as f32 / sigma).powi(2)).exp()));
        Self(weights.collect()).normalised()
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
        self.0.iter().map(|(at, weight)| weight * (wave * at).cos()).sum()
    }
}

/// The picture blurred across and down, borders mirrored, in whole grey levels as a file would have them.
pub(crate) fn blurred(still: &Still, kernel: &Kernel) -> Still {
    let (width, height) = (still.width, still.height);
    let mut planes = Vec::with_capacity(still.planes.len());
    for plane in still.planes.chunks_exact(width * height) {
        let rows: Vec<f32> = plane.chunks_exact(width).flat_map(|row| along(row, kernel)).collect();
        let columns = (0..width).map(|x| {
            let column: Vec<f32> = rows.iter().skip(x).step_by(width).copied().collect();
            along(&column, kernel)
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

/// The sharp picture behind blurred ones of the same place: their mean, each half wave divided by what the blur left of
/// it (Wiener; `noise` is the power of noise over that of the picture).
pub(crate) fn from_blurred(looks: &[Still], kernel: &Kernel, noise: f32) -> Option<Still> {
    let first = looks.first()?;
    let (across, down) = (waves(kernel, first.width), waves(kernel, first.height));
    let turn = cosines();
    let mut planes = Vec::with_capacity(3 * SHARP * SHARP);
    let small: Vec<Still> = looks.iter().map(|look| look.reduced(SHARP, SHARP)).collect();
    for channel in 0..3 {
        let mut mean = DMatrix::<f32>::zeros(SHARP, SHARP);
        for look in &small {
            let plane = look.planes.get(channel * SHARP * SHARP..(channel + 1) * SHARP * SHARP)?;
            mean += DMatrix::from_row_slice(SHARP, SHARP, plane);
        }
        #[expect(clippy::cast_precision_loss, reason = "a few looks")]
        let n = looks.len() as f32;
        let mut wave = &turn * (mean / n) * turn.transpose();
        for (k, mut row) in wave.row_iter_mut().enumerate() {
            for (l, value) in row.iter_mut().enumerate() {
                let kept = down.get(k).zip(across.get(l)).map_or(1.0, |(a, b)| a * b);
                *value *= kept / (kept * kept + noise);
            }
        }
        let sharp = turn.transpose() * wave * &turn;
        planes.extend(sharp.transpose().iter().map(|value| value.clamp(0.0, 255.0)));
    }
    Some(Still { width: SHARP, height: SHARP, planes })
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

    fn waves_of(width: usize, height: usize) -> Still {
        let at = |i: usize| {
            let (x, y) = ((i % width) as f32 / width as f32, (i / width) as f32 / height as f32);
            128.0 + 60.0 * (x * 12.0).sin() * (y * 9.0).cos()
        };
        let plane: Vec<f32> = (0..width * height).map(at).collect();
        Still { width, height, planes: [plane.clone(), plane.clone(), plane].concat() }
    }

    fn difference(a: &Still, b: &Still) -> f32 {
        let pairs = a.planes.iter().zip(&b.planes);
        pairs.map(|(a, b)| (a - b).abs()).sum::<f32>() / a.planes.len() as f32
    }

    #[test]
    fn a_gaussian_blur_is_undone() {
        let sharp = waves_of(96, 120);
        let kernel = Kernel::gaussian(8.0);
        let blurred = blurred(&sharp, &kernel);
        let back = from_blurred(std::slice::from_ref(&blurred), &kernel, 1e-5).unwrap();
        let (sharp, blurred) = (sharp.reduced(SHARP, SHARP), blurred.reduced(SHARP, SHARP));
        let (rebuilt, seen) = (difference(&back, &sharp), difference(&blurred, &sharp));
        // What is left lies at the borders, beyond which the kernel reaches and nothing is known.
        assert!(rebuilt < seen / 2.0, "{rebuilt} of {seen} grey levels are left");
    }

    #[test]
    fn shifted_cells_without_noise_give_a_finer_picture_than_one_look() {
        let truth = waves_of(120, 120);
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
        let window = models::pixels::Window { x: 10, y: 10, w: 100, h: 100 };
        let frame = truth.frame().unwrap();
        let truth = Still::cut(frame.view().unwrap(), window).unwrap().reduced(FINE, FINE);
        assert!(difference(&many, &truth) < difference(&one, &truth) / 1.5);
    }
}
