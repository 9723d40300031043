//! Owns the pages: what each asks of database, bus and store.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use base::{Fault, Faulty};
use proto::{CameraId, FrameId, UtcTime};
use results::{
    BucketWidth, CountsByModel, FrameFilter, FramePlace, FrameRow, Order, ResultsError, StateKind,
};
use serde::Deserialize;

use super::{guard::Operator, objects, page, problem::Problem};
use crate::{
    app::App,
    live::{Broker, LiveCamera},
    view::{
        camera::{CameraPage, unseen_rows, watch_view},
        chart::chart,
        faces::legend,
        frame::{Seal, frame_page},
        overview::{Known, Window, card, choices, overview as overview_page},
        page::{Notice, Page, Place},
        simple::{AuditPage, audit_lines, process_lines},
        status::notices,
        tile::tile,
    },
};

/// Frames on the overview and on a camera's page.
const NEWEST: u32 = 12;
const OF_CAMERA: u32 = 24;
/// Given-up frames on the overview; the others are on their cameras' pages.
const DEAD_SHOWN: u32 = 8;
/// Lines of the audit log that are shown.
const AUDIT_SHOWN: u32 = 200;

/// What an address may ask for.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    window: Option<String>,
    /// Frames after this one: microseconds and key.
    after: Option<String>,
}

impl Asked {
    fn window(&self) -> Option<Window> {
        self.window.as_deref().and_then(Window::parse)
    }

    fn after(&self) -> Option<FramePlace> {
        let (micros, key) = self.after.as_deref()?.split_once('~')?;
        let captured_at = UtcTime::from_micros(micros.parse().ok()?).ok()?;
        Some(FramePlace { captured_at, key: key.to_owned() })
    }
}

/// The page of somebody who is signed in.
fn start(app: &App, operator: &Operator, title: impl Into<String>) -> Page {
    let page = Page::new(title, app.site.as_str(), app.utc());
    page.signed_in(&operator.session.name, operator.form_token())
}

/// What the bus says, and whether it is there.
fn heard(app: &App) -> (BTreeMap<CameraId, LiveCamera>, Broker) {
    let now = app.clock.now();
    let board = app.board();
    (board.cameras(now), board.broker(now))
}

async fn notices_of(app: &App, broker: Broker, newest: Option<&FrameRow>) -> Vec<Notice> {
    let sight = app.pictures.sight(newest).await;
    notices(&crate::texts::EN, broker, &sight)
}

pub(super) async fn overview(
    State(app): State<Arc<App>>,
    operator: Operator,
    Query(asked): Query<Asked>,
) -> Response {
    match known(&app, asked.window()).await {
        Ok(known) => {
            let t = &crate::texts::EN;
            let page_ = start(&app, &operator, t.overview).at(Place::Overview).live();
            page(&overview_page(page_, &known))
        }
        Err(error) => Problem::database(&app, &error).into_response(),
    }
}

async fn known(app: &App, asked: Option<Window>) -> Result<Known, ResultsError> {
    let now = app.utc();
    let totals = app.results.cameras().await?;
    let mut window = asked.unwrap_or(Window::Day);
    let mut counts = counts(app, window, now, None).await?;
    if asked.is_none() && counts.is_empty() {
        // A site that only has old films would otherwise look as if nothing had ever been counted.
        window = Window::All;
    }
    if window == Window::All {
        let counted = totals.iter().filter(|totals| totals.counts.total().frames > 0);
        counts = counted.map(|totals| (totals.camera.clone(), totals.counts.clone())).collect();
    }
    let newest = app.results.frames(&FrameFilter::default(), NEWEST).await?;
    let dead = FrameFilter { state: Some(StateKind::Dead), ..FrameFilter::default() };
    let (live, broker) = heard(app);
    Ok(Known {
        window,
        totals,
        counts,
        live,
        longest_waiting: app.results.awaiting(now, 1).await?.pop(),
        dead: app.results.frames(&dead, DEAD_SHOWN).await?,
        notices: notices_of(app, broker, newest.first()).await,
        newest,
        now,
    })
}

/// The buckets that a period is drawn with, and when it begins and ends.
fn drawn(window: Window, newest: Option<UtcTime>, now: UtcTime) -> (BucketWidth, UtcTime, UtcTime) {
    match window {
        Window::Hour => (BucketWidth::Minute, window.begin(now), now),
        Window::Day | Window::Week => (BucketWidth::Hour, window.begin(now), now),
        Window::All => {
            // As many hours as are seen, up to the newest frame.
            let end = newest.unwrap_or(now);
            (BucketWidth::Hour, Window::Week.begin(end), end)
        }
    }
}

/// Sums by camera over a period; of `All` nothing, since the totals say that.
async fn counts(
    app: &App,
    window: Window,
    now: UtcTime,
    camera: Option<&CameraId>,
) -> Result<BTreeMap<CameraId, CountsByModel>, ResultsError> {
    let mut sums: BTreeMap<CameraId, CountsByModel> = BTreeMap::new();
    if window == Window::All {
        return Ok(sums);
    }
    let (width, from, until) = drawn(window, None, now);
    let until = until.plus_ns(1_000);
    for bucket in app.results.counts_over_time(camera, width, from, until).await? {
        sums.entry(bucket.camera).or_default().add(&bucket.counts);
    }
    Ok(sums)
}

pub(super) async fn camera(
    State(app): State<Arc<App>>,
    operator: Operator,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let Ok(camera) = name.parse::<CameraId>() else { return Problem::NotFound.into_response() };
    match camera_page(&app, &operator, &camera, &asked).await {
        Ok(Some(template)) => page(&template),
        Ok(None) => Problem::NotFound.into_response(),
        Err(error) => Problem::database(&app, &error).into_response(),
    }
}

/// Nothing when neither database nor bus knows the camera.
async fn camera_page(
    app: &App,
    operator: &Operator,
    camera: &CameraId,
    asked: &Asked,
) -> Result<Option<CameraPage>, ResultsError> {
    let (t, now, results) = (&crate::texts::EN, app.utc(), &app.results);
    let totals = results.cameras().await?.into_iter().find(|totals| totals.camera == *camera);
    let (live, broker) = heard(app);
    let live = live.get(camera);
    let watched = app.board().watched();
    if totals.is_none() && live.is_none() {
        return Ok(None);
    }
    let mut window = asked.window().unwrap_or(Window::Day);
    let mut sums = counts(app, window, now, Some(camera)).await?;
    if asked.window().is_none() && sums.is_empty() {
        window = Window::All;
    }
    if window == Window::All {
        sums.extend(totals.iter().map(|totals| (camera.clone(), totals.counts.clone())));
    }
    let newest = totals.as_ref().and_then(|totals| totals.newest);
    let (width, from, until) = drawn(window, newest, now);
    let until = until.plus_ns(1_000);
    let buckets = results.counts_over_time(Some(camera), width, from, until).await?;
    let after = asked.after();
    let filter =
        FrameFilter { camera: Some(camera.clone()), after: after.clone(), ..Default::default() };
    let frames = results.frames(&filter, OF_CAMERA).await?;
    let more = frames.len() >= usize::try_from(OF_CAMERA).unwrap_or(usize::MAX);
    let path = format!("/cameras/{camera}");
    let place = |row: &FrameRow| format!("{path}?after={}~{}", row.captured_at.micros(), row.key);
    let far = now.plus_ns(i64::MAX);
    Ok(Some(CameraPage {
        page: match after {
            None => start(app, operator, camera.to_string()).live(),
            Some(_) => start(app, operator, camera.to_string()),
        },
        t,
        notices: notices_of(app, broker, frames.first()).await,
        camera: card(t, camera, totals.as_ref(), live, sums.get(camera)),
        windows: choices(t, &path, window),
        chart: chart(t, &buckets, width, from, until),
        legend: legend(t),
        watch: watch_view(t, watched.get(camera)),
        unseen: unseen_rows(t, &results.unseen(Some(camera), UtcTime::EPOCH, far).await?),
        tiles: frames.iter().map(|row| tile(t, row, now)).collect(),
        older: frames.last().filter(|_| more).map(place),
        newest: after.map(|_| path),
    }))
}

pub(super) async fn frame(
    State(app): State<Arc<App>>,
    operator: Operator,
    Path(name): Path<String>,
) -> Response {
    let row = match objects::row(&app, &name).await {
        Ok(row) => row,
        Err(problem) => return problem.into_response(),
    };
    let seal = match app.pictures.head(&row).await {
        Ok(head) if head.manifest().frame == row.frame => Seal::Good,
        Ok(_) => Seal::Bad,
        Err(error) => {
            objects::refused(&app, &error);
            if error.fault() == Fault::Corrupt { Seal::Bad } else { Seal::Unread }
        }
    };
    let neighbours = match neighbours(&app, &row).await {
        Ok(neighbours) => neighbours,
        Err(error) => return Problem::database(&app, &error).into_response(),
    };
    let (_, broker) = heard(&app);
    let mut notices = notices_of(&app, broker, Some(&row)).await;
    // The bus says nothing about a frame.
    notices.retain(|notice| notice.detail.is_some());
    let title = row.frame.clip.camera.to_string();
    let mut page_ = start(&app, &operator, title);
    if row.result().is_none() {
        page_ = page_.live();
    }
    page(&frame_page(page_, &row, seal, neighbours, notices))
}

/// The frames of the same camera before and after.
async fn neighbours(
    app: &App,
    row: &FrameRow,
) -> Result<(Option<FrameId>, Option<FrameId>), ResultsError> {
    let filter = |order| FrameFilter {
        camera: Some(row.frame.clip.camera.clone()),
        order,
        after: Some(row.place()),
        ..FrameFilter::default()
    };
    let older = app.results.frames(&filter(Order::Newest), 1).await?.pop();
    let newer = app.results.frames(&filter(Order::Oldest), 1).await?.pop();
    Ok((older.map(|row| row.frame), newer.map(|row| row.frame)))
}

pub(super) async fn sign_ins(State(app): State<Arc<App>>, operator: Operator) -> Response {
    let t = &crate::texts::EN;
    let rows = match app.results.audit(AUDIT_SHOWN).await {
        Ok(rows) => rows,
        Err(error) => return Problem::database(&app, &error).into_response(),
    };
    let now = app.clock.now();
    let (devices, broker) = {
        let board = app.board();
        (board.devices(now), board.broker(now))
    };
    let sight = app.pictures.sight(None).await;
    page(&AuditPage {
        page: start(&app, &operator, t.sign_ins).at(Place::SignIns),
        t,
        notices: notices(t, broker, &sight),
        lines: audit_lines(t, &rows),
        processes: process_lines(t, &devices),
    })
}
