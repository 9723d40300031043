//! Owns the kinds of faults and the one way to try again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::Shutdown;

/// What an error asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It may go by itself: try again.
    Transient,
    /// Trying again gives the same.
    Permanent,
    /// Data is not what it was: set it aside.
    Corrupt,
    /// We or a person asked for something wrong.
    Misuse,
}

/// An error that knows what it asks for.
pub trait Faulty: std::error::Error {
    /// The kind of fault.
    fn fault(&self) -> Fault;
}

/// First and longest waits between tries: a local peer comes back within a second, a WAN within minutes.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Tries until it works, a fault is not transient, or shutdown is requested (then the last error is returned).
///
/// # Errors
/// The first error that is not transient, or the last one before shutdown.
pub async fn retry<T, E: Faulty>(
    shutdown: &Shutdown,
    what: &'static str,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let builder = ExponentialBuilder::default().with_min_delay(FIRST_WAIT).with_jitter();
    let mut waits = builder.with_max_delay(LONGEST_WAIT).without_max_times().build();
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if error.fault() != Fault::Transient => return Err(error),
            Err(error) => error,
        };
        tracing::warn!(what, %error, "failed, will try again");
        let wait = waits.next().unwrap_or(LONGEST_WAIT);
        if !shutdown.sleep(wait).await {
            return Err(error);
        }
    }
}
