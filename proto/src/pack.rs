//! Owns the form of a pack: a tar of the sealed frames of one clip, as one object.
//!
//! | entry | what |
//! |---|---|
//! | [`HEADS`] | the seals of all frames in a row, each as it begins its envelope: whoever classifies reads the first bytes alone |
//! | `{session}-{seq}-{slot}.jpg`, one for each frame | the whole envelope, at an offset that the database keeps |
//!
//! Times, owners and order are fixed, so that the same frames give the same bytes. A pack proves nothing by itself: each
//! seal and each envelope in it is verified like one that lies alone.

use serde::{Deserialize, Serialize};

/// Name of the first entry.
pub const HEADS: &str = "heads";

/// Where an envelope lies within the pack of its clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Within {
    /// Bytes of the pack before it.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}
