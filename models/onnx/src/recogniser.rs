//! Owns sessions of public face recognisers. The product never runs one: measurements of attacks do.

use std::path::Path;

use models::DetectError;
use ort::session::Session;

use crate::runtime::{LoadError, Runtime, run};

const NAME: &str = "recogniser";

/// A face recogniser: input float32 [1, 3, 112, 112], red, green, blue planes of (level - 127.5) / 128; output an
/// embedding of any length whose direction tells people apart.
pub struct Recogniser(Session);

impl Recogniser {
    /// Files of the assets folder that are recognisers: one of 512 numbers a face, and a MobileFaceNet of 192.
    pub const FILES: [&str; 2] = ["recogniser.onnx", "mobilefacenet.onnx"];
    /// Sides of the input in pixels.
    pub const SIDE: usize = 112;

    /// Opens the model.
    ///
    /// # Errors
    /// When the file is missing or no model.
    pub fn open(runtime: &Runtime, path: &Path) -> Result<Self, LoadError> {
        Ok(Self(runtime.session(path)?.0))
    }

    /// The embedding, of length 1, of red, green, blue planes of [`Self::SIDE`] squared levels from 0 to 255.
    ///
    /// # Errors
    /// When the network cannot be run or returns no direction.
    pub fn embed(&mut self, planes: &[f32]) -> Result<Vec<f32>, DetectError> {
        let failed = |message: String| DetectError::Run { name: NAME.to_owned(), message };
        let input = planes.iter().map(|level| (level - 127.5) / 128.0).collect();
        let shape = vec![1, 3, Self::SIDE, Self::SIDE];
        let outputs = run(&mut self.0, vec![(shape, input)]).map_err(|e| failed(e.to_string()))?;
        let embedding = outputs.into_iter().next().unwrap_or_default();
        let length = embedding.iter().map(|v| v * v).sum::<f32>().sqrt();
        if length > 0.0 && length.is_finite() {
            Ok(embedding.into_iter().map(|v| v / length).collect())
        } else {
            Err(failed("its output has no direction".to_owned()))
        }
    }
}
