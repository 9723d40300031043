//! What opens as an envelope, and everything that must not.

use super::*;
use crate::manifest::example;

/// Bytes that begin and end like a JPEG: nothing in this module decodes pictures.
const PICTURE: &[u8] = &[0xFF, 0xD8, 0xFF, 0xDB, 0, 3, 1, 9, 9, 9, 0xFF, 0xD9];

fn keys() -> (SigningKey, SigningKey, SealGrant) {
    let (root, fog) =
        (SigningKey::from_seed(&[1; 32]).unwrap(), SigningKey::from_seed(&[2; 32]).unwrap());
    let policies = vec![Digest::of(b"policy")];
    let until = "2027-01-01T00:00:00Z".parse().unwrap();
    let grant = SealGrant::issue(
        &root,
        fog.public(),
        "town".parse().unwrap(),
        UtcTime::EPOCH,
        until,
        policies,
    );
    (root, fog, grant)
}

#[test]
fn what_was_sealed_opens_and_gives_back_manifest_and_picture() {
    let (root, fog, grant) = keys();
    let bytes = seal(&example(), PICTURE, &fog, &grant).unwrap();
    let frame = SealedFrame::open(bytes, &root.public()).unwrap();
    assert_eq!(frame.manifest(), &example());
    assert_eq!(frame.granted(), (grant.not_before, grant.not_after));
    assert_eq!(frame.jpeg(), PICTURE);
}

#[test]
fn an_envelope_keeps_its_golden_bytes() {
    let (_, fog, grant) = keys();
    let digest = Digest::of(&seal(&example(), PICTURE, &fog, &grant).unwrap()).to_string();
    assert_eq!(digest, include_str!("../../tests/golden/envelope-v1.blake3").trim());
}

#[test]
fn no_changed_byte_goes_unnoticed_and_no_prefix_opens() {
    let (root, fog, grant) = keys();
    let bytes = seal(&example(), PICTURE, &fog, &grant).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(
            SealedFrame::open(changed, &root.public()).is_err(),
            "byte {at} of {}",
            bytes.len()
        );
        assert!(SealedFrame::open(bytes[..at].to_vec(), &root.public()).is_err(), "prefix {at}");
    }
}

#[test]
fn a_head_opens_without_its_picture_and_asks_for_more_when_cut() {
    let (root, fog, grant) = keys();
    let bytes = seal(&example(), PICTURE, &fog, &grant).unwrap();
    let head = bytes.len() - (PICTURE.len() - 2);
    assert_eq!(SealedHead::open(&bytes[..head], &root.public()).unwrap().manifest(), &example());
    assert!(matches!(
        SealedHead::open(&bytes[..head - 1], &root.public()),
        Err(EnvelopeError::Cut(_))
    ));
}

#[test]
fn a_crowd_takes_several_segments() {
    let (root, fog, grant) = keys();
    let mut manifest = example();
    manifest.regions = vec![manifest.regions[0].clone(); crate::limits::FACES_MAX];
    let bytes = seal(&manifest, PICTURE, &fog, &grant).unwrap();
    assert!(bytes.len() > 65_535);
    let frame = SealedFrame::open(bytes, &root.public()).unwrap();
    assert_eq!(frame.manifest().regions.len(), crate::limits::FACES_MAX);
    assert_eq!(frame.jpeg(), PICTURE);
}

#[test]
fn a_grant_is_for_its_key_site_policy_and_root() {
    let (root, fog, grant) = keys();
    let other = SigningKey::from_seed(&[3; 32]).unwrap();
    assert!(seal(&example(), PICTURE, &other, &grant).is_err(), "another key sealed");
    let mut elsewhere = example();
    elsewhere.frame.clip.site = "city".parse().unwrap();
    assert!(seal(&elsewhere, PICTURE, &fog, &grant).is_err(), "another site was sealed");
    let mut loose = example();
    loose.policy.digest = Digest::of(b"no redaction at all");
    assert!(seal(&loose, PICTURE, &fog, &grant).is_err(), "another policy was sealed");
    let bytes = seal(&example(), PICTURE, &fog, &grant).unwrap();
    assert!(SealedFrame::open(bytes, &other.public()).is_err(), "another root opened");
    let mut forged = grant.clone();
    forged.policies.push(loose.policy.digest);
    let bytes = seal(&loose, PICTURE, &fog, &forged).unwrap();
    assert!(SealedFrame::open(bytes, &root.public()).is_err(), "a widened grant opened");
}

#[test]
fn a_picture_that_nobody_sealed_is_refused() {
    let (root, ..) = keys();
    for bytes in [&b""[..], b"hello", PICTURE, &[0xFF, 0xD8, 0xFF, 0xEB, 0, 4, 0, 0]] {
        assert!(SealedFrame::open(bytes.to_vec(), &root.public()).is_err());
    }
}

#[test]
fn heads_in_a_row_open_one_after_the_other() {
    let (root, fog, grant) = keys();
    let mut row = Vec::new();
    let mut other = example();
    other.frame.slot += 1;
    for manifest in [&example(), &other] {
        let bytes = seal(manifest, PICTURE, &fog, &grant).unwrap();
        let frame = SealedFrame::open(bytes, &root.public()).unwrap();
        assert!(frame.bytes().starts_with(frame.head_bytes()));
        row.extend_from_slice(frame.head_bytes());
    }
    let first = SealedHead::open(&row, &root.public()).unwrap();
    let second = SealedHead::open(&row[first.length()..], &root.public()).unwrap();
    assert_eq!((first.manifest(), second.manifest()), (&example(), &other));
    assert_eq!(first.length() + second.length(), row.len());
}
