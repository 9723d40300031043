//! Owns invocations that wait: a bounded queue, the two retries of an event, and the answer that somebody waits for.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::Bytes;
use base::{Shutdown, counters::Counters};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::count;

/// Tries of an event: the first and two more, as AWS does.
const TRIES_MAX: u32 = 3;

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The function's answer.
    Answer(Bytes),
    /// It failed, timed out or crashed; JSON with `errorType` and `errorMessage`.
    Failed(Bytes),
}

impl Outcome {
    /// A failure in the words of AWS.
    pub(super) fn failed(kind: &str, message: &str) -> Self {
        let json = serde_json::json!({ "errorType": kind, "errorMessage": message });
        Self::Failed(Bytes::from(json.to_string()))
    }
}

/// An invocation. Exactly one of the queue, a runtime or a retry holds it.
pub(super) struct Job {
    /// The same in every try.
    pub(super) id: String,
    /// The event.
    pub(super) payload: Bytes,
    tries: u32,
    /// Who waits for the answer; nobody waits for that of an event.
    answer: Option<oneshot::Sender<Outcome>>,
    _place: OwnedSemaphorePermit,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job({}, {} bytes, try {})", self.id, self.payload.len(), self.tries)
    }
}

/// The queue has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// All invocations that wait, run, or will be tried again.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Job>>,
    /// As many permits as jobs wait.
    ready: Semaphore,
    /// Places for jobs that wait, run or will be tried again.
    room: Arc<Semaphore>,
    places: u32,
    retry_after: Duration,
    counters: Arc<Counters>,
    shutdown: Shutdown,
}

impl Queue {
    pub(super) fn new(
        places: usize,
        retry_after: Duration,
        counters: Arc<Counters>,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            ready: Semaphore::new(0),
            room: Arc::new(Semaphore::new(places)),
            places: u32::try_from(places).unwrap_or(u32::MAX),
            retry_after,
            counters,
            shutdown,
        })
    }

    /// Queues an event, whose answer nobody waits for.
    pub(super) fn event(&self, id: String, payload: Bytes) -> Result<(), Full> {
        let place = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Full)?;
        self.push(Job { id, payload, tries: 1, answer: None, _place: place });
        Ok(())
    }

    /// Queues a request and gives what its answer comes by.
    pub(super) fn request(
        &self,
        id: String,
        payload: Bytes,
    ) -> Result<oneshot::Receiver<Outcome>, Full> {
        let place = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Full)?;
        let (sender, receiver) = oneshot::channel();
        self.push(Job { id, payload, tries: 1, answer: Some(sender), _place: place });
        Ok(receiver)
    }

    /// The oldest job that waits. Nothing is lost when this is dropped before it is done.
    pub(super) async fn next(&self) -> Option<Job> {
        let permit = self.ready.acquire().await.ok()?;
        permit.forget();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// The oldest job that waits, if any does.
    pub(super) fn try_next(&self) -> Option<Job> {
        self.ready.try_acquire().ok()?.forget();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Puts back a job that no runtime took.
    pub(super) fn put_back(&self, job: Job) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_front(job);
        self.ready.add_permits(1);
    }

    fn push(&self, job: Job) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
        self.ready.add_permits(1);
    }

    /// Ends a try: tells whoever waits, or tries an event that failed again, or drops it and counts it.
    pub(super) fn end(self: &Arc<Self>, mut job: Job, outcome: Outcome) {
        let failed = matches!(outcome, Outcome::Failed(_));
        self.counters.add(if failed { count::FAILED } else { count::ANSWERED }, 1);
        match job.answer.take() {
            Some(waiting) => {
                if waiting.send(outcome).is_err() {
                    tracing::debug!(id = job.id, "nobody waits for this answer any more");
                }
            }
            None => match outcome {
                Outcome::Answer(_) => {}
                Outcome::Failed(why) => self.try_again(job, &why),
            },
        }
    }

    fn try_again(self: &Arc<Self>, mut job: Job, why: &Bytes) {
        let why = String::from_utf8_lossy(why).into_owned();
        if job.tries >= TRIES_MAX {
            self.counters.add(count::DROPPED, 1);
            tracing::error!(id = job.id, why, "an event failed three times and is dropped");
            return;
        }
        tracing::warn!(id = job.id, tries = job.tries, why, "an event failed, will be tried again");
        let wait = self.retry_after * job.tries;
        job.tries += 1;
        let queue = Arc::clone(self);
        self.shutdown.spawn(async move {
            if queue.shutdown.sleep(wait).await {
                queue.counters.add(count::RETRIED, 1);
                queue.push(job);
            } else {
                queue.counters.add(count::DROPPED, 1);
                tracing::warn!(id = job.id, "an event is dropped at the end of the host");
            }
        });
    }

    /// Resolves when no job waits, runs or will be tried again.
    pub(super) async fn idle(&self) {
        // All places at once; an error would mean that they are closed, which nobody does.
        drop(self.room.acquire_many(self.places).await);
    }

    /// Drops what waits and counts it. For the end of the host.
    pub(super) fn drop_waiting(&self) {
        while let Some(job) = self.try_next() {
            self.counters.add(count::DROPPED, 1);
            tracing::warn!(id = job.id, "an invocation is dropped at the end of the host");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(places: usize) -> (Arc<Queue>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let queue = Queue::new(places, Duration::ZERO, Arc::clone(&counters), Shutdown::default());
        (queue, counters)
    }

    fn counted(counters: &Counters, name: &str) -> u64 {
        counters.snapshot().get(name).copied().unwrap_or_default()
    }

    #[tokio::test]
    async fn an_event_that_fails_is_tried_twice_more_under_the_same_id_then_dropped_and_counted() {
        let (queue, counters) = queue(1);
        queue.event("a".to_owned(), Bytes::from_static(b"{}")).unwrap();
        for _ in 0..3 {
            let job = queue.next().await.unwrap();
            assert_eq!(job.id, "a");
            assert_eq!(queue.event("b".to_owned(), Bytes::new()), Err(Full), "over its bound");
            queue.end(job, Outcome::failed("Test", "as planned"));
        }
        queue.idle().await;
        assert!(queue.try_next().is_none());
        assert_eq!(counted(&counters, count::DROPPED), 1);
        assert_eq!(counted(&counters, count::RETRIED), 2);
        assert!(queue.event("b".to_owned(), Bytes::new()).is_ok(), "its place is free again");
    }

    #[tokio::test]
    async fn a_request_that_fails_is_answered_and_not_tried_again() {
        let (queue, counters) = queue(1);
        let answer = queue.request("a".to_owned(), Bytes::new()).unwrap();
        let job = queue.next().await.unwrap();
        let failed = Outcome::failed("Test", "as planned");
        queue.end(job, failed.clone());
        assert_eq!(answer.await.unwrap(), failed);
        queue.idle().await;
        assert!(queue.try_next().is_none());
        assert_eq!(counted(&counters, count::FAILED), 1);
    }

    #[tokio::test]
    async fn a_waiting_runtime_that_goes_away_takes_no_job_with_it() {
        let (queue, _) = queue(2);
        let waiting = queue.next();
        drop(waiting);
        queue.event("a".to_owned(), Bytes::new()).unwrap();
        let job = queue.next().await.unwrap();
        queue.event("b".to_owned(), Bytes::new()).unwrap();
        queue.put_back(job);
        assert_eq!(queue.next().await.unwrap().id, "a", "first again");
        assert_eq!(queue.try_next().unwrap().id, "b");
    }
}
