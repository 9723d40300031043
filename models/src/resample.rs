//! Owns the way from a BGR picture to a network's input: scaled without aliasing, padded on the right and at the
//! bottom, as planes of `f32` in the order red, green, blue.
//!
//! A triangle filter is used, as wide as the reduction asks for: plain bilinear sampling skips pixels when it
//! makes a picture smaller, and small faces live in the pixels that it skips.

use crate::pixels::{CHANNELS, PixelView};

/// How a picture lies in a network's input: scaled to `width` x `height` in the left top corner of
/// `padded_width` x `padded_height`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Pixels of the scaled picture across.
    pub width: u32,
    /// Pixels of the scaled picture down.
    pub height: u32,
    /// Pixels of the input across, a multiple of what the network asks for.
    pub padded_width: u32,
    /// Pixels of the input down, a multiple of what the network asks for.
    pub padded_height: u32,
}

impl Fit {
    /// A picture of `width` x `height` whose longer side becomes `long_side` pixels, though it grows at most
    /// `upscale_max` times; the input's sides are multiples of `multiple`.
    #[must_use]
    pub fn new(width: u32, height: u32, long_side: u32, upscale_max: f32, multiple: u32) -> Self {
        let ratio = (f64::from(long_side) / f64::from(width.max(height))).min(f64::from(upscale_max));
        let scaled = |side: u32| ((f64::from(side) * ratio).round() as u32).max(1);
        let (fit_width, fit_height) = (scaled(width), scaled(height));
        Self {
            width: fit_width,
            height: fit_height,
            padded_width: fit_width.next_multiple_of(multiple),
            padded_height: fit_height.next_multiple_of(multiple),
        }
    }

    /// Values of one plane of the input.
    #[must_use]
    pub const fn plane(&self) -> usize {
        self.padded_width as usize * self.padded_height as usize
    }
}

/// What a network makes of a grey level: `(level - offset) * gain`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// Subtracted from 0..=255.
    pub offset: f32,
    /// Multiplied after.
    pub gain: f32,
}

/// The input `[1, 3, padded_height, padded_width]`, written over `planes` (its memory is used again). Padding is
/// what black becomes.
pub fn planes(view: PixelView<'_>, fit: Fit, levels: Levels, planes: &mut Vec<f32>) {
    planes.clear();
    planes.resize(fit.plane() * CHANNELS, -levels.offset * levels.gain);
    let down = Taps::new(view.height(), fit.height);
    let across = Taps::new(view.width(), fit.width);
    let mut tall = vec![0.0; view.width() as usize * CHANNELS];
    let padded_width = fit.padded_width as usize;
    let (red, rest) = planes.split_at_mut(fit.plane());
    let (green, blue) = rest.split_at_mut(fit.plane());
    let rows = red
        .chunks_exact_mut(padded_width)
        .zip(green.chunks_exact_mut(padded_width))
        .zip(blue.chunks_exact_mut(padded_width));
    for (taps, ((red, green), blue)) in down.iter().zip(rows) {
        sum_rows(view, taps, &mut tall);
        let outputs = red.iter_mut().zip(green).zip(blue);
        for (taps, ((red, green), blue)) in across.iter().zip(outputs) {
            let [b, g, r] = sum_pixels(&tall, taps);
            *red = (r - levels.offset) * levels.gain;
            *green = (g - levels.offset) * levels.gain;
            *blue = (b - levels.offset) * levels.gain;
        }
    }
}

/// One output row before it is made narrower: the weighted sum of input rows.
fn sum_rows(view: PixelView<'_>, taps: Tap<'_>, tall: &mut [f32]) {
    tall.fill(0.0);
    for (row, weight) in (taps.first..).zip(taps.weights) {
        for (sum, level) in tall.iter_mut().zip(view.row(row)) {
            *sum += f32::from(*level) * weight;
        }
    }
}

/// One output pixel out of a row of [`sum_rows`].
fn sum_pixels(tall: &[f32], taps: Tap<'_>) -> [f32; CHANNELS] {
    let start = taps.first as usize * CHANNELS;
    let pixels = tall.get(start..).unwrap_or_default().chunks_exact(CHANNELS);
    let mut sums = [0.0; CHANNELS];
    for (pixel, weight) in pixels.zip(taps.weights) {
        for (sum, level) in sums.iter_mut().zip(pixel) {
            *sum += level * weight;
        }
    }
    sums
}

/// The triangle filter along one side: for each output the inputs it is made of.
struct Taps {
    first: Vec<u32>,
    ends: Vec<usize>,
    weights: Vec<f32>,
}

/// The inputs `first..` of one output, with weights that add up to 1.
#[derive(Clone, Copy)]
struct Tap<'a> {
    first: u32,
    weights: &'a [f32],
}

impl Taps {
    fn new(from: u32, to: u32) -> Self {
        let step = f64::from(from) / f64::from(to);
        let support = step.max(1.0);
        let mut taps = Self { first: Vec::new(), ends: Vec::new(), weights: Vec::new() };
        for output in 0..to {
            let centre = (f64::from(output) + 0.5) * step - 0.5;
            let first = (centre - support).ceil().max(0.0) as u32;
            let last = ((centre + support).floor() as u32).min(from - 1);
            let weight = |input: u32| 1.0 - ((f64::from(input) - centre) / support).abs();
            let sum: f64 = (first..=last).map(weight).sum();
            taps.weights.extend((first..=last).map(|input| (weight(input) / sum) as f32));
            taps.first.push(first);
            taps.ends.push(taps.weights.len());
        }
        taps
    }

    fn iter(&self) -> impl Iterator<Item = Tap<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(self.ends.iter().copied());
        self.first.iter().zip(ranges).map(|(first, (start, end))| Tap {
            first: *first,
            weights: self.weights.get(start..end).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Levels = Levels { offset: 0.0, gain: 1.0 };

    fn run(width: u32, height: u32, bgr: &[u8], fit: Fit, levels: Levels) -> Vec<f32> {
        let view = PixelView::new(width, height, width as usize * CHANNELS, bgr).unwrap();
        let mut out = vec![99.0; 3];
        planes(view, fit, levels, &mut out);
        out
    }

    #[test]
    fn a_picture_keeps_its_shape_and_never_grows_beyond_the_limit() {
        let fit = Fit::new(1920, 1080, 1280, 2.0, 32);
        assert_eq!((fit.width, fit.height, fit.padded_width, fit.padded_height), (1280, 720, 1280, 736));
        let small = Fit::new(100, 50, 1280, 2.0, 32);
        assert_eq!((small.width, small.height), (200, 100));
        let thin = Fit::new(3000, 1, 300, 1.0, 32);
        assert_eq!((thin.width, thin.height, thin.padded_height), (300, 1, 32));
    }

    #[test]
    fn at_its_own_size_a_picture_is_only_reordered() {
        let bgr = [1, 2, 3, 4, 5, 6];
        let fit = Fit { width: 2, height: 1, padded_width: 2, padded_height: 1 };
        assert_eq!(run(2, 1, &bgr, fit, PLAIN), [3.0, 6.0, 2.0, 5.0, 1.0, 4.0]);
    }

    #[test]
    fn a_flat_picture_stays_flat_and_padding_is_black() {
        let fit = Fit { width: 7, height: 5, padded_width: 8, padded_height: 6 };
        let levels = Levels { offset: 127.0, gain: 1.0 / 128.0 };
        let out = run(40, 30, &[200; 3600], fit, levels);
        let (flat, black) = ((200.0 - 127.0) / 128.0, -127.0 / 128.0);
        for (index, value) in out.iter().enumerate() {
            let (x, y) = (index % 8, index / 8 % 6);
            let expected = if x < 7 && y < 5 { flat } else { black };
            assert!((value - expected).abs() < 1e-4, "{x},{y}: {value}");
        }
    }

    #[test]
    fn no_pixel_is_skipped_when_a_picture_becomes_smaller() {
        // One bright column at each place in turn must move the sum of the small picture equally, borders aside.
        let fit = Fit { width: 10, height: 1, padded_width: 10, padded_height: 1 };
        let total = |bright: usize| -> f32 {
            let bgr: Vec<u8> = (0..60 * 3).map(|i| if i / 3 == bright { 240 } else { 0 }).collect();
            run(60, 1, &bgr, fit, PLAIN).iter().take(10).sum()
        };
        for bright in 6..54 {
            assert!((total(bright) - 40.0).abs() < 0.5, "column {bright}: {}", total(bright));
        }
    }
}
