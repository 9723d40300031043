//! Owns what becomes of each arrival: a result, written once; nothing, with the reason; or a place among the dead
//! letters, with the reason. Whatever is none of these is an error, which whoever invoked tries again.
//!
//! | what is at the key | outcome |
//! |---|---|
//! | a sealed frame at its own key | its result, create-once: a replay finds it there |
//! | a pack of the sealed frames of a clip | their results as one object, create-once |
//! | nothing any more | `gone` |
//! | bytes that nobody granted sealed, or what belongs at another key | set aside at once: another try reads the same |
//! | what the network fails on | tried again, set aside after [`TRIES_MAX`] tries |
//! | a store that is away or refuses us | an error: never the object's fault |

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::{Clock, Fault, Faulty, counters::Counters};
use models::MaskClassifier;
use proto::{
    Manifest,
    envelope::SealedHead,
    key,
    result::{ClipResult, DeadLetter, FrameResult, Placement, RESULT_SCHEMA, Timings},
};
use serde::Serialize;
use serde_json::{Value, json};
use store::{FrameReader, Put, ResultWriter, StoreError};

use crate::{
    classify::classify,
    event::{Arrival, Event, EventError, Message, Picture},
    measure, picture,
};

/// Tries of one frame that the network fails on: as many as AWS gives an event.
pub const TRIES_MAX: u32 = 3;
/// Longest reason of a dead letter, in characters: one line for a person.
const REASON_CHARS_MAX: usize = 500;
/// Most frames whose failures are remembered by this process.
const FAILURES_KEPT_MAX: usize = 256;

/// Counters of a process of the function: name and meaning. They stand in every answer and in the log at the end.
pub mod count {
    /// Objects whose results were written.
    pub const WRITTEN: &str = "results_written_total";
    /// Objects whose results were there before.
    pub const WERE_THERE: &str = "results_were_there_total";
    /// Objects that were not there any more.
    pub const GONE: &str = "objects_gone_total";
    /// Objects that are none of ours.
    pub const IGNORED: &str = "objects_ignored_total";
    /// What went to the dead letters: objects that nobody granted sealed, that lie at another key than their own or
    /// that the network fails on, and messages that nobody understands.
    pub const SET_ASIDE: &str = "objects_set_aside_total";
    /// Objects and messages that failed and come again.
    pub const FAILED: &str = "tries_failed_total";
}

/// Why an invocation failed: it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The event is not understood.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The store is away, or refuses us.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An annotated picture that was asked for cannot be made. Asking again does not help.
    #[error("{key}: no annotated picture: {why}")]
    Picture {
        /// Key of the frame.
        key: String,
        /// Why.
        why: String,
    },
    /// The network failed on a frame.
    #[error("{key}, try {tries}: {why}")]
    Classify {
        /// Its key.
        key: String,
        /// Which try this was.
        tries: u32,
        /// What happened.
        why: String,
    },
}

/// What became of an arrival.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Its result was written.
    Written {
        /// Frames in the result: more than one for a pack.
        frames: usize,
        /// Faces in it.
        faces: usize,
    },
    /// Its result was there before.
    AlreadyThere,
    /// The object is not there any more.
    Gone,
    /// It is none of ours.
    Ignored {
        /// Why.
        why: String,
    },
    /// It has no result and never will; the reason is among the dead letters.
    SetAside {
        /// Why.
        why: String,
    },
}

impl Outcome {
    /// What is counted of it; what is set aside is counted when it is.
    const fn counter(&self) -> Option<&'static str> {
        match self {
            Self::Written { .. } => Some(count::WRITTEN),
            Self::AlreadyThere => Some(count::WERE_THERE),
            Self::Gone => Some(count::GONE),
            Self::Ignored { .. } => Some(count::IGNORED),
            Self::SetAside { .. } => None,
        }
    }
}

/// What is written for an object.
enum Answer {
    Frame(Box<FrameResult>),
    Clip(ClipResult),
}

impl Answer {
    /// Of the results of an object's frames: in the object's own form.
    fn of(key: &str, mut results: Vec<FrameResult>) -> Option<Self> {
        let model = results.first()?.model.clone();
        if key::pack_results_prefix(key).is_none() {
            return results.pop().map(|result| Self::Frame(Box::new(result)));
        }
        let (schema, pack) = (RESULT_SCHEMA, key.to_owned());
        Some(Self::Clip(ClipResult { schema, pack, model, frames: results }))
    }

    fn written(&self) -> Outcome {
        let results = match self {
            Self::Frame(result) => std::slice::from_ref(result.as_ref()),
            Self::Clip(clip) => clip.frames.as_slice(),
        };
        let faces = results.iter().map(|result| result.faces.len()).sum();
        Outcome::Written { frames: results.len(), faces }
    }
}

/// An arrival with its outcome and times, as the answer tells it.
#[derive(Debug, Clone, Serialize)]
struct Done {
    key: String,
    #[serde(flatten)]
    outcome: Outcome,
    read_us: u128,
    classify_us: u128,
    write_us: u128,
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The function without its runtime: the same on AWS and beside the bridge.
pub struct Handler {
    frames: Arc<dyn FrameReader>,
    results: Arc<dyn ResultWriter>,
    frames_bucket: String,
    model: Mutex<Box<dyn MaskClassifier>>,
    placement: Placement,
    clock: Arc<dyn Clock>,
    init: Option<measure::Init>,
    counters: Counters,
    /// Frames that the network failed on, and how often.
    failures: Mutex<BTreeMap<String, u32>>,
}

impl Handler {
    /// A handler for the frames of one bucket.
    #[must_use]
    pub fn new(
        frames: Arc<dyn FrameReader>,
        results: Arc<dyn ResultWriter>,
        frames_bucket: String,
        model: Box<dyn MaskClassifier>,
        placement: Placement,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (model, failures, counters) =
            (Mutex::new(model), Mutex::default(), Counters::default());
        let init = None;
        Self { frames, results, frames_bucket, model, placement, clock, init, counters, failures }
    }

    /// What this process has done so far.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.counters.snapshot()
    }

    /// The same, telling with each answer how it started.
    #[must_use]
    pub fn with_init(mut self, init: measure::Init) -> Self {
        self.init = Some(init);
        self
    }

    /// Handles an event, all of it, also when a part fails. The answer to S3 tells what became of each object, the one
    /// to SQS which messages are to come again.
    ///
    /// # Errors
    /// The first failure of an event of S3, after everything else in it was done. Messages of SQS fail one by one.
    pub async fn handle(&self, event: &Value) -> Result<Value, HandleError> {
        match Event::read(event)? {
            Event::S3(arrivals) => {
                let done = self.all(&arrivals, 1).await?;
                Ok(json!({
                    "frames": done,
                    "memory_max_kib": measure::memory_max_kib(),
                    "init": self.init,
                    "counters": self.counters(),
                }))
            }
            Event::Annotate(pictures) => {
                let mut done = Vec::new();
                for picture in &pictures {
                    done.push(self.picture(picture).await?);
                }
                Ok(json!({ "annotated": done }))
            }
            Event::Sqs(messages) => {
                let mut failures = Vec::new();
                for message in messages {
                    if let Err(error) = self.message(&message).await {
                        tracing::warn!(id = message.id, %error, "a message is to come again");
                        failures.push(json!({ "itemIdentifier": message.id }));
                    }
                }
                Ok(json!({ "batchItemFailures": failures }))
            }
        }
    }

    async fn picture(&self, picture: &Picture) -> Result<picture::Drawn, HandleError> {
        let (frames, results) = (&*self.frames, &*self.results);
        let classify = |manifest: &Manifest| {
            let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
            classify(manifest, model.as_mut(), self.placement)
        };
        picture::draw(frames, results, picture, classify).await
    }

    async fn message(&self, message: &Message) -> Result<(), HandleError> {
        match &message.arrivals {
            Ok(arrivals) => self.all(arrivals, message.tries).await.map(drop),
            // Another try reads the same text: it would come again until the queue gives up.
            Err(error) if message.tries >= TRIES_MAX => {
                let name = format!("sqs/{}", message.id);
                Ok(self.set_aside(&name, error.to_string()).await.map(drop)?)
            }
            Err(error) => {
                self.counters.add(count::FAILED, 1);
                let why = error.to_string();
                Err(EventError::Record { at: 0, why }.into())
            }
        }
    }

    async fn all(&self, arrivals: &[Arrival], tries: u32) -> Result<Vec<Done>, HandleError> {
        let (mut done, mut failed) = (Vec::new(), None);
        for arrival in arrivals {
            match self.one(arrival, tries.max(arrival.tries)).await {
                Ok(outcome) => done.push(outcome),
                Err(error) => {
                    self.counters.add(count::FAILED, 1);
                    tracing::warn!(key = arrival.key, %error, "a frame has no result yet");
                    failed = failed.or(Some(error));
                }
            }
        }
        failed.map_or(Ok(done), Err)
    }

    async fn one(&self, arrival: &Arrival, tries: u32) -> Result<Done, HandleError> {
        let start = self.clock.now();
        let key = &arrival.key;
        let done = |outcome: Outcome, times: [Duration; 3]| {
            if let Some(name) = outcome.counter() {
                self.counters.add(name, 1);
            }
            let [read_us, classify_us, write_us] = times.map(|time| time.as_micros());
            let told = serde_json::to_string(&outcome).unwrap_or_default();
            tracing::info!(key, outcome = told, read_us, classify_us, write_us, "frame");
            Done { key: key.clone(), outcome, read_us, classify_us, write_us }
        };
        let nothing = Duration::ZERO;
        if let Some(why) = self.not_ours(arrival) {
            return Ok(done(Outcome::Ignored { why }, [nothing; 3]));
        }
        let heads = match self.heads(key).await {
            Ok(heads) => heads,
            Err(error) => {
                let outcome = self.unread(key, error).await?;
                return Ok(done(
                    outcome,
                    [self.clock.now().saturating_sub(start), nothing, nothing],
                ));
            }
        };
        let read = self.clock.now();
        let classified = self.classify(key, &heads, read.saturating_sub(start));
        let classify_end = self.clock.now();
        let outcome = match classified {
            Ok(answer) => self.write(&answer).await?,
            Err(why) => self.failed(key, why, tries).await?,
        };
        let times = [
            read.saturating_sub(start),
            classify_end.saturating_sub(read),
            self.clock.now().saturating_sub(classify_end),
        ];
        Ok(done(outcome, times))
    }

    fn not_ours(&self, arrival: &Arrival) -> Option<String> {
        if arrival.bucket != self.frames_bucket {
            return Some(format!("bucket {:?} is not {:?}", arrival.bucket, self.frames_bucket));
        }
        let ours = arrival.key.starts_with(key::FRAMES);
        (!ours).then(|| format!("its key does not begin with {}", key::FRAMES))
    }

    /// The seals of an object: of a frame, or of all frames of a pack.
    async fn heads(&self, key: &str) -> Result<Vec<SealedHead>, StoreError> {
        if key::pack_results_prefix(key).is_some() {
            return self.frames.pack_heads(key).await;
        }
        self.frames.head(key).await.map(|head| vec![head])
    }

    fn classify(&self, key: &str, heads: &[SealedHead], read: Duration) -> Result<Answer, String> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let mut results = Vec::with_capacity(heads.len());
        for head in heads {
            let start = self.clock.now();
            let result = classify(head.manifest(), model.as_mut(), self.placement);
            let mut result = result.map_err(|error| error.to_string())?;
            let classify = self.clock.now().saturating_sub(start);
            result.timings = Some(Timings { read_us: us(read), classify_us: us(classify) });
            results.push(result);
        }
        Answer::of(key, results).ok_or_else(|| "no frame is in it".to_owned())
    }

    async fn write(&self, answer: &Answer) -> Result<Outcome, StoreError> {
        let put = match answer {
            Answer::Frame(result) => self.results.put_result(result).await?,
            Answer::Clip(result) => self.results.put_clip_result(result).await?,
        };
        Ok(match put {
            Put::Created => answer.written(),
            Put::AlreadyThere => Outcome::AlreadyThere,
        })
    }

    /// What a frame that was not read comes to.
    async fn unread(&self, key: &str, error: StoreError) -> Result<Outcome, HandleError> {
        match error {
            StoreError::Missing { .. } => Ok(Outcome::Gone),
            StoreError::NoKey { .. } => Ok(self.set_aside(key, error.to_string()).await?),
            error => match error.fault() {
                Fault::Corrupt | Fault::Permanent => {
                    Ok(self.set_aside(key, error.to_string()).await?)
                }
                Fault::Transient | Fault::Misuse => Err(error.into()),
            },
        }
    }

    /// What a frame that the network failed on comes to: the number of tries is what queue or bridge say, or what this
    /// process has seen, whichever is more. On AWS the next try may meet another process, which has seen none: there the
    /// bridge's questions for what is overdue bring it to its end.
    async fn failed(&self, key: &str, why: String, tries: u32) -> Result<Outcome, HandleError> {
        let tries = tries.max(self.count_failure(key));
        if tries < TRIES_MAX {
            return Err(HandleError::Classify { key: key.to_owned(), tries, why });
        }
        Ok(self.set_aside(key, format!("failed at try {tries}: {why}")).await?)
    }

    fn count_failure(&self, key: &str) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= FAILURES_KEPT_MAX && !failures.contains_key(key) {
            failures.clear();
        }
        let tries = failures.entry(key.to_owned()).or_default();
        *tries += 1;
        *tries
    }

    async fn set_aside(&self, key: &str, why: String) -> Result<Outcome, StoreError> {
        let reason = why.chars().take(REASON_CHARS_MAX).collect();
        let letter = DeadLetter { schema: RESULT_SCHEMA, key: key.to_owned(), reason };
        match self.results.put_dead_letter(&letter).await? {
            Put::Created => {
                self.counters.add(count::SET_ASIDE, 1);
                tracing::error!(key, why, "set aside");
            }
            // Written once: the first reason stays.
            Put::AlreadyThere => tracing::warn!(key, why, "was set aside before"),
        }
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(Outcome::SetAside { why })
    }
}
