//! Owns pictures as measurements change them (cut, scaled) and their way back into the product's own redaction. No
//! pixel is redacted here.

use models::{
    Detection, PixelView,
    pixels::{Norm, Window},
};
use privacy::{
    Noise, Policy, RawFrame,
    measure::{Followed, cells_of},
};
use proto::manifest::Grid;

/// A picture: planes of red, green, blue, 0 to 255.
#[derive(Clone)]
pub(crate) struct Still {
    pub width: usize,
    pub height: usize,
    pub planes: Vec<f32>,
}

const PLAIN: Norm = Norm { mean: 0.0, scale: 1.0 };

impl Still {
    /// A window of a picture at its own scale; a window that leaves the picture is cut.
    pub(crate) fn cut(view: PixelView<'_>, window: Window) -> Option<Self> {
        let x = window.x.min(view.width());
        let y = window.y.min(view.height());
        let (w, h) = (window.w.min(view.width() - x), window.h.min(view.height() - y));
        (w > 0 && h > 0).then(|| Self {
            width: w,
            height: h,
            planes: view.planes(Window { x, y, w, h }, w, h, PLAIN),
        })
    }

    /// The whole picture at another size, bilinear: for enlarging.
    pub(crate) fn scaled(view: PixelView<'_>, width: usize, height: usize) -> Self {
        let whole = Window { x: 0, y: 0, w: view.width(), h: view.height() };
        Self { width, height, planes: view.planes(whole, width, height, PLAIN) }
    }

    /// The picture at a smaller size, each new pixel the mean of what it covers.
    pub(crate) fn reduced(&self, width: usize, height: usize) -> Self {
        let (columns, rows) = (spans(self.width, width), spans(self.height, height));
        let mut planes = Vec::with_capacity(3 * width * height);
        for plane in self.planes.chunks_exact(self.width * self.height) {
            let narrow: Vec<f32> = plane
                .chunks_exact(self.width)
                .flat_map(|row| columns.iter().map(|span| mean(span, |x| row.get(x).copied())))
                .collect();
            for span in &rows {
                for x in 0..width {
                    planes.push(mean(span, |y| narrow.get(y * width + x).copied()));
                }
            }
        }
        Self { width, height, planes }
    }

    /// Red, green, blue of a pixel, counted row by row.
    pub(crate) fn pixel(&self, at: usize) -> [f32; 3] {
        let size = self.width * self.height;
        [0, 1, 2].map(|plane| self.planes.get(plane * size + at).copied().unwrap_or(0.0))
    }

    /// Changes a pixel.
    pub(crate) fn set(&mut self, at: usize, colour: [f32; 3]) {
        let size = self.width * self.height;
        for (plane, value) in colour.into_iter().enumerate() {
            if let Some(pixel) = self.planes.get_mut(plane * size + at) {
                *pixel = value;
            }
        }
    }

    /// The picture as the product reads one: through a lossless file.
    pub(crate) fn frame(&self) -> anyhow::Result<RawFrame> {
        let mut file = format!("P6\n{} {}\n255\n", self.width, self.height).into_bytes();
        let size = self.width * self.height;
        let (red, rest) = self.planes.split_at(size.min(self.planes.len()));
        let (green, blue) = rest.split_at(size.min(rest.len()));
        for ((r, g), b) in red.iter().zip(green).zip(blue) {
            file.extend([r, g, b].map(|v| level(*v)));
        }
        Ok(RawFrame::from_still(&file, crate::cells::meta())?)
    }
}

/// A grey level as a byte.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a byte right before"
)]
pub(crate) fn level(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// Positions and weights of the old pixels that each of `to` new ones covers along a side of `from`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "picture sides are under 2^16"
)]
fn spans(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let ratio = from as f32 / to.max(1) as f32;
    (0..to)
        .map(|i| {
            let (low, high) = (i as f32 * ratio, (i + 1) as f32 * ratio);
            (low.floor() as usize..(high.ceil() as usize).min(from))
                .map(|at| (at, (high.min(at as f32 + 1.0) - low.max(at as f32)).max(1e-6)))
                .collect()
        })
        .collect()
}

fn mean(span: &[(usize, f32)], at: impl Fn(usize) -> Option<f32>) -> f32 {
    let (mut sum, mut weight) = (0.0, 0.0);
    for &(position, share) in span {
        if let Some(value) = at(position) {
            sum += value * share;
            weight += share;
        }
    }
    if weight > 0.0 { sum / weight } else { 0.0 }
}

/// The cells of one face, each face alone; nothing when the box is too small for them or lies outside.
pub(crate) fn cells(
    frame: &RawFrame,
    found: Detection,
    policy: &Policy,
    noise: &Noise,
) -> anyhow::Result<Option<Grid>> {
    Ok(cells_of(frame, &[found], policy, noise)?.into_iter().next())
}

/// The same in the next frame of a face that is followed.
pub(crate) fn followed(
    faces: &mut Followed,
    frame: &RawFrame,
    found: Detection,
    policy: &Policy,
    noise: &Noise,
) -> anyhow::Result<Option<Grid>> {
    Ok(faces.cells_of(frame, &[found], policy, noise)?.into_iter().next())
}

/// The cells as a picture, one pixel a cell.
pub(crate) fn drawn(grid: &Grid) -> Still {
    let (rows, columns) = (usize::from(grid.rows), usize::from(grid.cols));
    let colours = grid.cells.as_chunks::<3>().0;
    let plane = |channel: usize| {
        colours.iter().filter_map(move |colour| colour.get(channel)).map(|v| f32::from(*v))
    };
    let planes = (0..3).flat_map(plane).collect();
    Still { width: columns, height: rows, planes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reduced_picture_keeps_its_mean_and_a_frame_keeps_its_levels() {
        let planes: Vec<f32> = (0..3 * 7 * 5).map(|i| (i % 97) as f32).collect();
        let still = Still { width: 7, height: 5, planes };
        let small = still.reduced(3, 2);
        for (a, b) in still.planes.chunks(35).zip(small.planes.chunks(6)) {
            let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
            assert!((mean(a) - mean(b)).abs() < 1e-3);
        }
        let frame = still.frame().unwrap();
        let view = frame.view().unwrap();
        let back = Still::cut(view, Window { x: 0, y: 0, w: 100, h: 100 }).unwrap();
        assert_eq!((back.width, back.height, &back.planes), (7, 5, &still.planes));
    }
}
