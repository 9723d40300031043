//! The command line of the camera gateway.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use edge_agent::{
    config::Config,
    service::{self, End, StartError},
};

/// Records cameras, keeps clips encrypted until their receipt is verified, uploads them to a fog node.
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
  edge-agent --config /etc/celosia/edge.toml
  edge-agent --config edge.toml --check

A configuration:
  site = \"town\"
  name = \"gw-1\"
  credentials = \"pki/edge\"          # chain.pem, key.pem, roots.pem, receipt.pub
  state = \"state\"
  spool = \"spool\"
  spool_bytes_max = 10000000000     # at least 268435456
  spool_age_max = \"7d\"              # at most 30d
  device_key = \"device.key\"         # made at first start
  fogs = [\"127.0.0.1:4433\"]         # added to those that announce themselves over MQTT
  broker = { host = \"localhost\", port = 8883 }
  exit_when_done = true             # end when all files are read and every clip has its receipt; without it: never
  keep_runs = true                  # a file is begun anew only after state/run-CAMERA.json was removed; without it:
                                    # after it was read to its end and every clip had its receipt

  [[camera]]
  id = \"door\"
  source = \"rtsp://10.0.0.7/main\"   # or a file, /dev/video0, test:bars, test:ball, test:black
  user = \"viewer\"
  password_file = \"door.password\"
  clip = \"30s\"                      # 1s to 60s; packed on Amazon's S3, longer ones cost less
  every = \"5s\"                      # one frame each 5s
  schedule = { record = \"30s\", each = \"5m\" }   # without it: always

  [[camera]]
  id = \"archive\"
  source = \"monday.mp4\"             # read once; `repeat = true` makes it a live-like camera
  start = \"2026-11-23T08:00:00Z\"
  pace = \"fast\"                     # or realtime

Exit codes: 0 done, 1 something is missing or failed, 64 the configuration is wrong.";

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
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Missing(lines)) => {
            lines.iter().for_each(|reason| tracing::error!(reason, "missing"));
            ExitCode::from(base::exit::FAILED)
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "does not start");
            let wrong_set_up = error.downcast_ref::<StartError>().is_some_and(|error| {
                matches!(
                    error,
                    StartError::ReceiptKey { .. }
                        | StartError::Credentials(_)
                        | StartError::DeviceKey(_)
                )
            });
            let code = if wrong_set_up { base::exit::CONFIG } else { base::exit::FAILED };
            ExitCode::from(code)
        }
    }
}

fn serve(config: Config) -> anyhow::Result<End> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let end = runtime.block_on(async {
        let shutdown = base::Shutdown::listen().context("signal handlers")?;
        Ok::<_, anyhow::Error>(service::run(config, shutdown).await?)
    });
    // A capture that hangs in a native library must not hold up the end.
    runtime.shutdown_background();
    end
}
