//! Owns what a fog node holds of clips: credit per whole clip, and the prefix of an interrupted upload for a while.
//! Pure: time and bytes come in as arguments.

use std::{collections::BTreeMap, time::Duration};

use proto::{
    ClipId, Digest, Identity,
    limits::{CLIP_BYTES_MAX, RESUME_KEPT_MS},
    wire::{Offer, RefuseReason},
};

/// Why received bytes are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// More bytes than were offered.
    #[error("clip {clip}: more than the {length} bytes that were offered")]
    TooMany {
        /// The clip.
        clip: ClipId,
        /// Its length as offered.
        length: u64,
    },
    /// Bytes are missing.
    #[error("clip {clip}: {have} of {length} bytes")]
    Incomplete {
        /// The clip.
        clip: ClipId,
        /// Bytes so far.
        have: u64,
        /// Its length as offered.
        length: u64,
    },
    /// All bytes are there and they are not those of the digest.
    #[error("clip {clip}: the bytes are not those of digest {digest}")]
    Digest {
        /// The clip.
        clip: ClipId,
        /// The digest as offered.
        digest: Digest,
    },
}

/// What makes two uploads the same bytes from the same process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrefixKey {
    /// Who uploads: nobody continues the upload of another.
    pub peer: String,
    /// The clip.
    pub clip: ClipId,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
}

impl PrefixKey {
    /// The key of an offer.
    #[must_use]
    pub fn new(peer: &Identity, offer: &Offer) -> Self {
        let (clip, digest, length) = (offer.clip.clone(), offer.digest, offer.length);
        Self { peer: peer.to_string(), clip, digest, length }
    }
}

/// One clip on its way in, with the bytes so far. Owned by whoever receives it.
pub struct Reception {
    key: PrefixKey,
    bytes: Vec<u8>,
    hasher: blake3::Hasher,
}

impl std::fmt::Debug for Reception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reception({}, {} of {} bytes)", self.key.clip, self.offset(), self.key.length)
    }
}

impl Reception {
    /// First byte that is missing.
    #[must_use]
    pub fn offset(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    /// Bytes that are missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.key.length.saturating_sub(self.offset())
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they go beyond the offered length; then none is taken.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > self.missing() {
            let (clip, length) = (self.key.clip.clone(), self.key.length);
            return Err(TransferError::TooMany { clip, length });
        }
        self.hasher.update(bytes);
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The whole clip, if it is whole and is the clip that was offered.
    ///
    /// # Errors
    /// When bytes are missing or the digest is another; the bytes are gone then.
    pub fn verify(self) -> Result<Vec<u8>, TransferError> {
        let (have, length) = (self.offset(), self.key.length);
        if have != length {
            return Err(TransferError::Incomplete { clip: self.key.clip, have, length });
        }
        if Digest::new(*self.hasher.finalize().as_bytes()) != self.key.digest {
            return Err(TransferError::Digest { clip: self.key.clip, digest: self.key.digest });
        }
        Ok(self.bytes)
    }
}

/// What holds credit for a clip.
#[derive(Debug)]
enum Hold {
    /// It is being received or processed.
    Active,
    /// Its upload broke off; it may go on until then.
    Prefix(Box<Reception>, Duration),
}

/// Credit and prefixes of one fog node.
#[derive(Debug)]
pub struct ReceiveState {
    bytes_max: u64,
    holds: BTreeMap<PrefixKey, Hold>,
}

impl ReceiveState {
    /// Gives credit for at most `bytes_max` bytes at a time, normally
    /// [`FOG_INFLIGHT_BYTES_MAX`](proto::limits::FOG_INFLIGHT_BYTES_MAX).
    #[must_use]
    pub const fn new(bytes_max: u64) -> Self {
        Self { bytes_max, holds: BTreeMap::new() }
    }

    /// Bytes for which credit is given, prefixes included: each counts with the whole length of its clip.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.holds.keys().map(|key| key.length).sum()
    }

    /// Bytes for which a new clip would get credit now: prefixes give way to it.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let active = self.holds.iter().filter(|(_, hold)| matches!(hold, Hold::Active));
        self.bytes_max.saturating_sub(active.map(|(key, _)| key.length).sum())
    }

    /// Gives credit for the whole clip and hands out what there is of it. Whoever takes the reception must give it
    /// back by [`Self::suspend`] or end it by [`Self::release`].
    ///
    /// # Errors
    /// `Invalid` for a length that no clip has; `Busy` without credit or while the same clip is being received.
    pub fn begin(&mut self, now: Duration, key: &PrefixKey) -> Result<Reception, RefuseReason> {
        self.expire(now);
        if key.length == 0 || key.length > CLIP_BYTES_MAX || key.length > self.bytes_max {
            return Err(RefuseReason::Invalid);
        }
        match self.holds.remove(key) {
            Some(Hold::Prefix(reception, _)) => {
                self.holds.insert(key.clone(), Hold::Active);
                return Ok(*reception);
            }
            Some(Hold::Active) => {
                self.holds.insert(key.clone(), Hold::Active);
                return Err(RefuseReason::Busy);
            }
            None => {}
        }
        if key.length > self.free_bytes() {
            return Err(RefuseReason::Busy);
        }
        self.make_room(key.length);
        let hasher = blake3::Hasher::new();
        self.holds.insert(key.clone(), Hold::Active);
        Ok(Reception { key: key.clone(), bytes: Vec::new(), hasher })
    }

    /// Keeps the prefix of an upload that broke off, for [`RESUME_KEPT_MS`].
    pub fn suspend(&mut self, now: Duration, reception: Reception) {
        let until = now + Duration::from_millis(RESUME_KEPT_MS);
        let key = reception.key.clone();
        if reception.bytes.is_empty() {
            self.release(&key);
        } else {
            self.holds.insert(key, Hold::Prefix(Box::new(reception), until));
        }
    }

    /// The clip is done with, one way or the other: its credit is free.
    pub fn release(&mut self, key: &PrefixKey) {
        self.holds.remove(key);
    }

    /// Drops the prefixes whose time is over.
    pub fn expire(&mut self, now: Duration) {
        self.holds.retain(|_, hold| match hold {
            Hold::Active => true,
            Hold::Prefix(_, until) => *until > now,
        });
    }

    /// Drops the oldest prefixes until `length` more bytes fit.
    fn make_room(&mut self, length: u64) {
        while self.held_bytes() + length > self.bytes_max {
            let prefixes = self.holds.iter().filter_map(|(key, hold)| match hold {
                Hold::Active => None,
                Hold::Prefix(_, until) => Some((*until, key)),
            });
            let Some((_, oldest)) = prefixes.min() else { return };
            let oldest = oldest.clone();
            self.holds.remove(&oldest);
        }
    }
}
