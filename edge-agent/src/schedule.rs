//! Owns when a camera records. Pure: takes the time since the camera's start.

use std::time::Duration;

/// When a camera records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Always.
    Continuous,
    /// For `record` at the start of each period `each`.
    Periodic {
        /// Length of a stretch; shorter than `each`.
        record: Duration,
        /// Length of the period.
        each: Duration,
    },
}

/// Shortest stretch and longest period (1 s, a day): a typing error must not make a camera flap or sleep for a year.
const RECORD_MIN: Duration = Duration::from_secs(1);
const EACH_MAX: Duration = Duration::from_secs(24 * 3600);

impl Schedule {
    /// A schedule of `record` each `each`; continuous when both are equal.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn periodic(record: Duration, each: Duration) -> Result<Self, String> {
        if record < RECORD_MIN || each > EACH_MAX || record > each {
            return Err("a schedule records for 1s or more in each period of up to 1d".to_owned());
        }
        Ok(if record == each { Self::Continuous } else { Self::Periodic { record, each } })
    }

    /// What to do at `since` the start.
    #[must_use]
    pub fn at(self, since: Duration) -> Phase {
        let Self::Periodic { record, each } = self else { return Phase::Record(None) };
        let into = Duration::from_nanos_u128(since.as_nanos() % each.as_nanos().max(1));
        let begin = since.saturating_sub(into);
        if into < record {
            Phase::Record(Some(begin + record))
        } else {
            Phase::Wait(Some(begin + each))
        }
    }
}

/// What to do, and until when (since the camera's start; absent: until told otherwise).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Record.
    Record(Option<Duration>),
    /// Do not.
    Wait(Option<Duration>),
}

/// What a camera is told to do: schedule and commands together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// When to record while started.
    pub schedule: Schedule,
    /// Cleared by `stop`.
    pub started: bool,
    /// Set by `capture now`: record until then, whatever the rest says.
    pub now_until: Option<Duration>,
}

impl Plan {
    /// What to do at `since`.
    #[must_use]
    pub fn at(self, since: Duration) -> Phase {
        if let Some(until) = self.now_until.filter(|until| since < *until) {
            return Phase::Record(Some(until));
        }
        if self.started { self.schedule.at(since) } else { Phase::Wait(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ten_seconds_each_minute_means_the_first_ten() {
        let schedule = Schedule::periodic(s(10), s(60)).unwrap();
        assert_eq!(schedule.at(s(0)), Phase::Record(Some(s(10))));
        assert_eq!(schedule.at(s(10)), Phase::Wait(Some(s(60))));
        assert_eq!(schedule.at(s(125)), Phase::Record(Some(s(130))));
        assert_eq!(Schedule::periodic(s(60), s(60)), Ok(Schedule::Continuous));
        assert!(Schedule::periodic(s(0), s(60)).is_err());
        assert!(Schedule::periodic(s(61), s(60)).is_err());
    }

    #[test]
    fn capture_now_records_one_stretch_although_stopped() {
        let schedule = Schedule::Continuous;
        let plan = Plan { schedule, started: false, now_until: Some(s(10)) };
        assert_eq!(plan.at(s(5)), Phase::Record(Some(s(10))));
        assert_eq!(plan.at(s(10)), Phase::Wait(None));
    }
}
