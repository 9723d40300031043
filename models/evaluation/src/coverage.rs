//! Owns the command `coverage`: the product's own way of every photo, or another's boxes on the same photos, and the
//! report as a table, JSON and a figure.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use base::{Clock as _, SystemClock};
use models::detector::Scripted;
use privacy::{Noise, Policy, RawFrame};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{
    area::Area,
    finders::{Finder, Pair},
    plot,
    tally::{Report, Row, Tally},
    voc::{self, Photo},
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder with `images/` and `annotations/` in Pascal VOC.
    #[arg(long)]
    voc: PathBuf,
    /// Redaction policy.
    #[arg(long, default_value = "default")]
    policy: String,
    /// Who finds faces.
    #[arg(long, value_enum, default_value = "centerface")]
    pub detector: Finder,
    /// What the detector covers alone: nobody checks.
    #[arg(long)]
    alone: bool,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Only every n-th photo: a quick look.
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// One half of the photos, told apart by their group of near-duplicates: settings are tuned on half a alone.
    #[arg(long)]
    half: Option<Half>,
    /// Folder with the `index.csv` that has the groups; the folder of the photos unless given.
    #[arg(long)]
    groups: Option<PathBuf>,
    /// What another redactor covered on the same photos, for a row of its own: one JSON object a line with `stem` and
    /// `boxes` (left, top, width, height in pixels). May be given several times.
    #[arg(long)]
    boxes: Vec<PathBuf>,
    /// Figure to write (SVG): recall by size with intervals.
    #[arg(long)]
    plot: Option<PathBuf>,
}

impl Options {
    /// What the report is of.
    fn by(&self, policy: &Policy) -> String {
        let name = policy.reference().name;
        match (self.detector, self.alone) {
            (Finder::CenterFace, false) => format!("celosia, policy {name}"),
            (finder, alone) => {
                let audited = if alone { "alone" } else { "audited" };
                format!("{finder:?}, {audited}, policy {name}")
            }
        }
    }
}

/// Half of the photos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Half {
    /// The half that settings may be tuned on.
    A,
    /// The half that they are reported on.
    B,
}

impl Half {
    /// Which half a group belongs to: by the first bit of its name's SHA-256, so that it never changes.
    fn of(group: &str) -> Self {
        let digest = Sha256::digest(group.as_bytes());
        if digest.first().is_some_and(|byte| byte % 2 == 0) { Self::A } else { Self::B }
    }
}

/// The photos of a folder, or one half of them.
pub(crate) fn photos(
    folder: &Path,
    groups: Option<&PathBuf>,
    half: Option<Half>,
) -> anyhow::Result<Vec<Photo>> {
    let mut photos = voc::read(folder)?;
    let Some(half) = half else { return Ok(photos) };
    let groups = voc::groups(groups.map_or(folder, PathBuf::as_path))?;
    if groups.is_empty() {
        bail!("halves need the groups of near-duplicates: --groups FOLDER with an index.csv");
    }
    photos.retain(|photo| Half::of(groups.get(&photo.stem).unwrap_or(&photo.stem)) == half);
    Ok(photos)
}

pub(crate) fn run(options: &Options, pair: Pair) -> anyhow::Result<()> {
    let Pair { mut detector, mut auditor } = pair;
    if options.alone {
        auditor = Box::new(Scripted::boxes(u8::MAX, vec![]));
    }
    let policy = Policy::named(&options.policy)?;
    let photos = photos(&options.voc, options.groups.as_ref(), options.half)?;
    let photos: Vec<&Photo> = photos.iter().step_by(options.every.max(1)).collect();
    let mut peers = Vec::new();
    for file in &options.boxes {
        peers.push((file, read_boxes(file)?, Tally::default()));
    }
    let clock = SystemClock::default();
    // The value of the key does not change where regions lie.
    let noise = Noise::new([0; 32], 0);
    let mut tally = Tally::default();
    for (number, photo) in photos.iter().enumerate() {
        let bytes =
            std::fs::read(&photo.image).with_context(|| photo.image.display().to_string())?;
        let raw = RawFrame::from_still(&bytes, crate::cells::meta())
            .with_context(|| photo.image.display().to_string())?;
        let size = raw.view().map(|view| (view.width(), view.height()));
        let start = clock.now();
        let frame = privacy::anonymise(raw, &mut *detector, &mut *auditor, &policy, &noise);
        let ms = (clock.now() - start).as_secs_f64() * 1000.0;
        let area = frame.as_ref().ok().map(|frame| Area::of(frame.size(), frame.regions()));
        tally.add(&photo.faces, area.as_ref(), ms);
        let size = size.and_then(|(w, h)| Some((u32::try_from(w).ok()?, u32::try_from(h).ok()?)));
        let size = size.context("a picture without a size")?;
        for (file, boxes, tally) in &mut peers {
            let boxes = boxes.get(&photo.stem);
            let boxes = boxes.with_context(|| format!("{}: no {}", file.display(), photo.stem))?;
            tally.add(&photo.faces, Some(&Area::of_boxes(size, &boxes.boxes)), boxes.ms);
        }
        if (number + 1) % 50 == 0 {
            eprintln!("{} of {} pictures", number + 1, photos.len());
        }
    }
    let mut report = tally.report(options.by(&policy));
    report.peers = peers
        .into_iter()
        .map(|(file, _, tally)| {
            tally.report(file.file_stem().unwrap_or_default().to_string_lossy().into_owned())
        })
        .collect();
    if let Some(file) = &options.plot {
        plot::coverage(file, &report)?;
    }
    print(&report, options.json)
}

/// What another redactor covered on one photo.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Boxes {
    stem: String,
    boxes: Vec<[f32; 4]>,
    #[serde(default)]
    ms: f64,
}

fn read_boxes(file: &Path) -> anyhow::Result<BTreeMap<String, Boxes>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let lines = text.lines().filter(|line| !line.trim().is_empty()).enumerate();
    let parsed = lines.map(|(number, line)| {
        let boxes: Boxes = serde_json::from_str(line)
            .with_context(|| format!("{} line {}", file.display(), number + 1))?;
        Ok((boxes.stem.clone(), boxes))
    });
    parsed.collect()
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    for report in std::iter::once(report).chain(&report.peers) {
        println!("{}", report.by);
        println!(
            "{:>10} {:>6} {:>6} {:>8} {:>15} {:>9} {:>15} {:>8}",
            "faces", "px", "n", "covered", "95%", "whole box", "95%", "withheld"
        );
        let line = |who: &str, px: &str, row: &Row| {
            let [[low, high], [box_low, box_high]] = [row.recall.interval, row.recall_box.interval];
            println!(
                "{who:>10} {px:>6} {:>6} {:>8.3} {low:>7.3}-{high:<7.3} {:>9.3} {box_low:>7.3}-{box_high:<7.3} {:>8}",
                row.counts.faces, row.recall.share, row.recall_box.share, row.counts.withheld
            );
        };
        for (px, row) in &report.bins {
            line("all", px, row);
        }
        line("all", "32+", &report.faces_32);
        for (class, rows) in &report.classes {
            for px in BTreeSet::from(["16-32", "32+"]) {
                if let Some(row) = rows.get(px) {
                    line(class, px, row);
                }
            }
        }
        println!(
            "{} pictures, {} withheld, {:.1} misses in 1,000 faces, a miss in {:.1}% of pictures\n\
             redacted share {:.3}, outside faces grown 1.6: median {:.3}, 95th percentile {:.3}; {:.0} ms a picture\n",
            report.pictures,
            report.withheld,
            report.misses_per_1000,
            report.pictures_with_a_miss.share * 100.0,
            report.redacted_share,
            report.outside_median,
            report.outside_p95,
            report.ms_per_picture
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_follow_the_group_and_never_change() {
        let of = ["maksssksksss0", "maksssksksss1", "maksssksksss100"].map(Half::of);
        assert_eq!(of, HALVES_OF_THE_TUNING);
    }

    /// As the half was when settings were tuned.
    const HALVES_OF_THE_TUNING: [Half; 3] = [Half::B, Half::A, Half::A];

    #[test]
    fn another_redactors_boxes_are_read_line_by_line_and_errors_name_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("peer.ndjson");
        std::fs::write(&file, "{\"stem\": \"a\", \"boxes\": [[1, 2, 3, 4.5]], \"ms\": 7}\n\n")
            .unwrap();
        let boxes = read_boxes(&file).unwrap();
        assert_eq!(
            (boxes["a"].boxes.as_slice(), boxes["a"].ms),
            (&[[1.0, 2.0, 3.0, 4.5]][..], 7.0)
        );
        std::fs::write(&file, "{\"stem\": \"a\", \"boxes\": []}\n{\"stem\": 3}\n").unwrap();
        let error = read_boxes(&file).err().unwrap().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
