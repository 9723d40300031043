//! Owns why a connection or a channel cannot be used, and what that asks for.

use std::{net::SocketAddr, time::Duration};

use base::{Fault, Faulty};
use proto::wire::WireError;
use quinn::ConnectionError;

use super::REFUSED;
use crate::tls::{Refusal, TlsError};

/// QUIC error codes from here on are TLS alerts (RFC 9001, section 4.8).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// Why a connection or a channel cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Our own credentials.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket cannot be had, or an address has no meaning.
    #[error("address {address}: {source}")]
    Address {
        /// The address as given.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// TLS failed: unknown certificate authority, wrong name, other protocol.
    #[error("handshake with {peer} failed: {why}; compare roots.pem and chain.pem of both sides")]
    Handshake {
        /// The other side.
        peer: SocketAddr,
        /// What TLS says.
        why: String,
    },
    /// We refused the peer, whose chain verified.
    #[error("refused {peer}: {refusal}")]
    Refused {
        /// The other side.
        peer: SocketAddr,
        /// Why.
        refusal: Refusal,
    },
    /// The peer refused us.
    #[error("{peer} refused us: {why}")]
    RefusedByPeer {
        /// The other side.
        peer: SocketAddr,
        /// What it says.
        why: String,
    },
    /// The connection or channel ended, was lost, or never came to be.
    #[error("connection with {peer} ended: {why}")]
    Lost {
        /// The other side.
        peer: SocketAddr,
        /// What happened.
        why: String,
    },
    /// The peer sent nothing for too long in the middle of bulk bytes.
    #[error("{peer} stalled for {} s", .after.as_secs())]
    Stalled {
        /// The other side.
        peer: SocketAddr,
        /// How long we waited.
        after: Duration,
    },
    /// A message that is over its cap or does not decode.
    #[error("message from or to {peer}: {source}")]
    Message {
        /// The other side.
        peer: SocketAddr,
        /// Why.
        source: WireError,
    },
    /// A message that has no place here.
    #[error("{peer} broke the protocol: {why}")]
    Protocol {
        /// The other side.
        peer: SocketAddr,
        /// What it did.
        why: String,
    },
    /// Bulk bytes over the limit that the caller set.
    #[error("{length} bytes from {peer} are over the limit of {limit}")]
    TooLong {
        /// The other side.
        peer: SocketAddr,
        /// What was announced.
        length: u64,
        /// The limit.
        limit: u64,
    },
}

impl Faulty for LinkError {
    fn fault(&self) -> Fault {
        match self {
            Self::Tls(error) => error.fault(),
            Self::Address { .. } | Self::Lost { .. } | Self::Stalled { .. } => Fault::Transient,
            Self::Handshake { .. } | Self::Refused { .. } | Self::RefusedByPeer { .. } => {
                Fault::Permanent
            }
            Self::Message { .. } | Self::Protocol { .. } | Self::TooLong { .. } => Fault::Corrupt,
        }
    }
}

/// What the loss of a connection means.
pub(super) fn lost(peer: SocketAddr, error: &ConnectionError) -> LinkError {
    let why = error.to_string();
    match error {
        ConnectionError::TransportError(e) if TLS_ALERTS.contains(&u64::from(e.code)) => {
            LinkError::Handshake { peer, why }
        }
        ConnectionError::ConnectionClosed(e) if TLS_ALERTS.contains(&u64::from(e.error_code)) => {
            LinkError::Handshake { peer, why }
        }
        ConnectionError::ApplicationClosed(e) if e.error_code == REFUSED => {
            let why = String::from_utf8_lossy(&e.reason).chars().take(200).collect();
            LinkError::RefusedByPeer { peer, why }
        }
        ConnectionError::VersionMismatch => LinkError::Handshake { peer, why },
        ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => LinkError::Lost { peer, why },
    }
}
