//! Owns the answer to probes: whether the console can show anything, without saying anything about the site.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;

use crate::{app::App, live::Broker, pictures::Sight};

/// What a probe is told. Only the database decides: without it there is no page.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    database: &'static str,
    broker: &'static str,
    store: &'static str,
}

pub(super) async fn health(State(app): State<Arc<App>>) -> (StatusCode, Json<Health>) {
    let database = app.results.ping().await;
    let broker = match app.board().broker(app.clock.now()) {
        Broker::None => "none",
        Broker::There => "ok",
        Broker::Away => "away",
    };
    let store = match app.pictures.sight(None).await {
        Sight::Unknown => "unknown",
        Sight::There => "ok",
        Sight::Away(_) => "away",
    };
    let (status, database) = match database {
        Ok(()) => (StatusCode::OK, "ok"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "away"),
    };
    (status, Json(Health { database, broker, store }))
}
