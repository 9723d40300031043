//! Owns where everything is in a state folder.

use std::path::{Path, PathBuf};

use proto::CameraId;

/// Where everything is in a state folder.
#[derive(Debug, Clone)]
pub struct Layout {
    state: PathBuf,
}

impl Layout {
    /// Of this state folder, an absolute path.
    #[must_use]
    pub const fn new(state: PathBuf) -> Self {
        Self { state }
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Logs of the processes.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// Configuration of a process, such as `edge.toml`.
    #[must_use]
    pub fn config(&self, name: &str) -> PathBuf {
        self.state.join("config").join(name)
    }

    /// Credentials of a process.
    #[must_use]
    pub fn credentials(&self, process: &str) -> PathBuf {
        self.state.join("pki").join(process)
    }

    /// Where the gateway keeps how far it has read the file of a camera.
    #[must_use]
    pub fn run_of(&self, camera: &CameraId) -> PathBuf {
        self.state.join("edge").join(format!("run-{camera}.json"))
    }

    /// URL of the results database.
    #[must_use]
    pub fn database(&self) -> String {
        format!("sqlite:{}", self.state.join("results.db").display())
    }

    /// Keys of a process for the object store, in the form of the AWS tools.
    #[must_use]
    pub fn store_credentials(&self, process: &str) -> PathBuf {
        self.credentials(process).join("aws-credentials")
    }

    pub(super) fn model(&self) -> PathBuf {
        self.state.join("models").join(format!("{}.onnx", models::weights::OF_CELLS.name))
    }
}
