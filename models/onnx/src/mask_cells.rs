//! Owns a session of a mask classifier: it reads cells over a face.

use std::path::Path;

use models::{
    CellInput, ClassifierInfo, MaskClassifier, MaskProbabilities, classifier::ClassifyError,
    weights::Shipped,
};
use ort::session::Session;
use proto::Digest;

use crate::runtime::{LoadError, Runtime, run};

/// The mask classifier: inputs `cells` float32 [n, rows, cols, 3] (0 to 255) and `log_box` float32 [n, 1]; output
/// probabilities float32 [n, 4] in the order mask, no mask, incorrect, not a face, calibrated inside the graph.
pub struct MaskCells {
    session: Session,
    info: ClassifierInfo,
}

impl MaskCells {
    /// Opens a model and the JSON file of the same name beside it.
    ///
    /// # Errors
    /// When a file is missing, the JSON is not of the expected form, or its digest is not the model's.
    pub fn open(runtime: &Runtime, path: &Path) -> Result<Self, LoadError> {
        let opened = runtime.session(path)?;
        let beside = path.with_extension("json");
        let text = std::fs::read(&beside);
        let text =
            text.map_err(|e| LoadError::Info { path: beside.clone(), message: e.to_string() });
        Self::described(opened, &beside, &text?)
    }

    /// Opens a model that is part of this build.
    ///
    /// # Errors
    /// When the library does not take it.
    pub fn shipped(runtime: &Runtime, shipped: &Shipped) -> Result<Self, LoadError> {
        let path = Path::new(shipped.name);
        Self::described(runtime.session_of(path, shipped.model)?, path, shipped.description)
    }

    fn described(
        (session, digest): (Session, Digest),
        beside: &Path,
        text: &[u8],
    ) -> Result<Self, LoadError> {
        let wrong = |message: String| LoadError::Info { path: beside.to_owned(), message };
        let info: ClassifierInfo =
            serde_json::from_slice(text).map_err(|e| wrong(e.to_string()))?;
        if info.digest != digest {
            return Err(wrong(format!(
                "it is for a model with digest {}, not {digest}",
                info.digest
            )));
        }
        Ok(Self { session, info })
    }

    fn failed(&self, message: impl ToString) -> ClassifyError {
        ClassifyError::Run { name: self.info.name.clone(), message: message.to_string() }
    }
}

impl MaskClassifier for MaskCells {
    fn classify(
        &mut self,
        faces: &[CellInput<'_>],
    ) -> Result<Vec<MaskProbabilities>, ClassifyError> {
        if faces.is_empty() {
            return Ok(Vec::new());
        }
        let (rows, cols) = (usize::from(self.info.rows), usize::from(self.info.cols));
        if let Some(other) = faces.iter().find(|face| face.cells.len() != rows * cols * 3) {
            let name = self.info.name.clone();
            let bytes = other.cells.len();
            return Err(ClassifyError::Shape {
                name,
                rows: self.info.rows,
                cols: self.info.cols,
                bytes,
            });
        }
        let cells = faces.iter().flat_map(|f| f.cells.iter().map(|v| f32::from(*v))).collect();
        let boxes = faces.iter().map(CellInput::log_box).collect();
        let inputs = vec![(vec![faces.len(), rows, cols, 3], cells), (vec![faces.len(), 1], boxes)];
        let outputs = run(&mut self.session, inputs).map_err(|e| self.failed(e))?;
        let values = outputs.first().map(Vec::as_slice).unwrap_or_default();
        let (rows, rest) = values.as_chunks();
        let answers: Option<Vec<_>> = rows.iter().copied().map(MaskProbabilities::new).collect();
        match answers {
            Some(answers) if answers.len() == faces.len() && rest.is_empty() => Ok(answers),
            _ => Err(self.failed("its output is no distribution of four for each face")),
        }
    }

    fn info(&self) -> &ClassifierInfo {
        &self.info
    }
}
