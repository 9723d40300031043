//! Command line of the fog node.

mod redact;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Takes frames out of clips, redacts every face, checks its own work and seals what is left.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The process that decodes and redacts: clips on standard input, envelopes on standard output. Started by its parent.
    Worker(fog_node::worker::Options),
    /// Redacts one video file of at most 60 s and writes the sealed frames to a folder.
    #[command(after_help = "Example:\n  fog-node redact street.mp4 --out frames --every 5s")]
    Redact(redact::Options),
    /// Prints the redaction policies of this build with their digests as JSON: what a site's grant names.
    Policies,
}

fn main() -> ExitCode {
    base::telemetry::init();
    let done = match Arguments::parse().command {
        Command::Worker(options) => fog_node::worker::run(&options),
        Command::Redact(options) => redact::run(&options),
        Command::Policies => print_policies(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "stopped");
            ExitCode::from(base::exit::FAILED)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer of the command")]
fn print_policies() -> anyhow::Result<()> {
    let policies = privacy::Policy::ALL.map(|policy| policy.reference());
    println!("{}", serde_json::to_string(&policies)?);
    Ok(())
}
