//! Owns what can go wrong with the object store, and what each asks for.

use base::{Fault, Faulty};
use proto::envelope::EnvelopeError;

/// Why an object was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Away, overloaded, too slow, or busy with the same key: it may be back soon.
    #[error("{action} {key}: the object store is not available: {why}")]
    Unavailable {
        /// What was tried.
        action: &'static str,
        /// With which key or prefix.
        key: String,
        /// What it or the network says.
        why: String,
    },
    /// It does not let us, or does not understand us.
    #[error("{action} {key}: the object store refuses: {why}; check the keys and what they allow")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// With which key or prefix.
        key: String,
        /// What it says.
        why: String,
    },
    /// The bucket is not there.
    #[error("{action} {key}: there is no bucket {bucket}: create it, or correct [store]")]
    NoBucket {
        /// What was tried.
        action: &'static str,
        /// With which key or prefix.
        key: String,
        /// The bucket.
        bucket: String,
    },
    /// No such object.
    #[error("{key} is not in the object store")]
    Missing {
        /// The key.
        key: String,
    },
    /// The object is no envelope, or not one to be believed. Nothing of it was used.
    #[error("{key} is no sealed frame: {source}")]
    NotSealed {
        /// The key.
        key: String,
        /// Why.
        source: EnvelopeError,
    },
    /// The object is no pack of a clip's frames. Nothing of it was used.
    #[error("{key} is no pack of frames: {why}")]
    NotPack {
        /// The key.
        key: String,
        /// Why.
        why: String,
    },
    /// The object is no result, or does not hold together.
    #[error("{key} is no result: {why}")]
    NotResult {
        /// The key.
        key: String,
        /// Why.
        why: String,
    },
    /// A genuine object at a key that is not its own: it was moved or copied.
    #[error("{key} holds what belongs at {belongs}")]
    WrongKey {
        /// Where it lies.
        key: String,
        /// Where it belongs.
        belongs: String,
    },
    /// The object is over its limit and was not read.
    #[error("{key} is over the limit of {bytes_max} bytes")]
    TooLarge {
        /// The key.
        key: String,
        /// The limit.
        bytes_max: usize,
    },
    /// A caller asked for something that can be neither frame nor result.
    #[error("{key:?} is no key or prefix of {of}")]
    NoKey {
        /// What was asked for.
        key: String,
        /// Of what it should have been.
        of: &'static str,
    },
}

impl Faulty for StoreError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unavailable { .. } => Fault::Transient,
            Self::Missing { .. } => Fault::Permanent,
            Self::NotSealed { .. }
            | Self::NotPack { .. }
            | Self::NotResult { .. }
            | Self::WrongKey { .. }
            | Self::TooLarge { .. } => Fault::Corrupt,
            Self::Refused { .. } | Self::NoBucket { .. } | Self::NoKey { .. } => Fault::Misuse,
        }
    }
}
