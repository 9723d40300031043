//! The privacy boundary. Read this first.
//!
//! `RawFrame` -> [`look`] -> `Looked` -> [`Looked::redact`] -> `RedactedFrame` -> [`audit`] -> `AnonymisedFrame` -> [`AnonymisedFrame::seal`] -> envelope
//! bytes. Each type is made by the step that earns it and by nothing else; none is `Clone` or `Serialize`; pixels are
//! wiped on drop. A step that is unsure returns [`Withheld`], and nothing turns that off.
//!
//! A raw frame cannot be taken for a redacted one:
//! ```compile_fail
//! fn leak(raw: privacy::RawFrame) -> privacy::RedactedFrame { raw }
//! ```
//! A redacted frame cannot be sealed before its audit:
//! ```compile_fail
//! fn leak(frame: privacy::RedactedFrame, key: &proto::signing::SigningKey, grant: &proto::envelope::SealGrant) {
//!     frame.seal(key, grant);
//! }
//! ```
//! None of them can be copied, or built from pixels:
//! ```compile_fail
//! fn copy(raw: &privacy::RawFrame) -> privacy::RawFrame { raw.clone() }
//! ```
//! ```compile_fail
//! fn forge(picture: vision::Picture) -> privacy::AnonymisedFrame { privacy::AnonymisedFrame { picture } }
//! ```
//! A copy for canaries is no frame that could go on:
//! ```compile_fail
//! fn leak(copy: privacy::CanaryFrame) -> privacy::RawFrame { copy }
//! ```
//! Pixels of a raw frame cannot be read:
//! ```compile_fail
//! fn peek(raw: &privacy::RawFrame) -> &[u8] { raw.picture.row(0, 0, 1) }
//! ```

mod audit;
mod canary;
mod classify;
mod coarse;
mod drawing;
mod frame;
pub mod measure;
mod memory;
mod noise;
mod policy;
mod redact;
mod regions;
mod statics;
mod values;

pub use audit::audit;
pub use canary::CanaryFrame;
pub use classify::{Classifier, ClassifierError};
pub use coarse::Coarse;
pub use drawing::draw;
pub use frame::{AnonymisedFrame, FrameMeta, RawClip, RawFrame, RedactedFrame, Withheld};
pub use memory::Seen;
pub use noise::Noise;
pub use policy::{Policy, PolicyError};
pub use redact::{Looked, look, redact};
pub use statics::{Polygon, StaticError, StaticRegions};
pub use vision::ClipError;

use models::FaceDetector;

/// The whole way of one frame that has no neighbours: detect, redact, audit.
///
/// # Errors
/// [`Withheld`] whenever a step fails or is unsure.
pub fn anonymise(
    raw: RawFrame,
    detector: &mut dyn FaceDetector,
    auditor: &mut dyn FaceDetector,
    policy: &Policy,
    noise: &Noise,
) -> Result<AnonymisedFrame, Withheld> {
    let redacted = look(raw, detector)?.redact(None, None, policy, noise)?;
    audit(redacted, auditor, policy, noise)
}
