//! Owns the looks of an attack as a file, for attackers that learn elsewhere: a line a photo, as
//! `models/training/identity.py` reads it.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::Context;
use serde::Serialize;

use crate::{identity::Folds, looks::Seen, people::Photo};

/// A photo.
#[derive(Serialize)]
struct Line<'a> {
    person: usize,
    /// Its fold in each repeat: it is probed by whoever learned from the other folds.
    folds: Vec<usize>,
    /// Cells over a face, down and across; each is red, green and blue of 0 to 1, row by row.
    grid: (u8, u8),
    /// For each kind of looks those that are learned from, and the one that is probed.
    learned: &'a [Vec<Vec<f32>>],
    probed: &'a [Vec<f32>],
}

/// Writes the looks at all photos, kinds in the order of [`crate::looks::Looks::ALL`].
pub(crate) fn write(
    file: &Path,
    photos: &[Photo],
    seen: &[Seen],
    folds: &Folds,
    grid: (u8, u8),
) -> anyhow::Result<()> {
    let told = || format!("{} cannot be written", file.display());
    let mut out = BufWriter::new(File::create(file).with_context(told)?);
    for (number, (photo, seen)) in photos.iter().zip(seen).enumerate() {
        let Seen { learned, probed } = seen;
        let folds = folds.of(number);
        let line = Line { person: photo.person, folds, grid, learned, probed };
        serde_json::to_writer(&mut out, &line).with_context(told)?;
        writeln!(out).with_context(told)?;
    }
    out.flush().with_context(told)
}
