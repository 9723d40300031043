//! Owns the border to the fog: one upload of one clip, over QUIC, in memory, or with faults.

use std::{collections::BTreeMap, future::Future, path::PathBuf, pin::Pin, sync::Arc};

use link::{
    Credentials, Peer, Protocol,
    quic::{self, LinkError},
    tls::TlsError,
    transfer::{UploadOutcome, upload_clip},
};
use proto::{Role, wire::Offer};
use tokio::sync::Mutex;

/// Why an upload brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// Our own credentials.
    #[error(transparent)]
    Credentials(#[from] TlsError),
    /// The connection. Says by its kind whether the clip had its attempt.
    #[error("fog node {address}: {source}")]
    Link {
        /// The node.
        address: String,
        /// What happened.
        source: LinkError,
    },
}

impl CourierError {
    /// Whether the fog had the clip and did not answer in time: an attempt of the clip. A lost connection is none, since
    /// networks flap more often than clips kill a fog node, whose parent process contains no codec.
    #[must_use]
    pub const fn is_attempt(&self) -> bool {
        match self {
            Self::Link { source: LinkError::Stalled { .. }, .. } => true,
            Self::Credentials(_) | Self::Link { .. } => false,
        }
    }
}

/// Brings a clip to a fog node and an answer back.
pub trait Courier: Send + Sync {
    /// One upload to the node at this address.
    ///
    /// # Errors
    /// When there is no answer.
    fn upload<'a>(&'a self, address: &'a str, offer: &'a Offer, bytes: &'a [u8]) -> Answer<'a>;
}

/// The answer to an upload, when it comes.
pub type Answer<'a> =
    Pin<Box<dyn Future<Output = Result<UploadOutcome, CourierError>> + Send + 'a>>;

/// The courier over QUIC. Keeps a connection to each node; reads its credentials again for each new one, so that a
/// renewed certificate is used without a restart.
pub struct QuicCourier {
    credentials: PathBuf,
    peers: Mutex<BTreeMap<String, Arc<Peer>>>,
}

impl QuicCourier {
    /// With the credentials in this folder.
    #[must_use]
    pub fn new(credentials: PathBuf) -> Self {
        Self { credentials, peers: Mutex::default() }
    }

    async fn peer(&self, address: &str) -> Result<Arc<Peer>, CourierError> {
        let mut peers = self.peers.lock().await;
        if let Some(peer) = peers.get(address) {
            return Ok(Arc::clone(peer));
        }
        let credentials = Credentials::load(&self.credentials)?;
        let peer = quic::connect(address, &credentials, Protocol::Clip, Role::Fog).await;
        let told = |source| CourierError::Link { address: address.to_owned(), source };
        let peer = Arc::new(peer.map_err(told)?);
        peers.insert(address.to_owned(), Arc::clone(&peer));
        Ok(peer)
    }
}

impl Courier for QuicCourier {
    fn upload<'a>(&'a self, address: &'a str, offer: &'a Offer, bytes: &'a [u8]) -> Answer<'a> {
        Box::pin(async move {
            let peer = self.peer(address).await?;
            let outcome = upload_clip(&peer, offer, bytes).await;
            if outcome.is_err() {
                // The next upload connects afresh; a connection that broke once is not asked again.
                let mut peers = self.peers.lock().await;
                if peers.get(address).is_some_and(|known| Arc::ptr_eq(known, &peer)) {
                    peers.remove(address);
                }
            }
            outcome.map_err(|source| CourierError::Link { address: address.to_owned(), source })
        })
    }
}
