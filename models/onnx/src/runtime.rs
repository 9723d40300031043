//! Owns the ONNX Runtime library: loaded once a process, sessions with one thread each.

use std::path::{Path, PathBuf};

use models::{DetectError, Detection, PixelView};
use ort::{
    environment::Environment,
    session::{Session, SessionInputValue, builder::GraphOptimizationLevel},
    value::Tensor,
};
use proto::Digest;

/// Why a model cannot be used. Always a person's to mend: `celosia fetch` brings the files.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The runtime library is missing or not one.
    #[error("ONNX Runtime library {path}: {message}")]
    Library {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        message: String,
    },
    /// The model is missing or not one.
    #[error("model file {path}: {message}")]
    Model {
        /// The file.
        path: PathBuf,
        /// What the runtime says.
        message: String,
    },
    /// The JSON beside the model does not fit it.
    #[error("model description {path}: {message}")]
    Info {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        message: String,
    },
}

/// The loaded library.
pub struct Runtime(Environment);

impl Runtime {
    /// Loads the library.
    ///
    /// # Errors
    /// When the file is missing or is not ONNX Runtime.
    pub fn load(library: &Path) -> Result<Self, LoadError> {
        let wrong = |e: &dyn std::error::Error| LoadError::Library {
            path: library.to_owned(),
            message: e.to_string(),
        };
        let builder = ort::init_from(library).map_err(|e| wrong(&e))?;
        builder.with_name("celosia").build().map(Self).map_err(|e| wrong(&e))
    }

    /// A session with one thread and the digest of its model file.
    pub(crate) fn session(&self, path: &Path) -> Result<(Session, Digest), LoadError> {
        let wrong = |message: String| LoadError::Model { path: path.to_owned(), message };
        let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        models::assets::verify_known(path, &bytes).map_err(|e| wrong(e.to_string()))?;
        self.session_of(path, &bytes)
    }

    /// The same from bytes that are there already; `path` is for errors alone.
    pub(crate) fn session_of(
        &self,
        path: &Path,
        bytes: &[u8],
    ) -> Result<(Session, Digest), LoadError> {
        let wrong = |message: String| LoadError::Model { path: path.to_owned(), message };
        let open = || -> Result<Session, ort::Error> {
            let builder = Session::builder(&self.0)?;
            let builder = builder.with_optimization_level(GraphOptimizationLevel::All)?;
            // One thread: workers are one process a core, and two threads were slower on busy cores.
            builder.with_intra_threads(1)?.commit_from_memory(bytes)
        };
        let session = open().map_err(|e| wrong(e.to_string()))?;
        Ok((session, Digest::of(bytes)))
    }
}

/// Runs a session on float32 tensors (shape, values), in the order of its inputs, and copies its outputs.
pub(crate) fn run(
    session: &mut Session,
    inputs: Vec<(Vec<usize>, Vec<f32>)>,
) -> Result<Vec<Vec<f32>>, ort::Error> {
    let mut values: Vec<SessionInputValue<'_>> = Vec::with_capacity(inputs.len());
    for (shape, data) in inputs {
        values.push(Tensor::from_array((shape, data))?.into());
    }
    let outputs = session.run(&values[..])?;
    outputs.values().map(|value| Ok(value.try_extract_tensor::<f32>()?.1.to_vec())).collect()
}

/// A detector that returns one thing that is no box is not to be believed about the others.
#[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
pub(crate) fn all_sane(
    name: &str,
    found: Vec<Detection>,
    view: PixelView<'_>,
) -> Result<Vec<Detection>, DetectError> {
    let (width, height) = (view.width() as f32, view.height() as f32);
    if found.iter().all(|d| d.is_sane(width, height)) {
        Ok(found)
    } else {
        Err(DetectError::NotBoxes { name: name.to_owned() })
    }
}
