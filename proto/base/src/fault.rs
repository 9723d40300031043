//! Owns the kinds of faults and the one way to try again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

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
    retry_after(waits(), shutdown, what, attempt).await
}

fn waits() -> ExponentialBackoff {
    let builder = ExponentialBuilder::default().with_min_delay(FIRST_WAIT).with_jitter();
    builder.with_max_delay(LONGEST_WAIT).without_max_times().build()
}

/// The same as [`retry`] for loops in spawned tasks whose attempts borrow: the compiler cannot see yet that a borrowing
/// async closure may move between threads.
#[derive(Debug)]
pub struct Tries(ExponentialBackoff);

impl Default for Tries {
    fn default() -> Self {
        Self(waits())
    }
}

impl Tries {
    /// After a failed try: waits, when another one makes sense.
    ///
    /// # Errors
    /// Gives the error back when it is not transient, and at shutdown.
    pub async fn again<E: Faulty>(
        &mut self,
        shutdown: &Shutdown,
        what: &'static str,
        error: E,
    ) -> Result<(), E> {
        wait_after(&mut self.0, shutdown, what, error).await
    }
}

async fn wait_after<E: Faulty>(
    waits: &mut impl Iterator<Item = Duration>,
    shutdown: &Shutdown,
    what: &'static str,
    error: E,
) -> Result<(), E> {
    if error.fault() != Fault::Transient {
        return Err(error);
    }
    tracing::warn!(what, %error, "failed, will try again");
    let wait = waits.next().unwrap_or(LONGEST_WAIT);
    if shutdown.sleep(wait).await { Ok(()) } else { Err(error) }
}

async fn retry_after<T, E: Faulty>(
    mut waits: impl Iterator<Item = Duration>,
    shutdown: &Shutdown,
    what: &'static str,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => wait_after(&mut waits, shutdown, what, error).await?,
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
    async fn tries_give_back_what_waiting_does_not_mend() {
        let (shutdown, mut tries) = (Shutdown::default(), Tries::default());
        assert_eq!(tries.again(&shutdown, "test", Error(Fault::Transient)).await, Ok(()));
        let error = Error(Fault::Misuse);
        assert_eq!(tries.again(&shutdown, "test", error).await, Err(Error(Fault::Misuse)));
        shutdown.request();
        let error = Error(Fault::Transient);
        assert_eq!(tries.again(&shutdown, "test", error).await, Err(Error(Fault::Transient)));
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
