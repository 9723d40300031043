//! Owns the calibration of the audit: operating points of the auditor tried on the same photos, the cheapest of those that
//! reach the design's goals within its bounds chosen on one half of the photos (by group of near-duplicates) and reported
//! on the other.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use anyhow::Context;
use models::{
    DetectError, Detection, FaceDetector, Family, Finding, PixelView, agreement::agreed,
    pixels::Norm, ultraface,
};
use onnx::{Detectors, Runtime, UltraFace};
use privacy::Policy;
use proto::Digest;
use serde::Serialize;

use crate::{
    audit::{Exposed, Options, Power, Run, area, exposed},
    coverage::{Half, photos},
    tally::Share,
    voc::{Face, Photo},
};

/// Bounds of the design: withheld pictures, and what the audit adds to the redacted share.
const WITHHELD_MAX: f64 = 0.01;
const ADDED_MAX: f64 = 0.05;
/// Goals of the design: deleted regions that are noticed at 32 px and more, and at 16 to 32 px.
const GOAL_LARGE: f64 = 0.90;
const GOAL_SMALL: f64 = 0.75;
/// Scales that are tried: none costs much more than the first, which audits today.
const SCALES: [&[usize]; 2] = [&[640, 320], &[704, 352]];
/// Scores that are tried: of a face that one scale sees, and the sum where two agree. Lower ones cost more of the picture
/// than the bound allows (tried down to .2).
const SCORES: [(f32, f32); 3] = [(0.7, 0.6), (0.6, 0.5), (0.5, 0.4)];
/// Rings that are tried around what the auditor found, in hundredths: above, beside, below.
const RINGS: [(u8, u8, u8); 2] = [(10, 10, 10), (15, 15, 15)];
/// Score from which a box is looked at at all.
const SEEN: f32 = 0.1;

/// An operating point.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Point {
    long_sides: &'static [usize],
    alone: f32,
    together: f32,
    ring: (u8, u8, u8),
}

/// What a point gave on some photos.
#[derive(Debug, Clone, Default)]
struct Sums {
    pictures: u32,
    withheld: u32,
    added: f64,
    power: [Power; 3],
}

/// A row of the table.
#[derive(Debug, Clone, Serialize)]
struct Row {
    #[serde(flatten)]
    point: Point,
    pictures: u32,
    withheld: u32,
    withheld_share: Share,
    added_share: f64,
    /// Deleted regions noticed, of how many, and the rate: 32 px and more, then 16 to 32 px.
    large: (u32, u32, Share),
    small: (u32, u32, Share),
    within_bounds: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    withheld_max: f64,
    added_max: f64,
    goals: [f64; 2],
    /// Half A, on which the point is chosen.
    points: Vec<Row>,
    chosen: Option<Row>,
    /// The same point on half B.
    chosen_on_half_b: Option<Row>,
    /// What the product runs, on both halves.
    today: Vec<Row>,
}

fn points() -> Vec<Point> {
    let mut points = Vec::new();
    for long_sides in SCALES {
        for (alone, together) in SCORES {
            points.extend(RINGS.map(|ring| Point { long_sides, alone, together, ring }));
        }
    }
    points
}

impl Point {
    fn finding(&self) -> Finding {
        Finding {
            long_sides: self.long_sides.to_vec(),
            seen: SEEN,
            alone: self.alone,
            together: self.together,
        }
    }

    /// Whether this is what the product runs.
    fn is_todays(&self, policy: &Policy) -> bool {
        self.finding() == ultraface::finding() && policy.audit_ring() == self.ring
    }
}

/// An auditor whose network runs once for each scale and picture, however many points are asked.
struct Replay {
    scales: Vec<(usize, UltraFace)>,
    known: HashMap<(u64, usize), Vec<Detection>>,
    finding: Finding,
}

impl Replay {
    fn open(runtime: &Runtime, assets: &Path) -> anyhow::Result<Self> {
        let mut sides: Vec<usize> = SCALES.into_iter().flatten().copied().collect();
        sides.sort_unstable();
        sides.dedup();
        let model = assets.join("ultraface-any-size.onnx");
        let scales = sides.into_iter().map(|side| {
            let finding = Finding::plain(vec![side], SEEN);
            Ok((side, UltraFace::finding(runtime, &model, finding)?))
        });
        let scales = scales.collect::<anyhow::Result<_>>()?;
        Ok(Self { scales, known: HashMap::new(), finding: ultraface::finding() })
    }
}

/// Tells the pictures of one photo apart.
fn key(view: PixelView<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for value in view.halved(Norm { mean: 0.0, scale: 1.0 }) {
        value.to_bits().hash(&mut hasher);
    }
    hasher.finish()
}

impl FaceDetector for Replay {
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        let picture = key(view);
        let longest = view.width().max(view.height());
        let (mut scales, mut sizes) = (Vec::new(), Vec::new());
        for (side, network) in &mut self.scales {
            // Of a small picture, two scales can be one.
            let size = (*side).min(2 * longest);
            if !self.finding.long_sides.contains(side) || sizes.contains(&size) {
                continue;
            }
            sizes.push(size);
            let found = match self.known.get(&(picture, *side)) {
                Some(found) => found.clone(),
                None => {
                    let found = network.detect(view)?;
                    self.known.insert((picture, *side), found.clone());
                    found
                }
            };
            scales.push(found);
        }
        Ok(agreed(&scales, &self.finding))
    }

    fn name(&self) -> &'static str {
        "ultraface, replayed"
    }

    fn digest(&self) -> Digest {
        Digest::of(b"replayed")
    }

    fn family(&self) -> Family {
        Family::UltraFace
    }
}

pub(crate) fn run(options: &Options, runtime: &Runtime, assets: &Path) -> anyhow::Result<()> {
    let points = points();
    let policy = Policy::named(&options.policy)?;
    // Each half has a processor and networks of its own.
    let [a, b]: [anyhow::Result<Vec<Sums>>; 2] = std::thread::scope(|scope| {
        let halves = [Half::A, Half::B].map(|half| {
            let points = &points;
            scope.spawn(move || one_half(options, runtime, assets, points, half))
        });
        halves.map(|half| half.join().map_err(|_| anyhow::anyhow!("a half panicked"))?)
    });
    let rows = |sums: Vec<Sums>| -> Vec<Row> {
        points.iter().zip(&sums).map(|(point, sums)| sums.row(point)).collect()
    };
    let [a, b] = [rows(a?), rows(b?)];
    let best = best(&a);
    let today = points.iter().position(|point| point.is_todays(&policy));
    let at = |rows: &[Row], at: Option<usize>| at.and_then(|at| rows.get(at)).cloned();
    let report = Report {
        withheld_max: WITHHELD_MAX,
        added_max: ADDED_MAX,
        goals: [GOAL_LARGE, GOAL_SMALL],
        chosen: at(&a, best),
        chosen_on_half_b: at(&b, best),
        today: [at(&a, today), at(&b, today)].into_iter().flatten().collect(),
        points: a,
    };
    print(&report, options.json)
}

/// All photos of one half at every point.
fn one_half(
    options: &Options,
    runtime: &Runtime,
    assets: &Path,
    points: &[Point],
    half: Half,
) -> anyhow::Result<Vec<Sums>> {
    let mut detector = Detectors::open(runtime, assets)?.detector;
    let mut replay = Replay::open(runtime, assets)?;
    let mut sums = vec![Sums::default(); points.len()];
    let photos = photos(&options.voc, options.groups.as_ref(), Some(half))?;
    let photos: Vec<&Photo> = photos.iter().step_by(options.every.max(1)).collect();
    for (number, photo) in photos.iter().enumerate() {
        replay.known.clear();
        one(options, &mut detector, &mut replay, photo, points, &mut sums, number as u64)?;
        if (number + 1).is_multiple_of(50) {
            eprintln!("half {half:?}: {} of {} pictures", number + 1, photos.len());
        }
    }
    Ok(sums)
}

/// One photo at every point, with the same regions deleted.
fn one(
    options: &Options,
    detector: &mut dyn FaceDetector,
    replay: &mut Replay,
    photo: &Photo,
    points: &[Point],
    sums: &mut [Sums],
    number: u64,
) -> anyhow::Result<()> {
    let policy = Policy::named(&options.policy)?;
    let mut run = Run::new(detector, replay, policy.clone(), options.seed.wrapping_add(number));
    let found = run.detect(photo)?;
    let alone = run.unaudited(photo, &found)?.context("the detector alone withheld")?;
    let share = area(&alone).share();
    let deleted: Vec<Exposed<'_>> = exposed(&mut run, photo, &found, options.deletions)?;
    for (point, sums) in points.iter().zip(sums) {
        replay.finding = point.finding();
        let policy = policy.clone().audited(point.ring);
        let mut run = Run::new(detector, replay, policy, options.seed);
        sums.pictures += 1;
        match run.audited(photo, &found)? {
            Ok(frame) => sums.added += area(&frame).share() - share,
            Err(_) => sums.withheld += 1,
        }
        for Exposed { bin, face, rest } in &deleted {
            let noticed = noticed(&mut run, photo, face, rest)?;
            if let Some(power) = sums.power.get_mut(*bin) {
                power.add(noticed);
            }
        }
    }
    Ok(())
}

fn noticed(
    run: &mut Run<'_>,
    photo: &Photo,
    face: &Face,
    rest: &[Detection],
) -> anyhow::Result<bool> {
    Ok(run.audited(photo, rest)?.map_or(true, |frame| area(&frame).covers(face).0))
}

impl Sums {
    fn row(&self, point: &Point) -> Row {
        let large = self.power.iter().skip(1).fold(Power::default(), |sum, power| sum.and(*power));
        let small = self.power.first().copied().unwrap_or_default();
        let told =
            |power: Power| (power.noticed, power.deleted, Share::of(power.noticed, power.deleted));
        let withheld_share = Share::of(self.withheld, self.pictures);
        let added_share = self.added / f64::from((self.pictures - self.withheld).max(1));
        Row {
            point: point.clone(),
            pictures: self.pictures,
            withheld: self.withheld,
            withheld_share,
            added_share,
            large: told(large),
            small: told(small),
            within_bounds: withheld_share.share <= WITHHELD_MAX && added_share <= ADDED_MAX,
        }
    }
}

/// The cheapest row within the bounds that has both goals; where none has, the one that is nearest to both.
fn best(rows: &[Row]) -> Option<usize> {
    let score = |row: &Row| {
        let least = (row.large.2.share / GOAL_LARGE).min(row.small.2.share / GOAL_SMALL);
        least.min(1.0)
    };
    let allowed = rows.iter().enumerate().filter(|(_, row)| row.within_bounds);
    let best = allowed.max_by(|(_, a), (_, b)| {
        let cheaper = b.added_share.total_cmp(&a.added_share);
        score(a).total_cmp(&score(b)).then(cheaper)
    });
    best.map(|(at, _)| at)
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    println!(
        "| scales | alone | together | ring | 32 px and more | 16-32 px | added | withheld | |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let line = |row: &Row, note: &str| {
        let told = |(_, n, Share { share, interval: [low, high] }): (u32, u32, Share)| {
            format!("{share:.3} [{low:.3}, {high:.3}] of {n}")
        };
        let Point { long_sides, alone, together, ring } = &row.point;
        println!(
            "| {long_sides:?} | {alone} | {together} | {ring:?} | {} | {} | {:.4} | {} of {} | {note} |",
            told(row.large),
            told(row.small),
            row.added_share,
            row.withheld,
            row.pictures
        );
    };
    for row in &report.points {
        line(row, if row.within_bounds { "" } else { "over a bound" });
    }
    report.chosen.iter().for_each(|row| line(row, "chosen, half A"));
    report.chosen_on_half_b.iter().for_each(|row| line(row, "chosen, half B"));
    for (row, half) in report.today.iter().zip(["A", "B"]) {
        line(row, &format!("today, half {half}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(large: (u32, u32), small: (u32, u32), added: f64, withheld: u32) -> Row {
        let power = |(noticed, deleted)| Power { deleted, noticed };
        let sums = Sums {
            pictures: 100,
            withheld,
            added: added * f64::from(100 - withheld),
            power: [power(small), power(large), Power::default()],
        };
        sums.row(&points()[0])
    }

    #[test]
    fn the_chosen_point_is_the_cheapest_within_both_bounds_that_has_both_goals_or_comes_nearest() {
        let rows = [
            row((80, 100), (60, 100), 0.01, 0),
            row((92, 100), (80, 100), 0.04, 1),
            row((99, 100), (99, 100), 0.06, 0),
            row((99, 100), (99, 100), 0.02, 2),
            row((91, 100), (80, 100), 0.03, 0),
            row((85, 100), (80, 100), 0.02, 0),
        ];
        assert_eq!(best(&rows), Some(4), "the second is better and costs more");
        assert_eq!(best(&rows[2..4]), None, "over a bound");
        assert_eq!(best(&[rows[0].clone(), rows[5].clone()]), Some(1), "none has both");
    }

    #[test]
    fn what_the_product_runs_is_among_the_points() {
        let policy = Policy::named("default").unwrap();
        assert_eq!(points().iter().filter(|point| point.is_todays(&policy)).count(), 1);
    }
}
