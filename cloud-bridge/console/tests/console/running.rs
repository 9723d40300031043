//! Owns a running console, and browsers that are signed in at it.

use std::{sync::Arc, time::Duration};

use base::{ManualClock, Shutdown};
use console::service::{Parts, serve};
use hyper::StatusCode;
use link::mqtt::Bus;
use proto::UtcTime;
use store::FrameReader;
use tokio::net::TcpListener;

use crate::{
    browser::Browser,
    example::{Example, NAME, PASSWORD},
};

/// 2026-11-24, noon: when every story begins.
pub(crate) fn noon() -> UtcTime {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

/// Noon and this many seconds.
pub(crate) fn at(seconds: i64) -> UtcTime {
    noon().plus_ns(seconds * 1_000_000_000)
}

/// A console that is served until it is dropped.
pub(crate) struct Running {
    pub(crate) site: Example,
    pub(crate) clock: ManualClock,
    pub(crate) shutdown: Shutdown,
    pub(crate) host: String,
}

/// How a story's console differs from the usual one.
#[derive(Default)]
pub(crate) struct Differs {
    pub(crate) reader: Option<Arc<dyn FrameReader>>,
    pub(crate) bus: Option<Bus>,
    pub(crate) without_bus: bool,
    pub(crate) public_url: Option<String>,
}

pub(crate) async fn start() -> Running {
    start_with(|_| Differs::default()).await
}

pub(crate) async fn start_with(differs: impl FnOnce(&Example) -> Differs) -> Running {
    let clock = ManualClock::default();
    clock.advance(Duration::from_micros(noon().micros().cast_unsigned()));
    let site = Example::new(&clock).await;
    let Differs { reader, bus, without_bus, public_url } = differs(&site);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let parts = Parts {
        identity: "celosia://town/console/console".parse().unwrap(),
        results: site.results.clone(),
        reader: reader.unwrap_or_else(|| site.frames.clone()),
        bus: (!without_bus).then(|| bus.unwrap_or_else(|| site.broker.bus())),
        clock: Arc::new(clock.clone()),
        public_url,
    };
    let shutdown = Shutdown::default();
    let stop = shutdown.clone();
    shutdown.spawn(async move { serve(parts, listener, &stop).await.unwrap() });
    Running { site, clock, shutdown, host }
}

impl Running {
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.host)
    }

    /// A browser that is signed in.
    pub(crate) async fn signed_in(&self) -> Browser {
        let browser = self.browser();
        let answer = browser.sign_in(NAME, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
        browser
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}
