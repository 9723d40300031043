//! Owns the page of one camera: its state and ledger, counts over time, what gave no frame, its frames.

use askama::Template;
use results::Unseen;

use super::{
    chart::Chart,
    faces::LegendEntry,
    format,
    overview::{CameraCard, Choice},
    page::{Notice, Page},
    tile::Tile,
};
use crate::texts::Texts;

/// Slots that gave no frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnseenRow {
    pub(crate) outcome: &'static str,
    pub(crate) reason: String,
    pub(crate) slots: String,
}

/// The whole page.
#[derive(Debug, Template)]
#[template(path = "camera.html")]
pub(crate) struct CameraPage {
    pub(crate) page: Page,
    pub(crate) t: &'static Texts,
    pub(crate) notices: Vec<Notice>,
    pub(crate) camera: CameraCard,
    pub(crate) windows: Vec<Choice>,
    pub(crate) chart: Option<Chart>,
    pub(crate) legend: Vec<LegendEntry>,
    pub(crate) unseen: Vec<UnseenRow>,
    pub(crate) tiles: Vec<Tile>,
    /// Address of the page with older frames.
    pub(crate) older: Option<String>,
    /// Address of the page with the newest ones, when this is another.
    pub(crate) newest: Option<String>,
}

pub(crate) fn unseen_rows(t: &'static Texts, rows: &[Unseen]) -> Vec<UnseenRow> {
    let row = |unseen: &Unseen| UnseenRow {
        outcome: if unseen.outcome == "withheld" { t.withheld } else { t.undecodable },
        reason: t.of_reason(&unseen.reason),
        slots: format::number(unseen.slots),
    };
    rows.iter().map(row).collect()
}
