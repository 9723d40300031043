//! What two Celosia processes must agree on, as plain data: ids, times, envelope, messages, topics, keys, limits.
//!
//! Nothing here opens a socket or a file, reads a clock or draws a random number. Whatever arrives from outside
//! becomes one of these types once, at the edge of a process, or is refused with an error that names the field.
//! Changing anything in this crate changes bytes on a wire or on a disk: the golden files in `tests/golden` say so.

pub mod control;
pub mod digest;
pub mod envelope;
pub mod ids;
pub mod key;
pub mod ledger;
pub mod limits;
pub mod manifest;
pub mod pack;
pub mod record;
pub mod result;
pub mod signing;
pub mod time;
pub mod topic;
pub mod watch;
pub mod wire;

pub use digest::Digest;
pub use ids::{CameraId, ClipId, DeviceName, FrameId, Identity, Role, SessionId, SiteId};
pub use manifest::Manifest;
pub use time::{Clock, Interval, UtcTime};
