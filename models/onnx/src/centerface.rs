//! Owns a CenterFace session: several scales, one list of boxes.

use std::path::Path;

use models::{
    DetectError, Detection, FaceDetector, Family, PixelView, centerface as decoder,
    detector::suppress,
    pixels::{Norm, Window},
};
use ort::session::Session;
use proto::Digest;

use crate::runtime::{LoadError, Runtime, run};

const NAME: &str = "centerface";
const NORM: Norm = Norm { mean: 0.0, scale: 1.0 };

/// CenterFace at some scales.
pub struct CenterFace {
    session: Session,
    digest: Digest,
    long_sides: Vec<usize>,
    threshold: f32,
}

impl CenterFace {
    /// Opens the prepared model. `long_sides`: pixels of the longer side at each scale that is run; `threshold`: 0 to
    /// 1, lower finds more.
    ///
    /// # Errors
    /// When the file is missing or no model.
    pub fn open(
        runtime: &Runtime,
        path: &Path,
        long_sides: Vec<usize>,
        threshold: f32,
    ) -> Result<Self, LoadError> {
        let (session, digest) = runtime.session(path)?;
        Ok(Self { session, digest, long_sides, threshold })
    }

    #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
    fn at_scale(&mut self, view: PixelView<'_>, long: usize) -> Result<Vec<Detection>, ort::Error> {
        let (w, h) = decoder::input_size(view.width(), view.height(), long);
        let whole = Window { x: 0, y: 0, w: view.width(), h: view.height() };
        let planes = view.planes(whole, w, h, NORM);
        let back = (view.width() as f32 / w as f32, view.height() as f32 / h as f32);
        let outputs = run(&mut self.session, vec![([1, 3, h, w].to_vec(), planes)])?;
        let [heat, scale, offset, ..] = &outputs[..] else {
            return Err(ort::Error::new("the model has too few outputs"));
        };
        let outputs = decoder::Outputs { heat, scale, offset, columns: w / 4 };
        decoder::decode(outputs, self.threshold, back)
            .ok_or_else(|| ort::Error::new("the model's outputs do not belong together"))
    }
}

impl FaceDetector for CenterFace {
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        let mut all = Vec::new();
        for long in self.long_sides.clone() {
            let found = self.at_scale(view, long).map_err(|e| failed(&e))?;
            let found = crate::runtime::all_sane(NAME, found, view)?;
            all.extend(suppress(found, decoder::OVERLAP_MAX));
            // A picture no larger than this scale gives the same input at every larger one.
            if view.width().max(view.height()) <= long {
                break;
            }
        }
        Ok(all)
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn family(&self) -> Family {
        Family::CenterFace
    }
}

fn failed(error: &ort::Error) -> DetectError {
    DetectError::Run { name: NAME.to_owned(), message: error.to_string() }
}
