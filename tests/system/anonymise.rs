//! A face goes in, no face comes out: the real detector, the real auditor and the real seal on a public-domain portrait.

use std::{path::Path, sync::OnceLock};

use models::FaceDetector;
use onnx::{CenterFace, Detectors, Runtime, UltraFace};
use privacy::{FrameMeta, Noise, Policy, RawFrame};
use proto::{
    Clock, UtcTime,
    envelope::{SealGrant, SealedFrame},
    signing::SigningKey,
    time::ClockSource,
};
use system_tests::assets;

const ROOT_SEED: [u8; 32] = [1; 32];

fn meta() -> FrameMeta {
    FrameMeta {
        frame: "town/cam-1/000102030405060708090a0b0c0d0e0f/0/0".parse().unwrap(),
        captured_at: UtcTime::EPOCH,
        clip_captured_at: UtcTime::EPOCH,
        clock: Clock { source: ClockSource::Unknown, uncertainty_ms: None },
    }
}

fn sealed(
    portrait: &[u8],
    detector: &mut CenterFace,
    auditor: &mut UltraFace,
    name: &str,
) -> Vec<u8> {
    let policy = Policy::named(name).unwrap();
    let raw = RawFrame::from_still(portrait, meta()).unwrap();
    let noise = Noise::new([9; 32], 0);
    let frame = privacy::anonymise(raw, detector, auditor, &policy, &noise).unwrap();
    let root = SigningKey::from_seed(&ROOT_SEED).unwrap();
    let key = SigningKey::from_seed(&[2; 32]).unwrap();
    let until: UtcTime = "2100-01-01T00:00:00Z".parse().unwrap();
    let policies = vec![policy.reference().digest];
    let site = "town".parse().unwrap();
    let grant = SealGrant::issue(&root, key.public(), site, UtcTime::EPOCH, until, policies);
    frame.seal(&key, &grant).unwrap()
}

/// The runtime of this process, which may have one only.
pub(crate) fn runtime(assets: &Path) -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::load(&assets.join("libonnxruntime.so")).unwrap())
}

#[test]
fn a_portrait_leaves_without_its_face_under_every_policy() {
    let Some(assets) = assets() else { return };
    let opened = Detectors::open(runtime(&assets), &assets).unwrap();
    let Detectors { mut detector, mut auditor } = opened;
    let portrait = std::fs::read(assets.join("astronaut.png")).unwrap();

    // The detector sees the face in the raw picture: without this the test could not fail.
    let raw = RawFrame::from_still(&portrait, meta()).unwrap();
    let best = detector.detect(raw.view().unwrap()).unwrap();
    let best = best.into_iter().max_by(|a, b| a.score.total_cmp(&b.score)).unwrap();
    assert!(best.score > 0.6, "{best:?}");

    for name in ["solid", "strict", "cells"] {
        let bytes = sealed(&portrait, &mut detector, &mut auditor, name);
        let root = SigningKey::from_seed(&ROOT_SEED).unwrap().public();
        let frame = SealedFrame::open(bytes, &root).unwrap();
        let (x, y) = (best.x + best.w / 2.0, best.y + best.h / 2.0);
        let hides = |r: &proto::manifest::Rect| {
            (r.x as f32..(r.x + r.w) as f32).contains(&x)
                && (r.y as f32..(r.y + r.h) as f32).contains(&y)
        };
        assert!(frame.manifest().regions.iter().flat_map(|r| &r.fill).any(hides), "{name}");
        // What was sealed shows no face where it was, to the detector that found it.
        let shown = RawFrame::from_still(&frame.jpeg(), meta()).unwrap();
        let again = detector.detect(shown.view().unwrap()).unwrap();
        let left = again.iter().filter(|d| d.overlap(&best) > 0.3 && d.score > 0.5);
        assert_eq!(left.count(), 0, "{name}: a face is still seen");
        assert_eq!(frame.manifest().grids().count() == 0, name == "solid");
    }
}
