//! Owns the export of training data: the cells of every annotated face, and of the detector's own mistakes, made by the
//! product's own redaction.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};
use models::{Detection, FaceDetector};
use privacy::{FrameMeta, Noise, Policy, RawFrame};
use proto::{Clock, UtcTime, time::ClockSource};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{
    augment::Crop,
    choice::Choice,
    found::{self, Found},
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
    /// File of the detector's boxes, read when it exists and written otherwise: finding faces takes most of the time, and
    /// they are the same under every policy.
    #[arg(long)]
    found: Option<PathBuf>,
}

/// Looks at each face through the annotated box, with the jitter and a key each.
const ANNOTATED: u32 = 2;
/// Share of the other looks that have the detector's box, where it found the face.
const DETECTED: f64 = 0.6;
/// How many times the draws of a masked face the other classes get: there are fewer of them.
const MORE: [u32; 3] = [1, 3, 8];
/// Number of the class of boxes that hold no face.
const NOT_A_FACE: u8 = 3;
/// A box of this score and more that touches no annotated face is one of the detector's mistakes.
const FALSE_SCORE: f32 = 0.3;

/// Faces are learned from at this many pixels at most: cells are means, and finer ones teach nothing.
const LEARNED_PX: f32 = 96.0;

/// How a face is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum View {
    /// As it is, through the annotated box with the jitter of the options.
    Annotated,
    /// As it is, through the detector's own box.
    Detected,
    /// By other light, from further away, through a box that is off: what is learned from and calibrated on.
    Varied,
}

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
    view: View,
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
    let (policy, name) = options.choice.policy()?;
    if !policy.releases_cells() {
        bail!(
            "policy {name} releases no cells: name those of its classifier, such as --grid 16x16 --quantum 1"
        );
    }
    let file = File::create(&options.out).with_context(|| options.out.display().to_string())?;
    let mut export = Export {
        options,
        policy,
        random: ChaCha8Rng::seed_from_u64(options.seed),
        out: BufWriter::new(file),
        rows: 0,
    };
    let mut found = Found::open(options.found.as_deref())?;
    let mut groups = BTreeMap::new();
    for folder in &options.voc {
        groups.extend(voc::groups(folder)?);
    }
    for folder in &options.voc {
        let photos = voc::read(folder)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        for (number, photo) in photos.iter().enumerate() {
            let group = groups.get(&photo.stem).unwrap_or(&photo.stem);
            let stem = format!("{name}/{}", photo.stem);
            let frame = RawFrame::from_still(&std::fs::read(&photo.image)?, meta());
            let frame = frame.with_context(|| photo.image.display().to_string())?;
            let boxes = found.of(&stem, &frame, detector)?;
            export
                .photo(&frame, photo, (&stem, group), &boxes)
                .with_context(|| photo.image.display().to_string())?;
            if (number + 1).is_multiple_of(100) {
                eprintln!("{name}: {} of {} photos", number + 1, photos.len());
            }
        }
    }
    export.out.flush()?;
    found.keep(options.found.as_deref())?;
    eprintln!("{} rows in {}", export.rows, options.out.display());
    Ok(())
}

/// What all looks at one face share.
#[derive(Clone, Copy)]
struct Who<'a> {
    stem: &'a str,
    group: &'a str,
    face: usize,
    side: f32,
}

impl Export<'_> {
    fn photo(
        &mut self,
        frame: &RawFrame,
        photo: &Photo,
        (stem, group): (&str, &str),
        found: &[Detection],
    ) -> anyhow::Result<()> {
        for (number, face) in photo.faces.iter().enumerate() {
            let side = face.width().min(face.height());
            if side >= self.options.min_px {
                let who = Who { stem, group, face: number, side };
                self.face(frame, who, face, found::of_face(face, found))?;
            }
        }
        let touches =
            |found: &Detection| photo.faces.iter().any(|f| found.overlap(&f.boxed()) > 0.0);
        let mistakes = found.iter().filter(|f| f.score >= FALSE_SCORE && !touches(f));
        for (number, found) in mistakes.enumerate() {
            let side = found.w.min(found.h);
            let who = Who { stem, group, face: photo.faces.len() + number, side };
            let Some(crop) = Crop::of(frame, *found) else { continue };
            self.look(who, NOT_A_FACE, View::Detected, crop.clone(), false)?;
            let crop = crop.at_most(LEARNED_PX);
            for _ in 0..4 * self.options.draws {
                self.look(who, NOT_A_FACE, View::Varied, crop.clone(), false)?;
            }
        }
        Ok(())
    }

    fn face(
        &mut self,
        frame: &RawFrame,
        who: Who<'_>,
        face: &Face,
        detected: Option<Detection>,
    ) -> anyhow::Result<()> {
        let class = face.class as u8;
        let Some(annotated) = Crop::of(frame, face.boxed()) else { return Ok(()) };
        for _ in 0..ANNOTATED {
            self.look(who, class, View::Annotated, annotated.clone(), false)?;
        }
        if let Some(crop) = detected.and_then(|found| Crop::of(frame, found)) {
            self.look(who, class, View::Detected, crop, false)?;
        }
        let annotated = annotated.at_most(LEARNED_PX);
        let detected = detected.map(|found| annotated.place(&face.boxed(), found));
        let more = MORE.get(face.class as usize).copied().unwrap_or(1);
        for draw in 0..self.options.draws * more {
            let crop = self.through(annotated.clone(), detected);
            self.look(who, class, View::Varied, crop, false)?;
            if face.class == Class::NoMask {
                // The same face with a mask: worn right each third time, else wrong.
                let class = if draw % 3 == 0 { Class::Mask } else { Class::Incorrect };
                let drawn = masks::laid(annotated.clone(), class, &mut self.random);
                let crop = self.through(drawn, detected);
                self.look(who, class as u8, View::Varied, crop, true)?;
            }
        }
        Ok(())
    }

    /// The crop with the detector's box in it, or as it is.
    fn through(&mut self, crop: Crop, detected: Option<Detection>) -> Crop {
        match detected {
            Some(face) if self.random.random_bool(DETECTED) => Crop { face, ..crop },
            _ => crop,
        }
    }

    /// Writes one look, if the face has pixels enough for the grid.
    fn look(
        &mut self,
        Who { stem, group, face, side }: Who<'_>,
        class: u8,
        view: View,
        crop: Crop,
        drawn: bool,
    ) -> anyhow::Result<()> {
        let random = &mut self.random;
        let (crop, seen) = match view {
            View::Annotated => {
                let seen = moved(crop.face, self.options.jitter, random);
                (crop, seen)
            }
            View::Detected => (crop.clone(), crop.face),
            View::Varied => {
                let crop = crop.further(random).relit(random);
                let seen = crop.boxed(random);
                (crop, seen)
            }
        };
        let (frame, noise) = (crop.still.frame()?, Noise::new(random.random(), 0));
        let Some(grid) = still::cells(&frame, seen, &self.policy, &noise)? else { return Ok(()) };
        let (stem, cells) = (stem.to_owned(), grid.cells.as_slice());
        let (w, h) = (grid.rect.w, grid.rect.h);
        let row = Row { stem, group, face, class, side, view, drawn, w, h, cells };
        writeln!(self.out, "{}", serde_json::to_string(&row)?)?;
        self.rows += 1;
        Ok(())
    }
}

/// A box through a detector that is off: each edge moves by up to `jitter` of its side.
pub(crate) fn moved(found: Detection, jitter: f32, random: &mut ChaCha8Rng) -> Detection {
    let mut moved = |size: f32| random.random_range(-jitter..=jitter) * size;
    let Detection { x, y, w, h, score } = found;
    let (x0, y0, x1, y1) = (x + moved(w), y + moved(h), x + w + moved(w), y + h + moved(h));
    Detection { x: x0, y: y0, w: x1 - x0, h: y1 - y0, score }
}
