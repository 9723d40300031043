//! Owns what must hold for any bytes from outside. Fuzz targets and the tests of their seeds share it: nothing panics,
//! what is read is written back the same, and a part of something is never taken for the whole.

#![allow(dead_code, reason = "each fuzz target uses one of them")]

use std::fmt::Debug;

use proto::{
    Manifest,
    envelope::{SealedFrame, SealedHead},
    key,
    signing::SigningKey,
    wire::{ClipMessage, CommitMessage, WireMessage, decode, encode},
};

/// Seed of the root that sealed the seeds.
pub(crate) const ROOT_SEED: [u8; 32] = [1; 32];

/// The bytes up to each of some places: all when they are few, since a fuzzer has little time for each input.
fn cuts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let step = (bytes.len() / 16).max(1);
    (0..bytes.len()).step_by(step).filter_map(|at| bytes.get(..at))
}

/// Messages of all protocols.
pub(crate) fn wire(bytes: &[u8]) {
    message::<ClipMessage>(bytes);
    message::<CommitMessage>(bytes);
}

fn message<M: WireMessage + Debug + PartialEq>(bytes: &[u8]) {
    let Ok(message) = decode::<M>(bytes) else { return };
    let again = encode(&message).and_then(|again| decode::<M>(&again));
    assert_eq!(again.as_ref(), Ok(&message));
    for cut in cuts(bytes) {
        assert!(decode::<M>(cut).is_err(), "{} of {} bytes are a message", cut.len(), bytes.len());
    }
}

/// Envelopes, whole and their heads.
pub(crate) fn envelope(bytes: &[u8]) {
    let Ok(root) = SigningKey::from_seed(&ROOT_SEED).map(|key| key.public()) else { return };
    let head = SealedHead::open(bytes, &root);
    for cut in cuts(bytes) {
        // A head may be whole in a part; it is then the same head.
        if let Ok(part) = SealedHead::open(cut, &root) {
            assert!(head.as_ref().is_ok_and(|head| head.manifest() == part.manifest()));
        }
    }
    let Ok(frame) = SealedFrame::open(bytes.to_vec(), &root) else { return };
    assert!(head.is_ok_and(|head| head.manifest() == frame.manifest()));
    assert_eq!(frame.bytes(), bytes);
    assert!(key::results_prefix(&key::frame_key(frame.manifest())).is_some());
    for cut in cuts(bytes) {
        assert!(SealedFrame::open(cut.to_vec(), &root).is_err(), "{} bytes are a frame", cut.len());
    }
}

/// Manifests.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::from_json(bytes) else { return };
    let again = manifest.to_json().and_then(|again| Manifest::from_json(&again));
    assert_eq!(again.as_ref(), Ok(&manifest));
    for cut in cuts(bytes) {
        // Only white space may be missing at the end.
        assert!(!Manifest::from_json(cut).is_ok_and(|part| part != manifest), "{}", cut.len());
    }
}
