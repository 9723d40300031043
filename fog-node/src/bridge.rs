//! Owns the way to the bridge: one connection that is made again whenever it is lost, the question whether a clip is
//! known, and the commit of a whole clip.
//!
//! ```text
//! fog  Status(clip) ──────────────▶ bridge   one channel
//! fog ◀── Unknown | Committed(receipt) | Full | Refuse
//!
//! fog  Frame{length}, bytes, ... Commit(record) ▶ bridge   one channel
//! fog ◀── Committed(receipt) | Full | Refuse
//! ```
//!
//! A commit may be sent again: the first one of a clip wins at the bridge, and a later one gets its answer. The receipt's
//! signature is the edge's to verify, which pins the bridge's key.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use base::{Fault, Faulty, Shutdown, counters::Counters};
use link::{
    Channel, Credentials, Peer, Protocol,
    quic::{self, LinkError},
    tls::TlsError,
};
use proto::{
    ClipId, Role,
    record::Receipt,
    wire::{CommitMessage, WireError},
};
use tokio::sync::watch;

use crate::{node::count, pipeline::ClipOutput};

/// Longest wait for a connection: a bridge that is there answers within two round trips.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Pause before a lost connection is made again: one that is refused each time must not spin.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for what the bridge knows of a clip: a look into its memory and its database.
const STATUS_MAX: Duration = Duration::from_secs(5);
/// Longest wait for one commit: 64 of the largest envelopes to a slow disk, and its fsync.
const COMMIT_MAX: Duration = Duration::from_secs(30);
/// How long a commit is tried while the bridge is away: a restart fits, and the clip is safe at the edge anyway.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the bridge gave no receipt.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// There is no connection at the moment.
    #[error("the bridge is away")]
    Away,
    /// It did not answer in time.
    #[error("the bridge did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection or a channel failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Our own credentials.
    #[error(transparent)]
    Credentials(#[from] TlsError),
    /// It has no room.
    #[error("the bridge is full")]
    Full {
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// It will not have this clip.
    #[error("the bridge refuses the clip: {0}")]
    Refused(String),
    /// It answered with something that is no answer to this, or of another clip.
    #[error("the bridge answered out of place")]
    Protocol,
    /// An envelope or record of ours is over a limit.
    #[error("the clip cannot be sent: {0}")]
    Message(#[from] WireError),
}

impl Faulty for BridgeError {
    fn fault(&self) -> Fault {
        match self {
            // Credentials and roots may be mended while we run, so that a refused connection is tried again too.
            Self::Away
            | Self::Silent(_)
            | Self::Link(_)
            | Self::Credentials(_)
            | Self::Full { .. } => Fault::Transient,
            Self::Refused(_) => Fault::Permanent,
            Self::Protocol | Self::Message(_) => Fault::Misuse,
        }
    }
}

/// What the bridge knows of a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, and it has room.
    Unknown,
    /// It committed the clip before.
    Known(Receipt),
}

/// The bridge, as a fog node sees it.
#[derive(Debug, Clone)]
pub struct Bridge {
    peer: watch::Receiver<Option<Peer>>,
    counters: Arc<Counters>,
    tasks: Shutdown,
}

impl Bridge {
    /// Connects in the background and stays connected until shutdown. Credentials are read again for each connection,
    /// so that a renewed certificate is used without a restart.
    #[must_use]
    pub fn connect(
        address: String,
        credentials: PathBuf,
        counters: Arc<Counters>,
        tasks: &Shutdown,
    ) -> Self {
        let (sender, peer) = watch::channel(None);
        let connection = Connection {
            address,
            credentials,
            counters: Arc::clone(&counters),
            tasks: tasks.clone(),
            sender,
        };
        tasks.spawn(connection.keep());
        Self { peer, counters, tasks: tasks.clone() }
    }

    /// Whether there is a connection at the moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.peer.borrow().is_some()
    }

    fn peer(&self) -> Result<Peer, BridgeError> {
        self.peer.borrow().clone().ok_or(BridgeError::Away)
    }

    /// What the bridge knows of a clip. Answers at once when there is no connection.
    ///
    /// # Errors
    /// When the bridge is away, full, or will not have the clip.
    pub async fn status(&self, clip: &ClipId) -> Result<Standing, BridgeError> {
        let peer = self.peer()?;
        let asked = async {
            let mut channel = peer.open_channel().await?;
            channel.send(&CommitMessage::Status(clip.clone())).await?;
            answer(&mut channel, clip, true).await
        };
        let answered = within(STATUS_MAX, asked).await;
        if matches!(answered, Err(BridgeError::Silent(_))) {
            // It may have died without a word: a new connection tells sooner than this one's time-out.
            peer.close("no answer in time");
        }
        answered
    }

    /// Commits a clip. Tries again for [`PATIENCE`] while the bridge is away.
    ///
    /// # Errors
    /// When the bridge stays away, is full, or will not have the clip. Nothing is lost: the edge has the clip.
    pub async fn commit(&self, output: Arc<ClipOutput>) -> Result<Receipt, BridgeError> {
        match tokio::time::timeout(PATIENCE, self.commit_patiently(output)).await {
            Ok(done) => done,
            Err(_) => Err(BridgeError::Silent(PATIENCE)),
        }
    }

    /// Boxed, and with its own handles: so the compiler sees that it may go between threads.
    fn commit_patiently(&self, output: Arc<ClipOutput>) -> Answer<'_, Receipt> {
        let bridge = self.clone();
        Box::pin(base::retry(&self.tasks, "committing a clip", async move || {
            bridge.counters.add(count::COMMITS, 1);
            within(COMMIT_MAX, bridge.commit_once(&output)).await
        }))
    }

    async fn commit_once(&self, output: &ClipOutput) -> Result<Receipt, BridgeError> {
        let mut channel = self.peer()?.open_channel().await?;
        let sent = send(&mut channel, output).await;
        // A bridge that stops listening half way may have said why.
        match (sent, answer(&mut channel, &output.record.clip, false).await) {
            (_, Ok(Standing::Known(receipt))) => Ok(receipt),
            (_, Ok(Standing::Unknown)) => Err(BridgeError::Protocol),
            (Err(error), Err(BridgeError::Link(_))) | (_, Err(error)) => Err(error),
        }
    }
}

/// What comes of trying.
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BridgeError>> + Send + 'a>>;

async fn send(channel: &mut Channel, output: &ClipOutput) -> Result<(), BridgeError> {
    for envelope in &output.envelopes {
        let length = u32::try_from(envelope.len());
        let length = length.map_err(|_| WireError::TooLong(envelope.len()))?;
        channel.send(&CommitMessage::Frame { length }).await?;
        channel.send_bytes(envelope).await?;
    }
    Ok(channel.send(&CommitMessage::Commit(Box::new(output.record.clone()))).await?)
}

/// The answer to a question or a commit; only a question may have the answer that nothing is known.
async fn answer(
    channel: &mut Channel,
    clip: &ClipId,
    question: bool,
) -> Result<Standing, BridgeError> {
    match channel.recv().await? {
        CommitMessage::Committed(receipt) if receipt.clip == *clip => Ok(Standing::Known(receipt)),
        CommitMessage::Unknown if question => Ok(Standing::Unknown),
        CommitMessage::Full { retry_after_ms } => Err(BridgeError::Full { retry_after_ms }),
        CommitMessage::Refuse { why } => Err(BridgeError::Refused(why)),
        CommitMessage::Committed(_)
        | CommitMessage::Unknown
        | CommitMessage::Status(_)
        | CommitMessage::Frame { .. }
        | CommitMessage::Commit(_) => Err(BridgeError::Protocol),
    }
}

async fn within<T>(
    wait: Duration,
    work: impl Future<Output = Result<T, BridgeError>>,
) -> Result<T, BridgeError> {
    tokio::time::timeout(wait, work).await.unwrap_or(Err(BridgeError::Silent(wait)))
}

/// The task that keeps the connection.
struct Connection {
    address: String,
    credentials: PathBuf,
    counters: Arc<Counters>,
    tasks: Shutdown,
    sender: watch::Sender<Option<Peer>>,
}

impl Connection {
    async fn keep(self) {
        while !self.tasks.is_requested() {
            let connected = tokio::select! {
                biased;
                () = self.tasks.requested() => return,
                connected = self.dial_patiently() => connected,
            };
            let Ok(peer) = connected else { return };
            self.counters.add(count::BRIDGE_CONNECTS, 1);
            tracing::info!(bridge = %peer.identity(), address = %peer.address(), "connected");
            self.sender.send_replace(Some(peer.clone()));
            let lost = tokio::select! {
                biased;
                () = self.tasks.requested() => None,
                error = peer.closed() => Some(error),
            };
            self.sender.send_replace(None);
            let Some(error) = lost else { return peer.finish("stopping").await };
            tracing::warn!(%error, "the connection with the bridge was lost");
            self.tasks.sleep(RECONNECT_PAUSE).await;
        }
    }

    /// Boxed for the same reason as a commit.
    fn dial_patiently(&self) -> Answer<'_, Peer> {
        let (address, credentials) = (self.address.clone(), self.credentials.clone());
        Box::pin(base::retry(&self.tasks, "connecting with the bridge", async move || {
            within(CONNECT_MAX, dial(&address, &credentials)).await
        }))
    }
}

async fn dial(address: &str, credentials: &Path) -> Result<Peer, BridgeError> {
    let credentials = Credentials::load(credentials)?;
    Ok(quic::connect(address, &credentials, Protocol::Commit, Role::Bridge).await?)
}
