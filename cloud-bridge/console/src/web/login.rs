//! Owns signing in and out.

use std::{sync::Arc, time::Duration};

use axum::{
    Form,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use results::{Login, SESSION_LIFE, SessionToken};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    guard::{Address, Operator, check_form, cookie, session_cookie, set_cookie},
    page,
    problem::Problem,
};
use crate::{
    app::{App, count},
    texts::EN,
    view::{page::Page, simple::LoginPage},
};

/// The cookie that a login form belongs to: its token is derived from it.
const FORM_COOKIE: &str = "celosia-login";
/// What it is derived for.
const FORM: &str = "celosia login form v1";
/// How long a login page may stay open, in seconds.
const FORM_SECONDS: u64 = 3600;

/// Where to go after signing in.
#[derive(Debug, Deserialize)]
pub(super) struct Next {
    next: Option<String>,
}

/// The login form.
#[derive(Deserialize)]
pub(super) struct LoginForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    form_token: String,
}

/// The form that signs out.
#[derive(Deserialize)]
pub(super) struct LogoutForm {
    #[serde(default)]
    form_token: String,
}

pub(super) async fn form(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(Next { next }): Query<Next>,
) -> Response {
    let no_users = match app.results.has_users().await {
        Ok(any) => !any,
        Err(error) => return Problem::database(&app, &error).into_response(),
    };
    let asked = Asked { next: next.unwrap_or_default(), name: String::new(), problem: None };
    login_page(&app, &headers, asked, no_users)
}

/// What the login page shows beside empty fields.
struct Asked {
    next: String,
    name: String,
    problem: Option<String>,
}

fn login_page(app: &App, headers: &HeaderMap, asked: Asked, no_users: bool) -> Response {
    // An open login page in another tab keeps its form good.
    let known = cookie(headers, FORM_COOKIE).and_then(SessionToken::parse);
    let Some(token) = known.or_else(draw) else {
        tracing::error!("no random bytes from the operating system");
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let form_token = token.derive(FORM).to_string();
    let site = app.site.as_str();
    let title = EN.sign_in;
    let template = LoginPage {
        page: Page::new(title, site, app.utc()),
        t: &EN,
        form_token,
        next: local(&asked.next).to_owned(),
        name: asked.name,
        problem: asked.problem,
        no_users,
    };
    let cookie = set_cookie(app, FORM_COOKIE, &token.reveal(), FORM_SECONDS);
    ([(header::SET_COOKIE, cookie)], page(&template)).into_response()
}

fn draw() -> Option<SessionToken> {
    let mut bytes = [0u8; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    SessionToken::parse(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Only an address of ours: nobody may send an operator elsewhere by a link to the login.
fn local(next: &str) -> &str {
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if ours { next } else { "/" }
}

pub(super) async fn login(
    State(app): State<Arc<App>>,
    Address(address): Address,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Response {
    let password = Zeroizing::new(form.password);
    let again = |status: StatusCode, problem: String| {
        let asked =
            Asked { next: form.next.clone(), name: form.name.clone(), problem: Some(problem) };
        (status, login_page(&app, &headers, asked, false)).into_response()
    };
    let expected = cookie(&headers, FORM_COOKIE).and_then(SessionToken::parse);
    let Some(expected) = expected else {
        app.counters.add(count::FORMS_REFUSED, 1);
        return again(StatusCode::FORBIDDEN, EN.login_form_old.to_owned());
    };
    let expected = expected.derive(FORM).to_string();
    if let Err(problem) = check_form(&app, &headers, &form.form_token, &expected) {
        return problem.into_response();
    }
    let (address, now) = (address.to_string(), app.utc());
    match app.results.verify(&form.name, &password, &address, now).await {
        Err(error) => Problem::database(&app, &error).into_response(),
        Ok(Login::Accepted) => open(&app, &form.name, &address, &form.next).await,
        Ok(Login::Wrong) => {
            app.counters.add(count::LOGINS_WRONG, 1);
            tracing::warn!(%address, "a login with a wrong name or password");
            again(StatusCode::UNAUTHORIZED, EN.login_wrong.to_owned())
        }
        Ok(Login::Throttled { until }) => {
            app.counters.add(count::LOGINS_THROTTLED, 1);
            let micros = until.micros().saturating_sub(now.micros());
            let wait = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
            let answer = again(StatusCode::TOO_MANY_REQUESTS, EN.throttled(wait));
            let seconds = wait.as_secs().max(1).to_string();
            ([(header::RETRY_AFTER, seconds)], answer).into_response()
        }
    }
}

async fn open(app: &App, name: &str, address: &str, next: &str) -> Response {
    let token = match app.results.open_session(name, address, app.utc()).await {
        Ok(token) => token,
        Err(error) => return Problem::database(app, &error).into_response(),
    };
    app.counters.add(count::LOGINS, 1);
    let session = set_cookie(app, session_cookie(app), &token.reveal(), SESSION_LIFE.as_secs());
    let form = set_cookie(app, FORM_COOKIE, "", 0);
    let cookies = AppendHeaders([(header::SET_COOKIE, session), (header::SET_COOKIE, form)]);
    (cookies, Redirect::to(local(next))).into_response()
}

pub(super) async fn logout(
    State(app): State<Arc<App>>,
    Address(address): Address,
    operator: Operator,
    headers: HeaderMap,
    Form(form): Form<LogoutForm>,
) -> Response {
    let expected = operator.form_token();
    if let Err(problem) = check_form(&app, &headers, &form.form_token, &expected) {
        return problem.into_response();
    }
    let ended = app.results.close_session(&operator.token, &address.to_string(), app.utc()).await;
    if let Err(error) = ended {
        return Problem::database(&app, &error).into_response();
    }
    let gone = [
        (header::SET_COOKIE, set_cookie(&app, session_cookie(&app), "", 0)),
        // Pictures that the browser has kept go with the session.
        (header::HeaderName::from_static("clear-site-data"), "\"cache\"".to_owned()),
    ];
    (gone, Redirect::to("/login")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_our_own_pages_only() {
        for next in ["/cameras/door?window=day", "/", "/frames/a/b"] {
            assert_eq!(local(next), next);
        }
        for next in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/a\nb",
            "javascript:1",
        ] {
            assert_eq!(local(next), "/", "{next:?}");
        }
    }
}
