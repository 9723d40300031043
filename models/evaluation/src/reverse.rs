//! Owns reversal: what an attacker gains who rebuilds a face from many frames of it. Gaussian blur is attacked in the same
//! run: when it does not come out reversible, the attack is too weak to count.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context;
use models::{Detection, FaceDetector, pixels::Window};
use onnx::{Recogniser, Runtime};
use privacy::{Noise, Policy, RawFrame};
use proto::manifest::Grid;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{
    attack::{Subject, Target},
    cells::moved,
    choice::Choice,
    identity::{Folds, Plan},
    looks::Seen,
    people::{self, People},
    rebuild::{self, Kernel},
    reidentify,
    still::{self, Still},
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder with one folder of photos a person; each photo is a still face.
    #[arg(long)]
    people: PathBuf,
    #[command(flatten)]
    choice: Choice,
    /// Frames of each still face.
    #[arg(long, default_value_t = 16)]
    frames: usize,
    /// How often the photos are dealt anew into four folds.
    #[arg(long, default_value_t = 2)]
    repeats: usize,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Looks at a learning photo, each rebuilt on its own.
const LEARNED: usize = 3;
/// Jitter of boxes: each edge moves by up to this share of its side.
const JITTER: f32 = 0.05;
/// Sides of the grey picture that attackers learn from: finer ones take longer and name nobody better.
const FEATURES: usize = 14;
/// Standard deviation of the Gaussian, as a share of the longer side of the box.
const GAUSSIAN: f32 = 0.1;
/// The box of the 2021 workflow's blur, in pixels.
const WORKFLOW: usize = 10;
/// Trust in the cells and in the blurred pixels: what noise leaves of each.
const SMOOTH: f64 = 0.02;
const NOISE: f32 = 1e-4;

/// A way to hide a face.
enum Redaction {
    /// The policy, its noise the same in every frame, or another in each.
    Cells(Policy, bool),
    /// Gaussian blur of the box.
    Gaussian,
    /// The blur of the 2021 workflow.
    Workflow,
}

/// What became of one redaction.
#[derive(Debug, Serialize)]
struct Row {
    /// Parrot rank-1 on one frame, and on the face rebuilt from all frames.
    single: f64,
    rebuilt: f64,
    gain: f64,
    gain_interval: [f64; 2],
    /// A recogniser that never saw a redacted face, the clear faces as gallery: rank-1 on one frame and on the rebuilt.
    naive_single: Option<f64>,
    naive_rebuilt: Option<f64>,
    naive_gain_interval: Option<[f64; 2]>,
    /// Whether either gain is more than chance makes it.
    reversible: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    policy: String,
    frames: usize,
    people: usize,
    photos: usize,
    rows: BTreeMap<String, Row>,
    /// Gaussian blur came out reversible: the attack is strong enough to say something of the others.
    attack_counts: bool,
    bootstrap: &'static str,
}

pub(crate) fn run(
    options: &Options,
    runtime: &Runtime,
    assets: &Path,
    detector: &mut dyn FaceDetector,
) -> anyhow::Result<()> {
    let (policy, name) = options.choice.policy()?;
    let mut recogniser = reidentify::recogniser(runtime, assets)?;
    let people = people::read(&options.people, detector, recogniser.as_mut())?;
    let subjects = reidentify::subjects(&people);
    let folds = Folds::deal(&subjects, options.repeats, options.seed);
    let plan = Plan { folds, seed: options.seed };
    let mut rows = BTreeMap::new();
    let across = format!("{name}, across epochs");
    for (name, redaction) in [
        (name.clone(), Redaction::Cells(policy.clone(), false)),
        (across, Redaction::Cells(policy, true)),
        ("gaussian".to_owned(), Redaction::Gaussian),
        ("workflow 2021".to_owned(), Redaction::Workflow),
    ] {
        let job = Job { options, people: &people, subjects: &subjects, plan: &plan };
        rows.insert(name.clone(), job.row(&name, &redaction, recogniser.as_mut())?);
    }
    let report = Report {
        policy: name,
        frames: options.frames,
        people: people.people,
        photos: people.photos.len(),
        attack_counts: rows.get("gaussian").is_some_and(|row| row.reversible),
        rows,
        bootstrap: plan.bootstrap(&people),
    };
    print(&report, options.json)
}

/// One redaction over all photos.
struct Job<'a> {
    options: &'a Options,
    people: &'a People,
    subjects: &'a [Subject],
    plan: &'a Plan,
}

/// One frame and what all frames give.
struct Pair {
    /// One frame as attackers learn from it, and as a picture.
    single: (Vec<f32>, Still),
    rebuilt: Still,
}

impl Job<'_> {
    fn row(
        &self,
        name: &str,
        redaction: &Redaction,
        mut recogniser: Option<&mut Recogniser>,
    ) -> anyhow::Result<Row> {
        let (mut seen, mut naive) = (Vec::new(), Vec::new());
        for (number, photo) in self.people.photos.iter().enumerate() {
            let frame = people::open(&photo.path)?;
            let seed = self.options.seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let probe = self.pair(&frame, photo.face, redaction, &mut random)?;
            // Nothing is random in a blur: one look at a photo is all there is to learn from it.
            let again = if matches!(redaction, Redaction::Cells(..)) { LEARNED } else { 0 };
            let pairs = (0..again)
                .map(|_| self.pair(&frame, photo.face, redaction, &mut random))
                .collect::<anyhow::Result<Vec<Pair>>>()?;
            let learned =
                || if pairs.is_empty() { std::slice::from_ref(&probe) } else { &pairs[..] };
            if let Some(recogniser) = &mut recogniser {
                let embed = |still: &Still, recogniser: &mut Recogniser| {
                    anyhow::Ok(recogniser.embed(&enlarged(still)?.planes)?)
                };
                naive.push([
                    embed(&probe.single.1, recogniser)?,
                    embed(&probe.rebuilt, recogniser)?,
                ]);
            }
            let features = |pair: &Pair| features(&pair.rebuilt);
            seen.push(Seen {
                learned: vec![
                    learned().iter().map(|pair| pair.single.0.clone()).collect(),
                    learned().iter().map(features).collect(),
                ],
                probed: vec![probe.single.0.clone(), features(&probe)],
            });
            if (number + 1).is_multiple_of(100) {
                eprintln!("{name}: {} of {} photos", number + 1, self.people.photos.len());
            }
        }
        let target = Target { subjects: self.subjects, sources: vec![seen] };
        let outcome = self.plan.run(&target, 2, name);
        let gains = paired(outcome.hits(1), outcome.hits(0));
        let gain_interval = self.plan.interval(&gains, self.people);
        let naive = recogniser.is_some().then(|| self.naive(&naive));
        let sure = |interval: [f64; 2]| interval[0] > 0.0;
        Ok(Row {
            single: outcome.rank1(0),
            rebuilt: outcome.rank1(1),
            gain: outcome.rank1(1) - outcome.rank1(0),
            gain_interval,
            naive_single: naive.map(|(single, ..)| single),
            naive_rebuilt: naive.map(|(_, rebuilt, _)| rebuilt),
            naive_gain_interval: naive.map(|(.., interval)| interval),
            reversible: sure(gain_interval) || naive.is_some_and(|(.., interval)| sure(interval)),
        })
    }

    /// Rank-1 of a recogniser against the clear photos of other groups: single, rebuilt, and 95% of the gain.
    fn naive(&self, probes: &[[Vec<f32>; 2]]) -> (f64, f64, [f64; 2]) {
        let hit = |photo: usize, probe: &[f32]| {
            let own = self.subjects.get(photo)?;
            let others = self.subjects.iter().filter(|s| s.group != own.group);
            if !others.clone().any(|s| s.person == own.person) {
                return None;
            }
            let likeness =
                |s: &&Subject| -> f32 { s.embedding.iter().zip(probe).map(|(a, b)| a * b).sum() };
            let best = others.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
            Some(f64::from(u8::from(best.person == own.person)))
        };
        let hits = [0, 1].map(|which| {
            let each = probes.iter().enumerate();
            each.map(|(photo, pair)| hit(photo, pair.get(which)?)).collect::<Vec<_>>()
        });
        let [single, rebuilt] = &hits;
        let gains = paired(rebuilt.clone(), single.clone());
        (mean(single), mean(rebuilt), self.plan.interval(&gains, self.people))
    }

    fn pair(
        &self,
        frame: &RawFrame,
        face: Detection,
        redaction: &Redaction,
        random: &mut ChaCha8Rng,
    ) -> anyhow::Result<Pair> {
        match redaction {
            Redaction::Cells(policy, across) => self.cells(frame, face, policy, *across, random),
            Redaction::Gaussian => {
                let kernel = Kernel::gaussian(GAUSSIAN * face.w.max(face.h));
                Self::blur(frame, face, &kernel)
            }
            Redaction::Workflow => Self::blur(frame, face, &Kernel::mean(WORKFLOW)),
        }
    }

    fn cells(
        &self,
        frame: &RawFrame,
        face: Detection,
        policy: &Policy,
        across: bool,
        random: &mut ChaCha8Rng,
    ) -> anyhow::Result<Pair> {
        let mut key: [u8; 32] = random.random();
        let mut looks: Vec<Grid> = Vec::new();
        for _ in 0..self.options.frames.max(1) {
            if across {
                key = random.random();
            }
            let found = moved(face, JITTER, random);
            looks.extend(still::cells(frame, found, policy, &Noise::new(key, 0))?);
        }
        let rebuilt = rebuild::from_cells(&looks, face, SMOOTH);
        // Solid fill, or a box too small for its cells: nothing is seen.
        let (Some(first), Some(rebuilt)) = (looks.first(), rebuilt) else {
            let flat = Still { width: 1, height: 1, planes: vec![128.0; 3] };
            return Ok(Pair { single: (vec![0.0], flat.clone()), rebuilt: flat });
        };
        let single = first.cells.iter().map(|value| f32::from(*value) / 255.0).collect();
        Ok(Pair { single: (single, drawn(first)), rebuilt })
    }

    /// The blurred box in whole grey levels, as a file would have it, and what becomes of it. One frame is enough.
    fn blur(frame: &RawFrame, face: Detection, kernel: &Kernel) -> anyhow::Result<Pair> {
        let view = frame.view().context("an empty picture")?;
        let window = whole_pixels(face, view.width(), view.height());
        let clear = Still::cut(view, window).context("a face outside its picture")?;
        let blurred = rebuild::blurred(&clear, kernel);
        let rebuilt = rebuild::from_blurred(std::slice::from_ref(&blurred), kernel, NOISE);
        let rebuilt = rebuilt.context("a blurred picture")?;
        Ok(Pair { single: (features(&blurred), blurred), rebuilt })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to the picture"
)]
fn whole_pixels(face: Detection, width: usize, height: usize) -> Window {
    let clamp = |at: f32, side: usize| at.round().clamp(0.0, side as f32) as usize;
    let (x0, x1) = (clamp(face.x, width), clamp(face.x + face.w, width));
    let (y0, y1) = (clamp(face.y, height), clamp(face.y + face.h, height));
    Window { x: x0, y: y0, w: (x1 - x0).max(1), h: (y1 - y0).max(1) }
}

/// The cells as a picture.
fn drawn(grid: &Grid) -> Still {
    let (rows, columns) = (usize::from(grid.rows), usize::from(grid.cols));
    let colours = grid.cells.as_chunks::<3>().0;
    let plane = |channel: usize| {
        colours.iter().filter_map(move |colour| colour.get(channel)).map(|v| f32::from(*v))
    };
    let planes = (0..3).flat_map(plane).collect();
    Still { width: columns, height: rows, planes }
}

fn features(still: &Still) -> Vec<f32> {
    let small = still.reduced(FEATURES, FEATURES);
    let grey = |at| small.pixel(at).into_iter().sum::<f32>() / (3.0 * 255.0);
    (0..FEATURES * FEATURES).map(grey).collect()
}

/// As a recogniser takes it.
fn enlarged(still: &Still) -> anyhow::Result<Still> {
    let frame = still.frame()?;
    let view = frame.view().context("an empty picture")?;
    let side = Recogniser::SIDE;
    let large = view.width() >= side && view.height() >= side;
    Ok(if large { still.reduced(side, side) } else { Still::scaled(view, side, side) })
}

fn paired(after: Vec<Option<f64>>, before: Vec<Option<f64>>) -> Vec<Option<f64>> {
    after.into_iter().zip(before).map(|(a, b)| Some(a? - b?)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^24 photos")]
fn mean(values: &[Option<f64>]) -> f64 {
    let there: Vec<f64> = values.iter().flatten().copied().collect();
    there.iter().sum::<f64>() / there.len().max(1) as f64
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    println!("{} people, {} photos, {} frames each", report.people, report.photos, report.frames);
    println!(
        "{:>28} {:>7} {:>8} {:>7} {:>18} {:>14}",
        "", "single", "rebuilt", "gain", "95%", "naive"
    );
    for (name, row) in &report.rows {
        let [low, high] = row.gain_interval;
        let naive = row.naive_single.zip(row.naive_rebuilt);
        let naive = naive.map_or_else(|| "-".to_owned(), |(a, b)| format!("{a:.3} to {b:.3}"));
        println!(
            "{name:>28} {:>7.3} {:>8.3} {:>+7.3} {:>18} {naive:>14} {}",
            row.single,
            row.rebuilt,
            row.gain,
            format!("[{low:+.3}, {high:+.3}]"),
            if row.reversible { "reversible" } else { "" }
        );
    }
    if !report.attack_counts {
        println!("Gaussian blur did not come out reversible: the attack is too weak to count");
    }
    Ok(())
}
