//! Owns a clip at the edge as data: before it is kept, as a record, as an offer.

use std::time::Duration;

use proto::{
    ClipId, Clock, Digest, Interval, UtcTime,
    limits::NOISE_EPOCH_S,
    wire::{NoiseKey, Offer},
};
use serde::{Deserialize, Serialize};

use crate::names::ClipName;

/// What stands in a clip's record beside its bytes. JSON, versioned: it rests on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) version: u16,
    pub(crate) clip: ClipId,
    pub(crate) digest: Digest,
    pub(crate) interval: Interval,
    pub(crate) every_ns: i64,
    pub(crate) captured_at: UtcTime,
    pub(crate) clock: Clock,
    pub(crate) noise_epoch: u64,
}

/// A closed clip to be kept.
#[derive(Debug)]
pub struct Fresh<'a> {
    /// Its id.
    pub clip: ClipId,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its stretch of the session.
    pub interval: Interval,
    /// The sampling interval, in nanoseconds.
    pub every_ns: i64,
    /// When it began.
    pub captured_at: UtcTime,
    /// How far that can be trusted.
    pub clock: Clock,
}

/// A clip to be uploaded.
#[derive(Debug)]
pub struct Job {
    /// Its record.
    pub name: ClipName,
    /// What the fog is told.
    pub offer: Offer,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What became of an upload that brought no receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Refused for want of room, or the network failed before all bytes were there: no attempt of the clip.
    NotTried,
    /// It ended in a crash or a time-out beyond the edge: an attempt.
    Attempt,
}

/// Bounds of what is held.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Longest age of a held clip.
    pub age_max: Duration,
}

impl Fresh<'_> {
    /// Name and header of the clip's record.
    pub(crate) fn describe(&self) -> (ClipName, Header) {
        let slots = self.interval.slots(self.every_ns);
        let noise_epoch = epoch(self.captured_at);
        let name = ClipName {
            camera: self.clip.camera.clone(),
            session: self.clip.session,
            seq: self.clip.seq,
            slots: slots.end.saturating_sub(slots.start),
            epoch: noise_epoch,
        };
        let header = Header {
            version: 1,
            clip: self.clip.clone(),
            digest: Digest::of(self.bytes),
            interval: self.interval,
            every_ns: self.every_ns,
            captured_at: self.captured_at,
            clock: self.clock,
            noise_epoch,
        };
        (name, header)
    }
}

impl Header {
    pub(crate) fn offer(self, attempt: u32, length: u64, noise_key: NoiseKey) -> Offer {
        Offer {
            clip: self.clip,
            digest: self.digest,
            length,
            attempt,
            noise_key,
            noise_epoch: self.noise_epoch,
            interval: self.interval,
            every_ns: self.every_ns,
            captured_at: self.captured_at,
            clock: self.clock,
        }
    }
}

/// The noise epoch of an instant.
pub(crate) fn epoch(at: UtcTime) -> u64 {
    u64::try_from(at.micros()).unwrap_or(0) / 1_000_000 / NOISE_EPOCH_S
}
