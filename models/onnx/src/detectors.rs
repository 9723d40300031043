//! Owns the detectors as the product runs them: one constructor for the fog, for measuring and for tests.

use std::path::Path;

use models::{centerface, ultraface};

use crate::{CenterFace, LoadError, Runtime, UltraFace};

/// Who finds faces and who checks.
pub struct Detectors {
    /// Finds faces.
    pub detector: CenterFace,
    /// Checks the redaction; of another family.
    pub auditor: UltraFace,
}

impl Detectors {
    /// Opens both from the folder that `celosia fetch` filled.
    ///
    /// # Errors
    /// When a file is missing or no model.
    pub fn open(runtime: &Runtime, assets: &Path) -> Result<Self, LoadError> {
        let detector = assets.join("centerface.onnx");
        let detector = CenterFace::finding(runtime, &detector, centerface::finding())?;
        let auditor = assets.join("ultraface-any-size.onnx");
        let auditor = UltraFace::finding(runtime, &auditor, ultraface::finding())?;
        Ok(Self { detector, auditor })
    }
}
