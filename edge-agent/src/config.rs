//! Owns the configuration of a gateway: what its file may say, and the checked form that everything else uses.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use base::{config::ConfigError, duration::Span};
use capture::{CaptureSource, Pace, Pattern};
use link::mqtt::BrokerAddress;
use proto::{CameraId, DeviceName, Identity, Role, SiteId, UtcTime, limits::SLOTS_MAX};
use serde::Deserialize;

use crate::schedule::Schedule;

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    site: SiteId,
    name: DeviceName,
    credentials: PathBuf,
    state: PathBuf,
    spool: PathBuf,
    #[serde(default = "spool_bytes_default")]
    spool_bytes_max: u64,
    #[serde(default = "spool_age_default")]
    spool_age_max: Span,
    device_key: PathBuf,
    #[serde(default)]
    fogs: Vec<String>,
    broker: Option<BrokerAddress>,
    #[serde(default)]
    exit_when_done: bool,
    #[serde(default)]
    keep_runs: bool,
    #[serde(rename = "camera")]
    cameras: Vec<CameraEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CameraEntry {
    id: CameraId,
    source: String,
    user: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default = "clip_default")]
    clip: Span,
    #[serde(default = "every_default")]
    every: Span,
    schedule: Option<ScheduleEntry>,
    pace: Option<PaceEntry>,
    #[serde(default)]
    repeat: bool,
    start: Option<UtcTime>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleEntry {
    record: Span,
    each: Span,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PaceEntry {
    Realtime,
    Fast,
}

/// 10 GB: a day of one 1080p camera at 1 Mbit/s.
const fn spool_bytes_default() -> u64 {
    10_000_000_000
}

/// 7 days: shorter than the 30 days for which the bridge remembers committed clips.
const fn spool_age_default() -> Span {
    Span(Duration::from_secs(7 * 86_400))
}

/// Six frames at the default interval: packed by clip, the cloud costs a fifth of what it does frame by frame, and a
/// result is seen 25 s later at most (`cloud-bridge/lambda/figures/power.md`).
const fn clip_default() -> Span {
    Span(Duration::from_secs(30))
}

const fn every_default() -> Span {
    Span(Duration::from_secs(5))
}

/// Longest edge retention: the bridge must still know the clips that it committed.
const AGE_MAX: Duration = Duration::from_secs(proto::limits::COMMITTED_KEPT_DAYS as u64 * 86_400);
/// Least quota: a few of the largest clips, so that the quota never drops everything for one clip.
const SPOOL_BYTES_MIN: u64 = 4 * proto::limits::CLIP_BYTES_MAX;
/// Cameras of one gateway: each has a capturing thread and an open clip in memory.
const CAMERAS_MAX: usize = 64;

/// A gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this process is.
    pub identity: Identity,
    /// Folder with `chain.pem`, `key.pem`, `roots.pem`, `receipt.pub`.
    pub credentials: PathBuf,
    /// Folder for sessions and the ledger.
    pub state: PathBuf,
    /// Folder of the spool.
    pub spool: PathBuf,
    /// Bytes that the spool may hold.
    pub spool_bytes_max: u64,
    /// Age after which a held clip is dropped.
    pub spool_age_max: Duration,
    /// File with the device key, 64 hexadecimal digits; made at first start.
    pub device_key: PathBuf,
    /// Fog nodes, `host:port`; added to those that announce themselves over MQTT.
    pub fogs: Vec<String>,
    /// MQTT, where there is a broker.
    pub broker: Option<BrokerAddress>,
    /// End when all cameras have finished and every clip has its receipt.
    pub exit_when_done: bool,
    /// Never begin a file anew by itself: whoever runs this gateway in a batch decides when a run is over, and removes its
    /// `run-CAMERA.json` from the state folder.
    pub keep_runs: bool,
    /// The cameras.
    pub cameras: Vec<Camera>,
}

/// A camera.
#[derive(Debug, Clone)]
pub struct Camera {
    /// Its id.
    pub id: CameraId,
    /// Where its pictures come from.
    pub source: CaptureSource,
    /// Length at which clips are closed.
    pub clip: Duration,
    /// Sampling interval of frames, in nanoseconds.
    pub every_ns: i64,
    /// When it records.
    pub schedule: Schedule,
    /// How fast a file is read.
    pub pace: Pace,
    /// Whether a file starts again at its end.
    pub repeat: bool,
    /// When a file began.
    pub start: Option<UtcTime>,
}

impl Camera {
    /// Whether this is a file that is read once.
    #[must_use]
    pub const fn is_run_once(&self) -> bool {
        matches!(self.source, CaptureSource::File { .. }) && !self.repeat
    }
}

impl Config {
    /// Reads and checks a file. Relative paths count from its folder.
    ///
    /// # Errors
    /// With all problems at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: File = base::config::load(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let at = |p: PathBuf| folder.join(p);
        let mut problems = Vec::new();
        if file.spool_age_max.0 > AGE_MAX {
            problems.push("spool_age_max: is over 30d, for which the bridge remembers".to_owned());
        }
        if file.spool_bytes_max < SPOOL_BYTES_MIN {
            problems.push(format!("spool_bytes_max: is under {SPOOL_BYTES_MIN}"));
        }
        if file.fogs.is_empty() && file.broker.is_none() {
            problems.push("fogs: name a fog node (`host:port`) or set `broker`".to_owned());
        }
        if file.cameras.is_empty() || file.cameras.len() > CAMERAS_MAX {
            problems.push(format!("camera: have 1 to {CAMERAS_MAX} `[[camera]]` sections"));
        }
        let mut ids = BTreeSet::new();
        let mut cameras = Vec::new();
        for entry in file.cameras {
            let id = entry.id.clone();
            if !ids.insert(id.clone()) {
                problems.push(format!("camera {id}: stands twice"));
            }
            match camera(entry, folder) {
                Ok(camera) => cameras.push(camera),
                Err(reason) => problems.push(format!("camera {id}: {reason}")),
            }
        }
        if !problems.is_empty() {
            return Err(ConfigError::Values { path: path.to_owned(), problems });
        }
        Ok(Self {
            identity: Identity { site: file.site, role: Role::Edge, name: file.name },
            credentials: at(file.credentials),
            state: at(file.state),
            spool: at(file.spool),
            spool_bytes_max: file.spool_bytes_max,
            spool_age_max: file.spool_age_max.0,
            device_key: at(file.device_key),
            fogs: file.fogs,
            broker: file.broker,
            exit_when_done: file.exit_when_done,
            keep_runs: file.keep_runs,
            cameras,
        })
    }
}

fn camera(entry: CameraEntry, folder: &Path) -> Result<Camera, String> {
    let CameraEntry { id, clip, every, repeat, start, .. } = entry;
    let password_file = entry.password_file.map(|p| folder.join(p));
    let source = source(&entry.source, entry.user, password_file, folder)?;
    let is_file = matches!(source, CaptureSource::File { .. });
    let (clip, every) = (clip.0, every.0);
    if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&clip) {
        return Err("clip: is outside 1s to 60s".to_owned());
    }
    // A clip may grow to 60 s when its key frames are far apart, and must not hold more slots than fit a record.
    let least = Duration::from_secs(60).as_millis().div_ceil(SLOTS_MAX as u128);
    if every.as_millis() < least || every > Duration::from_secs(3600) {
        return Err(format!("every: is outside {least}ms to 1h"));
    }
    let schedule = match entry.schedule {
        None => Schedule::Continuous,
        Some(_) if is_file => return Err("schedule: is for cameras, not for files".to_owned()),
        Some(s) => {
            Schedule::periodic(s.record.0, s.each.0).map_err(|e| format!("schedule: {e}"))?
        }
    };
    if !is_file && (repeat || start.is_some()) {
        return Err("repeat and start: are for files".to_owned());
    }
    let pace = match entry.pace {
        Some(PaceEntry::Realtime) => Pace::Realtime,
        Some(PaceEntry::Fast) if repeat => return Err("pace: a repeated file is realtime".into()),
        Some(PaceEntry::Fast) => Pace::Fast,
        None if is_file && !repeat => Pace::Fast,
        None => Pace::Realtime,
    };
    let every_ns = i64::try_from(every.as_nanos()).map_err(|_| "every: too long".to_owned())?;
    Ok(Camera { id, source, clip, every_ns, schedule, pace, repeat, start })
}

fn source(
    text: &str,
    user: Option<String>,
    password_file: Option<PathBuf>,
    folder: &Path,
) -> Result<CaptureSource, String> {
    if text.starts_with("rtsp://") {
        if text.split('/').nth(2).is_some_and(|authority| authority.contains('@')) {
            return Err("source: put credentials into `user` and `password_file`".to_owned());
        }
        return Ok(CaptureSource::Rtsp { url: text.to_owned(), user, password_file });
    }
    if user.is_some() || password_file.is_some() {
        return Err("user and password_file: are for rtsp:// sources".to_owned());
    }
    if let Some(pattern) = text.strip_prefix("test:") {
        let pattern = match pattern {
            "bars" => Pattern::Bars,
            "ball" => Pattern::Ball,
            "black" => Pattern::Black,
            _ => return Err("source: test sources are test:bars, test:ball, test:black".into()),
        };
        let (width, height, rate, pictures) = (1280, 720, 25, None);
        return Ok(CaptureSource::Test { pattern, width, height, rate, pictures });
    }
    if text.starts_with("/dev/video") {
        return Ok(CaptureSource::V4l2 { device: PathBuf::from(text) });
    }
    if text.contains("://") {
        return Err(format!("source {text:?}: use a file, rtsp://, /dev/videoN or test:NAME"));
    }
    Ok(CaptureSource::File { path: folder.join(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "site = 'town'\nname = 'gw'\ncredentials = 'pki'\nstate = 'state'\n\
        spool = 'spool'\ndevice_key = 'device.key'\nfogs = ['127.0.0.1:1']\n";

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn a_file_is_read_once_and_fast_a_repeated_one_in_real_time() {
        let config = load(&format!(
            "{HEAD}[[camera]]\nid = 'a'\nsource = 'a.mp4'\n\
             [[camera]]\nid = 'b'\nsource = '/b.mp4'\nrepeat = true\n\
             [[camera]]\nid = 'c'\nsource = 'rtsp://cam/x'\nschedule = {{record = '10s', each = '60s'}}\n"
        ))
        .unwrap();
        let [a, b, c] = config.cameras.as_slice() else { panic!("{:?}", config.cameras) };
        assert!(a.is_run_once() && a.pace == Pace::Fast && a.every_ns == 5_000_000_000);
        assert!(!b.is_run_once() && b.pace == Pace::Realtime);
        assert!(matches!(c.schedule, Schedule::Periodic { .. }));
        assert!(config.spool.is_absolute());
        // Not without those who count what the cloud costs: cloud-bridge/lambda/figures/power.md.
        assert!(config.cameras.iter().all(|camera| camera.clip == Duration::from_secs(30)));
    }

    #[test]
    fn all_problems_are_told_at_once_with_camera_and_key() {
        let error = load(&format!(
            "{HEAD}spool_age_max = '60d'\n[[camera]]\nid = 'a'\nsource = 'http://x'\n\
             [[camera]]\nid = 'a'\nsource = 'rtsp://u:secret@cam/x'\n\
             [[camera]]\nid = 'b'\nsource = 'x.mp4'\nclip = '90s'\n"
        ))
        .unwrap_err()
        .to_string();
        for part in [
            "edge.toml",
            "spool_age_max",
            "camera a: source",
            "stands twice",
            "password_file",
            "camera b: clip",
        ] {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = load(&format!("{HEAD}clip_seconds = 3\ncamera = []\n")).unwrap_err();
        assert!(error.to_string().contains("clip_seconds"), "{error}");
    }
}
