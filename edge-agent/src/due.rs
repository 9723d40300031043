//! Owns which slots of a live camera were due in a stretch of wall time in which it gave nothing. Pure.
//!
//! What is due follows from the plan that was in force: it is kept beside the instant up to which the camera is accounted
//! for, so that a process that comes after a crash counts by the periods of the one that crashed, not by its own.

use proto::UtcTime;
use serde::{Deserialize, Serialize};

use crate::schedule::{Plan, Schedule};

/// When a live camera should record, in wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// By its schedule; nothing while it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_schedule: Option<Grid>,
    /// By `capture now`: up to then, whatever the schedule says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    now_until: Option<UtcTime>,
}

/// A schedule in wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Grid {
    Continuous,
    Periodic {
        record_us: i64,
        each_us: i64,
        /// When one of its periods began.
        began: UtcTime,
    },
}

/// What was due and did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// Whole slots.
    pub slots: u64,
    /// Up to when the camera is accounted for with them: what is left of a slot is counted with the next gap.
    pub until: UtcTime,
}

/// A stretch that should be recorded without a pause, in microseconds.
struct Stretch {
    from_us: i64,
    until_us: i64,
}

impl Due {
    /// What a plan means, whose time counts from `began`.
    #[must_use]
    pub fn of(plan: &Plan, began: UtcTime) -> Self {
        let us = |time: std::time::Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let grid = match plan.schedule {
            Schedule::Continuous => Grid::Continuous,
            Schedule::Periodic { record, each } => {
                Grid::Periodic { record_us: us(record), each_us: us(each), began }
            }
        };
        let at = |time| {
            let us = began.micros().saturating_add(us(time));
            UtcTime::from_micros(us).unwrap_or(began)
        };
        Self { by_schedule: plan.started.then_some(grid), now_until: plan.now_until.map(at) }
    }

    /// The slots, of `every_ns` each, that were due between two instants in which nothing came.
    ///
    /// A stretch of which nothing came counts as many slots as a session over all of it has. Of others it counts whole
    /// slots: what was recorded of them has a grid of its own.
    #[must_use]
    pub fn missed(&self, from: UtcTime, until: UtcTime, every_ns: i64) -> Missed {
        let every_us = (every_ns / 1_000).max(1);
        let (mut at, until_us) = (from.micros(), until.micros());
        let (mut slots, mut rest_us) = (0i64, 0);
        while at < until_us {
            if let Some((periods, to_us)) = self.whole_periods(at, until_us) {
                slots =
                    slots.saturating_add(periods.saturating_mul(self.slots_of_period(every_us)));
                at = to_us;
                continue;
            }
            let Some(next) = self.next(at).filter(|next| next.from_us < until_us) else { break };
            let begins = next.from_us.max(at);
            let length = next.until_us.min(until_us) - begins;
            let is_whole = next.from_us >= at && next.until_us <= until_us;
            let whole_slots = if is_whole { ceil(length, every_us) } else { length / every_us };
            slots = slots.saturating_add(whole_slots);
            // A stretch that is over takes what is left of a slot with it.
            rest_us = if next.until_us > until_us { length % every_us } else { 0 };
            at = next.until_us;
        }
        let accounted = UtcTime::from_micros(until_us - rest_us).unwrap_or(until);
        Missed { slots: slots.max(0).cast_unsigned(), until: accounted }
    }

    /// Whole periods from here on, each with one whole stretch, and where they end: a camera may have been away for years.
    fn whole_periods(&self, at: i64, until_us: i64) -> Option<(i64, i64)> {
        let Some(Grid::Periodic { record_us, each_us, began }) = self.by_schedule else {
            return None;
        };
        let each_us = each_us.max(1);
        let into = (at - began.micros()).rem_euclid(each_us);
        let in_a_stretch = into > 0 && into < record_us;
        let extra = self.now_until.is_some_and(|extra| extra.micros() > at);
        let periods = (until_us - at) / each_us;
        (!in_a_stretch && !extra && periods > 0).then(|| (periods, at + periods * each_us))
    }

    fn slots_of_period(&self, every_us: i64) -> i64 {
        match self.by_schedule {
            Some(Grid::Periodic { record_us, .. }) => ceil(record_us, every_us),
            Some(Grid::Continuous) | None => 0,
        }
    }

    /// The stretch that goes on at `at` or comes next.
    fn next(&self, at: i64) -> Option<Stretch> {
        match self.now_until.map(UtcTime::micros).filter(|extra| *extra > at) {
            // Where it ends within a stretch of the schedule, that one goes on.
            Some(extra) => {
                let after = self.scheduled(extra).filter(|next| next.from_us <= extra);
                Some(Stretch { from_us: i64::MIN, until_us: after.map_or(extra, |s| s.until_us) })
            }
            None => self.scheduled(at),
        }
    }

    fn scheduled(&self, at: i64) -> Option<Stretch> {
        match self.by_schedule? {
            Grid::Continuous => Some(Stretch { from_us: i64::MIN, until_us: i64::MAX }),
            Grid::Periodic { record_us, each_us, began } => {
                let into = (at - began.micros()).rem_euclid(each_us.max(1));
                let from_us = if into < record_us { at - into } else { at - into + each_us };
                Some(Stretch { from_us, until_us: from_us.saturating_add(record_us) })
            }
        }
    }
}

fn ceil(length: i64, every: i64) -> i64 {
    length / every + i64::from(length % every > 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const EVERY: i64 = 5_000_000_000;

    fn at(seconds: i64) -> UtcTime {
        UtcTime::EPOCH.plus_ns(seconds * 1_000_000_000)
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// 10 s each 60 s, since 1000 s.
    fn periodic() -> Due {
        let schedule = Schedule::periodic(s(10), s(60)).unwrap();
        Due::of(&Plan { schedule, started: true, now_until: None }, at(1000))
    }

    #[track_caller]
    fn check(due: &Due, from: i64, until: i64, slots: u64, accounted: i64) {
        let missed = due.missed(at(from), at(until), EVERY);
        assert_eq!(missed, Missed { slots, until: at(accounted) }, "{from} to {until}");
    }

    #[test]
    fn of_a_continuous_camera_everything_is_due_and_the_rest_of_a_slot_is_not_forgotten() {
        let plan = Plan { schedule: Schedule::Continuous, started: true, now_until: None };
        let due = Due::of(&plan, at(0));
        check(&due, 10, 31, 4, 30);
        check(&due, 10, 14, 0, 10);
        check(&due, 20, 10, 0, 10);
    }

    #[test]
    fn of_a_periodic_camera_its_own_stretches_are_due_and_nothing_between_them() {
        let due = periodic();
        // In the middle of a stretch, over the pause, to the middle of a later one.
        check(&due, 1004, 1009, 1, 1009);
        check(&due, 1004, 1050, 1, 1050);
        check(&due, 1010, 1060, 0, 1060);
        check(&due, 1004, 1067, 2, 1065);
        check(&due, 1030, 1070, 2, 1070);
        check(&due, 1030, 1250, 8, 1250);
        // Before what the process knows of: its periods were the same.
        check(&due, 930, 960, 2, 960);
    }

    #[test]
    fn years_of_periods_are_counted_at_once_and_exactly() {
        let year = 365 * 86_400;
        check(&periodic(), 1010, 1010 + year, 2 * (year / 60) as u64, 1010 + year);
    }

    #[test]
    fn a_stretch_that_is_no_multiple_of_a_slot_counts_what_a_session_over_it_has() {
        let schedule = Schedule::periodic(s(12), s(60)).unwrap();
        let due = Due::of(&Plan { schedule, started: true, now_until: None }, at(0));
        // Slots at 0, 5 and 10 s.
        check(&due, 20, 80, 3, 80);
        check(&due, 20, 200, 9, 200);
        // A second of it was recorded: what is left are two whole slots.
        check(&due, 61, 80, 2, 80);
    }

    #[test]
    fn capture_now_is_due_until_it_ends_also_of_a_camera_that_is_stopped() {
        let schedule = Schedule::periodic(s(10), s(60)).unwrap();
        let stopped = Plan { schedule, started: false, now_until: Some(s(30)) };
        let due = Due::of(&stopped, at(1000));
        check(&due, 1005, 1300, 5, 1300);
        check(&due, 1030, 1300, 0, 1300);
        // In the middle of a pause, and into a stretch: that is one.
        let started = Plan { started: true, now_until: Some(s(63)), ..stopped };
        check(&Due::of(&started, at(1000)), 1040, 1100, 6, 1100);
    }

    #[test]
    fn what_is_due_is_the_same_after_it_was_written_and_read() {
        let plan = Plan { schedule: Schedule::Continuous, started: true, now_until: Some(s(1)) };
        for due in [periodic(), Due::of(&plan, at(5))] {
            let text = serde_json::to_string(&due).unwrap();
            assert_eq!(serde_json::from_str::<Due>(&text).unwrap(), due, "{text}");
        }
    }
}
