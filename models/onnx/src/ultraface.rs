//! Owns an UltraFace session: the auditor, of another family than CenterFace.

use std::path::Path;

use models::{
    DetectError, Detection, FaceDetector, Family, PixelView, detector::suppress, pixels::Window,
    ultraface as decoder,
};
use ort::session::Session;
use proto::Digest;

use crate::runtime::{LoadError, Runtime, run};

const NAME: &str = "ultraface";

/// UltraFace over the whole picture and windows of it.
pub struct UltraFace {
    session: Session,
    digest: Digest,
    threshold: f32,
}

impl UltraFace {
    /// Opens the model. `threshold`: 0 to 1.
    ///
    /// # Errors
    /// When the file is missing or no model.
    pub fn open(runtime: &Runtime, path: &Path, threshold: f32) -> Result<Self, LoadError> {
        let (session, digest) = runtime.session(path)?;
        Ok(Self { session, digest, threshold })
    }

    fn in_window(
        &mut self,
        view: PixelView<'_>,
        from: Window,
    ) -> Result<Vec<Detection>, ort::Error> {
        let (w, h) = (decoder::INPUT_WIDTH, decoder::INPUT_HEIGHT);
        let planes = view.planes(from, w, h, decoder::NORM);
        let outputs = run(&mut self.session, vec![([1, 3, h, w].to_vec(), planes)])?;
        let [scores, boxes] = &outputs[..] else {
            return Err(ort::Error::new("the model does not have two outputs"));
        };
        decoder::decode(scores, boxes, self.threshold, from)
            .ok_or_else(|| ort::Error::new("the model's outputs do not belong together"))
    }
}

impl FaceDetector for UltraFace {
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        let mut all = Vec::new();
        for window in decoder::windows(view.width(), view.height()) {
            let found = self.in_window(view, window).map_err(|error| DetectError::Run {
                name: NAME.to_owned(),
                message: error.to_string(),
            })?;
            all.extend(crate::runtime::all_sane(NAME, found, view)?);
        }
        Ok(suppress(all, decoder::OVERLAP_MAX))
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn family(&self) -> Family {
        Family::UltraFace
    }
}
