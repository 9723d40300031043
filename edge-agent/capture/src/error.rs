//! Owns why capturing fails, by cause, and what each cause asks of the caller.

use std::{io, path::PathBuf};

use base::{Fault, Faulty};

/// Why there are no more clips.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file is not there or cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No container that GStreamer knows, or a broken one.
    #[error("{what}: not a video: {reason}")]
    NotVideo {
        /// The source.
        what: String,
        /// What GStreamer says.
        reason: String,
    },
    /// A container without a video stream (or without a picture in it).
    #[error("{what}: has no video stream")]
    NoVideoStream {
        /// The source.
        what: String,
    },
    /// Pictures, none of which can be decoded by itself.
    #[error("{what}: has no key frame: nothing of it can be decoded")]
    NoKeyFrame {
        /// The source.
        what: String,
    },
    /// The file ends before its stated end. What it holds has been given out.
    #[error(
        "{what}: truncated: ends at {read_ms} ms of {declared_ms} ms; its readable part was taken"
    )]
    Truncated {
        /// The source.
        what: String,
        /// Where it ends, in milliseconds.
        read_ms: i64,
        /// Where it says that it ends, in milliseconds.
        declared_ms: i64,
    },
    /// A codec that cannot be put into a clip.
    #[error(
        "{what}: video codec {codec} is not supported; use H.264, H.265, MPEG-4, MJPEG, VP8, VP9 or AV1"
    )]
    Codec {
        /// The source.
        what: String,
        /// Its media type.
        codec: String,
    },
    /// The camera or device cannot be reached, or stopped answering.
    #[error("{what}: cannot be reached: {reason}")]
    Unreachable {
        /// The source.
        what: String,
        /// What GStreamer says.
        reason: String,
    },
    /// The camera refuses user or password.
    #[error("{what}: refuses user or password (401): check `user` and the password file")]
    Unauthorised {
        /// The source.
        what: String,
    },
    /// A live source ended.
    #[error("{what}: the camera ended the stream")]
    Ended {
        /// The source.
        what: String,
    },
    /// No picture for a while.
    #[error("{what}: no picture for {seconds} s")]
    Stalled {
        /// The source.
        what: String,
        /// For how long.
        seconds: u64,
    },
    /// Picture times jump: the session cannot go on.
    #[error("{what}: picture times jump by {by_ms} ms: a new session is needed")]
    Discontinuity {
        /// The source.
        what: String,
        /// How far, in milliseconds.
        by_ms: i64,
    },
    /// A GStreamer element is not installed.
    #[error("GStreamer element {element} is missing: install the package that has it ({package})")]
    Plugin {
        /// The element.
        element: &'static str,
        /// Debian package.
        package: &'static str,
    },
    /// The settings cannot be used.
    #[error("{what}: {reason}")]
    Settings {
        /// The source.
        what: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A clip could not be muxed.
    #[error("{what}: clip cannot be muxed: {reason}")]
    Mux {
        /// The source.
        what: String,
        /// What GStreamer says.
        reason: String,
    },
    /// Anything else that GStreamer reports.
    #[error("{what}: {reason}")]
    Pipeline {
        /// The source.
        what: String,
        /// What GStreamer says.
        reason: String,
    },
}

impl Faulty for CaptureError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unreachable { .. }
            | Self::Ended { .. }
            | Self::Stalled { .. }
            | Self::Discontinuity { .. }
            | Self::Pipeline { .. } => Fault::Transient,
            Self::Unreadable { .. } | Self::NoVideoStream { .. } | Self::Codec { .. } => {
                Fault::Permanent
            }
            Self::NotVideo { .. }
            | Self::NoKeyFrame { .. }
            | Self::Truncated { .. }
            | Self::Mux { .. } => Fault::Corrupt,
            Self::Unauthorised { .. } | Self::Plugin { .. } | Self::Settings { .. } => {
                Fault::Misuse
            }
        }
    }
}
