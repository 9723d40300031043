//! Owns one runtime's side of the Lambda Runtime API, version 2018-06-01: the next invocation, its answer or error, and
//! the error of a start. Each process has an address of its own, so that who asks is known by where it asks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base::Clock;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::queue::{Job, Outcome, Queue};

/// Largest answer, as on AWS.
const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Longest start of a process, as on AWS.
const INIT_MAX: Duration = Duration::from_secs(10);

/// What every process of a function shares.
pub(super) struct Shared {
    pub(super) queue: Arc<Queue>,
    pub(super) clock: Arc<dyn Clock>,
    /// Longest time for one invocation.
    pub(super) timeout: Duration,
    /// Amazon resource name of the function.
    pub(super) arn: String,
    /// Whether any process has asked for work.
    pub(super) ready: watch::Sender<bool>,
}

/// One process, as far as the Runtime API sees it.
pub(super) struct Runtime {
    shared: Arc<Shared>,
    state: Mutex<Progress>,
    deadline: watch::Sender<Option<Instant>>,
    started: Duration,
}

#[derive(Debug, Default)]
struct Progress {
    /// What it works on.
    current: Option<Job>,
    /// Whether it has asked for work.
    is_ready: bool,
    /// Whether it is over: the process has ended or is being killed.
    is_closed: bool,
    /// What it said of its failed start.
    init_error: Option<Bytes>,
    answered: u64,
}

/// What was left of a process that has ended.
#[derive(Debug)]
pub(super) struct Remains {
    /// What it worked on.
    pub(super) job: Option<Job>,
    /// Whether it had asked for work.
    pub(super) was_ready: bool,
    /// What it said of its failed start.
    pub(super) init_error: Option<Bytes>,
    /// How many invocations it answered.
    pub(super) answered: u64,
}

impl Runtime {
    /// For a process that is about to start.
    pub(super) fn new(shared: Arc<Shared>) -> Arc<Self> {
        let started = shared.clock.now();
        let (deadline, _) = watch::channel(Some(Instant::now() + INIT_MAX));
        Arc::new(Self { shared, state: Mutex::default(), deadline, started })
    }

    /// The API that the process speaks to.
    pub(super) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .layer(DefaultBodyLimit::max(ANSWER_BYTES_MAX))
            .with_state(Arc::clone(self))
    }

    /// Resolves when the start or the current invocation takes too long.
    pub(super) async fn overdue(&self) {
        let mut deadlines = self.deadline.subscribe();
        loop {
            let deadline = *deadlines.borrow_and_update();
            let changed = match deadline {
                None => deadlines.changed().await,
                Some(at) => match timeout_at(at, deadlines.changed()).await {
                    Ok(changed) => changed,
                    Err(_) => return,
                },
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Ends the API: a process that still asks gets nothing.
    pub(super) fn close(&self) -> Remains {
        let mut state = self.state();
        state.is_closed = true;
        Remains {
            job: state.current.take(),
            was_ready: state.is_ready,
            init_error: state.init_error.take(),
            answered: state.answered,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process asks for work; false when it has some or is over.
    fn asks(&self) -> bool {
        let mut state = self.state();
        if state.is_closed || state.current.is_some() {
            return false;
        }
        if !state.is_ready {
            state.is_ready = true;
            let init_ms = self.shared.clock.now().saturating_sub(self.started).as_millis();
            tracing::info!(init_ms, "the function is ready");
            self.shared.ready.send_replace(true);
        }
        self.deadline.send_replace(None);
        true
    }

    /// Gives the process a job; back to the queue with it when the process is over meanwhile.
    fn take(&self, job: Job) -> Option<Response> {
        let mut state = self.state();
        if state.is_closed || state.current.is_some() {
            self.shared.queue.put_back(job);
            return None;
        }
        let Shared { clock, timeout, arn, .. } = &*self.shared;
        let deadline_ms = clock.utc_micros() / 1000 + i64::try_from(timeout.as_millis()).ok()?;
        let (id, payload) = (job.id.clone(), job.payload.clone());
        state.current = Some(job);
        self.deadline.send_replace(Some(Instant::now() + *timeout));
        let digits: String = id.chars().filter(char::is_ascii_hexdigit).collect();
        let (epoch, rest) = digits.split_at_checked(8)?;
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("lambda-runtime-aws-request-id", id),
            ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
            ("lambda-runtime-invoked-function-arn", arn.clone()),
            ("lambda-runtime-trace-id", format!("Root=1-{epoch}-{rest};Sampled=0")),
        ];
        Some((headers, payload).into_response())
    }

    /// Ends the current job, when it has this id.
    fn end(&self, id: &str, outcome: Outcome) -> Response {
        let job = {
            let mut state = self.state();
            if state.current.as_ref().is_none_or(|job| job.id != id) {
                return refuse(StatusCode::BAD_REQUEST, "InvalidRequestID");
            }
            state.answered += 1;
            state.current.take()
        };
        self.deadline.send_replace(None);
        if let Some(job) = job {
            self.shared.queue.end(job, outcome);
        }
        (StatusCode::ACCEPTED, Json(json!({ "status": "OK" }))).into_response()
    }
}

fn refuse(status: StatusCode, kind: &str) -> Response {
    (status, Json(json!({ "errorType": kind, "errorMessage": kind }))).into_response()
}

async fn next(State(runtime): State<Arc<Runtime>>) -> Response {
    let over = || refuse(StatusCode::FORBIDDEN, "InvalidStateTransition");
    if !runtime.asks() {
        return over();
    }
    let Some(job) = runtime.shared.queue.next().await else { return over() };
    runtime.take(job).unwrap_or_else(over)
}

async fn response(
    State(runtime): State<Arc<Runtime>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    runtime.end(&id, Outcome::Answer(body))
}

async fn error(
    State(runtime): State<Arc<Runtime>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    runtime.end(&id, Outcome::Failed(body))
}

async fn init_error(State(runtime): State<Arc<Runtime>>, body: Bytes) -> Response {
    tracing::error!(why = %String::from_utf8_lossy(&body), "the function does not start");
    runtime.state().init_error = Some(body);
    (StatusCode::ACCEPTED, Json(json!({ "status": "OK" }))).into_response()
}
