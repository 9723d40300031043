//! The object store of a site on one machine: an S3 server over a folder, for the few operations that this system uses.
//!
//! Where to start: [`folder`] keeps the objects, `protocol` speaks S3 over it, [`access`] says who may do what,
//! [`notice`] tells the function of new objects. It listens on loopback only and speaks HTTP.
//!
//! The protocol is `s3s`; its folder back end is not used: that one places an object before it has checked its
//! checksum, syncs nothing, and needs side files whose names are too long for our longest keys.

pub mod access;
pub mod config;
pub mod folder;
pub mod notice;
mod protocol;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    serve::ListenerExt,
};
use base::{Clock, Shutdown, SystemClock, counters::Counters};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;

pub use self::config::Config;
pub(crate) use self::notice::{Created, event};
use self::{
    folder::{Folder, FolderError},
    notice::Notices,
    protocol::Objects,
};

/// Longest time from the request to stop to the end: requests that are being answered, events that are queued.
const GRACE: Duration = Duration::from_secs(10);

/// What is counted here.
pub mod count {
    /// Objects written.
    pub const WRITTEN: &str = "objects_written_total";
    /// Writes of an object that was there; nothing was changed.
    pub const WERE_THERE: &str = "objects_were_there_total";
    /// Errors of the disk.
    pub const DISK_ERRORS: &str = "disk_errors_total";
    /// Events that the function's host took.
    pub const EVENTS_POSTED: &str = "events_posted_total";
    /// Events that nobody took; the bridge notices frames that are overdue.
    pub const EVENTS_LOST: &str = "events_lost_total";
}

/// Why an object store does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its address.
    #[error("{listen}: {source}: is another object store running?")]
    Listen {
        /// Where it was to listen.
        listen: SocketAddr,
        /// Why it cannot.
        source: std::io::Error,
    },
}

/// Serves until shutdown; then answers what was asked, and ends.
///
/// # Errors
/// When it cannot start.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), StartError> {
    let announce = |address: SocketAddr| {
        let ready = serde_json::json!({ "address": address.to_string() });
        if let Err(error) = base::telemetry::announce_ready(&ready) {
            tracing::debug!(%error, "nobody reads the ready line");
        }
    };
    serve(config, shutdown, announce).await
}

/// The same for a process that has a standard output of its own; `ready` is called once it serves.
///
/// # Errors
/// When it cannot start.
pub(crate) async fn serve(
    config: Config,
    shutdown: Shutdown,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), StartError> {
    let counters = Arc::new(Counters::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let folder = Folder::open(&config.folder, &config.buckets)?;
    let listening = |source| StartError::Listen { listen: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;

    // Events are told of until the last object was written.
    let telling = Shutdown::default();
    let notices =
        config.notify.map(|rule| Notices::start(rule, clock, Arc::clone(&counters), &telling));
    let objects = Objects::new(folder, notices, Arc::clone(&counters));
    let mut service = S3ServiceBuilder::new(objects);
    service.set_auth(config.keys.clone());
    service.set_access(config.keys);
    let router = Router::new().fallback(answer).with_state(service.build());

    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "answers may be late by Nagle's algorithm");
        }
    });
    let stop = shutdown.clone();
    let served =
        axum::serve(listener, router).with_graceful_shutdown(async move { stop.requested().await });
    shutdown.spawn(async move {
        if let Err(error) = served.await {
            tracing::error!(%error, "serving ended");
        }
    });
    ready(address);
    if !shutdown.drain(GRACE).await {
        tracing::warn!("some requests were not answered in time; they count as not written");
    }
    telling.request();
    if !telling.drain(GRACE).await {
        tracing::warn!("some events were not taken in time; the bridge will notice");
    }
    tracing::info!(counters = ?counters.snapshot(), "ended");
    Ok(())
}

async fn answer(State(service): State<S3Service>, request: Request) -> Response {
    let request = request.map(s3s::Body::http_body_unsync);
    match service.call(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => {
            tracing::error!(?error, "a request was not answered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
