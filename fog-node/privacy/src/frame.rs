//! Owns the frame types: what each step has earned, and nothing that could skip one.

use models::{Family, PixelView};
use proto::{
    Clock, FrameId, Manifest, UtcTime,
    envelope::{SealGrant, seal},
    manifest::{MANIFEST_VERSION, MANIFEST_VERSION_CLASSIFIED, ModelRef, Region},
    record::WithheldReason,
    signing::SigningKey,
};
use vision::{Clip, ClipError, Picture, PictureError};

use crate::{Policy, drawing::is_drawn, measure::TRIAL};

/// A frame that privacy does not let out, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frame withheld: {0:?}")]
#[must_use]
pub struct Withheld(pub WithheldReason);

/// What is known of a frame besides its pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameMeta {
    /// The frame.
    pub frame: FrameId,
    /// When it was captured.
    pub captured_at: UtcTime,
    /// When its clip began.
    pub clip_captured_at: UtcTime,
    /// How far the times can be trusted.
    pub clock: Clock,
}

/// A clip whose pictures come out as raw frames only.
pub struct RawClip(Clip);

impl RawClip {
    /// Opens a clip from memory.
    ///
    /// # Errors
    /// As [`Clip::open`].
    pub fn open(bytes: &[u8]) -> Result<Self, ClipError> {
        Clip::open(bytes).map(Self)
    }

    /// The frame that is shown at `at_ns` nanoseconds after the clip's start.
    ///
    /// # Errors
    /// As [`Clip::frame_at`].
    pub fn frame_at(&self, at_ns: i64, meta: FrameMeta) -> Result<RawFrame, ClipError> {
        Ok(RawFrame { picture: self.0.frame_at(at_ns)?, meta })
    }

    /// A frame at most `tolerance_ns` away that takes little decoding; its meta says when it was really captured.
    ///
    /// # Errors
    /// As [`Clip::frame_near`].
    pub fn frame_near(
        &self,
        at_ns: i64,
        tolerance_ns: i64,
        meta: FrameMeta,
    ) -> Result<RawFrame, ClipError> {
        let (picture, shown_ns) = self.0.frame_near(at_ns, tolerance_ns)?;
        let captured_at = meta.clip_captured_at.plus_ns(shown_ns);
        Ok(RawFrame { picture, meta: FrameMeta { captured_at, ..meta } })
    }
}

/// A frame as the camera saw it. Its pixels can be looked at by a detector and by nothing else.
pub struct RawFrame {
    pub(crate) picture: Picture,
    pub(crate) meta: FrameMeta,
}

impl RawFrame {
    /// A raw frame from a still picture (JPEG, PNG): for evaluation.
    ///
    /// # Errors
    /// When the bytes are no picture.
    pub fn from_still(bytes: &[u8], meta: FrameMeta) -> Result<Self, PictureError> {
        Ok(Self { picture: Picture::decode(bytes)?, meta })
    }

    /// What a detector sees.
    #[must_use]
    pub fn view(&self) -> Option<PixelView<'_>> {
        self.picture.view()
    }
}

/// A frame whose found faces are covered; the raw pixels are still there for the auditor.
pub struct RedactedFrame {
    pub(crate) raw: RawFrame,
    pub(crate) regions: Vec<Region>,
    pub(crate) detector: ModelRef,
    pub(crate) family: Family,
    pub(crate) classifier: Option<ModelRef>,
}

/// A frame that passed the audit.
pub struct AnonymisedFrame {
    pub(crate) picture: Picture,
    pub(crate) meta: FrameMeta,
    pub(crate) regions: Vec<Region>,
    pub(crate) detector: ModelRef,
    pub(crate) auditor: ModelRef,
    pub(crate) classifier: Option<ModelRef>,
    pub(crate) policy: Policy,
    pub(crate) noise_epoch: u64,
}

/// Quality of the JPEG: faces are flat cells by then, and text in the street stays readable.
const JPEG_QUALITY: u8 = 85;

impl AnonymisedFrame {
    /// The regions, as the manifest will have them.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Width and height in pixels.
    #[must_use]
    pub const fn size(&self) -> (u32, u32) {
        (self.picture.width(), self.picture.height())
    }

    /// Encodes afresh and seals. Before that, every region is compared with the drawing rebuilt from the manifest.
    ///
    /// # Errors
    /// [`Withheld`] when the comparison, the encoder or the seal fails.
    pub fn seal(self, key: &SigningKey, grant: &SealGrant) -> Result<Vec<u8>, Withheld> {
        let refused = || Withheld(WithheldReason::Encoding);
        if self.policy.name() == TRIAL {
            tracing::error!(frame = %self.meta.frame, "a policy for measuring only, frame withheld");
            return Err(refused());
        }
        if !is_drawn(&self.picture, &self.regions) {
            tracing::error!(frame = %self.meta.frame, "regions are not as drawn, frame withheld");
            return Err(refused());
        }
        if self.policy.grid.is_none() && self.regions.iter().any(|region| region.grid.is_some()) {
            tracing::error!(frame = %self.meta.frame, "cells under a policy without any, frame withheld");
            return Err(refused());
        }
        let jpeg = self.picture.encode_jpeg(JPEG_QUALITY).map_err(|error| {
            tracing::warn!(%error, "encoder failed, frame withheld");
            refused()
        })?;
        let manifest = Manifest {
            version: match self.classifier {
                None => MANIFEST_VERSION,
                Some(_) => MANIFEST_VERSION_CLASSIFIED,
            },
            frame: self.meta.frame,
            captured_at: self.meta.captured_at,
            clip_captured_at: self.meta.clip_captured_at,
            clock: self.meta.clock,
            width: self.picture.width(),
            height: self.picture.height(),
            policy: self.policy.reference(),
            detector: self.detector,
            auditor: self.auditor,
            noise_scale: self.policy.noise_scale,
            noise_epoch: self.noise_epoch,
            regions: self.regions,
            classifier: self.classifier,
        };
        seal(&manifest, &jpeg, key, grant).map_err(|error| {
            tracing::warn!(%error, "seal failed, frame withheld");
            refused()
        })
    }
}

impl std::fmt::Debug for RawFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawFrame({:?})", self.picture)
    }
}

impl std::fmt::Debug for RedactedFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedactedFrame({:?})", self.raw.picture)
    }
}

impl std::fmt::Debug for AnonymisedFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AnonymisedFrame({:?})", self.picture)
    }
}

/// A raw frame of a picture that has another value in each pixel: for tests of this crate.
#[cfg(test)]
pub(crate) fn test_frame(width: u32, height: u32) -> RawFrame {
    let bytes = width * height * 3;
    // Far from the fill colour and from each other, so that a pixel that stays is noticed.
    let bgr = (0..bytes).map(|i| ((i * 7 + i / 977) % 97) as u8).collect();
    let meta = FrameMeta {
        frame: "town/cam-1/000102030405060708090a0b0c0d0e0f/7/14".parse().unwrap(),
        captured_at: UtcTime::EPOCH,
        clip_captured_at: UtcTime::EPOCH,
        clock: Clock { source: proto::time::ClockSource::Unknown, uncertainty_ms: None },
    };
    RawFrame { picture: Picture::new(width, height, bgr).unwrap(), meta }
}
