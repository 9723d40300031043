//! Owns frames whose result does not come: inference is asked again, a bounded number of times, then the frame is given
//! up, counted and shown. A question that inference does not take is no try: an outage of it must not kill frames.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use base::{Fault, Faulty, Shutdown};
use results::Awaiting;
use store::ResultReader;

use crate::{
    alarm::{persist, raise},
    book::{Book, BookError},
    bridge::{Bridge, count},
    inference::Inference,
};

/// Overdue frames that are looked at in one round: the rest has its turn in the next.
const FRAMES_MAX: u32 = 50;
/// Shortest and longest waits between rounds.
const ROUND_MIN: Duration = Duration::from_millis(200);
const ROUND_MAX: Duration = Duration::from_secs(60);
/// Longest reason that is kept, in characters: a dead letter is somebody else's text.
const REASON_CHARS_MAX: usize = 300;

/// When a frame is overdue, and how often inference is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A frame without a result is overdue so long after it was stored or asked for.
    pub overdue: Duration,
    /// Questions before it is given up.
    pub tries_max: u64,
}

/// Looks after overdue frames.
pub struct Overdue {
    /// The bridge.
    pub bridge: Arc<Bridge>,
    /// Knows what waits.
    pub book: Arc<dyn Book>,
    /// Where the reasons of failures lie.
    pub results: Arc<dyn ResultReader>,
    /// Is asked again.
    pub inference: Arc<dyn Inference>,
    /// When.
    pub patience: Patience,
    /// Ends it.
    pub shutdown: Shutdown,
}

impl Overdue {
    /// Looks after overdue frames until shutdown, which may come in the middle of any step.
    pub async fn run(self) {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.requested() => {}
            () = self.rounds() => {}
        }
    }

    async fn rounds(&self) {
        let round = (self.patience.overdue / 4).clamp(ROUND_MIN, ROUND_MAX);
        let mut wait = round;
        while self.shutdown.sleep(wait).await {
            wait = match self.round().await {
                Ok(()) => round,
                // Inference or store is away: ask less and less often.
                Err(Away) => (wait * 2).min(ROUND_MAX),
            };
        }
    }

    /// Looks once after every frame that is overdue.
    ///
    /// # Errors
    /// When something that it needs is away; what was not done is done in a later round.
    pub async fn round(&self) -> Result<(), Away> {
        let overdue_ns = i64::try_from(self.patience.overdue.as_nanos()).unwrap_or(i64::MAX);
        let before = self.bridge.utc().plus_ns(-overdue_ns);
        let list = || self.book.awaiting(before, FRAMES_MAX);
        let failed = count::DATABASE_FAILED;
        let listed =
            persist(&self.bridge, &self.shutdown, "list overdue frames", failed, list).await;
        // Frames of one pack have one question for all of them.
        let mut asked = BTreeSet::new();
        for frame in listed.map_err(|_: BookError| Away)? {
            self.look_after(&frame, &mut asked).await?;
        }
        Ok(())
    }

    async fn look_after(&self, frame: &Awaiting, asked: &mut BTreeSet<String>) -> Result<(), Away> {
        let (key, object) = (frame.key.as_str(), frame.object());
        match self.results.dead_letter(&object).await {
            Ok(Some(letter)) => return self.give_up(key, &letter.reason).await,
            Ok(None) => {}
            // What is there is no letter, and says nothing.
            Err(error) if error.fault() == Fault::Corrupt => {
                self.bridge.count(count::RESULTS_INVALID);
            }
            Err(error) => {
                self.bridge.count(count::STORE_FAILED);
                raise(&self.bridge, "look for a dead letter", &error);
                tracing::warn!(key, %error, "the store cannot say why a result is overdue");
                return Err(Away);
            }
        }
        if frame.tries >= self.patience.tries_max {
            let tries = frame.tries;
            return self.give_up(key, &format!("no result after {tries} more invocations")).await;
        }
        if !asked.contains(&object) {
            // The first question was the object store's, or ours when it was stored.
            let tries = frame.tries.saturating_add(2);
            self.ask(&object, tries).await?;
            tracing::warn!(object, tries, "overdue, the function was asked");
            asked.insert(object);
        }
        let now = self.bridge.utc();
        self.write("note a try", || self.book.tried(key, now)).await
    }

    async fn ask(&self, object: &str, tries: u64) -> Result<(), Away> {
        if let Err(error) = self.inference.ask(object, tries).await {
            self.bridge.count(count::INVOKE_FAILED);
            raise(&self.bridge, "invoke the function", &error);
            tracing::warn!(object, %error, "what is overdue could not be asked for");
            return Err(Away);
        }
        self.bridge.count(count::INVOKED);
        Ok(())
    }

    async fn give_up(&self, key: &str, reason: &str) -> Result<(), Away> {
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        self.write("give up a frame", || self.book.mark_dead(key, &reason)).await?;
        self.bridge.count(count::DEAD);
        tracing::error!(key, reason, "a frame was given up: it has no result");
        Ok(())
    }

    async fn write<F: Future<Output = Result<(), BookError>> + Send>(
        &self,
        what: &'static str,
        work: impl FnMut() -> F + Send,
    ) -> Result<(), Away> {
        let failed = count::DATABASE_FAILED;
        persist(&self.bridge, &self.shutdown, what, failed, work).await.map_err(|_| Away)
    }
}

/// Something that a round needs is away; it has been counted and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away;
