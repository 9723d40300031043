//! Owns what the tests of the bridge share: a site with its certificates and seal root, clips that a fog node would
//! send, a fog node's side of the talk, and waiting with a bound.

pub(crate) mod parts;
pub(crate) mod process;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use base::{Clock as _, Shutdown, SystemClock};
use link::{Credentials, Peer, Protocol, quic, testing::TestSite};
use proto::{
    ClipId, Clock, Digest, FrameId, Interval, Manifest, Role, UtcTime,
    envelope::{SealGrant, SealedFrame, seal},
    key,
    manifest::{ModelRef, example},
    record::{ClipRecord, Receipt, SlotOutcome, SlotRecord},
    result::{FaceLabel, FaceResult, FrameResult, Placement, RESULT_SCHEMA, Timings},
    signing::{PublicKey, SigningKey},
    time::ClockSource,
    wire::CommitMessage,
};
use store::ResultWriter;
use tempfile::TempDir;

const JPEG: &[u8] = &[0xFF, 0xD8, 0xFF, 0xDA, 1, 2, 3, 0xFF, 0xD9];
const SESSION: &str = "000102030405060708090a0b0c0d0e0f";
/// Sampling interval of every clip, in nanoseconds.
const EVERY_NS: i64 = 5_000_000_000;
/// Longest wait for anything: a busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Seed of the seal root.
pub(crate) const ROOT_SEED: [u8; 32] = [1; 32];
/// Seed of the receipt key.
pub(crate) const RECEIPT_SEED: [u8; 32] = [3; 32];

/// Polls until it holds; panics with `what` after [`PATIENCE`].
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let (clock, pauses) = (SystemClock::default(), Shutdown::default());
    while !holds().await {
        assert!(clock.now() < PATIENCE, "not in time: {what}");
        pauses.sleep(Duration::from_millis(10)).await;
    }
}

/// A site that exists for one test.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) pki: TestSite,
    root: SigningKey,
    fog: SigningKey,
    grant: SealGrant,
}

/// A clip as a fog node sends it.
#[derive(Clone)]
pub(crate) struct Clip {
    pub(crate) record: ClipRecord,
    pub(crate) envelopes: Vec<Vec<u8>>,
}

impl Clip {
    pub(crate) fn id(&self) -> &ClipId {
        &self.record.clip
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = TestSite::new(folder.path(), "town");
        let root = SigningKey::from_seed(&ROOT_SEED).unwrap();
        let fog = SigningKey::from_seed(&[2; 32]).unwrap();
        let site = "town".parse().unwrap();
        let policies = vec![example().policy.digest];
        let grant = SealGrant::issue(&root, fog.public(), site, UtcTime::EPOCH, far(), policies);
        Self { folder, pki, root, fog, grant }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn root(&self) -> PublicKey {
        self.root.public()
    }

    pub(crate) fn receipt_key(&self) -> PublicKey {
        SigningKey::from_seed(&RECEIPT_SEED).unwrap().public()
    }

    /// The manifest of a slot of a clip.
    pub(crate) fn manifest(&self, record: &ClipRecord, slot: u64) -> Manifest {
        let mut manifest = example();
        manifest.frame = FrameId { clip: record.clip.clone(), slot };
        let at_ns = i64::try_from(slot).unwrap() * record.every_ns - record.interval.start_ns;
        manifest.captured_at = record.captured_at.plus_ns(at_ns);
        manifest.clip_captured_at = record.captured_at;
        manifest.clock = record.clock;
        manifest
    }

    pub(crate) fn seal(&self, manifest: &Manifest) -> Vec<u8> {
        seal(manifest, JPEG, &self.fog, &self.grant).unwrap()
    }

    /// Seals under a grant that ends at this time.
    pub(crate) fn seal_until(&self, manifest: &Manifest, until: UtcTime) -> Vec<u8> {
        let (site, policies) = (self.grant.site.clone(), self.grant.policies.clone());
        let from = UtcTime::EPOCH;
        let grant = SealGrant::issue(&self.root, self.fog.public(), site, from, until, policies);
        seal(manifest, JPEG, &self.fog, &grant).unwrap()
    }

    /// Seals what the fog node's grant does not cover, and attaches that grant all the same.
    pub(crate) fn seal_ungranted(&self, manifest: &Manifest) -> Vec<u8> {
        let (site, policy) = (manifest.frame.clip.site.clone(), manifest.policy.digest);
        let (from, to) = (self.grant.not_before, self.grant.not_after);
        let wide = SealGrant::issue(&self.root, self.fog.public(), site, from, to, vec![policy]);
        let envelope = seal(manifest, JPEG, &self.fog, &wide).unwrap();
        let [wide, own] = [&wide, &self.grant].map(|grant| serde_json::to_vec(grant).unwrap());
        assert_eq!(wide.len(), own.len(), "they can be exchanged in place");
        let at = envelope.windows(wide.len()).position(|part| part == wide).unwrap();
        [&envelope[..at], &own, &envelope[at + wide.len()..]].concat()
    }

    /// Seals under a grant that the fog node has written for itself.
    pub(crate) fn seal_forged(&self, manifest: &Manifest) -> Vec<u8> {
        let mut grant = self.grant.clone();
        grant.site = manifest.frame.clip.site.clone();
        grant.policies = vec![manifest.policy.digest];
        seal(manifest, JPEG, &self.fog, &grant).unwrap()
    }

    /// The `seq`-th clip of a camera with this many slots, each a frame but the last, which was withheld when there are
    /// several.
    pub(crate) fn clip(&self, seq: u64, slots: u64) -> Clip {
        let length = i64::try_from(slots).unwrap() * EVERY_NS;
        let start_ns = i64::try_from(seq).unwrap() * length;
        let at: UtcTime = "2026-11-24T12:00:00Z".parse().unwrap();
        let mut record = ClipRecord {
            clip: format!("town/cam-1/{SESSION}/{seq}").parse().unwrap(),
            interval: Interval { start_ns, end_ns: start_ns + length },
            every_ns: EVERY_NS,
            captured_at: at.plus_ns(start_ns),
            clock: Clock { source: ClockSource::System, uncertainty_ms: Some(100) },
            attempt: 1,
            policy: example().policy.digest,
            slots: Vec::new(),
            failure: None,
        };
        let mut envelopes = Vec::new();
        for slot in record.interval.slots(EVERY_NS) {
            let withheld = slots > 1 && slot + 1 == record.interval.slots(EVERY_NS).end;
            let outcome = if withheld {
                SlotOutcome::Withheld(proto::record::WithheldReason::Residual)
            } else {
                let envelope = self.seal(&self.manifest(&record, slot));
                let digest = Digest::of(&envelope);
                envelopes.push(envelope);
                SlotOutcome::Frame(digest)
            };
            record.slots.push(SlotRecord { slot, outcome });
        }
        Clip { record, envelopes }
    }

    /// The frames of a clip.
    pub(crate) fn frames(&self, clip: &Clip) -> Vec<SealedFrame> {
        let open = |bytes: &Vec<u8>| SealedFrame::open(bytes.clone(), &self.root()).unwrap();
        clip.envelopes.iter().map(open).collect()
    }

    /// Keys of the frames of some clips, sorted.
    pub(crate) fn keys(&self, clips: &[Clip]) -> Vec<String> {
        let frames = clips.iter().flat_map(|clip| self.frames(clip));
        let mut keys: Vec<String> = frames.map(|f| key::frame_key(f.manifest())).collect();
        keys.sort();
        keys
    }

    pub(crate) fn credentials(&self, role: Role, name: &str) -> Credentials {
        self.pki.credentials(role, name)
    }

    /// A fog node that is connected with the bridge.
    pub(crate) async fn fog(&self, address: &str, name: &str) -> Fog {
        let credentials = self.credentials(Role::Fog, name);
        let peer = quic::connect(address, &credentials, Protocol::Commit, Role::Bridge).await;
        Fog(peer.unwrap())
    }

    /// Whether a receipt is the bridge's word for this clip.
    pub(crate) fn check_receipt(&self, receipt: &Receipt, clip: &Clip) {
        receipt.verify(&self.receipt_key()).unwrap();
        assert_eq!((&receipt.clip, receipt.tally), (clip.id(), clip.record.tally()));
    }
}

/// The end of the representable time.
pub(crate) fn far() -> UtcTime {
    UtcTime::EPOCH.plus_ns(i64::MAX)
}

/// A fog node's side of the talk.
pub(crate) struct Fog(pub(crate) Peer);

impl Fog {
    pub(crate) async fn status(&self, clip: &ClipId) -> CommitMessage {
        let mut channel = self.0.open_channel().await.unwrap();
        channel.send(&CommitMessage::Status(clip.clone())).await.unwrap();
        channel.recv().await.unwrap()
    }

    /// Sends frames and record without asking before.
    pub(crate) async fn commit(&self, clip: &Clip) -> CommitMessage {
        self.try_commit(clip).await.unwrap()
    }

    /// As [`Self::commit`]; nothing when the bridge is lost on the way.
    pub(crate) async fn try_commit(&self, clip: &Clip) -> Result<CommitMessage, quic::LinkError> {
        let mut channel = self.0.open_channel().await?;
        for envelope in &clip.envelopes {
            let length = u32::try_from(envelope.len()).unwrap();
            channel.send(&CommitMessage::Frame { length }).await?;
            channel.send_bytes(envelope).await?;
        }
        channel.send(&CommitMessage::Commit(Box::new(clip.record.clone()))).await?;
        channel.recv().await
    }

    /// The receipt for a clip that must be committed.
    pub(crate) async fn receipt(&self, clip: &Clip) -> Receipt {
        match self.commit(clip).await {
            CommitMessage::Committed(receipt) => receipt,
            other => panic!("not committed: {other:?}"),
        }
    }
}

/// A result of this frame: one face without a mask for each grid.
pub(crate) fn result_of(manifest: &Manifest) -> FrameResult {
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
    let ([mask, no_mask, incorrect, uncertain], share_without_mask) = FrameResult::count(&faces);
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
        timings: Some(Timings { read_us: 2_100, classify_us: 430 }),
    }
}

/// Puts the result of each frame of these clips.
pub(crate) async fn put_results(site: &Site, clips: &[Clip], results: &dyn ResultWriter) {
    for frame in clips.iter().flat_map(|clip| site.frames(clip)) {
        let put = results.put_result(&result_of(frame.manifest())).await.unwrap();
        assert!(matches!(put, store::Put::Created | store::Put::AlreadyThere));
    }
}

/// Copies a folder with everything below it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
