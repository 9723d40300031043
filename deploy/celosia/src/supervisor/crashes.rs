//! Owns when a child that crashes is given up: a pure decision over times.

use std::{collections::VecDeque, time::Duration};

/// Crashes within [`WINDOW`] after which a child is given up: it will not mend itself.
pub(super) const CRASHES_MAX: usize = 5;
/// The stretch in which they are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// What follows from a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Verdict {
    /// Start it again after a wait that grows.
    Again,
    /// It had lived long: start it again as if it were the first time.
    Afresh,
    /// Give it up.
    GiveUp,
}

/// The crashes of one child.
#[derive(Debug, Default)]
pub(super) struct Crashes(VecDeque<Duration>);

impl Crashes {
    /// A child that was started at `started` crashed at `now`.
    pub(super) fn crashed(&mut self, started: Duration, now: Duration) -> Verdict {
        self.0.push_back(now);
        self.0.retain(|at| now.saturating_sub(*at) < WINDOW);
        if self.0.len() >= CRASHES_MAX {
            Verdict::GiveUp
        } else if now.saturating_sub(started) >= WINDOW {
            Verdict::Afresh
        } else {
            Verdict::Again
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_crashes_in_a_minute_are_enough_and_spread_out_they_never_are() {
        let at = Duration::from_secs;
        let mut crashes = Crashes::default();
        for second in 0..4 {
            assert_eq!(crashes.crashed(at(second), at(second)), Verdict::Again);
        }
        assert_eq!(crashes.crashed(at(4), at(59)), Verdict::GiveUp);
        let mut crashes = Crashes::default();
        for minute in 1..100 {
            let verdict = crashes.crashed(at(minute * 60 - 60), at(minute * 60));
            assert_eq!(verdict, Verdict::Afresh, "minute {minute}");
        }
        for crash in 0..100 {
            let verdict = crashes.crashed(at(10_000 + crash * 15), at(10_000 + crash * 15 + 14));
            assert_eq!(verdict, Verdict::Again, "crash {crash}");
        }
    }
}
