//! Owns the processes of a site on one machine: starts them in the order of their needs, starts those that crash again,
//! gives up loudly, and stops them in a written order with nothing left behind.
//!
//! Each child has its own process group and a pipe on its standard input whose end means "drain and exit", so children
//! end also when this process is killed. Logs are the children's own files. A child that crashes five times in a minute
//! is given up; whoever runs the supervisor learns of it and stops the rest.

pub mod bound;
mod child;
mod crashes;
mod leftovers;
mod logs;
mod memory;
mod usage;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::{Clock, Fault, Faulty, Shutdown, files::FolderLock};
use tokio::sync::watch;

use self::{
    child::{Ended, Traced, live},
    crashes::{CRASHES_MAX, Crashes, Verdict, WINDOW},
    leftovers::Traces,
};
pub use self::{
    child::{Limits, Program, Ready, Stop},
    memory::Memory,
};

/// Lines of a child's log that a message about its end shows.
const LINES_SHOWN: usize = 5;
/// Longest wait for the task of a child that was asked to stop: its own grace, and the end by force.
const STOP_GRACE: Duration = Duration::from_secs(35);

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another supervisor holds the folder.
    #[error("{0} is in use by another celosia: stop that one, or give another --state")]
    InUse(PathBuf),
    /// The folder cannot be used.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The end was asked for while the processes of an earlier run were waited for.
    #[error("stopped while waiting for the processes of an earlier run")]
    Stopped,
}

/// What a child does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Waits for those that it needs.
    Waiting,
    /// Started and not ready yet.
    Starting,
    /// Serves; what it said about itself.
    Ready(serde_json::Value),
    /// Crashed and is about to be started again.
    Crashed,
    /// Ended by itself with this code, as it should.
    Ended(i32),
    /// Given up, and why.
    GivenUp(String),
    /// Stopped as asked.
    Stopped,
}

/// A child that was given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct Failure {
    /// Which.
    pub name: &'static str,
    /// Why, with the last lines of its log.
    pub reason: String,
}

/// A state folder that nobody else uses, and in which no process of an earlier run is left.
#[derive(Debug)]
pub struct Locked {
    folder: PathBuf,
    _lock: FolderLock,
}

impl Locked {
    /// Locks a state folder (made if need be) and waits for what an earlier run left behind.
    ///
    /// # Errors
    /// When another supervisor has it, or it cannot be used.
    pub async fn new(folder: &Path, shutdown: &Shutdown) -> Result<Self, LockError> {
        let lock = base::files::lock_folder(folder).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => LockError::InUse(folder.to_owned()),
            _ => LockError::File { path: folder.to_owned(), source },
        })?;
        let locked = Self { folder: folder.to_owned(), _lock: lock };
        let cleared = leftovers::clear(&locked.traces(), shutdown).await;
        cleared.then_some(locked).ok_or(LockError::Stopped)
    }

    fn traces(&self) -> PathBuf {
        self.folder.join("run.json")
    }
}

/// The running children.
pub struct Supervisor {
    children: Vec<(&'static str, Shutdown)>,
    states: watch::Receiver<States>,
    context: Arc<Context>,
    logs: Shutdown,
    _locked: Locked,
}

/// What every child does, by name.
type States = BTreeMap<&'static str, State>;

/// What the tasks of all children share.
struct Context {
    logs: PathBuf,
    traces: Traces,
    clock: Arc<dyn Clock>,
    states: watch::Sender<States>,
}

impl Context {
    fn say(&self, name: &'static str, state: State) {
        self.states.send_modify(|states| drop(states.insert(name, state)));
    }
}

impl Supervisor {
    /// Starts the programs; they are stopped in the order of this list. Returns at once.
    ///
    /// # Errors
    /// When the folder of the logs cannot be made.
    pub fn start(
        locked: Locked,
        programs: Vec<Program>,
        logs: PathBuf,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&logs)?;
        let bounded = Shutdown::default();
        let names = programs.iter().map(|program| program.name).collect();
        bounded.spawn(logs::keep_bounded(logs.clone(), names, bounded.clone()));
        let waiting = programs.iter().map(|program| (program.name, State::Waiting)).collect();
        let (sender, states) = watch::channel(waiting);
        let traces = Traces::new(locked.traces());
        let context = Arc::new(Context { logs, traces, clock, states: sender });
        let mut children = Vec::new();
        for program in programs {
            let (name, stop) = (program.name, Shutdown::default());
            let (context, crashes) = (Arc::clone(&context), Mutex::default());
            let life = Arc::new(Life { program, context, crashes, stop: stop.clone() });
            stop.spawn(life.keep(states.clone()));
            children.push((name, stop));
        }
        Ok(Self { children, states, context, logs: bounded, _locked: locked })
    }

    /// What a child does; nothing when there is none of this name.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<State> {
        self.states.borrow().get(name).cloned()
    }

    /// Waits until every child serves or has ended as it should.
    ///
    /// # Errors
    /// When one is given up.
    pub async fn ready(&self) -> Result<(), Failure> {
        let serves = |state: &State| matches!(state, State::Ready(_) | State::Ended(_));
        let found = self.wait(|states| match failure(states) {
            Some(failure) => Some(Err(failure)),
            None => states.values().all(serves).then_some(Ok(())),
        });
        found.await
    }

    /// Processor time so far: of this process, and of all children with what they started.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        usage::of_children(&self.context.traces.pids())
    }

    /// Looks how much memory each kind of process holds at its highest: this one, all children, what they started.
    pub fn look_at_memory(&self, memory: &mut Memory) {
        memory.look(&self.context.traces.pids());
    }

    /// Those that neither serve nor have ended as they should, by name.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        let states = self.states.borrow();
        let late = states.iter().filter(|(_, s)| !matches!(s, State::Ready(_) | State::Ended(_)));
        late.map(|(name, _)| (*name).to_owned()).collect()
    }

    /// Resolves when a child is given up.
    pub async fn failed(&self) -> Failure {
        self.wait(failure).await
    }

    /// Resolves when a child has ended as it should, with its exit code.
    pub async fn ended(&self, name: &str) -> i32 {
        self.wait(|states| match states.get(name) {
            Some(State::Ended(code)) => Some(*code),
            _ => None,
        })
        .await
    }

    async fn wait<T>(&self, look: impl Fn(&States) -> Option<T>) -> T {
        let mut states = self.states.clone();
        loop {
            if let Some(found) = look(&states.borrow_and_update()) {
                return found;
            }
            // The tasks of all children have ended: what is not so now will never be.
            if states.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Stops the children one after the other in the order of the list; each has its grace, then force is used.
    pub async fn stop(self) {
        for (name, stop) in &self.children {
            stop.request();
            if !stop.drain(STOP_GRACE).await {
                tracing::error!(name, "its supervision did not end");
            }
        }
        self.logs.request();
        self.logs.drain(STOP_GRACE).await;
    }
}

fn failure(states: &States) -> Option<Failure> {
    states.iter().find_map(|(name, state)| match state {
        State::GivenUp(reason) => Some(Failure { name, reason: reason.clone() }),
        _ => None,
    })
}

/// A crash, as the way to try again knows it.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
struct Crash {
    fault: Fault,
    reason: String,
}

impl Faulty for Crash {
    fn fault(&self) -> Fault {
        self.fault
    }
}

/// What a child came to.
enum Outcome {
    /// It lived long and crashed: from the beginning.
    Afresh,
    /// This is its last state.
    Over(State),
}

/// One child over all of its lives.
struct Life {
    program: Program,
    context: Arc<Context>,
    crashes: Mutex<Crashes>,
    stop: Shutdown,
}

impl Life {
    /// Keeps the child alive until it is asked to stop, ends as it should, or is given up.
    async fn keep(self: Arc<Self>, mut states: watch::Receiver<States>) {
        let name = self.program.name;
        let needed = |states: &States| {
            let needs = self.program.after.iter().map(|needed| states.get(needed));
            needs.into_iter().all(|state| matches!(state, Some(State::Ready(_))))
        };
        tokio::select! {
            biased;
            () = self.stop.requested() => return self.context.say(name, State::Stopped),
            _ = states.wait_for(needed) => {}
        }
        loop {
            let life = Arc::clone(&self);
            // An owned future: one that borrows cannot be shown to be `Send` here.
            let once = move || Box::pin(Arc::clone(&life).once());
            let last = match base::retry(&self.stop, name, once).await {
                Ok(Outcome::Afresh) => continue,
                Ok(Outcome::Over(state)) => state,
                Err(_) if self.stop.is_requested() => State::Stopped,
                Err(crash) => State::GivenUp(crash.reason),
            };
            if let State::GivenUp(reason) = &last {
                tracing::error!(name, reason, "given up");
            }
            return self.context.say(name, last);
        }
    }

    async fn once(self: Arc<Self>) -> Result<Outcome, Crash> {
        let (program, context) = (&self.program, &self.context);
        let started = context.clock.now();
        let traced = Traced { logs: &context.logs, traces: &context.traces };
        let say = |state| context.say(program.name, state);
        let ended = match live(program, traced, &say, &self.stop).await {
            Ended::Asked => return Ok(Outcome::Over(State::Stopped)),
            Ended::NotStarted(error) => {
                let reason = format!("{} cannot be started: {error}", program.path.display());
                return Err(Crash { fault: Fault::Permanent, reason });
            }
            Ended::NeverReady => "did not say that it serves and was killed".to_owned(),
            Ended::ByItself(status) => match status.code() {
                Some(code @ (0 | 1)) if program.ends => {
                    return Ok(Outcome::Over(State::Ended(code)));
                }
                Some(code) if code == i32::from(base::exit::CONFIG) => {
                    let reason = self.shown("refuses its configuration");
                    return Err(Crash { fault: Fault::Permanent, reason });
                }
                _ => format!("ended with {status}"),
            },
        };
        context.say(program.name, State::Crashed);
        let verdict = {
            let mut crashes = self.crashes.lock().unwrap_or_else(PoisonError::into_inner);
            crashes.crashed(started, context.clock.now())
        };
        match verdict {
            Verdict::Afresh => {
                tracing::warn!(name = program.name, ended, "crashed, will be started again");
                Ok(Outcome::Afresh)
            }
            Verdict::Again => Err(Crash { fault: Fault::Transient, reason: ended }),
            Verdict::GiveUp => {
                let what = format!("{ended}, the {CRASHES_MAX}th time within {WINDOW:?}");
                Err(Crash { fault: Fault::Permanent, reason: self.shown(&what) })
            }
        }
    }

    /// What happened, with the end of the child's log.
    fn shown(&self, what: &str) -> String {
        let (logs, name) = (&self.context.logs, self.program.name);
        let mut text = format!("{what}; {} says last:", logs::path(logs, name).display());
        for line in logs::last_lines(logs, name, LINES_SHOWN) {
            text.push_str("\n  ");
            text.push_str(&line);
        }
        text
    }
}
