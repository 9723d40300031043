//! Owns the bytes of messages, over QUIC and over pipes. This is the only file that names bincode.
//!
//! A message is one version byte and bincode 2 (standard configuration). The length is capped before decoding.
//! bincode's maintainers have stopped (RUSTSEC-2025-0141): nothing that rests on a disk uses it, and replacing it is
//! a new version byte and a new pair of functions here.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    ClipId, Clock, Digest, Interval, UtcTime,
    limits::MESSAGE_BYTES_MAX,
    record::{ClipRecord, Receipt},
};

/// Version of the messages that this build writes. It reads this one only, being the first.
pub const WIRE_VERSION: u8 = 1;
/// ALPN of edge to fog.
pub const ALPN_CLIP: &[u8] = b"celosia-clip/1";
/// ALPN of fog to bridge.
pub const ALPN_COMMIT: &[u8] = b"celosia-commit/1";

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Over the cap, whatever is inside.
    #[error("message of {0} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
    /// Another version.
    #[error("message version {0:?} is not {WIRE_VERSION}")]
    Version(Option<u8>),
    /// Not the message that was expected.
    #[error("message does not decode: {0}")]
    Decode(String),
    /// Bytes behind the message.
    #[error("{0} bytes behind the message")]
    Trailing(usize),
    /// A message of ours that cannot be written.
    #[error("message cannot be encoded: {0}")]
    Encode(String),
}

/// A message of one of the two protocols, or between processes of one of their ends.
pub trait WireMessage: Serialize + DeserializeOwned {}

impl WireMessage for ClipMessage {}
impl WireMessage for CommitMessage {}

/// The key of the redaction noise of one camera and epoch. Wiped on drop, never shown, never at rest in the clear.
#[derive(
    Clone, PartialEq, Eq, Serialize, Deserialize, zeroize::Zeroize, zeroize::ZeroizeOnDrop,
)]
pub struct NoiseKey(pub [u8; 32]);

impl std::fmt::Debug for NoiseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NoiseKey(..)")
    }
}

/// What an edge says of a clip before it sends bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The clip.
    pub clip: ClipId,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The noise key of the camera's epoch.
    pub noise_key: NoiseKey,
    /// The epoch.
    pub noise_epoch: u64,
    /// The clip's stretch of the session.
    pub interval: Interval,
    /// The sampling interval, in nanoseconds.
    pub every_ns: i64,
    /// When the clip began.
    pub captured_at: UtcTime,
    /// How far that time can be trusted.
    pub clock: Clock,
}

/// Why a clip is refused. A closed set: it labels counters and decides what the edge does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefuseReason {
    /// No credit or no worker: try again later; this was no attempt.
    Busy,
    /// The bridge cannot be reached or is full: try again later; this was no attempt.
    BridgeUnavailable,
    /// The bytes are not those of the digest.
    Corrupt,
    /// The worker crashed or ran out of time: this was an attempt.
    Failed,
    /// The offer breaks a limit or is not this peer's to make.
    Invalid,
}

/// Between edge and fog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClipMessage {
    /// Edge: here is a clip.
    Offer(Box<Offer>),
    /// Fog: send from this offset; credit is given for the whole clip. Raw bytes follow from the edge.
    Accept {
        /// First byte that is missing.
        offset: u64,
    },
    /// Fog: not now, or never.
    Refuse {
        /// Why.
        reason: RefuseReason,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// Fog: all bytes are here and verified. Nothing may be deleted on it.
    Received,
    /// Fog: the bridge's word, also for a clip that was committed before.
    Receipt(Receipt),
}

/// Between fog and bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommitMessage {
    /// Fog: what do you know of this clip?
    Status(ClipId),
    /// Bridge: nothing; there is room.
    Unknown,
    /// Bridge: no room; nothing should be processed.
    Full {
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// Fog: an envelope of this many bytes follows raw.
    Frame {
        /// Its length in bytes.
        length: u32,
    },
    /// Fog: and this is the whole clip.
    Commit(Box<ClipRecord>),
    /// Bridge: durable, now or before.
    Committed(Receipt),
    /// Bridge: not a clip that can be committed.
    Refuse {
        /// One line for the log of the fog node.
        why: String,
    },
}

/// The bytes of a message.
///
/// # Errors
/// When the message is over the cap.
pub fn encode<M: WireMessage>(message: &M) -> Result<Vec<u8>, WireError> {
    let body = bincode::serde::encode_to_vec(message, bincode::config::standard())
        .map_err(|e| WireError::Encode(e.to_string()))?;
    if body.len() + 1 > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(body.len() + 1));
    }
    Ok([&[WIRE_VERSION], body.as_slice()].concat())
}

/// The message of these bytes, all of them.
///
/// # Errors
/// When the bytes are over the cap or not exactly one message of this version.
pub fn decode<M: WireMessage>(bytes: &[u8]) -> Result<M, WireError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(bytes.len()));
    }
    let Some((&WIRE_VERSION, body)) = bytes.split_first() else {
        return Err(WireError::Version(bytes.first().copied()));
    };
    let config = bincode::config::standard().with_limit::<MESSAGE_BYTES_MAX>();
    let (message, used) = bincode::serde::decode_from_slice(body, config)
        .map_err(|e| WireError::Decode(e.to_string()))?;
    if used != body.len() {
        return Err(WireError::Trailing(body.len() - used));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ClockSource;

    fn offer() -> ClipMessage {
        ClipMessage::Offer(Box::new(Offer {
            clip: "town/cam-1/000102030405060708090a0b0c0d0e0f/1".parse().unwrap(),
            digest: Digest::of(b"clip"),
            length: 1000,
            attempt: 1,
            noise_key: NoiseKey([9; 32]),
            noise_epoch: 2,
            interval: Interval { start_ns: 0, end_ns: 10_000_000_000 },
            every_ns: 5_000_000_000,
            captured_at: UtcTime::EPOCH,
            clock: Clock { source: ClockSource::File, uncertainty_ms: None },
        }))
    }

    #[test]
    fn a_message_reads_back_as_it_was_written() {
        assert_eq!(decode::<ClipMessage>(&encode(&offer()).unwrap()).unwrap(), offer());
    }

    #[test]
    fn messages_keep_their_golden_bytes() {
        let digest = Digest::of(&encode(&offer()).unwrap()).to_string();
        assert_eq!(digest, include_str!("../tests/golden/offer-v1.blake3").trim());
    }

    #[test]
    fn a_message_over_its_cap_is_refused_before_decoding() {
        let long = vec![WIRE_VERSION; MESSAGE_BYTES_MAX + 1];
        assert_eq!(decode::<ClipMessage>(&long), Err(WireError::TooLong(long.len())));
    }

    #[test]
    fn bytes_from_outside_never_panic() {
        // A small deterministic fuzz: every prefix and every single-byte change of a good message.
        let good = encode(&offer()).unwrap();
        for at in 0..good.len() {
            assert!(decode::<ClipMessage>(&good[..at]).is_err());
            for bit in 0..8 {
                let mut changed = good.clone();
                changed[at] ^= 1 << bit;
                if let Ok(message) = decode::<ClipMessage>(&changed) {
                    assert_ne!(message, offer());
                }
            }
        }
        assert!(matches!(
            decode::<ClipMessage>(&[&good[..], &[0]].concat()),
            Err(WireError::Trailing(1))
        ));
        assert!(matches!(decode::<ClipMessage>(&[2, 0]), Err(WireError::Version(Some(2)))));
    }

    #[test]
    fn a_noise_key_does_not_show_itself() {
        assert!(!format!("{:?}", offer()).contains("9, 9"));
    }
}
