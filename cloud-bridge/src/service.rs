//! Owns the start and the end of a bridge: which tasks run, what they share, in which order they stop.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base::{Clock, Fault, Faulty, Shutdown, SystemClock};
use link::{
    Credentials, Listener, Protocol,
    mqtt::{Bus, BusError, Message, MqttConfig},
    quic::LinkError,
};
use proto::{
    Role,
    control::Presence,
    result::Placement,
    signing::{PublicKey, SigningKey},
    topic,
};
use results::{Results, ResultsError};
use store::s3::S3;
use zeroize::Zeroizing;

use crate::{
    book::Book,
    bridge::Bridge,
    collector::Collector,
    committer::Committer,
    config::Config,
    forwarder::{Forwarder, Way},
    inference::{Inference, LambdaFunction},
    outbox::{Outbox, OutboxError},
    overdue::Overdue,
    peers::{self, Desk},
};

/// How often the status is published.
const ROUND: Duration = Duration::from_secs(2);
/// Longest time from the request to stop to the end: commits that are under way, the last status.
const GRACE: Duration = Duration::from_secs(15);

/// Why a bridge does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file with a key.
    #[error("{path}: {reason}: put {what} there (64 hexadecimal digits)")]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What it should be.
        what: &'static str,
    },
    /// Its certificate.
    #[error(transparent)]
    Credentials(#[from] link::tls::TlsError),
    /// Its outbox.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// Its database.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// Its listener.
    #[error(transparent)]
    Listen(#[from] LinkError),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl Faulty for StartError {
    fn fault(&self) -> Fault {
        match self {
            Self::Key { .. } => Fault::Misuse,
            Self::Credentials(error) => error.fault(),
            Self::Outbox(error) => error.fault(),
            Self::Results(error) => error.fault(),
            Self::Listen(error) => error.fault(),
            Self::Bus(error) => error.fault(),
        }
    }
}

/// The parts of the site that a bridge is given when it starts.
struct Keys {
    seal_root: PublicKey,
    receipt: SigningKey,
}

/// Runs a bridge until shutdown.
///
/// # Errors
/// When it cannot start. Nothing has been committed then.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), StartError> {
    let credentials = Credentials::load_as(&config.credentials, &config.identity)?;
    let keys = Keys {
        seal_root: read_key(&config.seal_root, "the site's public seal root", |t| {
            t.trim().parse()
        })?,
        receipt: read_key(&config.receipt_key, "the bridge's receipt key", SigningKey::from_hex)?,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (outbox, recovery) = Outbox::open(&config.outbox, config.outbox_bytes_max)?;
    tracing::info!(?recovery, "outbox opened");
    let bridge = Bridge::new(config.identity.clone(), clock, outbox);
    // The database may start later than we: without it nothing can be said of any clip.
    let open = async || Results::open(&config.database).await;
    let results = base::retry(&shutdown, "open the database", open).await?;
    let listener = Listener::bind(
        config.listen,
        &credentials,
        Protocol::Commit,
        &[Role::Fog],
        Arc::clone(&bridge.counters),
    )?;
    let address = listener.local_addr();
    // The bus ends after the last status, which is published after everything else has ended.
    let bus_shutdown = Shutdown::default();
    let bus = connect(&config, credentials, &bridge, &bus_shutdown)?;
    start(&config, &bridge, keys, &results, listener, bus.clone(), &shutdown).await;

    let ready = serde_json::json!({ "identity": config.identity.to_string(), "listen": address });
    if let Err(error) = base::telemetry::announce_ready(&ready) {
        tracing::debug!(%error, "nobody reads the ready line");
    }
    loop {
        publish(bus.as_ref(), &bridge, Presence::Online);
        if !shutdown.sleep(ROUND).await {
            break;
        }
    }
    if !shutdown.drain(GRACE).await {
        tracing::warn!("some tasks did not end in time; what is committed is safe");
    }
    // In this order: only what is said after the request takes the place of the last will.
    bus_shutdown.request();
    publish(bus.as_ref(), &bridge, Presence::Offline);
    bus_shutdown.drain(GRACE).await;
    results.close().await;
    tracing::info!(counters = ?bridge.counters.snapshot(), "ended");
    Ok(())
}

fn read_key<T, E: std::fmt::Display>(
    path: &Path,
    what: &'static str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, StartError> {
    let wrong = |reason: String| StartError::Key { path: path.to_owned(), reason, what };
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    read(&text.map_err(|e| wrong(e.to_string()))?).map_err(|e| wrong(e.to_string()))
}

fn connect(
    config: &Config,
    credentials: Credentials,
    bridge: &Bridge,
    shutdown: &Shutdown,
) -> Result<Option<Bus>, StartError> {
    let Some(broker) = &config.broker else { return Ok(None) };
    let mut gone = bridge.status(Presence::Offline);
    gone.at = None;
    gone.counters.clear();
    let config = MqttConfig {
        host: broker.host.clone(),
        port: broker.port,
        credentials,
        client_id: bridge.identity.common_name(),
        last_will: Some(Message::json(&topic::status(&bridge.identity), &gone, true)?),
    };
    Ok(Some(Bus::connect(config, shutdown)?))
}

/// Starts the tasks: first what empties the outbox, then what fills it.
async fn start(
    config: &Config,
    bridge: &Arc<Bridge>,
    keys: Keys,
    results: &Results,
    listener: Listener,
    bus: Option<Bus>,
    shutdown: &Shutdown,
) {
    let book: Arc<dyn Book> = Arc::new(results.clone());
    let s3 = S3::new(&config.store).await;
    let (frames, stored) = (Arc::new(s3.frames(keys.seal_root)), Arc::new(s3.results()));
    let share = || (Arc::clone(bridge), Arc::clone(&book), shutdown.clone());

    let endpoint = config.function_endpoint.as_deref();
    let (region, bucket) = (&config.store.region, &config.store.frames_bucket);
    let clock = Arc::clone(&bridge.clock);
    let function = LambdaFunction::new(endpoint, region, &config.function, bucket, clock).await;
    let function: Arc<dyn Inference> = Arc::new(function);

    let (of, book_, stop) = share();
    let inference = match config.inference {
        Placement::Lambda => None,
        Placement::Fog => Some(Arc::clone(&function)),
    };
    let way = Way { frames, book: book_, inference, packing: config.pack };
    Forwarder::new(of, way, keys.seal_root, stop).start();

    let (of, with, stop) = share();
    shutdown.spawn(Collector::new(of, with, stored.clone(), bus, config.pace, stop).run());

    let (inference, patience) = (function, config.patience);
    let (bridge_, book_, stop) = share();
    let overdue = Overdue {
        bridge: bridge_,
        book: book_,
        results: stored,
        inference,
        patience,
        shutdown: stop,
    };
    shutdown.spawn(overdue.run());

    let (of, with, stop) = share();
    let committer = Committer::new(of, with, keys.receipt, config.receipt_after, stop);
    let desk = Desk::new(Arc::clone(bridge), committer, keys.seal_root);
    shutdown.spawn(peers::serve(listener, desk, shutdown.clone()));
}

fn publish(bus: Option<&Bus>, bridge: &Bridge, presence: Presence) {
    let Some(bus) = bus else { return };
    let status = bridge.status(presence);
    if let Err(error) = bus.publish_retained(&topic::status(&bridge.identity), &status) {
        tracing::warn!(%error, "the status was not published");
    }
}
