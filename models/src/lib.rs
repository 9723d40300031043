//! Face detectors and the mask classifier behind traits: pre- and post-processing as pure functions, and the registry
//! of third-party assets. Running a network is the business of crate `onnx`.

pub mod agreement;
pub mod assets;
pub mod centerface;
pub mod classifier;
pub mod detector;
pub mod pixels;
pub mod pyramid;
pub mod ultraface;
pub mod weights;

pub use agreement::Finding;
pub use classifier::{
    CellInput, ClassifierInfo, MaskClassifier, MaskProbabilities, ShadeClassifier,
};
pub use detector::{DetectError, Detection, FaceDetector, Family};
pub use pixels::PixelView;
