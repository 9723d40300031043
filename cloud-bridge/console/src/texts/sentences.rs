//! Owns the words that depend on a value: states, reasons, sentences with numbers in them.

use std::time::Duration;

use proto::{
    control::{CameraState, Presence},
    result::{FaceLabel, Timings},
    time::ClockSource,
};
use results::Event;

use super::Texts;

impl Texts {
    /// What is said of a face.
    #[must_use]
    pub const fn of_label(&self, label: FaceLabel) -> &'static str {
        match label {
            FaceLabel::Mask => self.mask,
            FaceLabel::NoMask => self.no_mask,
            FaceLabel::Incorrect => self.incorrect,
            FaceLabel::Uncertain => self.uncertain,
            FaceLabel::NotAFace => self.not_a_face,
        }
    }

    /// What a camera does.
    #[must_use]
    pub const fn of_camera(&self, state: CameraState) -> &'static str {
        match state {
            CameraState::Recording => "Recording",
            CameraState::Paused => "Paused",
            CameraState::Reconnecting => "Reconnecting",
            CameraState::Finished => "Finished",
            CameraState::Failed => "Failed",
        }
    }

    /// Whether a process is there.
    #[must_use]
    pub const fn of_presence(&self, presence: Presence) -> &'static str {
        match presence {
            Presence::Online => "online",
            Presence::Offline => "offline",
        }
    }

    /// The state of a camera of which nothing is heard.
    #[must_use]
    pub const fn not_heard(&self) -> &'static str {
        "Not heard"
    }

    /// The state of a camera whose gateway is offline.
    #[must_use]
    pub const fn gateway_offline(&self) -> &'static str {
        "Gateway offline"
    }

    /// The detector finds nothing on a camera that was busy.
    #[must_use]
    pub fn fell_silent(&self, frames: u64) -> String {
        format!(
            "The detector has found nothing in {frames} frames in a row, on a camera that was busy before."
        )
    }

    /// Too few canaries of a size are found for a drift to show.
    #[must_use]
    pub fn canaries_low(&self, size: &str, hours: u8) -> String {
        format!(
            "Canary recall is too low to watch at {size} pixels in {hours} of 24 hours: too few are found for a drift of the detector or the lens to show."
        )
    }

    /// Frames that were withheld since the auditor contradicted the detector.
    #[must_use]
    pub fn doubted(&self, frames: u64) -> String {
        format!(
            "{frames} frames were withheld since the auditor saw faces where the detector saw none."
        )
    }

    /// What happened.
    #[must_use]
    pub const fn of_event(&self, event: Event) -> &'static str {
        match event {
            Event::Login => "Signed in",
            Event::WrongPassword => "Wrong name or password",
            Event::Throttled => "Refused for a while",
            Event::Logout => "Signed out",
            Event::UserCreated => "User made",
            Event::PasswordChanged => "Password changed",
        }
    }

    /// Where a time comes from and how far it can be trusted.
    #[must_use]
    pub fn of_clock(&self, source: ClockSource, uncertainty_ms: Option<u32>) -> String {
        let source = match source {
            ClockSource::Rtcp => "camera's sender reports",
            ClockSource::System => "gateway's clock",
            ClockSource::File => "the file, or as stated",
            ClockSource::Unknown => "nobody knows: times count from 1970",
        };
        match uncertainty_ms {
            Some(ms) => format!("± {} s ({source})", f64::from(ms) / 1000.0),
            None => format!("uncertainty unknown ({source})"),
        }
    }

    /// How long ago.
    #[must_use]
    pub fn ago(&self, age: Duration) -> String {
        let seconds = age.as_secs();
        match seconds {
            0..=1 => "now".to_owned(),
            2..=119 => format!("{seconds} s ago"),
            120..=7_199 => format!("{} min ago", seconds / 60),
            7_200..=172_799 => format!("{} h ago", seconds / 3_600),
            _ => format!("{} days ago", seconds / 86_400),
        }
    }

    /// Until when logins are refused.
    #[must_use]
    pub fn throttled(&self, wait: Duration) -> String {
        let minutes = wait.as_secs().div_ceil(60).max(1);
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        format!("Too many attempts. Please wait {minutes} {unit}.")
    }

    /// Of how many tracks.
    #[must_use]
    pub fn of_tracks(&self, n: &str) -> String {
        let unit = if n == "1" { "track" } else { "tracks" };
        format!("of {n} {unit}")
    }

    /// What the frames of a clip say together of one face; nothing of their own when there is one.
    #[must_use]
    pub fn of_track(&self, label: FaceLabel, votes: u32) -> String {
        match votes {
            0 | 1 => "–".to_owned(),
            n => format!("{}, by {n} frames", self.of_label(label)),
        }
    }

    /// How often the function was asked again.
    #[must_use]
    pub fn tries(&self, n: u64) -> String {
        match n {
            0 => "first try".to_owned(),
            1 => "asked again once".to_owned(),
            n => format!("asked again {n} times"),
        }
    }

    /// What a picture shows, for those who do not see it.
    #[must_use]
    pub fn picture_of(&self, camera: &str, time: &str, counts: Option<[u64; 4]>) -> String {
        match counts {
            None => {
                format!("Redacted picture of camera {camera}, {time} UTC, without a result yet")
            }
            Some([mask, no_mask, incorrect, uncertain]) => format!(
                "Redacted picture of camera {camera}, {time} UTC: {mask} with mask, {no_mask} \
                 without, {incorrect} worn incorrectly, {uncertain} uncertain"
            ),
        }
    }

    /// The noise of a redaction.
    #[must_use]
    pub fn noise_of(&self, scale: u8, epoch: u64) -> String {
        match scale {
            0 => "none: nothing of a face left that could have some".to_owned(),
            _ => format!("scale {scale} grey levels, key epoch {epoch}"),
        }
    }

    /// How long a result took.
    #[must_use]
    pub fn times_of(&self, timings: Timings) -> String {
        let [read, classify] = [timings.read_us, timings.classify_us]
            .map(|us| Duration::from_micros(us).as_secs_f64());
        format!("{:.1} ms to read the seal, {:.1} ms to classify", read * 1e3, classify * 1e3)
    }

    /// The regions of a frame.
    #[must_use]
    pub fn regions_of(&self, regions: u64, grids: u64, said: u64) -> String {
        format!(
            "{regions}; {said} classified before they were covered, {grids} with cells that left"
        )
    }

    /// What the ledger counts.
    #[must_use]
    pub fn one_slot_each(&self, seconds: &str) -> String {
        format!("One slot each {seconds} s.")
    }

    /// How many faces more than fit.
    #[must_use]
    pub fn oldest_waits(&self, age: &str) -> String {
        format!("The longest waiting since {age}.")
    }

    /// The word of a reason for which a slot gave no frame.
    #[must_use]
    pub fn of_reason(&self, word: &str) -> String {
        match word {
            "detector" => "the face detector failed".to_owned(),
            "auditor" => "the auditor failed".to_owned(),
            "residual" => "the audit still found a face".to_owned(),
            "too_many_faces" => "more faces than a frame may hold".to_owned(),
            "encoding" => "drawing, encoding or sealing failed".to_owned(),
            "picture" => "the picture could not be decoded".to_owned(),
            "not_video" => "the clip is no video".to_owned(),
            "truncated" => "the clip ends early".to_owned(),
            "picture_too_large" => "pictures over the limit".to_owned(),
            "undecodable" => "no picture could be decoded".to_owned(),
            other => other.replace('_', " "),
        }
    }
}
