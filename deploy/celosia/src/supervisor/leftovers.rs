//! Owns what an earlier supervisor left behind when it was killed: its children drain by themselves when their pipe
//! ends, and a new one waits for that before it starts others on the same folders and ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base::Shutdown;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

/// Longest wait for them: over the 23 s that our services take to drain. What is left then is killed.
const GRACE: Duration = Duration::from_secs(26);
/// How often they are looked at.
const TICK: Duration = Duration::from_millis(20);

/// A process, told apart from a later one of the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Trace {
    pid: i32,
    /// When it was started, in the kernel's ticks since boot.
    started: u64,
    boot: String,
}

/// The running children, kept in a file.
#[derive(Debug)]
pub(super) struct Traces {
    path: PathBuf,
    children: Mutex<BTreeMap<&'static str, Trace>>,
}

impl Traces {
    /// No children yet.
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, children: Mutex::new(BTreeMap::new()) }
    }

    /// A child was started.
    pub(super) fn started(&self, name: &'static str, pid: i32) {
        self.change(|children| match trace(pid) {
            Some(trace) => drop(children.insert(name, trace)),
            None => drop(children.remove(name)),
        });
    }

    /// A child has ended.
    pub(super) fn ended(&self, name: &'static str) {
        self.change(|children| drop(children.remove(name)));
    }

    /// The running children: each leads a process group of that number.
    pub(super) fn pids(&self) -> BTreeSet<i32> {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.values().map(|trace| trace.pid).collect()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<&'static str, Trace>)) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut children);
        if let Err(error) = write(&self.path, &children) {
            tracing::warn!(path = %self.path.display(), %error, "running processes were not noted");
        }
    }
}

/// Renamed, so that it is never half; not synced, since no process outlives the machine.
fn write(path: &Path, children: &BTreeMap<&'static str, Trace>) -> io::Result<()> {
    let fresh = path.with_extension("tmp");
    fs::write(&fresh, serde_json::to_vec(children)?)?;
    fs::rename(fresh, path)
}

/// Waits until the children that the file tells of have ended, and kills those that do not. False when shutdown was
/// requested meanwhile.
pub(super) async fn clear(path: &Path, shutdown: &Shutdown) -> bool {
    let held: Option<BTreeMap<String, Trace>> =
        fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let mut left = held.unwrap_or_default();
    let mut waited = Duration::ZERO;
    loop {
        left.retain(|_, old| trace(old.pid).as_ref() == Some(old));
        if left.is_empty() {
            return true;
        }
        if waited == Duration::ZERO {
            let names: Vec<_> = left.keys().collect();
            tracing::warn!(?names, "processes of a run that was killed are ending, waiting");
        }
        if waited >= GRACE {
            for (name, old) in &left {
                tracing::warn!(name, pid = old.pid, "did not end, killed");
                kill_group(old.pid);
            }
        }
        if !shutdown.sleep(TICK).await {
            return false;
        }
        waited += TICK;
    }
}

/// Kills a process group at once; one that is gone is fine.
pub(super) fn kill_group(pid: i32) {
    let killed = Pid::from_raw(pid).map(|pid| kill_process_group(pid, Signal::KILL));
    if let Some(Err(error)) = killed
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(pid, %error, "could not be killed");
    }
}

/// The process of this number as it is now; nothing when there is none, or only what is left of one.
fn trace(pid: i32) -> Option<Trace> {
    /// Places after the name in `/proc/PID/stat`: state, and the start time (22nd of the line).
    const STATE: usize = 0;
    const STARTED: usize = 19;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may have anything in it.
    let (_, after) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after.split(' ').collect();
    if matches!(fields.get(STATE), Some(&"Z" | &"X")) {
        return None;
    }
    let started = fields.get(STARTED)?.parse().ok()?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(Trace { pid, started, boot: boot.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt,
        process::{Command, Stdio},
    };

    use super::*;

    #[tokio::test]
    async fn a_child_that_is_left_is_waited_for_and_a_stranger_of_its_number_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let shutdown = Shutdown::default();
        assert!(clear(&path, &shutdown).await, "nothing was ever started");
        let mut child = Command::new("cat");
        let mut child = child.stdin(Stdio::piped()).process_group(0).spawn().unwrap();
        let traces = Traces::new(path.clone());
        let pid = i32::try_from(child.id()).unwrap();
        traces.started("fog", pid);
        let waiting = tokio::time::timeout(Duration::from_millis(100), clear(&path, &shutdown));
        assert!(waiting.await.is_err(), "a living child was not waited for");
        drop(child.stdin.take());
        assert!(clear(&path, &shutdown).await);
        child.wait().unwrap();

        let stranger = trace(i32::try_from(std::process::id()).unwrap()).unwrap();
        let stranger = Trace { started: stranger.started + 1, ..stranger };
        write(&path, &BTreeMap::from([("fog", stranger)])).unwrap();
        assert!(clear(&path, &shutdown).await);
    }
}
