//! Owns naive re-identification: public recognisers that never saw a redacted face compare it with clear ones. A sanity
//! row: who is lost to them may still be named by an attacker who learns (`reidentify`).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, bail};
use models::FaceDetector;
use onnx::{Recogniser, Runtime};
use privacy::Policy;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{
    blurs::Blur,
    choice::Choice,
    identity,
    pairs::{self, Area, Pair, Ranked},
    people::{self, People, Photo},
    plot,
    probe::{Filter, Redaction, Region},
    spread::spread,
};

#[derive(clap::Args)]
#[group(id = "faces", required = true, multiple = false, args = ["people", "pairs"])]
pub(crate) struct Options {
    /// Folder with one folder of photos a person.
    #[arg(long)]
    people: Option<PathBuf>,
    /// Folder of photos and `master.csv`, whose lines are two file names and Yes or No: the same person?
    #[arg(long)]
    pairs: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// Figure to write (SVG): the area of the best filter, redaction by redaction.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// What one recogniser makes of one redaction.
#[derive(Debug, Serialize)]
struct Told {
    /// The filter with the largest area.
    best: &'static str,
    #[serde(flatten)]
    area: Area,
    filters: BTreeMap<&'static str, Area>,
}

#[derive(Debug, Serialize)]
struct Row {
    redaction: String,
    recognisers: BTreeMap<&'static str, Told>,
}

#[derive(Debug, Serialize)]
struct Report {
    people: usize,
    photos: usize,
    faces_detected: usize,
    unreadable: usize,
    pairs_same: usize,
    pairs_different: usize,
    recognisers: Vec<&'static str>,
    /// Recognisers that were not fetched: the design asks for all.
    missing: Vec<&'static str>,
    rows: Vec<Row>,
    bootstrap: &'static str,
}

pub(crate) fn run(
    options: &Options,
    runtime: &Runtime,
    assets: &Path,
    detector: &mut dyn FaceDetector,
) -> anyhow::Result<()> {
    let redactions = redactions(&options.choice)?;
    let (known, missing) = Known::open(runtime, assets)?;
    let (people, pairs) = match (&options.people, &options.pairs) {
        (Some(folder), _) => {
            let people = people::read(folder, detector, None)?;
            let pairs = pairs::all(&people);
            (people, pairs)
        }
        (None, Some(folder)) => pairs::read(folder, detector)?,
        (None, None) => bail!("--people or --pairs"),
    };
    let (pairs_same, pairs_different) = pairs::kinds(&pairs);
    if pairs_same == 0 || pairs_different == 0 {
        bail!("there is no pair of photos of one person, or none of two");
    }
    let report = Report {
        people: people.people,
        photos: people.photos.len(),
        faces_detected: people.detected,
        unreadable: people.unreadable,
        pairs_same,
        pairs_different,
        recognisers: known.iter().map(|known| known.name).collect(),
        missing,
        rows: rows((&people, &pairs), &redactions, &known, options.seed)?,
        bootstrap: identity::bootstrap(&people),
    };
    if let Some(file) = &options.plot {
        report.plot(file)?;
    }
    print(&report, options.json)
}

/// The clear face, every named policy, every blur, and what was chosen.
fn redactions(choice: &Choice) -> anyhow::Result<Vec<(String, Redaction)>> {
    let mut redactions = vec![("clear".to_owned(), Redaction::Clear)];
    for policy in Policy::all() {
        redactions.push((policy.name().to_owned(), Redaction::Policy(policy)));
    }
    redactions.extend(Blur::ALL.map(|blur| (blur.name().to_owned(), Redaction::Blur(blur))));
    let (policy, name) = choice.policy()?;
    if !redactions.iter().any(|(known, _)| *known == name) {
        redactions.push((name, Redaction::Policy(policy)));
    }
    Ok(redactions)
}

/// A recogniser, once a processor.
struct Known {
    name: &'static str,
    sessions: Vec<Mutex<Recogniser>>,
}

impl Known {
    /// Those that were fetched, and the names of those that were not.
    fn open(runtime: &Runtime, assets: &Path) -> anyhow::Result<(Vec<Self>, Vec<&'static str>)> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (mut known, mut missing) = (Vec::new(), Vec::new());
        for file in Recogniser::FILES {
            let (path, name) = (assets.join(file), file.trim_end_matches(".onnx"));
            if path.exists() {
                let open = |_| Ok(Mutex::new(Recogniser::open(runtime, &path)?));
                let sessions = (0..threads).map(open).collect::<anyhow::Result<_>>()?;
                known.push(Self { name, sessions });
            } else {
                eprintln!(
                    "MISSING RECOGNISER: no {}; `celosia fetch --group evaluation` brings it",
                    path.display()
                );
                missing.push(name);
            }
        }
        if known.is_empty() {
            bail!("no recogniser at all; run `celosia fetch --group evaluation` first");
        }
        Ok((known, missing))
    }

    fn embed(&self, planes: &[f32]) -> anyhow::Result<Vec<f32>> {
        // There are as many sessions as threads: one is free.
        let free = self.sessions.iter().find_map(|session| session.try_lock().ok());
        let busy = || {
            let first = self.sessions.first()?;
            Some(first.lock().unwrap_or_else(PoisonError::into_inner))
        };
        Ok(free.or_else(busy).context("no session")?.embed(planes)?)
    }
}

/// What a recogniser sees of a photo.
struct Embedded {
    clear: Vec<f32>,
    /// Of each redaction every filter.
    probes: Vec<Vec<f32>>,
}

fn rows(
    (people, pairs): (&People, &[Pair]),
    redactions: &[(String, Redaction)],
    known: &[Known],
    seed: u64,
) -> anyhow::Result<Vec<Row>> {
    let photos = &people.photos;
    let filters = Filter::ALL.len();
    eprintln!(
        "{} photos, {} redactions, {filters} filters, {} recognisers",
        photos.len(),
        redactions.len(),
        known.len()
    );
    let embedded = spread(photos.len(), |number| {
        let photo = photos.get(number).context("a photo")?;
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
        embedded(photo, redactions, known, &mut ChaCha8Rng::seed_from_u64(seed))
    });
    let embedded: Vec<Vec<Embedded>> = embedded.into_iter().collect::<anyhow::Result<_>>()?;
    let probes = redactions.len() * filters;
    eprintln!("{} areas over {} pairs", known.len() * probes, pairs.len());
    let areas = spread(known.len() * probes, |task| {
        let of = |photo: usize| embedded.get(photo)?.get(task / probes);
        let likeness = |probe: usize, clear: usize| {
            let probe = of(probe).and_then(|of| of.probes.get(task % probes));
            let both = probe.zip(of(clear));
            both.map_or(0.0, |(probe, of)| probe.iter().zip(&of.clear).map(|(a, b)| a * b).sum())
        };
        Ranked::by(pairs, likeness).area(people, seed)
    });
    let row = |(at, (name, _)): (usize, &(String, Redaction))| {
        let told = known.iter().enumerate().filter_map(|(recogniser, known)| {
            let first = recogniser * probes + at * filters;
            Some((known.name, told(areas.get(first..first + filters)?)?))
        });
        Row { redaction: name.clone(), recognisers: told.collect() }
    };
    Ok(redactions.iter().enumerate().map(row).collect())
}

/// A photo as each recogniser sees it.
fn embedded(
    photo: &Photo,
    redactions: &[(String, Redaction)],
    known: &[Known],
    random: &mut ChaCha8Rng,
) -> anyhow::Result<Vec<Embedded>> {
    let frame = people::open(&photo.path)?;
    let view = frame.view().context("an empty picture")?;
    let portrait = people::portrait(view, photo.face)?;
    let open =
        |known: &Known| Ok(Embedded { clear: known.embed(&portrait.planes)?, probes: Vec::new() });
    let mut all: Vec<Embedded> = known.iter().map(open).collect::<anyhow::Result<_>>()?;
    for (_, redaction) in redactions {
        let region = Region::of(redaction, &frame, photo.face, random)?;
        for filter in Filter::ALL {
            let seen = region.seen(filter);
            for (known, embedded) in known.iter().zip(&mut all) {
                embedded.probes.push(known.embed(&seen.planes)?);
            }
        }
    }
    Ok(all)
}

/// The best of the areas of all filters.
fn told(areas: &[Area]) -> Option<Told> {
    let named = || Filter::ALL.iter().map(|filter| filter.name()).zip(areas.iter().copied());
    // The first of several that are as good.
    let best = named().rev().max_by(|(_, a), (_, b)| a.auc.total_cmp(&b.auc))?;
    Some(Told { best: best.0, area: best.1, filters: named().collect() })
}

impl Report {
    fn plot(&self, file: &Path) -> anyhow::Result<()> {
        let column = |row: &Row| plot::Shares {
            name: row.redaction.clone(),
            kinds: self
                .recognisers
                .iter()
                .filter_map(|name| row.recognisers.get(name))
                .map(|told| (told.area.auc, told.area.interval))
                .collect(),
        };
        let columns: Vec<plot::Shares> = self.rows.iter().map(column).collect();
        let caption = "Recognisers that never saw a redacted face, best filter (95%); .5 is chance";
        plot::shares(file, (caption, "AUC over pairs"), &self.recognisers, &columns)
    }
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    println!(
        "{} people, {} photos, face found in {}; {} pairs of one person, {} of two",
        report.people,
        report.photos,
        report.faces_detected,
        report.pairs_same,
        report.pairs_different
    );
    print!("{:>14} {:>14} {:>7} {:>16} {:>8}", "", "recogniser", "AUC", "95%", "best");
    Filter::ALL.iter().for_each(|filter| print!(" {:>8}", filter.name()));
    println!();
    for row in &report.rows {
        for (name, told) in &row.recognisers {
            let Area { auc, interval: [low, high] } = told.area;
            print!(
                "{:>14} {name:>14} {auc:>7.3} {:>16} {:>8}",
                row.redaction,
                format!("[{low:.3}, {high:.3}]"),
                told.best
            );
            let all = Filter::ALL.iter().filter_map(|filter| told.filters.get(filter.name()));
            all.for_each(|area| print!(" {:>8.3}", area.auc));
            println!();
        }
    }
    println!("a sanity row without a pass mark: .5 is chance; bootstrap over {}", report.bootstrap);
    if !report.missing.is_empty() {
        println!(
            "MISSING: {}; `celosia fetch --group evaluation` brings it, and the design asks for all",
            report.missing.join(", ")
        );
    }
    Ok(())
}
