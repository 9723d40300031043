//! Owns a store that fails when it is told to.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use proto::{
    envelope::{SealedFrame, SealedHead},
    pack::Within,
    result::{ClipResult, DeadLetter, FrameResult},
};

use crate::{FrameReader, FrameWriter, Pack, Page, Put, ResultReader, ResultWriter, StoreError};

/// How a [`Faulty`] store fails. Calls are counted from 0 when the plan is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Not at all.
    Sound,
    /// It is away.
    Away,
    /// It refuses us.
    Refusing,
    /// The n-th call finds it away, later ones work.
    AwayOnce(u64),
    /// The n-th call does its work and the answer is lost; later ones work.
    AnswerLost(u64),
    /// From the n-th call on it is away.
    AwayFrom(u64),
    /// The n-th call does its work, the answer is lost, and from then on it is away.
    AwayAfter(u64),
}

/// Another store with a plan for failing. Clones share the plan.
#[derive(Debug)]
pub struct Faulty<S>(Arc<S>, Arc<Mutex<(Plan, u64)>>);

impl<S> Clone for Faulty<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), Arc::clone(&self.1))
    }
}

impl<S> Faulty<S> {
    /// Fails by plan, and otherwise is the other one.
    #[must_use]
    pub fn new(inner: Arc<S>, plan: Plan) -> Self {
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

    /// Before a call: its number, or the planned fault.
    fn before(&self, action: &'static str, key: &str) -> Result<u64, StoreError> {
        let mut state = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let (plan, at) = *state;
        state.1 += 1;
        let why = "as planned".to_owned();
        let key = key.to_owned();
        match plan {
            Plan::Away => Err(StoreError::Unavailable { action, key, why }),
            Plan::AwayOnce(n) if n == at => Err(StoreError::Unavailable { action, key, why }),
            Plan::AwayFrom(n) if n <= at => Err(StoreError::Unavailable { action, key, why }),
            Plan::AwayAfter(n) if n < at => Err(StoreError::Unavailable { action, key, why }),
            Plan::Refusing => Err(StoreError::Refused { action, key, why }),
            Plan::Sound
            | Plan::AwayOnce(_)
            | Plan::AnswerLost(_)
            | Plan::AwayFrom(_)
            | Plan::AwayAfter(_) => Ok(at),
        }
    }

    /// After a call: whether its answer is lost.
    fn after(&self, action: &'static str, key: &str, at: u64) -> Result<(), StoreError> {
        let (plan, _) = *self.1.lock().unwrap_or_else(PoisonError::into_inner);
        if [Plan::AnswerLost(at), Plan::AwayAfter(at)].contains(&plan) {
            let why = "the answer was lost, as planned".to_owned();
            return Err(StoreError::Unavailable { action, key: key.to_owned(), why });
        }
        Ok(())
    }
}

#[async_trait]
impl<S: FrameWriter> FrameWriter for Faulty<S> {
    async fn put_frame(&self, frame: &SealedFrame) -> Result<Put, StoreError> {
        let key = proto::key::frame_key(frame.manifest());
        let at = self.before("put", &key)?;
        let done = self.0.put_frame(frame).await?;
        self.after("put", &key, at).map(|()| done)
    }

    async fn put_pack(&self, pack: &Pack) -> Result<Put, StoreError> {
        let at = self.before("put", pack.key())?;
        let done = self.0.put_pack(pack).await?;
        self.after("put", pack.key(), at).map(|()| done)
    }
}

#[async_trait]
impl<S: FrameReader> FrameReader for Faulty<S> {
    async fn frame(&self, key: &str) -> Result<SealedFrame, StoreError> {
        let at = self.before("get", key)?;
        let done = self.0.frame(key).await?;
        self.after("get", key, at).map(|()| done)
    }

    async fn head(&self, key: &str) -> Result<SealedHead, StoreError> {
        let at = self.before("get", key)?;
        let done = self.0.head(key).await?;
        self.after("get", key, at).map(|()| done)
    }

    async fn frame_within(&self, key: &str, within: Within) -> Result<SealedFrame, StoreError> {
        let at = self.before("get", key)?;
        let done = self.0.frame_within(key, within).await?;
        self.after("get", key, at).map(|()| done)
    }

    async fn head_within(&self, key: &str, within: Within) -> Result<SealedHead, StoreError> {
        let at = self.before("get", key)?;
        let done = self.0.head_within(key, within).await?;
        self.after("get", key, at).map(|()| done)
    }

    async fn pack_heads(&self, pack_key: &str) -> Result<Vec<SealedHead>, StoreError> {
        let at = self.before("get", pack_key)?;
        let done = self.0.pack_heads(pack_key).await?;
        self.after("get", pack_key, at).map(|()| done)
    }
}

#[async_trait]
impl<S: ResultWriter> ResultWriter for Faulty<S> {
    async fn put_result(&self, result: &FrameResult) -> Result<Put, StoreError> {
        let at = self.before("put", &result.image)?;
        let done = self.0.put_result(result).await?;
        self.after("put", &result.image, at).map(|()| done)
    }

    async fn put_clip_result(&self, result: &ClipResult) -> Result<Put, StoreError> {
        let at = self.before("put", &result.pack)?;
        let done = self.0.put_clip_result(result).await?;
        self.after("put", &result.pack, at).map(|()| done)
    }

    async fn put_annotated(&self, result: &FrameResult, jpeg: &[u8]) -> Result<Put, StoreError> {
        let at = self.before("put", &result.image)?;
        let done = self.0.put_annotated(result, jpeg).await?;
        self.after("put", &result.image, at).map(|()| done)
    }

    async fn put_dead_letter(&self, letter: &DeadLetter) -> Result<Put, StoreError> {
        let at = self.before("put", &letter.key)?;
        let done = self.0.put_dead_letter(letter).await?;
        self.after("put", &letter.key, at).map(|()| done)
    }
}

#[async_trait]
impl<S: ResultReader> ResultReader for Faulty<S> {
    async fn result(&self, key: &str) -> Result<FrameResult, StoreError> {
        let at = self.before("get", key)?;
        let done = self.0.result(key).await?;
        self.after("get", key, at).map(|()| done)
    }

    async fn clip_result(&self, key: &str) -> Result<ClipResult, StoreError> {
        let at = self.before("get", key)?;
        let done = self.0.clip_result(key).await?;
        self.after("get", key, at).map(|()| done)
    }

    async fn annotated(&self, result: &FrameResult) -> Result<Vec<u8>, StoreError> {
        let at = self.before("get", &result.image)?;
        let done = self.0.annotated(result).await?;
        self.after("get", &result.image, at).map(|()| done)
    }

    async fn dead_letter(&self, object_key: &str) -> Result<Option<DeadLetter>, StoreError> {
        let at = self.before("get", object_key)?;
        let done = self.0.dead_letter(object_key).await?;
        self.after("get", object_key, at).map(|()| done)
    }

    async fn results(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let at = self.before("list", prefix)?;
        let done = self.0.results(prefix, after).await?;
        self.after("list", prefix, at).map(|()| done)
    }
}
