//! Owns parrot re-identification: an attacker who redacts photos himself, with our code, and learns from them. How often
//! does he name the person behind a redacted face?

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use models::FaceDetector;
use onnx::{Recogniser, Runtime};
use privacy::Policy;
use serde::Serialize;

use crate::{
    attack::{Subject, Target},
    choice::{Choice, Point},
    crowd::{self, Crowd},
    exported,
    identity::{Folds, Outcome, Plan},
    leaving::{Answers, Leaving},
    looks::{self, Looks, Seen},
    people::{self, People, Photo},
    plot,
    spread::spread,
    strangers::{self, Ranks},
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder with one folder of photos a person.
    #[arg(long)]
    people: PathBuf,
    #[command(flatten)]
    choice: Choice,
    /// Many policies in one run that finds faces, measures the colour floor and attacks the clear faces once: a JSON list of
    /// objects with `name` and `arguments`. With `--json` one report a line, as each is done.
    #[arg(long, conflicts_with_all = ["grid", "policy"])]
    points: Option<PathBuf>,
    /// Folder in Pascal VOC whose faces of 48 px and more stand in the gallery as persons of one photo each: how far up the
    /// list is the right one?
    #[arg(long, value_name = "VOC")]
    strangers: Option<PathBuf>,
    /// How well noise hides whom many passed: of so many others at the same place within the epoch the mean is taken off. Of
    /// policies that release cells alone.
    #[arg(long, value_name = "OTHERS")]
    crowd: Option<usize>,
    /// File to write the looks to, a line a photo: what attackers of `models/training/identity.py` learn from. Of policies
    /// that release cells alone.
    #[arg(long, value_name = "FILE", conflicts_with = "points")]
    looks: Option<PathBuf>,
    /// How often the photos are dealt anew into four folds.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Figure to write (SVG): rank-1 by looks, beside one colour a face and the clear face.
    #[arg(long, conflicts_with = "points")]
    plot: Option<PathBuf>,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Names of the numbers of looks in reports.
const NAMES: [&str; 5] = ["1", "4", "16", "across 4", "across 16"];
/// The clear face as cells without noise: finer ones tell people apart no better.
const CLEAR_GRID: (u8, u8) = (10, 10);
/// Looks that are learned from where no noise makes them differ.
const CLEAR_LEARNED: usize = 3;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    policy: String,
    /// Chosen most often, on one look.
    attacker: String,
    people: usize,
    photos: usize,
    groups: usize,
    faces_detected: usize,
    unreadable: usize,
    repeats: usize,
    recogniser: bool,
    /// Rank-1 with so many looks within one epoch.
    observations: BTreeMap<&'static str, f64>,
    /// The same with a new epoch's noise in each look.
    across_epochs: BTreeMap<&'static str, f64>,
    chance: f64,
    /// One cell a face, no noise.
    colour_floor: f64,
    colour_floor_interval: [f64; 2],
    /// The same attackers on clear faces: a recogniser's embedding, or 10x10 cells without noise.
    clear: f64,
    clear_interval: [f64; 2],
    /// 95% of `observations.16`, bootstrap as `bootstrap` says.
    interval: [f64; 2],
    intervals: BTreeMap<&'static str, [f64; 2]>,
    /// Rank-1 of 16 looks within an epoch minus that of one, paired by photo.
    gain_within_epoch: f64,
    gain_within_epoch_interval: [f64; 2],
    gain_across_epochs: f64,
    gain_across_epochs_interval: [f64; 2],
    mean_reciprocal_rank: BTreeMap<&'static str, f64>,
    /// Share of right pairs accepted where one in ten wrong pairs is.
    tar_at_far_10: BTreeMap<&'static str, f64>,
    attackers: BTreeMap<&'static str, usize>,
    bootstrap: &'static str,
    /// For paired comparisons with other policies on the same photos: whose each photo is, and in which share of the repeats
    /// 16 looks within an epoch named him; nothing for photos that were never probed.
    person_of_photo: Vec<usize>,
    named_of_photo: Vec<Option<f64>>,
    /// With `--strangers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    among_strangers: Option<Ranks>,
    /// With `--crowd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_a_crowd: Option<Crowd>,
}

pub(crate) fn run(
    options: &Options,
    runtime: &Runtime,
    assets: &Path,
    detector: &mut dyn FaceDetector,
) -> anyhow::Result<()> {
    // All are read before anything is measured: a wrong one is told at once.
    let points = match &options.points {
        None => Vec::from([options.choice.policy()?]),
        Some(file) => {
            let points = Point::read(file)?.into_iter();
            points.map(|point| Ok((point.policy()?, point.name))).collect::<anyhow::Result<_>>()?
        }
    };
    let without_cells = points.iter().any(|(policy, _)| !policy.releases_cells());
    if options.looks.is_some() && without_cells {
        bail!("--looks: this policy releases no cells; name one that does, such as --policy cells");
    }
    if options.crowd.is_some() && points.iter().all(|(policy, _)| !policy.releases_cells()) {
        bail!("--crowd: without cells there is no noise to take off; name a policy such as cells");
    }
    let mut recogniser = recogniser(runtime, assets)?;
    let people = people::read(&options.people, detector, recogniser.as_mut())?;
    let taken = (people.people, people.photos.len());
    let strangers = options.strangers.as_ref();
    let strangers =
        strangers.map(|f| strangers::read(f, taken, recogniser.as_mut())).transpose()?;
    let answers = Answers::shipped(runtime)?;
    let crowd = (&people, strangers.unwrap_or_default());
    let attacked = Attacked::new(crowd, answers, options.repeats, options.seed)?;
    for (policy, name) in points {
        let report = attacked.report(&policy, name, options)?;
        if let Some(file) = &options.plot {
            report.plot(file)?;
        }
        print(&report, options)?;
    }
    Ok(())
}

/// The recogniser, when it was fetched.
pub(crate) fn recogniser(runtime: &Runtime, assets: &Path) -> anyhow::Result<Option<Recogniser>> {
    let path = assets.join("recogniser.onnx");
    if path.exists() {
        return Ok(Some(Recogniser::open(runtime, &path)?));
    }
    eprintln!(
        "no {}: attackers go without a recogniser; `celosia fetch --group evaluation` brings it",
        path.display()
    );
    Ok(None)
}

/// People under attack, and what is the same under every policy.
struct Attacked<'a> {
    people: &'a People,
    /// Persons of one photo each, whom nobody looks for.
    strangers: Vec<Photo>,
    answers: Answers,
    subjects: Vec<Subject>,
    plan: Plan,
    recogniser: bool,
    floor: Outcome,
    clear: Outcome,
}

impl<'a> Attacked<'a> {
    fn new(
        (people, strangers): (&'a People, Vec<Photo>),
        answers: Answers,
        repeats: usize,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let subjects = subjects(&people.photos);
        let plan = Plan { folds: Folds::deal(&subjects, repeats, seed), seed };
        let floor = Policy::trial((1, 1), 0, 1);
        let floor = seen(&people.photos, Leaving::Cells(&floor), &[Looks::One], seed)?;
        let floor = Target { subjects: &subjects, sources: vec![floor] };
        let floor = plan.run(&floor, 1, "colour floor");
        let fine = Policy::trial(CLEAR_GRID, 0, 1);
        let mut fine = seen(&people.photos, Leaving::Cells(&fine), &[Looks::One], seed)?;
        fine.iter_mut().flat_map(|seen| &mut seen.learned).for_each(|l| l.truncate(CLEAR_LEARNED));
        let mut sources = vec![fine];
        let recogniser = people.photos.iter().any(|photo| !photo.embedding.is_empty());
        if recogniser {
            sources.push(people.photos.iter().map(|photo| clear(&photo.embedding)).collect());
        }
        let clear = plan.run(&Target { subjects: &subjects, sources }, 1, "clear");
        Ok(Self { people, strangers, answers, plan, recogniser, floor, clear, subjects })
    }

    /// Everything that the report needs, for one policy.
    fn report(&self, policy: &Policy, name: String, options: &Options) -> anyhow::Result<Report> {
        let leaving = Leaving::under(policy, &self.answers);
        let photos = &self.people.photos;
        let seen = seen(photos, leaving, &Looks::ALL, self.plan.seed)?;
        if let Some(file) = &options.looks {
            let grid = policy.grid().context("a policy without cells")?;
            exported::write(file, photos, &seen, &self.plan.folds, grid)?;
        }
        let among_strangers = if self.strangers.is_empty() {
            None
        } else {
            Some(strangers::ranks((photos, &seen), &self.strangers, leaving, &self.plan)?)
        };
        let others = options.crowd.filter(|_| policy.releases_cells());
        let crowd = |n| crowd::attacked(self.people, &self.subjects, leaving, &self.plan, n);
        let in_a_crowd = others.map(crowd).transpose()?;
        let target = Target { subjects: &self.subjects, sources: vec![seen] };
        let redacted = self.plan.run(&target, Looks::ALL.len(), &name);
        Ok(Report { among_strangers, in_a_crowd, ..report(self, name, &redacted) })
    }
}

pub(crate) fn subjects<'a>(photos: impl IntoIterator<Item = &'a Photo>) -> Vec<Subject> {
    photos
        .into_iter()
        .map(|photo| Subject {
            person: photo.person,
            group: photo.group,
            embedding: photo.embedding.clone(),
        })
        .collect()
}

/// What is seen of each photo; one photo a processor is in memory at a time.
pub(crate) fn seen(
    photos: &[Photo],
    leaving: Leaving<'_>,
    kinds: &[Looks],
    seed: u64,
) -> anyhow::Result<Vec<Seen>> {
    let photos: Vec<(&Photo, u64)> = photos.iter().zip(seed..).collect();
    let seen = spread(photos.len(), |at| {
        let (photo, seed) = photos.get(at).context("a photo")?;
        looks::seen(&people::open(&photo.path)?, photo.face, leaving, kinds, *seed)
    });
    seen.into_iter().collect()
}

/// An embedding is the same however often the clear face is looked at.
fn clear(embedding: &[f32]) -> Seen {
    let look = embedding.to_vec();
    Seen { learned: vec![vec![look.clone()]], probed: vec![look] }
}

fn report(attacked: &Attacked<'_>, policy: String, redacted: &Outcome) -> Report {
    let Attacked { people, plan, recogniser, floor, clear, .. } = attacked;
    let named = |values: Vec<f64>| NAMES.into_iter().zip(values).collect::<BTreeMap<_, _>>();
    let rank1 = named((0..NAMES.len()).map(|kind| redacted.rank1(kind)).collect());
    let of = |names: [(&'static str, &str); 2]| {
        names.into_iter().filter_map(|(short, long)| Some((short, *rank1.get(long)?))).collect()
    };
    let mut observations: BTreeMap<_, _> = of([("4", "4"), ("16", "16")]);
    observations.extend(rank1.get_key_value("1").map(|(name, value)| (*name, *value)));
    let intervals = (0..NAMES.len()).map(|kind| plan.interval(&redacted.hits(kind), people));
    let intervals: Vec<[f64; 2]> = intervals.collect();
    let gain = |kind: usize| {
        let pairs = redacted.hits(kind).into_iter().zip(redacted.hits(0));
        let gains: Vec<Option<f64>> = pairs.map(|(a, b)| Some(a? - b?)).collect();
        (redacted.rank1(kind) - redacted.rank1(0), plan.interval(&gains, people))
    };
    let ((within, within_interval), (across, across_interval)) = (gain(2), gain(4));
    let attackers = redacted.chosen();
    let most = attackers.iter().max_by_key(|(_, times)| **times).map(|(name, _)| *name);
    let mut groups: Vec<usize> = people.photos.iter().map(|photo| photo.group).collect();
    groups.sort_unstable();
    groups.dedup();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand persons")]
    let chance = 1.0 / people.people as f64;
    Report {
        policy,
        attacker: most.unwrap_or("none").to_owned(),
        people: people.people,
        photos: people.photos.len(),
        groups: groups.len(),
        faces_detected: people.detected,
        unreadable: people.unreadable,
        repeats: plan.folds.repeats(),
        recogniser: *recogniser,
        observations,
        across_epochs: of([("4", "across 4"), ("16", "across 16")]),
        chance,
        colour_floor: floor.rank1(0),
        colour_floor_interval: plan.interval(&floor.hits(0), people),
        clear: clear.rank1(0),
        clear_interval: plan.interval(&clear.hits(0), people),
        interval: intervals.get(2).copied().unwrap_or_default(),
        intervals: NAMES.into_iter().zip(intervals).collect(),
        gain_within_epoch: within,
        gain_within_epoch_interval: within_interval,
        gain_across_epochs: across,
        gain_across_epochs_interval: across_interval,
        mean_reciprocal_rank: named((0..NAMES.len()).map(|k| redacted.reciprocal(k)).collect()),
        tar_at_far_10: named((0..NAMES.len()).map(|k| redacted.accepted(k)).collect()),
        attackers,
        bootstrap: plan.bootstrap(people),
        person_of_photo: people.photos.iter().map(|photo| photo.person).collect(),
        named_of_photo: redacted.hits(2),
        among_strangers: None,
        in_a_crowd: None,
    }
}

impl Report {
    fn plot(&self, file: &Path) -> anyhow::Result<()> {
        let column = |name: &str, share: f64, interval: [f64; 2]| plot::Shares {
            name: name.to_owned(),
            kinds: vec![(share, interval)],
        };
        let of_looks = NAMES.into_iter().filter_map(|name| {
            let short = name.trim_start_matches("across ");
            let of = if short == name { &self.observations } else { &self.across_epochs };
            Some(column(name, *of.get(short)?, *self.intervals.get(name)?))
        });
        let mut columns: Vec<plot::Shares> = of_looks.collect();
        columns.push(column("one colour", self.colour_floor, self.colour_floor_interval));
        columns.push(column("clear", self.clear, self.clear_interval));
        columns.push(column("chance", self.chance, [self.chance; 2]));
        let caption = format!("Policy {}: persons named, by looks", self.policy);
        plot::shares(file, (&caption, "rank-1"), &["best attacker (95%)"], &columns)
    }
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(report: &Report, options: &Options) -> anyhow::Result<()> {
    if options.json {
        let of_many = options.points.is_some();
        let line = if of_many {
            serde_json::to_string(report)
        } else {
            serde_json::to_string_pretty(report)
        };
        println!("{}", line?);
        return Ok(());
    }
    println!(
        "policy {}: {} people, {} photos in {} groups, face found in {}",
        report.policy, report.people, report.photos, report.groups, report.faces_detected
    );
    println!("{:>12} {:>7} {:>16} {:>6} {:>9}", "looks", "rank-1", "95%", "MRR", "TAR@10%");
    for name in NAMES {
        let [low, high] = report.intervals.get(name).copied().unwrap_or_default();
        let of = |map: &BTreeMap<&str, f64>| map.get(name).copied().unwrap_or_default();
        let rank1 = report
            .observations
            .get(name)
            .or_else(|| report.across_epochs.get(name.trim_start_matches("across ")));
        println!(
            "{name:>12} {:>7.3} {:>16} {:>6.3} {:>9.3}",
            rank1.copied().unwrap_or_default(),
            format!("[{low:.3}, {high:.3}]"),
            of(&report.mean_reciprocal_rank),
            of(&report.tar_at_far_10)
        );
    }
    println!(
        "chance {:.3}, colour floor {:.3}, clear {:.3}; gain of 16 looks: {:+.3} {:.3?} within an epoch, \
         {:+.3} {:.3?} across; attackers {:?}; bootstrap over {}",
        report.chance,
        report.colour_floor,
        report.clear,
        report.gain_within_epoch,
        report.gain_within_epoch_interval,
        report.gain_across_epochs,
        report.gain_across_epochs_interval,
        report.attackers,
        report.bootstrap
    );
    if let Some(ranks) = &report.among_strangers {
        println!("{ranks}");
    }
    if let Some(crowd) = &report.in_a_crowd {
        println!("{crowd}");
    }
    Ok(())
}
