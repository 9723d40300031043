//! The only code that touches or encodes a pixel: pictures, drawing and JPEG (OpenCV), frames out of a clip (GStreamer).
//! Imported by `privacy` alone.

mod clip;
mod disposable;
mod gate;
mod mp4;
mod picture;

pub use clip::{Clip, ClipError};
pub use picture::{Area, Picture, PictureError};
