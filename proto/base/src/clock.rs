//! Owns the reading of clocks. Decision code takes a [`Clock`] or a time as an argument; nothing else reads one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// Monotonic and wall time.
pub trait Clock: Send + Sync {
    /// Time since an arbitrary start; never goes back. For ages, quotas and retries.
    fn now(&self) -> Duration;
    /// Microseconds since 1970 by the system's wall clock. For what is shown to people.
    fn utc_micros(&self) -> i64;
}

/// The machine's clocks.
#[derive(Debug, Clone)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one owner of the monotonic clock")]
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one owner of the wall clock")]
    fn utc_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.ok().and_then(|d| i64::try_from(d.as_micros()).ok()).unwrap_or(0)
    }
}

/// A clock that a test moves.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<Mutex<Duration>>);

impl ManualClock {
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn utc_micros(&self) -> i64 {
        i64::try_from(self.now().as_micros()).unwrap_or(i64::MAX)
    }
}
