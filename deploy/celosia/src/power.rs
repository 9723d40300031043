//! Owns `celosia function-power`: what the function takes and costs by memory, measured on the program of the zip under
//! AWS's own runtime interface emulator with a share of the processor like Lambda's.
//!
//! Where to start: [`quota`] holds the processor back, [`bench`] starts the function and sends it frames, [`cost`] turns
//! times into dollars by a price table, [`report`] writes table and figure.
//!
//! What it is not: Lambda gives more processor while a function starts than its memory buys, and the emulator shares
//! the quota with the function, so starts are upper bounds. The store is a folder on this machine: what S3 takes is an
//! assumption of the price table and stands apart from what was measured.

mod bench;
pub mod cost;
mod frames;
mod plot;
mod quota;
mod report;

use std::path::PathBuf;

use base::{Clock, Shutdown, SystemClock};
use proto::UtcTime;
use serde::Serialize;

use self::{bench::Bench, cost::Month};
pub use self::{
    bench::{BenchError, Row},
    cost::{PriceError, Prices},
};

/// Frames of the longest clip at one frame each 5 s: the pack that is measured.
pub const PACK_FRAMES: u64 = 12;
/// Goal of a warm frame, in milliseconds, and of the start.
const WARM_GOAL_MS: f64 = 15.0;
const INIT_GOAL_MS: f64 = 200.0;

/// What a person asks of `celosia function-power`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Folder with what the zip holds, as `deploy/lambda-zip` leaves it beside the zip.
    #[arg(long, default_value = "target/mask-lambda-x86_64", value_name = "DIR")]
    pub task: PathBuf,
    /// AWS's runtime interface emulator: `celosia fetch --group test` brings it.
    #[arg(long, default_value = ".celosia/assets/aws-lambda-rie", value_name = "FILE")]
    pub emulator: PathBuf,
    /// The price table.
    #[arg(long, default_value = "cloud-bridge/lambda/prices.toml", value_name = "FILE")]
    pub prices: PathBuf,
    /// Memory sizes, in MB.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "128,192,256,512,768,1024,1536,1769,2048,3008",
        value_name = "MB"
    )]
    pub memory: Vec<u32>,
    /// Starts of the function for each memory size; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub starts: u32,
    /// Warm frames of five faces for each memory size; the median counts.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=10_000))]
    pub frames: u64,
    /// Folder for `power.md` and `power.svg`; without it the table goes to standard output.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print everything as JSON instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// Why nothing is measured.
#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    /// A program or file is missing.
    #[error("{path} is not there: {what}")]
    Missing {
        /// Which.
        path: PathBuf,
        /// What brings it.
        what: &'static str,
    },
    /// The price table.
    #[error(transparent)]
    Prices(#[from] PriceError),
    /// The measuring.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// A file cannot be written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The figure cannot be drawn.
    #[error("{path}: {why}")]
    Figure {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Everything that was measured and what follows from it.
#[derive(Debug, Serialize)]
pub struct Power {
    /// When.
    pub measured_at: UtcTime,
    /// Architecture and processors of the machine.
    pub machine: String,
    /// How the processor was held back.
    pub quota: &'static str,
    /// By memory.
    pub rows: Vec<Row>,
    /// Dollars for one frame by memory, S3's time counted.
    pub frame_dollars: Vec<f64>,
    /// The memory to choose, in MB: the cheapest that keeps the goals, or the one nearest to them.
    pub choice_mb: u32,
    /// A camera's month by the ways of packing, at that memory.
    pub months: Vec<Month>,
    /// What it was counted with.
    pub prices: Prices,
}

/// Measures, counts and writes.
///
/// # Errors
/// When something is missing, the processor cannot be held back, or the function fails.
pub async fn run(options: &Options, shutdown: &Shutdown) -> Result<Power, PowerError> {
    let needed = [
        (options.task.join("bootstrap"), "run deploy/lambda-zip"),
        (options.task.join("libonnxruntime.so"), "run deploy/lambda-zip"),
        (options.emulator.clone(), "run `celosia fetch --group test`"),
    ];
    for (path, what) in needed {
        if !path.exists() {
            return Err(PowerError::Missing { path, what });
        }
    }
    let prices = Prices::load(&options.prices)?;
    let bench = Bench::open(options, prices.lambda.vcpu_mb, shutdown).await?;
    let mut rows = Vec::new();
    for memory_mb in &options.memory {
        rows.push(bench.measure(*memory_mb).await?);
    }
    let power = count(rows, prices);
    if let Some(folder) = &options.out {
        report::write(folder, &power)?;
        plot::draw(&folder.join("power.svg"), &power)?;
    }
    Ok(power)
}

/// The table as text.
#[must_use]
pub fn table(power: &Power) -> String {
    report::text(power)
}

fn count(rows: Vec<Row>, prices: Prices) -> Power {
    let frame_dollars: Vec<f64> = rows.iter().map(|row| prices.invocation(row, 1)).collect();
    let good = |row: &Row| {
        row.warm_ms <= WARM_GOAL_MS
            && row.init_ms() <= INIT_GOAL_MS
            && row.memory_mib < f64::from(row.memory_mb)
    };
    let priced = || rows.iter().zip(&frame_dollars);
    let cheapest = priced().filter(|(row, _)| good(row)).min_by(|a, b| a.1.total_cmp(b.1));
    let quickest = priced().min_by(|a, b| a.0.warm_ms.total_cmp(&b.0.warm_ms));
    let choice = cheapest.or(quickest).map(|(row, _)| row);
    let months = choice.map(|row| prices.months(row)).unwrap_or_default();
    let choice_mb = choice.map_or(0, |row| row.memory_mb);
    let now = SystemClock::default().utc_micros();
    let measured_at = UtcTime::from_micros(now).unwrap_or(UtcTime::EPOCH);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let machine = format!("{} with {cores} processors", std::env::consts::ARCH);
    let quota = quota::HOW;
    Power { measured_at, machine, quota, rows, frame_dollars, choice_mb, months, prices }
}
