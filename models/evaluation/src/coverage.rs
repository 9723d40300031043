//! Owns coverage recall as the design defines it: a face is covered when 90% of the central 70% of its annotated box (in
//! width and in height) lies in redacted regions; the stricter reading takes 90% of the whole box.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use base::{Clock as _, SystemClock};
use models::FaceDetector;
use privacy::{Noise, Policy, RawFrame};
use proto::manifest::{Rect, Region};
use serde::Serialize;

use crate::voc::{self, Face};

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
}

#[derive(Debug, Default, Serialize)]
struct Bin {
    faces: u32,
    covered: u32,
    covered_box: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    bins: BTreeMap<&'static str, Bin>,
    redacted_share: f64,
    pictures: u32,
    withheld: u32,
    ms_per_picture: f64,
}

/// Shares that make a face covered, from the design's definition.
const COVERED: f64 = 0.9;
const CENTRAL: f32 = 0.7;

pub(crate) fn run(
    options: &Options,
    detector: &mut dyn FaceDetector,
    auditor: &mut dyn FaceDetector,
) -> anyhow::Result<()> {
    let policy = Policy::named(&options.policy)?;
    let photos = voc::read(&options.voc)?;
    let clock = SystemClock::default();
    // The value of the key does not change where regions lie.
    let noise = Noise::new([0; 32], 0);
    let bins = ["16-32", "32-64", "64+"].map(|name| (name, Bin::default()));
    let mut report = Report {
        bins: BTreeMap::from(bins),
        redacted_share: 0.0,
        pictures: 0,
        withheld: 0,
        ms_per_picture: 0.0,
    };
    for photo in photos.iter().step_by(options.every.max(1)) {
        let bytes =
            std::fs::read(&photo.image).with_context(|| photo.image.display().to_string())?;
        let raw = RawFrame::from_still(&bytes, crate::cells::meta())
            .with_context(|| photo.image.display().to_string())?;
        let start = clock.now();
        let frame = privacy::anonymise(raw, detector, auditor, &policy, &noise);
        report.ms_per_picture += (clock.now() - start).as_secs_f64() * 1000.0;
        report.pictures += 1;
        // A withheld frame shows nobody: each of its faces is covered, and its whole area is the price.
        let mask = frame.as_ref().ok().map(|frame| Mask::new(frame.size(), frame.regions()));
        report.withheld += u32::from(mask.is_none());
        report.redacted_share += mask.as_ref().map_or(1.0, Mask::share);
        for face in &photo.faces {
            count(&mut report.bins, face, mask.as_ref());
        }
        if report.pictures.is_multiple_of(50) {
            eprintln!("{} of {} pictures", report.pictures, photos.len() / options.every.max(1));
        }
    }
    let pictures = f64::from(report.pictures.max(1));
    report.redacted_share /= pictures;
    report.ms_per_picture /= pictures;
    print(&report, options.json)
}

fn count(bins: &mut BTreeMap<&'static str, Bin>, face: &Face, mask: Option<&Mask>) {
    let name = match face.width().min(face.height()) {
        side if side < 16.0 => return,
        side if side < 32.0 => "16-32",
        side if side < 64.0 => "32-64",
        _ => "64+",
    };
    let bin = bins.entry(name).or_default();
    let covered = |part: f32| mask.is_none_or(|mask| mask.covered(face, part) >= COVERED);
    bin.faces += 1;
    bin.covered += u32::from(covered(CENTRAL));
    bin.covered_box += u32::from(covered(1.0));
}

/// Which pixels are redacted.
struct Mask {
    width: usize,
    height: usize,
    redacted: Vec<bool>,
}

impl Mask {
    fn new((width, height): (u32, u32), regions: &[Region]) -> Self {
        let (width, height) = (width as usize, height as usize);
        let mut mask = Self { width, height, redacted: vec![false; width * height] };
        let grids = regions.iter().filter_map(|region| region.grid.as_ref().map(|g| g.rect));
        for rect in regions.iter().flat_map(|region| region.fill.iter().copied()).chain(grids) {
            mask.mark(rect);
        }
        mask
    }

    fn mark(&mut self, rect: Rect) {
        let [x, y, w, h] = [rect.x, rect.y, rect.w, rect.h].map(|v| v as usize);
        for row in self.redacted.chunks_mut(self.width).skip(y).take(h) {
            row.iter_mut().skip(x).take(w).for_each(|pixel| *pixel = true);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "pictures have fewer than 2^24 pixels")]
    fn share(&self) -> f64 {
        self.redacted.iter().filter(|pixel| **pixel).count() as f64 / self.redacted.len() as f64
    }

    /// Share of the central part of a face's box that is redacted; 1 when no pixel of it is in the picture.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the picture"
    )]
    fn covered(&self, face: &Face, part: f32) -> f64 {
        let [x0, y0, x1, y1] = face.corners;
        let span = |low: f32, high: f32, side: usize| {
            let (middle, half) = (f32::midpoint(low, high), (high - low) * part / 2.0);
            let clamp = |v: f32| v.round().clamp(0.0, side as f32) as usize;
            clamp(middle - half)..clamp(middle + half)
        };
        let (columns, rows) = (span(x0, x1, self.width), span(y0, y1, self.height));
        let (mut all, mut hidden) = (0u32, 0u32);
        for row in self.redacted.chunks(self.width).skip(rows.start).take(rows.len()) {
            for pixel in row.iter().skip(columns.start).take(columns.len()) {
                all += 1;
                hidden += u32::from(*pixel);
            }
        }
        if all == 0 { 1.0 } else { f64::from(hidden) / f64::from(all) }
    }
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    println!("{:>8} {:>7} {:>9} {:>9}", "size px", "faces", "covered", "whole box");
    for (name, bin) in &report.bins {
        let n = f64::from(bin.faces.max(1));
        let (covered, whole) = (f64::from(bin.covered) / n, f64::from(bin.covered_box) / n);
        println!("{name:>8} {:>7} {covered:>9.3} {whole:>9.3}", bin.faces);
    }
    println!(
        "{} pictures, {} withheld, redacted share {:.3}, {:.0} ms a picture",
        report.pictures, report.withheld, report.redacted_share, report.ms_per_picture
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voc::Class;

    #[test]
    fn a_face_is_covered_by_its_central_part_or_its_whole_box() {
        let rect = Rect { x: 10, y: 10, w: 70, h: 100 };
        let mask = Mask::new((100, 120), &[Region { fill: vec![rect], grid: None }]);
        let face = Face { class: Class::Mask, corners: [0.0, 10.0, 100.0, 110.0] };
        // Whole box: 70 of 100 columns. Central part: columns 15 to 85, of which 15 to 80 are redacted.
        assert!((mask.covered(&face, 1.0) - 0.70).abs() < 1e-9);
        assert!((mask.covered(&face, CENTRAL) - 65.0 / 70.0).abs() < 1e-9);
        assert!((mask.share() - 7000.0 / 12_000.0).abs() < 1e-9);
    }

    #[test]
    fn a_withheld_frame_covers_its_faces_and_small_faces_are_left_out() {
        let mut bins = BTreeMap::new();
        let face = Face { class: Class::Mask, corners: [0.0, 0.0, 20.0, 40.0] };
        count(&mut bins, &face, None);
        count(&mut bins, &Face { corners: [0.0, 0.0, 15.0, 40.0], ..face }, None);
        assert_eq!((bins.len(), bins["16-32"].faces, bins["16-32"].covered_box), (1, 1, 1));
    }
}
