//! Owns the export of training data: the cells of every annotated face, and of the detector's own mistakes, made by the
//! product's own redaction.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context;
use models::{Detection, FaceDetector, centerface::OVERLAP_MAX, detector::suppress};
use privacy::{FrameMeta, Noise, Policy, RawFrame};
use proto::{Clock, UtcTime, time::ClockSource};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{
    augment::Crop,
    choice::Choice,
    masks, still,
    voc::{self, Class, Face, Photo},
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder with `images/` and `annotations/` in Pascal VOC, and maybe `index.csv` with the group of near-duplicates
    /// of each photo. May be given several times; photos of one name share a group.
    #[arg(long, required = true)]
    voc: Vec<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// File to write, one JSON object a line.
    #[arg(long)]
    out: PathBuf,
    /// How far each edge of a box is moved at most in the plain looks, as a share of its side.
    #[arg(long, default_value_t = 0.06)]
    jitter: f32,
    /// Looks at each masked face as another camera might have it; rarer classes get more.
    #[arg(long, default_value_t = 8)]
    draws: u32,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Faces with a shorter side below this many pixels are left out.
    #[arg(long, default_value_t = 10.0)]
    min_px: f32,
}

/// Looks at each face as it is, with the jitter and a key each: what is judged.
const PLAIN: u32 = 2;
/// How many times the draws of a masked face the other classes get: there are fewer of them.
const MORE: [u32; 3] = [1, 3, 8];
/// Number of the class of boxes that hold no face.
const NOT_A_FACE: u8 = 3;
/// A box of this score and more that touches no annotated face is one of the detector's mistakes.
const FALSE_SCORE: f32 = 0.3;
/// Overlap (over union) from which a box is an annotated face.
const SAME_FACE: f32 = 0.4;

/// One look at a face as training reads it.
#[derive(Serialize)]
struct Row<'a> {
    stem: String,
    group: &'a str,
    /// Position in the photo: several looks at one face share it.
    face: usize,
    class: u8,
    /// Shorter side of the annotated box in pixels.
    side: f32,
    /// The face as it is, with the plain jitter.
    plain: bool,
    /// The mask was drawn.
    drawn: bool,
    w: u32,
    h: u32,
    cells: &'a [u8],
}

/// What stands for a frame's origin where only a photo is at hand.
pub(crate) fn meta() -> FrameMeta {
    let id = |text: &str| text.to_owned().try_into().unwrap_or_else(|_| unreachable!("constant"));
    let clip = proto::ClipId {
        site: id("evaluation"),
        camera: proto::CameraId::try_from("photo".to_owned()).unwrap_or_else(|_| unreachable!()),
        session: proto::SessionId::new([0; 16]),
        seq: 0,
    };
    FrameMeta {
        frame: proto::FrameId { clip, slot: 0 },
        captured_at: UtcTime::EPOCH,
        clip_captured_at: UtcTime::EPOCH,
        clock: Clock { source: ClockSource::Unknown, uncertainty_ms: None },
    }
}

struct Export<'a> {
    options: &'a Options,
    policy: Policy,
    random: ChaCha8Rng,
    out: BufWriter<File>,
    rows: u64,
}

pub(crate) fn run(options: &Options, detector: &mut dyn FaceDetector) -> anyhow::Result<()> {
    let file = File::create(&options.out).with_context(|| options.out.display().to_string())?;
    let mut export = Export {
        options,
        policy: options.choice.policy()?.0,
        random: ChaCha8Rng::seed_from_u64(options.seed),
        out: BufWriter::new(file),
        rows: 0,
    };
    let mut groups = BTreeMap::new();
    for folder in &options.voc {
        groups.extend(voc::groups(folder)?);
    }
    for folder in &options.voc {
        let photos = voc::read(folder)?;
        for (number, photo) in photos.iter().enumerate() {
            let group = groups.get(&photo.stem).unwrap_or(&photo.stem);
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            export
                .photo(photo, &format!("{name}/{}", photo.stem), group, detector)
                .with_context(|| photo.image.display().to_string())?;
            if (number + 1).is_multiple_of(100) {
                eprintln!("{name}: {} of {} photos", number + 1, photos.len());
            }
        }
    }
    export.out.flush()?;
    eprintln!("{} rows in {}", export.rows, options.out.display());
    Ok(())
}

impl Export<'_> {
    fn photo(
        &mut self,
        photo: &Photo,
        stem: &str,
        group: &str,
        detector: &mut dyn FaceDetector,
    ) -> anyhow::Result<()> {
        let frame = RawFrame::from_still(&std::fs::read(&photo.image)?, meta())?;
        let view = frame.view().context("an empty picture")?;
        let found = suppress(detector.detect(view)?, OVERLAP_MAX);
        let large = |face: &Face| face.width().min(face.height()) >= self.options.min_px;
        let faces = photo.faces.iter().enumerate().filter(|(_, face)| large(face));
        for (number, face) in faces.collect::<Vec<_>>() {
            self.face(&frame, stem, group, number, face, &found)?;
        }
        let touches =
            |found: &Detection| photo.faces.iter().any(|f| found.overlap(&boxed(f)) > 0.0);
        let mistakes = found.iter().filter(|f| f.score >= FALSE_SCORE && !touches(f));
        for (number, found) in mistakes.enumerate() {
            let number = photo.faces.len() + number;
            let look = (stem, group, number, NOT_A_FACE, found.w.min(found.h));
            for draw in 0..PLAIN + 4 * self.options.draws {
                let Some(crop) = Crop::of(&frame, *found) else { continue };
                self.look(look, crop, draw < PLAIN, false)?;
            }
        }
        Ok(())
    }

    fn face(
        &mut self,
        frame: &RawFrame,
        stem: &str,
        group: &str,
        number: usize,
        face: &Face,
        found: &[Detection],
    ) -> anyhow::Result<()> {
        let side = face.width().min(face.height());
        let Some(annotated) = Crop::of(frame, boxed(face)) else { return Ok(()) };
        // What the detector makes of this face, when it finds it: boxes of the product, not of annotators.
        let best =
            found.iter().max_by(|a, b| boxed(face).overlap(a).total_cmp(&boxed(face).overlap(b)));
        let detected = best
            .filter(|found| boxed(face).overlap(found) > SAME_FACE)
            .and_then(|found| Crop::of(frame, *found));
        for _ in 0..PLAIN {
            let look = (stem, group, number, face.class as u8, side);
            self.look(look, annotated.clone(), true, false)?;
        }
        let more = MORE.get(face.class as usize).copied().unwrap_or(1);
        for draw in 0..self.options.draws * more {
            let crop = match &detected {
                Some(detected) if self.random.random_bool(0.5) => detected.clone(),
                _ => annotated.clone(),
            };
            self.look((stem, group, number, face.class as u8, side), crop, false, false)?;
            if face.class == Class::NoMask {
                // The same face with a mask: worn right each third time, else wrong.
                let class = if draw % 3 == 0 { Class::Mask } else { Class::Incorrect };
                let drawn = masks::laid(annotated.clone(), class, &mut self.random);
                self.look((stem, group, number, class as u8, side), drawn, false, true)?;
            }
        }
        Ok(())
    }

    /// Writes one look, if the face has pixels enough for the grid.
    fn look(
        &mut self,
        (stem, group, face, class, side): (&str, &str, usize, u8, f32),
        crop: Crop,
        plain: bool,
        drawn: bool,
    ) -> anyhow::Result<()> {
        let random = &mut self.random;
        let (frame, found) = if plain {
            (crop.still.frame()?, moved(crop.face, self.options.jitter, random))
        } else {
            let crop = crop.further(random).relit(random);
            (crop.still.frame()?, crop.boxed(random))
        };
        let noise = Noise::new(random.random(), 0);
        let Some(grid) = still::cells(&frame, found, &self.policy, &noise)? else { return Ok(()) };
        let (stem, cells) = (stem.to_owned(), grid.cells.as_slice());
        let (w, h) = (grid.rect.w, grid.rect.h);
        let row = Row { stem, group, face, class, side, plain, drawn, w, h, cells };
        writeln!(self.out, "{}", serde_json::to_string(&row)?)?;
        self.rows += 1;
        Ok(())
    }
}

fn boxed(face: &Face) -> Detection {
    let [x, y, ..] = face.corners;
    Detection { x, y, w: face.width(), h: face.height(), score: 1.0 }
}

/// The box of a face through a detector that is off: each edge moves by up to `jitter` of its side.
pub(crate) fn jittered(face: &Face, jitter: f32, random: &mut ChaCha8Rng) -> Detection {
    moved(boxed(face), jitter, random)
}

/// As [`jittered`], for any box.
pub(crate) fn moved(found: Detection, jitter: f32, random: &mut ChaCha8Rng) -> Detection {
    let mut moved = |size: f32| random.random_range(-jitter..=jitter) * size;
    let Detection { x, y, w, h, score } = found;
    let (x0, y0, x1, y1) = (x + moved(w), y + moved(h), x + w + moved(w), y + h + moved(h));
    Detection { x: x0, y: y0, w: x1 - x0, h: y1 - y0, score }
}
