//! Owns the border to the results database: what the bridge asks of it, over the real one, in memory, and with faults.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use base::{Fault, Faulty};
use proto::{
    ClipId, Manifest, UtcTime,
    pack::Within,
    record::{ClipRecord, Receipt},
    result::FrameResult,
};
use results::{Awaiting, FrameFilter, Results, ResultsError, StateKind};

/// Why the book gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The database.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The faulty twin, by its plan.
    #[error("the book is away, as planned")]
    Away,
    /// The faulty twin, by its plan.
    #[error("the book refuses, as planned")]
    Refusing,
}

impl Faulty for BookError {
    fn fault(&self) -> Fault {
        match self {
            Self::Results(error) => error.fault(),
            Self::Away => Fault::Transient,
            Self::Refusing => Fault::Misuse,
        }
    }
}

/// What is known of clips and frames beyond the outbox. Everything written may be written again; the first counts.
#[async_trait]
pub trait Book: Send + Sync {
    /// The receipt of a clip that was recorded.
    ///
    /// # Errors
    /// When it cannot be said.
    async fn receipt(&self, clip: &ClipId) -> Result<Option<Receipt>, BookError>;

    /// Awaits the result of a frame that is in the object store, by itself or within the pack of its clip.
    ///
    /// # Errors
    /// When it was not written.
    async fn await_frame(
        &self,
        manifest: &Manifest,
        within: Option<Within>,
        now: UtcTime,
    ) -> Result<(), BookError>;

    /// Records a clip all of whose frames are awaited.
    ///
    /// # Errors
    /// When it was not written.
    async fn record_clip(&self, record: &ClipRecord, receipt: &Receipt) -> Result<(), BookError>;

    /// Frames without a result, neither put nor tried after `before`, longest waiting first.
    ///
    /// # Errors
    /// When it cannot be said.
    async fn awaiting(&self, before: UtcTime, limit: u32) -> Result<Vec<Awaiting>, BookError>;

    /// The newest frames that were given up.
    ///
    /// # Errors
    /// When it cannot be said.
    async fn dead(&self, limit: u32) -> Result<Vec<Awaiting>, BookError>;

    /// Notes that the function was invoked again.
    ///
    /// # Errors
    /// When it was not written.
    async fn tried(&self, frame_key: &str, now: UtcTime) -> Result<(), BookError>;

    /// Gives a frame up.
    ///
    /// # Errors
    /// When it was not written.
    async fn mark_dead(&self, frame_key: &str, reason: &str) -> Result<(), BookError>;

    /// Stores a result; false when there was one.
    ///
    /// # Errors
    /// When it was not written.
    async fn insert_result(&self, result: &FrameResult, now: UtcTime) -> Result<bool, BookError>;
}

#[async_trait]
impl Book for Results {
    async fn receipt(&self, clip: &ClipId) -> Result<Option<Receipt>, BookError> {
        Ok(Self::receipt(self, clip).await?)
    }

    async fn await_frame(
        &self,
        manifest: &Manifest,
        within: Option<Within>,
        now: UtcTime,
    ) -> Result<(), BookError> {
        let key = proto::key::frame_key(manifest);
        Ok(self.await_stored(manifest, &key, within, now).await.map(drop)?)
    }

    async fn record_clip(&self, record: &ClipRecord, receipt: &Receipt) -> Result<(), BookError> {
        Ok(Self::record_clip(self, record, receipt).await.map(drop)?)
    }

    async fn awaiting(&self, before: UtcTime, limit: u32) -> Result<Vec<Awaiting>, BookError> {
        Ok(Self::awaiting(self, before, limit).await?)
    }

    async fn dead(&self, limit: u32) -> Result<Vec<Awaiting>, BookError> {
        let filter = FrameFilter { state: Some(StateKind::Dead), ..FrameFilter::default() };
        let rows = self.frames(&filter, limit).await?;
        let given_up = |row: results::FrameRow| Awaiting {
            packed: row.within().is_some(),
            key: row.key,
            frame: row.frame,
            awaited_at: row.awaited_at,
            tries: 0,
            tried_at: None,
        };
        Ok(rows.into_iter().map(given_up).collect())
    }

    async fn tried(&self, frame_key: &str, now: UtcTime) -> Result<(), BookError> {
        Ok(Self::tried(self, frame_key, now).await?)
    }

    async fn mark_dead(&self, frame_key: &str, reason: &str) -> Result<(), BookError> {
        Ok(Self::mark_dead(self, frame_key, reason).await?)
    }

    async fn insert_result(&self, result: &FrameResult, now: UtcTime) -> Result<bool, BookError> {
        Ok(Self::insert_result(self, &result.image, result, now).await?)
    }
}

/// A frame in a [`MemoryBook`].
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryFrame {
    /// How it waits.
    pub awaiting: Awaiting,
    /// Its result.
    pub result: Option<FrameResult>,
    /// Why it was given up.
    pub dead: Option<String>,
}

#[derive(Debug, Default)]
struct Pages {
    clips: BTreeMap<ClipId, (ClipRecord, Receipt)>,
    frames: BTreeMap<String, MemoryFrame>,
}

/// The book in memory.
#[derive(Debug, Default)]
pub struct MemoryBook(Mutex<Pages>);

impl MemoryBook {
    /// All frames by key.
    #[must_use]
    pub fn frames(&self) -> BTreeMap<String, MemoryFrame> {
        self.pages().frames.clone()
    }

    /// All clips.
    #[must_use]
    pub fn clips(&self) -> Vec<ClipId> {
        self.pages().clips.keys().cloned().collect()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(&self, limit: u32, fits: impl Fn(&MemoryFrame) -> bool) -> Vec<Awaiting> {
        let pages = self.pages();
        let fitting = pages.frames.values().filter(|frame| fits(frame));
        let mut listed: Vec<Awaiting> = fitting.map(|frame| frame.awaiting.clone()).collect();
        listed.sort_by_key(|a| (a.tried_at.unwrap_or(a.awaited_at), a.key.clone()));
        listed.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        listed
    }
}

#[async_trait]
impl Book for MemoryBook {
    async fn receipt(&self, clip: &ClipId) -> Result<Option<Receipt>, BookError> {
        Ok(self.pages().clips.get(clip).map(|(_, receipt)| receipt.clone()))
    }

    async fn await_frame(
        &self,
        manifest: &Manifest,
        within: Option<Within>,
        now: UtcTime,
    ) -> Result<(), BookError> {
        let (key, frame) = (proto::key::frame_key(manifest), manifest.frame.clone());
        let packed = within.is_some();
        let awaiting =
            Awaiting { key: key.clone(), packed, frame, awaited_at: now, tries: 0, tried_at: None };
        let fresh = MemoryFrame { awaiting, result: None, dead: None };
        self.pages().frames.entry(key).or_insert(fresh);
        Ok(())
    }

    async fn record_clip(&self, record: &ClipRecord, receipt: &Receipt) -> Result<(), BookError> {
        let fresh = || (record.clone(), receipt.clone());
        self.pages().clips.entry(record.clip.clone()).or_insert_with(fresh);
        Ok(())
    }

    async fn awaiting(&self, before: UtcTime, limit: u32) -> Result<Vec<Awaiting>, BookError> {
        Ok(self.listed(limit, |frame| {
            let since = frame.awaiting.tried_at.unwrap_or(frame.awaiting.awaited_at);
            frame.result.is_none() && frame.dead.is_none() && since <= before
        }))
    }

    async fn dead(&self, limit: u32) -> Result<Vec<Awaiting>, BookError> {
        Ok(self.listed(limit, |frame| frame.dead.is_some()))
    }

    async fn tried(&self, frame_key: &str, now: UtcTime) -> Result<(), BookError> {
        if let Some(frame) = self.pages().frames.get_mut(frame_key) {
            frame.awaiting.tries += 1;
            frame.awaiting.tried_at = Some(now);
        }
        Ok(())
    }

    async fn mark_dead(&self, frame_key: &str, reason: &str) -> Result<(), BookError> {
        if let Some(frame) = self.pages().frames.get_mut(frame_key)
            && frame.result.is_none()
        {
            frame.dead = Some(reason.to_owned());
        }
        Ok(())
    }

    async fn insert_result(&self, result: &FrameResult, _now: UtcTime) -> Result<bool, BookError> {
        let mut pages = self.pages();
        let Some(frame) = pages.frames.get_mut(&result.image) else { return Ok(false) };
        let new = frame.result.is_none();
        if new {
            frame.result = Some(result.clone());
            frame.dead = None;
        }
        Ok(new)
    }
}

/// How a [`FaultyBook`] fails. Calls are counted from 0 when the plan is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Not at all.
    Sound,
    /// It is away.
    Away,
    /// It refuses.
    Refusing,
    /// From the n-th call on it is away.
    AwayFrom(u64),
    /// The n-th call does its work, its answer is lost, and from then on it is away.
    AwayAfter(u64),
}

/// Another book with a plan for failing. Clones share the plan.
#[derive(Clone)]
pub struct FaultyBook(Arc<dyn Book>, Arc<Mutex<(Plan, u64)>>);

impl FaultyBook {
    /// Fails by plan, and otherwise is the other one.
    #[must_use]
    pub fn new(inner: Arc<dyn Book>, plan: Plan) -> Self {
        Self(inner, Arc::new(Mutex::new((plan, 0))))
    }

    /// Changes the plan and counts from 0 again.
    pub fn set_plan(&self, plan: Plan) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = (plan, 0);
    }

    /// Calls since the plan was set.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    async fn through<T>(
        &self,
        call: impl Future<Output = Result<T, BookError>> + Send,
    ) -> Result<T, BookError> {
        let (plan, at) = {
            let mut state = self.1.lock().unwrap_or_else(PoisonError::into_inner);
            state.1 += 1;
            (state.0, state.1 - 1)
        };
        match plan {
            Plan::Away => Err(BookError::Away),
            Plan::AwayFrom(n) if n <= at => Err(BookError::Away),
            Plan::AwayAfter(n) if n < at => Err(BookError::Away),
            Plan::AwayAfter(n) if n == at => call.await.and(Err(BookError::Away)),
            Plan::Refusing => Err(BookError::Refusing),
            Plan::Sound | Plan::AwayFrom(_) | Plan::AwayAfter(_) => call.await,
        }
    }
}

#[async_trait]
impl Book for FaultyBook {
    async fn receipt(&self, clip: &ClipId) -> Result<Option<Receipt>, BookError> {
        self.through(self.0.receipt(clip)).await
    }

    async fn await_frame(
        &self,
        manifest: &Manifest,
        within: Option<Within>,
        now: UtcTime,
    ) -> Result<(), BookError> {
        self.through(self.0.await_frame(manifest, within, now)).await
    }

    async fn record_clip(&self, record: &ClipRecord, receipt: &Receipt) -> Result<(), BookError> {
        self.through(self.0.record_clip(record, receipt)).await
    }

    async fn awaiting(&self, before: UtcTime, limit: u32) -> Result<Vec<Awaiting>, BookError> {
        self.through(self.0.awaiting(before, limit)).await
    }

    async fn dead(&self, limit: u32) -> Result<Vec<Awaiting>, BookError> {
        self.through(self.0.dead(limit)).await
    }

    async fn tried(&self, frame_key: &str, now: UtcTime) -> Result<(), BookError> {
        self.through(self.0.tried(frame_key, now)).await
    }

    async fn mark_dead(&self, frame_key: &str, reason: &str) -> Result<(), BookError> {
        self.through(self.0.mark_dead(frame_key, reason)).await
    }

    async fn insert_result(&self, result: &FrameResult, now: UtcTime) -> Result<bool, BookError> {
        self.through(self.0.insert_result(result, now)).await
    }
}
