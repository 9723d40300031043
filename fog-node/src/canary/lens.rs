//! Owns what a canary must share with its camera so that it is no sticker: how sharp the picture is and how noisy.

use models::{
    PixelView,
    pixels::{Norm, Window},
};

/// Sharpness and noise of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lens {
    /// Standard deviation of the blur, in pixels.
    pub blur: f32,
    /// Standard deviation of the noise, in grey levels.
    pub noise: f32,
}

/// Rows that are looked at, evenly spread.
const ROWS: usize = 64;
/// Blurs that are told apart, in pixels: a sharper lens than the first cannot be seen, a worse one shows no faces.
const BLURS: [f32; 12] = [0.3, 0.5, 0.7, 0.9, 1.2, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.5];
/// Share of the strongest steps that count as edges.
const EDGES: f32 = 0.01;

impl Lens {
    /// Measured on rows of the picture: an edge's step over two pixels against its step over eight says how blurred it is;
    /// the middle curvature of the rest is noise.
    #[must_use]
    pub fn of(view: PixelView<'_>) -> Self {
        let (width, every) = (view.width(), (view.height() / ROWS).max(1));
        let (mut steps, mut curves) = (Vec::new(), Vec::new());
        for y in (0..view.height()).step_by(every) {
            let row = Window { x: 0, y, w: width, h: 1 };
            let planes = view.planes(row, width, 1, Norm { mean: 0.0, scale: 1.0 });
            let grey: Vec<f32> = (0..width)
                .map(|x| [0, 1, 2].map(|plane| planes.get(plane * width + x).copied()))
                .map(|[r, g, b]| (r.unwrap_or(0.0) + g.unwrap_or(0.0) + b.unwrap_or(0.0)) / 3.0)
                .collect();
            for at in grey.as_slice().windows(9) {
                let &[a, .., b, c, d, _, _, e] = at else { continue };
                steps.push(((e - a).abs(), (d - b).abs()));
                curves.push((b - 2.0 * c + d).abs());
            }
        }
        Self { blur: blur(&mut steps), noise: noise(&mut curves) }
    }
}

/// By the strongest steps over eight pixels, and what of them happens within the middle two.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a position in a list"
)]
fn blur(steps: &mut [(f32, f32)]) -> f32 {
    steps.sort_by(|a, b| b.0.total_cmp(&a.0));
    let edges = (steps.len() as f32 * EDGES) as usize + 1;
    let mut shares: Vec<f32> =
        steps.iter().take(edges).map(|(eight, two)| two / eight.max(1.0)).collect();
    shares.sort_by(f32::total_cmp);
    // Most of the windows have their edge beside the middle; the steepest tenth have it there.
    let share = shares.get(shares.len() * 9 / 10).copied().unwrap_or(1.0);
    // A step of standard deviation s shows erf(n / (s sqrt 8)) of itself within n pixels around its middle.
    let shown = |s: f32, pixels: f32| erf(pixels / (s * 8.0f32.sqrt()));
    let near = |s: &f32| (shown(*s, 2.0) / shown(*s, 8.0) - share).abs();
    BLURS.into_iter().min_by(|a, b| near(a).total_cmp(&near(b))).unwrap_or(1.0)
}

/// The median curvature of noise alone, as a standard deviation.
fn noise(curves: &mut [f32]) -> f32 {
    curves.sort_by(f32::total_cmp);
    // Half of |b - 2c + d| lies below 0.6745 times sqrt 6 of the noise.
    curves.get(curves.len() / 2).copied().unwrap_or(0.0) / (0.6745 * 6.0f32.sqrt())
}

/// Abramowitz and Stegun 7.1.26, good to 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let sum = terms.iter().fold(0.0, |sum, term| (sum + term) * t);
    1.0 - sum * (-x * x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bars of two brightnesses, blurred by `sigma`, with a noise of about `level`.
    fn bars(sigma: f32, level: f32) -> Vec<u8> {
        let edge = |x: f32| 0.5 + 0.5 * erf((x.abs()) / (sigma * 2.0f32.sqrt())) * x.signum();
        let mut state = 1u32;
        let mut bytes = Vec::new();
        for _ in 0..64 {
            for x in 0..256 {
                let near = (x as f32 + 0.5) % 64.0 - 32.0;
                let up = (x / 64) % 2 == 0;
                let value = 60.0 + 120.0 * if up { edge(near) } else { 1.0 - edge(near) };
                let mut uniform = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / 16_777_216.0 - 0.5
                };
                // Twelve uniforms have the variance of one normal.
                let normal: f32 = (0..12).map(|_| uniform()).sum();
                bytes.extend([(value + level * normal).round().clamp(0.0, 255.0) as u8; 3]);
            }
        }
        bytes
    }

    fn lens(sigma: f32, level: f32) -> Lens {
        Lens::of(PixelView::new(256, 64, &bars(sigma, level)).unwrap())
    }

    #[test]
    fn blur_and_noise_are_found_again() {
        for sigma in [0.7, 1.2, 2.0, 3.2] {
            let found = lens(sigma, 2.0);
            assert!((found.blur / sigma - 1.0).abs() < 0.35, "{sigma}: {found:?}");
            assert!((found.noise - 2.0).abs() < 0.8, "{sigma}: {found:?}");
        }
        assert!(lens(1.2, 6.0).noise > 4.5);
        assert!(lens(1.2, 0.0).noise < 0.5);
    }
}
