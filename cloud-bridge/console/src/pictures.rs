//! Owns the way of frames from the object store to a page: verified, few at once, within a deadline; and what is known
//! of the store itself.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::Clock;
use proto::envelope::{SealedFrame, SealedHead};
use results::FrameRow;
use store::{FrameReader, StoreError};
use tokio::sync::Semaphore;

/// Frames under way at once: each is up to 4 MiB in memory.
const READS_MAX: usize = 8;
/// Longest wait for a frame: a person looks at an empty place meanwhile.
const READ_MAX: Duration = Duration::from_secs(8);
/// Longest wait of a page that asks whether the store is there.
const SIGHT_MAX: Duration = Duration::from_secs(2);
/// How long an answer to that holds.
const SIGHT_HOLDS: Duration = Duration::from_secs(10);

/// Whether the object store is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Nobody has asked yet.
    Unknown,
    /// It answers.
    There,
    /// It does not, or refuses us: one line on why.
    Away(String),
}

/// Frames of the store.
pub struct Pictures {
    reader: Arc<dyn FrameReader>,
    permits: Semaphore,
    clock: Arc<dyn Clock>,
    seen: Mutex<(Sight, Duration)>,
}

impl Pictures {
    /// Frames of this store.
    #[must_use]
    pub fn new(reader: Arc<dyn FrameReader>, clock: Arc<dyn Clock>) -> Self {
        let seen = Mutex::new((Sight::Unknown, Duration::ZERO));
        Self { reader, permits: Semaphore::new(READS_MAX), clock, seen }
    }

    /// A whole frame, verified.
    ///
    /// # Errors
    /// When there is none, it is not sealed, or the store does not answer in time.
    pub async fn frame(&self, row: &FrameRow) -> Result<SealedFrame, StoreError> {
        let (key, reader) = (row.key.as_str(), &self.reader);
        match row.within() {
            None => self.within(READ_MAX, key, reader.frame(key)).await,
            Some(place) => self.within(READ_MAX, key, reader.frame_within(key, place)).await,
        }
    }

    /// The manifest of a frame, verified.
    ///
    /// # Errors
    /// As [`Self::frame`].
    pub async fn head(&self, row: &FrameRow) -> Result<SealedHead, StoreError> {
        self.head_in_time(READ_MAX, row).await
    }

    async fn head_in_time(&self, most: Duration, row: &FrameRow) -> Result<SealedHead, StoreError> {
        let (key, reader) = (row.key.as_str(), &self.reader);
        match row.within() {
            None => self.within(most, key, reader.head(key)).await,
            Some(place) => self.within(most, key, reader.head_within(key, place)).await,
        }
    }

    /// Whether the store is there; asks it for the head of this frame unless that is known well enough.
    pub async fn sight(&self, row: Option<&FrameRow>) -> Sight {
        let (sight, at) = self.last();
        let holds = self.clock.now().saturating_sub(at) < SIGHT_HOLDS && sight != Sight::Unknown;
        if !holds && let Some(row) = row {
            // What the answer says is noted; whether this frame is there is another question.
            drop(self.head_in_time(SIGHT_MAX, row).await);
        }
        self.last().0
    }

    fn last(&self) -> (Sight, Duration) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn within<T>(
        &self,
        most: Duration,
        key: &str,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let unavailable = |why: &str| StoreError::Unavailable {
            action: "read",
            key: key.to_owned(),
            why: why.to_owned(),
        };
        let waited = tokio::time::timeout(most, async {
            let _permit = self.permits.acquire().await.map_err(|_| unavailable("stopping"))?;
            read.await
        });
        let answer = waited.await.unwrap_or_else(|_| Err(unavailable("no answer in time")));
        let sight = match &answer {
            Err(
                error @ (StoreError::Unavailable { .. }
                | StoreError::Refused { .. }
                | StoreError::NoBucket { .. }),
            ) => Sight::Away(error.to_string()),
            Ok(_) | Err(_) => Sight::There,
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = (sight, self.clock.now());
        answer
    }
}
