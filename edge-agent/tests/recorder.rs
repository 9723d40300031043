//! One recorder on a generated picture, with a wall clock that somebody sets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use base::{Clock, Shutdown, SystemClock};
use capture::{CaptureSource, Pace, Pattern};
use edge_agent::{
    config::Camera,
    gateway::{Gateway, count},
    held::Retention,
    keeper::Keeper,
    recorder::Recorder,
    schedule::{Plan, Schedule},
    store::{Store, memory::MemoryStore},
};
use proto::{CameraId, UtcTime, signing::SigningKey};
use tokio::sync::watch;

/// An hour, in microseconds.
const HOUR_US: i64 = 3_600_000_000;

/// The machine's clocks, and how far somebody has set the wall clock.
#[derive(Default)]
struct Set(SystemClock, AtomicI64);

impl Clock for Set {
    fn now(&self) -> Duration {
        self.0.now()
    }

    fn utc_micros(&self) -> i64 {
        self.0.utc_micros() + self.1.load(Ordering::SeqCst)
    }
}

/// Sessions of the clips that are held, oldest first.
fn sessions(store: &MemoryStore) -> Vec<String> {
    let names = store.names();
    let of_clip = |name: &String| Some(name.strip_prefix("clip.")?.split('.').nth(1)?.to_owned());
    let mut sessions: Vec<String> = names.iter().filter_map(of_clip).collect();
    sessions.dedup();
    sessions
}

#[tokio::test]
async fn a_wall_clock_that_is_set_begins_a_new_session_and_is_counted() {
    let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new(1 << 30));
    let key = SigningKey::from_seed(&[9; 32]).unwrap().public();
    let retention = Retention { age_max: Duration::from_secs(86_400) };
    let keeper =
        Keeper::open(Box::new(store.clone()), folder.path(), retention, key, &[], UtcTime::EPOCH);
    let clock = Arc::new(Set::default());
    let shared: Arc<dyn Clock> = clock.clone();
    let identity = "celosia://town/edge/gw".parse().unwrap();
    let gateway = Gateway::new(identity, shared, keeper.unwrap());
    let id: CameraId = "cam".parse().unwrap();
    let (pattern, pictures) = (Pattern::Black, None);
    let camera = Camera {
        id: id.clone(),
        source: CaptureSource::Test { pattern, width: 160, height: 120, rate: 25, pictures },
        clip: Duration::from_secs(1),
        every_ns: 1_000_000_000,
        schedule: Schedule::Continuous,
        pace: Pace::Realtime,
        repeat: false,
        start: None,
    };
    let plan = Plan { schedule: Schedule::Continuous, started: true, now_until: None };
    let (_sender, plan) = watch::channel(plan);
    let shutdown = Shutdown::default();
    let state = folder.path().to_owned();
    let recorder = Recorder::new(gateway.clone(), camera, state, 1 << 30, plan, shutdown.clone());
    let setting = async {
        for by in [HOUR_US, -2 * HOUR_US] {
            gateway.kept.notified().await;
            let before = sessions(&store).len();
            clock.1.fetch_add(by, Ordering::SeqCst);
            while sessions(&store).len() <= before {
                gateway.kept.notified().await;
            }
        }
        shutdown.request();
    };
    let both = async { tokio::join!(recorder.run(), setting) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("no new session");
    assert_eq!(gateway.counters.snapshot().get(count::CLOCK_SET), Some(&2));
    let ledger = gateway.with_keeper(move |keeper| Ok(keeper.ledger(&id))).await.unwrap();
    assert!(ledger.balances() && ledger.gaps <= 2, "an hour is no gap: {ledger:?}");
}
