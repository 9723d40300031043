//! Owns who may see and do what: requests of one address are limited, pages need a session, forms their token.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, PoisonError},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use proto::Digest;
use results::{Session, SessionToken};

use super::problem::Problem;
use crate::app::{App, count};

/// What the form's token of a session is derived for.
const FORM: &str = "celosia form v1";

/// Somebody who is signed in.
pub(super) struct Operator {
    pub(super) session: Session,
    pub(super) token: SessionToken,
}

impl Operator {
    /// The token that each of their forms carries.
    pub(super) fn form_token(&self) -> String {
        self.token.derive(FORM).to_string()
    }
}

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let name = session_cookie(app);
        let token = cookie(&parts.headers, name).and_then(SessionToken::parse);
        let Some(token) = token else { return Err(to_login(parts)) };
        match app.results.session(&token, app.utc()).await {
            Ok(Some(session)) => Ok(Self { session, token }),
            Ok(None) => Err(to_login(parts)),
            Err(error) => Err(Problem::database(app, &error).into_response()),
        }
    }
}

/// Pages lead to the login and from there back; pictures and the script's questions are just refused.
fn to_login(parts: &Parts) -> Response {
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let page = parts.method == Method::GET && accept.is_some_and(|a| a.contains("text/html"));
    if !page {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if path == "/" {
        return Redirect::to("/login").into_response();
    }
    let encoded: String = path.bytes().map(encode).collect();
    Redirect::to(&format!("/login?next={encoded}")).into_response()
}

fn encode(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    }
}

/// Name of the session's cookie. With TLS in front, browsers hold it to this host alone.
pub(super) fn session_cookie(app: &App) -> &'static str {
    if app.public_url.is_some() { "__Host-celosia" } else { "celosia" }
}

/// A cookie that scripts cannot read and other sites cannot send.
pub(super) fn set_cookie(app: &App, name: &str, value: &str, seconds: u64) -> String {
    let secure = if app.public_url.is_some() { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
}

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|p| p.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Whether a form comes from a page of ours: the browser says nothing else, and it carries the token that only such a
/// page knows.
pub(super) fn check_form(
    app: &App,
    headers: &HeaderMap,
    given: &str,
    expected: &str,
) -> Result<(), Problem> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let fetched = text(&HeaderName::from_static("sec-fetch-site"));
    let same_site = fetched.is_none_or(|site| ["same-origin", "none"].contains(&site));
    let same_origin = text(&header::ORIGIN).is_none_or(|origin| match &app.public_url {
        Some(public) => origin == public,
        None => origin.split_once("://").map(|(_, host)| host) == text(&header::HOST),
    });
    // Digests are compared, so that the time says nothing about the token.
    let token = Digest::of(given.as_bytes()) == Digest::of(expected.as_bytes());
    if same_site && same_origin && token {
        return Ok(());
    }
    app.counters.add(count::FORMS_REFUSED, 1);
    tracing::warn!(same_site, same_origin, token, "a form was refused");
    Err(Problem::Form)
}

/// Where a request comes from: the peer, or what the proxy in front says of it.
pub(super) struct Address(pub(super) IpAddr);

impl FromRequestParts<Arc<App>> for Address {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<App>,
    ) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(address(app, &parts.headers, peer.map(|info| info.0))))
    }
}

fn address(app: &App, headers: &HeaderMap, peer: Option<SocketAddr>) -> IpAddr {
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    // The proxy adds what it saw at the end; what stands before was said by the client.
    let said = headers.get_all("x-forwarded-for").iter().next_back();
    let last = said.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    match (&app.public_url, last) {
        (Some(_), Some(client)) => client,
        (Some(_), None) | (None, _) => peer,
    }
}

/// Refuses requests over the limit of their address.
pub(super) async fn limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let from = address(&app, request.headers(), peer);
    let now = app.clock.now();
    let allowed = app.limits.lock().unwrap_or_else(PoisonError::into_inner).allow(from, now);
    app.counters.add(count::REQUESTS, 1);
    if allowed {
        return next.run(request).await;
    }
    app.counters.add(count::RATE_LIMITED, 1);
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "5")], crate::texts::EN.too_many)
        .into_response()
}
