//! Owns how numbers, shares and times are written.

use proto::UtcTime;

/// `2026-11-24 12:01:10`, always UTC; the page says so.
pub(crate) fn time(at: UtcTime) -> String {
    let at = at.calendar();
    let (date, hour, minute, second) = (at.date(), at.hour(), at.minute(), at.second());
    format!("{date} {hour:02}:{minute:02}:{second:02}")
}

/// `12:01:10` of today, `2026-11-24 12:01` of another day.
pub(crate) fn short(at: UtcTime, now: UtcTime) -> String {
    let (then, today) = (at.calendar(), now.calendar().date());
    if then.date() == today {
        return format!("{}:{:02}", clock(at), then.second());
    }
    format!("{} {}", then.date(), clock(at))
}

/// `2026-11-24 12:01:10.250`, for what is explained.
pub(crate) fn exact(at: UtcTime) -> String {
    format!("{}.{:03}", time(at), at.calendar().millisecond())
}

/// `12:01`.
pub(crate) fn clock(at: UtcTime) -> String {
    let at = at.calendar();
    format!("{:02}:{:02}", at.hour(), at.minute())
}

/// `24 Nov`, as digits that no language argues about: `11-24`.
pub(crate) fn day(at: UtcTime) -> String {
    let at = at.calendar();
    format!("{:02}-{:02}", u8::from(at.month()), at.day())
}

/// `12,345`.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let first = digits.len() % 3;
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index != 0 && index % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `23.4%`; without a decimal where it would say nothing.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 10.0 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

/// `0.93`.
pub(crate) fn probability(p: f32) -> String {
    format!("{p:.2}")
}

/// Slots as minutes of what a camera saw: `12.5`.
pub(crate) fn minutes(slots: u64, every_ns: i64) -> String {
    let minutes = float(slots) * nanos(every_ns) / 60e9;
    if minutes >= 100.0 { number(whole(minutes)) } else { format!("{minutes:.1}") }
}

/// A sampling interval in seconds: `5` or `2.5`.
pub(crate) fn seconds(ns: i64) -> String {
    format!("{}", nanos(ns) / 1e9)
}

/// Exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "for showing")]
pub(crate) const fn float(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "for showing")]
const fn nanos(ns: i64) -> f64 {
    ns as f64
}

/// The nearest whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
const fn whole(x: f64) -> u64 {
    x.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_as_people_read_them() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(number(n), text);
        }
        let at: UtcTime = "2026-01-04T02:01:09.25Z".parse().unwrap();
        assert_eq!(time(at), "2026-01-04 02:01:09");
        assert_eq!(exact(at), "2026-01-04 02:01:09.250");
        assert_eq!(short(at, at), "02:01:09");
        assert_eq!(short(at, at.plus_ns(86_400_000_000_000)), "2026-01-04 02:01");
        assert_eq!((clock(at), day(at)), ("02:01".into(), "01-04".into()));
        assert_eq!(
            (percent(0.0), percent(0.034), percent(0.234)),
            ("0%".into(), "3.4%".into(), "23%".into())
        );
        assert_eq!(minutes(150, 5_000_000_000), "12.5");
        assert_eq!(minutes(150_000, 5_000_000_000), "12,500");
        assert_eq!((seconds(5_000_000_000), seconds(2_500_000_000)), ("5".into(), "2.5".into()));
    }
}
