//! Owns the upload of one clip over one channel: what each side may do when, as pure state, and drivers over QUIC.
//!
//! ```text
//! edge  Offer ─────────────▶ fog     the fog asks the bridge, gives credit for the whole clip
//! edge ◀─── Accept{offset} | Refuse | Receipt (committed before)
//! edge  bytes offset..length ▶ fog   checked whole by BLAKE3
//! edge ◀─── Received | Refuse(Corrupt)
//! edge ◀─── Receipt | Refuse         when the bridge has committed
//! ```
//!
//! Nothing here verifies the signature of a receipt or deletes anything: the edge does, with the key that it pins.

mod drive;
mod receive;
#[cfg(test)]
mod tests;
mod upload;

pub use drive::{Decision, ReceiveOutcome, ReceivedClip, Receiver, receive_clip, upload_clip};
pub use receive::{PrefixKey, ReceiveState, Reception, TransferError};
pub use upload::{UploadOutcome, UploadState, UploadStep};

/// How soon to come back after a refusal for want of credit, in milliseconds: about the time that a clip takes.
pub const BUSY_RETRY_MS: u64 = 1_000;
