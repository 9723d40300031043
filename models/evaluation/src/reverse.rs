//! Owns reversal: what an attacker gains who rebuilds a face from many frames of it. Gaussian blur is attacked in the same
//! run: when it does not come out reversible, the attack is too weak to count.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context;
use models::{Detection, FaceDetector};
use onnx::{Recogniser, Runtime};
use privacy::{Noise, Policy, RawFrame, measure::Followed};
use proto::manifest::Grid;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{
    attack::{Subject, Target},
    blurs::{Blur, JITTER, features},
    cells::moved,
    choice::Choice,
    identity::{Folds, Plan},
    looks::Seen,
    people::{self, People},
    plot::{self, Shares},
    rebuild, reidentify,
    spread::spread,
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
    #[arg(long, default_value_t = 8)]
    frames: usize,
    /// How often the photos are dealt anew into four folds.
    #[arg(long, default_value_t = 1)]
    repeats: usize,
    /// Every named policy, and one cell without noise, in the same run.
    #[arg(long)]
    all: bool,
    /// Figure to write (SVG): rank-1 before and after, row by row.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Looks at a learning photo, each rebuilt on its own.
const LEARNED: usize = 3;
/// Trust in the cells: what noise leaves of them.
const SMOOTH: f64 = 0.02;

/// What the frames of a still face have in common, whose box trembles from one to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frames {
    /// The track that the product follows, so noise and place of the cells.
    Followed,
    /// The noise alone, as frames of clips that different fog nodes process.
    Apart,
    /// Nothing: each is of another epoch.
    Across,
}

/// A way to hide a face.
enum Redaction {
    /// The policy, and what its frames share.
    Cells(Policy, Frames),
    /// Another's blur.
    Blur(Blur),
}

/// What became of one redaction.
#[derive(Debug, Serialize)]
struct Row {
    /// Parrot rank-1 on one frame, and on the face rebuilt from all frames, with 95%.
    single: f64,
    single_interval: [f64; 2],
    rebuilt: f64,
    rebuilt_interval: [f64; 2],
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
    let subjects = reidentify::subjects(&people.photos);
    let folds = Folds::deal(&subjects, options.repeats, options.seed);
    let plan = Plan { folds, seed: options.seed };
    let mut rows = BTreeMap::new();
    for (name, redaction) in redactions(policy, &name, options.all)? {
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
    if let Some(file) = &options.plot {
        let rows = report.rows.iter().map(|(name, row)| {
            let kinds =
                vec![(row.single, row.single_interval), (row.rebuilt, row.rebuilt_interval)];
            Shares { name: name.clone(), kinds }
        });
        let of = ["one frame", "rebuilt from all frames"];
        plot::shares(
            file,
            ("Parrot rank-1 before and after reconstruction", "rank-1"),
            &of,
            &rows.collect::<Vec<_>>(),
        )?;
    }
    print(&report, options.json)
}

/// What is attacked in one run, Gaussian blur always.
fn redactions(policy: Policy, name: &str, all: bool) -> anyhow::Result<Vec<(String, Redaction)>> {
    let mut redactions = Vec::new();
    let mut add = |name: &str, policy: Policy, frames| {
        let name = match frames {
            Frames::Followed => name.to_owned(),
            Frames::Apart => format!("{name}, not followed"),
            Frames::Across => format!("{name}, across epochs"),
        };
        redactions.push((name, Redaction::Cells(policy, frames)));
    };
    for frames in [Frames::Followed, Frames::Apart, Frames::Across] {
        add(name, policy.clone(), frames);
    }
    if all {
        for other in ["solid", "strict", "cells"].into_iter().filter(|other| *other != name) {
            add(other, Policy::named(other)?, Frames::Followed);
            add(other, Policy::named(other)?, Frames::Apart);
        }
        add("1x1", Policy::trial((1, 1), 0, 1), Frames::Apart);
    }
    redactions.extend(Blur::ALL.map(|blur| (blur.name().to_owned(), Redaction::Blur(blur))));
    Ok(redactions)
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
        eprintln!("{name}: rebuilding {} photos", self.people.photos.len());
        let looked = spread(self.people.photos.len(), |number| self.photo(number, redaction));
        let (mut seen, mut naive) = (Vec::new(), Vec::new());
        for looked in looked {
            let (probe, pairs) = looked?;
            let learned = if pairs.is_empty() { std::slice::from_ref(&probe) } else { &pairs };
            if let Some(recogniser) = &mut recogniser {
                let mut embed =
                    |still: &Still| anyhow::Ok(recogniser.embed(&enlarged(still)?.planes)?);
                naive.push([embed(&probe.single.1)?, embed(&probe.rebuilt)?]);
            }
            let features = |pair: &Pair| features(&pair.rebuilt);
            seen.push(Seen {
                learned: vec![
                    learned.iter().map(|pair| pair.single.0.clone()).collect(),
                    learned.iter().map(features).collect(),
                ],
                probed: vec![probe.single.0.clone(), features(&probe)],
            });
        }
        let target = Target { subjects: self.subjects, sources: vec![seen] };
        let outcome = self.plan.run(&target, 2, name);
        let gains = paired(outcome.hits(1), outcome.hits(0));
        let [single_interval, rebuilt_interval, gain_interval] =
            [&outcome.hits(0), &outcome.hits(1), &gains]
                .map(|values| self.plan.interval(values, self.people));
        let naive = recogniser.is_some().then(|| self.naive(&naive));
        let sure = |interval: [f64; 2]| interval[0] > 0.0;
        Ok(Row {
            single: outcome.rank1(0),
            single_interval,
            rebuilt: outcome.rank1(1),
            rebuilt_interval,
            gain: outcome.rank1(1) - outcome.rank1(0),
            gain_interval,
            naive_single: naive.map(|(single, ..)| single),
            naive_rebuilt: naive.map(|(_, rebuilt, _)| rebuilt),
            naive_gain_interval: naive.map(|(.., interval)| interval),
            reversible: sure(gain_interval) || naive.is_some_and(|(.., interval)| sure(interval)),
        })
    }

    /// What is probed of a photo and what is learned from it.
    fn photo(&self, number: usize, redaction: &Redaction) -> anyhow::Result<(Pair, Vec<Pair>)> {
        let photo = self.people.photos.get(number).context("a photo")?;
        let frame = people::open(&photo.path)?;
        let seed = self.options.seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let probe = self.pair(&frame, photo.face, redaction, &mut random)?;
        // Nothing is random in a blur: one look at a photo is all there is to learn from it.
        let again = if matches!(redaction, Redaction::Cells(..)) { LEARNED } else { 0 };
        let pairs = (0..again).map(|_| self.pair(&frame, photo.face, redaction, &mut random));
        Ok((probe, pairs.collect::<anyhow::Result<_>>()?))
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
            Redaction::Cells(policy, frames) => self.cells(frame, face, policy, *frames, random),
            Redaction::Blur(blur) => {
                let looks = blur.looks(frame, face, self.options.frames, random)?;
                let place = looks.first().context("no look")?.place;
                let rebuilt = rebuild::from_blurred(&looks, |place| blur.kernels(place), place);
                let rebuilt = rebuilt.context("a blurred picture")?;
                let first = looks.into_iter().next().context("no look")?.still;
                Ok(Pair { single: (features(&first), first), rebuilt })
            }
        }
    }

    fn cells(
        &self,
        frame: &RawFrame,
        face: Detection,
        policy: &Policy,
        frames: Frames,
        random: &mut ChaCha8Rng,
    ) -> anyhow::Result<Pair> {
        let mut key: [u8; 32] = random.random();
        let (mut looks, mut faces): (Vec<Grid>, _) = (Vec::new(), Followed::default());
        for _ in 0..self.options.frames.max(1) {
            if frames == Frames::Across {
                key = random.random();
            }
            if frames != Frames::Followed {
                faces = Followed::default();
            }
            let found = moved(face, JITTER, random);
            looks.extend(still::followed(&mut faces, frame, found, policy, &Noise::new(key, 0))?);
        }
        let rebuilt = rebuild::from_cells(&looks, face, SMOOTH);
        // Solid fill, or a box too small for its cells: nothing is seen.
        let (Some(first), Some(rebuilt)) = (looks.first(), rebuilt) else {
            let flat = Still { width: 1, height: 1, planes: vec![128.0; 3] };
            return Ok(Pair { single: (vec![0.0], flat.clone()), rebuilt: flat });
        };
        let single = first.cells.iter().map(|value| f32::from(*value) / 255.0).collect();
        Ok(Pair { single: (single, still::drawn(first)), rebuilt })
    }
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
        "{:>28} {:>20} {:>20} {:>7} {:>18} {:>14}",
        "", "single, 95%", "rebuilt, 95%", "gain", "95%", "naive"
    );
    for (name, row) in &report.rows {
        let [low, high] = row.gain_interval;
        let share = |share: f64, [low, high]: [f64; 2]| format!("{share:.3} [{low:.3}, {high:.3}]");
        let naive = row.naive_single.zip(row.naive_rebuilt);
        let naive = naive.map_or_else(|| "-".to_owned(), |(a, b)| format!("{a:.3} to {b:.3}"));
        println!(
            "{name:>28} {:>20} {:>20} {:>+7.3} {:>18} {naive:>14} {}",
            share(row.single, row.single_interval),
            share(row.rebuilt, row.rebuilt_interval),
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
