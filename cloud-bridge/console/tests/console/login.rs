//! Stories of who may look: nobody without a password, nobody for ever, nobody by another site's form.

use std::time::Duration;

use hyper::{Method, StatusCode};
use results::{ATTEMPT_WINDOW, PAIR_FAILURES_MAX, SESSION_IDLE, SESSION_LIFE};

use crate::{
    example::{NAME, PASSWORD, scene::street},
    running::{Differs, at, start, start_with},
};

#[tokio::test]
async fn nothing_is_shown_without_a_login() {
    let console = start().await;
    let scene = street(1, 3);
    let manifest = console.site.done("door", 4, at(-60), (&scene.jpeg, &scene.faces)).await;
    let frame = manifest.frame.to_string();
    let browser = console.browser();
    let pages = ["/", "/cameras/door", "/sign-ins", &format!("/frames/{frame}")];
    for path in pages {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert!(answer.header("location").starts_with("/login"), "{path}");
        assert!(answer.body.is_empty(), "{path} says: {}", answer.text());
    }
    for kind in ["pictures", "results", "manifests"] {
        let answer = browser.send(Method::GET, &format!("/{kind}/{frame}"), &[], "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{kind}");
        assert!(answer.body.is_empty(), "{kind}");
    }
    // The script that keeps a page fresh is told so, rather than led to a login page.
    let answer = browser.send(Method::GET, "/", &[("accept", "*/*")], "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let made_up = "0f".repeat(32);
    browser.cookies.lock().unwrap().insert("celosia".into(), made_up);
    assert_eq!(browser.get("/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_login_leads_to_where_one_wanted_to_and_a_logout_ends_it() {
    let console = start().await;
    let browser = console.browser();
    let to_login = browser.get("/sign-ins?x=1").await;
    assert_eq!(to_login.header("location"), "/login?next=/sign-ins%3Fx%3D1");
    let form = browser.get(to_login.header("location")).await;
    assert!(form.text().contains("value=\"/sign-ins?x=1\""), "{}", form.text());
    let token = form.form_token();
    let fields =
        [("name", NAME), ("password", PASSWORD), ("form_token", &token), ("next", "/sign-ins?x=1")];
    let answer = browser.post("/login", &fields).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, "/sign-ins?x=1")
    );
    let page = browser.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    let kept = browser.cookies.lock().unwrap().clone();
    let out = browser.post("/logout", &[("form_token", &page.form_token())]).await;
    assert_eq!((out.status, out.header("location")), (StatusCode::SEE_OTHER, "/login"));
    // A copy of the cookie is worth nothing afterwards.
    *browser.cookies.lock().unwrap() = kept;
    assert_eq!(browser.get("/").await.status, StatusCode::SEE_OTHER);
    let other = console.signed_in().await;
    let log = other.get("/sign-ins").await.text();
    assert!(log.contains("Signed out") && log.contains("127.0.0.1"), "{log}");
}

#[tokio::test]
async fn wrong_passwords_are_refused_alike_and_then_throttled() {
    let console = start().await;
    let browser = console.browser();
    let unknown = browser.sign_in("nobody", PASSWORD).await;
    let wrong = browser.sign_in(NAME, "wrong password").await;
    for answer in [&unknown, &wrong] {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.text().contains("Name or password is wrong."));
    }
    for _ in 1..PAIR_FAILURES_MAX {
        let answer = browser.sign_in(NAME, "wrong password").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let right = browser.sign_in(NAME, PASSWORD).await;
    assert_eq!(right.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(right.text().contains("Please wait 5 minutes"), "{}", right.text());
    assert_eq!(right.header("retry-after"), ATTEMPT_WINDOW.as_secs().to_string());
    console.clock.advance(ATTEMPT_WINDOW);
    assert_eq!(browser.sign_in(NAME, PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_after_a_shift() {
    let console = start().await;
    let browser = console.signed_in().await;
    console.clock.advance(SESSION_IDLE - Duration::from_secs(1));
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    console.clock.advance(SESSION_IDLE);
    assert_eq!(browser.get("/").await.status, StatusCode::SEE_OTHER, "idle");
    let browser = console.signed_in().await;
    let step = SESSION_IDLE / 2;
    for _ in 0..SESSION_LIFE.as_secs() / step.as_secs() - 1 {
        console.clock.advance(step);
        assert_eq!(browser.get("/").await.status, StatusCode::OK);
    }
    console.clock.advance(step);
    assert_eq!(browser.get("/").await.status, StatusCode::SEE_OTHER, "a shift is over");
}

#[tokio::test]
async fn a_form_of_another_site_or_without_its_token_is_refused() {
    let console = start().await;
    let browser = console.signed_in().await;
    let token = browser.get("/").await.form_token();
    let right = [("form_token", token.as_str())];
    let here = format!("http://{}", console.host);
    let cases = [
        ("no token", "", ("origin", here.as_str())),
        ("a wrong token", "00", ("origin", &here)),
        ("another origin", &token, ("origin", "http://evil.example")),
        ("no origin known", &token, ("origin", "null")),
        ("another site", &token, ("sec-fetch-site", "cross-site")),
        ("a neighbour", &token, ("sec-fetch-site", "same-site")),
    ];
    for (case, token, header) in cases {
        let answer = browser.post_with("/logout", &[("form_token", token)], &[header]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{case}");
        assert_eq!(browser.get("/").await.status, StatusCode::OK, "{case} ended the session");
    }
    assert_eq!(browser.get("/logout").await.status, StatusCode::METHOD_NOT_ALLOWED);
    // The token of one session is none for another.
    let other = console.signed_in().await;
    assert_eq!(other.post("/logout", &right).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_login_form_that_is_not_ours_signs_nobody_in() {
    let console = start().await;
    let browser = console.browser();
    let fields = [("name", NAME), ("password", PASSWORD), ("form_token", "00")];
    let answer = browser.post("/login", &fields).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "there is no login page behind it");
    drop(browser.get("/login").await);
    assert_eq!(browser.post("/login", &fields).await.status, StatusCode::FORBIDDEN, "wrong token");
    assert!(!browser.cookies.lock().unwrap().contains_key("celosia"));
}

#[tokio::test]
async fn cookies_are_for_this_host_and_no_script_and_behind_tls_for_tls_alone() {
    let console = start().await;
    let answer = console.browser().sign_in(NAME, PASSWORD).await;
    let cookie = answer.header("set-cookie");
    for part in ["celosia=", "Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{part} is not in {cookie}");
    }
    let public = "https://console.town.example";
    let behind = |_: &_| Differs { public_url: Some(public.into()), ..Differs::default() };
    let console = start_with(behind).await;
    let browser = console.browser();
    let token = browser.get("/login").await.form_token();
    let fields = [("name", NAME), ("password", PASSWORD), ("form_token", token.as_str())];
    let from_here = browser.post("/login", &fields).await;
    assert_eq!(from_here.status, StatusCode::FORBIDDEN, "past the proxy");
    let answer = browser.post_with("/login", &fields, &[("origin", public)]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-celosia=") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(answer.header("strict-transport-security").starts_with("max-age="));
}

#[tokio::test]
async fn behind_a_proxy_failures_count_for_the_client_that_it_names() {
    let behind = |_: &_| Differs {
        public_url: Some("https://console.town.example".into()),
        ..Differs::default()
    };
    let console = start_with(behind).await;
    let guess = async |client: &str, password: &str| {
        let browser = console.browser();
        let token = browser.get("/login").await.form_token();
        let fields = [("name", NAME), ("password", password), ("form_token", token.as_str())];
        browser.post_with("/login", &fields, &[("x-forwarded-for", client)]).await.status
    };
    for n in 0..PAIR_FAILURES_MAX {
        // What the client itself writes in front does not make it another client.
        let status = guess(&format!("10.9.9.{n}, 10.0.0.7"), "wrong password").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(guess("10.0.0.7", PASSWORD).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(guess("10.0.0.8", PASSWORD).await, StatusCode::SEE_OTHER);
}
