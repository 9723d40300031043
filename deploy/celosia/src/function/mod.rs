//! The function's host of a site on one machine: runs the real `mask-lambda` as AWS Lambda would.
//!
//! Where to start: `invoke_api` takes invocations, `queue` holds them, `runtime_api` gives them to a process one at a
//! time, `keeper` starts and restarts the processes. Events are tried three times and then dropped and counted; the
//! bridge notices frames that are overdue.

mod child;
pub mod config;
mod invoke_api;
mod keeper;
mod queue;
mod runtime_api;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::ListenerExt;
use base::{Clock, Shutdown, SystemClock, counters::Counters};
use tokio::{net::TcpListener, sync::watch};

pub use self::config::Config;
use self::{invoke_api::Invocations, queue::Queue, runtime_api::Shared};

/// Longest time from the request to stop to the end of what waits; the rest is dropped and counted.
const GRACE: Duration = Duration::from_secs(10);
/// Longest time for the processes to stop after that.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// The only version that there is, as AWS calls it.
const VERSION: &str = "$LATEST";

/// What is counted here.
pub mod count {
    /// Events queued.
    pub const EVENTS: &str = "events_total";
    /// Requests queued.
    pub const REQUESTS: &str = "requests_total";
    /// Invocations refused: unknown function, wrong payload, no room.
    pub const REFUSED: &str = "invocations_refused_total";
    /// Tries that the function answered.
    pub const ANSWERED: &str = "tries_answered_total";
    /// Tries that failed, timed out or crashed.
    pub const FAILED: &str = "tries_failed_total";
    /// Events that were tried again.
    pub const RETRIED: &str = "events_retried_total";
    /// Invocations that were given up: after three tries, or at the end of the host.
    pub const DROPPED: &str = "invocations_dropped_total";
    /// Processes that ended and were started again.
    pub const RESTARTS: &str = "restarts_total";
}

/// Why the host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its address.
    #[error("{listen}: {source}: is another host running?")]
    Listen {
        /// Where it was to listen.
        listen: SocketAddr,
        /// Why it cannot.
        source: std::io::Error,
    },
}

/// Serves until shutdown; then ends what waits within a grace, and stops the processes.
///
/// # Errors
/// When it cannot start.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), StartError> {
    let counters = Arc::new(Counters::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let listening = |source| StartError::Listen { listen: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;

    let (retry, places) = (config.retry_after, config.queue_max);
    let queue = Queue::new(places, retry, Arc::clone(&counters), shutdown.clone());
    let (ready, mut is_ready) = watch::channel(false);
    let arn = format!("arn:aws:lambda:{}:000000000000:function:{}", config.region, config.name);
    let timeout = config.timeout;
    let shared = Arc::new(Shared { queue: Arc::clone(&queue), clock, timeout, arn, ready });
    let config = Arc::new(config);
    // The processes stop after what waits has ended.
    let stop = Shutdown::default();
    for number in 0..config.children {
        let (config, shared) = (Arc::clone(&config), Arc::clone(&shared));
        let counters = Arc::clone(&counters);
        stop.spawn(keeper::keep(number, config, shared, counters, stop.clone()));
    }

    let name = config.name.clone();
    let api = Invocations { name, queue: Arc::clone(&queue), counters: Arc::clone(&counters) };
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "answers may be late by Nagle's algorithm");
        }
    });
    let stopped = shutdown.clone();
    let served = axum::serve(listener, api.router())
        .with_graceful_shutdown(async move { stopped.requested().await });
    shutdown.spawn(async move {
        if let Err(error) = served.await {
            tracing::error!(%error, "serving ended");
        }
    });
    tokio::select! {
        biased;
        () = shutdown.requested() => {}
        _ = is_ready.wait_for(|ready| *ready) => announce(address, &config.name),
    }
    shutdown.requested().await;
    if tokio::time::timeout(GRACE, queue.idle()).await.is_err() {
        queue.drop_waiting();
    }
    stop.request();
    if !stop.drain(STOP_GRACE).await || !shutdown.drain(STOP_GRACE).await {
        tracing::warn!("some tasks did not end in time");
    }
    tracing::info!(counters = ?counters.snapshot(), "ended");
    Ok(())
}

fn announce(address: SocketAddr, name: &str) {
    let invoke = format!("http://{address}/2015-03-31/functions/{name}/invocations");
    let ready = serde_json::json!({ "address": address.to_string(), "invoke": invoke });
    if let Err(error) = base::telemetry::announce_ready(&ready) {
        tracing::debug!(%error, "nobody reads the ready line");
    }
}
