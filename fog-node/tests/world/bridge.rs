//! A twin of the bridge on a real QUIC socket: knows what was committed, answers as it is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use base::Shutdown;
use link::{Channel, Credentials, Listener, Peer, Protocol, quic::LinkError};
use proto::{
    ClipId, Role, UtcTime,
    limits::ENVELOPE_BYTES_MAX,
    record::{ClipRecord, Receipt},
    signing::SigningKey,
    wire::CommitMessage,
};

/// What the bridge does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Commits.
    Takes,
    /// Has no room, and says when to come back.
    Full,
    /// Knows nothing of a clip and then will not have it.
    Refuses,
    /// Ends the connection at the first envelope, and then commits.
    BreaksOnce,
}

/// When a full bridge says to come back, in milliseconds.
pub(crate) const FULL_RETRY_MS: u64 = 1234;

#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) record: ClipRecord,
    pub(crate) envelopes: Vec<Vec<u8>>,
    pub(crate) receipt: Receipt,
}

#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) mood: Mood,
    pub(crate) asked: u64,
    pub(crate) committed: BTreeMap<ClipId, Committed>,
}

#[derive(Clone)]
pub(crate) struct TwinBridge {
    pub(crate) address: String,
    books: Arc<Mutex<Books>>,
}

impl TwinBridge {
    pub(super) fn start(
        address: &str,
        credentials: &Credentials,
        mood: Mood,
        tasks: &Shutdown,
    ) -> Self {
        let (protocol, accept) = (Protocol::Commit, [Role::Fog]);
        let address = address.parse().unwrap();
        let bound = Listener::bind(address, credentials, protocol, &accept, Arc::default());
        let mut listener = bound.unwrap();
        let books = Books { mood, asked: 0, committed: BTreeMap::new() };
        let books = Arc::new(Mutex::new(books));
        let twin = Self { address: listener.local_addr().to_string(), books };
        let (serving, inner) = (twin.clone(), tasks.clone());
        tasks.spawn(async move {
            while let Some(peer) = listener.accept().await {
                let (serving, tasks) = (serving.clone(), inner.clone());
                inner.spawn(async move {
                    while let Ok(mut channel) = peer.accept_channel().await {
                        let (serving, peer) = (serving.clone(), peer.clone());
                        tasks.spawn(async move {
                            if serving.serve(&mut channel, &peer).await.is_ok() {
                                drop(channel.finish().await);
                            }
                        });
                    }
                });
            }
        });
        twin
    }

    pub(crate) fn key() -> SigningKey {
        SigningKey::from_seed(&[9; 32]).unwrap()
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    async fn serve(&self, channel: &mut Channel, peer: &Peer) -> Result<(), LinkError> {
        let mut envelopes = Vec::new();
        loop {
            match channel.recv().await? {
                CommitMessage::Status(clip) => {
                    let answer = self.status(&clip);
                    return channel.send(&answer).await;
                }
                CommitMessage::Frame { length } => {
                    if self.breaks() {
                        peer.close("the test says so");
                    }
                    envelopes.push(channel.recv_bytes(length.into(), ENVELOPE_BYTES_MAX).await?);
                }
                CommitMessage::Commit(record) => {
                    let answer = self.commit(*record, envelopes);
                    return channel.send(&answer).await;
                }
                other => panic!("a fog node sent {other:?}"),
            }
        }
    }

    fn breaks(&self) -> bool {
        let mut books = self.books();
        let breaks = books.mood == Mood::BreaksOnce;
        if breaks {
            books.mood = Mood::Takes;
        }
        breaks
    }

    fn status(&self, clip: &ClipId) -> CommitMessage {
        let mut books = self.books();
        books.asked += 1;
        match (books.committed.get(clip), books.mood) {
            (Some(committed), _) => CommitMessage::Committed(committed.receipt.clone()),
            (None, Mood::Full) => CommitMessage::Full { retry_after_ms: FULL_RETRY_MS },
            (None, Mood::Takes | Mood::Refuses | Mood::BreaksOnce) => CommitMessage::Unknown,
        }
    }

    fn commit(&self, record: ClipRecord, envelopes: Vec<Vec<u8>>) -> CommitMessage {
        let mut books = self.books();
        if books.mood == Mood::Refuses {
            return CommitMessage::Refuse { why: "the test says so".to_owned() };
        }
        let receipt = Receipt::sign(&Self::key(), &record, UtcTime::EPOCH);
        let clip = record.clip.clone();
        // The first commit of a clip wins.
        let known = books.committed.entry(clip).or_insert(Committed { record, envelopes, receipt });
        CommitMessage::Committed(known.receipt.clone())
    }
}
