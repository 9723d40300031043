//! Owns the way of results into the database: looks for each awaited result by its key, reads and checks it, stores it,
//! and tells the bus.
//!
//! Only what is awaited is looked for, and nothing when nothing is. A key follows from the object's own and the digest of
//! the model: where `looks` says so is read first, which costs a twelfth of a page of a listing, and a listing is made
//! seldom, for results that are not where they were looked for: those of a model that is new, which it makes known.
//! Frames that lie in a pack have their results in one object. So a site with its own store shows a result within a
//! second, and a store that charges by request is asked as rarely as its configuration says.

mod listing;
mod looks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use base::{Fault, Faulty, Shutdown};
use link::Bus;
use proto::{UtcTime, control::ResultNotice, key, result::FrameResult, topic};
use results::Awaiting;
use store::{ResultReader, StoreError};
use tokio::task::JoinSet;

use self::{listing::Resume, looks::Looks};
use crate::{
    alarm::{persist, raise},
    book::{Book, BookError},
    bridge::{Bridge, count},
};

/// Awaited frames that are looked for at a time: what the database gives at once.
const AWAITING_MAX: u32 = 1000;
/// Dead frames that are looked for as well: a result may come after all.
const DEAD_MAX: u32 = 200;
/// How often they are.
const DEAD_EACH: Duration = Duration::from_secs(300);
/// Results that are read at a time: what a WAN of some 100 ms a request needs to keep up with 40 frames a second.
const READS_AT_ONCE: usize = 8;
/// Objects that were no results and are not read again. When there are more, all are forgotten.
const INVALID_MAX: usize = 1024;
/// How often to look whether something is awaited when nobody rang.
const IDLE: Duration = Duration::from_secs(30);

/// How often to look for results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From a frame's arrival to the first look for its result, and shortest wait between two rounds of looks.
    pub poll: Duration,
    /// Between two looks for one result that has not come for long.
    pub poll_max: Duration,
    /// Between two listings for results that were not where they were looked for.
    pub list_each: Duration,
}

/// Awaited frames by the prefix of the results of their object, a frame or a pack.
type Places = BTreeMap<String, Vec<Awaiting>>;

/// Collects results.
pub struct Collector {
    bridge: Arc<Bridge>,
    book: Arc<dyn Book>,
    results: Arc<dyn ResultReader>,
    bus: Option<Bus>,
    pace: Pace,
    shutdown: Shutdown,
    looks: Looks,
    resume: Resume,
    invalid: BTreeSet<String>,
    dead_looked_at: Option<Duration>,
}

/// Why a round ended early.
enum Stop {
    /// What it needs is away or refuses.
    Away,
    /// It has asked for enough pages.
    Enough,
}

impl Collector {
    /// A collector.
    #[must_use]
    pub fn new(
        bridge: Arc<Bridge>,
        book: Arc<dyn Book>,
        results: Arc<dyn ResultReader>,
        bus: Option<Bus>,
        pace: Pace,
        shutdown: Shutdown,
    ) -> Self {
        let (looks, resume) = (Looks::default(), None);
        let (invalid, dead_looked_at) = (BTreeSet::new(), None);
        Self { bridge, book, results, bus, pace, shutdown, looks, resume, invalid, dead_looked_at }
    }

    /// Collects until shutdown, which may come in the middle of any step: each is found done or is done again.
    pub async fn run(self) {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.requested() => {}
            () = self.collect() => {}
        }
    }

    async fn collect(mut self) {
        let mut wait = self.pace.poll;
        while self.pause(&mut wait).await {
            let Ok((awaiting, dead)) = self.awaiting().await else {
                wait = self.pace.poll_max;
                continue;
            };
            if awaiting.is_empty() && dead.is_empty() {
                wait = IDLE;
                continue;
            }
            wait = match self.round(awaiting, dead).await {
                Ok(()) => self.looks.wait(self.bridge.clock.now(), self.pace),
                Err(Stop::Enough) => self.pace.poll,
                Err(Stop::Away) => self.pace.poll_max,
            };
        }
    }

    /// Waits; frames that are awaited anew shorten the wait. False at shutdown.
    async fn pause(&self, wait: &mut Duration) -> bool {
        let slept = tokio::select! {
            biased;
            slept = self.shutdown.sleep(*wait) => Some(slept),
            () = self.bridge.awaited.notified() => None,
        };
        if let Some(slept) = slept {
            return slept;
        }
        *wait = self.pace.poll;
        self.shutdown.sleep(self.pace.poll).await
    }

    /// What is looked for: awaited frames, and from time to time those that were given up.
    async fn awaiting(&mut self) -> Result<(Vec<Awaiting>, Vec<Awaiting>), BookError> {
        let book = Arc::clone(&self.book);
        // All of them, whatever the wall clock did since they were written.
        let list = || book.awaiting(UtcTime::EPOCH.plus_ns(i64::MAX), AWAITING_MAX);
        let (what, failed) = ("list awaited frames", count::DATABASE_FAILED);
        let awaiting = persist(&self.bridge, &self.shutdown, what, failed, list).await?;
        let now = self.bridge.clock.now();
        if self.dead_looked_at.is_some_and(|at| now.saturating_sub(at) < DEAD_EACH) {
            return Ok((awaiting, Vec::new()));
        }
        let list = || book.dead(DEAD_MAX);
        let (what, failed) = ("list dead frames", count::DATABASE_FAILED);
        let dead = persist(&self.bridge, &self.shutdown, what, failed, list).await?;
        self.dead_looked_at = Some(now);
        Ok((awaiting, dead))
    }

    /// One look for everything whose time has come, and a listing where that is worth one.
    async fn round(&mut self, awaiting: Vec<Awaiting>, dead: Vec<Awaiting>) -> Result<(), Stop> {
        let given_up = by_place(dead);
        let mut places = by_place(awaiting);
        for (place, frames) in &given_up {
            places.entry(place.clone()).or_default().extend(frames.iter().cloned());
        }
        let (now, utc) = (self.bridge.clock.now(), self.bridge.utc());
        self.looks.follow(&places, now, utc, self.pace);
        self.look(&mut places).await?;
        let mut wanted = self.looks.to_list(&given_up, now, self.pace);
        wanted.retain(|place| places.contains_key(place));
        if wanted.is_empty() {
            return Ok(());
        }
        self.looks.listed(now, self.pace);
        self.list(&places, wanted).await
    }

    /// Looks by key for everything that is due; what was found is taken out of `places`.
    async fn look(&mut self, places: &mut Places) -> Result<(), Stop> {
        let mut due = self.looks.due(self.bridge.clock.now()).into_iter();
        let mut reading = JoinSet::new();
        loop {
            while reading.len() < READS_AT_ONCE
                && let Some(place) = due.next()
            {
                let packed = places.get(&place).is_some_and(|frames| is_packed(frames));
                let mut keys = self.looks.keys(&place);
                keys.retain(|key| !self.invalid.contains(key));
                reading.spawn(first_of(Arc::clone(&self.results), place, keys, packed));
            }
            let Some(read) = reading.join_next().await else { return Ok(()) };
            // A reader that panics has broken an invariant: it must be seen, not passed over.
            let read = read.unwrap_or_else(|broken| std::panic::resume_unwind(broken.into_panic()));
            self.bridge.counters.add(count::LOOKS, read.looks);
            let taken = match (read.found, places.get(&read.place)) {
                (Some((key, found)), Some(frames)) => self.take(&key, found, frames).await?,
                (Some(_), None) | (None, _) => false,
            };
            self.looks.looked(&read.place, self.bridge.clock.now(), self.pace);
            if taken {
                places.remove(&read.place);
            }
        }
    }

    /// Reads, checks and stores what a listed object says of awaited frames.
    async fn take_listed(&mut self, key: &str, awaited: &[Awaiting]) -> Result<(), Stop> {
        if self.invalid.contains(key) {
            return Ok(());
        }
        let found = read(&*self.results, key, is_packed(awaited)).await;
        self.take(key, found, awaited).await.map(drop)
    }

    /// Checks and stores what one object says of awaited frames; whether it said something of them.
    async fn take(&mut self, key: &str, found: Read, awaited: &[Awaiting]) -> Result<bool, Stop> {
        let mut results = match found {
            Ok(results) => results,
            Err(error) if error.fault() == Fault::Corrupt => {
                self.invalid(key, &error.to_string());
                return Ok(false);
            }
            // Listed and gone: somebody tidied up.
            Err(StoreError::Missing { .. }) => return Ok(false),
            Err(error) => return Err(self.failed("read a result", &error)),
        };
        results.retain(|result| {
            awaited.iter().any(|frame| result.image == frame.key && result.frame == frame.frame)
        });
        let Some(model) = results.first().map(|result| result.model.digest) else {
            self.invalid(key, "it is the result of another frame");
            return Ok(false);
        };
        for result in &results {
            self.insert(result).await?;
        }
        self.looks.learn(model);
        Ok(true)
    }

    /// Stores a result, and tells it when it is new.
    async fn insert(&self, result: &FrameResult) -> Result<(), Stop> {
        let now = self.bridge.utc();
        let insert = || self.book.insert_result(result, now);
        let (what, failed) = ("store a result", count::DATABASE_FAILED);
        let new = persist(&self.bridge, &self.shutdown, what, failed, insert).await;
        let new = new.map_err(|_| Stop::Away)?;
        if new {
            self.bridge.count(count::RESULTS);
            self.tell(result);
        }
        Ok(())
    }

    fn tell(&self, result: &FrameResult) {
        let Some(bus) = &self.bus else { return };
        let clip = &result.frame.clip;
        let topic = topic::results(&clip.site, &clip.camera);
        if let Err(error) = bus.publish(&topic, &ResultNotice::of(result)) {
            tracing::warn!(frame = %result.frame, %error, "the notice of a result was not sent");
        }
    }

    fn invalid(&mut self, result_key: &str, why: &str) {
        self.bridge.count(count::RESULTS_INVALID);
        tracing::error!(key = result_key, why, "where a result belongs lies something else");
        if self.invalid.len() >= INVALID_MAX {
            self.invalid.clear();
        }
        self.invalid.insert(result_key.to_owned());
    }

    fn failed(&self, what: &'static str, error: &StoreError) -> Stop {
        self.bridge.count(count::STORE_FAILED);
        raise(&self.bridge, what, error);
        tracing::warn!(what, %error, "failed, will try again");
        Stop::Away
    }
}

/// What a result's object says of its frames.
type Read = Result<Vec<FrameResult>, StoreError>;

async fn read(results: &dyn ResultReader, key: &str, packed: bool) -> Read {
    if packed {
        return results.clip_result(key).await.map(|clip| clip.frames);
    }
    results.result(key).await.map(|result| vec![result])
}

/// What came of looking at one place.
struct Looked {
    place: String,
    looks: u64,
    /// The first key at which something is, and what.
    found: Option<(String, Read)>,
}

async fn first_of(
    results: Arc<dyn ResultReader>,
    place: String,
    keys: Vec<String>,
    packed: bool,
) -> Looked {
    let mut looks = 0;
    for key in keys {
        looks += 1;
        match read(&*results, &key, packed).await {
            Err(StoreError::Missing { .. }) => {}
            found => return Looked { place, looks, found: Some((key, found)) },
        }
    }
    Looked { place, looks, found: None }
}

fn is_packed(frames: &[Awaiting]) -> bool {
    frames.iter().any(|frame| frame.packed)
}

/// Awaited frames by where their results lie. A key that is no frame's was written by somebody else.
fn by_place(awaiting: Vec<Awaiting>) -> Places {
    let mut places = Places::new();
    for frame in awaiting {
        let object = frame.object();
        let place = if frame.packed {
            key::pack_results_prefix(&object)
        } else {
            key::results_prefix(&object)
        };
        if let Some(place) = place {
            places.entry(place).or_default().push(frame);
        }
    }
    places
}
