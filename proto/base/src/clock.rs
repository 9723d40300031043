//! Owns the reading of clocks. Decision code takes a [`Clock`] or a time as an argument; nothing
//! else reads one.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_for_all_its_owners_and_only_when_it_is_told() {
        let clock = ManualClock::default();
        let other = clock.clone();
        assert_eq!(other.now(), Duration::ZERO);
        clock.advance(Duration::from_millis(1500));
        assert_eq!((other.now(), other.utc_micros()), (Duration::from_millis(1500), 1_500_000));
    }

    #[test]
    fn the_system_clock_never_goes_back_and_knows_the_century() {
        let clock = SystemClock::default();
        let before = clock.now();
        assert!(clock.now() >= before);
        let year_2020_micros = 1_577_836_800_000_000;
        assert!(clock.utc_micros() > year_2020_micros);
    }
}
