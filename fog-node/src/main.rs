//! Command line of the fog node.

mod redact;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use base::exit::{CONFIG, FAILED};
use clap::{Parser, Subcommand};
use fog_node::{
    config::Config,
    sandbox,
    service::{self, StartError},
    worker,
};

/// Takes frames out of clips, redacts every face, checks its own work and seals what is left.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The fog node: takes clips from gateways, commits redacted frames to the bridge.
    #[command(after_help = EXAMPLES)]
    Serve(Serve),
    /// The process that decodes and redacts: clips on standard input, envelopes on standard output. Started by its parent.
    Worker(worker::Options),
    /// Redacts one video file of at most 60 s and writes the sealed frames to a folder.
    #[command(after_help = "Examples:\n  fog-node redact street.mp4 --out frames --every 5s\n  \
                      fog-node redact street.mp4 --out frames --static-region '0,0 0.3,0 0.3,0.25'")]
    Redact(redact::Options),
    /// Prints the redaction policies of this build with their digests as JSON, the default first: what a site's grant names.
    Policies(Policies),
}

#[derive(clap::Args)]
struct Policies {
    /// The policies together with what this file says is always filled.
    #[arg(long, value_name = "FILE")]
    static_regions: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Serve {
    /// The configuration, TOML. Relative paths in it count from its folder.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only read and check the configuration.
    #[arg(long)]
    check: bool,
}

const EXAMPLES: &str = "\
Examples:
  fog-node serve --config /etc/celosia/fog.toml
  fog-node serve --config fog.toml --check

A configuration:
  site = \"town\"
  name = \"fog-1\"
  credentials = \"pki/fog\"           # chain.pem, key.pem, roots.pem
  listen = \"0.0.0.0:4433\"           # UDP
  advertise = \"fog-1.town:4433\"     # how edges reach it; by default the address above
  bridge = \"bridge.town:4434\"
  broker = { host = \"localhost\", port = 8883 }
  workers = 2                         # by default one a core, half a gigabyte each; more work side by side
  assets = \"assets\"                 # what `celosia fetch` brought
  policy = \"default\"                # or strict, solid
  static_regions = \"windows.toml\"  # what is always filled: cameras with polygons of fractions of width and height,
                                      # door = [\"0,0 0.3,0 0.3,0.25\", \"0.8,0 1,0 1,1\"]; the grant must name the digest
                                      # that `fog-node policies --static-regions windows.toml` prints
  seal_key = \"seal.key\"             # 64 hexadecimal digits
  grant = \"grant.json\"              # the site's permission for that key
  state = \"state\"                    # numbers of what is usual on each camera, learned in its first week; no pictures
  clip_deadline = \"60s\"             # 1s to 10m; longer lets a hanging decoder block a core for longer
  allow_swap = false                  # true: raw video in memory may be swapped to a disk

  [gateways]                          # a camera is taken from its own gateway only
  gw-1 = [\"door\", \"archive\"]

Exit codes: 0 done, 1 failed, 64 the configuration is wrong.";

fn main() -> ExitCode {
    let arguments: Arguments = match base::cli::arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    base::telemetry::init();
    let done = match arguments.command {
        Command::Serve(options) => serve(&options),
        Command::Worker(options) => work(&options),
        Command::Redact(options) => redact::run(&options).map_err(|error| (FAILED, error)),
        Command::Policies(options) => print_policies(&options).map_err(|error| (FAILED, error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => {
            tracing::error!(error = format!("{error:#}"), "stopped");
            ExitCode::from(code)
        }
    }
}

fn serve(options: &Serve) -> Result<(), (u8, anyhow::Error)> {
    let config = Config::load(&options.config).map_err(|error| (CONFIG, error.into()))?;
    if options.check {
        return Ok(());
    }
    sandbox::shield().map_err(|error| (FAILED, error.into()))?;
    let program = std::env::current_exe().context("this binary's own path");
    let program = program.map_err(|error| (FAILED, error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| (FAILED, error.into()))?;
    let ended = runtime.block_on(async {
        let shutdown = base::Shutdown::listen().context("signal handlers");
        let shutdown = shutdown.map_err(|error| (FAILED, error))?;
        let worker = config.worker.clone();
        let ended = service::run(config, move || worker.command(&program), shutdown).await;
        ended.map_err(|error: StartError| {
            let code = if error.is_misuse() { CONFIG } else { FAILED };
            (code, error.into())
        })
    });
    // A worker's thread that hangs must not hold up the end; the kernel ends its process with ours.
    runtime.shutdown_background();
    ended
}

fn work(options: &worker::Options) -> Result<(), (u8, anyhow::Error)> {
    let pipeline = worker::open(options).map_err(|error| (CONFIG, error))?;
    worker::serve(pipeline).map_err(|error| (FAILED, error))
}

#[expect(clippy::print_stdout, reason = "the answer of the command")]
fn print_policies(options: &Policies) -> anyhow::Result<()> {
    let regions = options.static_regions.as_ref().map(|file| base::config::load(file));
    let regions: privacy::StaticRegions = regions.transpose()?.unwrap_or_default();
    let policies = privacy::Policy::all()
        .map(|policy| policy.with_static_regions(regions.clone()).reference());
    println!("{}", serde_json::to_string(&policies)?);
    Ok(())
}
