//! Owns the most memory that each kind of process of a site has held so far, as the kernel counts it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::Serialize;

use super::usage;

/// Resident bytes at their highest, by kind of process; of several of a kind the largest. What ended between two looks
/// is known as it was at the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Memory(BTreeMap<String, u64>);

impl Memory {
    /// Looks at these children with all that they started, and at this process.
    pub(super) fn look(&mut self, children: &BTreeSet<i32>) {
        self.look_at(Path::new("/proc/self"));
        usage::folders(children).iter().for_each(|folder| self.look_at(folder));
    }

    fn look_at(&mut self, process: &Path) {
        let (Ok(line), Ok(status)) =
            (fs::read(process.join("cmdline")), fs::read_to_string(process.join("status")))
        else {
            return;
        };
        if let (Some(kind), Some(bytes)) = (kind(&line), highest(&status)) {
            let held = self.0.entry(kind).or_default();
            *held = (*held).max(bytes);
        }
    }

    /// For people, such as `edge-agent 31 MB, worker 448 MB`.
    #[must_use]
    pub fn text(&self) -> String {
        let each = self.0.iter().map(|(kind, bytes)| format!("{kind} {} MB", bytes / 1_000_000));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// What a command line is in the words of the architecture.
fn kind(line: &[u8]) -> Option<String> {
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let program = words.next()?;
    let program = Path::new(program.as_ref()).file_name()?.to_str()?.to_owned();
    let command = words.next().unwrap_or_default();
    Some(match (program.as_str(), command.as_ref()) {
        ("fog-node", "worker") => "worker".to_owned(),
        ("celosia", "function") => "function host".to_owned(),
        ("celosia", "object-store") => "object store".to_owned(),
        // On its way to become another program.
        ("celosia", "child") => return None,
        _ => program,
    })
}

/// The high-water mark in `/proc/PID/status`.
fn highest(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_apart_by_what_they_do() {
        let kind = |line: &str| kind(line.replace(' ', "\0").as_bytes());
        assert_eq!(kind("/usr/bin/fog-node worker --config a").as_deref(), Some("worker"));
        assert_eq!(kind("/usr/bin/fog-node serve --config a").as_deref(), Some("fog-node"));
        assert_eq!(kind("celosia object-store").as_deref(), Some("object store"));
        assert_eq!(kind("/usr/sbin/mosquitto -c a").as_deref(), Some("mosquitto"));
        assert_eq!(kind("celosia child --parent 1"), None);
        assert_eq!(highest("VmPeak:\t 9 kB\nVmHWM:\t   1000 kB\n"), Some(1_024_000));
    }

    #[test]
    fn this_process_holds_something() {
        let mut memory = Memory::default();
        memory.look(&BTreeSet::new());
        assert!(memory.0.values().all(|bytes| *bytes > 1_000_000) && memory.0.len() == 1);
        assert!(memory.text().ends_with(" MB"), "{}", memory.text());
    }
}
