//! Owns the start and the end of a gateway: which tasks run, what they share, in which order they stop.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::{Clock, Shutdown, SystemClock};
use link::mqtt::{Bus, BusError, Message, MqttConfig};
use proto::{
    CameraId, UtcTime,
    control::{CameraState, DeviceStatus, FogEndpoint, Presence, SCHEMA},
    signing::PublicKey,
    topic,
};
use spool::{DeviceKey, DeviceKeyError, SpoolError};
use tokio::sync::watch;

use crate::{
    config::{Camera, Config},
    control::{Commands, Target},
    courier::{Courier, QuicCourier},
    fogs::Fogs,
    gateway::{Gateway, count},
    held::Retention,
    keeper::{KeepError, Keeper},
    recorder::Recorder,
    schedule::Plan,
    sessions::RunFile,
    store::disk::DiskStore,
    uploader::{self, SharedFogs},
};

/// How often the status is published, ages are looked at, and the end of a batch is looked for.
const ROUND: Duration = Duration::from_secs(2);
/// The same in a batch, whose end somebody waits for.
const BATCH_ROUND: Duration = Duration::from_millis(200);
/// Longest time from the request to stop to the end: closing open clips, the last uploads, the last status.
const GRACE: Duration = Duration::from_secs(15);

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A folder or file of its own.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bridge's receipt key.
    #[error("{path}: {reason}: put the bridge's public receipt key there (64 hexadecimal digits)")]
    ReceiptKey {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// Its certificate.
    #[error(transparent)]
    Credentials(#[from] link::tls::TlsError),
    /// Its device key.
    #[error(transparent)]
    DeviceKey(#[from] DeviceKeyError),
    /// Its spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// What it holds.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// How a gateway ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum End {
    /// Asked to, or everything is done.
    Done,
    /// Everything is done and something is missing; one line for each.
    Missing(Vec<String>),
}

type Plans = BTreeMap<CameraId, (watch::Sender<Plan>, Target)>;

/// Runs a gateway until shutdown or, where configured, until everything is done.
///
/// # Errors
/// When it cannot start. Nothing has been captured then.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<End, StartError> {
    let credentials = link::Credentials::load_as(&config.credentials, &config.identity)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let keeper = open_keeper(&config, &*clock)?;
    let gateway = Gateway::new(config.identity.clone(), clock, keeper);
    let fogs: SharedFogs = Arc::new(Mutex::new(Fogs::new(&config.fogs)));
    let courier: Arc<dyn Courier> = Arc::new(QuicCourier::new(config.credentials.clone()));
    uploader::start(&gateway, &courier, &fogs, &shutdown);
    let plans = start_recorders(&config, &gateway, &shutdown);

    // The bus ends after the last status, which is published after everything else has ended.
    let bus_shutdown = Shutdown::default();
    let bus = match &config.broker {
        None => None,
        Some(broker) => {
            let config = MqttConfig {
                host: broker.host.clone(),
                port: broker.port,
                credentials,
                client_id: config.identity.common_name(),
                last_will: Some(last_will(&gateway)?),
            };
            let bus = Bus::connect(config, &bus_shutdown)?;
            listen(&bus, &gateway, &fogs, plans, &shutdown)?;
            Some(bus)
        }
    };
    let ready = serde_json::json!({ "identity": config.identity.to_string() });
    if let Err(error) = base::telemetry::announce_ready(&ready) {
        tracing::debug!(%error, "nobody reads the ready line");
    }
    let end = rounds(&config, &gateway, bus.as_ref(), &shutdown).await;
    if !shutdown.drain(GRACE).await {
        tracing::warn!("some tasks did not end in time; what is captured is safe");
    }
    finish_runs(&config, &gateway).await;
    if let Some(bus) = &bus {
        // In this order: only what is said after the request takes the place of the last will.
        bus_shutdown.request();
        publish(bus, &gateway, Presence::Offline).await;
        bus_shutdown.drain(GRACE).await;
    }
    tracing::info!(counters = ?gateway.counters.snapshot(), "ended");
    Ok(end)
}

fn open_keeper(config: &Config, clock: &dyn Clock) -> Result<Keeper, StartError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::File { path, source }
    };
    std::fs::create_dir_all(&config.state).map_err(file(&config.state))?;
    std::fs::create_dir_all(&config.spool).map_err(file(&config.spool))?;
    let path = config.credentials.join("receipt.pub");
    let wrong = |reason: String| StartError::ReceiptKey { path: path.clone(), reason };
    let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
    let receipt_key: PublicKey = text.trim().parse().map_err(|e| wrong(format!("{e}")))?;
    let device_key = DeviceKey::load_or_create(&config.device_key)?;
    let (store, recovery) = DiskStore::open(&config.spool, config.spool_bytes_max, device_key)?;
    tracing::info!(?recovery, "spool opened");
    let lost: Vec<String> = recovery.set_aside.iter().map(|s| s.name.to_string()).collect();
    let retention = Retention { age_max: config.spool_age_max };
    let now = UtcTime::from_micros(clock.utc_micros()).unwrap_or(UtcTime::EPOCH);
    Ok(Keeper::open(Box::new(store), &config.state, retention, receipt_key, &lost, now)?)
}

fn start_recorders(config: &Config, gateway: &Arc<Gateway>, shutdown: &Shutdown) -> Plans {
    let mut plans = Plans::new();
    for camera in &config.cameras {
        let plan = Plan { schedule: camera.schedule, started: true, now_until: None };
        let (sender, receiver) = watch::channel(plan);
        let target = Target { plan, clip: camera.clip, run_once: camera.is_run_once() };
        plans.insert(camera.id.clone(), (sender, target));
        gateway.tell(&camera.id, CameraState::Paused, None);
        let recorder = Recorder::new(
            Arc::clone(gateway),
            camera.clone(),
            config.state.clone(),
            config.spool_bytes_max,
            receiver,
            shutdown.clone(),
        );
        shutdown.spawn(recorder.run());
    }
    plans
}

fn last_will(gateway: &Gateway) -> Result<Message, BusError> {
    let status = DeviceStatus {
        schema: SCHEMA,
        identity: gateway.identity.clone(),
        presence: Presence::Offline,
        at: None,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        cameras: BTreeMap::new(),
        counters: BTreeMap::new(),
        watched: BTreeMap::new(),
    };
    Message::json(&topic::status(&gateway.identity), &status, true)
}

/// Listens for commands and for fog nodes that announce themselves.
fn listen(
    bus: &Bus,
    gateway: &Arc<Gateway>,
    fogs: &SharedFogs,
    mut plans: Plans,
    shutdown: &Shutdown,
) -> Result<(), BusError> {
    let mut inbox = bus.subscribe(&topic::command(&gateway.identity))?;
    let (bus_, gateway_, stop) = (bus.clone(), Arc::clone(gateway), shutdown.clone());
    shutdown.spawn(async move {
        let mut commands = Commands::default();
        loop {
            let message = tokio::select! {
                biased;
                () = stop.requested() => return,
                message = inbox.recv() => message,
            };
            let Some(message) = message else { return };
            obey(&message, &mut commands, &mut plans, &gateway_, &bus_);
        }
    });
    let mut inbox = bus.subscribe(&topic::every_endpoint(&gateway.identity.site))?;
    let (fogs, stop) = (Arc::clone(fogs), shutdown.clone());
    shutdown.spawn(async move {
        loop {
            let message = tokio::select! {
                biased;
                () = stop.requested() => return,
                message = inbox.recv() => message,
            };
            let Some(message) = message else { return };
            match endpoint(&message.payload) {
                Ok(node) => fogs.lock().unwrap_or_else(PoisonError::into_inner).announce(
                    &node.address,
                    node.presence == Presence::Online,
                    node.free_bytes,
                ),
                Err(error) => tracing::warn!(topic = %message.topic, %error, "not an endpoint"),
            }
        }
    });
    Ok(())
}

/// What a fog node says of itself.
fn endpoint(payload: &[u8]) -> Result<FogEndpoint, String> {
    let node: FogEndpoint = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
    if node.schema != SCHEMA {
        return Err(format!("schema {} is not {SCHEMA}: upgrade this gateway", node.schema));
    }
    Ok(node)
}

fn obey(
    message: &Message,
    commands: &mut Commands,
    plans: &mut Plans,
    gateway: &Gateway,
    bus: &Bus,
) {
    let targets: BTreeMap<_, _> = plans.iter().map(|(id, (_, t))| (id.clone(), *t)).collect();
    let now = gateway.clock.now();
    let Some((reply, plan)) = commands.take(&message.payload, &targets, gateway.utc(), now) else {
        tracing::warn!(topic = %message.topic, "a command without an id");
        return;
    };
    if let Some((camera, plan)) = plan
        && let Some((sender, target)) = plans.get_mut(&camera)
    {
        target.plan = plan;
        sender.send_replace(plan);
    }
    gateway.counters.add(count::COMMANDS, 1);
    if let Err(error) = bus.publish(&topic::reply(&gateway.identity), &reply) {
        tracing::warn!(command = %reply.id, %error, "the answer to a command was not sent");
    }
}

async fn publish(bus: &Bus, gateway: &Arc<Gateway>, presence: Presence) {
    let status = match gateway.status(presence).await {
        Ok(status) => status,
        Err(error) => return tracing::error!(%error, "no status"),
    };
    if let Err(error) = bus.publish_retained(&topic::status(&gateway.identity), &status) {
        tracing::warn!(%error, "the status was not published");
    }
}

/// Publishes the status, drops what is over age, and looks for the end of a batch, until shutdown.
async fn rounds(
    config: &Config,
    gateway: &Arc<Gateway>,
    bus: Option<&Bus>,
    shutdown: &Shutdown,
) -> End {
    loop {
        if let Some(bus) = bus {
            publish(bus, gateway, Presence::Online).await;
        }
        let now = gateway.utc();
        match gateway.with_keeper(move |keeper| keeper.purge(now)).await {
            Ok(0) => {}
            Ok(slots) => {
                gateway.counters.add(count::AGED, slots);
                tracing::error!(slots, "clips over age were dropped");
            }
            Err(error) => tracing::error!(%error, "clips over age could not be dropped"),
        }
        if config.exit_when_done && gateway.all_ended() {
            let held = gateway.with_keeper(|keeper| Ok(keeper.held())).await;
            let (waiting, quarantined) = held.unwrap_or_default();
            if waiting == quarantined {
                shutdown.request();
                return missing(gateway, quarantined);
            }
        }
        if !shutdown.sleep(if config.exit_when_done { BATCH_ROUND } else { ROUND }).await {
            return End::Done;
        }
    }
}

/// Files that were read to their end start a new session next time; not while a clip of theirs may still wait for its
/// receipt, or everything would come twice.
async fn finish_runs(config: &Config, gateway: &Arc<Gateway>) {
    let held = gateway.with_keeper(|keeper| Ok(keeper.held())).await;
    let settled = held.is_ok_and(|(waiting, quarantined)| waiting == quarantined);
    if config.keep_runs || !settled {
        return;
    }
    let doing = gateway.doing();
    let is_over = |camera: &&Camera| {
        let state = doing.get(&camera.id).map(|doing| doing.state);
        matches!(state, Some(CameraState::Finished | CameraState::Failed))
    };
    for camera in config.cameras.iter().filter(|c| c.is_run_once()).filter(is_over) {
        if let Err(error) = RunFile::new(&config.state, &camera.id).finish() {
            tracing::warn!(camera = %camera.id, %error, "the next start will go on with this run");
        }
    }
}

fn missing(gateway: &Gateway, quarantined: usize) -> End {
    let mut lines: Vec<String> = Vec::new();
    for (camera, doing) in gateway.doing() {
        if doing.state == CameraState::Failed {
            lines.push(format!("camera {camera}: {}", doing.reason.unwrap_or_default()));
        }
    }
    if quarantined > 0 {
        lines.push(format!("{quarantined} clips failed three times and are quarantined"));
    }
    if lines.is_empty() { End::Done } else { End::Missing(lines) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_of_a_later_schema_is_not_guessed_at() {
        let json = |schema: u16| {
            format!(r#"{{"schema":{schema},"address":"a:1","presence":"online","free_bytes":9}}"#)
        };
        assert_eq!(endpoint(json(1).as_bytes()).unwrap().address, "a:1");
        let error = endpoint(json(2).as_bytes()).unwrap_err();
        assert!(error.contains("schema 2") && error.contains("upgrade"), "{error}");
    }
}
