//! From a camera to an operator: `celosia up` as people start it, and what its console shows while the scene changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use results::StateKind;
use system_tests::{assets, data};

use crate::{
    browser::{Answer, Browser},
    happy::{Folders, scene},
    onlooker::Onlooker,
    site::{self, Run, eventually},
};

/// A browser whose answers are waited for.
struct Waiting {
    browser: Browser,
    runtime: tokio::runtime::Runtime,
}

impl Waiting {
    fn at(port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self { browser: Browser::new(&format!("127.0.0.1:{port}")), runtime: runtime.unwrap() }
    }

    fn get(&self, path: &str) -> Answer {
        self.runtime.block_on(self.browser.get(path))
    }

    fn sign_in(&self, name: &str, password: &str) -> Answer {
        self.runtime.block_on(self.browser.sign_in(name, password))
    }
}

/// Seconds of the scene that are looked at, from its start: the file is shown again and again in real time.
const SECONDS: u64 = 16;

/// Everything that follows this in a text, up to the next quotation mark.
fn after<'a>(text: &'a str, what: &str) -> Vec<&'a str> {
    text.split(what).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn an_operator_sees_redacted_frames_with_their_faces_and_counts_that_follow_the_scene() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let real = data().map(|data| data.join("video/masks-on-and-off.mp4"));
    let video = real.clone().unwrap_or_else(|| scene(&folders));
    let arguments = ["--camera", video.to_str().unwrap(), "--every", "1s", "--clip", "2s"];
    let mut run = Run::up(&folders.state, &arguments);
    let site = Onlooker::at(&mut run, &folders.state);
    eventually("the scene", || {
        run.has_ended() || site.frames(StateKind::Done).len() as u64 > SECONDS
    });
    assert!(!run.has_ended(), "it ended by itself");

    let browser = Waiting::at(site::port(&folders.state, "console"));
    let password = fs::read_to_string(folders.state.join("console.password")).unwrap();
    let stranger = browser.get("/");
    assert!(
        stranger.status == 303 && stranger.header("location").starts_with("/login"),
        "{stranger:?}"
    );
    assert_eq!(browser.sign_in("operator", "not this one").status, 401);
    assert_eq!(browser.sign_in("operator", password.trim()).status, 303);

    // The overview: the camera with its live state and counts, and newest frames with boxes by class.
    let mut overview = String::new();
    eventually("the camera's state on the console", || {
        overview = browser.get("/").text();
        overview.contains("chip-good\">Recording")
    });
    assert!(overview.contains("href=\"/cameras/camera\""), "{overview}");
    let newest = after(&overview, "href=\"/frames/");
    assert!(newest.len() >= 10, "{newest:?}");
    for class in ["face-mask", "face-no-mask"] {
        assert!(overview.contains(&format!("<g class=\"face {class}\">")), "{class}: {overview}");
    }

    let counts = counts_by_second(&browser);
    follows_the_scene(&counts, real.is_some());
    drop(site);
    run.interrupt();
    site::succeeded(&run.end());
}

/// Faces with a mask and without, by second of the scene: every frame that the camera's pages list is opened.
fn counts_by_second(browser: &Waiting) -> BTreeMap<u64, [u64; 2]> {
    let (mut frames, mut path) = (BTreeSet::new(), "/cameras/camera".to_owned());
    loop {
        let page = browser.get(&path).text();
        frames.extend(after(&page, "href=\"/frames/").into_iter().map(str::to_owned));
        let older = after(&page, "href=\"/cameras/camera?after=").first().copied();
        let Some(older) = older else { break };
        path = format!("/cameras/camera?after={}", older.replace("&#38;", "&"));
    }
    let mut counts = BTreeMap::new();
    for frame in frames {
        let slot: u64 = frame.rsplit('/').next().unwrap().parse().unwrap();
        if slot > SECONDS {
            continue;
        }
        let picture = browser.get(&format!("/pictures/{frame}"));
        assert!(picture.status == 200 && picture.body.starts_with(&[0xff, 0xd8]), "{frame}");
        let result = browser.get(&format!("/results/{frame}"));
        let result: serde_json::Value = serde_json::from_slice(&result.body).unwrap();
        assert!(result["timings"]["read_us"].as_u64() > Some(0), "{result}");
        counts.insert(slot, ["mask", "no_mask"].map(|name| result[name].as_u64().unwrap()));
    }
    counts
}

fn follows_the_scene(counts: &BTreeMap<u64, [u64; 2]>, real: bool) {
    let sum = |seconds: &[u64]| {
        let of = |what: usize| seconds.iter().map(|second| counts[second][what]).sum::<u64>();
        (of(0), of(1))
    };
    if !real {
        // As it is drawn: few wear one in the first ten seconds, nearly everybody in the next.
        let (start, middle) = (sum(&[0, 2, 4, 6, 8]), sum(&[11, 12, 13, 14, 15]));
        assert!(start.1 > middle.1 && middle.0 > start.0, "{start:?}, then {middle:?}: {counts:?}");
        return;
    }
    // Four people, and a painting that wears one from the start. Noise differs from site to site: see `happy`.
    let [mask, no_mask] = counts[&0];
    assert!(no_mask >= 3 && mask <= 2, "nobody wears one yet: {counts:?}");
    let (mask, no_mask) = sum(&[4, 13, 14, 15]);
    assert!(mask >= 11 && no_mask <= 7, "all wear one: {counts:?}");
}
