//! Owns what a fog node knows of how the detector does on each camera, from the notes of its workers. It goes into the
//! status and decides nothing: frames are withheld in the worker. What is usual on a camera takes a week to learn, so it
//! outlives the process: counts by camera in one small file, nothing of a picture.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use proto::{
    CameraId, UtcTime,
    watch::{CameraWatch, Contrasts, Notes},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canary::drift::Drift;

/// Silent frames in a row from which silence can be strange: eight minutes with a frame each 5 s.
const STRANGE_FROM: u64 = 100;
/// Frames with something in them that make a camera a busy one.
const BUSY_FROM: u64 = 100;

/// Name of the file in the state folder.
const FILE: &str = "watches.json";
/// Version of the file.
const VERSION: u32 = 3;
/// Versions whose shares are of canaries that were drawn otherwise, or not at a contrast of the camera's own.
const OTHER_CANARIES: std::ops::RangeInclusive<u64> = 1..=2;
/// A camera has less than 4 kB, a fog node at most a few hundred cameras.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    cameras: BTreeMap<CameraId, Camera>,
}

/// One camera.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Camera {
    with_boxes: u64,
    silent_in_a_row: u64,
    /// The longest silence that has ended by itself: a night.
    longest: u64,
    doubted: u64,
    #[serde(default)]
    drift: Drift,
}

/// What began with a clip: told each time that it does; the status says it for as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Began {
    /// The camera's canary recall drifts.
    pub drift: bool,
    /// Its usual canary recall is known, and at some size and hour too low to see it fall.
    pub low: bool,
    /// A busy camera shows nobody any more.
    pub silence: bool,
}

/// All cameras of a fog node; a gateway's cameras are configured, which bounds them.
#[derive(Debug, Default)]
pub struct Watches(Mutex<BTreeMap<CameraId, Camera>>);

impl Watches {
    /// What was saved in a state folder; nothing where nothing was. What an earlier version saved of canaries is learned anew.
    ///
    /// # Errors
    /// When the file cannot be read or is none of this version: whoever calls starts with nothing and says so.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let named = |what: String| io::Error::other(format!("{}: {what}", path.display()));
        let bytes = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Ok(file) if file.len() > FILE_BYTES_MAX => {
                return Err(named(format!("{} bytes, {FILE_BYTES_MAX} at most", file.len())));
            }
            _ => std::fs::read(&path).map_err(|e| named(e.to_string()))?,
        };
        let wrong = |e: serde_json::Error| named(e.to_string());
        let mut file: Value = serde_json::from_slice(&bytes).map_err(wrong)?;
        let version = file.get("version").and_then(Value::as_u64);
        if version.is_some_and(|version| OTHER_CANARIES.contains(&version)) {
            let cameras = file.get_mut("cameras").and_then(Value::as_object_mut);
            let cameras = cameras.into_iter().flat_map(|cameras| cameras.values_mut());
            cameras.filter_map(Value::as_object_mut).for_each(|camera| {
                camera.remove("drift");
            });
        } else if version != Some(VERSION.into()) {
            return Err(named(format!("it has no version, or none up to {VERSION}")));
        }
        let file: File = serde_json::from_value(file).map_err(wrong)?;
        Ok(Self(Mutex::new(file.cameras)))
    }

    /// Writes what is known into a state folder, durably. Blocks.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let file = File { version: VERSION, cameras: self.lock().clone() };
        let bytes = serde_json::to_vec(&file).map_err(io::Error::other)?;
        std::fs::create_dir_all(folder)?;
        base::files::write_durable(&folder.join(FILE), &bytes)
    }

    /// Takes what a worker noticed in one clip of a camera that was captured at `at`; what began with it.
    pub fn note(&self, camera: &CameraId, at: UtcTime, notes: &Notes) -> Began {
        let mut cameras = self.lock();
        let camera = cameras.entry(camera.clone()).or_default();
        let (drifted, low) = (camera.drift.is_drifting(), camera.drift.is_low());
        let silent = camera.fell_silent();
        camera.note(at, notes);
        Began {
            drift: !drifted && camera.drift.is_drifting(),
            low: !low && camera.drift.is_low(),
            silence: !silent && camera.fell_silent(),
        }
    }

    /// How faint a camera's canaries are.
    #[must_use]
    pub fn contrasts(&self, camera: &CameraId) -> Contrasts {
        self.lock().get(camera).map(|camera| camera.drift.contrasts()).unwrap_or_default()
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

    /// Whether a busy camera shows nobody for longer than it ever did.
    fn fell_silent(&self) -> bool {
        let longer = self.silent_in_a_row > self.longest.saturating_mul(2).max(STRANGE_FROM - 1);
        self.with_boxes >= BUSY_FROM && longer
    }

    fn status(&self) -> CameraWatch {
        CameraWatch {
            silent_in_a_row: self.silent_in_a_row,
            fell_silent: self.fell_silent(),
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
            for _ in 0..*times {
                watches.note(&camera, UtcTime::EPOCH, notes);
            }
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
    fn what_begins_is_told_when_it_does_and_not_while_it_lasts() {
        let (watches, camera) = (Watches::default(), "door".parse().unwrap());
        let canaries = |found| [proto::watch::Canaries { drawn: 9, found }; 3];
        let healthy = Notes { canaries: canaries(7), ..clip(9, 9, 0) };
        let blind = Notes { canaries: canaries(0), ..clip(9, 0, 9) };
        let mut told = Vec::new();
        for number in 0..2000i64 {
            let notes = if number < 1800 { &healthy } else { &blind };
            let at = UtcTime::EPOCH.plus_ns(number * 86_400_000_000_000 / 200);
            let began = watches.note(&camera, at, notes);
            told.extend(began.drift.then_some("drift"));
            told.extend(began.silence.then_some("silence"));
        }
        assert_eq!(told, ["drift", "silence"]);
    }

    #[test]
    fn a_camera_whose_canaries_are_not_found_gets_plainer_ones_and_is_told_of_once() {
        let (watches, camera) = (Watches::default(), "door".parse().unwrap());
        let canaries = [proto::watch::Canaries { drawn: 9, found: 1 }; 3];
        let notes = Notes { canaries, ..clip(9, 9, 0) };
        assert_eq!(watches.contrasts(&camera), Contrasts::default());
        let mut told = Vec::new();
        for number in 0..2000i64 {
            let at = UtcTime::EPOCH.plus_ns(number * 86_400_000_000_000 / 200);
            let began = watches.note(&camera, at, &notes);
            told.extend(began.low.then_some(number));
            assert!(!began.drift);
        }
        assert_eq!(watches.contrasts(&camera), Contrasts([2000; 3]));
        assert_eq!(told, [7 * 200], "when its first week is over");
        assert!(watches.status()[&camera].canary_recall.values().all(|size| size.low_hours == 24));
        assert_eq!(watches.contrasts(&"yard".parse().unwrap()), Contrasts::default());
    }

    #[test]
    fn what_is_usual_on_a_camera_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let camera: CameraId = "door".parse().unwrap();
        let canaries = proto::watch::Canaries { drawn: 9, found: 7 };
        let notes = Notes { canaries: [canaries; 3], ..clip(9, 9, 0) };
        // A second time replaces what was saved.
        let (day_ns, times) = (86_400_000_000_000, 2);
        let seen = |watches: &Watches, days: std::ops::Range<i64>| {
            for number in days.flat_map(|day| (0..200).map(move |n| day * 200 + n)) {
                watches.note(&camera, UtcTime::EPOCH.plus_ns(number * day_ns / 200), &notes);
            }
        };
        let whole = Watches::default();
        seen(&whole, 0..8);
        assert!(whole.status()[&camera].canary_recall["64+"].usual_milli.is_some());
        let mut days = 0..0;
        for until in [3, 8] {
            // Each time in another process.
            let part = Watches::load(&state).unwrap();
            days = days.end..until;
            seen(&part, days.clone());
            (0..times).for_each(|_| part.save(&state).unwrap());
        }
        assert_eq!(Watches::load(&state).unwrap().status(), whole.status());
    }

    /// As version 1 wrote it; of version 2 the same is kept.
    #[test]
    fn of_an_earlier_version_silences_are_kept_and_canaries_learned_anew() {
        let folder = tempfile::tempdir().unwrap();
        let size = r#"{"learned":[{"drawn":9,"found":4}],"drawn":9,"recent":0.4,"sum":1.5}"#;
        let drift = format!(
            r#"{{"began":"2026-11-20T00:00:00Z","learning":true,"sizes":[{size},{size},{size}]}}"#
        );
        let camera = format!(
            r#"{{"with_boxes":120,"silent_in_a_row":7,"longest":40,"doubted":3,"drift":{drift}}}"#
        );
        for version in OTHER_CANARIES {
            let file = format!(r#"{{"version":{version},"cameras":{{"door":{camera}}}}}"#);
            std::fs::write(folder.path().join(FILE), file).unwrap();
            let watches = Watches::load(folder.path()).unwrap();
            let door = "door".parse().unwrap();
            let expected = CameraWatch { silent_in_a_row: 7, doubted: 3, ..CameraWatch::default() };
            assert_eq!(watches.status()[&door], expected);
            assert_eq!(watches.contrasts(&door), Contrasts::default());
            // Its longest silence is known: as long a one is not strange.
            let night = clip(60, 0, 60);
            assert!(!watches.note(&door, UtcTime::EPOCH, &night).silence);
            assert!(watches.note(&door, UtcTime::EPOCH, &night).silence);
        }
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Watches::load(folder.path()).unwrap().status().is_empty(), "nothing was saved");
        for wrong in ["", "{}", "{\"version\": 4, \"cameras\": {}}", "{\"version\": 1}"] {
            std::fs::write(folder.path().join(FILE), wrong).unwrap();
            let error = Watches::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains(FILE), "{wrong}: {error}");
        }
        let long = std::fs::File::create(folder.path().join(FILE)).unwrap();
        long.set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(Watches::load(folder.path()).unwrap_err().to_string().contains("at most"));
    }

    #[test]
    fn a_night_as_long_as_the_one_before_is_not_strange() {
        let (day, night) = ((500, clip(2, 2, 0)), (3000, clip(2, 0, 2)));
        assert!(!after(&[day, night, day, night]).fell_silent);
        assert!(after(&[day, night, day, night, night, (1, clip(2, 0, 2))]).fell_silent);
    }
}
