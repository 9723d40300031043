//! Owns the export of training data: the cells of every annotated face, made by the product's own redaction.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context;
use models::Detection;
use privacy::{FrameMeta, Noise, Policy, RawFrame};
use proto::{Clock, UtcTime, time::ClockSource};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::voc::{self, Face};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder with `images/` and `annotations/` in Pascal VOC, and maybe `index.csv` with the group of near-duplicates
    /// of each photo. May be given several times; photos of one name share a group.
    #[arg(long, required = true)]
    voc: Vec<PathBuf>,
    /// Redaction policy.
    #[arg(long, default_value = "default")]
    policy: String,
    /// File to write, one JSON object a line.
    #[arg(long)]
    out: PathBuf,
    /// How far each edge of a box is moved at most, as a share of its side.
    #[arg(long, default_value_t = 0.06)]
    jitter: f32,
    /// How often each face is drawn, each time with other jitter and noise.
    #[arg(long, default_value_t = 4)]
    draws: u32,
    /// Seed of jitter and noise keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Faces with a shorter side below this many pixels are left out.
    #[arg(long, default_value_t = 12.0)]
    min_px: f32,
}

/// One face as training reads it.
#[derive(Serialize)]
struct Row<'a> {
    stem: &'a str,
    group: &'a str,
    /// Position in the photo: several draws of one face share it.
    face: usize,
    class: u8,
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

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let policy = Policy::named(&options.policy)?;
    let mut groups = BTreeMap::new();
    let mut photos = Vec::new();
    for folder in &options.voc {
        groups.extend(voc::groups(folder)?);
        photos.extend(voc::read(folder)?);
    }
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let out = File::create(&options.out).with_context(|| options.out.display().to_string())?;
    let mut out = BufWriter::new(out);
    let mut rows = 0u64;
    for photo in &photos {
        let bytes =
            std::fs::read(&photo.image).with_context(|| photo.image.display().to_string())?;
        let frame = RawFrame::from_still(&bytes, meta())?;
        let group = groups.get(&photo.stem).unwrap_or(&photo.stem);
        let large = |face: &Face| face.width().min(face.height()) >= options.min_px;
        for (number, face) in photo.faces.iter().enumerate().filter(|(_, face)| large(face)) {
            for _ in 0..options.draws {
                let found = jittered(face, options.jitter, &mut random);
                let noise = Noise::new(random.random(), 0);
                if let Some(grid) = crate::still::cells(&frame, found, &policy, &noise)? {
                    let (w, h) = (grid.rect.w, grid.rect.h);
                    let (stem, class) = (photo.stem.as_str(), face.class as u8);
                    let row = Row { stem, group, face: number, class, w, h, cells: &grid.cells };
                    writeln!(out, "{}", serde_json::to_string(&row)?)?;
                    rows += 1;
                }
            }
        }
    }
    out.flush()?;
    eprintln!("{rows} rows of {} photos in {}", photos.len(), options.out.display());
    Ok(())
}

pub(crate) fn jittered(face: &Face, jitter: f32, random: &mut ChaCha8Rng) -> Detection {
    let mut moved = |size: f32| random.random_range(-jitter..=jitter) * size;
    let (w, h) = (face.width(), face.height());
    let [x0, y0, x1, y1] = face.corners;
    let (x0, y0, x1, y1) = (x0 + moved(w), y0 + moved(h), x1 + moved(w), y1 + moved(h));
    Detection { x: x0, y: y0, w: x1 - x0, h: y1 - y0, score: 1.0 }
}
