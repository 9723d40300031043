//! Owns what a fog node knows of how the detector does on each camera, from the notes of its workers. It goes into the
//! status and decides nothing: frames are withheld in the worker.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use proto::{
    CameraId, UtcTime,
    watch::{CameraWatch, Notes},
};

use crate::canary::drift::Drift;

/// Silent frames in a row from which silence can be strange: eight minutes with a frame each 5 s.
const STRANGE_FROM: u64 = 100;
/// Frames with something in them that make a camera a busy one.
const BUSY_FROM: u64 = 100;

/// One camera.
#[derive(Debug, Default)]
struct Camera {
    with_boxes: u64,
    silent_in_a_row: u64,
    /// The longest silence that has ended by itself: a night.
    longest: u64,
    doubted: u64,
    drift: Drift,
}

/// All cameras of a fog node; a gateway's cameras are configured, which bounds them.
#[derive(Debug, Default)]
pub struct Watches(Mutex<BTreeMap<CameraId, Camera>>);

impl Watches {
    /// Takes what a worker noticed in one clip of a camera that was captured at `at`.
    pub fn note(&self, camera: &CameraId, at: UtcTime, notes: &Notes) {
        let mut cameras = self.lock();
        cameras.entry(camera.clone()).or_default().note(at, notes);
    }

    /// Every camera, for the status.
    #[must_use]
    pub fn status(&self) -> BTreeMap<CameraId, CameraWatch> {
        self.lock().iter().map(|(id, camera)| (id.clone(), camera.status())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CameraId, Camera>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Camera {
    fn note(&mut self, at: UtcTime, notes: &Notes) {
        self.drift.note(at, &notes.canaries);
        self.doubted = self.doubted.saturating_add(notes.doubted.into());
        if notes.with_boxes == 0 {
            self.silent_in_a_row = self.silent_in_a_row.saturating_add(notes.looked.into());
            return;
        }
        self.longest = self.longest.max(self.silent_in_a_row);
        self.silent_in_a_row = notes.silent_at_end.into();
        self.with_boxes = self.with_boxes.saturating_add(notes.with_boxes.into());
    }

    fn status(&self) -> CameraWatch {
        let longer = self.silent_in_a_row > self.longest.saturating_mul(2).max(STRANGE_FROM - 1);
        CameraWatch {
            silent_in_a_row: self.silent_in_a_row,
            fell_silent: self.with_boxes >= BUSY_FROM && longer,
            doubted: self.doubted,
            canary_recall: self.drift.status(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(looked: u32, with_boxes: u32, silent_at_end: u32) -> Notes {
        Notes { looked, with_boxes, silent_at_end, ..Notes::default() }
    }

    fn after(clips: &[(u32, Notes)]) -> CameraWatch {
        let (watches, camera) = (Watches::default(), "door".parse().unwrap());
        for (times, notes) in clips {
            (0..*times).for_each(|_| watches.note(&camera, UtcTime::EPOCH, notes));
        }
        watches.status()[&camera].clone()
    }

    #[test]
    fn a_busy_camera_that_shows_nothing_for_100_frames_fell_silent() {
        let busy = (50, clip(2, 2, 0));
        let silent = |frames: u32| (frames / 2, clip(2, 0, 2));
        assert!(!after(&[busy, silent(98)]).fell_silent);
        let fell = after(&[busy, silent(100)]);
        assert!(fell.fell_silent && fell.silent_in_a_row == 100);
        assert!(!after(&[busy, silent(100), (1, clip(2, 1, 1))]).fell_silent, "it is back");
        assert!(!after(&[silent(1000)]).fell_silent, "it never was busy");
    }

    #[test]
    fn a_night_as_long_as_the_one_before_is_not_strange() {
        let (day, night) = ((500, clip(2, 2, 0)), (3000, clip(2, 0, 2)));
        assert!(!after(&[day, night, day, night]).fell_silent);
        assert!(after(&[day, night, day, night, night, (1, clip(2, 0, 2))]).fell_silent);
    }
}
