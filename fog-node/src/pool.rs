//! Owns the workers of a fog node: one thread and one child process each, and the bounded queue in front of them.
//!
//! A worker that crashes or is killed at the deadline costs the clip in its hands one attempt, and is started again
//! with a pause that grows while nothing works. A clip needs a [`Seat`] before its bytes are taken, so that the queue
//! never overflows and a fog node never holds more clips than it says.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use base::counters::Counters;
use proto::wire::Offer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use zeroize::Zeroizing;

use crate::{
    node::count,
    parent::{Killer, Worker, WorkerError},
    pipeline::{ClipOutput, Known},
};

/// Clips of one worker: one in its hands, one that waits, of another camera or for the one before it, one that is committed.
const SEATS_PER_WORKER: usize = 3;
/// Longest time until the models are loaded: a second, on a machine that does nothing else.
const START_MAX: Duration = Duration::from_secs(60);
/// First and longest pauses before a worker is started again: a bad clip crashes once, a missing file for long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why a clip has no output.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The worker crashed or missed the deadline with it: an attempt of the clip.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// No worker had it: not the clip's doing.
    #[error("no worker runs")]
    NoWorker,
}

/// A clip's place in the fog node, from the offer to the answer.
#[derive(Debug)]
#[must_use]
pub struct Seat(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

struct Job {
    offer: Offer,
    known: Known,
    bytes: Zeroizing<Vec<u8>>,
    done: oneshot::Sender<Result<ClipOutput, PoolError>>,
}

/// The workers.
pub struct Pool {
    shared: Arc<Shared>,
    jobs: Mutex<Option<SyncSender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    seats: Arc<Semaphore>,
    seats_max: usize,
}

struct Shared {
    command: Box<dyn Fn() -> Command + Send + Sync>,
    deadline: Duration,
    counters: Arc<Counters>,
    todo: Mutex<Receiver<Job>>,
    /// One for each worker that runs.
    killers: Mutex<BTreeMap<usize, Killer>>,
    stopping: Mutex<bool>,
    stop: Condvar,
}

impl Pool {
    /// Starts `workers` processes and waits until all are ready. Blocks.
    ///
    /// # Errors
    /// When one of them does not start: then none runs.
    pub fn start(
        workers: usize,
        deadline: Duration,
        counters: Arc<Counters>,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Result<Self, WorkerError> {
        let seats_max = workers.saturating_mul(SEATS_PER_WORKER);
        let (jobs, todo) = sync_channel(seats_max);
        let shared = Arc::new(Shared {
            command: Box::new(command),
            deadline,
            counters,
            todo: Mutex::new(todo),
            killers: Mutex::default(),
            stopping: Mutex::new(false),
            stop: Condvar::new(),
        });
        let pool = Self {
            shared: Arc::clone(&shared),
            jobs: Mutex::new(Some(jobs)),
            threads: Mutex::default(),
            seats: Arc::new(Semaphore::new(seats_max)),
            seats_max,
        };
        let (told, first) = sync_channel(workers);
        for index in 0..workers {
            let hand = Hand { shared: Arc::clone(&shared), index, failures: 0 };
            let told = told.clone();
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            let thread = thread.spawn(move || hand.run(&told)).map_err(WorkerError::Start)?;
            lock(&pool.threads).push(thread);
        }
        // On an error the pool is dropped, which ends those that did start.
        first.iter().take(workers).collect::<Result<(), _>>().map(|()| pool)
    }

    /// A place for one more clip, when there is a worker that will come to it.
    pub fn seat(&self) -> Option<Seat> {
        let seat = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        (!lock(&self.shared.killers).is_empty()).then_some(Seat(seat))
    }

    /// Whether [`Self::seat`] would give one now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.seats.available_permits() > 0 && !lock(&self.shared.killers).is_empty()
    }

    /// The process ids of the workers that run.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        lock(&self.shared.killers).values().map(Killer::id).collect()
    }

    /// Has a clip processed by the next free worker, by what is known of its camera. Dropped, the clip is processed all the same.
    ///
    /// # Errors
    /// When the worker is lost with it, or there is none.
    pub async fn process(
        &self,
        _seat: &Seat,
        offer: Offer,
        known: Known,
        bytes: Zeroizing<Vec<u8>>,
    ) -> Result<ClipOutput, PoolError> {
        let (done, answer) = oneshot::channel();
        let job = Job { offer, known, bytes, done };
        // A job has a seat and there is room for as many: a refusal means that the pool has stopped.
        let queued = lock(&self.jobs).as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok());
        if !queued {
            return Err(PoolError::NoWorker);
        }
        answer.await.unwrap_or(Err(PoolError::NoWorker))
    }

    /// Resolves when no clip is in hand. From then on there is no seat.
    pub async fn emptied(&self) {
        let all = u32::try_from(self.seats_max).unwrap_or(u32::MAX);
        // The permits are never given back, and the semaphore is never closed.
        if let Ok(all) = self.seats.acquire_many(all).await {
            all.forget();
        }
    }

    /// Ends all workers, also in the middle of a clip, and waits for their threads. Blocks for a moment.
    pub fn stop(&self) {
        *lock(&self.shared.stopping) = true;
        self.shared.stop.notify_all();
        drop(lock(&self.jobs).take());
        lock(&self.shared.killers).values().for_each(Killer::kill);
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("the thread of a worker panicked");
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} of {} seats free)", self.seats.available_permits(), self.seats_max)
    }
}

impl Shared {
    /// Waits; true when the pool stops before or meanwhile.
    fn stopping_within(&self, wait: Duration) -> bool {
        let stopping = lock(&self.stopping);
        let waited = self.stop.wait_timeout_while(stopping, wait, |stopping| !*stopping);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn is_stopping(&self) -> bool {
        *lock(&self.stopping)
    }
}

/// One thread with its worker.
struct Hand {
    shared: Arc<Shared>,
    index: usize,
    /// In a row.
    failures: u32,
}

impl Hand {
    fn run(mut self, told: &SyncSender<Result<(), WorkerError>>) {
        let mut worker = match self.open() {
            Ok(worker) => Some(worker),
            Err(error) => {
                // The start waits for all of them, unless it has failed already.
                told.send(Err(error)).ok();
                return;
            }
        };
        told.send(Ok(())).ok();
        while let Some(live) = worker.take().or_else(|| self.reopen()) {
            let job = lock(&self.shared.todo).recv();
            worker = match job {
                Ok(job) if !self.shared.is_stopping() => self.work(live, job),
                // Stopped: a job that still waits is dropped, which tells that no worker had it.
                Ok(_) => Some(live),
                Err(_) => break,
            };
        }
        lock(&self.shared.killers).remove(&self.index);
    }

    /// Starts a worker and waits until it is ready.
    fn open(&self) -> Result<Worker, WorkerError> {
        let mut worker = Worker::spawn((self.shared.command)())?;
        lock(&self.shared.killers).insert(self.index, worker.killer());
        if self.shared.is_stopping() {
            // The stop may have come between the start and its place among the killers.
            worker.killer().kill();
        }
        match worker.ready(START_MAX) {
            Ok(()) => {
                self.shared.counters.add(count::WORKERS_STARTED, 1);
                tracing::info!(worker = self.index, pid = worker.id(), "a worker is ready");
                Ok(worker)
            }
            Err(error) => {
                lock(&self.shared.killers).remove(&self.index);
                Err(error)
            }
        }
    }

    /// Starts it again, for as long as it takes; nothing when the pool stops.
    fn reopen(&mut self) -> Option<Worker> {
        loop {
            let doublings = self.failures.saturating_sub(1).min(10);
            let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
            if self.shared.stopping_within(pause) {
                return None;
            }
            match self.open() {
                Ok(worker) => return Some(worker),
                Err(error) => self.not_started(&error),
            }
        }
    }

    fn not_started(&mut self, error: &WorkerError) {
        if self.shared.is_stopping() {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.shared.counters.add(count::WORKERS_NOT_STARTED, 1);
        tracing::error!(worker = self.index, %error, "a worker does not start, will try again");
    }

    /// Gives the job to the worker, which is gone when nothing comes back.
    fn work(&mut self, worker: Worker, job: Job) -> Option<Worker> {
        let worker = if worker.is_alive() {
            worker
        } else {
            // It died while it had nothing to do, which is not this clip's doing.
            self.shared.counters.add(count::WORKER_CRASHES, 1);
            tracing::error!(worker = self.index, "a worker died idle, starting it again");
            drop(worker);
            match self.open() {
                Ok(worker) => worker,
                Err(error) => {
                    self.not_started(&error);
                    job.done.send(Err(PoolError::NoWorker)).ok();
                    return None;
                }
            }
        };
        let (clip, attempt) = (job.offer.clip.clone(), job.offer.attempt);
        let Job { offer, known, bytes, .. } = job;
        match worker.process(offer, known, bytes, self.shared.deadline) {
            Ok((worker, output)) => {
                self.failures = 0;
                // Nobody waits for it any more when its channel broke; the edge will offer it again.
                job.done.send(Ok(output)).ok();
                Some(worker)
            }
            Err(error) => {
                lock(&self.shared.killers).remove(&self.index);
                let stopping = self.shared.is_stopping();
                if !stopping {
                    self.failures = self.failures.saturating_add(1);
                    self.shared.counters.add(counter(&error), 1);
                    tracing::error!(%clip, attempt, %error, "a worker was lost with this clip");
                }
                // A worker that we ended ourselves is no attempt of its clip.
                let error = if stopping { PoolError::NoWorker } else { error.into() };
                job.done.send(Err(error)).ok();
                None
            }
        }
    }
}

const fn counter(error: &WorkerError) -> &'static str {
    match error {
        WorkerError::Start(_) | WorkerError::Crashed { .. } => count::WORKER_CRASHES,
        WorkerError::Deadline(_) => count::WORKER_DEADLINES,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
