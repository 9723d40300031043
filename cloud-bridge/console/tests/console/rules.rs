//! Stories of what holds for every answer: headers, limits, escaping, only sealed frames.

use console::limits::BURST;
use hyper::{Method, StatusCode};
use proto::{
    control::{CameraState, Presence},
    key,
    ledger::Ledger,
};

use crate::{
    example::{PASSWORD, scene::street},
    running::{at, noon, start},
};

#[tokio::test]
async fn every_answer_has_the_headers_and_no_page_has_a_style_or_script_in_it() {
    let console = start().await;
    let scene = street(1, 3);
    let done = console.site.done("door", 0, at(-60), (&scene.jpeg, &scene.faces)).await.frame;
    let browser = console.signed_in().await;
    let login = console.browser().get("/login").await;
    let mut answers = vec![("/login".to_owned(), login)];
    for path in [
        "/".to_owned(),
        "/cameras/door".into(),
        "/sign-ins".into(),
        format!("/frames/{done}"),
        format!("/pictures/{done}"),
        "/nothing".into(),
        "/health".into(),
        "/assets/console.css".into(),
        "/assets/none".into(),
    ] {
        let answer = browser.get(&path).await;
        answers.push((path, answer));
    }
    for (path, answer) in &answers {
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert!(!answer.header("cache-control").is_empty(), "{path} may be kept by anybody");
        if answer.header("content-type").starts_with("text/html") {
            let page = answer.text();
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
            for forbidden in [" style=", "<style", "onclick=", "onload=", "javascript:", "<script>"]
            {
                assert!(!page.contains(forbidden), "{path} has {forbidden}");
            }
            // Nothing from anywhere else. SVG's namespace is a name and no address.
            assert!(!page.contains("=\"http") && !page.contains("=\"//"), "{path}: {page}");
            assert!(page.contains("<main id=\"content\"") && page.contains("<h1>"), "{path}");
        }
    }
}

#[tokio::test]
async fn an_object_that_is_not_the_sealed_frame_is_not_shown() {
    let console = start().await;
    let scene = street(1, 3);
    let site = &console.site;
    let [planted, altered, moved, missing] = {
        let mut frames = Vec::new();
        for slot in 0..4 {
            frames.push(site.done("door", slot, at(-60), (&scene.jpeg, &scene.faces)).await);
        }
        <[_; 4]>::try_from(frames).unwrap()
    };
    let sealed = |manifest| {
        let reader: &dyn store::FrameReader = &*site.frames;
        let key = key::frame_key(manifest);
        async move { reader.frame(&key).await.unwrap().bytes().to_vec() }
    };
    let raw = b"\xFF\xD8\xFF\xE0 a face that nobody redacted \xFF\xD9".to_vec();
    let mut bytes = sealed(&altered).await;
    *bytes.last_mut().unwrap() ^= 1;
    let other = sealed(&missing).await;
    site.frames.plant(&key::frame_key(&planted), raw);
    site.frames.plant(&key::frame_key(&altered), bytes);
    site.frames.plant(&key::frame_key(&moved), other);
    let browser = console.signed_in().await;
    for manifest in [&planted, &altered, &moved] {
        let picture = browser.get(&format!("/pictures/{}", manifest.frame)).await;
        assert_eq!(picture.status, StatusCode::CONFLICT, "{}", manifest.frame);
        assert_eq!(picture.header("content-type"), "image/svg+xml");
        assert!(!picture.text().contains("nobody redacted"));
        assert!(picture.text().contains("not shown"));
        let json = browser.get(&format!("/manifests/{}", manifest.frame)).await;
        assert_eq!(json.status, StatusCode::CONFLICT);
    }
    // The manifest of the altered one is genuine: only its picture is not, and only reading it tells.
    for manifest in [&planted, &moved] {
        let page = browser.get(&format!("/frames/{}", manifest.frame)).await.text();
        assert!(page.contains("Not sealed by this site: not shown"), "{page}");
        assert!(!page.contains("<img src=\"/pictures/"), "{page}");
    }
}

#[tokio::test]
async fn what_others_wrote_is_text_and_never_markup() {
    let console = start().await;
    let site = &console.site;
    let evil = "<script>alert(1)</script>\"'&";
    site.results.create_user(evil, PASSWORD, noon()).await.unwrap();
    let scene = street(1, 1);
    let manifest = site.frame("door", 0, at(-60), (&scene.jpeg, &scene.faces)).await;
    site.results.mark_dead(&key::frame_key(&manifest), evil).await.unwrap();
    let cameras = [("door", CameraState::Failed, Some(evil), Ledger::default())];
    site.gateway("gw-1", Presence::Online, noon(), &cameras);
    let browser = console.browser();
    assert_eq!(browser.sign_in(evil, PASSWORD).await.status, StatusCode::SEE_OTHER);
    let frame = format!("/frames/{}", manifest.frame);
    for path in ["/", "/cameras/door", "/sign-ins", &frame] {
        let page = browser.get(path).await.text();
        assert!(!page.contains("<script>") && !page.contains("alert(1)</script"), "{path}: {page}");
        assert!(page.contains("&#60;script&#62;"), "{path} does not show the name");
    }
    let stranger = console.browser();
    let answer = stranger.sign_in("\"><script>alert(2)</script>", "wrong password").await;
    assert!(!answer.text().contains("<script>alert"), "{}", answer.text());
    let next = stranger.get("/login?next=%2F%22%3E%3Cscript%3E").await.text();
    assert!(!next.contains("\"><script>"), "{next}");
}

#[tokio::test]
async fn an_address_that_asks_too_much_waits() {
    let console = start().await;
    let browser = console.browser();
    let mut refused = 0;
    for _ in 0..BURST + 10 {
        let status = browser.get("/nothing").await.status;
        refused += u32::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(refused, 10);
    assert_eq!(browser.get("/health").await.status, StatusCode::OK, "probes are not refused");
    console.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(browser.get("/nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_body_over_its_limit_and_a_method_that_is_none_are_refused() {
    let console = start().await;
    let browser = console.signed_in().await;
    let long = "x".repeat(20_000);
    let answer = browser.post("/login", &[("name", &long)]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let answer = browser.send(Method::PUT, "/", &[], "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_frame_within_a_pack_is_shown_from_its_place_and_verified_like_any_other() {
    let console = start().await;
    let scenes = [street(1, 3), street(2, 3)];
    let jpegs = [&scenes[0].jpeg[..], &scenes[1].jpeg[..]];
    let frames = console.site.packed("door", at(-60), jpegs).await;
    let browser = console.signed_in().await;
    for (manifest, jpeg) in frames.iter().zip(jpegs) {
        let picture = browser.get(&format!("/pictures/{}", manifest.frame)).await;
        assert_eq!(picture.header("content-type"), "image/jpeg");
        assert_eq!(picture.body, jpeg);
        let page = browser.get(&format!("/frames/{}", manifest.frame)).await.text();
        assert!(page.contains("Verified against the site&#39;s seal root"), "{page}");
    }
    console.site.frames.plant(&key::pack_key(&frames[0]), vec![7; 100_000]);
    let picture = browser.get(&format!("/pictures/{}", frames[0].frame)).await;
    assert_eq!(picture.status, StatusCode::CONFLICT);
}
