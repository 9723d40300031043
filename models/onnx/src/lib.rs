//! Runs the networks of crate `models` with ONNX Runtime: the only crate that names `ort`.

mod centerface;
mod detectors;
mod mask_cells;
mod recogniser;
mod runtime;
mod ultraface;

pub use centerface::CenterFace;
pub use detectors::Detectors;
pub use mask_cells::MaskCells;
pub use recogniser::Recogniser;
pub use runtime::{LoadError, Runtime};
pub use ultraface::UltraFace;
