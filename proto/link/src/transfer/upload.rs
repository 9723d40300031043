//! Owns what an edge may do next with a clip that it offered. Pure.

use proto::{
    ClipId,
    record::Receipt,
    wire::{ClipMessage, Offer, RefuseReason},
};

/// How an upload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum UploadOutcome {
    /// The bridge accounts for the clip. The signature is not verified yet.
    Receipt(Box<Receipt>),
    /// The fog node does not take it.
    Refused {
        /// Why.
        reason: RefuseReason,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
}

/// What the edge does next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum UploadStep {
    /// Send the bytes from here to the end, then wait.
    Send {
        /// First byte to send; at most the length.
        offset: u64,
    },
    /// Wait for the next message.
    Wait,
    /// It is over.
    Done(UploadOutcome),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Offered,
    Sent,
    Received,
    Over,
}

/// One upload, from the offer on.
#[derive(Debug)]
pub struct UploadState {
    clip: ClipId,
    length: u64,
    stage: Stage,
}

impl UploadState {
    /// The offer has been sent.
    #[must_use]
    pub fn new(offer: &Offer) -> Self {
        Self { clip: offer.clip.clone(), length: offer.length, stage: Stage::Offered }
    }

    /// Takes the fog node's next message.
    ///
    /// # Errors
    /// What is wrong with it; the upload is over then, and the clip stays.
    pub fn on_message(&mut self, message: ClipMessage) -> Result<UploadStep, String> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        match (stage, message) {
            (Stage::Offered, ClipMessage::Accept { offset }) if offset <= self.length => {
                self.stage = Stage::Sent;
                Ok(UploadStep::Send { offset })
            }
            (Stage::Sent, ClipMessage::Received) => {
                self.stage = Stage::Received;
                Ok(UploadStep::Wait)
            }
            (Stage::Offered | Stage::Received, ClipMessage::Receipt(receipt))
                if receipt.clip == self.clip =>
            {
                Ok(UploadStep::Done(UploadOutcome::Receipt(Box::new(receipt))))
            }
            (
                Stage::Offered | Stage::Sent | Stage::Received,
                ClipMessage::Refuse { reason, retry_after_ms },
            ) => Ok(UploadStep::Done(UploadOutcome::Refused { reason, retry_after_ms })),
            (stage, message) => {
                Err(format!("clip {}: {} at stage {stage:?}", self.clip, name(&message)))
            }
        }
    }
}

/// A message's name for an error line; an offer carries a key, which no line may hold.
const fn name(message: &ClipMessage) -> &'static str {
    match message {
        ClipMessage::Offer(_) => "Offer",
        ClipMessage::Accept { .. } => "Accept out of place or beyond the end",
        ClipMessage::Refuse { .. } => "Refuse",
        ClipMessage::Received => "Received",
        ClipMessage::Receipt(_) => "Receipt out of place or of another clip",
    }
}
