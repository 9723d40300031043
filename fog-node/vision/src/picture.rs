//! Owns a picture in memory: 8-bit blue, green, red, wiped on drop. It is not `Clone`, and `Debug` prints its size only.

use models::PixelView;
use opencv::{
    core::{Mat, Vector},
    imgcodecs, imgproc,
    prelude::*,
};

/// Why a picture cannot be read, drawn on or written.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The bytes are no picture that we read.
    #[error("not a picture: {0}")]
    Decode(String),
    /// The picture could not be encoded.
    #[error("picture could not be encoded: {0}")]
    Encode(String),
    /// Bytes and size do not fit.
    #[error("a picture of {width}x{height} needs three bytes a pixel, there are {bytes}")]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes given.
        bytes: usize,
    },
}

/// A rectangle of whole pixels; whatever lies outside the picture is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns.
    pub w: u32,
    /// Rows.
    pub h: u32,
}

/// A picture.
pub struct Picture {
    width: u32,
    height: u32,
    bgr: Vec<u8>,
}

impl Picture {
    /// A picture of packed blue, green, red bytes.
    ///
    /// # Errors
    /// When there are not exactly `width * height * 3` bytes, or none.
    pub fn new(width: u32, height: u32, bgr: Vec<u8>) -> Result<Self, PictureError> {
        let wanted = u64::from(width) * u64::from(height) * 3;
        if wanted == 0 || wanted != bgr.len() as u64 {
            return Err(PictureError::Size { width, height, bytes: bgr.len() });
        }
        Ok(Self { width, height, bgr })
    }

    /// Decodes a still picture (JPEG, PNG): for evaluation and for looking at what was sealed.
    ///
    /// # Errors
    /// When the bytes are no picture.
    pub fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        let wrong = |e: opencv::Error| PictureError::Decode(e.message);
        let data = Vector::<u8>::from_slice(bytes);
        let mat = imgcodecs::imdecode(&data, imgcodecs::IMREAD_COLOR).map_err(wrong)?;
        let size = mat.size().map_err(wrong)?;
        let side = |n: i32| u32::try_from(n).unwrap_or(0);
        let bgr = mat.data_bytes().map_err(wrong)?.to_vec();
        Self::new(side(size.width), side(size.height), bgr)
    }

    /// Width in pixels.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// The picture as detectors see it.
    #[must_use]
    pub fn view(&self) -> Option<PixelView<'_>> {
        PixelView::new(self.width as usize, self.height as usize, &self.bgr)
    }

    /// A copy to draw on. Named so that a search finds every copy of a raw picture.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { width: self.width, height: self.height, bgr: self.bgr.clone() }
    }

    /// The bytes of one row of an area, cut to the picture.
    #[must_use]
    pub fn row(&self, y: u32, x: u32, w: u32) -> &[u8] {
        self.range(y, x, w).and_then(|range| self.bgr.get(range)).unwrap_or(&[])
    }

    fn range(&self, y: u32, x: u32, w: u32) -> Option<std::ops::Range<usize>> {
        let end = x.saturating_add(w).min(self.width);
        if y >= self.height || x >= end {
            return None;
        }
        let row = y as usize * self.width as usize;
        Some((row + x as usize) * 3..(row + end as usize) * 3)
    }

    /// Fills an area with one colour (red, green, blue).
    pub fn fill(&mut self, area: Area, [r, g, b]: [u8; 3]) {
        for y in area.y..area.y.saturating_add(area.h).min(self.height) {
            let range = self.range(y, area.x, area.w);
            let Some(row) = range.and_then(|range| self.bgr.get_mut(range)) else { return };
            for pixel in row.as_chunks_mut::<3>().0 {
                *pixel = [b, g, r];
            }
        }
    }

    /// Encodes afresh as JPEG of a quality from 1 to 100: no metadata, no thumbnail.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn encode_jpeg(&self, quality: u8) -> Result<Vec<u8>, PictureError> {
        let wrong = |e: opencv::Error| PictureError::Encode(e.message);
        let flat = Mat::from_slice(&self.bgr).map_err(wrong)?;
        let rows = i32::try_from(self.height).map_err(|e| PictureError::Encode(e.to_string()))?;
        let mat = flat.reshape(3, rows).map_err(wrong)?;
        let flags = Vector::from_slice(&[imgcodecs::IMWRITE_JPEG_QUALITY, i32::from(quality)]);
        let mut out = Vector::<u8>::new();
        let done = imgcodecs::imencode(".jpg", &mat, &mut out, &flags).map_err(wrong)?;
        done.then(|| out.to_vec()).ok_or_else(|| PictureError::Encode("refused".to_owned()))
    }

    /// A smaller or larger copy by area averaging: for evaluation and tests.
    ///
    /// # Errors
    /// When the size is empty.
    pub fn resized(&self, width: u32, height: u32) -> Result<Self, PictureError> {
        let wrong = |e: opencv::Error| PictureError::Decode(e.message);
        let rows = i32::try_from(self.height).map_err(|e| PictureError::Decode(e.to_string()))?;
        let side = |n: u32| i32::try_from(n).map_err(|e| PictureError::Decode(e.to_string()));
        let flat = Mat::from_slice(&self.bgr).map_err(wrong)?;
        let mat = flat.reshape(3, rows).map_err(wrong)?;
        let size = opencv::core::Size::new(side(width)?, side(height)?);
        let mut out = Mat::default();
        imgproc::resize(&mat, &mut out, size, 0.0, 0.0, imgproc::INTER_AREA).map_err(wrong)?;
        Self::new(width, height, out.data_bytes().map_err(wrong)?.to_vec())
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // As `Zeroize` does it, but not byte by byte: there are millions.
        self.bgr.fill(0);
        zeroize::optimization_barrier(self.bgr.as_slice());
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filling_stops_at_the_border() {
        let mut picture = Picture::new(4, 3, vec![7; 36]).unwrap();
        picture.fill(Area { x: 2, y: 1, w: 100, h: u32::MAX }, [1, 2, 3]);
        assert_eq!(picture.row(1, 0, 4), [7, 7, 7, 7, 7, 7, 3, 2, 1, 3, 2, 1]);
        assert_eq!(picture.row(0, 0, 4), [7; 12]);
        picture.fill(Area { x: 4, y: 0, w: 1, h: 1 }, [9, 9, 9]);
        assert_eq!(picture.row(0, 0, 4), [7; 12]);
    }

    #[test]
    fn a_jpeg_reads_back_near_to_what_it_was_and_carries_no_metadata() {
        let picture = Picture::new(64, 48, vec![120; 64 * 48 * 3]).unwrap();
        let jpeg = picture.encode_jpeg(90).unwrap();
        let back = Picture::decode(&jpeg).unwrap();
        assert_eq!((back.width(), back.height()), (64, 48));
        assert!(back.row(20, 0, 64).iter().all(|v| v.abs_diff(120) <= 2));
        // APP1 (Exif, XMP) and APP13 markers.
        assert!(!jpeg.windows(2).any(|w| w == [0xFF, 0xE1] || w == [0xFF, 0xED]));
    }

    #[test]
    fn debug_prints_the_size_only() {
        let picture = Picture::new(1, 1, vec![201, 202, 203]).unwrap();
        assert_eq!(format!("{picture:?}"), "Picture(1x1)");
    }
}
