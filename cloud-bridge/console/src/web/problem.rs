//! Owns what is answered when a page cannot be shown.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use proto::UtcTime;
use results::ResultsError;

use super::page;
use crate::{
    app::{App, count},
    texts::EN,
    view::{page::Page, simple::ProblemPage},
};

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// No such camera, frame or address.
    NotFound,
    /// The database does not answer.
    Database,
    /// A form that did not come from a page of ours.
    Form,
}

impl Problem {
    /// Counts and logs a failure of the database.
    pub(super) fn database(app: &App, error: &ResultsError) -> Self {
        app.counters.add(count::DATABASE, 1);
        tracing::error!(%error, "the results database does not answer");
        Self::Database
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, title, lead) = match self {
            Self::NotFound => (StatusCode::NOT_FOUND, EN.not_found, EN.not_found_lead),
            Self::Database => {
                (StatusCode::SERVICE_UNAVAILABLE, EN.database_away, EN.database_away_lead)
            }
            Self::Form => (StatusCode::FORBIDDEN, EN.form_refused, EN.form_refused_lead),
        };
        let template = ProblemPage { page: Page::new(title, "", UtcTime::EPOCH), t: &EN, lead };
        let answer = (status, page(&template)).into_response();
        match self {
            Self::Database => ([(header::RETRY_AFTER, "5")], answer).into_response(),
            Self::NotFound | Self::Form => answer,
        }
    }
}

/// Every address that is none.
pub(super) async fn nothing_here() -> Problem {
    Problem::NotFound
}
