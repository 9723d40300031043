//! Owns what can be captured, how, and what comes out.

use std::{fmt, path::PathBuf, time::Duration};

use proto::{Clock, Interval, UtcTime};

use crate::Marks;

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureSource {
    /// A video file of any container that GStreamer reads; its first video stream, not encoded again.
    File {
        /// The file.
        path: PathBuf,
    },
    /// A network camera over TCP, not encoded again.
    Rtsp {
        /// `rtsp://host/path`, without credentials.
        url: String,
        /// User name, where the camera wants one.
        user: Option<String>,
        /// File that holds the password and nothing else.
        password_file: Option<PathBuf>,
    },
    /// A local camera; encoded here as H.264.
    V4l2 {
        /// Such as `/dev/video0`.
        device: PathBuf,
    },
    /// A generated picture; encoded here as H.264.
    Test {
        /// What it shows.
        pattern: Pattern,
        /// Width in pixels, even.
        width: u32,
        /// Height in pixels, even.
        height: u32,
        /// Pictures per second, from 1.
        rate: u32,
        /// Ends after this many pictures; never when absent.
        pictures: Option<u32>,
    },
}

/// What a test source shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Colour bars.
    Bars,
    /// A moving ball.
    Ball,
    /// All black: every clip is equal, so that nothing may rely on digests as ids.
    Black,
}

impl CaptureSource {
    /// The source for messages; never shows credentials.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::File { path } => path.display().to_string(),
            Self::Rtsp { url, .. } => without_credentials(url),
            Self::V4l2 { device } => device.display().to_string(),
            Self::Test { .. } => "test source".to_owned(),
        }
    }

    /// Whether time passes by itself in this source, whatever the consumer does.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        match self {
            Self::Rtsp { .. } | Self::V4l2 { .. } => true,
            Self::File { .. } | Self::Test { .. } => false,
        }
    }
}

fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    // Some cameras take credentials in the query: it is not shown either.
    let path = path.split('?').next().unwrap_or(path);
    format!("{scheme}://{host}/{path}")
}

/// How fast a file or a test source is read. Live sources have their own pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As the pictures' times say.
    Realtime,
    /// As fast as clips are taken.
    Fast,
}

/// How to capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureSettings {
    /// A clip is closed at the first key frame that is this far from its first picture; up to 60 s.
    pub clip_length: Duration,
    /// How fast files and test sources are read.
    pub pace: Pace,
    /// Start a file again at its end, as one endless session.
    pub repeat: bool,
}

/// A closed clip.
#[derive(Clone)]
pub struct CapturedClip {
    /// A finished, seekable Matroska file whose times start at 0 = `interval.start_ns`.
    pub bytes: Vec<u8>,
    /// Its stretch of the session; consecutive clips touch.
    pub interval: Interval,
    /// When the clip began: the session's anchor and `interval.start_ns`.
    pub captured_at: UtcTime,
    /// Where the anchor comes from.
    pub clock: Clock,
    /// Encoded pictures in it.
    pub pictures: usize,
    /// What is unusual about it.
    pub marks: Marks,
}

impl fmt::Debug for CapturedClip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapturedClip")
            .field("bytes", &self.bytes.len())
            .field("interval", &self.interval)
            .field("captured_at", &self.captured_at)
            .field("pictures", &self.pictures)
            .field("marks", &self.marks)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_never_shows_credentials() {
        let label = |url: &str| {
            CaptureSource::Rtsp { url: url.into(), user: None, password_file: None }.label()
        };
        assert_eq!(label("rtsp://u:secret@cam:554/main?pw=secret"), "rtsp://cam:554/main");
        assert_eq!(label("rtsp://u:se@cret@cam"), "rtsp://cam/");
    }
}
