//! Owns the way of one clip through a worker: a frame for each slot, anonymised and sealed or withheld, and the record
//! that accounts for every slot.

use models::{Detection, FaceDetector};
use privacy::{
    CanaryFrame, Classifier, ClipError, FrameMeta, Looked, Noise, Policy, RawClip, Seen, Withheld,
};
use proto::{
    CameraId, Digest, FrameId,
    envelope::SealGrant,
    limits::SLOTS_MAX,
    record::{ClipFailure, ClipRecord, SlotOutcome, SlotRecord, WithheldReason},
    signing::SigningKey,
    watch::{Contrasts, Notes},
    wire::Offer,
};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    canary,
    silence::{Heard, Look, Silence},
};

/// What a worker needs for every clip.
pub struct Pipeline {
    /// Finds faces.
    pub detector: Box<dyn FaceDetector>,
    /// Checks the redaction; of another family.
    pub auditor: Box<dyn FaceDetector>,
    /// How faces are covered.
    pub policy: Policy,
    /// Classifies faces before they are covered whole; absent where cells are released.
    pub classifier: Option<Classifier>,
    /// Seals frames.
    pub key: SigningKey,
    /// The site's permission to.
    pub grant: SealGrant,
    /// What is known of the detector's silences.
    pub silence: Silence,
}

/// What a fog node knows of a camera when one of its clips comes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// How faint its canaries are.
    pub contrasts: Contrasts,
    /// Where the faces were in the last frame of the clip before.
    pub before: Option<Seen>,
}

/// Everything that became of a clip.
#[derive(Debug)]
pub struct ClipOutput {
    /// The envelopes, in the order of the record's delivered slots.
    pub envelopes: Vec<Vec<u8>>,
    /// The record.
    pub record: ClipRecord,
    /// How the detector did.
    pub notes: Notes,
    /// Where the faces of its last frame were, for the clip that comes next.
    pub last: Option<Seen>,
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
        let canaries = self.notes.canaries.iter().map(|size| size.drawn);
        let most = canaries.fold(self.notes.looked.max(self.notes.doubted), u32::max);
        if usize::try_from(most).map_or(true, |most| most > self.record.slots.len()) {
            return Err("the notes are of more frames than there are");
        }
        if !self.last.as_ref().is_none_or(Seen::is_sane) {
            return Err("the faces of the last frame lie in no picture");
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
    pub fn process(&mut self, offer: &Offer, known: Known, bytes: &[u8]) -> ClipOutput {
        let (record, notes) = (self.open_record(offer), Notes::default());
        let mut output = ClipOutput { envelopes: Vec::new(), record, notes, last: None };
        let clip = match RawClip::open(bytes) {
            Ok(clip) => clip,
            Err(error) => {
                warn!(clip = %offer.clip, %error, "clip cannot be read");
                output.record.failure = Some(failure(&error));
                output.record.slots = slots(offer, SlotOutcome::Undecodable);
                return output;
            }
        };
        self.frames(offer, known, &clip, &mut output);
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

    /// Every slot in order. A frame is finished when the next one has been looked at: its neighbours may have seen what
    /// its own look did not.
    fn frames(&mut self, offer: &Offer, known: Known, clip: &RawClip, output: &mut ClipOutput) {
        let noise = Noise::new(offer.noise_key.0, offer.noise_epoch);
        let Known { contrasts, mut before } = known;
        let mut held: Option<Held> = None;
        for slot in offer.interval.slots(offer.every_ns).take(SLOTS_MAX) {
            let place = output.record.slots.len();
            // Whatever does not become of it later, it never was.
            let mut outcome = SlotOutcome::Undecodable;
            match self.look(offer, clip, slot, place) {
                Ok(mut next) => {
                    let last = held.as_ref().map(|last| last.looked.seen());
                    if let Some(last) = last.or(before.as_ref()) {
                        next.looked.follow(last);
                    }
                    if let Some(last) = held.replace(next) {
                        let seen = last.looked.seen().clone();
                        let after = held.as_ref().map(|held| held.looked.seen());
                        let beside = (before.as_ref(), after);
                        self.finish(last, beside, contrasts, &noise, output);
                        before = Some(seen);
                    }
                }
                Err(why) => outcome = why,
            }
            output.record.slots.push(SlotRecord { slot, outcome });
        }
        if let Some(last) = held {
            // A crowd of more boxes than a message may have begins anew in the next clip.
            output.last = Some(last.looked.seen().clone()).filter(Seen::is_sane);
            self.finish(last, (before.as_ref(), None), contrasts, &noise, output);
        }
    }

    fn look(
        &mut self,
        offer: &Offer,
        clip: &RawClip,
        slot: u64,
        place: usize,
    ) -> Result<Held, SlotOutcome> {
        let at_ns = i64::try_from(slot).unwrap_or(i64::MAX).saturating_mul(offer.every_ns);
        let in_clip_ns = at_ns - offer.interval.start_ns;
        let meta = FrameMeta {
            frame: FrameId { clip: offer.clip.clone(), slot },
            captured_at: offer.captured_at.plus_ns(in_clip_ns),
            clip_captured_at: offer.captured_at,
            clock: offer.clock,
        };
        let frame = meta.frame.clone();
        let raw =
            clip.frame_near(in_clip_ns, tolerance_ns(offer.every_ns), meta).map_err(|error| {
                warn!(clip = %offer.clip, slot, %error, "slot cannot be decoded");
                SlotOutcome::Undecodable
            })?;
        let canaries = canary::is_due(&frame).then(|| raw.for_canaries());
        let mut detector = Heard::new(self.detector.as_mut());
        let looked = privacy::look(raw, &mut detector);
        let looked = looked.map_err(|withheld| SlotOutcome::Withheld(withheld.0))?;
        Ok(Held { place, frame, looked, found: detector.boxes(), canaries })
    }

    fn finish(
        &mut self,
        held: Held,
        (before, after): (Option<&Seen>, Option<&Seen>),
        contrasts: Contrasts,
        noise: &Noise,
        output: &mut ClipOutput,
    ) {
        let Held { place, frame, looked, found, canaries } = held;
        let mut auditor = Heard::new(self.auditor.as_mut());
        let classifier = self.classifier.as_mut();
        let redacted = looked.redact_classified(before, after, &self.policy, noise, classifier);
        let audited =
            redacted.and_then(|frame| privacy::audit(frame, &mut auditor, &self.policy, noise));
        let look = Look { found: found.len(), sure: auditor.sure() };
        let sealed = if self.believed(&frame.clip.camera, look, &mut output.notes) {
            audited.and_then(|frame| frame.seal(&self.key, &self.grant))
        } else {
            warn!(%frame, "the auditor contradicts the detector, frame withheld");
            Err(Withheld(WithheldReason::Detector))
        };
        let outcome = match sealed {
            Ok(envelope) => {
                let digest = Digest::of(&envelope);
                output.envelopes.push(envelope);
                SlotOutcome::Frame(digest)
            }
            Err(withheld) => SlotOutcome::Withheld(withheld.0),
        };
        if let Some(slot) = output.record.slots.get_mut(place) {
            slot.outcome = outcome;
        }
        // Only now: nothing of this reaches the frame, its neighbours or the record.
        let Some(copy) = canaries else { return };
        let drawn = canary::look(copy, &frame, &found, contrasts, self.detector.as_mut());
        for (sum, look) in output.notes.canaries.iter_mut().zip(canary::counted(drawn)) {
            sum.drawn += look.drawn;
            sum.found += look.found;
        }
    }

    /// Judges one look of the detector, and notes it.
    fn believed(&mut self, camera: &CameraId, look: Look, notes: &mut Notes) -> bool {
        let believed = self.silence.is_believed(camera, look);
        notes.looked += 1;
        notes.doubted += u32::from(!believed);
        if look.found > 0 {
            notes.with_boxes += 1;
            notes.silent_at_end = 0;
        } else {
            notes.silent_at_end += 1;
        }
        believed
    }
}

/// How far a frame may be from its slot: a second, and a fifth of the sampling interval where that is less, so that no
/// frame serves two slots. With a frame each 5 s, a camera with a key frame each 2 s or less has nothing else decoded. The
/// bridge takes more; the manifest says the frame's own time.
fn tolerance_ns(every_ns: i64) -> i64 {
    (every_ns / 5).clamp(0, TOLERANCE_NS_MAX)
}

/// Most that a frame may be from its slot, in nanoseconds: people on a pavement change within seconds.
const TOLERANCE_NS_MAX: i64 = 1_000_000_000;

/// A frame that waits for its successor.
struct Held {
    /// Its place among the record's slots.
    place: usize,
    frame: FrameId,
    looked: Looked,
    /// What the detector found in it.
    found: Vec<Detection>,
    /// A copy for canaries, when they are due.
    canaries: Option<CanaryFrame>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_second_from_its_slot_at_most_and_never_as_near_to_another() {
        for (every_ms, tolerance_ms) in [(5_000, 1_000), (60_000, 1_000), (1_000, 200), (40, 8)] {
            assert_eq!(tolerance_ns(every_ms * 1_000_000), tolerance_ms * 1_000_000);
            assert!(2 * tolerance_ms < every_ms);
        }
    }
}
