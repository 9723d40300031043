//! Owns what is said of how a detector does on a camera, by a worker to its fog node and by that in its status: numbers of
//! frames and of drawn faces; never a pixel, a place or a person.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Sizes of canaries in pixels of the picture: those that coverage is told by.
pub const CANARY_SIZES: [&str; 3] = ["16-32", "32-64", "64+"];

/// Canaries of one size: drawn faces in copies of frames, and how many of them the detector found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canaries {
    /// Drawn.
    pub drawn: u32,
    /// Found.
    pub found: u32,
}

/// How faint canaries are, by size as [`CANARY_SIZES`]: so many thousandths of a face's own contrast are left. Beyond 1000
/// fewer of them are masked and turned, up to 2000, where one of ten is masked and none turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contrasts(pub [u16; 3]);

/// Those of a camera that is new: among those that cameras have come to.
impl Default for Contrasts {
    fn default() -> Self {
        Self([500, 200, 100])
    }
}

/// What a worker noticed in one clip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Frames that the detector looked at.
    pub looked: u32,
    /// Of them, those in which it found something.
    pub with_boxes: u32,
    /// Frames in a row, up to the clip's last one, in which it found nothing.
    pub silent_at_end: u32,
    /// Frames that were withheld since the auditor contradicted the detector's silence.
    pub doubted: u32,
    /// By size, as [`CANARY_SIZES`].
    pub canaries: [Canaries; 3],
}

/// How the detector does on a camera, in the status of a fog node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraWatch {
    /// Frames in a row in which the detector found nothing, up to now.
    pub silent_in_a_row: u64,
    /// Whether that is strange: the camera was busy before.
    pub fell_silent: bool,
    /// Frames that were withheld since the auditor contradicted the detector's silence.
    pub doubted: u64,
    /// Canary recall by size, as [`CANARY_SIZES`]. It is no coverage: canaries are drawn, and faint on purpose.
    pub canary_recall: BTreeMap<String, CanaryRecall>,
}

/// Canary recall of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryRecall {
    /// Canaries drawn so far.
    pub drawn: u64,
    /// Share found of late, in thousandths.
    pub recent_milli: u16,
    /// Share found in the camera's first week, in thousandths; absent until that is over.
    pub usual_milli: Option<u16>,
    /// Whether the recent share has drifted below the usual one: the detector or the camera has changed.
    pub drifting: bool,
    /// Hours of the day in which the usual share is too low for a fall of it to show: in them nothing is watched.
    #[serde(default)]
    pub low_hours: u8,
}
