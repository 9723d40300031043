//! Owns the frames that the function is measured with: sealed as a fog node does, with five faces and a picture that
//! weighs what one of 1080p does and shows nobody.

use proto::{
    Clock, Digest, Manifest, UtcTime,
    envelope::{EnvelopeError, SealGrant, SealedFrame, seal},
    ids::IdError,
    manifest::{Grid, MANIFEST_VERSION, ModelRef, PolicyRef, Rect, Region},
    signing::{PublicKey, SigningError, SigningKey},
    time::ClockSource,
};

/// Faces of each frame.
const FACES: u32 = 5;
/// Bytes of each picture.
const PICTURE_BYTES: usize = 250_000;

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A name.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A key.
    #[error(transparent)]
    Key(#[from] SigningError),
    /// The seal.
    #[error(transparent)]
    Seal(#[from] EnvelopeError),
}

/// Seals frames of a site that exists only here.
pub(super) struct Sealer {
    root: PublicKey,
    fog: SigningKey,
    grant: SealGrant,
}

impl Sealer {
    /// A new site.
    pub(super) fn new() -> Result<Self, FrameError> {
        let (root, fog) = (SigningKey::from_seed(&[1; 32])?, SigningKey::from_seed(&[2; 32])?);
        let (site, policies) = ("bench".parse()?, vec![Digest::of(b"policy")]);
        let until = UtcTime::EPOCH.plus_ns(i64::MAX);
        let grant = SealGrant::issue(&root, fog.public(), site, UtcTime::EPOCH, until, policies);
        Ok(Self { root: root.public(), fog, grant })
    }

    /// The key that the function is to believe.
    pub(super) const fn root(&self) -> PublicKey {
        self.root
    }

    /// The frame of a slot of a clip.
    pub(super) fn frame(&self, clip: u64, slot: u64) -> Result<SealedFrame, FrameError> {
        let manifest = manifest(clip, slot)?;
        let mut picture = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 3, 1];
        picture.resize(PICTURE_BYTES, 9);
        picture.extend([0xFF, 0xD9]);
        let bytes = seal(&manifest, &picture, &self.fog, &self.grant)?;
        Ok(SealedFrame::open(bytes, &self.root)?)
    }
}

fn manifest(clip: u64, slot: u64) -> Result<Manifest, FrameError> {
    let model =
        |name: &str| ModelRef { name: name.to_owned(), digest: Digest::of(name.as_bytes()) };
    let face = |at: u32| {
        let rect = Rect { x: 40 + at * 200, y: 100, w: 48, h: 64 };
        // Any cells do: the network takes the same time for all of them.
        let cells = Digest::of(format!("{clip}/{slot}/{at}").as_bytes());
        let cells = cells.as_bytes().iter().copied().cycle().take(8 * 3).collect();
        let grid = Grid { rect, rows: 8, cols: 1, cells, score_milli: 900, counted: true };
        Region { grid: Some(grid), ..Region::filled(vec![rect]) }
    };
    Ok(Manifest {
        version: MANIFEST_VERSION,
        frame: format!("bench/cam-1/{}/{clip}/{slot}", "0".repeat(32)).parse()?,
        captured_at: UtcTime::EPOCH,
        clip_captured_at: UtcTime::EPOCH,
        clock: Clock { source: ClockSource::System, uncertainty_ms: Some(100) },
        width: 1920,
        height: 1080,
        policy: PolicyRef { name: "cells".to_owned(), digest: Digest::of(b"policy") },
        detector: model("detector"),
        auditor: model("auditor"),
        noise_scale: 12,
        noise_epoch: 1,
        regions: (0..FACES).map(face).collect(),
        classifier: None,
    })
}
