//! Owns an onlooker of a running site: with the administrator's certificate it hears everything that devices say over
//! MQTT and gives them commands, and it reads the results database.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use base::{Clock, Shutdown, SystemClock};
use link::mqtt::{Bus, Message, MqttConfig};
use proto::{
    CameraId, Identity, UtcTime,
    control::{Action, CameraStatus, Command, DeviceStatus, Reply, SCHEMA},
    topic,
};
use results::{ClipFilter, ClipRow, FrameFilter, FrameRow, ROWS_MAX, Results, StateKind};
use tokio::runtime::Runtime;

use crate::site::{Run, eventually};

/// Everything that a site's devices say is below it.
const EVERYTHING: &str = "celosia/#";
/// The gateway of a site on one machine, and its camera.
const GATEWAY: &str = "celosia://site/edge/gw-1";
const CAMERA: &str = "camera";

/// An onlooker, until it is dropped.
pub(crate) struct Onlooker {
    runtime: Runtime,
    bus: Bus,
    stop: Shutdown,
    heard: Arc<Mutex<Vec<Message>>>,
    database: PathBuf,
    results: OnceLock<Results>,
}

impl Onlooker {
    /// At a site that starts or runs.
    pub(crate) fn at(run: &mut Run, state: &Path) -> Self {
        // The results database is made after keys, ports and configurations.
        eventually("a site", || run.has_ended() || state.join("results.db").exists());
        assert!(!run.has_ended(), "it ended by itself");
        let port = crate::site::port(state, "broker");
        let credentials = link::Credentials::load(&state.join("pki/admin")).unwrap();
        let config = MqttConfig {
            host: "localhost".to_owned(),
            port,
            credentials,
            // The administrator's command is connected under its own name.
            client_id: "onlooker".to_owned(),
            last_will: None,
        };
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let (stop, heard) = (Shutdown::default(), Arc::new(Mutex::new(Vec::new())));
        let (bus, mut inbox) = runtime.block_on(async {
            let bus = Bus::connect(config, &stop).unwrap();
            let inbox = bus.subscribe(EVERYTHING).unwrap();
            (bus, inbox)
        });
        let all = Arc::clone(&heard);
        runtime.block_on(async {
            stop.spawn(async move {
                while let Some(message) = inbox.recv().await {
                    all.lock().unwrap().push(message);
                }
            });
        });
        let (database, results) = (state.join("results.db"), OnceLock::new());
        Self { runtime, bus, stop, heard, database, results }
    }

    /// Everything that was said so far.
    pub(crate) fn heard(&self) -> Vec<Message> {
        self.heard.lock().unwrap().clone()
    }

    /// What the gateway said last, of itself.
    pub(crate) fn gateway(&self) -> Option<DeviceStatus> {
        let topic = topic::status(&gateway());
        let heard = self.heard.lock().unwrap();
        let last = heard.iter().rev().find(|message| message.topic == topic)?;
        Some(serde_json::from_slice(&last.payload).unwrap())
    }

    /// What it said last of its camera. A last will says nothing.
    pub(crate) fn camera(&self) -> Option<CameraStatus> {
        self.gateway()?.cameras.remove(&camera())
    }

    /// Whether the retained document on the topic with this end has ever said that its owner is gone.
    pub(crate) fn was_told_offline(&self, topic: &str) -> bool {
        let heard = self.heard.lock().unwrap();
        let of_topic = heard.iter().filter(|message| message.topic.ends_with(topic));
        let mut documents =
            of_topic.map(|m| serde_json::from_slice::<serde_json::Value>(&m.payload).unwrap());
        documents.any(|document| document["presence"] == "offline")
    }

    /// Gives the gateway a command for its camera, and waits for the answer.
    pub(crate) fn command(&self, action: Action) -> Reply {
        let id = format!("story-{}", SystemClock::default().utc_micros());
        let expires_at = now().plus_ns(60_000_000_000);
        let command = Command { schema: SCHEMA, id, expires_at, camera: camera(), action };
        self.bus.publish(&topic::command(&gateway()), &command).unwrap();
        let topic = topic::reply(&gateway());
        let mut answer = None;
        eventually("the answer to a command", || {
            let heard = self.heard.lock().unwrap();
            let replies = heard.iter().filter(|message| message.topic == topic);
            let mut replies = replies.map(|m| serde_json::from_slice::<Reply>(&m.payload).unwrap());
            answer = replies.find(|reply| reply.id == command.id);
            answer.is_some()
        });
        answer.unwrap()
    }

    /// The database, opened when it is first asked.
    fn results(&self) -> &Results {
        self.results.get_or_init(|| {
            let url = format!("sqlite:{}", self.database.display());
            self.runtime.block_on(Results::open(&url)).unwrap()
        })
    }

    /// Every committed clip, in the order of time.
    pub(crate) fn clips(&self) -> Vec<ClipRow> {
        let mut filter = ClipFilter::default();
        let mut clips = Vec::new();
        let results = self.results();
        self.runtime.block_on(async {
            loop {
                let page = results.clips(&filter, ROWS_MAX).await.unwrap();
                let Some(last) = page.last() else { break };
                filter.after = Some((last.record.captured_at, last.record.clip.clone()));
                clips.extend(page);
            }
        });
        clips.sort_by_key(|clip: &ClipRow| clip.record.captured_at);
        clips
    }

    /// Every frame of this state.
    pub(crate) fn frames(&self, state: StateKind) -> Vec<FrameRow> {
        let filter = FrameFilter { state: Some(state), ..FrameFilter::default() };
        let frames = self.runtime.block_on(self.results().frames(&filter, ROWS_MAX)).unwrap();
        assert!(frames.len() < ROWS_MAX as usize, "more frames than one page");
        frames
    }

    /// Whether the site has come to rest: nothing is held, every frame that was delivered has its result.
    pub(crate) fn is_at_rest(&self) -> bool {
        let held = self.camera().is_none_or(|camera| camera.ledger.held > 0);
        let sum = |clip: &ClipRow| clip.receipt.tally.delivered as usize;
        let delivered: usize = self.clips().iter().map(sum).sum();
        !held && self.frames(StateKind::Done).len() == delivered
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(results) = self.results.get() {
            self.runtime.block_on(results.close());
        }
    }
}

/// When a clip ended.
pub(crate) fn end(clip: &ClipRow) -> UtcTime {
    clip.record.captured_at.plus_ns(clip.record.interval.length_ns())
}

fn now() -> UtcTime {
    UtcTime::from_micros(SystemClock::default().utc_micros()).unwrap()
}

fn gateway() -> Identity {
    GATEWAY.parse().unwrap()
}

fn camera() -> CameraId {
    CAMERA.parse().unwrap()
}

/// Newest status of every device, by topic.
pub(crate) fn statuses(heard: &[Message]) -> BTreeMap<String, DeviceStatus> {
    all_statuses(heard.iter()).collect()
}

/// Every status among these messages, in the order in which they came.
pub(crate) fn all_statuses<'a>(
    heard: impl Iterator<Item = &'a Message>,
) -> impl Iterator<Item = (String, DeviceStatus)> {
    let statuses = heard.filter(|message| message.topic.ends_with("/status"));
    statuses.map(|m| (m.topic.clone(), serde_json::from_slice(&m.payload).unwrap()))
}
