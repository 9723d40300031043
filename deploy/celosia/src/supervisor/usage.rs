//! Owns which processes belong to a site, by descent, and the processor time of all of them, as the kernel counts it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

/// Length of a tick as Linux shows it to programs on amd64 and arm64.
const TICK: Duration = Duration::from_millis(10);
/// Places after the name in `/proc/PID/stat`: parent (4th of the line), then user and system time, own and of children
/// that have ended and were waited for (14th to 17th).
const PARENT: usize = 1;
const TIMES: std::ops::Range<usize> = 11..15;
/// Longest line of ancestors that is followed: the table is read while processes come and go.
const ANCESTORS_MAX: usize = 64;

/// A process at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: i32,
    /// Of all kinds.
    ticks: u32,
}

/// Time of this process, of its children that have ended, and of these children with all that they started.
pub(super) fn of_children(children: &BTreeSet<i32>) -> Duration {
    let own = fs::read_to_string("/proc/self/stat").ok();
    let own = own.as_deref().and_then(fields).map_or(0, |(_, process)| process.ticks);
    TICK * descendants(children).values().fold(own, |sum, process| sum + process.ticks)
}

/// Folders in `/proc` of these processes and of all that they started, and those started, and so on: a worker and the
/// function lead process groups of their own.
pub(super) fn folders(children: &BTreeSet<i32>) -> Vec<PathBuf> {
    descendants(children).keys().map(|pid| PathBuf::from(format!("/proc/{pid}"))).collect()
}

fn descendants(roots: &BTreeSet<i32>) -> BTreeMap<i32, Process> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        // What is no process, or is gone meanwhile, has no such file.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        all.extend(fields(&stat));
    }
    of(&all, roots)
}

fn of(all: &BTreeMap<i32, Process>, roots: &BTreeSet<i32>) -> BTreeMap<i32, Process> {
    let descends = |pid: i32| {
        let line = std::iter::successors(Some(pid), |pid| all.get(pid).map(|p| p.parent));
        line.take(ANCESTORS_MAX).any(|pid| roots.contains(&pid))
    };
    all.iter().filter(|(pid, _)| descends(**pid)).map(|(pid, process)| (*pid, *process)).collect()
}

/// Number of the process, and what is known of it.
fn fields(stat: &str) -> Option<(i32, Process)> {
    let (pid, _) = stat.split_once(' ')?;
    // The name stands in brackets and may have anything in it.
    let (_, after) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after.split(' ').collect();
    let parent = fields.get(PARENT)?.parse().ok()?;
    let ticks = fields.get(TIMES)?.iter().map(|field| field.parse::<u32>().ok());
    Some((pid.parse().ok()?, Process { parent, ticks: ticks.sum::<Option<u32>>()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read_whatever_the_name() {
        let stat = "77 (a) b (c) S 1 70 70 0 -1 4194304 100 0 0 0 5 6 7 8 20 0 1 0 9 9 9";
        assert_eq!(fields(stat), Some((77, Process { parent: 1, ticks: 26 })));
        assert_eq!(fields("77 (cut"), None);
    }

    #[test]
    fn all_that_a_child_started_belongs_to_it_and_nothing_else() {
        let process = |parent| Process { parent, ticks: 1 };
        let table = [(1, 0), (10, 1), (20, 10), (30, 20), (40, 30), (50, 1), (60, 61), (61, 60)];
        let all = table.into_iter().map(|(pid, parent)| (pid, process(parent))).collect();
        let found = of(&all, &BTreeSet::from([20, 99]));
        assert_eq!(found.into_keys().collect::<Vec<_>>(), [20, 30, 40]);
    }
}
