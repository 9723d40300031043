//! Owns the command `audit`: what the audit costs (frames withheld, more of the picture redacted) and its power: with one
//! true region deleted at random, how often the auditor notices.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use models::{Detection, FaceDetector, detector::Scripted};
use privacy::{AnonymisedFrame, Noise, Policy, RawFrame, Withheld};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{
    area::{Area, BINS, bin},
    coverage::{Half, photos},
    plot,
    tally::Share,
    voc::{Face, Photo},
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder with `images/` and `annotations/` in Pascal VOC.
    #[arg(long)]
    pub voc: PathBuf,
    /// Redaction policy.
    #[arg(long, default_value = "default")]
    pub policy: String,
    /// Figure to write (SVG): how many of the deleted regions are noticed, by size.
    #[arg(long, conflicts_with = "calibrate")]
    pub plot: Option<PathBuf>,
    /// JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Only every n-th photo: a quick look.
    #[arg(long, default_value_t = 1)]
    pub every: usize,
    /// Regions deleted in each photo at most, one at a time.
    #[arg(long, default_value_t = 2)]
    pub deletions: usize,
    /// One half of the photos, told apart by their group of near-duplicates.
    #[arg(long)]
    pub half: Option<Half>,
    /// Folder with the `index.csv` that has the groups; the folder of the photos unless given.
    #[arg(long)]
    pub groups: Option<PathBuf>,
    /// Seed of the choice of regions.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Tries operating points of the auditor instead, and chooses one on half a by the design's bounds.
    #[arg(long, conflicts_with = "half")]
    pub calibrate: bool,
}

/// Deleted regions of one size and how many of them were noticed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Power {
    pub deleted: u32,
    pub noticed: u32,
}

impl Power {
    pub(crate) const fn add(&mut self, noticed: bool) {
        self.deleted += 1;
        self.noticed += noticed as u32;
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self { deleted: self.deleted + other.deleted, noticed: self.noticed + other.noticed }
    }
}

#[derive(Debug, Serialize)]
struct PowerRow {
    deleted: u32,
    /// The face was covered in the end all the same, or the frame was withheld.
    noticed: u32,
    rate: Share,
}

#[derive(Debug, Serialize)]
struct Report {
    pictures: u32,
    withheld: u32,
    withheld_share: Share,
    /// Redacted by the detector alone, over delivered pictures.
    detector_share: f64,
    /// What the audit adds to it.
    added_share: f64,
    power: BTreeMap<&'static str, PowerRow>,
    seed: u64,
}

/// What every frame of a run needs.
pub(crate) struct Run<'a> {
    detector: &'a mut dyn FaceDetector,
    auditor: &'a mut dyn FaceDetector,
    policy: Policy,
    noise: Noise,
    random: ChaCha8Rng,
}

/// Share of a face's box, or of a found box if that is smaller, that they must share for the found box to be the face's.
const SHARED: f32 = 0.25;

pub(crate) fn run(
    options: &Options,
    detector: &mut dyn FaceDetector,
    auditor: &mut dyn FaceDetector,
) -> anyhow::Result<()> {
    let photos = photos(&options.voc, options.groups.as_ref(), options.half)?;
    let mut run = Run::new(detector, auditor, Policy::named(&options.policy)?, options.seed);
    let mut power = [Power::default(); 3];
    let (mut pictures, mut withheld) = (0u32, 0u32);
    let (mut base, mut added) = (0.0, 0.0);
    for photo in photos.iter().step_by(options.every.max(1)) {
        let found = run.detect(photo)?;
        let alone = run.unaudited(photo, &found)?.context("the detector alone withheld")?;
        pictures += 1;
        match run.audited(photo, &found)? {
            Ok(frame) => {
                let share = area(&alone).share();
                base += share;
                added += area(&frame).share() - share;
            }
            Err(_) => withheld += 1,
        }
        for Exposed { bin, face, rest } in exposed(&mut run, photo, &found, options.deletions)? {
            let noticed = match run.audited(photo, &rest)? {
                Ok(frame) => area(&frame).covers(face).0,
                Err(_) => true,
            };
            if let Some(power) = power.get_mut(bin) {
                power.add(noticed);
            }
        }
        if pictures.is_multiple_of(50) {
            eprintln!("{pictures} pictures of {}", photos.len() / options.every.max(1));
        }
    }
    let delivered = f64::from((pictures - withheld).max(1));
    let mut rows: BTreeMap<&'static str, Power> = BINS.into_iter().zip(power).collect();
    let large = power.iter().skip(1).fold(Power::default(), |sum, row| sum.and(*row));
    rows.insert("32+", large);
    let row = |Power { deleted, noticed }| PowerRow {
        deleted,
        noticed,
        rate: Share::of(noticed, deleted),
    };
    let report = Report {
        pictures,
        withheld,
        withheld_share: Share::of(withheld, pictures),
        detector_share: base / delivered,
        added_share: added / delivered,
        power: rows.into_iter().map(|(name, power)| (name, row(power))).collect(),
        seed: options.seed,
    };
    if let Some(file) = &options.plot {
        let column = |(px, row): (&&str, &PowerRow)| plot::Shares {
            name: format!("{px} px"),
            kinds: vec![(row.rate.share, row.rate.interval)],
        };
        let columns: Vec<plot::Shares> = report.power.iter().map(column).collect();
        let caption = ("Deleted regions that the audit notices", "share");
        plot::shares(file, caption, &["noticed (95%)"], &columns)?;
    }
    print(&report, options.json)
}

pub(crate) fn area(frame: &AnonymisedFrame) -> Area {
    Area::of(frame.size(), frame.regions())
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        detector: &'a mut dyn FaceDetector,
        auditor: &'a mut dyn FaceDetector,
        policy: Policy,
        seed: u64,
    ) -> Self {
        // The value of the key does not change where regions lie.
        let noise = Noise::new([0; 32], 0);
        Self { detector, auditor, policy, noise, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    fn raw(photo: &Photo) -> anyhow::Result<RawFrame> {
        let file = || photo.image.display().to_string();
        let bytes = std::fs::read(&photo.image).with_context(file)?;
        RawFrame::from_still(&bytes, crate::cells::meta()).with_context(file)
    }

    pub(crate) fn detect(&mut self, photo: &Photo) -> anyhow::Result<Vec<Detection>> {
        let raw = Self::raw(photo)?;
        Ok(self.detector.detect(raw.view().context("a picture without pixels")?)?)
    }

    /// The product's redaction of these boxes, and an auditor that finds nothing.
    pub(crate) fn unaudited(
        &self,
        photo: &Photo,
        found: &[Detection],
    ) -> anyhow::Result<Option<AnonymisedFrame>> {
        let mut silent = Scripted::boxes(u8::MAX, vec![]);
        let (raw, detector) = (Self::raw(photo)?, &*self.detector);
        let redacted = privacy::redact(raw, found, detector, &self.policy, &self.noise);
        let audited = redacted
            .and_then(|frame| privacy::audit(frame, &mut silent, &self.policy, &self.noise));
        Ok(audited.ok())
    }

    /// The product's redaction of these boxes and its audit.
    pub(crate) fn audited(
        &mut self,
        photo: &Photo,
        found: &[Detection],
    ) -> anyhow::Result<Result<AnonymisedFrame, Withheld>> {
        let raw = Self::raw(photo)?;
        let redacted = privacy::redact(raw, found, self.detector, &self.policy, &self.noise);
        Ok(redacted
            .and_then(|frame| privacy::audit(frame, self.auditor, &self.policy, &self.noise)))
    }
}

/// A face whose boxes are deleted, as if the detector had not seen it, and the boxes that are left.
pub(crate) struct Exposed<'a> {
    pub bin: usize,
    pub face: &'a Face,
    pub rest: Vec<Detection>,
}

/// Some annotated faces of a photo, by lot, each deleted alone. A face that its neighbours' regions still cover is not
/// exposed, and no trial.
pub(crate) fn exposed<'a>(
    run: &mut Run<'_>,
    photo: &'a Photo,
    found: &[Detection],
    deletions: usize,
) -> anyhow::Result<Vec<Exposed<'a>>> {
    let mut faces: Vec<&Face> = photo.faces.iter().collect();
    faces.shuffle(&mut run.random);
    let mut exposed = Vec::new();
    for face in faces {
        let Some(bin) = bin(face) else { continue };
        let rest: Vec<Detection> = found.iter().filter(|d| !is_of(d, face)).copied().collect();
        if exposed.len() == deletions || rest.len() == found.len() {
            continue;
        }
        let Some(without) = run.unaudited(photo, &rest)? else { continue };
        if !area(&without).covers(face).0 {
            exposed.push(Exposed { bin, face, rest });
        }
    }
    Ok(exposed)
}

fn is_of(found: &Detection, face: &Face) -> bool {
    let [x0, y0, x1, y1] = face.corners;
    let side = |a: f32, aw: f32, low: f32, high: f32| ((a + aw).min(high) - a.max(low)).max(0.0);
    let shared = side(found.x, found.w, x0, x1) * side(found.y, found.h, y0, y1);
    shared > SHARED * (found.w * found.h).min(face.width() * face.height())
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    println!("{:>6} {:>8} {:>8} {:>6} {:>15}", "px", "deleted", "noticed", "rate", "95%");
    for (px, row) in &report.power {
        let Share { share, interval: [low, high] } = row.rate;
        println!(
            "{px:>6} {:>8} {:>8} {share:>6.3} {low:>7.3}-{high:<7.3}",
            row.deleted, row.noticed
        );
    }
    println!(
        "{} pictures, {} withheld; redacted share {:.3} by the detector, {:.3} added by the audit",
        report.pictures, report.withheld, report.detector_share, report.added_share
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voc::Class;

    #[test]
    fn boxes_of_a_face_are_those_that_share_a_good_part_with_it() {
        let face = Face { class: Class::Mask, corners: [100.0, 100.0, 140.0, 150.0] };
        let at = |x, w| Detection { x, y: 100.0, w, h: 50.0, score: 0.5 };
        assert!(is_of(&at(105.0, 40.0), &face), "nearly the same box");
        assert!(is_of(&at(90.0, 400.0), &face), "a box around it");
        assert!(is_of(&at(110.0, 10.0), &face), "a box in it");
        assert!(!is_of(&at(135.0, 40.0), &face), "a neighbour");
    }
}
