//! Cameras and files to closed clips in memory, by GStreamer, without encoding anything that is encoded already.
//!
//! Access units come out of an `appsink`, are cut in Rust at key frames (`cutter`, pure) and are muxed by a second
//! pipeline onto a memfd (`mux`): no clip touches a disk here. Nothing here reconnects or decides what to keep; errors
//! say by their kind what a caller should do.

mod capture;
mod cutter;
mod error;
mod mux;
mod pipeline;
mod source;
#[cfg(feature = "testing")]
pub mod testing;

pub use capture::{Capture, Stopper};
pub use cutter::{Marks, MarksCount};
pub use error::CaptureError;
pub use source::{CaptureSettings, CaptureSource, CapturedClip, Pace, Pattern};
