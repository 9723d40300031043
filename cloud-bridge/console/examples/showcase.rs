//! The console over example data, to look at while working on its pages: prints an address and a login, and goes on
//! adding frames until it is interrupted. Everything is in memory or a temporary folder; the pictures are generated.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tool of developers"
)]

#[path = "../tests/console/example/mod.rs"]
#[expect(dead_code, reason = "what only tests use")]
mod example;

use std::{sync::Arc, time::Duration};

use base::{Clock, Shutdown, SystemClock};
use console::service::{Parts, serve};
use example::{
    DELIVERED, Example, NAME, PASSWORD, WITHHELD, ledger,
    scene::{Dice, street},
};
use proto::{
    UtcTime,
    control::{CameraState, Presence},
    key,
    watch::CameraWatch,
};
use tokio::net::TcpListener;

/// Slots of history: three hours.
const HISTORY: u64 = 3 * 720;

#[tokio::main]
async fn main() {
    let shutdown = Shutdown::listen().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let now = UtcTime::from_micros(clock.utc_micros()).unwrap();
    let site = Arc::new(Example::new(&*clock).await);
    let begin = now.plus_ns(-5_000_000_000 * i64::try_from(HISTORY).unwrap());
    for (camera, seed) in [("market-square", 3), ("station-hall", 11)] {
        history(&site, camera, seed, begin).await;
    }
    let waiting = street(77, 5);
    let at = begin.plus_ns(5_000_000_000 * i64::try_from(HISTORY).unwrap());
    site.frame("market-square", HISTORY, at, (&waiting.jpeg, &waiting.faces)).await;
    let dead = street(78, 4);
    let at = at.plus_ns(-90_000_000_000);
    let manifest = site.frame("station-hall", HISTORY + 9, at, (&dead.jpeg, &dead.faces)).await;
    let key = key::frame_key(&manifest);
    site.results.tried(&key, now).await.unwrap();
    site.results.mark_dead(&key, "the function timed out after 30 s").await.unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}/ name {NAME} password {PASSWORD}", listener.local_addr().unwrap());
    shutdown.spawn(live(Arc::clone(&site), Arc::clone(&clock), shutdown.clone()));
    let parts = Parts {
        identity: "celosia://town/console/console".parse().unwrap(),
        results: site.results.clone(),
        reader: site.frames.clone(),
        bus: Some(site.broker.bus()),
        clock,
        public_url: None,
    };
    serve(parts, listener, &shutdown).await.unwrap();
}

async fn history(site: &Example, camera: &str, seed: u64, begin: UtcTime) {
    let mut dice = Dice(seed);
    for clip in 0..HISTORY / 2 {
        let at = |slot: u64| begin.plus_ns(5_000_000_000 * i64::try_from(slot).unwrap());
        let second = if dice.below(60) == 0 { WITHHELD } else { DELIVERED() };
        site.clip(camera, clip, at(clip * 2), [DELIVERED(), second]).await;
        // A frame each minute of what a camera would give each five seconds: enough to look at, quick to make.
        if clip % 6 == 0 {
            let scene = street(seed * 10_000 + clip, 1 + dice.below(9));
            site.done(camera, clip * 2, at(clip * 2), (&scene.jpeg, &scene.faces)).await;
        }
    }
}

/// Status every two seconds and a frame every ten.
async fn live(site: Arc<Example>, clock: Arc<dyn Clock>, shutdown: Shutdown) {
    for round in 0u64.. {
        let now = UtcTime::from_micros(clock.utc_micros()).unwrap();
        let recording = CameraState::Recording;
        let cameras = [
            ("market-square", recording, None, ledger(2_121 + round / 2, 31, 8, 0)),
            (
                "north-gate",
                CameraState::Reconnecting,
                Some("rtsp://10.0.0.7: connection refused, next try in 8 s"),
                ledger(0, 0, 0, 0),
            ),
        ];
        site.gateway("gw-market", Presence::Online, now, &cameras);
        if round == 0 {
            let at = now.plus_ns(-400_000_000_000);
            let cameras = [("station-hall", recording, None, ledger(2_102, 40, 12, 6))];
            site.gateway("gw-station", Presence::Offline, at, &cameras);
            let watch =
                CameraWatch { silent_in_a_row: 130, fell_silent: true, ..Default::default() };
            site.fog("fog-1", "station-hall", watch);
        }
        if round % 5 == 4 {
            let scene = street(500_000 + round, 3 + round % 6);
            let slot = HISTORY + 100 + round;
            site.done("market-square", slot, now, (&scene.jpeg, &scene.faces)).await;
        }
        if !shutdown.sleep(Duration::from_secs(2)).await {
            return;
        }
    }
}
