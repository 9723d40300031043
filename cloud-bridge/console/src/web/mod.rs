//! Owns the routes, and what holds for every answer: limits and security headers.

mod assets;
mod guard;
mod health;
mod login;
mod objects;
mod pages;
mod problem;

use std::sync::Arc;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    middleware,
    response::Response,
    routing::{get, post},
};
use tower_http::{limit::RequestBodyLimitLayer, set_header::SetResponseHeaderLayer};

use crate::app::App;

pub(crate) use assets::version as assets_version;

/// Largest request body: a login form.
const BODY_BYTES_MAX: usize = 8 * 1024;

/// Nothing but our own files, no scripts in pages, no frames around them, forms to ourselves.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What every answer says to the browser. The referrer stays within the console, so that forms carry their origin.
const HEADERS: [(&str, &str); 7] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
];

/// The console.
pub fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/", get(pages::overview))
        .route("/cameras/{camera}", get(pages::camera))
        .route("/frames/{*frame}", get(pages::frame))
        .route("/sign-ins", get(pages::sign_ins))
        .route("/pictures/{*frame}", get(objects::picture))
        .route("/results/{*frame}", get(objects::result))
        .route("/manifests/{*frame}", get(objects::manifest))
        .route("/login", get(login::form).post(login::login))
        .route("/logout", post(login::logout))
        .fallback(problem::nothing_here)
        .layer(middleware::from_fn_with_state(Arc::clone(app), guard::limit))
        .route("/health", get(health::health))
        .route("/assets/{name}", get(assets::asset))
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX));
    for (name, value) in HEADERS {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        router = router.layer(SetResponseHeaderLayer::overriding(name, value));
    }
    let no_store = HeaderValue::from_static("no-store");
    router = router.layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, no_store));
    if app.public_url.is_some() {
        let value = HeaderValue::from_static("max-age=31536000");
        router = router
            .layer(SetResponseHeaderLayer::overriding(header::STRICT_TRANSPORT_SECURITY, value));
    }
    router.with_state(Arc::clone(app))
}

/// A page, or the line that it could not be made: a defect of ours.
fn page(template: &impl askama::Template) -> Response {
    use axum::response::{Html, IntoResponse};
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
