//! Owns one run of the real `celosia` binary for a story: starts it, finds and kills its processes, reads what it
//! wrote. Everything that it starts ends with it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use system_tests::{assets, root};

/// Longest that a story waits for one thing: many times what it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A frame in `results.json`, as far as stories look at it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Frame {
    /// `site/camera/session/seq`.
    pub(crate) clip: String,
    /// `site/camera/session/seq/slot`.
    pub(crate) frame: String,
    /// When it was captured, RFC 3339.
    pub(crate) captured_at: String,
    /// The redacted picture, relative to the folder.
    pub(crate) image: String,
    /// The annotated one, when it was asked for.
    pub(crate) annotated: Option<String>,
    /// Where its faces were classified.
    pub(crate) classified_on: String,
    /// What is said of each face.
    pub(crate) faces: Vec<serde_json::Value>,
    /// The track of each of them.
    pub(crate) tracks: Vec<serde_json::Value>,
    /// Counted faces with a mask.
    pub(crate) mask: u32,
    /// Counted faces without.
    pub(crate) no_mask: u32,
    /// Counted faces with a mask worn incorrectly.
    pub(crate) incorrect: u32,
    /// Counted faces too small to say.
    pub(crate) uncertain: u32,
}

impl Frame {
    /// Position of the clip and slot: what is the same in every run on one file.
    pub(crate) fn place(&self) -> (u64, u64) {
        let mut parts = self.frame.rsplit('/').map(|part| part.parse().unwrap());
        let slot = parts.next().unwrap();
        (self.frame.rsplit('/').nth(1).unwrap().parse().unwrap(), slot)
    }

    /// Its camera.
    pub(crate) fn camera(&self) -> &str {
        self.clip.split('/').nth(1).unwrap()
    }

    /// Where its faces are.
    pub(crate) fn boxes(&self) -> Vec<String> {
        self.faces.iter().map(|face| face["box"].to_string()).collect()
    }
}

/// A running `celosia`.
pub(crate) struct Run {
    child: Child,
    state: PathBuf,
}

/// Where the binaries of this build lie: beside the test's own folder.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join(name);
    assert!(program.exists(), "{} is not built: run deploy/test", program.display());
    program
}

/// A command of `celosia` that reads the assets of this project.
pub(crate) fn celosia() -> Command {
    let mut command = Command::new(program("celosia"));
    command.env("CELOSIA_ASSETS", assets().unwrap()).current_dir(root());
    command
}

impl Run {
    /// `celosia process VIDEO --state STATE --out OUT` with more arguments.
    pub(crate) fn process(video: &Path, state: &Path, out: &Path, more: &[&str]) -> Self {
        let mut command = celosia();
        command.arg("process").arg(video).arg("--state").arg(state).arg("--out").arg(out);
        Self::start(command.args(more), state)
    }

    /// `celosia process` with a frame each 2 s, whose processes have this folder for temporary files.
    pub(crate) fn process_in(temporary: &Path, video: &Path, state: &Path, out: &Path) -> Self {
        let mut command = celosia();
        command.env("TMPDIR", temporary).arg("process").arg(video).args(["--every", "2s"]);
        Self::start(command.arg("--state").arg(state).arg("--out").arg(out), state)
    }

    /// `celosia up --state STATE` with more arguments.
    pub(crate) fn up(state: &Path, more: &[&str]) -> Self {
        let mut command = celosia();
        Self::start(command.arg("up").arg("--state").arg(state).args(more), state)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Any command that becomes `celosia` with this state folder.
    pub(crate) fn start(command: &mut Command, state: &Path) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: child.spawn().unwrap(), state: state.to_owned() }
    }

    /// Ids of its processes whose program and arguments contain `what`, such as `fog-node worker`.
    pub(crate) fn processes(&self, what: &str) -> Vec<i32> {
        let all = processes_of(&self.state);
        all.into_iter().filter(|(_, line)| line.contains(what)).map(|(pid, _)| pid).collect()
    }

    /// `kill -9` of the first process that contains `what`, waiting until there is one.
    pub(crate) fn kill(&self, what: &str) {
        let mut pid = 0;
        eventually(&format!("a process {what}"), || {
            pid = self.processes(what).first().copied().unwrap_or_default();
            pid != 0
        });
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Output {
        // The pipes are read to their end elsewhere, or a talkative process would wait for us for ever.
        let mut pipes = (self.child.stdout.take().unwrap(), self.child.stderr.take().unwrap());
        let read = |from: &mut dyn std::io::Read| {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).map(|_| bytes).unwrap_or_default()
        };
        let (stdout, stderr) = std::thread::scope(|scope| {
            let stdout = scope.spawn(|| read(&mut pipes.0));
            let stderr = read(&mut pipes.1);
            (stdout.join().unwrap(), stderr)
        });
        let status = self.child.wait().unwrap();
        Output { status, stdout, stderr }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// Every process that was started for a state folder: it stands in its arguments or its environment.
pub(crate) fn processes_of(state: &Path) -> Vec<(i32, String)> {
    let state = state.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let Some(pid) = path.file_name().and_then(|n| n.to_str()?.parse().ok()) else { continue };
        let text = |file| fs::read(path.join(file)).unwrap_or_default();
        let line = String::from_utf8_lossy(&text("cmdline")).replace('\0', " ");
        let about = [&text("cmdline")[..], &text("environ")[..]].concat();
        let ours = about.windows(state.len()).any(|w| w == state.as_bytes());
        // Whoever started the story has the folder in its arguments too.
        if ours && pid != std::process::id().cast_signed() && !line.is_empty() {
            found.push((pid, line));
        }
    }
    found
}

/// Looks until it is so. Without this bound a story that fails would hang.
#[expect(clippy::disallowed_methods, reason = "real processes: looked at, not slept for")]
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The port that a site chose for one of its processes.
pub(crate) fn port(state: &Path, of: &str) -> u16 {
    let ports: serde_json::Value =
        serde_json::from_slice(&fs::read(state.join("ports.json")).unwrap()).unwrap();
    ports[of].as_u64().and_then(|port| port.try_into().ok()).unwrap()
}

/// The frames of `results.json`, of all cameras.
pub(crate) fn frames(out: &Path) -> Vec<Frame> {
    let text = fs::read_to_string(out.join("results.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The frames of one camera, by place.
pub(crate) fn results(out: &Path) -> BTreeMap<(u64, u64), Frame> {
    let frames = frames(out);
    let count = frames.len();
    let by_place: BTreeMap<_, _> = frames.into_iter().map(|frame| (frame.place(), frame)).collect();
    assert_eq!(by_place.len(), count, "a frame stands twice in results.json");
    by_place
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Asserts success and shows what it said otherwise.
pub(crate) fn succeeded(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}
