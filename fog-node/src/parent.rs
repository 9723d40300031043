//! Owns the parent's handle on one worker: a clip goes in, its output comes back before a deadline or the worker is
//! killed. A crash in a native decoder costs one attempt of one clip.

use std::{
    io::{BufReader, BufWriter, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    time::Duration,
};

use proto::{
    limits::{ENVELOPE_BYTES_MAX, SLOTS_MAX},
    wire::{Offer, WorkerMessage},
};

use crate::{
    framing::{self, FramingError},
    pipeline::ClipOutput,
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
        /// What the pipe said.
        reason: String,
    },
    /// The deadline passed; the process was killed.
    #[error("worker did not answer within {0:?} and was killed")]
    Deadline(Duration),
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    jobs: SyncSender<(Offer, Vec<u8>)>,
    answers: Receiver<Result<Option<ClipOutput>, FramingError>>,
}

impl Worker {
    /// Starts a worker and waits until its models are loaded.
    ///
    /// # Errors
    /// When it cannot be started, crashes, or is not ready before the deadline.
    pub fn start(mut command: Command, deadline: Duration) -> Result<Self, WorkerError> {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(WorkerError::Start)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let missing = || WorkerError::Start(std::io::Error::other("no pipes"));
        let (stdin, stdout) = pipes.ok_or_else(missing)?;
        // One clip at a time: a second one waits in the receiver of the node, not in a worker.
        let (jobs, todo) = sync_channel(1);
        let (done, answers) = sync_channel(1);
        let thread = std::thread::Builder::new().name("worker-pipe".into());
        thread.spawn(move || serve(stdin, stdout, &todo, &done)).map_err(WorkerError::Start)?;
        let mut worker = Self { child, jobs, answers };
        worker.wait(deadline).map(|_| worker)
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processes one clip whose bytes are verified. After an error the worker is gone and a new one must be started.
    ///
    /// # Errors
    /// When the worker crashes, speaks nonsense or misses the deadline.
    pub fn process(
        mut self,
        offer: Offer,
        bytes: Vec<u8>,
        deadline: Duration,
    ) -> Result<(Self, ClipOutput), WorkerError> {
        // A closed channel means that the pipe's thread ended; waiting then tells why.
        self.jobs.send((offer, bytes)).ok();
        match self.wait(deadline)? {
            Some(output) => Ok((self, output)),
            None => Err(self.crashed("it answered without a record".to_owned())),
        }
    }

    fn wait(&mut self, deadline: Duration) -> Result<Option<ClipOutput>, WorkerError> {
        match self.answers.recv_timeout(deadline) {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(self.crashed(error.to_string())),
            Err(RecvTimeoutError::Disconnected) => Err(self.crashed("its pipe closed".to_owned())),
            Err(RecvTimeoutError::Timeout) => {
                self.end();
                Err(WorkerError::Deadline(deadline))
            }
        }
    }

    fn crashed(&mut self, reason: String) -> WorkerError {
        let status = self.end();
        WorkerError::Crashed { status, reason }
    }

    /// Kills the process if it still runs and says how it ended.
    fn end(&mut self) -> String {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // It may end by itself in this moment; then there is nothing to kill.
            self.child.kill().ok();
        }
        self.child.wait().map_or_else(|e| e.to_string(), |status| status.to_string())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Carries clips and answers over the pipes; ends when either side does.
fn serve(
    stdin: ChildStdin,
    stdout: ChildStdout,
    todo: &Receiver<(Offer, Vec<u8>)>,
    done: &SyncSender<Result<Option<ClipOutput>, FramingError>>,
) {
    let (mut stdin, mut stdout) = (BufWriter::new(stdin), BufReader::new(stdout));
    let ready = match framing::read(&mut stdout) {
        Ok(Some(WorkerMessage::Ready)) => Ok(None),
        Ok(_) => Err(FramingError::Pipe(std::io::Error::other("it ended before it was ready"))),
        Err(error) => Err(error),
    };
    let mut go_on = ready.is_ok() & done.send(ready).is_ok();
    while let (true, Ok((offer, bytes))) = (go_on, todo.recv()) {
        let answer = exchange(&mut stdin, &mut stdout, offer, &bytes);
        go_on = answer.is_ok() & done.send(answer.map(Some)).is_ok();
    }
}

fn exchange(
    stdin: &mut impl Write,
    stdout: &mut BufReader<ChildStdout>,
    offer: Offer,
    bytes: &[u8],
) -> Result<ClipOutput, FramingError> {
    framing::write(stdin, &WorkerMessage::Clip(Box::new(offer)))?;
    stdin.write_all(bytes)?;
    stdin.flush()?;
    let mut envelopes = Vec::new();
    loop {
        match framing::read(stdout)? {
            Some(WorkerMessage::Frame { length }) if envelopes.len() < SLOTS_MAX => {
                let max = ENVELOPE_BYTES_MAX as u64;
                envelopes.push(framing::read_bytes(stdout, u64::from(length), max)?);
            }
            Some(WorkerMessage::Record(record)) => {
                return Ok(ClipOutput { envelopes, record: *record });
            }
            _ => return Err(FramingError::Pipe(std::io::Error::other("not what was expected"))),
        }
    }
}
