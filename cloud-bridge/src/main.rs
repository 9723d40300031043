//! The command line of the bridge.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use base::{Fault, Faulty};
use clap::Parser;
use cloud_bridge::{
    config::Config,
    service::{self, StartError},
};

/// Takes redacted clips from fog nodes, carries them to the object store, and collects their results.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// The configuration, TOML. Relative paths in it count from its folder.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only read and check the configuration.
    #[arg(long)]
    check: bool,
}

const EXAMPLES: &str = "\
Examples:
  cloud-bridge --config /etc/celosia/bridge.toml
  cloud-bridge --config bridge.toml --check

A configuration:
  site = \"town\"
  name = \"bridge-1\"
  credentials = \"pki/bridge\"          # chain.pem, key.pem, roots.pem
  listen = \"0.0.0.0:4434\"             # UDP, for fog nodes
  outbox = \"outbox\"
  outbox_bytes_max = 20000000000      # at least 335544320; when it is full, edges keep their clips
  database = \"sqlite:results.db\"      # or postgres://USER@HOST/NAME
  seal_root = \"seal-root.pub\"         # public, 64 hexadecimal digits
  receipt_key = \"receipt.key\"         # secret seed, 64 hexadecimal digits
  receipt_after = \"outbox\"            # or store: no single disk loses a clip, an outage of the store holds up edges
  broker = { host = \"localhost\", port = 8883 }
  pack = \"frame\"                      # clip with Amazon S3: the frames of a clip as one object; cheaper, seen later
  inference = \"lambda\"               # or fog: the same function in a host beside the bridge, which asks it itself
  poll = \"500ms\"                      # 2s with Amazon S3, where each look costs; results are shown that much later
  poll_max = \"5s\"                     # 60s with Amazon S3; while a result does not come
  list_each = \"10s\"                   # 5m with Amazon S3; for results that are not where they were looked for

  [store]
  endpoint = \"http://127.0.0.1:9000\"  # not for Amazon S3
  region = \"eu-west-1\"
  frames_bucket = \"town-frames\"
  results_bucket = \"town-results\"

  [function]
  endpoint = \"http://127.0.0.1:9001\"  # not for AWS Lambda
  name = \"mask\"
  overdue = \"60s\"                     # then the function is invoked again
  tries_max = 5                       # then the frame is given up and shown

Keys of store and function come from the standard AWS environment, such as AWS_SHARED_CREDENTIALS_FILE.

Exit codes: 0 done, 1 it failed, 64 the configuration is wrong.";

fn main() -> ExitCode {
    let arguments: Arguments = match base::cli::arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    base::telemetry::init();
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(%error, "configuration refused");
            return ExitCode::from(base::exit::CONFIG);
        }
    };
    if arguments.check {
        return ExitCode::SUCCESS;
    }
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "does not start");
            let wrong_set_up = error
                .downcast_ref::<StartError>()
                .is_some_and(|error| error.fault() == Fault::Misuse);
            let code = if wrong_set_up { base::exit::CONFIG } else { base::exit::FAILED };
            ExitCode::from(code)
        }
    }
}

fn serve(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = base::Shutdown::listen().context("signal handlers")?;
        Ok(service::run(config, shutdown).await?)
    })
}
