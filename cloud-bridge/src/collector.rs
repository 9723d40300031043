//! Owns the way of results into the database: lists what has arrived for the hours in which frames are awaited, reads
//! and checks it, stores it, and tells the bus.
//!
//! Only what is awaited is read. Nothing is listed when nothing is awaited. A listing starts at the first awaited key
//! and jumps over what lies between awaited ones; the number of pages in a round is bounded, and the wait between
//! rounds doubles while nothing comes. Frames that lie in a pack have their results in one object. So a site with its own store shows a result within a second, and a store that
//! charges by request is asked as rarely as its configuration says.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use base::{Fault, Faulty, Shutdown};
use link::Bus;
use proto::{UtcTime, control::ResultNotice, key, result::FrameResult, topic};
use results::Awaiting;
use store::{ResultReader, StoreError};

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
/// Pages that are asked for in one round.
const PAGES_MAX: usize = 16;
/// Objects that were no results and are not read again. When there are more, all are forgotten.
const INVALID_MAX: usize = 1024;
/// How often to look whether something is awaited when nobody rang.
const IDLE: Duration = Duration::from_secs(30);

/// How often to look for results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks while results come.
    pub poll: Duration,
    /// Between two looks while none has come for long.
    pub poll_max: Duration,
}

/// Awaited frames of one camera and hour: prefix of the results of a frame or a pack to what of it is awaited.
type Hour = BTreeMap<String, Vec<Awaiting>>;

/// Collects results.
pub struct Collector {
    bridge: Arc<Bridge>,
    book: Arc<dyn Book>,
    results: Arc<dyn ResultReader>,
    bus: Option<Bus>,
    pace: Pace,
    shutdown: Shutdown,
    /// The prefix of the hour with which the next round begins, and the key after which.
    resume: Option<(String, Option<String>)>,
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
        let (resume, invalid, dead_looked_at) = (None, BTreeSet::new(), None);
        Self { bridge, book, results, bus, pace, shutdown, resume, invalid, dead_looked_at }
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
            let Ok(awaiting) = self.awaiting().await else {
                wait = self.pace.poll_max;
                continue;
            };
            if awaiting.is_empty() {
                wait = IDLE;
                continue;
            }
            wait = match self.round(awaiting).await {
                Ok(0) => (wait * 2).min(self.pace.poll_max),
                Ok(_) => self.pace.poll,
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

    /// What is looked for.
    async fn awaiting(&mut self) -> Result<Vec<Awaiting>, BookError> {
        let book = Arc::clone(&self.book);
        // All of them, whatever the wall clock did since they were written.
        let list = || book.awaiting(UtcTime::EPOCH.plus_ns(i64::MAX), AWAITING_MAX);
        let (what, failed) = ("list awaited frames", count::DATABASE_FAILED);
        let mut awaiting = persist(&self.bridge, &self.shutdown, what, failed, list).await?;
        let now = self.bridge.clock.now();
        if self.dead_looked_at.is_none_or(|at| now.saturating_sub(at) >= DEAD_EACH) {
            let list = || book.dead(DEAD_MAX);
            let (what, failed) = ("list dead frames", count::DATABASE_FAILED);
            awaiting.extend(persist(&self.bridge, &self.shutdown, what, failed, list).await?);
            self.dead_looked_at = Some(now);
        }
        Ok(awaiting)
    }

    /// One look for everything that is awaited; how many results were new.
    async fn round(&mut self, awaiting: Vec<Awaiting>) -> Result<usize, Stop> {
        let hours = by_hour(awaiting);
        // Where the last round stopped, this one begins, so that no hour is always behind the others.
        let resume = self.resume.take();
        let (first, mut after) = match &resume {
            Some((hour, after)) => (hour.as_str(), after.clone()),
            None => ("", None),
        };
        let (mut new, mut pages) = (0, PAGES_MAX);
        let later = hours.range::<str, _>((Bound::Included(first), Bound::Unbounded));
        let earlier = hours.range::<str, _>((Bound::Unbounded, Bound::Excluded(first)));
        for (hour, wanted) in later.chain(earlier) {
            let after = if hour == first { after.take() } else { None };
            match self.hour(hour, wanted, after, &mut pages).await {
                Ok(found) => new += found,
                Err(Stop::Enough) if new > 0 => return Ok(new),
                Err(stop) => return Err(stop),
            }
        }
        Ok(new)
    }

    /// Looks through the results of one hour; how many were new.
    async fn hour(
        &mut self,
        hour: &str,
        wanted: &Hour,
        after: Option<String>,
        pages: &mut usize,
    ) -> Result<usize, Stop> {
        let mut new = 0;
        // Keys of results begin with their prefix and are longer, so they come after it.
        let mut next = after.or_else(|| wanted.keys().next().cloned());
        while let Some(after) = next {
            if *pages == 0 {
                self.resume = Some((hour.to_owned(), Some(after)));
                return Err(Stop::Enough);
            }
            *pages -= 1;
            self.bridge.count(count::LISTS);
            let page = self.results.results(hour, Some(&after)).await;
            let page = page.map_err(|error| self.failed("list results", &error))?;
            for result_key in &page.keys {
                let frames = prefix_of(result_key).and_then(|prefix| wanted.get(prefix));
                if let Some(frames) = frames {
                    new += self.take(result_key, frames).await?;
                }
            }
            let last = page.keys.last().filter(|_| page.more);
            next = last.and_then(|last| next_wanted(wanted, last));
        }
        Ok(new)
    }

    /// Reads, checks and stores what one object says of awaited frames; how many results were new.
    async fn take(&mut self, result_key: &str, awaited: &[Awaiting]) -> Result<usize, Stop> {
        if self.invalid.contains(result_key) {
            return Ok(0);
        }
        let found = if awaited.iter().any(|frame| frame.packed) {
            self.results.clip_result(result_key).await.map(|clip| clip.frames)
        } else {
            self.results.result(result_key).await.map(|result| vec![result])
        };
        let mut results = match found {
            Ok(results) => results,
            Err(error) if error.fault() == Fault::Corrupt => {
                self.invalid(result_key, &error.to_string());
                return Ok(0);
            }
            // Listed and gone: somebody tidied up.
            Err(StoreError::Missing { .. }) => return Ok(0),
            Err(error) => return Err(self.failed("read a result", &error)),
        };
        results.retain(|result| {
            awaited.iter().any(|frame| result.image == frame.key && result.frame == frame.frame)
        });
        if results.is_empty() {
            self.invalid(result_key, "it is the result of another frame");
        }
        let mut new = 0;
        for result in &results {
            new += usize::from(self.insert(result).await?);
        }
        Ok(new)
    }

    /// Stores a result; whether it was new.
    async fn insert(&self, result: &FrameResult) -> Result<bool, Stop> {
        let now = self.bridge.utc();
        let insert = || self.book.insert_result(result, now);
        let (what, failed) = ("store a result", count::DATABASE_FAILED);
        let new = persist(&self.bridge, &self.shutdown, what, failed, insert).await;
        let new = new.map_err(|_| Stop::Away)?;
        if new {
            self.bridge.count(count::RESULTS);
            self.tell(result);
        }
        Ok(new)
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

/// Awaited frames by the prefix of their hour. A key that is no frame's was written by somebody else.
fn by_hour(awaiting: Vec<Awaiting>) -> BTreeMap<String, Hour> {
    let mut hours: BTreeMap<String, Hour> = BTreeMap::new();
    for frame in awaiting {
        let object = frame.object();
        let prefix = if frame.packed {
            key::pack_results_prefix(&object)
        } else {
            key::results_prefix(&object)
        };
        let Some(prefix) = prefix else { continue };
        let hour =
            prefix.trim_end_matches('/').rsplit_once('/').map(|(hour, _)| format!("{hour}/"));
        let Some(hour) = hour else { continue };
        hours.entry(hour).or_default().entry(prefix).or_default().push(frame);
    }
    hours
}

/// The prefix of the frame or pack that a result's key belongs to.
fn prefix_of(result_key: &str) -> Option<&str> {
    result_key.rfind('/').and_then(|at| result_key.get(..=at))
}

/// After which key to go on: after the last one seen, or just before the next awaited frame if that is further on.
/// Nothing when no awaited frame can come any more.
fn next_wanted(wanted: &Hour, last: &str) -> Option<String> {
    let within = prefix_of(last).filter(|prefix| wanted.contains_key(*prefix));
    let further = wanted.range::<str, _>((Bound::Excluded(last), Bound::Unbounded)).next();
    match (within, further) {
        // More results of the frame that the page ended with.
        (Some(_), _) => Some(last.to_owned()),
        (None, Some((prefix, _))) => Some(prefix.clone()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour_of(slots: &[&str]) -> Hour {
        let frame = |slot: &&str| {
            let prefix = format!("results/v1/t/c/2026/01/01/00/s-0-{slot}/");
            let frame = format!("t/c/{}/0/0", "0".repeat(32)).parse().unwrap();
            let awaited_at = proto::UtcTime::EPOCH;
            let key = String::new();
            let (packed, tries, tried_at) = (false, 0, None);
            (prefix, vec![Awaiting { key, packed, frame, awaited_at, tries, tried_at }])
        };
        slots.iter().map(frame).collect()
    }

    #[test]
    fn a_listing_jumps_to_the_next_awaited_frame() {
        let wanted = hour_of(&["1", "5"]);
        let at = |slot: &str| format!("results/v1/t/c/2026/01/01/00/s-0-{slot}/");
        let check = |last: &str, next: Option<String>| {
            assert_eq!(next_wanted(&wanted, &format!("{}m.json", at(last))), next, "{last}");
        };
        check("0", Some(at("1")));
        check("1", Some(format!("{}m.json", at("1"))));
        check("2", Some(at("5")));
        check("6", None);
    }
}
