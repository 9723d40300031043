//! Owns one life of one child: started in a process group of its own with a pipe on its standard input, waited for
//! until it is ready, and, when asked, stopped: first in order, then by force with everything in its group.

use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use base::Shutdown;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    State,
    leftovers::{Traces, kill_group},
    logs,
};

/// How often a server without a `ready` line is looked at.
const TICK: Duration = Duration::from_millis(10);

/// How a child says that it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// By a line `ready {json}` on its standard output.
    Line,
    /// By taking connections here.
    Accepts(SocketAddr),
}

/// How a child is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// By the end of its standard input, as all of our services are.
    EndOfInput,
    /// By SIGTERM: a program that does not read its standard input. Its supervisor's end must reach it otherwise, see
    /// [`super::bound`].
    Terminate,
}

/// How long a child may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From its start to its being ready; then it is killed, which counts as a crash.
    pub ready: Duration,
    /// From the request to stop to its end; then it is killed with everything that it started.
    pub grace: Duration,
}

impl Limits {
    /// For our services: networks are loaded in a second, on a busy machine in ten; a fog node drains for 23 s at most.
    pub const SERVICE: Self =
        Self { ready: Duration::from_secs(60), grace: Duration::from_secs(26) };
}

/// A program to be run.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name in messages, and its log's.
    pub name: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What is added to the environment.
    pub environment: Vec<(&'static str, OsString)>,
    /// Its working folder.
    pub folder: PathBuf,
    /// How it says that it serves.
    pub ready: Ready,
    /// How it is asked to end.
    pub stop: Stop,
    /// Those that must be ready before it is started.
    pub after: &'static [&'static str],
    /// Whether it ends by itself: then the exit codes 0 and 1 are its answer and no crash.
    pub ends: bool,
    /// How long it may take.
    pub limits: Limits,
}

/// How a life ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// As it was asked to.
    Asked,
    /// By itself.
    ByItself(ExitStatus),
    /// It was killed, since it did not say that it serves.
    NeverReady,
    /// It could not be started.
    NotStarted(io::Error),
}

/// Where children leave their traces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traced<'a> {
    pub(super) logs: &'a Path,
    pub(super) traces: &'a Traces,
}

/// Lives once.
pub(super) async fn live(
    program: &Program,
    traced: Traced<'_>,
    say: &(dyn Fn(State) + Sync),
    stop: &Shutdown,
) -> Ended {
    say(State::Starting);
    let mut child = match spawn(program, traced.logs) {
        Ok(child) => child,
        Err(error) => return Ended::NotStarted(error),
    };
    // Without a number it has ended already.
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        traced.traces.started(program.name, pid);
    }
    // Held here: waiting for a child closes the standard input that it holds itself.
    let input = child.stdin.take();
    let lines = child.stdout.take().map(|out| BufReader::new(out).lines());
    let ended = watch_over(program, &mut child, lines, say, stop).await;
    if !matches!(ended, Ended::ByItself(_)) {
        end(program, &mut child, input, pid, matches!(ended, Ended::Asked)).await;
    }
    // Whatever it had started goes with it.
    if let Some(pid) = pid {
        kill_group(pid);
    }
    traced.traces.ended(program.name);
    ended
}

fn spawn(program: &Program, logs: &Path) -> io::Result<Child> {
    let log = logs::open(logs, program.name)?;
    let mut command = Command::new(&program.path);
    command.args(&program.arguments).current_dir(&program.folder).process_group(0);
    for (name, _) in std::env::vars_os() {
        if is_ours_to_set(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command.envs(program.environment.iter().map(|(name, value)| (name, value)));
    command.env("CELOSIA_PARENT_PIPE", "stdin").stdin(Stdio::piped());
    match program.ready {
        Ready::Line => command.stdout(Stdio::piped()),
        Ready::Accepts(_) => command.stdout(log.try_clone()?),
    };
    command.stderr(log).spawn()
}

/// Somebody's own keys and settings must not get into the site's processes.
fn is_ours_to_set(name: &str) -> bool {
    name.starts_with("AWS_") || (name.starts_with("CELOSIA_") && !name.starts_with("CELOSIA_LOG"))
}

/// Until it ends, is asked to, or is not ready in time.
async fn watch_over(
    program: &Program,
    child: &mut Child,
    mut lines: Option<Lines<BufReader<ChildStdout>>>,
    say: &(dyn Fn(State) + Sync),
    stop: &Shutdown,
) -> Ended {
    let mut is_ready = false;
    let deadline = stop.sleep(program.limits.ready);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            biased;
            () = stop.requested() => return Ended::Asked,
            line = next_line(&mut lines) => match line {
                Some(line) if !is_ready => {
                    let json = line.strip_prefix("ready ");
                    if let Some(Ok(what)) = json.map(serde_json::from_str) {
                        is_ready = true;
                        say(State::Ready(what));
                    }
                }
                Some(_) => {}
                None => lines = None,
            },
            () = accepts(program.ready, stop), if !is_ready => {
                is_ready = true;
                say(State::Ready(serde_json::Value::Null));
            }
            status = child.wait() => return match status {
                Ok(status) => Ended::ByItself(status),
                Err(error) => Ended::NotStarted(error),
            },
            _ = &mut deadline, if !is_ready => return Ended::NeverReady,
        }
    }
}

/// The next line; never, when there are no more.
async fn next_line(lines: &mut Option<Lines<BufReader<ChildStdout>>>) -> Option<String> {
    match lines {
        Some(lines) => lines.next_line().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// Resolves when the server takes a connection; never for those that say it themselves.
async fn accepts(ready: Ready, stop: &Shutdown) {
    let Ready::Accepts(address) = ready else { return std::future::pending().await };
    while TcpStream::connect(address).await.is_err() {
        if !stop.sleep(TICK).await {
            return std::future::pending().await;
        }
    }
}

async fn end(
    program: &Program,
    child: &mut Child,
    input: Option<ChildStdin>,
    pid: Option<i32>,
    in_order: bool,
) {
    if in_order {
        match program.stop {
            Stop::EndOfInput => drop(input),
            Stop::Terminate => {
                let told = pid.and_then(Pid::from_raw).map(|pid| kill_process(pid, Signal::TERM));
                if let Some(Err(error)) = told {
                    tracing::debug!(name = program.name, %error, "is gone already");
                }
            }
        }
        let grace = program.limits.grace;
        if tokio::time::timeout(grace, child.wait()).await.is_ok() {
            return;
        }
        tracing::error!(name = program.name, ?grace, "did not stop in time, killed");
    }
    if let Some(pid) = pid {
        kill_group(pid);
    }
    if let Err(error) = child.wait().await {
        tracing::warn!(name = program.name, %error, "its end was not seen");
    }
}
