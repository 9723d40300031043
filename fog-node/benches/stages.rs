//! Time of each stage of one 1080p frame on its way through a worker, one thread: `cargo bench -p fog-node`. The frame comes
//! from a test picture, or from the video that `CELOSIA_VIDEO` names; the models from `CELOSIA_ASSETS`.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says where")]

use std::{hint::black_box, path::PathBuf, process::Command, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use models::{Detection, FaceDetector as _, detector::Scripted, weights::BEFORE_COVERING};
use onnx::{Detectors, MaskCells, Runtime};
use privacy::{AnonymisedFrame, Classifier, FrameMeta, Looked, Noise, Policy, RawClip};
use proto::{
    Clock, FrameId, UtcTime,
    envelope::{SealGrant, SealedFrame, seal},
    signing::SigningKey,
    time::ClockSource,
};

/// Half a second after a key frame: the farthest from one where they are a second apart, if the very picture is wanted.
const AT_NS: i64 = 1_500_000_000;

fn meta() -> FrameMeta {
    let clip = "town/cam-1/000102030405060708090a0b0c0d0e0f/0".parse().unwrap();
    FrameMeta {
        frame: FrameId { clip, slot: 0 },
        captured_at: UtcTime::EPOCH,
        clip_captured_at: UtcTime::EPOCH,
        clock: Clock { source: ClockSource::Unknown, uncertainty_ms: None },
    }
}

/// Four seconds of 1080p at 25 pictures a second, a key frame each second.
fn video() -> Vec<u8> {
    if let Some(path) = std::env::var_os("CELOSIA_VIDEO") {
        return std::fs::read(path).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mkv");
    let line = format!(
        "videotestsrc num-buffers=100 ! video/x-raw,width=1920,height=1080,framerate=25/1 ! \
         x264enc key-int-max=25 bframes=3 speed-preset=veryfast bitrate=4500 ! h264parse ! \
         matroskamux ! filesink location={}",
        clip.display()
    );
    let made = Command::new("gst-launch-1.0").arg("-q").args(line.split_whitespace()).status();
    assert!(made.unwrap().success());
    std::fs::read(clip).unwrap()
}

/// What every stage needs.
struct Bench {
    clip: RawClip,
    detectors: Detectors,
    classifier: Classifier,
    policy: Policy,
    noise: Noise,
    key: SigningKey,
    grant: SealGrant,
}

impl Bench {
    fn open() -> Option<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let assets = std::env::var_os("CELOSIA_ASSETS").map(PathBuf::from);
        let assets = assets.unwrap_or_else(|| root.join(".celosia/assets"));
        // The runtime has to outlive its sessions, which end with the process.
        let runtime = Box::leak(Box::new(Runtime::load(&assets.join("libonnxruntime.so")).ok()?));
        let detectors = Detectors::open(runtime, &assets).ok()?;
        let classifier = MaskCells::shipped(runtime, &BEFORE_COVERING).unwrap();
        let classifier = Classifier::new(Box::new(classifier)).unwrap();
        let policy = Policy::named("default").unwrap();
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let until = "2100-01-01T00:00:00Z".parse().unwrap();
        let (site, policies) = ("town".parse().unwrap(), vec![policy.reference().digest]);
        let grant = SealGrant::issue(&key, key.public(), site, UtcTime::EPOCH, until, policies);
        let clip = RawClip::open(&video()).unwrap();
        let noise = Noise::new([3; 32], 0);
        Some(Self { clip, detectors, classifier, policy, noise, key, grant })
    }
}

/// Ten faces of 64 px, whatever the picture shows.
fn faces() -> Vec<Detection> {
    let x = |i: u8| 40.0 + 180.0 * f32::from(i);
    (0..10).map(|i| Detection { x: x(i), y: 400.0, w: 64.0, h: 80.0, score: 0.9 }).collect()
}

fn stages(criterion: &mut Criterion) {
    let Some(bench) = Bench::open() else {
        use std::io::Write;
        std::io::stderr().write_all(b"SKIPPED: no models; run `celosia fetch`\n").ok();
        return;
    };
    let Bench { clip, detectors, mut classifier, policy, noise, key, grant } = bench;
    let Detectors { mut detector, mut auditor } = detectors;
    let raw = || clip.frame_at(AT_NS, meta()).unwrap();
    criterion.bench_function("decode a key frame", |b| {
        b.iter(|| clip.frame_near(0, 0, meta()).unwrap());
    });
    criterion.bench_function("decode half a second after one", |b| b.iter(raw));
    let frame = raw();
    criterion.bench_function("detect", |b| {
        b.iter(|| detector.detect(frame.view().unwrap()).unwrap());
    });
    let looked = || privacy::look(raw(), &mut Scripted::boxes(1, faces())).unwrap();
    let mut redact = |looked: Looked| {
        let classifier = Some(&mut classifier);
        looked.redact_classified(None, None, &policy, &noise, classifier).unwrap()
    };
    criterion.bench_function("classify and redact", |b| {
        b.iter_batched(looked, &mut redact, BatchSize::PerIteration);
    });
    let mut audit = |frame| privacy::audit(frame, &mut auditor, &policy, &noise).unwrap();
    criterion.bench_function("audit", |b| {
        b.iter_batched(|| redact(looked()), &mut audit, BatchSize::PerIteration);
    });
    let seal_frame = |frame: AnonymisedFrame| frame.seal(&key, &grant).unwrap();
    criterion.bench_function("encode and seal", |b| {
        b.iter_batched(|| audit(redact(looked())), seal_frame, BatchSize::PerIteration);
    });
    let sealed = SealedFrame::open(seal_frame(audit(redact(looked()))), &key.public()).unwrap();
    let (manifest, jpeg) = (sealed.manifest().clone(), sealed.jpeg());
    criterion.bench_function("seal", |b| {
        b.iter(|| seal(black_box(&manifest), &jpeg, &key, &grant).unwrap());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = stages
}
criterion_main!(benches);
