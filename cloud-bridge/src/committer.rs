//! Owns the one answer to each clip: unknown, committed with its receipt, or not now. The first commit of a clip wins
//! whole, whatever two fog nodes do at once; a later one gets the first answer.
//!
//! A clip is known when the outbox or the database has it. When the database does not answer and the outbox does not
//! have the clip, nobody can say, and the answer is: not now. Nothing is ever committed on a guess.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base::{Faulty, Shutdown};
use proto::{ClipId, Identity, record::Receipt, signing::SigningKey, wire::CommitMessage};
use spool::SpoolError;

use crate::{
    book::Book,
    bridge::{Bridge, count},
    clip::SealedClip,
    outbox::OutboxError,
    unknowns::Unknowns,
};

/// Room that must be left in the outbox before a fog node is told to go ahead: a clip of 64 frames of 256 KiB. A larger
/// one may still find it full at the commit, and is then processed again.
pub const ROOM_BYTES: u64 = 16 * 1024 * 1024;
/// When a fog node should ask again after "not now": the forwarder empties the outbox clip by clip.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long an answer waits for a clip to reach store and database, where receipts are given only then: less than a fog
/// node's patience with a question (5 s) and with a commit (30 s). It asks again.
const STORED_WAIT: Duration = Duration::from_secs(2);
const STORED_WAIT_COMMIT: Duration = Duration::from_secs(10);
/// How long an answer waits for the database, for the same reason.
const BOOK_WAIT: Duration = Duration::from_secs(2);
/// Times to look again when another commit came between: it has happened once then.
const LOOKS_MAX: u32 = 4;

/// When a receipt may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptAfter {
    /// The clip is durable in the outbox: a lost disk of the bridge loses what was not yet in the store.
    Outbox,
    /// The clip is in store and database: no single disk loses it; an outage of the store holds up the edge.
    Store,
}

/// What is said of a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Answer {
    /// Nobody has committed it, and there is room.
    Unknown,
    /// It is committed, now or before.
    Committed(Box<Receipt>),
    /// Ask again later; nothing was committed, or it is not yet where it must be.
    NotNow,
}

impl From<Answer> for CommitMessage {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Unknown => Self::Unknown,
            Answer::Committed(receipt) => Self::Committed(*receipt),
            Answer::NotNow => {
                let retry_after_ms = u64::try_from(RETRY_AFTER.as_millis()).unwrap_or(u64::MAX);
                Self::Full { retry_after_ms }
            }
        }
    }
}

/// Where a clip was found.
enum Found {
    InOutbox,
    InBook(Box<Receipt>),
    Nowhere,
    Unsure,
}

/// Commits clips.
pub struct Committer {
    bridge: Arc<Bridge>,
    book: Arc<dyn Book>,
    key: SigningKey,
    after: ReceiptAfter,
    shutdown: Shutdown,
    unknowns: Mutex<Unknowns>,
    /// Commits go one after the other, in the order in which they arrive: the disk has one head.
    turn: tokio::sync::Mutex<()>,
}

impl Committer {
    /// A committer that signs receipts with `key`.
    #[must_use]
    pub fn new(
        bridge: Arc<Bridge>,
        book: Arc<dyn Book>,
        key: SigningKey,
        after: ReceiptAfter,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        let (unknowns, turn) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self { bridge, book, key, after, shutdown, unknowns, turn })
    }

    /// What is known of a clip.
    pub async fn status(&self, clip: &ClipId) -> Answer {
        match self.look(clip).await {
            Found::InOutbox => self.answer_waiting(clip, STORED_WAIT).await,
            Found::InBook(receipt) => self.known(receipt),
            Found::Unsure => Answer::NotNow,
            Found::Nowhere => {
                let usage = self.bridge.outbox.usage();
                if usage.bytes_max.saturating_sub(usage.bytes) < ROOM_BYTES {
                    self.bridge.count(count::FULL);
                    return Answer::NotNow;
                }
                Answer::Unknown
            }
        }
    }

    /// Commits a clip, or says what became of it before.
    pub async fn commit(&self, clip: SealedClip, committed_by: &Identity) -> Answer {
        let id = clip.record().clip.clone();
        let clip = Arc::new(clip);
        for _ in 0..LOOKS_MAX {
            match self.look(&id).await {
                Found::InOutbox => return self.answer_waiting(&id, STORED_WAIT_COMMIT).await,
                Found::InBook(receipt) => return self.known(receipt),
                Found::Unsure => return Answer::NotNow,
                Found::Nowhere => {}
            }
            let turn = self.turn.lock().await;
            if !self.unknowns().confirmed(&id) {
                // Another commit of this clip came between our look and our turn.
                continue;
            }
            let receipt = Receipt::sign(&self.key, clip.record(), self.bridge.utc());
            let done = self.append(&clip, &receipt, committed_by).await;
            drop(turn);
            return match done {
                Ok(()) => self.answer_new(&id, receipt).await,
                Err(error) => self.not_taken(&id, &error),
            };
        }
        tracing::warn!(clip = %id, "commits of one clip overtake one another");
        Answer::NotNow
    }

    async fn append(
        &self,
        clip: &Arc<SealedClip>,
        receipt: &Receipt,
        committed_by: &Identity,
    ) -> Result<(), OutboxError> {
        let (shared, receipt, by) = (Arc::clone(clip), receipt.clone(), committed_by.clone());
        let done = self.bridge.with_outbox(move |o| o.append(&shared, &receipt, &by)).await;
        if done.is_ok() {
            // Before the next commit gets its turn, and before anybody may find the outbox empty again.
            self.unknowns().void(&clip.record().clip);
            self.bridge.count(count::COMMITTED);
            self.bridge.committed.notify_one();
        }
        done
    }

    fn not_taken(&self, clip: &ClipId, error: &OutboxError) -> Answer {
        match error {
            OutboxError::Spool(SpoolError::Full { .. }) => self.bridge.count(count::FULL),
            OutboxError::Spool(_)
            | OutboxError::Name(_)
            | OutboxError::Version { .. }
            | OutboxError::Form { .. }
            | OutboxError::Clip { .. } => {
                self.bridge.count(count::DISK_FAILED);
                crate::alarm::raise(&self.bridge, "commit", error);
            }
        }
        tracing::warn!(%clip, %error, fault = ?error.fault(), "a clip was not committed");
        Answer::NotNow
    }

    fn known(&self, receipt: Box<Receipt>) -> Answer {
        self.bridge.count(count::KNOWN);
        Answer::Committed(receipt)
    }

    /// Looks for a clip. After `Nowhere` a confirmed ticket stands until somebody commits the clip.
    async fn look(&self, clip: &ClipId) -> Found {
        for _ in 0..LOOKS_MAX {
            let (ticket, confirmed) = self.unknowns().take(clip);
            if confirmed {
                return Found::Nowhere;
            }
            if self.bridge.outbox.contains(clip) {
                self.unknowns().void(clip);
                return Found::InOutbox;
            }
            match self.in_book(clip).await {
                Found::Nowhere if self.unknowns().confirm(clip, ticket) => return Found::Nowhere,
                // A commit came between; what it left is found at the next look.
                Found::Nowhere | Found::InOutbox => {}
                Found::InBook(receipt) => {
                    self.unknowns().void(clip);
                    return Found::InBook(receipt);
                }
                Found::Unsure => return Found::Unsure,
            }
        }
        Found::Unsure
    }

    async fn in_book(&self, clip: &ClipId) -> Found {
        let why = match tokio::time::timeout(BOOK_WAIT, self.book.receipt(clip)).await {
            Ok(Ok(Some(receipt))) => return Found::InBook(Box::new(receipt)),
            Ok(Ok(None)) => return Found::Nowhere,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.bridge.count(count::UNSURE);
        tracing::warn!(%clip, why, "the database cannot say whether a clip is known");
        Found::Unsure
    }

    /// The answer to whoever asks for a clip that waits in the outbox.
    async fn answer_waiting(&self, clip: &ClipId, wait: Duration) -> Answer {
        self.bridge.count(count::KNOWN);
        match self.after {
            ReceiptAfter::Store => self.stored(clip, wait).await,
            ReceiptAfter::Outbox => {
                let id = clip.clone();
                match self.bridge.with_outbox(move |outbox| outbox.receipt(&id)).await {
                    Ok(Some(receipt)) => Answer::Committed(Box::new(receipt)),
                    // It has just left the outbox: the database has it.
                    Ok(None) => self.stored(clip, wait).await,
                    Err(error) => {
                        tracing::error!(%clip, %error, "the receipt of a waiting clip cannot be read");
                        Answer::NotNow
                    }
                }
            }
        }
    }

    async fn answer_new(&self, clip: &ClipId, receipt: Receipt) -> Answer {
        match self.after {
            ReceiptAfter::Outbox => Answer::Committed(Box::new(receipt)),
            ReceiptAfter::Store => self.stored(clip, STORED_WAIT_COMMIT).await,
        }
    }

    /// Waits until a clip has left the outbox, and gives the receipt that the database has.
    async fn stored(&self, clip: &ClipId, wait: Duration) -> Answer {
        let left_outbox = async {
            loop {
                let mut left = std::pin::pin!(self.bridge.left.notified());
                // Before the look, so that no ring is missed.
                left.as_mut().enable();
                if !self.bridge.outbox.contains(clip) {
                    return;
                }
                left.await;
            }
        };
        let in_time = tokio::select! {
            biased;
            () = left_outbox => true,
            // False at shutdown as well: whoever asked asks again.
            _ = self.shutdown.sleep(wait) => false,
        };
        if !in_time {
            return Answer::NotNow;
        }
        match self.in_book(clip).await {
            Found::InBook(receipt) => Answer::Committed(receipt),
            // Set aside, or it cannot be said.
            Found::InOutbox | Found::Nowhere | Found::Unsure => Answer::NotNow,
        }
    }

    fn unknowns(&self) -> MutexGuard<'_, Unknowns> {
        self.unknowns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
