//! Owns durations as people write them in a configuration: `500ms`, `10s`, `5m`, `1h`, `7d`.

use std::time::Duration;

use serde::Deserialize;

/// A duration read from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no duration: write 500ms, 10s, 5m, 1h or 7d");
        let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(at);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(ms).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let read = |text: &str| Span::try_from(text.to_owned()).map(|s| s.0.as_millis());
        assert_eq!(read("500ms"), Ok(500));
        assert_eq!(read("10s"), Ok(10_000));
        assert_eq!(read("7d"), Ok(604_800_000));
        for wrong in ["", "10", "s", "-5s", "1.5s", "5 s", "5x", "99999999999999999999s", "é"] {
            assert!(read(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
