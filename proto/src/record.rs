//! Owns the outcome of a clip: the `ClipRecord` that a fog node commits and the signed receipt that it earns.

use serde::{Deserialize, Serialize};

use crate::{
    ClipId, Clock, Digest, Interval, UtcTime,
    limits::SLOTS_MAX,
    signing::{Domain, PublicKey, Signature, SigningError, SigningKey},
};

/// Why a frame was not let out. A closed set: it labels counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithheldReason {
    /// The detector failed or gave numbers that are no boxes.
    Detector,
    /// The auditor failed.
    Auditor,
    /// The audit still found a face after the last repetition.
    Residual,
    /// More faces than a manifest holds.
    TooManyFaces,
    /// Drawing, encoding or sealing failed.
    Encoding,
}

/// What became of one sampling slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotOutcome {
    /// A frame was sealed: digest of its envelope.
    Frame(Digest),
    /// Privacy did not let the frame out.
    Withheld(WithheldReason),
    /// The picture could not be decoded.
    Undecodable,
}

/// One slot of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// Slot on the session's grid.
    pub slot: u64,
    /// What became of it.
    pub outcome: SlotOutcome,
}

/// Why a whole clip is undecodable, for good. Such a clip stays at the edge for a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClipFailure {
    /// No container that we read, or no video in it.
    NotVideo,
    /// The bytes end early.
    Truncated,
    /// Pictures over the limit.
    PictureTooLarge,
    /// No picture could be decoded.
    Undecodable,
}

/// Everything that became of a clip: committed at once or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipRecord {
    /// The clip.
    pub clip: ClipId,
    /// Its stretch of the session.
    pub interval: Interval,
    /// The sampling interval, in nanoseconds.
    pub every_ns: i64,
    /// When the clip began.
    pub captured_at: UtcTime,
    /// How far that time can be trusted.
    pub clock: Clock,
    /// Which attempt at the edge this was, from 1.
    pub attempt: u32,
    /// Digest of the policy.
    pub policy: Digest,
    /// Every slot, in order.
    pub slots: Vec<SlotRecord>,
    /// Set when the clip as a whole could not be read; then every slot is undecodable.
    pub failure: Option<ClipFailure>,
}

/// The record does not account for its interval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record of clip {clip} does not account for each of its slots exactly once")]
pub struct RecordError {
    /// The clip.
    pub clip: String,
}

impl ClipRecord {
    /// Whether each slot of the interval stands in the record exactly once, in order, and within the limit.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self) -> Result<(), RecordError> {
        let expected = self.interval.slots(self.every_ns);
        let fits = self.slots.len() <= SLOTS_MAX && self.slots.iter().map(|s| s.slot).eq(expected);
        fits.then_some(()).ok_or_else(|| RecordError { clip: self.clip.to_string() })
    }

    /// How many slots were delivered, withheld, undecodable.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for slot in &self.slots {
            match slot.outcome {
                SlotOutcome::Frame(_) => tally.delivered += 1,
                SlotOutcome::Withheld(_) => tally.withheld += 1,
                SlotOutcome::Undecodable => tally.undecodable += 1,
            }
        }
        tally
    }
}

/// Slots by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Frames that are durable beyond the fog.
    pub delivered: u32,
    /// Frames that privacy did not let out.
    pub withheld: u32,
    /// Pictures that could not be decoded.
    pub undecodable: u32,
}

/// The bridge's word that a clip is accounted for. Only on a verified receipt may an edge destroy a clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The clip.
    pub clip: ClipId,
    /// Slots by outcome.
    pub tally: Tally,
    /// Set when the clip could not be read at all.
    pub failure: Option<ClipFailure>,
    /// When the bridge committed.
    pub committed_at: UtcTime,
    /// By the bridge's receipt key, over all of the above.
    pub signature: Signature,
}

impl Receipt {
    /// Signs the receipt for a record that is durable.
    #[must_use]
    pub fn sign(key: &SigningKey, record: &ClipRecord, committed_at: UtcTime) -> Self {
        let (clip, tally, failure) = (record.clip.clone(), record.tally(), record.failure);
        let signature = key.sign(Domain::Receipt, &[&message(&clip, tally, failure, committed_at)]);
        Self { clip, tally, failure, committed_at, signature }
    }

    /// Checks the bridge's signature.
    ///
    /// # Errors
    /// [`SigningError::Mismatch`] when it does not verify.
    pub fn verify(&self, key: &PublicKey) -> Result<(), SigningError> {
        let message = message(&self.clip, self.tally, self.failure, self.committed_at);
        key.verify(Domain::Receipt, &[&message], &self.signature)
    }
}

fn message(clip: &ClipId, tally: Tally, failure: Option<ClipFailure>, at: UtcTime) -> Vec<u8> {
    let Tally { delivered, withheld, undecodable } = tally;
    format!("{clip}|{delivered}|{withheld}|{undecodable}|{failure:?}|{}", at.micros()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ClockSource;

    pub(crate) fn record() -> ClipRecord {
        ClipRecord {
            clip: "town/cam-1/000102030405060708090a0b0c0d0e0f/1".parse().unwrap(),
            interval: Interval { start_ns: 10_000_000_000, end_ns: 20_000_000_000 },
            every_ns: 5_000_000_000,
            captured_at: UtcTime::EPOCH,
            clock: Clock { source: ClockSource::Unknown, uncertainty_ms: None },
            attempt: 1,
            policy: Digest::of(b"policy"),
            slots: vec![
                SlotRecord { slot: 2, outcome: SlotOutcome::Frame(Digest::of(b"frame")) },
                SlotRecord { slot: 3, outcome: SlotOutcome::Withheld(WithheldReason::Residual) },
            ],
            failure: None,
        }
    }

    #[test]
    fn a_record_accounts_for_each_slot_exactly_once() {
        assert!(record().check().is_ok());
        for slots in [vec![2], vec![2, 2], vec![3, 2], vec![2, 3, 4], vec![]] {
            let mut spoiled = record();
            let outcome = SlotOutcome::Undecodable;
            spoiled.slots = slots.into_iter().map(|slot| SlotRecord { slot, outcome }).collect();
            assert!(spoiled.check().is_err(), "{:?}", spoiled.slots);
        }
    }

    #[test]
    fn a_receipt_holds_for_its_clip_and_tally_only() {
        let key = SigningKey::from_seed(&[5; 32]).unwrap();
        let receipt = Receipt::sign(&key, &record(), UtcTime::EPOCH);
        assert!(receipt.verify(&key.public()).is_ok());
        let mut other = receipt.clone();
        other.clip.seq += 1;
        assert!(other.verify(&key.public()).is_err());
        let mut other = receipt;
        other.tally.withheld += 1;
        assert!(other.verify(&key.public()).is_err());
    }
}
