//! Owns the borrowed picture that detectors look at, and nothing that could outlive or change it.
//!
//! A [`PixelView`] is 8-bit BGR, rows from top to bottom, each row `stride` bytes after the one before. It is
//! how `vision` (OpenCV) and the detectors share pixels without knowing each other.

use std::fmt;

/// Bytes of one pixel: blue, green, red.
pub const CHANNELS: usize = 3;

/// A borrowed BGR picture that cannot be wrong: every row lies inside the slice.
#[derive(Clone, Copy)]
pub struct PixelView<'a> {
    width: u32,
    height: u32,
    stride: usize,
    bgr: &'a [u8],
}

/// A picture's numbers do not describe its bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PixelError {
    /// Width or height is zero, or over the limit of `proto`.
    #[error(
        "a picture of {width}x{height} pixels: sides are 1..={}x{}",
        proto::limits::PICTURE_WIDTH_MAX,
        proto::limits::PICTURE_HEIGHT_MAX
    )]
    Size {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// A row would reach into the next one, or the last row out of the slice.
    #[error("{width}x{height} pixels with a stride of {stride} do not fit into {bytes} bytes")]
    Bytes {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// Bytes from row to row.
        stride: usize,
        /// Bytes given.
        bytes: usize,
    },
}

impl<'a> PixelView<'a> {
    /// A view of `width` x `height` pixels in `bgr`, rows `stride` bytes apart.
    ///
    /// # Errors
    /// [`PixelError`] when a side is zero or over `proto::limits`, or when the rows do not fit into `bgr`.
    pub fn new(width: u32, height: u32, stride: usize, bgr: &'a [u8]) -> Result<Self, PixelError> {
        use proto::limits::{PICTURE_HEIGHT_MAX, PICTURE_WIDTH_MAX};
        if width == 0 || height == 0 || width > PICTURE_WIDTH_MAX || height > PICTURE_HEIGHT_MAX {
            return Err(PixelError::Size { width, height });
        }
        let row = width as usize * CHANNELS;
        let needed =
            stride.checked_mul(height as usize - 1).and_then(|bytes| bytes.checked_add(row));
        if stride < row || needed.is_none_or(|needed| needed > bgr.len()) {
            return Err(PixelError::Bytes { width, height, stride, bytes: bgr.len() });
        }
        Ok(Self { width, height, stride, bgr })
    }

    /// Pixels across.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Pixels down.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// The bytes of row `y`, `3 * width` of them; empty when `y` is below the picture.
    #[must_use]
    pub fn row(&self, y: u32) -> &'a [u8] {
        if y >= self.height {
            return &[];
        }
        let start = self.stride * y as usize;
        self.bgr.get(start..start + self.width as usize * CHANNELS).unwrap_or_default()
    }

    /// Rows from top to bottom.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let view = *self;
        (0..self.height).map(move |y| view.row(y))
    }
}

impl fmt::Debug for PixelView<'_> {
    /// The size only: pixels never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PixelView({}x{})", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_whose_rows_leave_the_slice_is_refused() {
        let bytes = [0u8; 6 * 8];
        assert!(PixelView::new(2, 8, 6, &bytes).is_ok());
        assert!(PixelView::new(2, 9, 6, &bytes).is_err(), "one row too many");
        assert!(PixelView::new(3, 5, 8, &bytes).is_err(), "rows overlap");
        assert!(PixelView::new(2, 2, usize::MAX, &bytes).is_err(), "stride overflows");
        assert!(PixelView::new(0, 1, 6, &bytes).is_err());
        assert!(PixelView::new(5000, 1, 15_000, &[0; 15_000]).is_err(), "wider than 4K");
    }

    #[test]
    fn rows_skip_the_padding_and_the_last_row_needs_none() {
        let bytes: Vec<u8> = (0..11).collect();
        let view = PixelView::new(1, 2, 8, &bytes).unwrap();
        assert_eq!(view.rows().collect::<Vec<_>>(), [&[0, 1, 2], &[8, 9, 10]]);
        assert!(view.row(2).is_empty());
    }

    #[test]
    fn debug_prints_the_size_and_no_pixel() {
        let view_bytes = [77u8; 3];
        let view = PixelView::new(1, 1, 3, &view_bytes).unwrap();
        assert_eq!(format!("{view:?}"), "PixelView(1x1)");
    }
}
