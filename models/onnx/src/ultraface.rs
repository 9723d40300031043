//! Owns an UltraFace session: the auditor, of another family than CenterFace.

use std::path::Path;

use models::{
    DetectError, Detection, FaceDetector, Family, Finding, PixelView,
    agreement::{agreed, voted},
    pyramid::{self, Level},
    ultraface as decoder,
};
use ort::session::Session;
use proto::Digest;

use crate::runtime::{LoadError, Runtime, all_sane, run};

const NAME: &str = "ultraface";

/// UltraFace at some scales.
pub struct UltraFace {
    session: Session,
    digest: Digest,
    finding: Finding,
}

impl UltraFace {
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
        // Scores, then corners, of each head.
        let pairs = outputs.as_chunks::<2>().0;
        let heads: Vec<decoder::Head<'_>> =
            pairs.iter().map(|[scores, corners]| decoder::Head { scores, corners }).collect();
        decoder::decode(&heads, (w, h), self.finding.seen, level.back(view))
            .ok_or_else(|| ort::Error::new("the model's outputs do not belong together"))
    }
}

impl FaceDetector for UltraFace {
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        let mut scales = Vec::new();
        for level in pyramid::levels(view, &self.finding.long_sides, decoder::NORM) {
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
        Family::UltraFace
    }
}
