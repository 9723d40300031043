//! Bounded crash-safe queue of records on disk: the edge's spool (raw clips, encrypted) and the bridge's outbox.
//!
//! * A record is durable when [`Spool::append`] returns, and whole or absent after a crash at any moment.
//! * Encrypted: 64 KiB AES-256-GCM segments under a key of the record's own, which lies wrapped by the device key in a
//!   file of its own and is destroyed first when the record is removed. Never plaintext on disk.
//! * What is found damaged is set aside in `corrupt/` and counted, never deleted; what lies there counts in the quota.
//! * It does not know what is in a record, starts no thread and reads no clock. All calls block.
//!
//! Limits: names of 200 bytes, caller's headers of 1 MiB, bodies of 320 MiB, notes of 4 KiB. While a record is appended
//! it is held twice in memory.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod codec;
mod error;
pub mod filesystem;
mod keys;
mod layout;
mod name;
mod recovery;
mod spool;
mod steps;

pub use codec::{BODY_BYTES_MAX, FormatError, HEADER_BYTES_MAX, NOTE_BYTES_MAX, Record};
pub use error::SpoolError;
pub use keys::{DeviceKey, DeviceKeyError};
pub use name::{NameError, RecordName};
pub use recovery::{Recovery, SetAside};
pub use spool::{Limits, Protection, Spool, Usage};
