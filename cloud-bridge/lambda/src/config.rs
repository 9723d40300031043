//! Owns what the environment of the function says, read once at its start.

use std::path::{Path, PathBuf};

use models::weights;
use proto::{result::Placement, signing::PublicKey};
use store::Settings;

/// The variables that do not fit; all of them.
#[derive(Debug, thiserror::Error)]
#[error("environment: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where frames and results are. Keys come from the standard AWS environment.
    pub store: Settings,
    /// The site's seal root: what another one granted is not believed.
    pub seal_root: PublicKey,
    /// The ONNX Runtime library.
    pub library: PathBuf,
    /// What results say of where they were made.
    pub placement: Placement,
    /// The model; its description lies beside it.
    pub model: PathBuf,
}

impl Config {
    /// Reads the environment through `lookup`; `beside` is the folder of the program.
    ///
    /// # Errors
    /// With all problems at once.
    pub fn read(
        lookup: impl Fn(&str) -> Option<String>,
        beside: &Path,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut needed = |name: &str| {
            let value = lookup(name).filter(|value| !value.is_empty());
            value.unwrap_or_else(|| {
                problems.push(format!("{name} is not set"));
                String::new()
            })
        };
        let frames_bucket = needed("CELOSIA_FRAMES_BUCKET");
        let results_bucket = needed("CELOSIA_RESULTS_BUCKET");
        let region = needed("AWS_REGION");
        let root = needed("CELOSIA_SEAL_ROOT");
        let endpoint = lookup("CELOSIA_S3_ENDPOINT").filter(|value| !value.is_empty());
        let store = Settings { endpoint, region, frames_bucket, results_bucket };
        if problems.is_empty() {
            problems.extend(store.problems());
        }
        let seal_root = root.parse::<PublicKey>();
        if seal_root.is_err() && !root.is_empty() {
            problems.push("CELOSIA_SEAL_ROOT: write 64 hexadecimal digits".to_owned());
        }
        let placement = match lookup("CELOSIA_PLACEMENT").as_deref() {
            None | Some("" | "lambda") => Placement::Lambda,
            Some("fog") => Placement::Fog,
            Some(other) => {
                problems.push(format!("CELOSIA_PLACEMENT: {other:?} is neither lambda nor fog"));
                Placement::Lambda
            }
        };
        let assets = lookup("CELOSIA_ASSETS").map(PathBuf::from);
        let library = assets.unwrap_or_else(|| beside.to_owned()).join("libonnxruntime.so");
        let model = lookup("CELOSIA_MODEL").map(PathBuf::from);
        let model =
            model.unwrap_or_else(|| beside.join(format!("{}.onnx", weights::OF_CELLS.name)));
        match seal_root {
            Ok(seal_root) if problems.is_empty() => {
                Ok(Self { store, seal_root, library, placement, model })
            }
            Ok(_) | Err(_) => Err(ConfigError(problems)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &[(&str, Option<&str>)]) -> Result<Config, ConfigError> {
        let root = proto::signing::SigningKey::from_seed(&[1; 32]).unwrap().public().to_string();
        let lookup = |name: &str| {
            if let Some((_, value)) = changes.iter().find(|(changed, _)| *changed == name) {
                return value.map(str::to_owned);
            }
            match name {
                "CELOSIA_FRAMES_BUCKET" => Some("frames".to_owned()),
                "CELOSIA_RESULTS_BUCKET" => Some("results".to_owned()),
                "AWS_REGION" => Some("eu-south-2".to_owned()),
                "CELOSIA_SEAL_ROOT" => Some(root.clone()),
                _ => None,
            }
        };
        Config::read(lookup, Path::new("/var/task"))
    }

    #[test]
    fn on_aws_everything_else_lies_beside_the_program() {
        let config = read(&[]).unwrap();
        assert_eq!(config.library, Path::new("/var/task/libonnxruntime.so"));
        assert_eq!(config.model.parent(), Some(Path::new("/var/task")));
        assert_eq!(
            (config.model.file_stem().unwrap(), config.placement),
            (weights::OF_CELLS.name.as_ref(), Placement::Lambda)
        );
        let fog = read(&[("CELOSIA_PLACEMENT", Some("fog"))]).unwrap();
        assert_eq!(fog.placement, Placement::Fog);
        assert_eq!(config.store.endpoint, None);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let wrong = [
            ("CELOSIA_FRAMES_BUCKET", None),
            ("AWS_REGION", Some("")),
            ("CELOSIA_SEAL_ROOT", Some("abc")),
            ("CELOSIA_PLACEMENT", Some("moon")),
        ];
        let error = read(&wrong).unwrap_err().to_string();
        for (name, _) in wrong {
            assert!(error.contains(name), "{name} is not in: {error}");
        }
        let same = read(&[("CELOSIA_RESULTS_BUCKET", Some("frames"))]).unwrap_err().to_string();
        assert!(same.contains("a bucket each"), "{same}");
    }
}
