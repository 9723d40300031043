//! The measuring commands: how much of every face is covered, what the mask classifier still sees, and the cells that
//! training reads. They run the product's own code on any folder of the right shape and print a table, or JSON with
//! `--json`.

mod area;
mod attack;
mod audit;
mod augment;
mod blurs;
mod calibrate;
mod cells;
mod choice;
mod coverage;
mod crowd;
mod curve;
mod end_to_end;
mod exported;
mod finders;
mod found;
mod identity;
mod leaving;
mod linear;
mod looks;
mod masks;
mod naive;
mod pairs;
mod people;
mod plot;
mod probe;
mod rebuild;
mod reidentify;
mod reverse;
mod score;
mod speed;
mod spread;
mod still;
mod strangers;
mod tally;
mod utility;
mod voc;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use onnx::{Detectors, Runtime};

/// Measures detection and redaction on photos with annotated faces (Pascal VOC).
#[derive(Parser)]
#[command(after_help = "Examples:\n  \
    evaluation coverage --voc ../shared/data/kaggle853-hires --json\n  \
    evaluation audit --voc ../shared/data/kaggle853 --json\n  \
    evaluation utility --voc ../shared/data/kaggle853 --json\n  \
    evaluation reidentify --people ../shared/data/reid/forty-people --json\n  \
    evaluation cells --voc ../shared/data/kaggle853 --out cells.ndjson --draws 4")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Folder with the assets that `celosia fetch` brought.
    #[arg(long, global = true, default_value = ".celosia/assets", env = "CELOSIA_ASSETS")]
    assets: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Coverage recall by size of face, and the redacted share of the picture.
    Coverage(coverage::Options),
    /// How often the auditor notices a face that was not redacted, and what it costs.
    Audit(audit::Options),
    /// Processor time of each stage of a frame, and memory.
    Speed(speed::Options),
    /// F1 of the shipped mask classifier on redacted faces, its calibration, and counts on whole photos.
    Utility(utility::Options),
    /// How often an attacker who redacts with our code names the person behind a redacted face.
    Reidentify(reidentify::Options),
    /// How well public recognisers, who never saw a redacted face, tell who is behind one: a sanity row.
    Naive(naive::Options),
    /// What an attacker gains who rebuilds a still face from many frames of it.
    Reverse(reverse::Options),
    /// The curve of utility against identity over policies, and the rule that chooses the default.
    Curve(curve::Options),
    /// The cells of every annotated face, one JSON object a line.
    Cells(cells::Options),
}

fn main() -> anyhow::Result<()> {
    let Arguments { command, assets } = Arguments::parse();
    let runtime = || {
        let library = assets.join("libonnxruntime.so");
        Runtime::load(&library).context("run `celosia fetch` first")
    };
    match command {
        Command::Cells(options) => {
            let mut detectors = Detectors::open(&runtime()?, &assets)?;
            cells::run(&options, &mut detectors.detector)
        }
        Command::Coverage(options) => {
            let pair = options.detector.open(&runtime()?, &assets)?;
            coverage::run(&options, pair)
        }
        Command::Audit(options) => {
            let runtime = runtime()?;
            if options.calibrate {
                return calibrate::run(&options, &runtime, &assets);
            }
            let Detectors { mut detector, mut auditor } = Detectors::open(&runtime, &assets)?;
            audit::run(&options, &mut detector, &mut auditor)
        }
        Command::Curve(options) => curve::run(&options),
        Command::Reidentify(options) => {
            let runtime = runtime()?;
            let Detectors { mut detector, .. } = Detectors::open(&runtime, &assets)?;
            reidentify::run(&options, &runtime, &assets, &mut detector)
        }
        Command::Naive(options) => {
            let runtime = runtime()?;
            let Detectors { mut detector, .. } = Detectors::open(&runtime, &assets)?;
            naive::run(&options, &runtime, &assets, &mut detector)
        }
        Command::Reverse(options) => {
            let runtime = runtime()?;
            let Detectors { mut detector, .. } = Detectors::open(&runtime, &assets)?;
            reverse::run(&options, &runtime, &assets, &mut detector)
        }
        Command::Speed(options) => {
            let runtime = runtime()?;
            let Detectors { mut detector, mut auditor } = Detectors::open(&runtime, &assets)?;
            speed::run(&options, &runtime, &mut detector, &mut auditor)
        }
        Command::Utility(options) => {
            let runtime = runtime()?;
            let Detectors { mut detector, mut auditor } = Detectors::open(&runtime, &assets)?;
            let mut pipeline = utility::Pipeline { detector: &mut detector, auditor: &mut auditor };
            utility::run(&options, &runtime, &mut pipeline)
        }
    }
}
