//! Owns the processor time of children and of all that they started, as the kernel counts it.

use std::{collections::BTreeSet, fs, time::Duration};

/// Length of a tick as Linux shows it to programs on amd64 and arm64.
const TICK: Duration = Duration::from_millis(10);
/// Places after the name in `/proc/PID/stat`: process group (5th of the line), then user and system time, own and of
/// children that have ended and were waited for (14th to 17th).
const GROUP: usize = 2;
const TIMES: std::ops::Range<usize> = 11..15;

/// Time of this process, of its children that have ended, and of all processes of these groups.
pub(super) fn of_groups(groups: &BTreeSet<i32>) -> Duration {
    let own = fs::read_to_string("/proc/self/stat").ok();
    let mut ticks = own.as_deref().and_then(fields).map_or(0, |(_, ticks)| ticks);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        // What is no process, or is gone meanwhile, has no such file.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some((group, spent)) = fields(&stat)
            && groups.contains(&group)
        {
            ticks += spent;
        }
    }
    TICK * ticks
}

/// Process group.
pub(super) fn group(stat: &str) -> Option<i32> {
    fields(stat).map(|(group, _)| group)
}

/// Process group, and ticks of all kinds.
fn fields(stat: &str) -> Option<(i32, u32)> {
    // The name stands in brackets and may have anything in it.
    let (_, after) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after.split(' ').collect();
    let group = fields.get(GROUP)?.parse().ok()?;
    let ticks = fields.get(TIMES)?.iter().map(|field| field.parse::<u32>().ok());
    Some((group, ticks.sum::<Option<u32>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read_whatever_the_name() {
        let stat = "77 (a) b (c) S 1 70 70 0 -1 4194304 100 0 0 0 5 6 7 8 20 0 1 0 9 9 9";
        assert_eq!(fields(stat), Some((70, 26)));
        assert_eq!(fields("77 (cut"), None);
    }
}
