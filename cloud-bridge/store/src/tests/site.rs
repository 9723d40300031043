//! Owns a site's keys, frames and results for the tests of the store.

use std::sync::Arc;

use crate::{
    FrameReader, FrameWriter, ResultReader, ResultWriter, Settings,
    memory::{MemoryFrames, MemoryResults},
    s3::S3,
    testing::{FRAMES_BUCKET, KEY_ID, ObjectServer, RESULTS_BUCKET, SECRET},
};
use proto::{
    Digest, Manifest, UtcTime,
    envelope::{SealGrant, SealedFrame, seal},
    key,
    manifest::{ModelRef, example},
    result::{FaceLabel, FaceResult, FrameResult, Placement, RESULT_SCHEMA, Timings},
    signing::{PublicKey, SigningKey},
};

const JPEG: &[u8] = &[0xFF, 0xD8, 0xFF, 0xDA, 1, 2, 3, 0xFF, 0xD9];

/// Puts bytes at a key behind the store's back.
pub(super) type Plant = Box<dyn Fn(&str, Vec<u8>)>;

/// One version of the store.
pub(super) struct Stores {
    pub(super) frame_writer: Arc<dyn FrameWriter>,
    pub(super) frame_reader: Arc<dyn FrameReader>,
    pub(super) result_writer: Arc<dyn ResultWriter>,
    pub(super) result_reader: Arc<dyn ResultReader>,
    pub(super) plant_frame: Plant,
    pub(super) plant_result: Plant,
}

/// A site with a seal root and one fog key.
pub(super) struct Site {
    root: SigningKey,
    fog: SigningKey,
    grant: SealGrant,
}

impl Site {
    pub(super) fn new() -> Self {
        Self::with_seed(1)
    }

    pub(super) fn with_seed(seed: u8) -> Self {
        let root = SigningKey::from_seed(&[seed; 32]).unwrap();
        let fog = SigningKey::from_seed(&[seed + 1; 32]).unwrap();
        let policies = vec![example().policy.digest];
        let (site, until) = ("town".parse().unwrap(), UtcTime::EPOCH.plus_ns(i64::MAX));
        let grant = SealGrant::issue(&root, fog.public(), site, UtcTime::EPOCH, until, policies);
        Self { root, fog, grant }
    }

    pub(super) fn root(&self) -> PublicKey {
        self.root.public()
    }

    /// A sealed frame in this slot with this many faces.
    pub(super) fn frame(&self, slot: u64, faces: usize) -> SealedFrame {
        let mut manifest = example();
        manifest.frame.slot = slot;
        manifest.regions = vec![manifest.regions[0].clone(); faces];
        self.sealed(&manifest, JPEG)
    }

    /// A sealed frame of this clip and slot with a picture of these bytes.
    pub(super) fn frame_of(&self, clip: u64, slot: u64, picture: &[u8]) -> SealedFrame {
        let mut manifest = example();
        (manifest.frame.clip.seq, manifest.frame.slot) = (clip, slot);
        self.sealed(&manifest, &[JPEG, picture].concat())
    }

    fn sealed(&self, manifest: &Manifest, jpeg: &[u8]) -> SealedFrame {
        let bytes = seal(manifest, jpeg, &self.fog, &self.grant).unwrap();
        SealedFrame::open(bytes, &self.root()).unwrap()
    }

    /// A result of this frame: one face without a mask for each grid.
    pub(super) fn result(&self, manifest: &Manifest) -> FrameResult {
        let face = |grid: &proto::manifest::Grid| FaceResult {
            rect: grid.rect,
            score_milli: grid.score_milli,
            counted: grid.counted,
            mask: 0.1,
            no_mask: 0.7,
            incorrect: 0.15,
            not_a_face: 0.05,
            label: FaceLabel::NoMask,
        };
        let faces: Vec<FaceResult> = manifest.grids().map(face).collect();
        let ([mask, no_mask, incorrect, uncertain], share_without_mask) =
            FrameResult::count(&faces);
        FrameResult {
            schema: RESULT_SCHEMA,
            frame: manifest.frame.clone(),
            image: key::frame_key(manifest),
            captured_at: manifest.captured_at,
            model: ModelRef { name: "mask".into(), digest: Digest::of(b"model") },
            policy: manifest.policy.clone(),
            classified_on: Placement::Lambda,
            width: manifest.width,
            height: manifest.height,
            faces,
            mask,
            no_mask,
            incorrect,
            uncertain,
            share_without_mask,
            // Results with and without: both are in the buckets of a site that was upgraded.
            timings: manifest
                .frame
                .slot
                .is_multiple_of(2)
                .then_some(Timings { read_us: 2_100, classify_us: 430 }),
        }
    }

    pub(super) fn memory(&self) -> Stores {
        let frames = Arc::new(MemoryFrames::new(self.root()));
        let results = Arc::new(MemoryResults::default());
        let (plant_frame, plant_result) = (frames.clone(), results.clone());
        Stores {
            frame_writer: frames.clone(),
            frame_reader: frames,
            result_writer: results.clone(),
            result_reader: results,
            plant_frame: Box::new(move |key, bytes| plant_frame.plant(key, bytes)),
            plant_result: Box::new(move |key, bytes| plant_result.plant(key, bytes)),
        }
    }

    pub(super) async fn s3(&self, server: &ObjectServer) -> Stores {
        let s3 = s3_with(&server.settings(), SECRET).await;
        let (frames, results) = (Arc::new(s3.frames(self.root())), Arc::new(s3.results()));
        let (plant_frame, plant_result) = (server.clone(), server.clone());
        Stores {
            frame_writer: frames.clone(),
            frame_reader: frames,
            result_writer: results.clone(),
            result_reader: results,
            plant_frame: Box::new(move |key, bytes| plant_frame.plant(FRAMES_BUCKET, key, bytes)),
            plant_result: Box::new(move |key, bytes| {
                plant_result.plant(RESULTS_BUCKET, key, bytes)
            }),
        }
    }
}

/// A client with this secret instead of what the environment of the test says.
pub(super) async fn s3_with(settings: &Settings, secret: &str) -> S3 {
    S3::with_keys(settings, KEY_ID, secret).await
}
