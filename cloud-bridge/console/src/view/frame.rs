//! Owns the page of one frame: everything that its result can be explained with.

use askama::Template;
use proto::{FrameId, manifest::ModelRef, result::Placement};
use results::{FrameRow, FrameState};

use super::{
    faces::{FaceView, LegendEntry, Size, legend, views},
    format,
    page::{Notice, Page},
    tile::{Chip, chip, dimensions, href},
};
use crate::texts::Texts;

/// A line of what explains the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) label: &'static str,
    pub(crate) text: String,
    /// Digests and ids: set in a fixed pitch.
    pub(crate) code: Option<String>,
}

/// Facts that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) facts: Vec<Fact>,
}

/// Whether the frame in the store is the one that was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seal {
    /// It is.
    Good,
    /// It is not, and is not shown.
    Bad,
    /// The store did not say.
    Unread,
}

/// The whole page.
#[derive(Debug, Template)]
#[template(path = "frame.html")]
pub(crate) struct FramePage {
    pub(crate) page: Page,
    pub(crate) t: &'static Texts,
    pub(crate) notices: Vec<Notice>,
    pub(crate) camera: String,
    pub(crate) time: String,
    pub(crate) iso: String,
    pub(crate) chip: Chip,
    /// What the function said when it gave no result.
    pub(crate) reason: Option<String>,
    /// Absent when the object is not the sealed frame.
    pub(crate) picture: Option<String>,
    pub(crate) alt: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) faces: Vec<FaceView>,
    pub(crate) has_result: bool,
    pub(crate) legend: Vec<LegendEntry>,
    pub(crate) groups: Vec<Group>,
    pub(crate) seal_class: &'static str,
    pub(crate) seal_text: &'static str,
    pub(crate) json: Option<String>,
    pub(crate) manifest: Option<String>,
    pub(crate) older: Option<String>,
    pub(crate) newer: Option<String>,
}

pub(crate) fn frame_page(
    page: Page,
    row: &FrameRow,
    seal: Seal,
    neighbours: (Option<FrameId>, Option<FrameId>),
    notices: Vec<Notice>,
) -> FramePage {
    let t = page.t;
    let (width, height) = dimensions(row);
    let result = row.result();
    let faces = result.map(|r| views(t, (&r.faces, &row.tracks), (width, height), Size::Large));
    let time = format::time(row.captured_at);
    let camera = row.frame.clip.camera.to_string();
    let counts = result.map(|r| [r.mask, r.no_mask, r.incorrect, r.uncertain].map(u64::from));
    let (seal_class, seal_text) = match seal {
        Seal::Good => ("good", t.seal_good),
        Seal::Bad => ("bad", t.seal_bad),
        Seal::Unread => ("unknown", t.seal_unread),
    };
    let shown = seal != Seal::Bad;
    let (older, newer) = neighbours;
    FramePage {
        t,
        notices,
        alt: t.picture_of(&camera, &time, counts),
        camera,
        time,
        iso: row.captured_at.to_string(),
        chip: chip(t, &row.state),
        reason: match &row.state {
            FrameState::Dead { tries, reason } => Some(format!("{reason} ({})", t.tries(*tries))),
            FrameState::Awaiting { .. } | FrameState::Done { .. } => None,
        },
        picture: shown.then(|| format!("/pictures/{}", row.frame)),
        width,
        height,
        faces: faces.unwrap_or_default(),
        has_result: result.is_some(),
        legend: legend(t),
        groups: groups(t, row),
        seal_class,
        seal_text,
        json: result.map(|_| format!("/results/{}", row.frame)),
        manifest: (seal == Seal::Good).then(|| format!("/manifests/{}", row.frame)),
        older: older.map(|frame| href(&frame)),
        newer: newer.map(|frame| href(&frame)),
        page,
    }
}

fn fact(label: &'static str, text: impl Into<String>) -> Fact {
    Fact { label, text: text.into(), code: None }
}

fn code(label: &'static str, text: impl Into<String>, code: impl ToString) -> Fact {
    Fact { label, text: text.into(), code: Some(code.to_string()) }
}

fn model(label: &'static str, model: &ModelRef) -> Fact {
    code(label, model.name.clone(), model.digest)
}

fn groups(t: &'static Texts, row: &FrameRow) -> Vec<Group> {
    let clip = &row.frame.clip;
    let mut identity = vec![
        code(t.frame_id, "", &row.frame),
        code(t.session, "", clip.session),
        fact(t.clip_number, clip.seq.to_string()),
        fact(t.slot, row.frame.slot.to_string()),
        fact(t.captured_at, format!("{} UTC", format::exact(row.captured_at))),
    ];
    let mut picture = vec![code(t.object_key, "", &row.key)];
    let mut redaction = Vec::new();
    if let Some(about) = &row.about {
        identity.push(fact(t.clock, t.of_clock(about.clock.source, about.clock.uncertainty_ms)));
        let began = format!("{} UTC", format::exact(about.clip_captured_at));
        identity.push(fact(t.clip_began, began));
        picture.push(fact(t.picture, format!("{} × {}", about.width, about.height)));
        redaction = vec![
            code(t.policy, about.policy.name.clone(), about.policy.digest),
            model(t.detector, &about.detector),
            model(t.auditor, &about.auditor),
            fact(t.noise, t.noise_of(about.noise_scale, about.noise_epoch)),
            fact(t.regions, t.regions_of(about.regions, about.grids, about.said)),
        ];
    }
    let mut classification = Vec::new();
    if let FrameState::Done { result, at } = &row.state {
        let placement = match result.classified_on {
            Placement::Lambda => t.placement_lambda,
            Placement::Fog => t.placement_fog,
        };
        classification = vec![
            model(t.classifier, &result.model),
            fact(t.placement, placement),
            fact(t.result_at, format!("{} UTC", format::exact(*at))),
        ];
        // Older functions did not tell.
        classification.extend(result.timings.map(|timings| fact(t.took, t.times_of(timings))));
        if redaction.is_empty() {
            redaction = vec![code(t.policy, result.policy.name.clone(), result.policy.digest)];
        }
    }
    let groups = [
        (t.identity, identity),
        (t.picture, picture),
        (t.redaction, redaction),
        (t.classification, classification),
    ];
    let filled = groups.into_iter().filter(|(_, facts)| !facts.is_empty());
    filled.map(|(title, facts)| Group { title, facts }).collect()
}
