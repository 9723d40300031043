//! Owns the question whether this process's memory can reach a disk: raw video must not lie in a swap file.

use std::{fs, io, path::Path};

/// Where the kernel says how much swap the machine has.
const MEMINFO: &str = "/proc/meminfo";
/// Where the kernel says in which control groups a process is.
const CGROUP: &str = "/proc/self/cgroup";
/// Root of the control groups, version 2.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// What to do about swap, for every message that says it is there.
pub const REMEDY: &str =
    "turn it off (swapoff -a), set memory.swap.max=0, or take the risk with allow_swap";

/// Whether memory of this process may be swapped out.
///
/// # Errors
/// When the kernel does not say; take that for yes.
pub fn is_available() -> io::Result<bool> {
    let meminfo = fs::read_to_string(MEMINFO)?;
    let group = fs::read_to_string(CGROUP).unwrap_or_default();
    let limits = folders(&group).into_iter().filter_map(|folder| {
        let limit = Path::new(CGROUP_ROOT).join(folder).join("memory.swap.max");
        fs::read_to_string(limit).ok()
    });
    Ok(reaches(&meminfo, limits))
}

/// The process's own control group and all above it, relative to the root. Empty without version 2.
fn folders(group: &str) -> Vec<String> {
    let Some(path) = group.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Vec::new();
    };
    let ancestors = Path::new(path).ancestors();
    ancestors.map(|folder| folder.to_string_lossy().into_owned()).collect()
}

fn reaches(meminfo: &str, mut limits: impl Iterator<Item = String>) -> bool {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("SwapTotal:"));
    let none = total.and_then(|line| line.split_whitespace().next()) == Some("0");
    !none && !limits.any(|limit| limit.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: &str = "MemTotal: 8 kB\nSwapTotal:       2097148 kB\nSwapFree: 1 kB\n";
    const OFF: &str = "MemTotal: 8 kB\nSwapTotal:             0 kB\nSwapFree: 0 kB\n";

    fn check(meminfo: &str, limits: &[&str], expected: bool) {
        let limits = limits.iter().map(|limit| (*limit).to_owned());
        assert_eq!(reaches(meminfo, limits), expected, "{meminfo}");
    }

    #[test]
    fn swap_is_there_unless_the_machine_or_a_control_group_has_none() {
        check(ON, &[], true);
        check(ON, &["max\n", "1048576\n"], true);
        check(ON, &["max\n", "0\n"], false);
        check(OFF, &["max\n"], false);
        check("no such line\n", &[], true);
    }

    #[test]
    fn limits_are_looked_for_in_the_own_group_and_all_above() {
        assert_eq!(folders("4:memory:/x\n0::/a/b\n"), ["a/b", "a", ""]);
        assert_eq!(folders("0::/\n"), [""]);
        assert!(folders("4:memory:/x\n").is_empty());
    }
}
