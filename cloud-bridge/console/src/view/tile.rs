//! Owns the small form of a frame: its picture with boxes, camera, time, state.

use proto::{FrameId, UtcTime};
use results::{Counts, FrameRow, FrameState};

use super::{
    faces::{FaceView, Size, views},
    format,
};
use crate::texts::Texts;

/// A frame among others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tile {
    pub(crate) href: String,
    pub(crate) picture: String,
    pub(crate) alt: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) faces: Vec<FaceView>,
    pub(crate) camera: String,
    pub(crate) time: String,
    pub(crate) iso: String,
    pub(crate) chip: Chip,
    /// Counts by class, letter and number; empty without a result.
    pub(crate) counts: Vec<(&'static str, &'static str, u64)>,
}

/// A word on a coloured ground.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chip {
    pub(crate) class: &'static str,
    pub(crate) text: String,
}

/// The address of a frame's page.
pub(crate) fn href(frame: &FrameId) -> String {
    format!("/frames/{frame}")
}

pub(crate) fn chip(t: &'static Texts, state: &FrameState) -> Chip {
    match state {
        FrameState::Awaiting { .. } => Chip { class: "waiting", text: t.state_waiting.to_owned() },
        FrameState::Done { .. } => Chip { class: "good", text: t.state_done.to_owned() },
        FrameState::Dead { .. } => Chip { class: "bad", text: t.state_dead.to_owned() },
    }
}

/// Width and height of a frame, 16 to 9 where neither manifest nor result has told.
pub(crate) fn dimensions(row: &FrameRow) -> (u32, u32) {
    let of_result = row.result().map(|result| (result.width, result.height));
    let of_manifest = row.about.as_ref().map(|about| (about.width, about.height));
    of_result.or(of_manifest).unwrap_or((1920, 1080))
}

pub(crate) fn tile(t: &'static Texts, row: &FrameRow, now: UtcTime) -> Tile {
    let (width, height) = dimensions(row);
    let counts = row.result().map(Counts::of);
    let time = format::time(row.captured_at);
    let camera = row.frame.clip.camera.to_string();
    let numbers = counts.map(|c| [c.mask, c.no_mask, c.incorrect, c.uncertain]);
    let faces =
        row.result().map(|r| views(t, (&r.faces, &row.tracks), (width, height), Size::Small));
    let with_letters = |[mask, no_mask, incorrect, uncertain]: [u64; 4]| {
        vec![
            ("mask", "M", mask),
            ("no-mask", "N", no_mask),
            ("incorrect", "I", incorrect),
            ("uncertain", "?", uncertain),
        ]
    };
    Tile {
        href: href(&row.frame),
        picture: format!("/pictures/{}", row.frame),
        alt: t.picture_of(&camera, &time, numbers),
        width,
        height,
        faces: faces.unwrap_or_default(),
        camera,
        time: format::short(row.captured_at, now),
        iso: row.captured_at.to_string(),
        chip: chip(t, &row.state),
        counts: numbers.map(with_letters).unwrap_or_default(),
    }
}
