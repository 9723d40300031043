//! Owns a folder of people: one folder a person, its photos, the face in each, and which photos are near-duplicates.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use models::{Detection, FaceDetector, PixelView, pixels::Window};
use onnx::Recogniser;
use privacy::RawFrame;

use crate::still::Still;

/// One photo of a person.
pub(crate) struct Photo {
    pub person: usize,
    /// Near-duplicates of one person share it.
    pub group: usize,
    pub path: PathBuf,
    /// The largest face, else the whole photo.
    pub face: Detection,
    /// How a recogniser sees the clear face; empty without one.
    pub embedding: Vec<f32>,
}

/// The folder.
pub(crate) struct People {
    pub people: usize,
    pub photos: Vec<Photo>,
    /// Photos in which the detector found a face.
    pub detected: usize,
    /// Files that are no pictures.
    pub unreadable: usize,
}

/// Boxes of this score and more are faces.
const FACE_SCORE: f32 = 0.5;
/// Pictures with a shorter side below this are enlarged: jitter of 5% of a tiny box would vanish in its snapping.
const SMALL: usize = 64;
/// Shorter side of an enlarged picture, about.
const ENLARGED: usize = 96;
/// Sides of the thumbnail by which photos are compared.
const THUMB: usize = 16;
/// Two photos of one person whose thumbnails differ by less than this share of their spread are near-duplicates.
const DUPLICATE: f32 = 0.12;

/// Reads every photo once. `recogniser` sees the clear faces.
pub(crate) fn read(
    folder: &Path,
    detector: &mut dyn FaceDetector,
    recogniser: Option<&mut Recogniser>,
) -> anyhow::Result<People> {
    let folders = sorted(folder)?.into_iter().filter(|path| path.is_dir());
    let photos = |person: PathBuf| {
        anyhow::Ok(sorted(&person)?.into_iter().filter(|path| path.is_file()).collect())
    };
    let persons: Vec<Vec<PathBuf>> = folders.map(photos).collect::<anyhow::Result<_>>()?;
    let people = of(&persons, detector, recogniser)?;
    if people.people < 2 {
        bail!("{} needs at least two folders with photos, one a person", folder.display());
    }
    Ok(people)
}

/// The same of the photos of each person.
pub(crate) fn of(
    persons: &[Vec<PathBuf>],
    detector: &mut dyn FaceDetector,
    mut recogniser: Option<&mut Recogniser>,
) -> anyhow::Result<People> {
    let mut people = People { people: 0, photos: Vec::new(), detected: 0, unreadable: 0 };
    for person in persons {
        let (mut thumbs, first) = (Vec::new(), people.photos.len());
        for path in person {
            let Ok(frame) = open(path) else {
                people.unreadable += 1;
                continue;
            };
            let view = frame.view().context("an empty picture")?;
            let found = largest(detector.detect(view)?);
            people.detected += usize::from(found.is_some());
            let face = found.unwrap_or_else(|| whole(view));
            let embedding = match &mut recogniser {
                Some(recogniser) => recogniser.embed(&portrait(view, face)?.planes)?,
                None => Vec::new(),
            };
            thumbs.push(thumbnail(view)?);
            let (person, path) = (people.people, path.clone());
            people.photos.push(Photo { person, group: 0, path, face, embedding });
        }
        let photos = people.photos.iter_mut().skip(first);
        for (photo, group) in photos.zip(groups(&thumbs)) {
            photo.group = first + group;
        }
        people.people += usize::from(!thumbs.is_empty());
    }
    Ok(people)
}

fn sorted(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// A photo as it is measured: small ones are enlarged.
pub(crate) fn open(path: &Path) -> anyhow::Result<RawFrame> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let frame = RawFrame::from_still(&bytes, crate::cells::meta())
        .with_context(|| path.display().to_string())?;
    let view = frame.view().context("an empty picture")?;
    let short = view.width().min(view.height());
    if short >= SMALL {
        return Ok(frame);
    }
    let times = ENLARGED.div_ceil(short);
    Still::scaled(view, view.width() * times, view.height() * times).frame()
}

fn largest(found: Vec<Detection>) -> Option<Detection> {
    let faces = found.into_iter().filter(|face| face.score >= FACE_SCORE);
    faces.max_by(|a, b| (a.w * a.h).total_cmp(&(b.w * b.h)))
}

#[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
fn whole(view: PixelView<'_>) -> Detection {
    Detection { x: 0.0, y: 0.0, w: view.width() as f32, h: view.height() as f32, score: 1.0 }
}

/// The square around a face as recognisers take it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to the picture, whose sides are under 2^16"
)]
pub(crate) fn square(view: PixelView<'_>, face: Detection) -> Window {
    let side = (face.w.max(face.h)).min(view.width().min(view.height()) as f32).max(1.0);
    let start = |at: f32, size: f32, whole: usize| {
        (at + (size - side) / 2.0).clamp(0.0, (whole as f32 - side).max(0.0)) as usize
    };
    let (x, y) = (start(face.x, face.w, view.width()), start(face.y, face.h, view.height()));
    Window { x, y, w: side as usize, h: side as usize }
}

/// What a recogniser is shown of a clear face.
pub(crate) fn portrait(view: PixelView<'_>, face: Detection) -> anyhow::Result<Still> {
    let cut = Still::cut(view, square(view, face)).context("a face outside its picture")?;
    Ok(cut.reduced(Recogniser::SIDE, Recogniser::SIDE))
}

/// A small grey picture of mean 0 and spread 1.
fn thumbnail(view: PixelView<'_>) -> anyhow::Result<Vec<f32>> {
    let window = Window { x: 0, y: 0, w: view.width(), h: view.height() };
    let small = Still::cut(view, window).context("an empty picture")?.reduced(THUMB, THUMB);
    let grey: Vec<f32> =
        (0..THUMB * THUMB).map(|at| small.pixel(at).into_iter().sum::<f32>() / 3.0).collect();
    #[expect(clippy::cast_precision_loss, reason = "a thumbnail")]
    let n = grey.len() as f32;
    let mean = grey.iter().sum::<f32>() / n;
    let spread = (grey.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt().max(1e-3);
    Ok(grey.into_iter().map(|v| (v - mean) / spread).collect())
}

/// The group of each photo: chains of near-duplicates, numbered by their first photo.
fn groups(thumbs: &[Vec<f32>]) -> Vec<usize> {
    let mut group: Vec<usize> = (0..thumbs.len()).collect();
    for (i, a) in thumbs.iter().enumerate() {
        for (j, b) in thumbs.iter().enumerate().take(i) {
            #[expect(clippy::cast_precision_loss, reason = "a thumbnail")]
            let difference =
                a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len().max(1) as f32;
            let both = group.get(i).copied().zip(group.get(j).copied());
            if let Some((of_i, of_j)) = both.filter(|_| difference < DUPLICATE) {
                let (from, to) = (of_i.max(of_j), of_i.min(of_j));
                group.iter_mut().filter(|g| **g == from).for_each(|g| *g = to);
            }
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_duplicates_chain_into_one_group() {
        let thumb = |shift: f32| (0..256).map(|i| (i % 16) as f32 / 8.0 + shift).collect();
        let thumbs: Vec<Vec<f32>> = vec![thumb(0.0), thumb(9.0), thumb(0.1), thumb(0.2)];
        assert_eq!(groups(&thumbs), [0, 1, 0, 0]);
    }

    #[test]
    fn the_largest_sure_face_counts() {
        let face = |w: f32, score: f32| Detection { x: 0.0, y: 0.0, w, h: w, score };
        let found = largest(vec![face(10.0, 0.9), face(30.0, 0.6), face(90.0, 0.2)]);
        assert_eq!(found.map(|face| face.w), Some(30.0));
        assert!(largest(vec![face(10.0, 0.3)]).is_none());
    }
}
