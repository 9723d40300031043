//! Owns the parent's handle on one worker: a clip goes in, its output comes back before a deadline or the worker is
//! killed. A crash in a native decoder costs one attempt of one clip.

use std::{
    io::{BufReader, BufWriter, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

use proto::{
    limits::{ENVELOPE_BYTES_MAX, SLOTS_MAX},
    watch::Notes,
    wire::Offer,
};
use zeroize::Zeroizing;

use crate::{
    framing::{self, FramingError, WorkerMessage},
    pipeline::{ClipOutput, Known},
};

/// Why a clip has no output. Each is one attempt of that clip, and the worker is gone.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The process could not be started.
    #[error("worker could not be started: {0}")]
    Start(std::io::Error),
    /// The process ended or broke its pipe: a crash.
    #[error("worker crashed ({status}): {reason}")]
    Crashed {
        /// How it ended.
        status: String,
        /// Its exit code, when it ended by itself.
        code: Option<i32>,
        /// What the pipe said.
        reason: String,
    },
    /// The deadline passed; the process was killed.
    #[error("worker did not answer within {0:?} and was killed")]
    Deadline(Duration),
}

/// A clip on its way into a worker. Its bytes are wiped when the worker has them.
struct Job {
    offer: Offer,
    known: Known,
    bytes: Zeroizing<Vec<u8>>,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    killer: Killer,
    jobs: SyncSender<Job>,
    answers: Receiver<Result<Option<ClipOutput>, FramingError>>,
}

/// Ends a worker from another thread, also in the middle of a clip.
#[derive(Debug, Clone)]
pub struct Killer(Arc<Mutex<Child>>);

impl Killer {
    /// Kills the process if it still runs. Never another one: the process is not reaped while this is asked.
    pub fn kill(&self) {
        // It may end by itself in this moment; then there is nothing to kill.
        self.child().kill().ok();
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the process if it still runs and waits for how it ended.
    fn end(&self) -> std::io::Result<ExitStatus> {
        let mut child = self.child();
        if !matches!(child.try_wait(), Ok(Some(_))) {
            child.kill().ok();
        }
        child.wait()
    }
}

impl Worker {
    /// Starts a worker and waits until its models are loaded.
    ///
    /// # Errors
    /// When it cannot be started, crashes, or is not ready before the deadline.
    pub fn start(command: Command, deadline: Duration) -> Result<Self, WorkerError> {
        let mut worker = Self::spawn(command)?;
        worker.ready(deadline).map(|()| worker)
    }

    /// Starts the process; [`Self::ready`] comes next. Its standard error stays ours, so that what it says is in the
    /// log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(mut command: Command) -> Result<Self, WorkerError> {
        // A process group of its own: a Ctrl-C is for the parent, which lets the worker finish its clip.
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn();
        let mut child = spawned.map_err(WorkerError::Start)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let missing = || WorkerError::Start(std::io::Error::other("no pipes"));
        let (stdin, stdout) = pipes.ok_or_else(missing)?;
        // One clip at a time: a second one waits in the queue of the node, not in a worker.
        let (jobs, todo) = sync_channel(1);
        let (done, answers) = sync_channel(1);
        let thread = std::thread::Builder::new().name("worker-pipe".into());
        let killer = Killer(Arc::new(Mutex::new(child)));
        let worker = Self { killer, jobs, answers };
        thread.spawn(move || serve(stdin, stdout, &todo, &done)).map_err(WorkerError::Start)?;
        Ok(worker)
    }

    /// Waits until its models are loaded.
    ///
    /// # Errors
    /// When it crashes or is not ready before the deadline.
    pub fn ready(&mut self, deadline: Duration) -> Result<(), WorkerError> {
        self.wait(deadline).map(|_| ())
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.killer.id()
    }

    /// Whether the process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self.killer.child().try_wait(), Ok(None))
    }

    /// A handle that ends it from another thread.
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Processes one clip whose bytes are verified, by what is known of its camera. After an error the worker is gone and a new
    /// one must be started.
    ///
    /// # Errors
    /// When the worker crashes, speaks nonsense or misses the deadline.
    pub fn process(
        mut self,
        offer: Offer,
        known: Known,
        bytes: Zeroizing<Vec<u8>>,
        deadline: Duration,
    ) -> Result<(Self, ClipOutput), WorkerError> {
        // A closed channel means that the pipe's thread ended; waiting then tells why.
        self.jobs.send(Job { offer: offer.clone(), known, bytes }).ok();
        let output = self.wait(deadline)?;
        let output = output.ok_or_else(|| self.crashed("it answered without a record"))?;
        match output.fits(&offer) {
            Ok(()) => Ok((self, output)),
            Err(why) => Err(self.crashed(why)),
        }
    }

    fn wait(&mut self, deadline: Duration) -> Result<Option<ClipOutput>, WorkerError> {
        match self.answers.recv_timeout(deadline) {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(self.crashed(&error.to_string())),
            Err(RecvTimeoutError::Disconnected) => Err(self.crashed("its pipe closed")),
            Err(RecvTimeoutError::Timeout) => {
                drop(self.killer.end());
                Err(WorkerError::Deadline(deadline))
            }
        }
    }

    fn crashed(&self, reason: &str) -> WorkerError {
        let ended = self.killer.end();
        let code = ended.as_ref().ok().and_then(ExitStatus::code);
        let status = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
        WorkerError::Crashed { status, code, reason: reason.to_owned() }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.killer.end());
    }
}

/// Carries clips and answers over the pipes; ends when either side does.
fn serve(
    stdin: ChildStdin,
    stdout: ChildStdout,
    todo: &Receiver<Job>,
    done: &SyncSender<Result<Option<ClipOutput>, FramingError>>,
) {
    let (mut stdin, mut stdout) = (BufWriter::new(stdin), BufReader::new(stdout));
    let ready = match framing::read(&mut stdout) {
        Ok(Some(WorkerMessage::Ready)) => Ok(None),
        Ok(_) => Err(FramingError::Pipe(std::io::Error::other("it ended before it was ready"))),
        Err(error) => Err(error),
    };
    let mut go_on = ready.is_ok() & done.send(ready).is_ok();
    while let (true, Ok(job)) = (go_on, todo.recv()) {
        let answer = exchange(&mut stdin, &mut stdout, job);
        go_on = answer.is_ok() & done.send(answer.map(Some)).is_ok();
    }
}

fn exchange(
    stdin: &mut impl Write,
    stdout: &mut BufReader<ChildStdout>,
    job: Job,
) -> Result<ClipOutput, FramingError> {
    let (offer, known) = (Box::new(job.offer), Box::new(job.known));
    framing::write(stdin, &WorkerMessage::Clip { offer, known })?;
    stdin.write_all(&job.bytes)?;
    stdin.flush()?;
    // From here on the worker alone has the clip.
    drop(job.bytes);
    let (mut envelopes, mut notes, mut last) = (Vec::new(), Notes::default(), None);
    loop {
        match framing::read(stdout)? {
            Some(WorkerMessage::Frame { length }) if envelopes.len() < SLOTS_MAX => {
                let max = ENVELOPE_BYTES_MAX as u64;
                envelopes.push(framing::read_bytes(stdout, u64::from(length), max)?);
            }
            Some(WorkerMessage::Notes(said)) => notes = said,
            Some(WorkerMessage::Last(said)) => last = Some(said),
            Some(WorkerMessage::Record(record)) => {
                return Ok(ClipOutput { envelopes, record: *record, notes, last });
            }
            _ => return Err(FramingError::Pipe(std::io::Error::other("not what was expected"))),
        }
    }
}
