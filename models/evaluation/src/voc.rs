//! Owns the reading of a Pascal VOC folder: `images/` and `annotations/`, three class names.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use models::Detection;
use serde::Deserialize;

/// One annotated face.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Face {
    /// How it wears a mask.
    pub class: Class,
    /// Left, top, right, bottom in pixels.
    pub corners: [f32; 4],
}

impl Face {
    pub(crate) fn width(&self) -> f32 {
        self.corners[2] - self.corners[0]
    }

    pub(crate) fn height(&self) -> f32 {
        self.corners[3] - self.corners[1]
    }

    /// The annotated box as a detector would give it.
    pub(crate) fn boxed(&self) -> Detection {
        let [x, y, ..] = self.corners;
        Detection { x, y, w: self.width(), h: self.height(), score: 1.0 }
    }
}

/// The three class names of the annotations, numbered as training reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Mask = 0,
    NoMask = 1,
    Incorrect = 2,
}

/// One annotated photo.
#[derive(Debug)]
pub(crate) struct Photo {
    pub stem: String,
    pub image: PathBuf,
    pub faces: Vec<Face>,
}

#[derive(Deserialize)]
struct Annotation {
    filename: String,
    #[serde(default)]
    object: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    name: String,
    bndbox: Corners,
}

#[derive(Deserialize)]
struct Corners {
    xmin: f32,
    ymin: f32,
    xmax: f32,
    ymax: f32,
}

/// Every photo of the folder, sorted by name.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Vec<Photo>> {
    let annotations = folder.join("annotations");
    let entries = std::fs::read_dir(&annotations)
        .with_context(|| format!("{} has no folder annotations", folder.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "xml"));
    paths.sort();
    if paths.is_empty() {
        bail!("{} holds no annotation (*.xml)", annotations.display());
    }
    paths.iter().map(|path| photo(folder, path)).collect()
}

/// The group of near-duplicates of each photo: columns `stem` and `dup_group` of `index.csv`; nothing without that file.
pub(crate) fn groups(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let path = folder.join("index.csv");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let pairs = text.lines().skip(1).map(|line| {
        let mut columns = line.split(',');
        let pair = columns.next().zip(columns.next());
        pair.map(|(stem, group)| (stem.to_owned(), group.to_owned()))
            .with_context(|| format!("{}: {line:?} has no group", path.display()))
    });
    pairs.collect()
}

fn photo(folder: &Path, path: &Path) -> anyhow::Result<Photo> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let annotation: Annotation =
        quick_xml::de::from_str(&text).with_context(|| path.display().to_string())?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let faces = annotation.object.iter().map(face).collect::<anyhow::Result<_>>();
    let faces = faces.with_context(|| path.display().to_string())?;
    Ok(Photo { stem, image: folder.join("images").join(annotation.filename), faces })
}

fn face(object: &Object) -> anyhow::Result<Face> {
    let class = match object.name.as_str() {
        "with_mask" => Class::Mask,
        "without_mask" => Class::NoMask,
        "mask_weared_incorrect" => Class::Incorrect,
        other => bail!("class {other:?} is not one of the three"),
    };
    let Corners { xmin, ymin, xmax, ymax } = object.bndbox;
    Ok(Face { class, corners: [xmin, ymin, xmax, ymax] })
}
