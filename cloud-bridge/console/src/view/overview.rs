//! Owns the overview: the numbers of a period, every camera, the newest frames, what waits.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use proto::{CameraId, UtcTime};
use results::{Awaiting, CameraTotals, CountsByModel, FrameRow, FrameState};

use super::{
    bars::{Part, ShareView, classes, share},
    faces::{LegendEntry, legend},
    format,
    ledger::{self, LedgerView},
    page::{Notice, Page},
    status::{self, StatusView},
    tile::{Tile, href, tile},
};
use crate::{live::LiveCamera, texts::Texts};

/// A period of time that counts are summed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    Hour,
    Day,
    Week,
    All,
}

impl Window {
    pub(crate) const EACH: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::All];

    /// The word in an address.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::All => "all",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::EACH.into_iter().find(|window| window.word() == word)
    }

    /// Its length in seconds; `All` has none.
    pub(crate) const fn seconds(self) -> Option<i64> {
        match self {
            Self::Hour => Some(3_600),
            Self::Day => Some(86_400),
            Self::Week => Some(7 * 86_400),
            Self::All => None,
        }
    }

    /// When it began.
    pub(crate) fn begin(self, now: UtcTime) -> UtcTime {
        let before = |seconds: i64| now.plus_ns(-seconds * 1_000_000_000);
        self.seconds().map_or(UtcTime::EPOCH, before)
    }

    const fn label(self, t: &'static Texts) -> &'static str {
        match self {
            Self::Hour => t.window_hour,
            Self::Day => t.window_day,
            Self::Week => t.window_week,
            Self::All => t.window_all,
        }
    }
}

/// A period to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) href: String,
    pub(crate) label: &'static str,
    pub(crate) current: bool,
}

/// The periods, as links from `path`.
pub(crate) fn choices(t: &'static Texts, path: &str, current: Window) -> Vec<Choice> {
    let choice = |window: Window| Choice {
        href: format!("{path}?window={}", window.word()),
        label: window.label(t),
        current: window == current,
    };
    Window::EACH.map(choice).to_vec()
}

/// A camera at a glance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CameraCard {
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) status: StatusView,
    pub(crate) newest: Option<String>,
    pub(crate) counts: Vec<Part>,
    pub(crate) tracks: String,
    pub(crate) frames: String,
    pub(crate) share: Option<ShareView>,
    pub(crate) ledger: Option<LedgerView>,
    pub(crate) awaiting: u64,
    pub(crate) dead: u64,
}

/// A frame without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitingRow {
    pub(crate) href: String,
    pub(crate) camera: String,
    pub(crate) time: String,
    pub(crate) tries: String,
    pub(crate) reason: String,
}

/// The whole page.
#[derive(Debug, Template)]
#[template(path = "overview.html")]
pub(crate) struct Overview {
    pub(crate) page: Page,
    pub(crate) t: &'static Texts,
    pub(crate) notices: Vec<Notice>,
    pub(crate) windows: Vec<Choice>,
    pub(crate) share: Option<ShareView>,
    pub(crate) tracks: String,
    pub(crate) frames_analysed: String,
    pub(crate) counts: Vec<Part>,
    pub(crate) awaiting: String,
    pub(crate) oldest: Option<String>,
    pub(crate) dead: u64,
    pub(crate) dead_number: String,
    pub(crate) withheld: String,
    pub(crate) cameras: Vec<CameraCard>,
    pub(crate) tiles: Vec<Tile>,
    pub(crate) legend: Vec<LegendEntry>,
    pub(crate) given_up: Vec<WaitingRow>,
}

/// What the overview is made of.
pub(crate) struct Known {
    pub(crate) window: Window,
    pub(crate) totals: Vec<CameraTotals>,
    pub(crate) counts: BTreeMap<CameraId, CountsByModel>,
    pub(crate) live: BTreeMap<CameraId, LiveCamera>,
    pub(crate) newest: Vec<FrameRow>,
    pub(crate) longest_waiting: Option<Awaiting>,
    pub(crate) dead: Vec<FrameRow>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) now: UtcTime,
}

pub(crate) fn overview(page: Page, known: &Known) -> Overview {
    let t = page.t;
    let mut by_model = CountsByModel::default();
    known.counts.values().for_each(|counts| by_model.add(counts));
    let all = by_model.total();
    let sum = |of: fn(&CameraTotals) -> u64| known.totals.iter().map(of).sum::<u64>();
    let since = |at: UtcTime| {
        let micros = known.now.micros().saturating_sub(at.micros());
        std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    let dead = sum(|totals| totals.dead);
    Overview {
        t,
        notices: known.notices.clone(),
        windows: choices(t, "/", known.window),
        share: share(t, &by_model),
        tracks: format::number(all.all()),
        frames_analysed: format::number(all.frames),
        counts: classes(t, &all),
        awaiting: format::number(sum(|totals| totals.awaiting)),
        oldest: known.longest_waiting.as_ref().map(|w| t.ago(since(w.awaited_at))),
        dead,
        dead_number: format::number(dead),
        withheld: format::number(sum(|totals| totals.withheld)),
        cameras: cards(t, known),
        tiles: known.newest.iter().map(|row| tile(t, row, known.now)).collect(),
        legend: legend(t),
        given_up: known.dead.iter().map(|row| waiting_row(t, row)).collect(),
        page,
    }
}

/// Cameras of the database and of the bus together, by name.
fn cards(t: &'static Texts, known: &Known) -> Vec<CameraCard> {
    let totals: BTreeMap<&CameraId, &CameraTotals> =
        known.totals.iter().map(|totals| (&totals.camera, totals)).collect();
    let names: BTreeSet<&CameraId> = totals.keys().copied().chain(known.live.keys()).collect();
    let card = |name: &CameraId| {
        let (totals, live) = (totals.get(name).copied(), known.live.get(name));
        card(t, name, totals, live, known.counts.get(name))
    };
    names.into_iter().map(card).collect()
}

/// A camera at a glance, from whatever is known of it.
pub(crate) fn card(
    t: &'static Texts,
    name: &CameraId,
    totals: Option<&CameraTotals>,
    live: Option<&LiveCamera>,
    by_model: Option<&CountsByModel>,
) -> CameraCard {
    let counts = by_model.map(CountsByModel::total).unwrap_or_default();
    CameraCard {
        name: name.to_string(),
        href: format!("/cameras/{name}"),
        status: status::of_camera(t, live),
        newest: totals.and_then(|totals| totals.newest).map(format::time),
        counts: classes(t, &counts),
        tracks: format::number(counts.all()),
        frames: format::number(counts.frames),
        share: by_model.and_then(|counts| share(t, counts)),
        ledger: ledger::view(t, live.map(|live| &live.status.ledger), totals),
        awaiting: totals.map_or(0, |totals| totals.awaiting),
        dead: totals.map_or(0, |totals| totals.dead),
    }
}

fn waiting_row(t: &'static Texts, row: &FrameRow) -> WaitingRow {
    let (tries, reason) = match &row.state {
        FrameState::Awaiting { tries, .. } => (*tries, String::new()),
        FrameState::Dead { tries, reason } => (*tries, reason.clone()),
        FrameState::Done { .. } => (0, String::new()),
    };
    WaitingRow {
        href: href(&row.frame),
        camera: row.frame.clip.camera.to_string(),
        time: format::time(row.captured_at),
        tries: t.tries(tries),
        reason,
    }
}
