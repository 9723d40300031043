//! Owns a CenterFace session: several scales, one list of boxes.

use std::path::Path;

use models::{
    DetectError, Detection, FaceDetector, Family, Finding, PixelView,
    agreement::{agreed, voted},
    centerface as decoder,
    pixels::Norm,
    pyramid::{self, Level},
};
use ort::session::Session;
use proto::Digest;

use crate::runtime::{LoadError, Runtime, all_sane, run};

const NAME: &str = "centerface";
const NORM: Norm = Norm { mean: 0.0, scale: 1.0 };

/// CenterFace at some scales.
pub struct CenterFace {
    session: Session,
    digest: Digest,
    finding: Finding,
}

impl CenterFace {
    /// Opens the prepared model so that every box counts whose score is over `threshold` (0 to 1, lower finds more) at
    /// one of the scales. `long_sides`: pixels of the longer side at each.
    ///
    /// # Errors
    /// When the file is missing or no model.
    pub fn open(
        runtime: &Runtime,
        path: &Path,
        long_sides: Vec<usize>,
        threshold: f32,
    ) -> Result<Self, LoadError> {
        Self::finding(runtime, path, Finding::plain(long_sides, threshold))
    }

    /// Opens the prepared model.
    ///
    /// # Errors
    /// When the file is missing or no model.
    pub fn finding(runtime: &Runtime, path: &Path, finding: Finding) -> Result<Self, LoadError> {
        let (session, digest) = runtime.session(path)?;
        Ok(Self { session, digest, finding })
    }

    fn at_level(
        &mut self,
        view: PixelView<'_>,
        level: &Level,
    ) -> Result<Vec<Detection>, ort::Error> {
        let (planes, w, h) = level.padded(decoder::MULTIPLE);
        let outputs = run(&mut self.session, vec![([1, 3, h, w].to_vec(), planes)])?;
        let [heat, scale, offset, ..] = &outputs[..] else {
            return Err(ort::Error::new("the model has too few outputs"));
        };
        let outputs = decoder::Outputs { heat, scale, offset, columns: w / 4 };
        decoder::decode(outputs, self.finding.seen, level.back(view))
            .ok_or_else(|| ort::Error::new("the model's outputs do not belong together"))
    }
}

impl FaceDetector for CenterFace {
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        let mut scales = Vec::new();
        for level in pyramid::levels(view, &self.finding.long_sides, NORM) {
            let found = self.at_level(view, &level).map_err(|error| DetectError::Run {
                name: NAME.to_owned(),
                message: error.to_string(),
            })?;
            scales.push(voted(&all_sane(NAME, found, view)?, decoder::OVERLAP_MAX));
        }
        Ok(agreed(&scales, &self.finding))
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
