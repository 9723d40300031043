//! Owns what the process can tell of itself: when it was started, and how much memory it has had.

use serde::Serialize;

/// How long each step of the start took. Told with every answer, so that whoever measures need not read a log.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Init {
    /// From the start of the process to the first line of `main`, in steps of ten milliseconds.
    pub started_ms: Option<u64>,
    /// Reading the environment.
    pub config_us: u128,
    /// Loading ONNX Runtime.
    pub library_us: u128,
    /// Opening the model.
    pub session_us: u128,
    /// The first run of the network.
    pub first_run_us: u128,
    /// The client of the object store.
    pub store_us: u128,
}

/// Ticks of `/proc` a second on every Linux that AWS and we run.
const TICKS_PER_S: u64 = 100;

/// Milliseconds since this process was started, in steps of ten; nothing where `/proc` does not say.
#[must_use]
pub fn age_ms() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    age_of(&stat, &uptime)
}

fn age_of(stat: &str, uptime: &str) -> Option<u64> {
    // The name stands in brackets and may contain anything; the start is the 20th field after it.
    let (_, fields) = stat.rsplit_once(')')?;
    let started: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let (seconds, hundredths) = uptime.split_whitespace().next()?.split_once('.')?;
    let now = seconds.parse::<u64>().ok()? * TICKS_PER_S + hundredths.parse::<u64>().ok()?;
    Some(now.checked_sub(started)? * (1000 / TICKS_PER_S))
}

/// The most memory that this process has had, in KiB.
#[must_use]
pub fn memory_max_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_read_past_any_name() {
        let fields = (0..20).map(|n| if n == 19 { "1234" } else { "0" });
        let stat = format!("42 (a) b)) {}", fields.collect::<Vec<_>>().join(" "));
        assert_eq!(age_of(&stat, "12.50 7.00\n"), Some(160));
        assert_eq!(age_of("42 (a) 0", "12.50 7.00"), None);
    }

    #[test]
    fn this_process_has_an_age_and_has_had_memory() {
        assert!(age_ms().is_some_and(|age| age < 600_000));
        assert!(memory_max_kib().is_some_and(|kib| kib > 1000));
    }
}
