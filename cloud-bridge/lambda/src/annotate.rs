//! Owns the annotated picture: a redacted frame with a box around each face, coloured by what is said of it. Made on
//! request only; nothing reads one but a person. The only file that names the JPEG codec.
//!
//! | what is said | colour |
//! |---|---|
//! | mask | green |
//! | no mask | red |
//! | worn incorrectly | orange |
//! | too small to say | white |
//! | no face | blue |

use jpeg_decoder::{Decoder, PixelFormat};
use jpeg_encoder::{ColorType, Encoder};
use proto::{
    limits::{PICTURE_HEIGHT_MAX, PICTURE_WIDTH_MAX},
    manifest::Rect,
    result::{FaceLabel, FrameResult},
};

/// Quality of the JPEG: that of the frames.
const QUALITY: u8 = 85;
/// Most bytes of a decoded picture: three of each pixel of the largest one.
const DECODED_BYTES_MAX: usize = 3 * (PICTURE_WIDTH_MAX * PICTURE_HEIGHT_MAX) as usize;
/// Width of a line, and for how many pixels of the picture's width it grows by one.
const LINE_MIN: u32 = 2;
const LINE_EACH: u32 = 640;

/// Why there is no annotated picture.
#[derive(Debug, thiserror::Error)]
pub enum AnnotateError {
    /// The frame's picture cannot be decoded.
    #[error("picture: {0}")]
    Decode(#[from] jpeg_decoder::Error),
    /// It is not of the size or form that its manifest says.
    #[error("picture is {width}x{height} in {format}, its manifest says otherwise")]
    Other {
        /// Width in pixels.
        width: u16,
        /// Height in pixels.
        height: u16,
        /// How pixels are told.
        format: String,
    },
    /// The new picture cannot be encoded.
    #[error("annotated picture: {0}")]
    Encode(#[from] jpeg_encoder::EncodingError),
}

/// Colour of a box: red, green, blue.
#[must_use]
pub const fn colour(label: FaceLabel) -> [u8; 3] {
    match label {
        FaceLabel::Mask => [30, 190, 60],
        FaceLabel::NoMask => [225, 40, 40],
        FaceLabel::Incorrect => [255, 150, 0],
        FaceLabel::Uncertain => [255, 255, 255],
        FaceLabel::NotAFace => [60, 110, 240],
    }
}

/// The frame's picture with a box around each face of its result.
///
/// # Errors
/// When the picture is none, or not that of the result.
pub fn annotate(jpeg: &[u8], result: &FrameResult) -> Result<Vec<u8>, AnnotateError> {
    let mut decoder = Decoder::new(jpeg);
    decoder.set_max_decoding_buffer_size(DECODED_BYTES_MAX);
    let mut pixels = decoder.decode()?;
    let (mut width, mut height, mut format) = (0, 0, PixelFormat::L8);
    if let Some(info) = decoder.info() {
        (width, height, format) = (info.width, info.height, info.pixel_format);
    }
    let told = (u32::from(width), u32::from(height)) == (result.width, result.height);
    if !told || format != PixelFormat::RGB24 {
        return Err(AnnotateError::Other { width, height, format: format!("{format:?}") });
    }
    let line = LINE_MIN + result.width / LINE_EACH;
    for face in &result.faces {
        frame(&mut pixels, result.width, face.rect, line, colour(face.label));
    }
    let mut annotated = Vec::new();
    Encoder::new(&mut annotated, QUALITY).encode(&pixels, width, height, ColorType::Rgb)?;
    Ok(annotated)
}

/// Draws the edges of a rectangle, inside it.
fn frame(pixels: &mut [u8], width: u32, rect: Rect, line: u32, colour: [u8; 3]) {
    let (across, down) = (line.min(rect.w), line.min(rect.h));
    let edges = [
        Rect { h: down, ..rect },
        Rect { y: rect.y + rect.h - down, h: down, ..rect },
        Rect { w: across, ..rect },
        Rect { x: rect.x + rect.w - across, w: across, ..rect },
    ];
    for Rect { x, y, w, h } in edges {
        for row in y..y + h {
            let at = |x: u32| (row as usize * width as usize + x as usize) * 3;
            // A box outside the picture has no pixels; results are checked, and nothing here panics if one was not.
            let part = pixels.get_mut(at(x)..at(x + w)).unwrap_or_default();
            part.as_chunks_mut().0.iter_mut().for_each(|pixel: &mut [u8; 3]| *pixel = colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::{manifest::example, result::Placement};

    use super::*;
    use crate::classify::classify;

    fn picture(width: u16, height: u16) -> Vec<u8> {
        let pixels = vec![100; usize::from(width) * usize::from(height) * 3];
        let mut jpeg = Vec::new();
        Encoder::new(&mut jpeg, QUALITY).encode(&pixels, width, height, ColorType::Rgb).unwrap();
        jpeg
    }

    fn result() -> FrameResult {
        let mut model = models::ShadeClassifier::new(8, 2);
        classify(&example(), &mut model, Placement::Lambda).unwrap()
    }

    #[test]
    fn a_box_of_its_colour_is_around_each_face_and_nothing_else_is_changed() {
        let mut result = result();
        for label in [
            FaceLabel::Mask,
            FaceLabel::NoMask,
            FaceLabel::Incorrect,
            FaceLabel::Uncertain,
            FaceLabel::NotAFace,
        ] {
            result.faces[0].label = label;
            let annotated = annotate(&picture(640, 360), &result).unwrap();
            let mut decoder = Decoder::new(annotated.as_slice());
            let pixels = decoder.decode().unwrap();
            let at = |x: u32, y: u32| &pixels[((y * 640 + x) * 3) as usize..][..3];
            let near = |a: &[u8], b: [u8; 3]| a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 60);
            let rect = result.faces[0].rect;
            for (x, y) in [
                (rect.x + rect.w / 2, rect.y + 1),
                (rect.x + 1, rect.y + rect.h / 2),
                (rect.x + rect.w - 2, rect.y + rect.h / 2),
                (rect.x + rect.w / 2, rect.y + rect.h - 2),
            ] {
                assert!(near(at(x, y), colour(label)), "{label:?} at {x},{y}: {:?}", at(x, y));
            }
            let same = |x, y| at(x, y).iter().all(|v| v.abs_diff(100) < 4);
            assert!(same(rect.x + rect.w / 2, rect.y + rect.h / 2), "inside of the box");
            assert!(same(rect.x + rect.w + 24, rect.y) && same(0, 0), "beside it");
        }
    }

    #[test]
    fn what_is_no_picture_or_another_one_is_an_error() {
        let result = result();
        for (wrong, part) in [(b"hello".to_vec(), "picture"), (picture(64, 36), "64x36")] {
            let error = annotate(&wrong, &result).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let whole = picture(640, 360);
        for cut in (0..whole.len()).step_by(101) {
            // Whatever the decoder makes of a part, nothing panics.
            drop(annotate(&whole[..cut], &result));
        }
    }

    #[test]
    fn a_box_at_the_border_or_outside_harms_nothing() {
        let mut result = result();
        for rect in [
            Rect { x: 0, y: 0, w: 640, h: 360 },
            Rect { x: 639, y: 359, w: 1, h: 1 },
            Rect { x: 630, y: 350, w: 100, h: 100 },
            Rect { x: 9000, y: 9000, w: 10, h: 10 },
        ] {
            result.faces[0].rect = rect;
            assert!(annotate(&picture(640, 360), &result).is_ok(), "{rect:?}");
        }
    }
}
