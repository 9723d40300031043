//! Owns mask utility: what the shipped model still sees of a redacted face, on any annotated folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use models::{CellInput, ClassifierInfo, FaceDetector, MaskClassifier, MaskProbabilities};
use onnx::{MaskCells, Runtime};
use privacy::{Coarse, Noise, Policy, RawFrame, measure::TRIAL};
use proto::{manifest::Grid, result::FaceLabel};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{
    choice::Choice,
    end_to_end::{EndToEnd, Tally},
    plot,
    score::{Figures, Judged, figures, reliability},
    still,
    voc::{self, Face, Photo},
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder with `images/` and `annotations/` in Pascal VOC.
    #[arg(long)]
    voc: PathBuf,
    #[command(flatten)]
    choice: Choice,
    /// The model; without it the one in `--weights` that was trained for the policy.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder with the shipped models.
    #[arg(long, default_value = "models/weights")]
    weights: PathBuf,
    /// Faces with a shorter side below this many pixels are left out.
    #[arg(long, default_value_t = 32.0)]
    min_px: f32,
    /// How far each edge of an annotated box is moved at most, as a share of its side.
    #[arg(long, default_value_t = 0.06)]
    jitter: f32,
    /// Seed of jitter, noise keys and the bootstrap.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leaves out the whole pipeline on whole photos, which takes most of the time.
    #[arg(long)]
    faces_only: bool,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Writes a plot of the calibration (SVG).
    #[arg(long)]
    plot: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    policy: String,
    model: String,
    model_digest: String,
    min_px: f32,
    jitter: f32,
    seed: u64,
    pictures: usize,
    /// Boxes that are too small for the grid: answered by nobody, wrong in every figure.
    without_cells: usize,
    #[serde(flatten)]
    figures: Figures,
    end_to_end: Option<EndToEnd>,
}

/// What the whole pipeline needs beside the model.
pub(crate) struct Pipeline<'a> {
    pub detector: &'a mut dyn FaceDetector,
    pub auditor: &'a mut dyn FaceDetector,
}

pub(crate) fn run(
    options: &Options,
    runtime: &Runtime,
    pipeline: &mut Pipeline<'_>,
) -> anyhow::Result<()> {
    let (policy, name) = options.choice.policy()?;
    let path = match &options.model {
        Some(path) => path.clone(),
        None => shipped(&options.weights, &policy)?,
    };
    let model = MaskCells::open(runtime, &path)?;
    // Where no cells leave, answers leave as coarsely as the worker lets them.
    let mut model: Box<dyn MaskClassifier> =
        if policy.releases_cells() { Box::new(model) } else { Box::new(Coarse::new(model)?) };
    let policy = classified(policy, model.info())?;
    let photos = voc::read(&options.voc)?;
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    // Its own, so that leaving out whole photos changes nothing else.
    let mut keys = ChaCha8Rng::seed_from_u64(options.seed ^ u64::MAX);
    let (mut judged, mut without_cells) = (Vec::new(), 0);
    let mut tally = Tally::new(options.min_px);
    for (number, photo) in photos.iter().enumerate() {
        let bytes =
            std::fs::read(&photo.image).with_context(|| photo.image.display().to_string())?;
        let open = || RawFrame::from_still(&bytes, crate::cells::meta());
        let frame = open().with_context(|| photo.image.display().to_string())?;
        let looks = looks(&frame, photo, options, &policy, &mut random)?;
        without_cells += looks.iter().filter(|(_, grid)| grid.is_none()).count();
        judged.extend(judge(&mut *model, number, &looks)?);
        if !options.faces_only {
            let key = Noise::new(keys.random(), 0);
            tally.add(frame, (number, photo), pipeline, &policy, &key, &mut *model)?;
            if (number + 1).is_multiple_of(50) {
                eprintln!("{} of {} pictures", number + 1, photos.len());
            }
        }
    }
    if judged.is_empty() {
        bail!("{} has no face of {} px or more", options.voc.display(), options.min_px);
    }
    if let Some(file) = &options.plot {
        plot::reliability(file, &reliability(&judged))?;
    }
    let info = model.info();
    let report = Report {
        policy: name,
        model: info.name.clone(),
        model_digest: info.digest.to_string(),
        min_px: options.min_px,
        jitter: options.jitter,
        seed: options.seed,
        pictures: photos.len(),
        without_cells,
        figures: figures(&judged, options.seed),
        end_to_end: (!options.faces_only).then(|| tally.report(options.seed)),
    };
    print(&report, options.json)
}

/// The model in the folder whose description names the policy.
fn shipped(weights: &Path, policy: &Policy) -> anyhow::Result<PathBuf> {
    // `strict` draws the same cells as `cells` with more noise, and has no model of its own (MODEL_CARD.md); a trial is
    // read by whatever reads its grid.
    let wanted = match policy.name() {
        "strict" | TRIAL => "cells",
        name => name,
    };
    let entries = std::fs::read_dir(weights).with_context(|| weights.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let info = serde_json::from_slice::<ClassifierInfo>(&text);
        if info.is_ok_and(|info| info.policy == wanted) {
            return Ok(path.with_extension("onnx"));
        }
    }
    bail!("{} has no model for policy {wanted:?}; name one with --model", weights.display())
}

/// The policy whose cells the model reads: the chosen one or, where none are released, means as they are before a face
/// is covered, as the worker computes them.
fn classified(policy: Policy, info: &ClassifierInfo) -> anyhow::Result<Policy> {
    let reads = (info.rows, info.cols);
    match policy.grid() {
        Some(grid) if grid == reads => Ok(policy),
        None => Ok(Policy::trial(reads, 0, 1)),
        Some((rows, cols)) => {
            bail!("model {} reads {reads:?} cells, the policy draws {rows}x{cols}", info.name)
        }
    }
}

/// The cells of every face that is large enough, through a detector that is off by the jitter.
fn looks<'a>(
    frame: &RawFrame,
    photo: &'a Photo,
    options: &Options,
    policy: &Policy,
    random: &mut ChaCha8Rng,
) -> anyhow::Result<Vec<(&'a Face, Option<Grid>)>> {
    let large = photo.faces.iter().filter(|f| f.width().min(f.height()) >= options.min_px);
    large
        .map(|face| {
            let noise = Noise::new(random.random(), 0);
            let found = crate::cells::moved(face.boxed(), options.jitter, random);
            Ok((face, still::cells(frame, found, policy, &noise)?))
        })
        .collect()
}

fn judge(
    model: &mut dyn MaskClassifier,
    photo: usize,
    looks: &[(&Face, Option<Grid>)],
) -> anyhow::Result<Vec<Judged>> {
    let inputs: Vec<CellInput<'_>> =
        looks.iter().filter_map(|(_, grid)| Some(input(grid.as_ref()?))).collect();
    let mut answers = model.classify(&inputs)?.into_iter().zip(&inputs);
    let judged = looks.iter().map(|(face, grid)| {
        let answered = grid.is_some().then(|| answers.next()).flatten();
        let (answer, label) = match answered {
            Some((answer, input)) => (answer, model.info().label(input, &answer)),
            None => (MaskProbabilities::KNOWS_NOTHING, FaceLabel::Uncertain),
        };
        Judged { photo, class: face.class, answer, label }
    });
    Ok(judged.collect())
}

/// A manifest's grid as the classifier reads it.
pub(crate) fn input(grid: &Grid) -> CellInput<'_> {
    CellInput { cells: &grid.cells, box_w: grid.rect.w, box_h: grid.rect.h }
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    let f = &report.figures;
    println!("{} under policy {}: {} faces", report.model, report.policy, f.faces);
    for (name, value, [low, high], answered) in [
        ("F1-2", f.f1_2, f.f1_2_interval, f.f1_2_answered),
        ("F1-2-all", f.f1_2_all, f.f1_2_all_interval, f.f1_2_all_answered),
        ("F1-3", f.f1_3, f.f1_3_interval, f.f1_3_answered),
    ] {
        println!("{name:>9} {value:.3} [{low:.3}, {high:.3}], answered part {answered:.3}");
    }
    println!(
        "ECE {:.3}, Brier {:.3}, uncertain {:.3}, called no face {:.3}",
        f.ece, f.brier, f.uncertain_share, f.not_a_face_share
    );
    if let Some(end) = &report.end_to_end {
        println!("{end}");
    }
    Ok(())
}
