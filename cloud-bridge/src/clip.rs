//! Owns what may be committed: a record that accounts for each slot of its clip, and exactly the sealed frames that it
//! names. There is no other way to a [`SealedClip`] than to pass every check here, on the way in and again on the way
//! out of the outbox.

use std::{collections::BTreeMap, time::Duration};

use proto::{
    ClipId, Digest, SiteId, UtcTime,
    envelope::{EnvelopeError, SealedFrame},
    record::{ClipRecord, RecordError, SlotOutcome},
    signing::PublicKey,
};

use crate::bridge::count;

/// How far the clocks of fog and bridge may differ when the validity of a grant is judged.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// How far the time of a frame may be from its slot: a fog node takes a key frame within a second, and cameras give
/// pictures of their own times, none less than one in a second.
const SLOT_TOLERANCE_US: i64 = 2_000_000;

/// Why a clip cannot be committed. The fog node gets it as one line.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// An envelope is none, or not one to be believed.
    #[error(transparent)]
    Sealed(#[from] EnvelopeError),
    /// The grant was not valid when the frame was committed.
    #[error(
        "frame {frame}: its grant is valid from {from} to {to}: renew the grant of the fog node"
    )]
    Grant {
        /// The frame.
        frame: String,
        /// First instant.
        from: UtcTime,
        /// Last instant.
        to: UtcTime,
    },
    /// The clip is of another site.
    #[error("clip {clip} is of another site")]
    Site {
        /// The clip.
        clip: ClipId,
    },
    /// The record does not account for its slots.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The record contradicts itself.
    #[error("record of clip {clip}: {why}")]
    Contradiction {
        /// The clip.
        clip: ClipId,
        /// How.
        why: &'static str,
    },
    /// Frames and record do not fit together.
    #[error("clip {clip}, slot {slot}: {why}")]
    Mismatch {
        /// The clip.
        clip: ClipId,
        /// The slot.
        slot: u64,
        /// What does not fit.
        why: &'static str,
    },
}

impl Refusal {
    /// The counter of this refusal.
    #[must_use]
    pub const fn counter(&self) -> &'static str {
        match self {
            Self::Sealed(EnvelopeError::NotGranted { .. }) | Self::Grant { .. } => {
                count::NOT_GRANTED
            }
            Self::Sealed(_) => count::UNSEALED,
            Self::Site { .. } => count::OTHER_SITE,
            Self::Record(_) | Self::Contradiction { .. } => count::RECORDS_REFUSED,
            Self::Mismatch { .. } => count::MISMATCHED,
        }
    }
}

/// Opens an envelope that a fog node sends at this time. What the outbox holds was judged when it came.
///
/// # Errors
/// When it is not sealed, or its grant is not valid now.
pub fn open_frame(bytes: Vec<u8>, root: &PublicKey, now: UtcTime) -> Result<SealedFrame, Refusal> {
    let frame = SealedFrame::open(bytes, root)?;
    let (from, to) = frame.granted();
    let skew = i64::try_from(CLOCK_SKEW.as_nanos()).unwrap_or(i64::MAX);
    if now.plus_ns(skew) < from || now.plus_ns(-skew) > to {
        return Err(Refusal::Grant { frame: frame.manifest().frame.to_string(), from, to });
    }
    Ok(frame)
}

/// A record and exactly its frames, in the order of its slots.
#[derive(Debug, Clone)]
pub struct SealedClip {
    record: ClipRecord,
    frames: Vec<SealedFrame>,
}

impl SealedClip {
    /// Puts a record and its frames together.
    ///
    /// # Errors
    /// When they do not fit together in every way, or are of another site.
    pub fn assemble(
        record: ClipRecord,
        frames: Vec<SealedFrame>,
        site: &SiteId,
    ) -> Result<Self, Refusal> {
        if record.clip.site != *site {
            return Err(Refusal::Site { clip: record.clip });
        }
        record.check()?;
        let undecodable = |outcome: SlotOutcome| outcome == SlotOutcome::Undecodable;
        if record.failure.is_some() && !record.slots.iter().all(|slot| undecodable(slot.outcome)) {
            let why = "it could not be read at all, and a slot says otherwise";
            return Err(Refusal::Contradiction { clip: record.clip, why });
        }
        let mut by_slot = BTreeMap::new();
        for frame in frames {
            let id = &frame.manifest().frame;
            let (clip, slot) = (record.clip.clone(), id.slot);
            if id.clip != record.clip {
                return Err(Refusal::Mismatch { clip, slot, why: "a frame of another clip" });
            }
            if by_slot.insert(slot, frame).is_some() {
                return Err(Refusal::Mismatch { clip, slot, why: "two frames" });
            }
        }
        let mut ordered = Vec::with_capacity(by_slot.len());
        for slot in &record.slots {
            let SlotOutcome::Frame(digest) = slot.outcome else { continue };
            let mismatch =
                |why| Refusal::Mismatch { clip: record.clip.clone(), slot: slot.slot, why };
            let frame =
                by_slot.remove(&slot.slot).ok_or_else(|| mismatch("its frame is missing"))?;
            match misfit(&record, slot.slot, digest, &frame) {
                Some(why) => return Err(mismatch(why)),
                None => ordered.push(frame),
            }
        }
        match by_slot.first_key_value() {
            Some((slot, _)) => {
                let why = "a frame that is not in the record";
                Err(Refusal::Mismatch { clip: record.clip.clone(), slot: *slot, why })
            }
            None => Ok(Self { record, frames: ordered }),
        }
    }

    /// The record.
    #[must_use]
    pub const fn record(&self) -> &ClipRecord {
        &self.record
    }

    /// The frames, in the order of their slots.
    #[must_use]
    pub fn frames(&self) -> &[SealedFrame] {
        &self.frames
    }
}

/// What of a frame does not follow from its record.
fn misfit(
    record: &ClipRecord,
    slot: u64,
    digest: Digest,
    frame: &SealedFrame,
) -> Option<&'static str> {
    let manifest = frame.manifest();
    let since_ns = i64::try_from(slot).unwrap_or(i64::MAX).saturating_mul(record.every_ns);
    let expected = record.captured_at.plus_ns(since_ns.saturating_sub(record.interval.start_ns));
    let off_us = manifest.captured_at.micros().saturating_sub(expected.micros());
    if frame.digest() != digest {
        Some("its frame is not the one in the record")
    } else if manifest.policy.digest != record.policy {
        Some("its frame was redacted under another policy than the record says")
    } else if manifest.clip_captured_at != record.captured_at || manifest.clock != record.clock {
        Some("its frame and the record disagree on the time of the clip")
    } else if off_us.saturating_abs() > SLOT_TOLERANCE_US {
        Some("its frame is of another time than its slot")
    } else {
        None
    }
}
