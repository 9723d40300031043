//! Owns the configuration files of the processes of a site, and which objects each may touch in the store.
//!
//! They are written afresh at each start: what a person wants to change is an argument of `celosia`, not a line in
//! them. Paths count from the folder `config` in the state folder, so that the state folder can be moved; assets and
//! cameras lie elsewhere and are absolute.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use proto::{CameraId, UtcTime, key::FRAMES};
use serde::Serialize;

use super::{Inference, Layout, Packing, Plan, Ports, ports::loopback};

/// Buckets.
pub(super) const FRAMES_BUCKET: &str = "frames";
pub(super) const RESULTS_BUCKET: &str = "results";
/// The local store does not care, but signatures need one.
pub(super) const REGION: &str = "us-east-1";
/// The function's name in Invoke URLs.
pub(super) const FUNCTION: &str = "mask";
/// When a frame without a result is invoked again: the local store does not lose events by itself, so only a crash
/// makes one overdue, and nobody wants to wait a minute for a batch.
const OVERDUE: &str = "5s";
/// Two minutes of such tries, since they are close together: a function that comes back within that loses nothing. What
/// it cannot classify it says itself.
const TRIES_MAX: u64 = 24;
/// How often the bridge looks for results: the store is on the same machine and costs nothing.
const POLL: &str = "100ms";
const POLL_MAX: &str = "1s";
const LIST_EACH: &str = "2s";
/// Waits of the function's host before the retries of an event: a crash is over within a second here, while AWS waits
/// a minute.
const FUNCTION_RETRY_MS: u64 = 1_000;

/// Who has keys of the object store, and for what.
pub(super) const STORE_KEYS: &[(&str, &[&str])] = &[
    ("bridge", &["put:frames", "get:results", "list:results"]),
    ("function", &["get:frames", "put:results"]),
    ("console", &["get:frames"]),
    ("admin", &["get:frames", "get:results"]),
];

/// A camera of the site, as the gateway is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Camera {
    /// Its id.
    pub id: CameraId,
    /// An absolute path, `rtsp://`, `/dev/videoN` or `test:NAME`.
    pub source: String,
    /// User of an RTSP camera.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// File with that user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Length at which clips are closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<String>,
    /// Sampling interval.
    pub every: String,
    /// Whether a file starts again at its end, in real time.
    #[serde(skip_serializing_if = "is_false")]
    pub repeat: bool,
    /// When a file began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<UtcTime>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[derive(Serialize)]
struct Broker {
    host: &'static str,
    port: u16,
}

#[derive(Serialize)]
struct Edge<'a> {
    site: &'a str,
    name: &'a str,
    credentials: &'static str,
    state: &'static str,
    spool: &'static str,
    device_key: &'static str,
    fogs: [String; 1],
    exit_when_done: bool,
    keep_runs: bool,
    broker: Broker,
    camera: &'a [Camera],
}

#[derive(Serialize)]
struct Fog<'a> {
    site: &'a str,
    name: &'a str,
    credentials: &'static str,
    listen: String,
    advertise: String,
    bridge: String,
    assets: &'a Path,
    policy: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    static_regions: Option<&'a Path>,
    state: &'static str,
    seal_key: &'static str,
    grant: &'static str,
    allow_swap: bool,
    broker: Broker,
    gateways: BTreeMap<&'a str, Vec<&'a CameraId>>,
}

#[derive(Serialize)]
struct Store {
    endpoint: String,
    region: &'static str,
    frames_bucket: &'static str,
    results_bucket: &'static str,
}

#[derive(Serialize)]
struct Function {
    endpoint: String,
    name: &'static str,
    overdue: &'static str,
    tries_max: u64,
}

#[derive(Serialize)]
struct Bridge<'a> {
    site: &'a str,
    name: &'a str,
    credentials: &'static str,
    listen: String,
    outbox: &'static str,
    database: String,
    seal_root: &'static str,
    receipt_key: &'static str,
    receipt_after: &'static str,
    pack: Packing,
    inference: Inference,
    poll: &'static str,
    poll_max: &'static str,
    list_each: &'static str,
    broker: Broker,
    store: Store,
    function: Function,
}

#[derive(Serialize)]
struct Console<'a> {
    site: &'a str,
    name: &'a str,
    credentials: &'static str,
    listen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<&'a str>,
    database: String,
    seal_root: &'static str,
    broker: Broker,
    store: Store,
}

#[derive(Serialize)]
struct StoreKey {
    id: &'static str,
    secret_file: String,
    allow: &'static [&'static str],
}

#[derive(Serialize)]
struct Notify {
    bucket: &'static str,
    prefix: &'static str,
    endpoint: String,
}

#[derive(Serialize)]
struct ObjectStore {
    listen: String,
    folder: &'static str,
    buckets: [&'static str; 2],
    key: Vec<StoreKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify: Option<Notify>,
}

#[derive(Serialize)]
struct FunctionHost<'a> {
    listen: String,
    name: &'static str,
    program: &'a Path,
    retry_after_ms: u64,
    environment: BTreeMap<&'static str, String>,
}

/// Every configuration file: name below `config`, content.
pub(super) fn all(
    layout: &Layout,
    plan: &Plan,
    ports: Ports,
    seal_root: &str,
) -> Result<Vec<(&'static str, String)>, toml::ser::Error> {
    let names = super::names();
    let site = plan.site.as_str();
    let broker = || Broker { host: "localhost", port: ports.broker };
    let store = || Store {
        endpoint: format!("http://{}", loopback(ports.store)),
        region: REGION,
        frames_bucket: FRAMES_BUCKET,
        results_bucket: RESULTS_BUCKET,
    };
    let cameras: Vec<&CameraId> = plan.cameras.iter().map(|camera| &camera.id).collect();
    let edge = Edge {
        site,
        name: names.edge,
        credentials: "../pki/edge",
        state: "../edge",
        spool: "../spool",
        device_key: "../pki/edge/device.key",
        fogs: [loopback(ports.fog).to_string()],
        exit_when_done: plan.exit_when_done,
        // A batch is over when its results are written, not when its files are read.
        keep_runs: plan.exit_when_done,
        broker: broker(),
        camera: &plan.cameras,
    };
    let fog = Fog {
        site,
        name: names.fog,
        credentials: "../pki/fog",
        listen: loopback(ports.fog).to_string(),
        advertise: loopback(ports.fog).to_string(),
        bridge: loopback(ports.bridge).to_string(),
        assets: &plan.assets,
        policy: &plan.policy,
        static_regions: plan.static_regions.as_deref(),
        state: "../fog",
        seal_key: "../pki/fog/seal.key",
        grant: "../pki/fog/grant.json",
        // `celosia` warns where swap is on; whoever owns the machine decides.
        allow_swap: true,
        broker: broker(),
        gateways: BTreeMap::from([(names.edge, cameras)]),
    };
    let bridge = bridge(layout, plan, ports, broker(), store());
    let console = Console {
        site,
        name: names.console,
        credentials: "../pki/console",
        listen: SocketAddr::from((plan.console.address, ports.console)).to_string(),
        public_url: plan.console.public_url.as_deref(),
        database: layout.database(),
        seal_root: "../pki/seal-root.pub",
        broker: broker(),
        store: store(),
    };
    Ok(vec![
        ("edge.toml", toml::to_string(&edge)?),
        ("fog.toml", toml::to_string(&fog)?),
        ("bridge.toml", toml::to_string(&bridge)?),
        ("console.toml", toml::to_string(&console)?),
        ("store.toml", toml::to_string(&object_store(plan, ports))?),
        ("function.toml", toml::to_string(&function_host(layout, plan, ports, seal_root))?),
    ])
}

fn bridge<'a>(
    layout: &Layout,
    plan: &'a Plan,
    ports: Ports,
    broker: Broker,
    store: Store,
) -> Bridge<'a> {
    Bridge {
        site: plan.site.as_str(),
        name: super::names().bridge,
        credentials: "../pki/bridge",
        listen: loopback(ports.bridge).to_string(),
        outbox: "../outbox",
        database: layout.database(),
        seal_root: "../pki/seal-root.pub",
        receipt_key: "../pki/bridge/receipt.key",
        receipt_after: "outbox",
        pack: plan.pack,
        inference: plan.inference,
        poll: POLL,
        poll_max: POLL_MAX,
        list_each: LIST_EACH,
        broker,
        store,
        function: Function {
            endpoint: format!("http://{}", loopback(ports.function)),
            name: FUNCTION,
            overdue: OVERDUE,
            tries_max: TRIES_MAX,
        },
    }
}

fn object_store(plan: &Plan, ports: Ports) -> ObjectStore {
    let key = |(id, allow): &(&'static str, &'static [&'static str])| StoreKey {
        id,
        secret_file: format!("../pki/store/{id}.secret"),
        allow,
    };
    let notify = Notify { bucket: FRAMES_BUCKET, prefix: FRAMES, endpoint: ports.invoke_url() };
    ObjectStore {
        listen: loopback(ports.store).to_string(),
        folder: "../objects",
        buckets: [FRAMES_BUCKET, RESULTS_BUCKET],
        key: STORE_KEYS.iter().map(key).collect(),
        // Beside the bridge nobody but the bridge asks.
        notify: match plan.inference {
            Inference::Lambda => Some(notify),
            Inference::Fog => None,
        },
    }
}

fn function_host<'a>(
    layout: &Layout,
    plan: &'a Plan,
    ports: Ports,
    seal_root: &str,
) -> FunctionHost<'a> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let environment = [
        ("CELOSIA_RESULTS_BUCKET", RESULTS_BUCKET.to_owned()),
        ("CELOSIA_FRAMES_BUCKET", FRAMES_BUCKET.to_owned()),
        ("CELOSIA_SEAL_ROOT", seal_root.to_owned()),
        ("CELOSIA_PLACEMENT", plan.inference.word().to_owned()),
        ("CELOSIA_S3_ENDPOINT", format!("http://{}", loopback(ports.store))),
        ("CELOSIA_ASSETS", text(plan.assets.clone())),
        ("CELOSIA_MODEL", text(layout.model())),
        ("AWS_SHARED_CREDENTIALS_FILE", text(layout.store_credentials("function"))),
        ("AWS_CONFIG_FILE", text(layout.store_credentials("function"))),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    FunctionHost {
        listen: loopback(ports.function).to_string(),
        name: FUNCTION,
        program: &plan.function_program,
        retry_after_ms: FUNCTION_RETRY_MS,
        environment: BTreeMap::from(environment),
    }
}
