//! Owns how faces are shown: boxes over the picture, told apart by colour, line, and letter.

use proto::result::{FaceLabel, FaceResult};
use results::Track;

use super::format;
use crate::texts::Texts;

/// One face of a frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FaceView {
    pub(crate) number: usize,
    pub(crate) class: &'static str,
    /// One letter for small pictures.
    pub(crate) letter: &'static str,
    pub(crate) label: &'static str,
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) w: u32,
    pub(crate) h: u32,
    /// Where the tag begins and its text stands, in pixels of the picture.
    pub(crate) tag: Tag,
    pub(crate) probabilities: [Probability; 4],
    pub(crate) score: String,
    pub(crate) counted: bool,
    /// What the frames of its clip say of it together.
    pub(crate) track: String,
}

/// The little flag at a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) w: u32,
    pub(crate) h: u32,
    pub(crate) text_x: u32,
    pub(crate) text_y: u32,
    pub(crate) size: u32,
}

/// One of the probabilities of a face.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Probability {
    pub(crate) class: &'static str,
    pub(crate) text: String,
    /// In hundredths, for a bar.
    pub(crate) percent: f32,
}

/// An entry of the legend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LegendEntry {
    pub(crate) class: &'static str,
    pub(crate) letter: &'static str,
    pub(crate) label: &'static str,
}

pub(crate) const fn class(label: FaceLabel) -> &'static str {
    match label {
        FaceLabel::Mask => "mask",
        FaceLabel::NoMask => "no-mask",
        FaceLabel::Incorrect => "incorrect",
        FaceLabel::Uncertain => "uncertain",
        FaceLabel::NotAFace => "not-a-face",
    }
}

const fn letter(label: FaceLabel) -> &'static str {
    match label {
        FaceLabel::Mask => "M",
        FaceLabel::NoMask => "N",
        FaceLabel::Incorrect => "I",
        FaceLabel::Uncertain => "?",
        FaceLabel::NotAFace => "×",
    }
}

/// The legend, in the order of the counts.
pub(crate) fn legend(t: &'static Texts) -> Vec<LegendEntry> {
    let labels = [FaceLabel::Mask, FaceLabel::NoMask, FaceLabel::Incorrect, FaceLabel::Uncertain];
    let entry =
        |l: FaceLabel| LegendEntry { class: class(l), letter: letter(l), label: t.of_label(l) };
    labels.map(entry).to_vec()
}

/// How large tags are: letters on small pictures must be read, names on a large one must not cover it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// A tile: one letter, a twenty-fourth of the picture's width.
    Small,
    /// The frame's own page: the face's number and letter, a sixtieth.
    Large,
}

/// Faces as they are shown. Small pictures leave out what is in no count.
pub(crate) fn views(
    t: &'static Texts,
    (faces, tracks): (&[FaceResult], &[Track]),
    (width, height): (u32, u32),
    size: Size,
) -> Vec<FaceView> {
    let shown = |face: &&FaceResult| {
        size == Size::Large || (face.counted && face.label != FaceLabel::NotAFace)
    };
    let numbered = (1..).zip(faces).filter(|(_, face)| shown(face));
    let of_track = |number: usize| {
        let track = tracks.get(number - 1);
        track.map_or_else(String::new, |track| t.of_track(track.label, track.votes))
    };
    let view = |(number, face)| FaceView {
        track: of_track(number),
        ..view(t, number, face, (width, height), size)
    };
    numbered.map(view).collect()
}

fn view(
    t: &'static Texts,
    number: usize,
    face: &FaceResult,
    (width, height): (u32, u32),
    size: Size,
) -> FaceView {
    let rect = face.rect;
    let (text, digits) = match size {
        Size::Small => ((width / 26).max(9), 0),
        Size::Large => ((width / 64).max(9), 1 + number.ilog10()),
    };
    let tag_w = text * (9 + 6 * digits) / 10 + text / 3;
    let tag_h = text * 12 / 10;
    // Above the box where there is room, else inside; never over the picture's right edge.
    let x = rect.x.min(width.saturating_sub(tag_w));
    let y = if rect.y >= tag_h { rect.y - tag_h } else { rect.y.min(height.saturating_sub(tag_h)) };
    let tag = Tag {
        x,
        y,
        w: tag_w,
        h: tag_h,
        text_x: x + tag_w / 2,
        text_y: y + tag_h * 8 / 10,
        size: text,
    };
    let probability = |class, p: f32| Probability {
        class,
        text: format::probability(p),
        percent: p.clamp(0.0, 1.0) * 100.0,
    };
    FaceView {
        number,
        class: class(face.label),
        letter: letter(face.label),
        label: t.of_label(face.label),
        x: rect.x,
        y: rect.y,
        w: rect.w,
        h: rect.h,
        tag,
        probabilities: [
            probability("mask", face.mask),
            probability("no-mask", face.no_mask),
            probability("incorrect", face.incorrect),
            probability("not-a-face", face.not_a_face),
        ],
        score: format!("{:.2}", f64::from(face.score_milli) / 1000.0),
        counted: face.counted,
        track: String::new(),
    }
}
