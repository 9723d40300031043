//! Owns the page of one camera: its state and ledger, counts over time, what gave no frame, its frames.

use askama::Template;
use proto::watch::{CameraWatch, CanaryRecall};
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

/// Canaries of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CanaryRow {
    pub(crate) size: String,
    pub(crate) recent: String,
    pub(crate) usual: String,
    pub(crate) drawn: String,
    pub(crate) state: &'static str,
    pub(crate) drifting: bool,
}

/// How the detector does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WatchView {
    pub(crate) rows: Vec<CanaryRow>,
    /// What a person should look into.
    pub(crate) warnings: Vec<String>,
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
    pub(crate) watch: WatchView,
    pub(crate) unseen: Vec<UnseenRow>,
    pub(crate) tiles: Vec<Tile>,
    /// Address of the page with older frames.
    pub(crate) older: Option<String>,
    /// Address of the page with the newest ones, when this is another.
    pub(crate) newest: Option<String>,
}

pub(crate) fn watch_view(t: &'static Texts, watch: Option<&CameraWatch>) -> WatchView {
    let Some(watch) = watch else { return WatchView::default() };
    let share = |milli: u16| format!("{}.{}%", milli / 10, milli % 10);
    let row = |(size, recall): (&String, &CanaryRecall)| CanaryRow {
        size: size.clone(),
        recent: share(recall.recent_milli),
        usual: recall.usual_milli.map_or_else(|| "–".to_owned(), share),
        drawn: format::number(recall.drawn),
        state: match (recall.drifting, recall.usual_milli, recall.low_hours) {
            (true, ..) => t.watch_drifting,
            (false, None, _) => t.watch_learning,
            (false, Some(_), 0) => t.watch_steady,
            (false, Some(_), 1..24) => t.watch_partly_low,
            (false, Some(_), 24..) => t.watch_low,
        },
        drifting: recall.drifting,
    };
    let low = watch.canary_recall.iter().filter(|(_, recall)| recall.low_hours > 0);
    let low = low.map(|(size, recall)| t.canaries_low(size, recall.low_hours));
    let silent = watch.fell_silent.then(|| t.fell_silent(watch.silent_in_a_row));
    let doubted = (watch.doubted > 0).then(|| t.doubted(watch.doubted));
    WatchView {
        rows: watch.canary_recall.iter().map(row).collect(),
        warnings: silent.into_iter().chain(doubted).chain(low).collect(),
    }
}

pub(crate) fn unseen_rows(t: &'static Texts, rows: &[Unseen]) -> Vec<UnseenRow> {
    let row = |unseen: &Unseen| UnseenRow {
        outcome: if unseen.outcome == "withheld" { t.withheld } else { t.undecodable },
        reason: t.of_reason(&unseen.reason),
        slots: format::number(unseen.slots),
    };
    rows.iter().map(row).collect()
}
