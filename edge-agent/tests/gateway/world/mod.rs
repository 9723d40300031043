//! A site for one test: certificates, a fog node that answers as it is told, and a gateway's configuration.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use base::{Clock, Shutdown, SystemClock};
use capture::{Capture, CaptureSettings, CaptureSource, Pace, Pattern};
use link::{
    Bus, Listener, Peer, Protocol,
    mqtt::{Message, MqttConfig},
    testing::TestSite,
    transfer::{Decision, ReceiveOutcome, Receiver, receive_clip},
};
use proto::{
    Digest, Role, UtcTime,
    control::DeviceStatus,
    record::{ClipRecord, Receipt, SlotOutcome, SlotRecord},
    signing::SigningKey,
    wire::{ClipMessage, Offer, RefuseReason},
};
use tokio::sync::mpsc;

/// What the fog node does with offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes clips and gives receipts.
    Takes,
    /// Has no room.
    Busy,
    /// Takes clips, then its worker crashes.
    Crashes,
    /// Gives receipts that another bridge signed.
    Forges,
}

/// Something that the fog node saw.
#[derive(Debug)]
pub(crate) enum Seen {
    /// An offer, whatever came of it.
    Offer(Box<Offer>),
    /// A whole clip.
    Clip(Box<Offer>, Vec<u8>),
}

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) site: TestSite,
    credentials: PathBuf,
    fog: String,
    seen: mpsc::Receiver<Seen>,
    mood: Arc<Mutex<Mood>>,
}

impl World {
    pub(crate) async fn start(mood: Mood) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = TestSite::new(&folder.path().join("pki"), "town");
        let credentials = site.enrol(Role::Edge, "gw");
        let public = bridge().public().to_string();
        std::fs::write(credentials.join("receipt.pub"), public).unwrap();
        let fog = site.credentials(Role::Fog, "fog");
        let any = "127.0.0.1:0".parse().unwrap();
        let mut listener =
            Listener::bind(any, &fog, Protocol::Clip, &[Role::Edge], Arc::default()).unwrap();
        let address = listener.local_addr().to_string();
        let (sender, seen) = mpsc::channel(10_000);
        let mood = Arc::new(Mutex::new(mood));
        let shutdown = Shutdown::default();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let (receiver, told, tasks) = (Receiver::new(clock), Arc::clone(&mood), shutdown.clone());
        shutdown.spawn(async move {
            while let Some(peer) = listener.accept().await {
                let (receiver, sender, mood) = (receiver.clone(), sender.clone(), told.clone());
                let inner = tasks.clone();
                tasks.spawn(async move { serve(peer, receiver, sender, mood, inner).await });
            }
        });
        Self { folder, site, credentials, fog: address, seen, mood }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// The next thing that the fog node saw, within a minute.
    pub(crate) async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(Duration::from_secs(60), self.seen.recv()).await;
        next.unwrap().unwrap()
    }

    pub(crate) async fn next_clip(&mut self) -> (Offer, Vec<u8>) {
        loop {
            if let Seen::Clip(offer, bytes) = self.next().await {
                return (*offer, bytes);
            }
        }
    }

    /// A bystander at the broker on this port.
    pub(crate) fn console(&self, name: &str, port: u16, stop: &Shutdown) -> Bus {
        let credentials = self.site.credentials(Role::Console, name);
        let client_id = credentials.identity().common_name();
        let host = "localhost".to_owned();
        let config = MqttConfig { host, port, credentials, client_id, last_will: None };
        Bus::connect(config, stop).unwrap()
    }

    /// The next status in an inbox, within a minute.
    pub(crate) async fn next_status(inbox: &mut mpsc::Receiver<Message>) -> DeviceStatus {
        let next = tokio::time::timeout(Duration::from_secs(60), inbox.recv()).await;
        serde_json::from_slice(&next.unwrap().unwrap().payload).unwrap()
    }

    /// Writes a configuration with these cameras and extra top-level lines.
    pub(crate) fn config(&self, top: &str, cameras: &str) -> PathBuf {
        let path = self.folder.path().join("edge.toml");
        let text = format!(
            "site = 'town'\nname = 'gw'\ncredentials = {:?}\nstate = 'state'\nspool = 'spool'\n\
             device_key = 'device.key'\nfogs = ['{}']\n{top}\n{cameras}",
            self.credentials.display().to_string(),
            self.fog
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn bridge() -> SigningKey {
    SigningKey::from_seed(&[9; 32]).unwrap()
}

async fn serve(
    peer: Peer,
    receiver: Receiver,
    sender: mpsc::Sender<Seen>,
    mood: Arc<Mutex<Mood>>,
    tasks: Shutdown,
) {
    let peer = Arc::new(peer);
    while let Ok(mut channel) = peer.accept_channel().await {
        let (receiver, sender, mood) = (receiver.clone(), sender.clone(), mood.clone());
        tasks.spawn(async move {
            let mood = *mood.lock().unwrap();
            let told = sender.clone();
            let decide = async move |offer: &Offer| {
                told.send(Seen::Offer(Box::new(offer.clone()))).await.unwrap();
                if mood == Mood::Busy {
                    Decision::Refuse { reason: RefuseReason::Busy, retry_after_ms: 100 }
                } else {
                    Decision::Take
                }
            };
            let outcome = receive_clip(&mut channel, &receiver, decide).await;
            let Ok(ReceiveOutcome::Clip(clip)) = outcome else { return };
            let answer = match mood {
                Mood::Crashes => {
                    ClipMessage::Refuse { reason: RefuseReason::Failed, retry_after_ms: 0 }
                }
                Mood::Forges => {
                    let key = SigningKey::from_seed(&[66; 32]).unwrap();
                    ClipMessage::Receipt(receipt(&clip.offer, &key))
                }
                Mood::Takes | Mood::Busy => ClipMessage::Receipt(receipt(&clip.offer, &bridge())),
            };
            let seen = Seen::Clip(Box::new(clip.offer.clone()), clip.bytes.clone());
            if channel.send(&answer).await.is_ok() {
                sender.send(seen).await.unwrap();
            }
            drop(channel.finish().await);
        });
    }
}

fn receipt(offer: &Offer, key: &SigningKey) -> Receipt {
    let outcome = SlotOutcome::Frame(Digest::of(b"frame"));
    let slots = offer.interval.slots(offer.every_ns);
    let record = ClipRecord {
        clip: offer.clip.clone(),
        interval: offer.interval,
        every_ns: offer.every_ns,
        captured_at: offer.captured_at,
        clock: offer.clock,
        attempt: offer.attempt,
        policy: Digest::of(b"policy"),
        slots: slots.map(|slot| SlotRecord { slot, outcome }).collect(),
        failure: None,
    };
    Receipt::sign(key, &record, UtcTime::EPOCH)
}

/// Writes a generated video of this many seconds.
pub(crate) fn video(path: &Path, seconds: u32) {
    let source = CaptureSource::Test {
        pattern: Pattern::Ball,
        width: 320,
        height: 240,
        rate: 25,
        pictures: Some(seconds * 25),
    };
    let clip_length = Duration::from_secs(60);
    let settings = CaptureSettings { clip_length, pace: Pace::Fast, repeat: false };
    let mut capture = Capture::start(source, settings, Arc::new(SystemClock::default())).unwrap();
    let clip = capture.next_clip().unwrap().unwrap();
    assert!(capture.next_clip().unwrap().is_none());
    std::fs::write(path, clip.bytes).unwrap();
}
