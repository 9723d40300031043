//! A site for one test: certificates, a bridge that answers as it is told, workers that do as they are told or real ones,
//! gateways, and the real fog node between them.

#![allow(dead_code, reason = "each test file uses its part of the site")]

mod bridge;
mod script;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use base::Shutdown;
use fog_node::{
    config::Config,
    pipeline::Pipeline,
    service::{self, Buses, StartError},
    silence::Silence,
};
use link::{
    Credentials, Peer, Protocol,
    mqtt::MemoryBroker,
    quic,
    testing::TestSite,
    transfer::{UploadOutcome, upload_clip},
};
use models::FaceDetector;
use privacy::Policy;
use proto::{
    Clock, Digest, Interval, Role, UtcTime,
    control::{DeviceStatus, FogEndpoint},
    envelope::SealGrant,
    signing::SigningKey,
    time::ClockSource,
    topic,
    wire::{NoiseKey, Offer, RefuseReason},
};
use tokio::sync::{mpsc, oneshot};

pub(crate) use bridge::{Mood, TwinBridge};
#[allow(unused_imports, reason = "each test file uses its part of the site")]
pub(crate) use script::{CLIP_BYTES, Script, Step, last};

/// Long for a machine that is busy with other tests.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// The site's seal root.
pub(crate) fn root() -> SigningKey {
    SigningKey::from_seed(&[1; 32]).unwrap()
}

/// A worker's pipeline over these networks, under a policy of this site whose cells tell one frame from another.
pub(crate) fn pipeline(
    detector: impl FaceDetector + 'static,
    auditor: impl FaceDetector + 'static,
) -> Pipeline {
    let policy = Policy::named("cells").unwrap();
    let key = SigningKey::from_seed(&[2; 32]).unwrap();
    let until: UtcTime = "2100-01-01T00:00:00Z".parse().unwrap();
    let (site, policies) = ("town".parse().unwrap(), vec![policy.reference().digest]);
    let grant = SealGrant::issue(&root(), key.public(), site, UtcTime::EPOCH, until, policies);
    let (detector, auditor) = (Box::new(detector), Box::new(auditor));
    let silence = Silence::default();
    Pipeline { detector, auditor, policy, classifier: None, key, grant, silence }
}

/// Whether something comes to be within [`LONG`]; for what other processes do.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..LONG.as_millis() / 20 {
        if holds() {
            return true;
        }
        drop(tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await);
    }
    false
}

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) site: TestSite,
    pub(crate) tasks: Shutdown,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = TestSite::new(&folder.path().join("pki"), "town");
        Self { folder, site, tasks: Shutdown::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn bridge(&self, mood: Mood) -> TwinBridge {
        self.bridge_at("127.0.0.1:0", mood)
    }

    pub(crate) fn bridge_at(&self, address: &str, mood: Mood) -> TwinBridge {
        let credentials = self.site.credentials(Role::Bridge, "bridge");
        TwinBridge::start(address, &credentials, mood, &self.tasks)
    }

    /// Workers that do as they are told.
    pub(crate) fn script(&self) -> Script {
        Script::new(&self.path("script"))
    }

    /// Writes `fog.toml` with extra top-level lines, and the files that it names.
    pub(crate) fn config(&self, bridge: &str, assets: &Path, top: &str) -> PathBuf {
        let credentials = self.site.enrol(Role::Fog, "fog-1");
        let policy = privacy::Policy::named(privacy::Policy::DEFAULT).unwrap().reference().digest;
        let key = SigningKey::from_seed(&[2; 32]).unwrap();
        let until: UtcTime = "2100-01-01T00:00:00Z".parse().unwrap();
        let (site, from) = ("town".parse().unwrap(), UtcTime::EPOCH);
        let grant = SealGrant::issue(&root(), key.public(), site, from, until, vec![policy]);
        std::fs::write(self.path("seal.key"), "02".repeat(32)).unwrap();
        std::fs::write(self.path("grant.json"), serde_json::to_vec(&grant).unwrap()).unwrap();
        let text = format!(
            "site = 'town'\nname = 'fog-1'\ncredentials = {credentials:?}\n\
             listen = '127.0.0.1:0'\nbridge = '{bridge}'\nassets = {assets:?}\n\
             seal_key = 'seal.key'\ngrant = 'grant.json'\nallow_swap = true\n{top}\n\
             [gateways]\ngw-1 = ['cam-1']\ngw-2 = ['cam-2']\n",
        );
        let path = self.path("fog.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A fog node in this process with scripted workers.
    pub(crate) async fn fog(&self, bridge: &str, script: &Script, top: &str) -> Fog {
        let config = Config::load(&self.config(bridge, Path::new("none"), top)).unwrap();
        let script = script.clone();
        Fog::start(config, move || script.command()).await.unwrap()
    }

    /// A fog node in this process with real workers; nothing when the models are not there.
    pub(crate) async fn real_fog(&self, bridge: &str, top: &str) -> Option<Fog> {
        let config = Config::load(&self.config(bridge, &assets()?, top)).unwrap();
        let worker = config.worker.clone();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_fog-node"));
        Some(Fog::start(config, move || worker.command(&program)).await.unwrap())
    }

    /// A gateway that is connected with a fog node.
    pub(crate) async fn gateway(&self, name: &str, fog: &str) -> Gateway {
        let credentials = self.site.credentials(Role::Edge, name);
        Gateway(dial(fog, &credentials).await)
    }
}

pub(crate) async fn dial(fog: &str, credentials: &Credentials) -> Peer {
    quic::connect(fog, credentials, Protocol::Clip, Role::Fog).await.unwrap()
}

/// The models that `celosia fetch` brought.
pub(crate) fn assets() -> Option<PathBuf> {
    let stated = std::env::var_os("CELOSIA_ASSETS").map(PathBuf::from);
    let standard = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.celosia/assets");
    let folder = stated.unwrap_or(standard);
    if folder.join("centerface.onnx").exists() {
        return Some(folder.canonicalize().unwrap());
    }
    use std::io::Write;
    let line = format!("SKIPPED: {} has no models; run `celosia fetch`\n", folder.display());
    std::io::stderr().write_all(line.as_bytes()).ok();
    assert!(std::env::var_os("CELOSIA_ASSETS").is_none(), "{line}");
    None
}

/// A fog node that runs in this process.
pub(crate) struct Fog {
    pub(crate) address: String,
    pub(crate) broker: MemoryBroker,
    pub(crate) shutdown: Shutdown,
    statuses: mpsc::Receiver<link::mqtt::Message>,
    ended: oneshot::Receiver<Result<(), StartError>>,
    tasks: Shutdown,
}

impl Fog {
    pub(crate) async fn start(
        config: Config,
        worker: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let broker = MemoryBroker::default();
        let identity = config.identity.clone();
        let mut endpoints = broker.bus().subscribe(&topic::endpoint(&identity)).unwrap();
        let statuses = broker.bus().subscribe(&topic::status(&identity)).unwrap();
        let (shutdown, tasks) = (Shutdown::default(), Shutdown::default());
        let (told, mut ended) = oneshot::channel();
        let (status, endpoint, end) = (broker.bus(), broker.bus(), Shutdown::default());
        let (buses, stop) = (Buses { status, endpoint, end }, shutdown.clone());
        tasks.spawn(async move {
            told.send(service::run_over(config, worker, Some(buses), stop).await).ok();
        });
        tokio::select! {
            ended = &mut ended => Err(ended.unwrap().unwrap_err()),
            endpoint = endpoints.recv() => {
                let endpoint: FogEndpoint = serde_json::from_slice(&endpoint.unwrap().payload).unwrap();
                let address = endpoint.address;
                Ok(Self { address, broker, shutdown, statuses, ended, tasks })
            }
        }
    }

    pub(crate) fn endpoint(&self) -> FogEndpoint {
        let identity = "celosia://town/fog/fog-1".parse().unwrap();
        let retained = self.broker.retained(&topic::endpoint(&identity)).unwrap();
        serde_json::from_slice(&retained.payload).unwrap()
    }

    /// The next status that it publishes.
    pub(crate) async fn status(&mut self) -> DeviceStatus {
        let status = tokio::time::timeout(LONG, self.statuses.recv()).await.unwrap().unwrap();
        serde_json::from_slice(&status.payload).unwrap()
    }

    /// Asks it to stop, waits for that, and gives its last status.
    pub(crate) async fn stop(mut self) -> DeviceStatus {
        self.shutdown.request();
        tokio::time::timeout(LONG, &mut self.ended).await.unwrap().unwrap().unwrap();
        let mut last = self.status().await;
        while let Ok(status) = self.statuses.try_recv() {
            last = serde_json::from_slice(&status.payload).unwrap();
        }
        last
    }
}

/// What a status has counted.
pub(crate) fn counted(status: &DeviceStatus, name: &str) -> u64 {
    status.counters.get(name).copied().unwrap_or(0)
}

/// A gateway that is connected with a fog node.
pub(crate) struct Gateway(pub(crate) Peer);

impl Gateway {
    pub(crate) async fn upload(&self, offer: &Offer, bytes: &[u8]) -> UploadOutcome {
        let upload = upload_clip(&self.0, offer, bytes);
        tokio::time::timeout(LONG, upload).await.unwrap().unwrap()
    }

    /// Uploads again for as long as there is no room or no bridge.
    pub(crate) async fn upload_at_last(&self, offer: &Offer, bytes: &[u8]) -> UploadOutcome {
        for _ in 0..600 {
            match self.upload(offer, bytes).await {
                UploadOutcome::Refused {
                    reason: RefuseReason::Busy | RefuseReason::BridgeUnavailable,
                    ..
                } => {
                    let wait = Duration::from_millis(100);
                    drop(tokio::time::timeout(wait, std::future::pending::<()>()).await);
                }
                outcome => return outcome,
            }
        }
        panic!("there was never room for clip {}", offer.clip);
    }
}

/// Why an upload was refused.
pub(crate) fn reason(outcome: &UploadOutcome) -> Option<RefuseReason> {
    match outcome {
        UploadOutcome::Receipt(_) => None,
        UploadOutcome::Refused { reason, .. } => Some(*reason),
    }
}

/// The offer of a clip of `cam-1` with two slots in two seconds.
pub(crate) fn offer(seq: u64, bytes: &[u8]) -> Offer {
    Offer {
        clip: format!("town/cam-1/000102030405060708090a0b0c0d0e0f/{seq}").parse().unwrap(),
        digest: Digest::of(bytes),
        length: bytes.len() as u64,
        attempt: 1,
        noise_key: NoiseKey([3; 32]),
        noise_epoch: 0,
        interval: Interval { start_ns: 0, end_ns: 2_000_000_000 },
        every_ns: 1_000_000_000,
        captured_at: "2026-11-24T12:00:00Z".parse().unwrap(),
        clock: Clock { source: ClockSource::System, uncertainty_ms: Some(100) },
    }
}
