//! Stories of what the pages show: states, counts, ledgers, boxes, and how a result came about.

use std::time::Duration;

use hyper::StatusCode;
use proto::{
    UtcTime,
    control::{CameraState, Presence},
    key,
    ledger::Ledger,
    manifest::Rect,
    record::SlotOutcome,
    result::{FaceLabel, FrameResult},
    watch::{CameraWatch, CanaryRecall},
};

use crate::{
    example::{
        DELIVERED, WITHHELD, ledger,
        scene::{Face, street},
    },
    running::{Running, at, noon, start},
};

fn faces(labels: &[FaceLabel]) -> Vec<Face> {
    let rect = |n: usize| Rect { x: 64 + u32::try_from(n).unwrap() * 96, y: 128, w: 48, h: 64 };
    labels.iter().enumerate().map(|(n, label)| Face { rect: rect(n), label: *label }).collect()
}

/// The part of a page between two texts.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("{from} is not in {page}"));
    rest.split_once(to).unwrap_or_else(|| panic!("{to} is not after {from}")).0
}

/// Asks until the page has the text: what the bus says arrives a few turns of the runtime later.
async fn until(console: &Running, path: &str, text: &str) -> String {
    const TURNS_MAX: usize = 20;
    let browser = console.signed_in().await;
    for _ in 0..TURNS_MAX {
        let page = browser.get(path).await.text();
        if page.contains(text) {
            return page;
        }
    }
    panic!("{path} does not show {text:?}")
}

#[tokio::test]
async fn frames_that_wait_have_a_result_or_were_given_up_are_shown_as_such() {
    let console = start().await;
    let site = &console.site;
    let scene = street(1, 3);
    let labels = [FaceLabel::Mask, FaceLabel::Mask, FaceLabel::NoMask, FaceLabel::NotAFace];
    let done = site.done("door", 0, at(-60), (&scene.jpeg, &faces(&labels))).await;
    let waiting = site.frame("door", 2, at(-50), (&scene.jpeg, &scene.faces)).await;
    let dead = site.frame("yard", 4, at(-40), (&scene.jpeg, &scene.faces)).await;
    let dead_key = key::frame_key(&dead);
    site.results.tried(&dead_key, at(-20)).await.unwrap();
    site.results.mark_dead(&dead_key, "no memory left").await.unwrap();

    let browser = console.signed_in().await;
    let page = browser.get("/").await.text();
    let newest = between(&page, "id=\"newest\"", "</section>");
    let tiles: Vec<&str> = newest.split("class=\"tile\"").skip(1).collect();
    assert_eq!(tiles.len(), 3);
    assert!(tiles[0].contains("Given up") && tiles[1].contains("Waiting"), "{newest}");
    assert!(tiles[2].contains("<b>M</b> 2") && tiles[2].contains("<b>N</b> 1"), "{}", tiles[2]);
    // Two with a mask and one without have boxes; what is no face has none on a small picture.
    assert_eq!(tiles[2].matches("face-mask").count(), 2);
    assert_eq!(tiles[2].matches("face-no-mask").count(), 1);
    assert!(!tiles[2].contains("face-not-a-face"));
    assert_eq!(tiles[1].matches("class=\"line\"").count(), 0, "nothing is said of it yet");
    let given_up = between(&page, "id=\"waiting\"", "</section>");
    assert!(given_up.contains("no memory left") && given_up.contains("asked again once"));
    assert!(page.contains("The longest waiting since 47 s ago."), "{page}");

    let page = browser.get(&format!("/frames/{}", dead.frame)).await.text();
    assert!(page.contains("no memory left (asked again once)"), "{page}");
    let page = browser.get(&format!("/frames/{}", waiting.frame)).await.text();
    assert!(page.contains("chip-waiting") && page.contains("data-refresh=\"4\""));
    let page = browser.get(&format!("/frames/{}", done.frame)).await.text();
    assert!(page.contains("face-not-a-face") && page.contains("data-refresh=\"0\""));
}

#[tokio::test]
async fn counts_of_the_period_have_their_share_and_interval() {
    let console = start().await;
    let mut labels = vec![FaceLabel::NoMask; 2];
    labels.extend([FaceLabel::Mask; 8]);
    labels.push(FaceLabel::Uncertain);
    console.site.done("door", 0, at(-600), (b"\xFF\xD8\xFF\xD9", &faces(&labels))).await;
    let old = faces(&[FaceLabel::NoMask; 5]);
    console.site.done("door", 2, at(-3 * 86_400), (b"\xFF\xD8\xFF\xD9", &old)).await;
    let browser = console.signed_in().await;
    for (window, share, of) in [
        ("/?window=hour", "20%", "5.7% – 51%, of 10 tracks"),
        ("/", "20%", "5.7% – 51%, of 10 tracks"),
        ("/?window=week", "47%", "25% – 70%, of 15 tracks"),
        ("/?window=all", "47%", "25% – 70%, of 15 tracks"),
        ("/?window=nonsense", "20%", "of 10 tracks"),
    ] {
        let page = browser.get(window).await.text();
        let summary = between(&page, "id=\"summary\"", "</section>");
        assert!(summary.contains(&format!("<p class=\"figure-number\">{share}</p>")), "{summary}");
        assert!(summary.contains(of), "{window}: {summary}");
        // The classifier errs, so that the corrected share has the wider interval.
        let corrected = between(summary, "known errors:", "</p>");
        assert!(corrected.contains('%') && corrected.contains('–'), "{window}: {corrected}");
    }
    let current = between(&browser.get("/").await.text(), "window=day\"", "<").to_owned();
    assert!(current.contains("aria-current"), "{current}");
}

#[tokio::test]
async fn a_share_is_corrected_for_the_classifier_that_said_it_and_for_no_other() {
    let console = start().await;
    let all = faces(&[FaceLabel::NoMask, FaceLabel::Mask]);
    let jpeg = b"\xFF\xD8\xFF\xD9".as_slice();
    console.site.done("door", 0, at(-600), (jpeg, &all)).await;
    let browser = console.signed_in().await;
    for path in ["/", "/cameras/door"] {
        assert!(browser.get(path).await.text().contains("known errors:"), "{path}");
    }
    // Then one of a classifier that nobody knows here: whose errors are in the share is not known.
    let manifest = console.site.frame("door", 2, at(-60), (jpeg, &all)).await;
    let mut result = crate::example::result(&manifest, &[FaceLabel::NoMask, FaceLabel::Mask]);
    result.model.digest = proto::Digest::of(b"another");
    console.site.results.insert_result(&result.image, &result, at(-50)).await.unwrap();
    for path in ["/", "/cameras/door"] {
        let page = browser.get(path).await.text();
        assert!(page.contains("of 4 tracks") && !page.contains("known errors:"), "{path}: {page}");
    }
}

#[tokio::test]
async fn people_in_several_frames_of_a_clip_are_counted_once() {
    let console = start().await;
    let (first, second) = ([FaceLabel::Mask, FaceLabel::NoMask], [FaceLabel::Mask; 2]);
    let jpeg = b"\xFF\xD8\xFF\xD9".as_slice();
    console.site.done("door", 0, at(-601), (jpeg, &faces(&first))).await;
    let later = console.site.done("door", 1, at(-600), (jpeg, &faces(&second))).await;
    // One of them is also in the next clip.
    let next = console.site.done("door", 2, at(-599), (jpeg, &faces(&[FaceLabel::NoMask]))).await;
    let browser = console.signed_in().await;
    for path in ["/", "/cameras/door"] {
        let page = browser.get(path).await.text();
        // The second says on the mean what it says more surely, .93 to .88: a mask.
        assert!(page.contains("of 3 tracks") && page.contains("33%"), "{page}");
        assert!(page.contains("one face in consecutive frames of one clip"), "{page}");
    }
    let page = browser.get(&format!("/frames/{}", later.frame)).await.text();
    let table = between(&page, "<table class=\"faces\">", "</table>");
    assert_eq!(table.matches("Mask, by 2 frames").count(), 2, "{table}");
    let page = browser.get(&format!("/frames/{}", next.frame)).await.text();
    assert!(!between(&page, "<table class=\"faces\">", "</table>").contains("frames"), "{page}");
}

#[tokio::test]
async fn a_site_with_old_films_only_shows_all_that_was_counted() {
    let console = start().await;
    let old = faces(&[FaceLabel::Mask; 3]);
    let begin = UtcTime::EPOCH.plus_ns(7_000_000_000);
    console.site.done("archive", 0, begin, (b"\xFF\xD8\xFF\xD9", &old)).await;
    let browser = console.signed_in().await;
    let page = browser.get("/").await.text();
    assert!(between(&page, "window=all\"", "<").contains("aria-current"));
    assert!(between(&page, "id=\"summary\"", "</section>").contains("of 3 tracks"));
    let page = browser.get("/cameras/archive").await.text();
    assert!(
        page.contains("<svg class=\"chart\"") && page.contains("1970-01-01 00:00:00"),
        "{page}"
    );
}

#[tokio::test]
async fn the_state_of_cameras_comes_from_the_bus_with_its_age() {
    let console = start().await;
    let site = &console.site;
    let balanced = ledger(120, 6, 12, 6);
    let cameras = [("door", CameraState::Recording, None, balanced)];
    site.clip("door", 0, at(-60), [DELIVERED(), WITHHELD]).await;
    site.gateway("gw-1", Presence::Online, noon(), &cameras);
    let page = until(&console, "/", "Recording").await;
    let card = between(&page, "href=\"/cameras/door\"", "</article>");
    assert!(card.contains("gw-1") && card.contains("chip-good"), "{card}");
    assert!(card.contains("Balances") && card.contains("Captured <b>12.0 min</b>"), "{card}");
    for part in ["<dd>10.0 <", "<dd>0.5 <", "<dd>1.0 <"] {
        assert!(card.contains(part), "{part} is not in {card}");
    }
    console.clock.advance(Duration::from_secs(45));
    let page = until(&console, "/", "45 s ago").await;
    assert!(between(&page, "href=\"/cameras/door\"", "</article>").contains("age stale"), "{page}");

    // Its last will names no camera; they stay known, and what they did last is not said of them any more.
    site.gateway("gw-1", Presence::Offline, noon(), &[]);
    let page = until(&console, "/", "Gateway offline").await;
    let card = between(&page, "href=\"/cameras/door\"", "</article>");
    assert!(!card.contains("Recording") && card.contains("Balances"), "{card}");

    let broken = Ledger { captured: 9, ..balanced };
    let cameras = [("gate", CameraState::Failed, Some("no such device"), broken)];
    site.gateway("gw-2", Presence::Online, noon(), &cameras);
    let page = until(&console, "/", "no such device").await;
    let card = between(&page, "href=\"/cameras/gate\"", "</article>");
    assert!(card.contains("Failed") && card.contains("Does not balance"), "{card}");
    let page = until(&console, "/sign-ins", "edge-gw-2").await;
    assert!(page.contains("edge-gw-1"), "{page}");
}

#[tokio::test]
async fn a_camera_that_is_not_heard_shows_what_the_database_knows_and_says_so() {
    let console = start().await;
    console.site.clip("door", 0, at(-60), [DELIVERED(), WITHHELD]).await;
    console.site.clip("door", 1, at(-50), [SlotOutcome::Undecodable, DELIVERED()]).await;
    let browser = console.signed_in().await;
    let page = browser.get("/").await.text();
    let card = between(&page, "href=\"/cameras/door\"", "</article>");
    assert!(card.contains("Not heard") && card.contains("From the database alone"), "{card}");
    let page = browser.get("/cameras/door").await.text();
    let unseen = between(&page, "id=\"unseen\"", "</section>");
    for part in ["Withheld", "the audit still found a face", "Undecodable", "the clip ends early"] {
        assert!(unseen.contains(part), "{part} is not in {unseen}");
    }
    assert!(page.contains("One slot each 5 s."), "{page}");
}

#[tokio::test]
async fn a_drift_of_canary_recall_stands_on_the_cameras_page_and_is_not_called_coverage() {
    let console = start().await;
    console.site.clip("door", 0, at(-60), [DELIVERED(), WITHHELD]).await;
    let recall = |recent_milli, drifting| CanaryRecall {
        drawn: 6_000,
        recent_milli,
        usual_milli: Some(834),
        drifting,
        low_hours: 0,
    };
    let watch = |recent, drifting, doubted| CameraWatch {
        silent_in_a_row: 120,
        fell_silent: drifting,
        doubted,
        canary_recall: [("16-32".to_owned(), recall(recent, drifting))].into(),
    };
    console.site.fog("fog-1", "door", watch(541, true, 7));
    // Another fog node whose workers see well does not hide it.
    console.site.fog("fog-2", "door", watch(840, false, 0));
    let browser = console.signed_in().await;
    let mut section = String::new();
    for _ in 0..500 {
        let page = browser.get("/cameras/door").await.text();
        section = between(&page, "id=\"watch-head\"", "</section>").to_owned();
        if section.contains("54.1%") {
            break;
        }
    }
    for part in [
        "Canary recall",
        "54.1%",
        "83.4%",
        "Fewer than usual",
        "nothing in 120 frames in a row",
        "7 frames were withheld",
    ] {
        assert!(section.contains(part), "{part} is not in {section}");
    }
    assert!(!section.to_lowercase().contains("coverage"), "{section}");
}

#[tokio::test]
async fn canary_recall_that_is_too_low_to_watch_is_said_and_not_taken_for_a_healthy_one() {
    let console = start().await;
    console.site.clip("door", 0, at(-60), [DELIVERED(), WITHHELD]).await;
    let recall = |usual_milli, low_hours| CanaryRecall {
        drawn: 6_000,
        recent_milli: 200,
        usual_milli: Some(usual_milli),
        drifting: false,
        low_hours,
    };
    let sizes = [("16-32", recall(121, 24)), ("32-64", recall(499, 9)), ("64+", recall(812, 0))];
    let canary_recall = sizes.map(|(size, recall)| (size.to_owned(), recall)).into();
    let watch = CameraWatch { canary_recall, ..CameraWatch::default() };
    console.site.fog("fog-1", "door", watch);
    let page = until(&console, "/cameras/door", "Too low to watch").await;
    let section = between(&page, "id=\"watch-head\"", "</section>");
    for part in [
        "too low to watch at 16-32 pixels in 24 of 24 hours",
        "too low to watch at 32-64 pixels in 9 of 24 hours",
        "12.1%</td><td class=\"num\">6,000</td><td>Too low to watch",
        "As usual in the hours that can be watched",
    ] {
        assert!(section.contains(part), "{part} is not in {section}");
    }
    assert!(!section.contains("at 64+ pixels"), "{section}");
    assert_eq!(section.matches("<td>As usual</td>").count(), 1, "{section}");
}

#[tokio::test]
async fn a_cameras_page_has_its_timeline_and_all_of_its_frames() {
    let console = start().await;
    for slot in 0..30 {
        let seconds = i64::try_from(slot).unwrap() * 60 - 1_800;
        let labels = faces(&[FaceLabel::Mask, FaceLabel::NoMask]);
        console.site.done("door", slot, at(seconds), (b"\xFF\xD8\xFF\xD9", &labels)).await;
    }
    console.site.done("yard", 0, at(-60), (b"\xFF\xD8\xFF\xD9", &[])).await;
    let browser = console.signed_in().await;
    let page = browser.get("/cameras/door?window=hour").await.text();
    let chart = between(&page, "<svg class=\"chart\"", "</svg>");
    assert_eq!(chart.matches("<title>").count(), 30);
    assert!(chart.contains("11:30:00: Mask 1, No mask 1, Worn incorrectly 0, Uncertain 0"));
    let table = between(&page, "id=\"timeline-table\"", "</details>");
    assert_eq!(table.matches("<th scope=\"row\">").count(), 30);
    assert_eq!(page.matches("class=\"tile\"").count(), 24);
    assert!(!page.contains("/frames/town/yard"));
    let older = between(&page, "<p class=\"pager\"><a href=\"", "\"").replace("&#38;", "&");
    let page = browser.get(&older).await.text();
    assert_eq!(page.matches("class=\"tile\"").count(), 6);
    assert!(page.contains("data-refresh=\"0\"") && page.contains("href=\"/cameras/door\""));
    for path in ["/cameras/none", "/cameras/A", "/cameras/a%2Fb", "/cameras/"] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_frame_explains_how_its_result_came_about() {
    let console = start().await;
    let labels = [FaceLabel::Incorrect, FaceLabel::Uncertain];
    let scene = street(5, 2);
    let before = console.site.done("door", 0, at(-70), (&scene.jpeg, &[])).await;
    let shown = console.site.done("door", 2, at(-60), (&scene.jpeg, &faces(&labels))).await;
    let after = console.site.done("door", 4, at(-50), (&scene.jpeg, &[])).await;
    console.site.done("yard", 4, at(-55), (&scene.jpeg, &[])).await;
    let browser = console.signed_in().await;
    let page = browser.get(&format!("/frames/{}", shown.frame)).await.text();
    let key = key::frame_key(&shown);
    for part in [
        shown.frame.to_string(),
        key.clone(),
        shown.policy.digest.to_string(),
        shown.detector.digest.to_string(),
        shown.auditor.digest.to_string(),
        crate::example::model().digest.to_string(),
        "mask-solid".into(),
        "± 0.1 s (gateway&#39;s clock)".into(),
        "2026-11-24 11:59:00.000 UTC".into(),
        "none: nothing of a face left that could have some".into(),
        "Verified against the site&#39;s seal root".into(),
        "on the fog".into(),
        "2; 2 classified before they were covered, 0 with cells that left".into(),
        "2.1 ms to read the seal, 0.4 ms to classify".into(),
        format!("href=\"/frames/{}\" rel=\"prev\"", before.frame),
        format!("href=\"/frames/{}\" rel=\"next\"", after.frame),
    ] {
        assert!(page.contains(&part), "{part} is not in {page}");
    }
    let table = between(&page, "<table class=\"faces\">", "</table>");
    for part in ["0.26", "0.13", "0.61", "0.75", "Worn incorrectly", "Uncertain", "48 × 64"] {
        assert!(table.contains(part), "{part} is not in {table}");
    }
    let json = browser.get(&format!("/results/{}", shown.frame)).await;
    assert_eq!(json.header("content-type"), "application/json");
    let result: FrameResult = serde_json::from_slice(&json.body).unwrap();
    assert_eq!((result.frame, result.image), (shown.frame.clone(), key));
    let json = browser.get(&format!("/manifests/{}", shown.frame)).await;
    assert_eq!(proto::Manifest::from_json(&json.body).unwrap(), shown);
    let picture = browser.get(&format!("/pictures/{}", shown.frame)).await;
    assert_eq!(picture.header("content-type"), "image/jpeg");
    assert_eq!(picture.body, scene.jpeg, "the picture without its seal");
    let nobody = shown.frame.to_string().replace("door", "none");
    for path in [format!("/frames/{nobody}"), "/frames/x".into(), format!("/results/{nobody}")] {
        assert_eq!(browser.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
