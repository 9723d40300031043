//! Owns the start and the end of a fog node: which tasks run, what they share, in which order they stop.
//!
//! An orderly end: the endpoint goes offline, new offers are refused, clips in hand are finished within [`GRACE`],
//! connections are closed, workers end, the status goes offline, the bus says goodbye.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use base::{Clock, Shutdown, SystemClock, counters::Counters};
use link::{
    Listener, Protocol,
    mqtt::{Bus, BusError, Message, MqttConfig},
    quic::LinkError,
    transfer::Receiver,
};
use proto::{
    Identity, Role,
    control::{FogEndpoint, Presence, SCHEMA},
    topic,
};
use serde::Serialize;

use crate::{
    bridge::Bridge,
    config::Config,
    node::{self, Node},
    parent::WorkerError,
    pool::Pool,
    receiver, swap,
    watch::Watches,
};

/// How often the status is published and old prefixes are dropped.
const ROUND: Duration = Duration::from_secs(2);
/// Rounds between two times that what is usual on each camera is saved: a crash may cost a minute of a week.
const SAVED_EACH: u32 = 30;
/// Longest time for the clips in hand once the end was asked for: less than the 30 s that Kubernetes waits.
const GRACE: Duration = Duration::from_secs(20);
/// Longest time for each of the steps behind it, which only close what is open.
const LAST_STEP: Duration = Duration::from_secs(3);

/// Why a fog node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its certificate.
    #[error(transparent)]
    Credentials(#[from] link::tls::TlsError),
    /// Clips in memory may be swapped out.
    #[error("memory may be swapped out, and raw video with it: {}", swap::REMEDY)]
    Swap,
    /// A worker does not start. It has said why in the log.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The thread that starts workers is gone.
    #[error("workers could not be started: {0}")]
    Thread(String),
    /// The address to listen on.
    #[error(transparent)]
    Listen(#[from] LinkError),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl StartError {
    /// Whether a person must act before a restart helps.
    #[must_use]
    pub fn is_misuse(&self) -> bool {
        let wrong = Some(i32::from(base::exit::CONFIG));
        match self {
            Self::Credentials(_) | Self::Swap => true,
            Self::Worker(WorkerError::Crashed { code, .. }) => *code == wrong,
            Self::Worker(WorkerError::Start(_) | WorkerError::Deadline(_)) => false,
            Self::Thread(_) | Self::Listen(_) | Self::Bus(_) => false,
        }
    }
}

/// Runs a fog node until shutdown, with the broker of its configuration. `worker` is the command of a worker.
///
/// # Errors
/// When it cannot start.
pub async fn run(
    config: Config,
    worker: impl Fn() -> Command + Send + Sync + 'static,
    shutdown: Shutdown,
) -> Result<(), StartError> {
    let buses = Buses::connect(&config)?;
    run_over(config, worker, buses, shutdown).await
}

/// The bus twice: a connection has one last will, and a node that dies leaves two retained documents behind.
pub struct Buses {
    /// Carries the status.
    pub status: Bus,
    /// Carries the endpoint.
    pub endpoint: Bus,
    /// Ends both.
    pub end: Shutdown,
}

impl Buses {
    /// To the broker of a configuration, if it has one.
    fn connect(config: &Config) -> Result<Option<Self>, StartError> {
        let Some(broker) = &config.broker else { return Ok(None) };
        let end = Shutdown::default();
        let connect = |client_id, last_will| {
            let config = MqttConfig {
                host: broker.host.clone(),
                port: broker.port,
                credentials: link::Credentials::load(&config.credentials)?,
                client_id,
                last_will: Some(last_will),
            };
            Ok::<_, StartError>(Bus::connect(config, &end)?)
        };
        let identity = &config.identity;
        let gone = FogEndpoint {
            schema: SCHEMA,
            address: config.advertise.clone().unwrap_or_else(|| config.listen.to_string()),
            presence: Presence::Offline,
            free_bytes: 0,
        };
        let gone = Message::json(&topic::endpoint(identity), &gone, true)?;
        let name = identity.common_name();
        let endpoint = connect(format!("{name}.endpoint"), gone)?;
        let status = connect(name, last_will(identity)?)?;
        Ok(Some(Self { status, endpoint, end }))
    }
}

/// [`run`] over buses that are there already, or over none.
///
/// # Errors
/// When it cannot start.
pub async fn run_over(
    config: Config,
    worker: impl Fn() -> Command + Send + Sync + 'static,
    buses: Option<Buses>,
    shutdown: Shutdown,
) -> Result<(), StartError> {
    let credentials = link::Credentials::load_as(&config.credentials, &config.identity)?;
    // The parent holds whole clips; each worker looks for itself too.
    if !config.worker.allow_swap && swap::is_available().unwrap_or(true) {
        return Err(StartError::Swap);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let counters = Arc::new(Counters::default());
    let accept = [Role::Edge];
    let listener = Listener::bind(
        config.listen,
        &credentials,
        Protocol::Clip,
        &accept,
        Arc::clone(&counters),
    )?;
    let (workers, deadline) = (config.workers, config.clip_deadline);
    let shared = Arc::clone(&counters);
    let pool = tokio::task::spawn_blocking(move || Pool::start(workers, deadline, shared, worker));
    let pool = pool.await.map_err(|e| StartError::Thread(e.to_string()))??;
    // Everything that must go on while clips in hand are finished.
    let tasks = Shutdown::default();
    let credentials = config.credentials;
    let bridge = Bridge::connect(config.bridge, credentials, Arc::clone(&counters), &tasks);
    let local = listener.local_addr();
    let watches = watches(config.state.as_deref(), &counters);
    let node = Arc::new(Node {
        identity: config.identity,
        address: config.advertise.unwrap_or_else(|| local.to_string()),
        receiver: Receiver::new(Arc::clone(&clock)),
        clock,
        counters,
        gateways: config.gateways,
        pool,
        watches,
        ends: Arc::default(),
        bridge,
        draining: shutdown.clone(),
    });
    tasks.spawn(receiver::run(listener, Arc::clone(&node), tasks.clone()));
    let ready = serde_json::json!({
        "identity": node.identity.to_string(), "address": local.to_string(), "workers": workers,
    });
    if let Err(error) = base::telemetry::announce_ready(&ready) {
        tracing::debug!(%error, "nobody reads the ready line");
    }
    rounds(&node, buses.as_ref(), config.state.as_deref(), &shutdown).await;
    stop(&node, buses, &tasks).await;
    save(&node, config.state.as_deref()).await;
    tracing::info!(counters = ?node.counters.snapshot(), "ended");
    Ok(())
}

fn last_will(identity: &Identity) -> Result<Message, BusError> {
    Message::json(&topic::status(identity), &node::status(identity, Presence::Offline), true)
}

/// What is usual on each camera, as it was saved.
fn watches(state: Option<&Path>, counters: &Counters) -> Watches {
    let Some(state) = state else { return Watches::default() };
    Watches::load(state).unwrap_or_else(|error| {
        counters.add(node::count::WATCHES_NOT_KEPT, 1);
        tracing::warn!(%error, "what is usual on each camera cannot be read and is learned anew");
        Watches::default()
    })
}

async fn save(node: &Arc<Node>, state: Option<&Path>) {
    let Some(state) = state.map(Path::to_owned) else { return };
    let shared = Arc::clone(node);
    let saved = tokio::task::spawn_blocking(move || shared.watches.save(&state)).await;
    if let Err(error) = saved.unwrap_or_else(|panicked| Err(panicked.into())) {
        node.counters.add(node::count::WATCHES_NOT_KEPT, 1);
        tracing::warn!(%error, "what is usual on each camera could not be saved");
    }
}

/// Publishes status and endpoint, drops old prefixes and saves what is usual, until shutdown.
async fn rounds(
    node: &Arc<Node>,
    buses: Option<&Buses>,
    state: Option<&Path>,
    shutdown: &Shutdown,
) {
    let mut said: Option<FogEndpoint> = None;
    for round in 1u32.. {
        node.receiver.expire();
        if round.is_multiple_of(SAVED_EACH) {
            save(node, state).await;
        }
        if let Some(Buses { status, endpoint: bus, .. }) = buses {
            publish(status, &topic::status(&node.identity), &node.status(Presence::Online));
            let endpoint = node.endpoint(Presence::Online);
            if said.as_ref() != Some(&endpoint) {
                publish(bus, &topic::endpoint(&node.identity), &endpoint);
                said = Some(endpoint);
            }
        }
        if !shutdown.sleep(ROUND).await {
            return;
        }
    }
}

fn publish(bus: &Bus, topic: &str, document: &impl Serialize) {
    if let Err(error) = bus.publish_retained(topic, document) {
        tracing::warn!(topic, %error, "a retained document was not published");
    }
}

async fn stop(node: &Arc<Node>, buses: Option<Buses>, tasks: &Shutdown) {
    if let Some(buses) = &buses {
        publish(
            &buses.endpoint,
            &topic::endpoint(&node.identity),
            &node.endpoint(Presence::Offline),
        );
    }
    if tokio::time::timeout(GRACE, node.pool.emptied()).await.is_err() {
        tracing::warn!("some clips were not finished in time; their edges keep them");
    }
    tasks.request();
    let pool = Arc::clone(node);
    let stopped = tokio::task::spawn_blocking(move || pool.pool.stop());
    if !tasks.drain(LAST_STEP).await || tokio::time::timeout(LAST_STEP, stopped).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    if let Some(Buses { status, endpoint, end }) = buses {
        // In this order: only what is said after the request takes the place of a last will.
        end.request();
        publish(&endpoint, &topic::endpoint(&node.identity), &node.endpoint(Presence::Offline));
        publish(&status, &topic::status(&node.identity), &node.status(Presence::Offline));
        end.drain(LAST_STEP).await;
    }
}
