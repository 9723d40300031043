//! Owns times that cross a process: UTC instants, source intervals, and how far a camera's clock can be trusted.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A UTC instant in whole microseconds since 1970. In JSON: RFC 3339 text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcTime(i64);

/// The text or number is not an instant between the years 1 and 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RFC 3339 time such as 2026-11-24T12:00:00Z")]
pub struct TimeError(String);

/// First and last representable instants, so that every instant can be written as RFC 3339.
const MICROS_RANGE: std::ops::RangeInclusive<i64> =
    -62_135_596_800_000_000..=253_402_300_799_999_999;

impl UtcTime {
    /// The start of 1970, the time of a file whose time nobody knows.
    pub const EPOCH: Self = Self(0);

    /// This many microseconds after the start of 1970.
    ///
    /// # Errors
    /// Outside the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Result<Self, TimeError> {
        MICROS_RANGE
            .contains(&micros)
            .then_some(Self(micros))
            .ok_or_else(|| TimeError(micros.to_string()))
    }

    /// Microseconds since the start of 1970.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This instant moved by `ns` nanoseconds, kept within the representable range.
    #[must_use]
    pub fn plus_ns(self, ns: i64) -> Self {
        Self(self.0.saturating_add(ns / 1000).clamp(*MICROS_RANGE.start(), *MICROS_RANGE.end()))
    }

    /// The calendar view of this instant.
    #[must_use]
    pub fn calendar(self) -> OffsetDateTime {
        // In range by construction; a value out of range would only come from a bug here, and then the epoch is shown.
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.calendar().format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for UtcTime {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let error = || TimeError(text.chars().take(40).collect());
        // RFC 3339 lets a reader take other separators and small letters; one instant in UTC has one spelling here.
        if text.as_bytes().get(10) != Some(&b'T') || text.contains(['t', 'z']) {
            return Err(error());
        }
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| error())?;
        let micros =
            i64::try_from(at.unix_timestamp_nanos().div_euclid(1000)).map_err(|_| error())?;
        Self::from_micros(micros).map_err(|_| error())
    }
}

impl TryFrom<String> for UtcTime {
    type Error = TimeError;
    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<UtcTime> for String {
    fn from(at: UtcTime) -> Self {
        at.to_string()
    }
}

/// Where a session's wall-clock anchor comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockSource {
    /// The camera's own sender reports.
    Rtcp,
    /// The gateway's system clock.
    System,
    /// The file's creation time or what the operator stated.
    File,
    /// Nobody knows; times count from 1970.
    Unknown,
}

/// How far the times of a session can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Where the anchor comes from.
    pub source: ClockSource,
    /// Half width of the uncertainty in milliseconds; absent when nothing is known.
    pub uncertainty_ms: Option<u32>,
}

/// A half-open stretch `[start_ns, end_ns)` of a session's own time, in nanoseconds since its first picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// First nanosecond.
    pub start_ns: i64,
    /// First nanosecond after the end.
    pub end_ns: i64,
}

impl Interval {
    /// Length in nanoseconds; 0 for an interval that ends before it starts.
    #[must_use]
    pub const fn length_ns(self) -> i64 {
        let length = self.end_ns.saturating_sub(self.start_ns);
        if length > 0 { length } else { 0 }
    }

    /// The sampling slots in this interval: each `k` with `start <= k * every_ns < end`. Because intervals of
    /// consecutive clips are half-open and touch, a slot falls into exactly one clip. Empty for `every_ns <= 0` and
    /// for intervals before the session's start.
    #[must_use]
    pub fn slots(self, every_ns: i64) -> std::ops::Range<u64> {
        if every_ns <= 0 || self.start_ns < 0 || self.end_ns <= self.start_ns {
            return 0..0;
        }
        let first = self.start_ns.cast_unsigned().div_ceil(every_ns.cast_unsigned());
        let end = self.end_ns.cast_unsigned().div_ceil(every_ns.cast_unsigned());
        first..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_of_9_96_s_give_neither_doubles_nor_holes() {
        let (length, every) = (9_960_000_000, 5_000_000_000);
        let mut seen = Vec::new();
        for clip in 0..500 {
            let interval = Interval { start_ns: clip * length, end_ns: (clip + 1) * length };
            seen.extend(interval.slots(every));
        }
        let expected: Vec<u64> = (0..seen.len() as u64).collect();
        assert_eq!(seen, expected);
        assert_eq!(seen.len(), 996);
    }

    #[test]
    fn a_slot_on_the_border_belongs_to_the_later_clip() {
        let every = 5_000_000_000;
        assert_eq!(Interval { start_ns: 0, end_ns: 10_000_000_000 }.slots(every), 0..2);
        assert_eq!(
            Interval { start_ns: 10_000_000_000, end_ns: 10_000_000_001 }.slots(every),
            2..3
        );
        assert_eq!(Interval { start_ns: 1, end_ns: 4_999_999_999 }.slots(every).count(), 0);
    }

    #[test]
    fn hostile_intervals_have_no_slots() {
        for (start_ns, end_ns, every) in
            [(0, 10, 0), (0, 10, -5), (-5, 10, 5), (10, 10, 5), (10, 5, 5)]
        {
            assert_eq!(Interval { start_ns, end_ns }.slots(every).count(), 0);
        }
        assert!(Interval { start_ns: 0, end_ns: i64::MAX }.slots(1).end > 0);
    }

    #[test]
    fn times_read_back_as_they_were_written() {
        let at: UtcTime = "2026-11-24T12:00:00.25Z".parse().unwrap();
        assert_eq!(at.micros(), 1_795_521_600_250_000);
        assert_eq!(at.to_string(), "2026-11-24T12:00:00.25Z");
        assert_eq!(at.plus_ns(-1_250_000_000).to_string(), "2026-11-24T11:59:59Z");
        assert!("yesterday".parse::<UtcTime>().is_err());
        assert_eq!(UtcTime::EPOCH.plus_ns(i64::MAX).plus_ns(i64::MAX).calendar().year(), 2554);
    }
}
