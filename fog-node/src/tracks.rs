//! Owns where the faces were in the last frame of each camera's newest clips, for the clip that comes next: tracks and what
//! is remembered of faces go on over the border. Plain boxes, in memory alone.
//!
//! Nothing depends on it but how well a clip's first frame is covered, and which noise its faces have. Several clips are kept,
//! so that one that is processed again finds the same neighbour and comes out the same. A clip whose neighbour went
//! to another fog node, or is still in hand, begins as the first of a session does.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use privacy::Seen;
use proto::{CameraId, ClipId};

/// Clips of a camera that are kept: one is processed again within so many, or by another fog node.
const CLIPS_KEPT: usize = 4;

/// All cameras of a fog node; a gateway's cameras are configured, which bounds them.
#[derive(Debug, Default)]
pub struct Tracks(Mutex<BTreeMap<CameraId, VecDeque<(ClipId, Seen)>>>);

impl Tracks {
    /// Where the faces were in the last frame of the clip right before this one.
    #[must_use]
    pub fn before(&self, clip: &ClipId) -> Option<Seen> {
        let before = ClipId { seq: clip.seq.checked_sub(1)?, ..clip.clone() };
        let cameras = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = cameras.get(&clip.camera)?.iter();
        kept.find(|(id, _)| *id == before).map(|(_, seen)| seen.clone())
    }

    /// Keeps where the faces were in the last frame of this clip.
    pub fn keep(&self, clip: &ClipId, last: Seen) {
        let mut cameras = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = cameras.entry(clip.camera.clone()).or_default();
        kept.retain(|(id, _)| id != clip);
        kept.push_back((clip.clone(), last));
        if kept.len() > CLIPS_KEPT {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(camera: &str, session: u8, seq: u64) -> ClipId {
        format!("town/{camera}/{session:032x}/{seq}").parse().unwrap()
    }

    #[test]
    fn a_clip_finds_the_one_right_before_it_in_its_session_also_when_it_comes_again() {
        let tracks = Tracks::default();
        assert_eq!(tracks.before(&clip("door", 1, 0)), None);
        tracks.keep(&clip("door", 1, 7), Seen::default());
        for (next, found) in [
            (clip("door", 1, 8), true),
            (clip("door", 1, 7), false),
            (clip("door", 1, 9), false),
            (clip("door", 2, 8), false),
            (clip("yard", 1, 8), false),
        ] {
            assert_eq!(tracks.before(&next).is_some(), found, "{next}");
        }
        tracks.keep(&clip("door", 1, 8), Seen::default());
        assert!(tracks.before(&clip("door", 1, 8)).is_some(), "it is processed again");
    }

    #[test]
    fn so_many_clips_of_a_camera_are_kept_and_no_more() {
        let tracks = Tracks::default();
        (0..100).for_each(|seq| tracks.keep(&clip("door", 1, seq), Seen::default()));
        // Again does not count twice.
        (0..100).for_each(|_| tracks.keep(&clip("door", 1, 99), Seen::default()));
        let kept = (0..200).filter(|seq| tracks.before(&clip("door", 1, *seq)).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [97, 98, 99, 100]);
    }
}
