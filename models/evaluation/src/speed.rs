//! Owns the command `speed`: processor time of each stage of a frame on its way through a worker, and the memory that it
//! took at most. Processor time and not the wall's: other work on the machine does not change it much.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use models::{FaceDetector, weights::BEFORE_COVERING};
use onnx::{MaskCells, Runtime};
use privacy::{Classifier, Noise, Policy, RawClip};
use proto::{UtcTime, envelope::SealGrant, signing::SigningKey};
use serde::Serialize;

use crate::tally::quantile;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The video, of any length.
    #[arg(long)]
    video: PathBuf,
    /// Seconds from one frame to the next.
    #[arg(long, default_value_t = 5.0)]
    every: f64,
    /// Frames that are measured at most.
    #[arg(long, default_value_t = 40)]
    frames: u32,
    /// Redaction policy.
    #[arg(long, default_value = "default")]
    policy: String,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// How far a frame may be from its time, as a fog node has it for a frame each 5 s.
const TOLERANCE_NS: i64 = 1_000_000_000;
/// The stages in their order.
const STAGES: [&str; 5] =
    ["seek and decode", "detect", "classify and redact", "audit", "encode and seal"];

#[derive(Debug, Serialize)]
struct Stage {
    name: &'static str,
    median_ms: f64,
    p95_ms: f64,
    mean_ms: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    width: usize,
    height: usize,
    frames: usize,
    withheld: usize,
    stages: Vec<Stage>,
    /// Mean of all stages together.
    frame_ms: f64,
    /// Models, clip and frames, as the kernel counted.
    peak_mib: f64,
}

pub(crate) fn run(
    options: &Options,
    runtime: &Runtime,
    detector: &mut dyn FaceDetector,
    auditor: &mut dyn FaceDetector,
) -> anyhow::Result<()> {
    let bytes =
        std::fs::read(&options.video).with_context(|| options.video.display().to_string())?;
    let policy = Policy::named(&options.policy)?;
    let key = SigningKey::from_seed(&[1; 32])?;
    let (until, site) = ("2100-01-01T00:00:00Z".parse()?, "evaluation".parse()?);
    let policies = vec![policy.reference().digest];
    let grant = SealGrant::issue(&key, key.public(), site, UtcTime::EPOCH, until, policies);
    let noise = Noise::new([0; 32], 0);
    let clip = RawClip::open(&bytes).with_context(|| options.video.display().to_string())?;
    let mut classifier = Classifier::new(Box::new(MaskCells::shipped(runtime, &BEFORE_COVERING)?))?;
    let mut times: [Vec<f64>; STAGES.len()] = Default::default();
    let (mut size, mut frames, mut withheld) = ((0, 0), 0, 0);
    for number in 0..options.frames {
        #[expect(clippy::cast_possible_truncation, reason = "seconds of one video")]
        let at_ns = (f64::from(number) * options.every * 1e9) as i64;
        let mut clock = Stopwatch::start()?;
        // A video ends where it has no picture to show.
        let near = clip.frame_near(at_ns, TOLERANCE_NS, crate::cells::meta());
        let Ok(raw) = near else { break };
        let decoded = clock.lap()?;
        let view = raw.view().context("a picture without pixels")?;
        size = (view.width(), view.height());
        let looked = privacy::look(raw, detector)?;
        let detected = clock.lap()?;
        let classifier = Some(&mut classifier);
        let redacted = looked.redact_classified(None, None, &policy, &noise, classifier)?;
        let drawn = clock.lap()?;
        frames += 1;
        let Ok(frame) = privacy::audit(redacted, auditor, &policy, &noise) else {
            withheld += 1;
            continue;
        };
        let audited = clock.lap()?;
        frame.seal(&key, &grant)?;
        let all = [decoded, detected, drawn, audited, clock.lap()?];
        times.iter_mut().zip(all).for_each(|(times, ms)| times.push(ms));
    }
    if frames == 0 {
        bail!("{} has no picture", options.video.display());
    }
    let stages: Vec<Stage> =
        STAGES.iter().zip(times).map(|(name, times)| Stage::of(name, times)).collect();
    let report = Report {
        width: size.0,
        height: size.1,
        frames,
        withheld,
        frame_ms: stages.iter().map(|stage| stage.mean_ms).sum(),
        stages,
        peak_mib: peak_mib()?,
    };
    print(&report, options.json)
}

impl Stage {
    #[expect(clippy::cast_precision_loss, reason = "a few frames")]
    fn of(name: &'static str, mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let mean_ms = times.iter().sum::<f64>() / times.len().max(1) as f64;
        Self { name, median_ms: quantile(&times, 50), p95_ms: quantile(&times, 95), mean_ms }
    }
}

/// Processor time of all threads of this process.
struct Stopwatch {
    last_ms: f64,
}

impl Stopwatch {
    fn start() -> anyhow::Result<Self> {
        Ok(Self { last_ms: processor_ms()? })
    }

    fn lap(&mut self) -> anyhow::Result<f64> {
        let now = processor_ms()?;
        Ok(now - std::mem::replace(&mut self.last_ms, now))
    }
}

fn processor_ms() -> anyhow::Result<f64> {
    let mut total = 0.0;
    for task in std::fs::read_dir("/proc/self/task").context("threads of this process")? {
        // A thread that has ended between the two calls has no file any more.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let nanoseconds = text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok());
        total += nanoseconds.context("schedstat of a thread is not as Linux writes it")?;
    }
    Ok(total / 1e6)
}

fn peak_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.context("the kernel does not say how much memory was used")? / 1024.0)
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    println!("{:>16} {:>8} {:>8} {:>8}", "stage, ms", "median", "95%", "mean");
    for Stage { name, median_ms, p95_ms, mean_ms } in &report.stages {
        println!("{name:>16} {median_ms:>8.1} {p95_ms:>8.1} {mean_ms:>8.1}");
    }
    println!(
        "{} frames of {}x{}, {} withheld: {:.1} ms of processor each, {:.0} MiB at most",
        report.frames,
        report.width,
        report.height,
        report.withheld,
        report.frame_ms,
        report.peak_mib
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_grows_with_work_and_memory_is_known() {
        let mut clock = Stopwatch::start().unwrap();
        let mut sum = 0u64;
        // The scheduler accounts for a running thread at its ticks.
        while clock.lap().unwrap() <= 0.0 {
            for i in 0..1_000_000u64 {
                sum = std::hint::black_box(sum ^ i);
            }
        }
        assert!(peak_mib().unwrap() > 1.0);
    }
}
