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
    tally::Share,
    voc::{Face, Photo},
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder with `images/` and `annotations/` in Pascal VOC.
    #[arg(long)]
    voc: PathBuf,
    /// Redaction policy.
    #[arg(long, default_value = "default")]
    policy: String,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Only every n-th photo: a quick look.
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Regions deleted in each photo at most, one at a time.
    #[arg(long, default_value_t = 2)]
    deletions: usize,
    /// One half of the photos, told apart by their group of near-duplicates.
    #[arg(long)]
    half: Option<Half>,
    /// Folder with the `index.csv` that has the groups; the folder of the photos unless given.
    #[arg(long)]
    groups: Option<PathBuf>,
    /// Seed of the choice of regions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Deleted regions of one size and how many of them were noticed.
#[derive(Debug, Clone, Copy, Default)]
struct Power {
    deleted: u32,
    noticed: u32,
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
struct Run<'a> {
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
    let mut run = Run {
        detector,
        auditor,
        policy: Policy::named(&options.policy)?,
        // The value of the key does not change where regions lie.
        noise: Noise::new([0; 32], 0),
        random: ChaCha8Rng::seed_from_u64(options.seed),
    };
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
        run.delete(photo, &found, options.deletions, &mut power)?;
        if pictures.is_multiple_of(50) {
            eprintln!("{pictures} pictures of {}", photos.len() / options.every.max(1));
        }
    }
    let delivered = f64::from((pictures - withheld).max(1));
    let mut rows: BTreeMap<&'static str, Power> = BINS.into_iter().zip(power).collect();
    let large = power.iter().skip(1).fold(Power::default(), |sum, row| Power {
        deleted: sum.deleted + row.deleted,
        noticed: sum.noticed + row.noticed,
    });
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
    print(&report, options.json)
}

fn area(frame: &AnonymisedFrame) -> Area {
    Area::of(frame.size(), frame.regions())
}

impl Run<'_> {
    fn raw(photo: &Photo) -> anyhow::Result<RawFrame> {
        let file = || photo.image.display().to_string();
        let bytes = std::fs::read(&photo.image).with_context(file)?;
        RawFrame::from_still(&bytes, crate::cells::meta()).with_context(file)
    }

    fn detect(&mut self, photo: &Photo) -> anyhow::Result<Vec<Detection>> {
        let raw = Self::raw(photo)?;
        Ok(self.detector.detect(raw.view().context("a picture without pixels")?)?)
    }

    /// The product's redaction of these boxes, and an auditor that finds nothing.
    fn unaudited(
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
    fn audited(
        &mut self,
        photo: &Photo,
        found: &[Detection],
    ) -> anyhow::Result<Result<AnonymisedFrame, Withheld>> {
        let raw = Self::raw(photo)?;
        let redacted = privacy::redact(raw, found, self.detector, &self.policy, &self.noise);
        Ok(redacted
            .and_then(|frame| privacy::audit(frame, self.auditor, &self.policy, &self.noise)))
    }

    /// Deletes the boxes of one annotated face after the other, as if the detector had not seen it, and asks the
    /// auditor. A face that its neighbours' regions still cover is not exposed, and no trial.
    fn delete(
        &mut self,
        photo: &Photo,
        found: &[Detection],
        deletions: usize,
        power: &mut [Power; 3],
    ) -> anyhow::Result<()> {
        let mut faces: Vec<&Face> = photo.faces.iter().collect();
        faces.shuffle(&mut self.random);
        let mut done = 0;
        for face in faces {
            let Some(row) = bin(face).and_then(|bin| power.get_mut(bin)) else { continue };
            let rest: Vec<Detection> = found.iter().filter(|d| !is_of(d, face)).copied().collect();
            if done == deletions || rest.len() == found.len() {
                continue;
            }
            let Some(exposed) = self.unaudited(photo, &rest)? else { continue };
            if area(&exposed).covers(face).0 {
                continue;
            }
            let noticed = match self.audited(photo, &rest)? {
                Ok(frame) => area(&frame).covers(face).0,
                Err(_) => true,
            };
            row.deleted += 1;
            row.noticed += u32::from(noticed);
            done += 1;
        }
        Ok(())
    }
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
