//! An encoder that fails, and a frame that is too large once it is encoded.

use fog_node::pipeline::Known;
use models::detector::Scripted;
use proto::record::{SlotOutcome, WithheldReason};

use crate::twin::{FACE, clear, offer, pipeline, video};

/// Noise in 4K does not compress into an envelope; the encoder's own failure is tested beside it, in crate `privacy`.
#[test]
fn a_frame_that_does_not_fit_an_envelope_is_withheld_and_nothing_is_cut_off() {
    let clip = video((3840, 2160), 1, "snow", "jpegenc quality=95");
    let mut pipeline = pipeline(Scripted::boxes(1, vec![FACE]), clear());
    let output = pipeline.process(&offer(1, &clip, 1), Known::default(), &clip);
    let [slot] = output.record.slots[..] else { panic!("{:?}", output.record.slots) };
    assert_eq!(slot.outcome, SlotOutcome::Withheld(WithheldReason::Encoding));
    assert!(output.envelopes.is_empty());
}
