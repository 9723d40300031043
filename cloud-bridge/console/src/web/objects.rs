//! Owns what is given beside pages: pictures out of verified frames, results and manifests as JSON.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base::{Fault, Faulty};
use proto::{FrameId, envelope::SealedFrame};
use results::FrameRow;
use store::StoreError;

use super::{guard::Operator, problem::Problem};
use crate::{
    app::{App, count},
    texts::EN,
};

/// A sealed frame never changes; it is kept by the browser for an hour, by nothing between.
const KEEP: &str = "private, max-age=3600, immutable";

/// The row of a frame that an address names.
pub(super) async fn row(app: &App, frame: &str) -> Result<FrameRow, Problem> {
    let frame: FrameId = frame.parse().map_err(|_| Problem::NotFound)?;
    let found = app.results.frame(&frame).await.map_err(|e| Problem::database(app, &e))?;
    found.ok_or(Problem::NotFound)
}

/// Counts and logs why a frame cannot be shown.
pub(super) fn refused(app: &App, error: &StoreError) {
    if error.fault() == Fault::Corrupt {
        app.counters.add(count::UNSEALED, 1);
        tracing::error!(%error, "an object at a frame's key is not that frame, sealed");
    } else {
        app.counters.add(count::UNREAD, 1);
        tracing::warn!(%error, "a frame was not read");
    }
}

/// The redacted picture, without its seal.
pub(super) async fn picture(
    State(app): State<Arc<App>>,
    _: Operator,
    Path(frame): Path<String>,
) -> Response {
    match sealed(&app, &frame).await {
        Ok(sealed) => {
            let headers = [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, KEEP)];
            (headers, sealed.jpeg()).into_response()
        }
        Err(answer) => answer,
    }
}

async fn sealed(app: &App, frame: &str) -> Result<SealedFrame, Response> {
    let row = row(app, frame).await.map_err(IntoResponse::into_response)?;
    let sealed = app.pictures.frame(&row).await.map_err(|error| {
        refused(app, &error);
        let (status, text) = match error.fault() {
            Fault::Corrupt => (StatusCode::CONFLICT, EN.picture_unsealed),
            Fault::Permanent => (StatusCode::NOT_FOUND, EN.picture_missing),
            Fault::Transient | Fault::Misuse => (StatusCode::BAD_GATEWAY, EN.picture_away),
        };
        instead(status, text)
    })?;
    // The key follows from the manifest and the row was written with it; still, what is shown is what was asked for.
    if sealed.manifest().frame != row.frame {
        app.counters.add(count::UNSEALED, 1);
        return Err(instead(StatusCode::CONFLICT, EN.picture_unsealed));
    }
    Ok(sealed)
}

/// A picture of words: browsers show it in the place of the missing one.
fn instead(status: StatusCode, text: &str) -> Response {
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 360\">\
         <rect width=\"640\" height=\"360\" fill=\"#26313c\"/>\
         <text x=\"320\" y=\"186\" fill=\"#d5dee6\" font-family=\"sans-serif\" font-size=\"22\" \
         text-anchor=\"middle\">{text}</text></svg>"
    );
    (status, [(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response()
}

/// The result, as it was stored.
pub(super) async fn result(
    State(app): State<Arc<App>>,
    _: Operator,
    Path(frame): Path<String>,
) -> Response {
    let row = match row(&app, &frame).await {
        Ok(row) => row,
        Err(problem) => return problem.into_response(),
    };
    row.result().map_or_else(|| Problem::NotFound.into_response(), json)
}

/// The manifest, as it was signed.
pub(super) async fn manifest(
    State(app): State<Arc<App>>,
    _: Operator,
    Path(frame): Path<String>,
) -> Response {
    match sealed(&app, &frame).await {
        Ok(sealed) => json(sealed.manifest()),
        Err(answer) => answer,
    }
}

fn json(document: &impl serde::Serialize) -> Response {
    match serde_json::to_string_pretty(document) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a document could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
