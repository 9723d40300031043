//! Owns the counting of dollars: a price table, one invocation, a camera's month. Pure functions of what was measured.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{PACK_FRAMES, Row};

/// A price table that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PriceError(#[from] base::config::ConfigError);

/// The price table: where and when it held, and what it assumes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// AWS region.
    pub region: String,
    /// Of the function.
    pub architecture: String,
    /// When the prices held.
    pub date: String,
    /// Where they stand.
    pub source: String,
    /// Of the function, in US dollars.
    pub lambda: Lambda,
    /// Of the store, in US dollars.
    pub s3: Storage,
    /// Time of one call of S3, in milliseconds.
    pub wait_ms: Wait,
    /// What a camera sends.
    pub camera: Camera,
    /// What the workflow of 2021 paid.
    pub before: Before,
}

/// Prices of the function.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lambda {
    /// One invocation.
    pub request: f64,
    /// A gigabyte for a second.
    pub gb_second: f64,
    /// Memory that goes with one processor, in MB.
    pub vcpu_mb: u32,
}

/// Prices of the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// One object written, or one page of a listing.
    pub put: f64,
    /// One object or range read.
    pub get: f64,
    /// A gigabyte for a month.
    pub gb_month: f64,
    /// A gigabyte to the internet.
    pub gb_out: f64,
}

/// Times of S3.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// To read a range.
    pub get: f64,
    /// To write a result.
    pub put: f64,
}

/// What one camera sends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// Seconds between frames.
    pub every_s: f64,
    /// Of a frame's envelope.
    pub frame_kb: f64,
    /// Of a frame's result.
    pub result_kb: f64,
    /// How often the bridge asks for a result by its key until it is there.
    pub looks: f64,
    /// Of an answer that nothing is there.
    pub missing_kb: f64,
    /// Shortest time between two listings by the bridge.
    pub list_s: f64,
    /// Of a page of a listing.
    pub list_kb: f64,
    /// How long frames are kept.
    pub kept_days: f64,
}

/// What the workflow of 2021 paid for its function alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// Length of its video in seconds.
    pub video_s: f64,
    /// Lowest and highest figure.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// Dollars of one camera for 30 days.
#[derive(Debug, Clone, Serialize)]
pub struct Month {
    /// Frames of one object: 1 is by frame.
    pub frames_per_object: u64,
    /// Seconds from the first frame of an object to its end: what a result is later for that reason.
    pub later_s: f64,
    /// Invocations.
    pub requests: f64,
    /// Time of the function.
    pub duration: f64,
    /// Frames or packs, and results, written.
    pub puts: f64,
    /// Heads read by the function, and results by the bridge, looks in vain included.
    pub gets: f64,
    /// Listings by the bridge.
    pub lists: f64,
    /// Results and listings to the bridge.
    pub transfer: f64,
    /// Frames kept.
    pub storage: f64,
    /// Everything but the storage for as long a video as the one of 2021.
    pub video: f64,
}

impl Month {
    /// Everything but the storage, which is the same by any way.
    #[must_use]
    pub fn path(&self) -> f64 {
        self.requests + self.duration + self.puts + self.gets + self.lists + self.transfer
    }
}

const MONTH_S: f64 = 30.0 * 86_400.0;
/// Frames of an object: by frame, and clips of 10, 20, 30 and 60 s at one frame each 5 s.
const WAYS: [u64; 5] = [1, 2, 4, 6, PACK_FRAMES];

impl Prices {
    /// Reads a price table.
    ///
    /// # Errors
    /// When it is not there or not of its form.
    pub fn load(path: &Path) -> Result<Self, PriceError> {
        Ok(base::config::load(path)?)
    }

    /// Milliseconds that are billed for an object of so many frames: what was measured, between a frame and a pack along
    /// a line, and what S3 takes beside it. Lambda bills whole milliseconds.
    fn billed_ms(&self, row: &Row, frames: u64) -> f64 {
        let part = frames.saturating_sub(1) as f64 / (PACK_FRAMES - 1) as f64;
        let within = row.warm_ms + (row.pack_ms - row.warm_ms).max(0.0) * part;
        (within + self.wait_ms.get + self.wait_ms.put).ceil()
    }

    fn duration(&self, row: &Row, frames: u64) -> f64 {
        let gb = f64::from(row.memory_mb) / 1024.0;
        self.billed_ms(row, frames) / 1000.0 * gb * self.lambda.gb_second
    }

    /// Dollars of one invocation for an object of so many frames.
    #[must_use]
    pub fn invocation(&self, row: &Row, frames: u64) -> f64 {
        self.lambda.request + self.duration(row, frames)
    }

    /// A camera's month by each way.
    #[must_use]
    pub fn months(&self, row: &Row) -> Vec<Month> {
        WAYS.into_iter().map(|frames| self.month(row, frames)).collect()
    }

    fn month(&self, row: &Row, frames: u64) -> Month {
        let camera = &self.camera;
        let count = MONTH_S / camera.every_s;
        let objects = count / frames as f64;
        // The bridge lists for stragglers alone, not more often than for each object, and not more often than it may.
        let object_s = camera.every_s * frames as f64;
        let lists = MONTH_S / object_s.max(camera.list_s);
        let in_vain = objects * (camera.looks - 1.0).max(0.0);
        let out_kb =
            count * camera.result_kb + in_vain * camera.missing_kb + lists * camera.list_kb;
        let out_gb = out_kb / 1e6;
        let kept_gb = camera.kept_days * 86_400.0 / camera.every_s * camera.frame_kb / 1e6;
        let mut month = Month {
            frames_per_object: frames,
            later_s: camera.every_s * (frames - 1) as f64,
            requests: objects * self.lambda.request,
            duration: objects * self.duration(row, frames),
            puts: 2.0 * objects * self.s3.put,
            gets: (1.0 + camera.looks) * objects * self.s3.get,
            lists: lists * self.s3.put,
            transfer: out_gb * self.s3.gb_out,
            storage: kept_gb * self.s3.gb_month,
            video: 0.0,
        };
        // Whole objects: the last clip of a video is shorter and costs as much.
        let frames_of_video = (self.before.video_s / self.camera.every_s).ceil();
        let objects_of_video = (frames_of_video / frames as f64).ceil();
        month.video = month.path() * objects_of_video / objects;
        month
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices() -> Prices {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"));
        Prices::load(&file.join("../../cloud-bridge/lambda/prices.toml")).unwrap()
    }

    fn row() -> Row {
        Row {
            memory_mb: 1024,
            share: 0.5,
            process_ms: 10.0,
            library_ms: 20.0,
            session_ms: 5.0,
            first_run_ms: 1.0,
            rest_ms: 4.0,
            cold_ms: 60.0,
            warm_ms: 4.5,
            warm_95_ms: 6.0,
            invocation_ms: 8.0,
            pack_ms: 15.5,
            memory_mib: 60.0,
            held_back_ms: 0.0,
        }
    }

    #[test]
    fn an_invocation_is_billed_by_the_whole_millisecond_with_the_time_of_the_store() {
        let prices = prices();
        // 4.5 + 30 + 50 ms, rounded up, of 1 GB; a pack of twelve 15.5 + 80.
        let expected = |ms: f64| 2e-7 + ms / 1000.0 * 1.66667e-5;
        assert!((prices.invocation(&row(), 1) - expected(85.0)).abs() < 1e-12);
        assert!((prices.invocation(&row(), 12) - expected(96.0)).abs() < 1e-12);
    }

    #[test]
    fn a_month_counts_every_request_once_and_packing_divides_them() {
        let (alone, packed) = (prices().month(&row(), 1), prices().month(&row(), 12));
        // 518,400 frames: as many objects and results, three reads for each, a listing each five minutes.
        assert!((alone.puts - 5.184).abs() < 1e-9, "{alone:?}");
        assert!((alone.gets - 0.62208).abs() < 1e-9, "{alone:?}");
        assert!((alone.lists - 0.0432).abs() < 1e-9);
        assert!((alone.requests - 0.10368).abs() < 1e-9);
        assert!((packed.puts - 5.184 / 12.0).abs() < 1e-9);
        assert!((packed.gets - 0.62208 / 12.0).abs() < 1e-9);
        assert!((packed.lists - 0.0432).abs() < 1e-9);
        // In kB: a result each, an answer that nothing is there for each object, a listing each five minutes.
        let out = |objects: f64| (518_400.0 * 1.6 + objects * 0.5 + 8_640.0) * 0.09 / 1e6;
        assert!((alone.transfer - out(518_400.0)).abs() < 1e-9, "{alone:?}");
        assert!((packed.transfer - out(43_200.0)).abs() < 1e-9, "{packed:?}");
        assert_eq!(alone.storage, packed.storage);
        // 186 s are 38 frames: as many objects, or four.
        assert!((alone.video - alone.path() * 38.0 / 518_400.0).abs() < 1e-12, "{alone:?}");
        assert!((packed.video - packed.path() * 4.0 / 43_200.0).abs() < 1e-12, "{packed:?}");
        assert!(packed.path() < alone.path());
    }

    /// By clips of the default length, even with a slower function than was measured.
    #[test]
    fn a_clip_an_object_costs_less_than_a_tenth_of_2021() {
        let prices = prices();
        let of = |frames: u64| prices.before.low / prices.month(&row(), frames).video;
        assert!(of(6) > 10.0 && of(1) < 10.0, "{} and {} times less", of(6), of(1));
    }
}
