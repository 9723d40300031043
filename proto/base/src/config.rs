//! Owns the loading of configuration: one TOML file per binary, unknown keys refused, errors that
//! name file and line.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a configuration cannot be used. Always a person's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be; the message has line, column and key.
    #[error("configuration {path}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// Values that do not go together; all of them, since a person mends them in one go.
    #[error("configuration {path}: {}", problems.join("; "))]
    Values {
        /// The file.
        path: PathBuf,
        /// One line for each problem, with its key.
        problems: Vec<String>,
    },
}

/// Reads a configuration. `T` denies unknown fields.
///
/// # Errors
/// When the file cannot be read, has an unknown key, or a value does not fit.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text)
        .map_err(|e| ConfigError::Parse { path: path.to_owned(), message: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        clip_s: u32,
    }

    #[test]
    fn an_unknown_key_is_refused_with_file_line_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.toml");
        std::fs::write(&path, "clip_s = 10\nclip_seconds = 10\n").unwrap();
        let error = load::<Sample>(&path).unwrap_err().to_string();
        for part in ["edge.toml", "line 2", "clip_seconds"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        std::fs::write(&path, "clip_s = 10\n").unwrap();
        assert_eq!(load::<Sample>(&path).unwrap().clip_s, 10);
    }
}
