//! Owns where the programs of a site are: our own beside the running one, Mosquitto where Debian puts it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use proto::manifest::PolicyRef;

/// Folders in which Mosquitto is looked for after those of `PATH`: Debian's is not in a user's.
const SERVER_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Why a program cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The folder of the running program is not known.
    #[error("where this program is: {0}")]
    Folder(std::io::Error),
    /// One of ours is missing.
    #[error("{0} is not there: build it with `cargo build --release` or use deploy/up")]
    Missing(PathBuf),
    /// Mosquitto is missing.
    #[error("mosquitto is not installed: deploy/install installs it")]
    Mosquitto,
    /// A program did not answer as it should.
    #[error("{program} {command}: {message}")]
    Answer {
        /// The file.
        program: PathBuf,
        /// What it was asked.
        command: &'static str,
        /// What it said.
        message: String,
    },
}

/// The programs of a site.
#[derive(Debug, Clone)]
pub struct Programs {
    /// This one.
    pub celosia: PathBuf,
    /// The gateway.
    pub edge: PathBuf,
    /// The fog node.
    pub fog: PathBuf,
    /// The bridge.
    pub bridge: PathBuf,
    /// The console.
    pub console: PathBuf,
    /// The function.
    pub function: PathBuf,
    /// The MQTT broker.
    pub mosquitto: PathBuf,
}

impl Programs {
    /// Those beside the running program.
    ///
    /// # Errors
    /// When one is missing.
    pub fn find() -> Result<Self, ProgramError> {
        let own = std::env::current_exe().map_err(ProgramError::Folder)?;
        Self::in_folder(own.parent().unwrap_or(Path::new("/")))
    }

    /// Those of a folder.
    ///
    /// # Errors
    /// When one is missing.
    pub fn in_folder(folder: &Path) -> Result<Self, ProgramError> {
        let ours = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { Ok(path) } else { Err(ProgramError::Missing(path)) }
        };
        Ok(Self {
            celosia: ours("celosia")?,
            edge: ours("edge-agent")?,
            fog: ours("fog-node")?,
            bridge: ours("cloud-bridge")?,
            console: ours("console")?,
            function: ours("mask-lambda")?,
            mosquitto: mosquitto().ok_or(ProgramError::Mosquitto)?,
        })
    }

    /// The redaction policies that the fog node knows, with what is always filled: what the site's grant names.
    ///
    /// # Errors
    /// When it does not say, or a static region is none.
    pub fn policies(&self, static_regions: Option<&Path>) -> Result<Vec<PolicyRef>, ProgramError> {
        let failed = |message: String| ProgramError::Answer {
            program: self.fog.clone(),
            command: "policies",
            message,
        };
        let mut command = Command::new(&self.fog);
        command.arg("policies");
        if let Some(file) = static_regions {
            command.arg("--static-regions").arg(file);
        }
        let output = command.output();
        let output = output.map_err(|e| failed(e.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| failed(e.to_string()))
    }
}

fn mosquitto() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SERVER_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join("mosquitto")).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("celosia"), "").unwrap();
        let error = Programs::in_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("edge-agent") && error.contains("cargo build"), "{error}");
    }
}
