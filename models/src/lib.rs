//! Face detectors and mask classifiers as the rest of the system sees them, and the registry of the files
//! they need.
//!
//! Everything here is pure or plain I/O: pictures come in as borrowed [`pixels::PixelView`]s, tensors are
//! vectors of `f32`, and the crate `onnx` alone runs networks. Nothing here draws on, encodes or keeps a pixel.

pub mod detect;
pub mod mask;
pub mod pixels;
pub mod twins;
