//! The command line of the console.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use console::{
    config::Config,
    operators,
    service::{self, StartError},
};

/// Operators' web console: cameras, counts, redacted frames and how each result came about.
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLE, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Action>,
    #[command(flatten)]
    serve: Option<Serve>,
}

#[derive(Debug, Args)]
struct Serve {
    /// The console's TOML file.
    #[arg(long)]
    config: PathBuf,
    /// Read and check the configuration, then end.
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an operator; prints a new password once unless one is read from standard input.
    AddUser {
        /// The console's TOML file.
        #[arg(long)]
        config: PathBuf,
        /// The operator's name.
        name: String,
        /// Read the password from standard input, one line of at least 10 characters.
        #[arg(long)]
        password_stdin: bool,
        /// If the operator is there already: give them this password and end their sessions.
        #[arg(long)]
        replace: bool,
    },
}

const EXAMPLE: &str = "\
Example of console.toml (relative paths count from its folder):

  site = \"town\"
  name = \"console\"
  credentials = \"pki\"               # chain.pem, key.pem, roots.pem
  listen = \"127.0.0.1:8600\"         # the default; anything but loopback needs public_url
  public_url = \"https://celosia.town.example\"   # where a proxy with TLS stands in front
  database = \"sqlite:results.db\"    # or postgres://celosia@db/results
  broker = { host = \"localhost\", port = 8883 }
  seal_root = \"seal-root.pub\"       # 64 hexadecimal digits, public

  [store]
  endpoint = \"http://127.0.0.1:9000\"  # without it: Amazon S3
  region = \"us-east-1\"
  frames_bucket = \"frames\"
  results_bucket = \"results\"

Exit codes: 0 done, 1 something is missing or failed, 64 the configuration is wrong.";

fn main() -> ExitCode {
    let arguments: Arguments = match base::cli::arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    base::telemetry::init();
    let done = match arguments {
        Arguments {
            command: Some(Action::AddUser { config, name, password_stdin, replace }),
            ..
        } => load(&config).map(|config| add_user(&config, &name, password_stdin, replace)),
        Arguments { serve: Some(Serve { config, check }), .. } => {
            load(&config).map(|config| if check { Ok(()) } else { serve(config) })
        }
        Arguments { command: None, serve: None } => {
            tracing::error!("name a configuration: --config console.toml");
            return ExitCode::from(base::exit::CONFIG);
        }
    };
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            tracing::error!(error = format!("{error:#}"), "ended");
            let wrong_set_up = error.downcast_ref::<StartError>().is_some_and(|error| {
                matches!(error, StartError::SealRoot { .. } | StartError::Credentials(_))
            });
            let code = if wrong_set_up { base::exit::CONFIG } else { base::exit::FAILED };
            ExitCode::from(code)
        }
        Err(code) => code,
    }
}

fn load(path: &std::path::Path) -> Result<Config, ExitCode> {
    Config::load(path).map_err(|error| {
        tracing::error!(%error, "configuration refused");
        ExitCode::from(base::exit::CONFIG)
    })
}

fn serve(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let end = runtime.block_on(async {
        let shutdown = base::Shutdown::listen().context("signal handlers")?;
        Ok::<_, anyhow::Error>(service::run(config, shutdown).await?)
    });
    runtime.shutdown_background();
    end
}

fn add_user(config: &Config, name: &str, from_stdin: bool, replace: bool) -> anyhow::Result<()> {
    let password = if from_stdin {
        operators::read_password(std::io::stdin().lock())?
    } else {
        operators::draw_password()?
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let results = results::Results::open(&config.database).await?;
        let clock = base::SystemClock::default();
        operators::add(&results, name, &password, replace, &clock).await?;
        results.close().await;
        Ok::<_, anyhow::Error>(())
    })?;
    if !from_stdin {
        writeln!(std::io::stdout(), "{}", *password).context("printing the password")?;
    }
    Ok(())
}
