//! Owns a site with example data: keys, clips, frames that are really sealed, results, status. For tests and for
//! looking at the console; nobody's face is in it.

pub(crate) mod jpeg;
pub(crate) mod scene;

use std::{collections::BTreeMap, sync::Arc};

use base::Clock;
use link::mqtt::MemoryBroker;
use proto::{
    Digest, Interval, Manifest, UtcTime,
    control::{CameraState, CameraStatus, DeviceStatus, Presence, SCHEMA},
    envelope::{SealGrant, SealedFrame, seal},
    key,
    ledger::Ledger,
    manifest::{MANIFEST_VERSION_CLASSIFIED, ModelRef, Rect, Region, Said, example},
    record::{ClipFailure, ClipRecord, Receipt, SlotOutcome, SlotRecord, WithheldReason},
    result::{FaceLabel, FaceResult, FrameResult, Placement, RESULT_SCHEMA, Timings},
    signing::SigningKey,
    time::ClockSource,
    topic,
    watch::CameraWatch,
};
use results::{Confusion, Results};
use scene::Face;
use store::{FrameWriter, Pack, Put, memory::MemoryFrames};

/// The operator of the example.
pub(crate) const NAME: &str = "ana";
pub(crate) const PASSWORD: &str = "correct horse battery";
/// Slots: one each 5 s, two a clip.
pub(crate) const EVERY_NS: i64 = 5_000_000_000;

/// A site.
pub(crate) struct Example {
    /// Its files, which go with it.
    _folder: tempfile::TempDir,
    fog: SigningKey,
    receipts: SigningKey,
    grant: SealGrant,
    pub(crate) results: Results,
    pub(crate) frames: Arc<MemoryFrames>,
    pub(crate) broker: MemoryBroker,
}

impl Example {
    /// An empty site with one operator.
    pub(crate) async fn new(clock: &dyn Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("results.db").display());
        let results = Results::open(&url).await.unwrap();
        let now = UtcTime::from_micros(clock.utc_micros()).unwrap();
        results.create_user(NAME, PASSWORD, now).await.unwrap();
        let [root, fog, receipts] =
            [1, 2, 3].map(|seed| SigningKey::from_seed(&[seed; 32]).unwrap());
        let policies = vec![example().policy.digest];
        let (site, end) = ("town".parse().unwrap(), UtcTime::EPOCH.plus_ns(i64::MAX));
        let grant = SealGrant::issue(&root, fog.public(), site, UtcTime::EPOCH, end, policies);
        let frames = Arc::new(MemoryFrames::new(root.public()));
        let broker = MemoryBroker::default();
        Self { _folder: folder, fog, receipts, grant, results, frames, broker }
    }

    /// A frame in the store that waits for its result.
    pub(crate) async fn frame(
        &self,
        camera: &str,
        slot: u64,
        at: UtcTime,
        (jpeg, faces): (&[u8], &[Face]),
    ) -> Manifest {
        let manifest = manifest(camera, slot, at, faces);
        let bytes = seal(&manifest, jpeg, &self.fog, &self.grant).unwrap();
        let frame = SealedFrame::open(bytes, &self.root()).unwrap();
        assert_eq!(self.frames.put_frame(&frame).await.unwrap(), Put::Created);
        let key = key::frame_key(&manifest);
        self.results.await_frame(&manifest, &key, at.plus_ns(3_000_000_000)).await.unwrap();
        manifest
    }

    /// Two frames of a clip that lie in one pack and wait for their results.
    pub(crate) async fn packed(
        &self,
        camera: &str,
        at: UtcTime,
        jpegs: [&[u8]; 2],
    ) -> [Manifest; 2] {
        let manifests = [0, 1].map(|slot| manifest(camera, slot, at, &[]));
        let sealed = |(manifest, jpeg): (&Manifest, &[u8])| {
            let bytes = seal(manifest, jpeg, &self.fog, &self.grant).unwrap();
            SealedFrame::open(bytes, &self.root()).unwrap()
        };
        let frames: Vec<SealedFrame> = manifests.iter().zip(jpegs).map(sealed).collect();
        let pack = Pack::of(&frames).unwrap();
        assert_eq!(self.frames.put_pack(&pack).await.unwrap(), Put::Created);
        for (manifest, within) in manifests.iter().zip(pack.places()) {
            let key = key::frame_key(manifest);
            let within = Some(*within);
            assert!(self.results.await_stored(manifest, &key, within, at).await.unwrap());
        }
        manifests
    }

    /// A frame with its result.
    pub(crate) async fn done(
        &self,
        camera: &str,
        slot: u64,
        at: UtcTime,
        (jpeg, faces): (&[u8], &[Face]),
    ) -> Manifest {
        let manifest = self.frame(camera, slot, at, (jpeg, faces)).await;
        let labels: Vec<FaceLabel> = faces.iter().map(|face| face.label).collect();
        let result = result(&manifest, &labels);
        let key = key::frame_key(&manifest);
        let arrived = at.plus_ns(4_200_000_000);
        assert!(self.results.insert_result(&key, &result, arrived).await.unwrap());
        manifest
    }

    /// A committed clip of two slots.
    pub(crate) async fn clip(
        &self,
        camera: &str,
        seq: u64,
        at: UtcTime,
        outcomes: [SlotOutcome; 2],
    ) {
        let start = i64::try_from(seq).unwrap() * 2 * EVERY_NS;
        let undecodable = outcomes.contains(&SlotOutcome::Undecodable);
        let record = ClipRecord {
            clip: format!("town/{camera}/000102030405060708090a0b0c0d0e0f/{seq}").parse().unwrap(),
            interval: Interval { start_ns: start, end_ns: start + 2 * EVERY_NS },
            every_ns: EVERY_NS,
            captured_at: at,
            clock: example().clock,
            attempt: 1,
            policy: example().policy.digest,
            slots: (seq * 2..)
                .zip(outcomes)
                .map(|(slot, outcome)| SlotRecord { slot, outcome })
                .collect(),
            failure: undecodable.then_some(ClipFailure::Truncated),
        };
        let receipt = Receipt::sign(&self.receipts, &record, at);
        assert!(self.results.record_clip(&record, &receipt).await.unwrap());
    }

    /// Says the status of a gateway on the bus.
    pub(crate) fn gateway(
        &self,
        name: &str,
        presence: Presence,
        at: UtcTime,
        cameras: &[(&str, CameraState, Option<&str>, Ledger)],
    ) {
        let camera = |(id, state, reason, ledger): &(&str, CameraState, Option<&str>, Ledger)| {
            let reason = reason.map(ToOwned::to_owned);
            (id.parse().unwrap(), CameraStatus { state: *state, reason, ledger: *ledger })
        };
        let status = DeviceStatus {
            schema: SCHEMA,
            identity: format!("celosia://town/edge/{name}").parse().unwrap(),
            presence,
            at: Some(at),
            software: "0.1.0".into(),
            cameras: cameras.iter().map(camera).collect(),
            counters: BTreeMap::new(),
            watched: BTreeMap::new(),
        };
        self.broker.bus().publish_retained(&topic::status(&status.identity), &status).unwrap();
    }

    /// Says the status of a fog node that watches a camera.
    pub(crate) fn fog(&self, name: &str, camera: &str, watch: CameraWatch) {
        let status = DeviceStatus {
            schema: SCHEMA,
            identity: format!("celosia://town/fog/{name}").parse().unwrap(),
            presence: Presence::Online,
            at: None,
            software: "0.1.0".into(),
            cameras: BTreeMap::new(),
            counters: BTreeMap::new(),
            watched: BTreeMap::from([(camera.parse().unwrap(), watch)]),
        };
        self.broker.bus().publish_retained(&topic::status(&status.identity), &status).unwrap();
    }

    fn root(&self) -> proto::signing::PublicKey {
        SigningKey::from_seed(&[1; 32]).unwrap().public()
    }
}

/// Two slots that gave frames, and the two ways to give none.
pub(crate) const DELIVERED: fn() -> SlotOutcome = || SlotOutcome::Frame(Digest::of(b"frame"));
pub(crate) const WITHHELD: SlotOutcome = SlotOutcome::Withheld(WithheldReason::Residual);

/// A ledger that balances.
pub(crate) fn ledger(delivered: u64, withheld: u64, held: u64, dropped: u64) -> Ledger {
    let captured = delivered + withheld + held + dropped;
    Ledger { captured, delivered, withheld, undecodable: 0, held, dropped, gaps: 0 }
}

fn manifest(camera: &str, slot: u64, at: UtcTime, faces: &[Face]) -> Manifest {
    let region = |face: &Face| {
        let Rect { x, y, w, h } = face.rect;
        let (left, top) = (x.saturating_sub(8), y.saturating_sub(16));
        Region {
            fill: vec![Rect { x: left, y: top, w: w + 16, h: h + 32 }],
            grid: None,
            said: Some(Said {
                rect: face.rect,
                score_milli: 750,
                counted: true,
                parts: shares(face.label).map(Said::part),
                label: face.label,
            }),
        }
    };
    let mut manifest = example();
    manifest.frame.clip.camera = camera.parse().unwrap();
    manifest.frame.clip.seq = slot / 2;
    manifest.frame.slot = slot;
    (manifest.captured_at, manifest.clip_captured_at) = (at, at);
    (manifest.width, manifest.height) = (1280, 720);
    manifest.clock.source = ClockSource::System;
    manifest.version = MANIFEST_VERSION_CLASSIFIED;
    manifest.noise_scale = 0;
    manifest.policy.name = "solid".to_owned();
    manifest.classifier = Some(model());
    manifest.regions = faces.iter().map(region).collect();
    manifest
}

/// An answer as it leaves: mask, no mask, incorrect, not a face.
fn shares(label: FaceLabel) -> [f32; 4] {
    match label {
        FaceLabel::Mask => [0.99, 0.005, 0.005, 0.0],
        FaceLabel::NoMask => [0.055, 0.89, 0.055, 0.0],
        FaceLabel::Incorrect => [0.26, 0.13, 0.61, 0.0],
        FaceLabel::Uncertain => [0.195, 0.61, 0.195, 0.0],
        FaceLabel::NotAFace => [0.04, 0.035, 0.035, 0.89],
    }
}

/// The classifier that says the results: one of those that are shipped, so that shares are corrected for its errors.
pub(crate) fn model() -> ModelRef {
    let digest = Confusion::shipped().next().unwrap().digest;
    ModelRef { name: "mask-solid".into(), digest }
}

/// The result of a frame, face by face.
pub(crate) fn result(manifest: &Manifest, labels: &[FaceLabel]) -> FrameResult {
    let face = |(said, label): (&Said, &FaceLabel)| {
        let [mask, no_mask, incorrect, not_a_face] = shares(*label);
        FaceResult {
            rect: said.rect,
            score_milli: said.score_milli,
            counted: said.counted,
            mask,
            no_mask,
            incorrect,
            not_a_face,
            label: *label,
        }
    };
    let said = manifest.regions.iter().filter_map(|region| region.said.as_ref());
    let faces: Vec<FaceResult> = said.zip(labels).map(face).collect();
    let ([mask, no_mask, incorrect, uncertain], share_without_mask) = FrameResult::count(&faces);
    FrameResult {
        schema: RESULT_SCHEMA,
        frame: manifest.frame.clone(),
        image: key::frame_key(manifest),
        captured_at: manifest.captured_at,
        model: model(),
        policy: manifest.policy.clone(),
        classified_on: Placement::Fog,
        width: manifest.width,
        height: manifest.height,
        faces,
        mask,
        no_mask,
        incorrect,
        uncertain,
        share_without_mask,
        timings: Some(Timings { read_us: 2_100, classify_us: 430 }),
    }
}
