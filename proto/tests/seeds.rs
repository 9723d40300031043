//! The seeds of the fuzz targets as ordinary tests: each is what its name says, and whatever is done to its bytes, the
//! checks of the fuzz target hold.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../fuzz/checks.rs"]
mod checks;

use std::path::{Path, PathBuf};

use proto::{
    ClipId, Clock, Digest, Interval, Manifest, UtcTime,
    envelope::{SealGrant, SealedFrame, seal},
    record::{ClipRecord, Receipt, SlotOutcome, SlotRecord, WithheldReason},
    signing::SigningKey,
    time::ClockSource,
    wire::{
        ClipMessage, CommitMessage, NoiseKey, Offer, RefuseReason, WireMessage, decode, encode,
    },
};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

/// The seed's file holds these bytes. A seed that is not there yet is written, and is a failure all the same.
fn holds(target: &str, name: &str, bytes: &[u8]) {
    let path = folder(target).join(name);
    match std::fs::read(&path) {
        Ok(seed) => {
            assert!(seed == bytes, "{}: bytes on the wire or on a disk changed", path.display())
        }
        Err(_) => {
            std::fs::create_dir_all(folder(target)).unwrap();
            std::fs::write(&path, bytes).unwrap();
            panic!("{} was not there and is written now: commit it", path.display());
        }
    }
}

/// Every seed, each cut of it, and each of it with one bit flipped.
fn torture(target: &str, check: fn(&[u8])) {
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder(target)).unwrap() {
        let seed = std::fs::read(entry.unwrap().path()).unwrap();
        seeds += 1;
        check(&seed);
        for at in 0..seed.len() {
            check(&seed[..at]);
            let mut changed = seed.clone();
            changed[at] ^= 1 << (at % 8);
            check(&changed);
        }
        check(&[&seed[..], b"\0"].concat());
    }
    assert!(seeds > 0, "no seeds for {target}");
}

fn clip() -> ClipId {
    "town/cam-1/000102030405060708090a0b0c0d0e0f/1".parse().unwrap()
}

fn clock() -> Clock {
    Clock { source: ClockSource::Rtcp, uncertainty_ms: Some(100) }
}

fn interval() -> Interval {
    Interval { start_ns: 0, end_ns: 10_000_000_000 }
}

fn offer() -> Box<Offer> {
    Box::new(Offer {
        clip: clip(),
        digest: Digest::of(b"clip"),
        length: 1000,
        attempt: 1,
        noise_key: NoiseKey([9; 32]),
        noise_epoch: 2,
        interval: interval(),
        every_ns: 5_000_000_000,
        captured_at: UtcTime::EPOCH,
        clock: clock(),
    })
}

fn record() -> Box<ClipRecord> {
    let outcomes =
        [SlotOutcome::Frame(Digest::of(b"frame")), SlotOutcome::Withheld(WithheldReason::Residual)];
    let slots = (0..).zip(outcomes).map(|(slot, outcome)| SlotRecord { slot, outcome }).collect();
    Box::new(ClipRecord {
        clip: clip(),
        interval: interval(),
        every_ns: 5_000_000_000,
        captured_at: UtcTime::EPOCH,
        clock: clock(),
        attempt: 1,
        policy: Digest::of(b"policy"),
        slots,
        failure: None,
    })
}

fn receipt() -> Receipt {
    Receipt::sign(&SigningKey::from_seed(&[9; 32]).unwrap(), &record(), UtcTime::EPOCH)
}

fn message<M: WireMessage + std::fmt::Debug + PartialEq>(name: &str, message: &M) {
    let bytes = encode(message).unwrap();
    holds("wire", name, &bytes);
    assert_eq!(decode::<M>(&bytes).as_ref(), Ok(message));
}

#[test]
fn messages_keep_their_bytes_and_survive_any_change_of_them() {
    let reason = RefuseReason::BridgeUnavailable;
    message("clip-offer", &ClipMessage::Offer(offer()));
    message("clip-accept", &ClipMessage::Accept { offset: 300 });
    message("clip-refuse", &ClipMessage::Refuse { reason, retry_after_ms: 2000 });
    message("clip-received", &ClipMessage::Received);
    message("clip-receipt", &ClipMessage::Receipt(receipt()));
    message("commit-status", &CommitMessage::Status(clip()));
    message("commit-unknown", &CommitMessage::Unknown);
    message("commit-full", &CommitMessage::Full { retry_after_ms: 2000 });
    message("commit-frame", &CommitMessage::Frame { length: 300_000 });
    message("commit-commit", &CommitMessage::Commit(record()));
    message("commit-committed", &CommitMessage::Committed(receipt()));
    message("commit-refuse", &CommitMessage::Refuse { why: "no grant".to_owned() });
    // Refuse{why} that claims to be eight exabytes long, and version 2.
    holds("wire", "bad-length", &[1, 6, 253, 255, 255, 255, 255, 255, 255, 255, 127]);
    holds("wire", "bad-version", &[2, 3]);
    for bad in ["bad-length", "bad-version"] {
        let bytes = std::fs::read(folder("wire").join(bad)).unwrap();
        assert!(decode::<CommitMessage>(&bytes).is_err(), "{bad}");
    }
    torture("wire", checks::wire);
}

#[test]
fn envelopes_keep_their_bytes_and_survive_any_change_of_them() {
    let root = SigningKey::from_seed(&checks::ROOT_SEED).unwrap();
    let key = SigningKey::from_seed(&[2; 32]).unwrap();
    let manifest = Manifest::from_json(include_bytes!("golden/manifest-v1.json")).unwrap();
    let until = "2027-01-01T00:00:00Z".parse().unwrap();
    let (site, policies) = ("town".parse().unwrap(), vec![manifest.policy.digest]);
    let grant = SealGrant::issue(&root, key.public(), site, UtcTime::EPOCH, until, policies);
    // Begins and ends like a JPEG: nothing here decodes pictures.
    let picture = [0xFF, 0xD8, 0xFF, 0xDB, 0, 3, 1, 9, 9, 9, 0xFF, 0xD9];
    let envelope = seal(&manifest, &picture, &key, &grant).unwrap();
    holds("envelope", "one-face", &envelope);
    assert!(SealedFrame::open(envelope, &root.public()).is_ok());
    holds("envelope", "no-seal", &picture);
    torture("envelope", checks::envelope);
}

#[test]
fn manifests_keep_their_bytes_and_survive_any_change_of_them() {
    let golden = include_bytes!("golden/manifest-v1.json").trim_ascii_end();
    holds("manifest", "one-face", golden);
    let mut bare = Manifest::from_json(golden).unwrap();
    bare.regions.clear();
    holds("manifest", "no-face", &bare.to_json().unwrap());
    let classified = include_bytes!("golden/manifest-v2.json").trim_ascii_end();
    assert_eq!(Manifest::from_json(classified).unwrap().version, 2);
    holds("manifest", "classified", classified);
    holds("manifest", "empty", b"{}");
    torture("manifest", checks::manifest);
}
