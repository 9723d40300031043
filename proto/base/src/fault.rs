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

/// First and longest waits between tries: a local peer comes back within a second, a WAN within
/// minutes.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Tries until it works, a fault is not transient, or shutdown is requested (then the last error is
/// returned).
///
/// # Errors
/// The first error that is not transient, or the last one before shutdown.
pub async fn retry<T, E: Faulty>(
    shutdown: &Shutdown,
    what: &'static str,
    attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let builder = ExponentialBuilder::default().with_min_delay(FIRST_WAIT).with_jitter();
    let waits = builder.with_max_delay(LONGEST_WAIT).without_max_times().build();
    retry_after(waits, shutdown, what, attempt).await
}

async fn retry_after<T, E: Faulty>(
    mut waits: impl Iterator<Item = Duration>,
    shutdown: &Shutdown,
    what: &'static str,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("{0:?}")]
    struct Error(Fault);

    impl Faulty for Error {
        fn fault(&self) -> Fault {
            self.0
        }
    }

    #[tokio::test]
    async fn only_a_transient_fault_is_tried_again() {
        let shutdown = Shutdown::default();
        let outcomes = [Err(Error(Fault::Transient)), Err(Error(Fault::Transient)), Ok(3)];
        let mut outcomes = outcomes.into_iter();
        let at_once = std::iter::repeat(Duration::ZERO);
        let done = retry_after(at_once, &shutdown, "test", async || outcomes.next().unwrap()).await;
        assert_eq!(done, Ok(3));
        for fault in [Fault::Permanent, Fault::Corrupt, Fault::Misuse] {
            let mut attempts = 0;
            let attempt = async || {
                attempts += 1;
                Err::<(), _>(Error(fault))
            };
            assert_eq!(retry(&shutdown, "test", attempt).await, Err(Error(fault)));
            assert_eq!(attempts, 1, "{fault:?} was tried again");
        }
    }

    #[tokio::test]
    async fn shutdown_ends_the_tries_with_the_last_error() {
        let shutdown = Shutdown::default();
        let mut attempts = 0;
        let attempt = async || {
            attempts += 1;
            shutdown.request();
            Err::<(), _>(Error(Fault::Transient))
        };
        assert_eq!(retry(&shutdown, "test", attempt).await, Err(Error(Fault::Transient)));
        assert_eq!(attempts, 1);
    }
}
