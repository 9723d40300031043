//! Owns the holding back of a process and all its children: the CPU bandwidth of a control group, version 1 or 2.
//!
//! Nothing else would be honest: a process that is stopped and continued from outside runs in steps of the scheduler's
//! own, and a time divided by a share is no measurement.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

/// How the processor is held back, for the report.
pub(super) const HOW: &str = "CPU bandwidth of a control group, period 20 ms";
/// Period of the bandwidth in microseconds: as short as Lambda's is seen to be.
const PERIOD_US: u64 = 20_000;
/// Where the hierarchies are mounted: version 1, and version 2 by itself.
const V1: &str = "/sys/fs/cgroup/cpu";
const V2: &str = "/sys/fs/cgroup";

/// A control group that ends with its processes.
pub(super) struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// A group with this share of one processor.
    ///
    /// # Errors
    /// When there is no hierarchy that this user may write.
    pub(super) fn new(share: f64) -> io::Result<Self> {
        let name = format!("celosia-power-{}", std::process::id());
        let quota_us = (share * PERIOD_US as f64).round().max(1000.0);
        let v1 = Path::new(V1).join("cpu.cfs_quota_us").exists();
        let folder = Path::new(if v1 { V1 } else { V2 }).join(name);
        let group = Self { folder };
        match fs::create_dir(&group.folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if v1 {
            group.write("cpu.cfs_period_us", &PERIOD_US.to_string())?;
            group.write("cpu.cfs_quota_us", &format!("{quota_us:.0}"))?;
        } else {
            group.write("cpu.max", &format!("{quota_us:.0} {PERIOD_US}"))?;
        }
        Ok(group)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.folder.join(name), text)
    }

    /// Where a process writes its number to become a member.
    pub(super) fn members(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// For how many milliseconds members have waited for the next period so far, the group's life long.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(super) fn held_back_ms(&self) -> io::Result<f64> {
        let text = fs::read_to_string(self.folder.join("cpu.stat"))?;
        // Version 1 counts in nanoseconds, version 2 in microseconds.
        let units = [("throttled_time ", 1e6), ("throttled_usec ", 1e3)];
        let found = units.iter().find_map(|(name, per_ms)| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().parse::<f64>().ok()? / per_ms)
        });
        found.ok_or_else(|| io::Error::other("cpu.stat tells no throttled time"))
    }

    /// Ends every member; whether none is left.
    pub(super) fn end(&self) -> bool {
        let members = fs::read_to_string(self.members()).unwrap_or_default();
        let pids = members.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw);
        let mut none = true;
        for pid in pids {
            none = false;
            // It may have ended by itself meanwhile.
            kill_process(pid, Signal::KILL).ok();
        }
        none
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.end();
        // A group with a member that is still ending stays, is empty, and is used again by the next of this process.
        fs::remove_dir(&self.folder).ok();
    }
}
