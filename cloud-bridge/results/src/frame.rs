//! Owns what a frame is to the database: where it is on its way, what is known of it, which ones are asked for.

use proto::{
    CameraId, Clock, FrameId, Manifest, SessionId, UtcTime, key,
    manifest::{ModelRef, PolicyRef},
    pack::Within,
    result::FrameResult,
};
use serde::{Deserialize, Serialize};

use crate::{CountsByModel, Track};

/// What is known of a frame from its manifest, without regions and cells: those stay in the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameAbout {
    /// When its clip began.
    pub clip_captured_at: UtcTime,
    /// How far the times can be trusted.
    pub clock: Clock,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The redaction policy.
    pub policy: PolicyRef,
    /// The detector.
    pub detector: ModelRef,
    /// The auditor.
    pub auditor: ModelRef,
    /// Scale of the noise in grey levels.
    pub noise_scale: u8,
    /// Epoch of the noise key.
    pub noise_epoch: u64,
    /// Redacted regions.
    pub regions: u64,
    /// Those with cells.
    pub grids: u64,
    /// Those that were classified before they were covered.
    #[serde(default)]
    pub said: u64,
    /// Where it lies in the pack of its clip; absent when it is an object of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Within>,
}

impl FrameAbout {
    pub(crate) fn of(manifest: &Manifest, within: Option<Within>) -> Self {
        Self {
            clip_captured_at: manifest.clip_captured_at,
            clock: manifest.clock,
            width: manifest.width,
            height: manifest.height,
            policy: manifest.policy.clone(),
            detector: manifest.detector.clone(),
            auditor: manifest.auditor.clone(),
            noise_scale: manifest.noise_scale,
            noise_epoch: manifest.noise_epoch,
            regions: manifest.regions.len() as u64,
            grids: manifest.grids().count() as u64,
            said: manifest.regions.iter().filter(|region| region.said.is_some()).count() as u64,
            within,
        }
    }
}

/// Where a frame is on its way.
#[derive(Debug, Clone, PartialEq)]
pub enum FrameState {
    /// In the object store, without a result yet.
    Awaiting {
        /// How often the function was asked again.
        tries: u64,
        /// When last.
        tried_at: Option<UtcTime>,
    },
    /// It has its result.
    Done {
        /// What is said of it.
        result: Box<FrameResult>,
        /// When it came.
        at: UtcTime,
    },
    /// The function never gave a result.
    Dead {
        /// How often it was asked again.
        tries: u64,
        /// What it said.
        reason: String,
    },
}

/// The states without what belongs to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateKind {
    /// Without a result yet.
    Awaiting,
    /// With its result.
    Done,
    /// Given up.
    Dead,
}

impl FrameState {
    /// Which of the three.
    #[must_use]
    pub const fn kind(&self) -> StateKind {
        match self {
            Self::Awaiting { .. } => StateKind::Awaiting,
            Self::Done { .. } => StateKind::Done,
            Self::Dead { .. } => StateKind::Dead,
        }
    }
}

/// A frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameRow {
    /// Its key: that of its object, unless it lies in the pack of its clip.
    pub key: String,
    /// The frame.
    pub frame: FrameId,
    /// When it was captured.
    pub captured_at: UtcTime,
    /// From its manifest; absent for the moment in which a result is faster than the bridge.
    pub about: Option<FrameAbout>,
    /// Since when it is in the object store.
    pub awaited_at: UtcTime,
    /// Where it is on its way.
    pub state: FrameState,
    /// The track of each face of its result; none when it was stored before there were tracks.
    pub tracks: Vec<Track>,
    /// The tracks that begin in it; its faces, when it was stored before there were tracks. Nothing without a result.
    pub counts: CountsByModel,
}

impl FrameRow {
    /// Its place in the order of frames.
    #[must_use]
    pub fn place(&self) -> FramePlace {
        FramePlace { captured_at: self.captured_at, key: self.key.clone() }
    }

    /// Where it lies in the pack of its clip, if it does.
    #[must_use]
    pub fn within(&self) -> Option<Within> {
        self.about.as_ref().and_then(|about| about.within)
    }

    /// Its result, when it has one.
    #[must_use]
    pub const fn result(&self) -> Option<&FrameResult> {
        match &self.state {
            FrameState::Done { result, .. } => Some(result),
            FrameState::Awaiting { .. } | FrameState::Dead { .. } => None,
        }
    }
}

/// A place in the order of frames: by time, then by key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FramePlace {
    /// Captured then.
    pub captured_at: UtcTime,
    /// With this key.
    pub key: String,
}

/// Which end of time comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}

/// Which frames.
#[derive(Debug, Clone, Default)]
pub struct FrameFilter {
    /// Of one camera.
    pub camera: Option<CameraId>,
    /// Of one run of a camera.
    pub session: Option<SessionId>,
    /// In one state.
    pub state: Option<StateKind>,
    /// Captured at this time or later.
    pub from: Option<UtcTime>,
    /// Captured before this time.
    pub until: Option<UtcTime>,
    /// In which order.
    pub order: Order,
    /// Only those after this one in that order: the last of the page before.
    pub after: Option<FramePlace>,
}

/// A frame that waits for its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaiting {
    /// Its key: that of its object, unless it lies in the pack of its clip.
    pub key: String,
    /// Whether it does.
    pub packed: bool,
    /// The frame.
    pub frame: FrameId,
    /// Since when it is in the object store.
    pub awaited_at: UtcTime,
    /// How often the function was asked again.
    pub tries: u64,
    /// When last.
    pub tried_at: Option<UtcTime>,
}

impl Awaiting {
    /// Key of the object that it lies in.
    #[must_use]
    pub fn object(&self) -> String {
        let pack = if self.packed { key::pack_of(&self.key) } else { None };
        pack.unwrap_or_else(|| self.key.clone())
    }
}
