//! Owns the borrowed view of a picture that detectors get, and its scaling into network input.

/// A borrowed picture: 8-bit blue, green, red, rows packed without padding. `Debug` prints the size only.
#[derive(Clone, Copy)]
pub struct PixelView<'a> {
    width: usize,
    height: usize,
    bgr: &'a [u8],
}

impl<'a> PixelView<'a> {
    /// A view of `width * height * 3` bytes; nothing when there are not exactly as many, or none.
    #[must_use]
    pub fn new(width: usize, height: usize, bgr: &'a [u8]) -> Option<Self> {
        let bytes = width.checked_mul(height)?.checked_mul(3)?;
        (bytes > 0 && bgr.len() == bytes).then_some(Self { width, height, bgr })
    }

    /// Width in pixels.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub const fn height(&self) -> usize {
        self.height
    }

    /// The picture at half its sides as planes of red, green, blue: each value the mean of two by two. A last odd row or
    /// column is left out.
    #[must_use]
    pub fn halved(&self, norm: Norm) -> Vec<f32> {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut planes = vec![0.0; 3 * width * height];
        let (red, rest) = planes.split_at_mut(width * height);
        let (green, blue) = rest.split_at_mut(width * height);
        let mut out = red.iter_mut().zip(green).zip(blue);
        // A division takes as long as all the rest together, and rows add up many bytes at a time, pixels do not.
        let factor = norm.scale.recip();
        let value = |left: f32, right: f32| ((left + right) * 0.25 - norm.mean) * factor;
        let mut sums = vec![0.0; self.width * 3];
        for rows in self.bgr.chunks_exact(self.width * 6) {
            let (above, below) = rows.split_at(self.width * 3);
            for ((sum, above), below) in sums.iter_mut().zip(above).zip(below) {
                *sum = f32::from(u16::from(*above) + u16::from(*below));
            }
            for ([b0, g0, r0, b1, g1, r1], ((r, g), b)) in
                sums.as_chunks::<6>().0.iter().zip(&mut out)
            {
                *b = value(*b0, *b1);
                *g = value(*g0, *g1);
                *r = value(*r0, *r1);
            }
        }
        planes
    }

    /// Scales a rectangle of the picture (in pixels, inside it) to `width * height` and writes it as planes of red,
    /// green, blue: `(value - mean) / scale`. Bilinear with pixel centres, as OpenCV's `INTER_LINEAR`.
    #[must_use]
    pub fn planes(&self, from: Window, width: usize, height: usize, norm: Norm) -> Vec<f32> {
        let mut planes = vec![0.0; 3 * width * height];
        let (columns, rows) = (axis(from.x, from.w, width), axis(from.y, from.h, height));
        let (red, rest) = planes.split_at_mut(width * height);
        let (green, blue) = rest.split_at_mut(width * height);
        let lines = [blue, green, red].map(|plane| plane.chunks_exact_mut(width.max(1)));
        let [mut blue, mut green, mut red] = lines;
        // Neighbouring output rows share input rows: each is scaled across once.
        let mut low = Line::new(width);
        let mut high = Line::new(width);
        let factor = norm.scale.recip();
        for &(y0, y1, fy) in &rows {
            if high.row == Some(y0) {
                std::mem::swap(&mut low, &mut high);
            }
            low.scale(self, y0, &columns);
            high.scale(self, y1, &columns);
            let out = [blue.next(), green.next(), red.next()];
            for ((out, low), high) in out.into_iter().zip(&low.colours).zip(&high.colours) {
                for ((out, low), high) in out.into_iter().flatten().zip(low).zip(high) {
                    *out = (low + (high - low) * fy - norm.mean) * factor;
                }
            }
        }
        planes
    }
}

impl std::fmt::Debug for PixelView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PixelView({}x{})", self.width, self.height)
    }
}

/// A rectangle of whole pixels inside a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Left edge.
    pub x: usize,
    /// Top edge.
    pub y: usize,
    /// Width.
    pub w: usize,
    /// Height.
    pub h: usize,
}

/// One row of the picture scaled across, one vector for each of blue, green, red.
struct Line {
    row: Option<usize>,
    colours: [Vec<f32>; 3],
}

impl Line {
    fn new(width: usize) -> Self {
        Self { row: None, colours: [(); 3].map(|()| vec![0.0; width]) }
    }

    fn scale(&mut self, view: &PixelView<'_>, y: usize, columns: &[(usize, usize, f32)]) {
        if self.row == Some(y) {
            return;
        }
        self.row = Some(y);
        let bytes = view.bgr.get(y * view.width * 3..).unwrap_or(&[]);
        let pixels = bytes.as_chunks::<3>().0;
        let [blue, green, red] = &mut self.colours;
        let out = blue.iter_mut().zip(green).zip(red);
        for (((b, g), r), &(x0, x1, fx)) in out.zip(columns) {
            let (Some(left), Some(right)) = (pixels.get(x0), pixels.get(x1)) else { return };
            for ((out, left), right) in [b, g, r].into_iter().zip(left).zip(right) {
                let (left, right) = (f32::from(*left), f32::from(*right));
                *out = left + (right - left) * fx;
            }
        }
    }
}

/// How pixel values become network input.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// Taken from each value.
    pub mean: f32,
    /// Divides each value after that; exactly where it is a power of two.
    pub scale: f32,
}

/// For each output position: the two input positions and the weight of the second.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "picture sides are under 2^16 and the value is clamped to the picture"
)]
pub(crate) fn axis(start: usize, from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let ratio = from as f32 / to as f32;
    let last = from.saturating_sub(1);
    (0..to)
        .map(|i| {
            let at = ((i as f32 + 0.5) * ratio - 0.5).clamp(0.0, last as f32);
            let low = at.floor() as usize;
            (start + low, start + (low + 1).min(last), at - low as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Norm = Norm { mean: 0.0, scale: 1.0 };

    #[test]
    fn a_view_needs_exactly_its_bytes() {
        assert!(PixelView::new(2, 2, &[0; 12]).is_some());
        for (w, h, n) in [(2, 2, 11), (2, 2, 13), (0, 2, 0), (usize::MAX, 2, 12)] {
            assert!(PixelView::new(w, h, &vec![0; n]).is_none());
        }
    }

    #[test]
    fn halving_averages_two_by_two_and_leaves_out_an_odd_edge() {
        // Three by three; only the first two by two counts: blue 1 to 4, green 10 to 40, red 100 to 130.
        let pixel = |i: u8| [i, 10 * i, 90 + 10 * i];
        let rows = [[pixel(1), pixel(2), [9; 3]], [pixel(3), pixel(4), [9; 3]], [[9; 3]; 3]];
        let bytes = rows.concat().concat();
        let view = PixelView::new(3, 3, &bytes).unwrap();
        assert_eq!(view.halved(PLAIN), [115.0, 25.0, 2.5]);
        let norm = Norm { mean: 15.0, scale: 2.0 };
        assert_eq!(view.halved(norm), [50.0, 5.0, -6.25]);
    }

    #[test]
    fn scaling_keeps_colours_apart_and_averages_neighbours() {
        // Two pixels, blue-green-red: (10, 20, 30) and (30, 40, 50); their middle is (20, 30, 40).
        let view = PixelView::new(2, 1, &[10, 20, 30, 30, 40, 50]).unwrap();
        let whole = Window { x: 0, y: 0, w: 2, h: 1 };
        assert_eq!(view.planes(whole, 1, 1, PLAIN), [40.0, 30.0, 20.0]);
        assert_eq!(view.planes(whole, 2, 1, PLAIN), [30.0, 50.0, 20.0, 40.0, 10.0, 30.0]);
        let right = Window { x: 1, y: 0, w: 1, h: 1 };
        let norm = Norm { mean: 10.0, scale: 2.0 };
        assert_eq!(view.planes(right, 1, 1, norm), [20.0, 15.0, 10.0]);
    }
}
