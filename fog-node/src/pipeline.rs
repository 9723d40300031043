//! Owns the way of one clip through a worker: a frame for each slot, anonymised and sealed or withheld, and the record
//! that accounts for every slot.

use models::FaceDetector;
use privacy::{ClipError, FrameMeta, Noise, Policy, RawClip};
use proto::{
    Digest, FrameId,
    envelope::SealGrant,
    limits::SLOTS_MAX,
    record::{ClipFailure, ClipRecord, SlotOutcome, SlotRecord},
    signing::SigningKey,
    wire::Offer,
};
use tracing::warn;

/// What a worker needs for every clip.
pub struct Pipeline {
    /// Finds faces.
    pub detector: Box<dyn FaceDetector>,
    /// Checks the redaction; of another family.
    pub auditor: Box<dyn FaceDetector>,
    /// How faces are covered.
    pub policy: Policy,
    /// Seals frames.
    pub key: SigningKey,
    /// The site's permission to.
    pub grant: SealGrant,
}

/// Everything that became of a clip.
#[derive(Debug)]
pub struct ClipOutput {
    /// The envelopes, in the order of the record's delivered slots.
    pub envelopes: Vec<Vec<u8>>,
    /// The record.
    pub record: ClipRecord,
}

impl ClipOutput {
    /// Whether this accounts for the clip that was offered, with an envelope for each delivered slot. The parent asks:
    /// it takes nothing on the word of a process that decodes what others made.
    ///
    /// # Errors
    /// What does not fit.
    pub fn fits(&self, offer: &Offer) -> Result<(), &'static str> {
        let ClipRecord { clip, interval, every_ns, captured_at, clock, attempt, .. } = &self.record;
        let said = (clip, interval, every_ns, captured_at, clock, attempt);
        let offered = (
            &offer.clip,
            &offer.interval,
            &offer.every_ns,
            &offer.captured_at,
            &offer.clock,
            &offer.attempt,
        );
        if said != offered {
            return Err("the record is of another clip");
        }
        if self.record.check().is_err() {
            return Err("the record does not account for each slot");
        }
        let delivered = self.record.slots.iter().filter_map(|slot| match slot.outcome {
            SlotOutcome::Frame(digest) => Some(digest),
            SlotOutcome::Withheld(_) | SlotOutcome::Undecodable => None,
        });
        let fit = delivered.eq(self.envelopes.iter().map(|envelope| Digest::of(envelope)));
        if fit { Ok(()) } else { Err("the envelopes are not those of the record") }
    }
}

impl Pipeline {
    /// Processes a clip whose bytes the parent has verified. A clip that cannot be read is a record too.
    pub fn process(&mut self, offer: &Offer, bytes: &[u8]) -> ClipOutput {
        let mut output = ClipOutput { envelopes: Vec::new(), record: self.open_record(offer) };
        let clip = match RawClip::open(bytes) {
            Ok(clip) => clip,
            Err(error) => {
                warn!(clip = %offer.clip, %error, "clip cannot be read");
                output.record.failure = Some(failure(&error));
                output.record.slots = slots(offer, SlotOutcome::Undecodable);
                return output;
            }
        };
        let noise = Noise::new(offer.noise_key.0, offer.noise_epoch);
        for slot in offer.interval.slots(offer.every_ns).take(SLOTS_MAX) {
            let outcome = match self.frame(offer, &clip, slot, &noise) {
                Ok(envelope) => {
                    let digest = Digest::of(&envelope);
                    output.envelopes.push(envelope);
                    SlotOutcome::Frame(digest)
                }
                Err(outcome) => outcome,
            };
            output.record.slots.push(SlotRecord { slot, outcome });
        }
        let mut outcomes = output.record.slots.iter().map(|slot| slot.outcome);
        let none = outcomes.all(|outcome| outcome == SlotOutcome::Undecodable);
        if none && !output.record.slots.is_empty() {
            // It opens like a video and gives no picture: no key frame, or a damaged stream.
            output.record.failure = Some(ClipFailure::Undecodable);
        }
        output
    }

    fn open_record(&self, offer: &Offer) -> ClipRecord {
        ClipRecord {
            clip: offer.clip.clone(),
            interval: offer.interval,
            every_ns: offer.every_ns,
            captured_at: offer.captured_at,
            clock: offer.clock,
            attempt: offer.attempt,
            policy: self.policy.reference().digest,
            slots: Vec::new(),
            failure: None,
        }
    }

    fn frame(
        &mut self,
        offer: &Offer,
        clip: &RawClip,
        slot: u64,
        noise: &Noise,
    ) -> Result<Vec<u8>, SlotOutcome> {
        let at_ns = i64::try_from(slot).unwrap_or(i64::MAX).saturating_mul(offer.every_ns);
        let in_clip_ns = at_ns - offer.interval.start_ns;
        let meta = FrameMeta {
            frame: FrameId { clip: offer.clip.clone(), slot },
            captured_at: offer.captured_at.plus_ns(in_clip_ns),
            clip_captured_at: offer.captured_at,
            clock: offer.clock,
        };
        let raw = clip.frame_at(in_clip_ns, meta).map_err(|error| {
            warn!(clip = %offer.clip, slot, %error, "slot cannot be decoded");
            SlotOutcome::Undecodable
        })?;
        let (detector, auditor) = (self.detector.as_mut(), self.auditor.as_mut());
        let sealed = privacy::anonymise(raw, detector, auditor, &self.policy, noise)
            .and_then(|frame| frame.seal(&self.key, &self.grant));
        sealed.map_err(|withheld| SlotOutcome::Withheld(withheld.0))
    }
}

fn slots(offer: &Offer, outcome: SlotOutcome) -> Vec<SlotRecord> {
    let slots = offer.interval.slots(offer.every_ns).take(SLOTS_MAX);
    slots.map(|slot| SlotRecord { slot, outcome }).collect()
}

const fn failure(error: &ClipError) -> ClipFailure {
    match error {
        ClipError::Empty | ClipError::NotVideo(_) => ClipFailure::NotVideo,
        ClipError::PictureTooLarge { .. } => ClipFailure::PictureTooLarge,
        ClipError::Decode(_) | ClipError::System(_) => ClipFailure::Undecodable,
    }
}
