//! Owns the start and the end of the console: what it opens, what it listens to, in which order it stops.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use base::{Clock, Shutdown, SystemClock, counters::Counters};
use link::mqtt::{Bus, BusError, Message, MqttConfig};
use proto::{
    Identity,
    control::{DeviceStatus, Presence, SCHEMA},
    signing::PublicKey,
    topic,
};
use results::Results;
use store::FrameReader;
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    app::{App, count},
    config::Config,
    limits::Limits,
    live::{Board, HEARTBEAT},
    pictures::Pictures,
    web,
};

/// Longest time from the request to stop to the end: open answers and the last status.
const GRACE: Duration = Duration::from_secs(5);

/// Why a console does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The site's public seal root.
    #[error("{path}: {reason}: put the site's public seal root there (64 hexadecimal digits)")]
    SealRoot {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Its certificate.
    #[error(transparent)]
    Credentials(#[from] link::tls::TlsError),
    /// The results database.
    #[error(transparent)]
    Results(#[from] results::ResultsError),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The address to listen at.
    #[error("listen {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The listener failed while serving.
    #[error("serving: {0}")]
    Serve(std::io::Error),
}

/// Everything that a console needs, however it was come by: from a configuration, or in a test.
pub struct Parts {
    /// Who it is.
    pub identity: Identity,
    /// The results database.
    pub results: Results,
    /// The object store.
    pub reader: Arc<dyn FrameReader>,
    /// The bus, where there is one.
    pub bus: Option<Bus>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The origin that operators see, where a proxy stands in front.
    pub public_url: Option<String>,
}

/// Runs a console until shutdown.
///
/// # Errors
/// When it cannot start, or cannot serve any more.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), StartError> {
    let wrong = |reason: String| StartError::SealRoot { path: config.seal_root.clone(), reason };
    let text = std::fs::read_to_string(&config.seal_root).map_err(|e| wrong(e.to_string()))?;
    let root: PublicKey = text.trim().parse().map_err(|e| wrong(format!("{e}")))?;
    // The bus ends after the last status, which is published after everything else has ended.
    let bus_shutdown = Shutdown::default();
    let bus = connect(&config, &bus_shutdown)?;
    let open = async || Results::open(&config.database).await;
    let results = base::retry(&shutdown, "open the results database", open).await?;
    let reader = Arc::new(store::s3::S3::new(&config.store).await.frames(root));
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| StartError::Listen { address: config.listen, source })?;
    let parts = Parts {
        identity: config.identity,
        results: results.clone(),
        reader,
        bus,
        clock: Arc::new(SystemClock::default()),
        public_url: config.public_url,
    };
    let served = serve(parts, listener, &shutdown).await;
    shutdown.request();
    if !shutdown.drain(GRACE).await {
        tracing::warn!("some tasks did not end in time");
    }
    results.close().await;
    bus_shutdown.request();
    bus_shutdown.drain(GRACE).await;
    served
}

fn connect(config: &Config, shutdown: &Shutdown) -> Result<Option<Bus>, StartError> {
    let Some(broker) = &config.broker else { return Ok(None) };
    let credentials = link::Credentials::load_as(&config.credentials, &config.identity)?;
    let mqtt = MqttConfig {
        host: broker.host.clone(),
        port: broker.port,
        credentials,
        client_id: config.identity.common_name(),
        last_will: Some(Message::json(
            &topic::status(&config.identity),
            &status(&config.identity, Presence::Offline, BTreeMap::new()),
            true,
        )?),
    };
    Ok(Some(Bus::connect(mqtt, shutdown)?))
}

/// Serves on a listener until shutdown, says its status on the bus, and announces itself once it serves.
///
/// # Errors
/// When the bus is not what it must be, or the listener fails.
pub async fn serve(
    parts: Parts,
    listener: TcpListener,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    let Parts { identity, results, reader, bus, clock, public_url } = parts;
    let board = match &bus {
        Some(_) => Board::new(identity.clone(), clock.now()),
        None => Board::without_broker(),
    };
    let app = Arc::new(App {
        site: identity.site.clone(),
        results,
        pictures: Pictures::new(reader, Arc::clone(&clock)),
        board: Mutex::new(board),
        limits: Mutex::new(Limits::default()),
        clock,
        counters: Counters::default(),
        public_url,
    });
    if let Some(bus) = &bus {
        let inbox = bus.subscribe(&topic::every_status(&identity.site))?;
        shutdown.spawn(listen(Arc::clone(&app), inbox, shutdown.clone()));
        shutdown.spawn(speak(Arc::clone(&app), bus.clone(), identity.clone(), shutdown.clone()));
    }
    let address = listener.local_addr().map_err(StartError::Serve)?;
    let ready = serde_json::json!({
        "identity": identity.to_string(),
        "url": format!("http://{address}/"),
    });
    if let Err(error) = base::telemetry::announce_ready(&ready) {
        tracing::debug!(%error, "nobody reads the ready line");
    }
    let service = web::router(&app).into_make_service_with_connect_info::<SocketAddr>();
    let (asked, stop) = (shutdown.clone(), shutdown.clone());
    let serving = axum::serve(listener, service)
        .with_graceful_shutdown(async move { asked.requested().await });
    // Browsers keep connections open: the end is not theirs to put off.
    let grace = async {
        stop.requested().await;
        tokio::time::timeout(GRACE, std::future::pending::<()>()).await
    };
    tokio::select! {
        served = serving => served.map_err(StartError::Serve),
        _ = grace => Ok(()),
    }
}

/// Hears every status until shutdown.
async fn listen(app: Arc<App>, mut inbox: mpsc::Receiver<Message>, shutdown: Shutdown) {
    loop {
        let message = tokio::select! {
            biased;
            () = shutdown.requested() => return,
            message = inbox.recv() => message,
        };
        let Some(Message { topic, payload, retain }) = message else { return };
        let (now, utc) = (app.clock.now(), app.utc());
        let heard = app.board().hear(&topic, &payload, retain, now, utc);
        if let Err(error) = heard {
            app.counters.add(count::UNHEARD, 1);
            tracing::warn!(topic, %error, "a message that is no status");
        }
    }
}

/// Says our own status until shutdown, and at last that we are gone.
async fn speak(app: Arc<App>, bus: Bus, identity: Identity, shutdown: Shutdown) {
    loop {
        let presence = if shutdown.is_requested() { Presence::Offline } else { Presence::Online };
        let mut status = status(&identity, presence, app.counters.snapshot());
        status.at = Some(app.utc());
        if let Err(error) = bus.publish_retained(&topic::status(&identity), &status) {
            tracing::debug!(%error, "the status was not published");
        }
        if presence == Presence::Offline {
            return;
        }
        shutdown.sleep(HEARTBEAT).await;
    }
}

fn status(
    identity: &Identity,
    presence: Presence,
    counters: BTreeMap<String, u64>,
) -> DeviceStatus {
    DeviceStatus {
        schema: SCHEMA,
        identity: identity.clone(),
        presence,
        at: None,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        cameras: BTreeMap::new(),
        counters,
        watched: BTreeMap::new(),
    }
}
