//! Tests of the record format: golden bytes, hostile lengths, changed and cut records.

use proptest::prelude::*;
use ring::aead::{AES_256_GCM, UnboundKey};

use super::*;

fn key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[5; 32]).unwrap())
}

fn name(text: &str) -> RecordName {
    RecordName::new(text).unwrap()
}

fn sample(body_bytes: usize) -> Record {
    let body = (0..body_bytes).map(|i| u8::try_from(i % 251).unwrap()).collect();
    Record { header: br#"{"camera":"gate"}"#.to_vec(), body }
}

fn bytes_of(record: &Record, key: Option<&LessSafeKey>) -> Vec<u8> {
    encode(&name("clip-1"), 42, &record.header, &record.body, key).unwrap()
}

/// Decoding never panics, and never accepts anything but what was encoded.
fn check_refused(bytes: &[u8], what: &str) {
    assert!(decode(bytes, &name("clip-1"), Some(&key())).is_err(), "{what} accepted (encrypted)");
    assert!(decode(bytes, &name("clip-1"), None).is_err(), "{what} accepted (plain)");
}

#[test]
fn records_of_all_sizes_around_a_segment_come_back_as_they_were() {
    for body_bytes in [0, 1, 65_518, 65_519, 65_520, 131_055, 200_000] {
        let record = sample(body_bytes);
        for key in [None, Some(&key())] {
            let bytes = bytes_of(&record, key);
            assert_eq!(decode(&bytes, &name("clip-1"), key).unwrap(), record, "{body_bytes} bytes");
        }
    }
    let empty = Record { header: Vec::new(), body: Vec::new() };
    let bytes = bytes_of(&empty, Some(&key()));
    assert_eq!(decode(&bytes, &name("clip-1"), Some(&key())).unwrap(), empty);
}

/// Records rest on disks across upgrades: these bytes change with a new version number only.
#[test]
fn record_bytes_of_version_1_are_as_published() {
    let record = sample(100_000);
    let golden = [
        (None, include_str!("../../tests/golden/record-v1-plain.blake3")),
        (Some(&key()), include_str!("../../tests/golden/record-v1-encrypted.blake3")),
    ];
    for (key, digest) in golden {
        let bytes = bytes_of(&record, key);
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), digest.trim());
    }
    let short = bytes_of(&Record { header: b"h".to_vec(), body: b"body".to_vec() }, None);
    assert_eq!(short, include_bytes!("../../tests/golden/record-v1-short.rec"));
    let note = encode_note(&name("clip-1"), b"attempt 2");
    assert_eq!(note, include_bytes!("../../tests/golden/note-v1.note"));
}

#[test]
fn each_changed_bit_of_a_record_is_noticed() {
    let record = sample(3);
    for key in [None, Some(&key())] {
        let bytes = bytes_of(&record, key);
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[at / 8] ^= 1 << (at % 8);
            check_refused(&changed, &format!("bit {at} changed"));
        }
    }
}

#[test]
fn a_record_cut_anywhere_or_with_a_tail_is_refused() {
    let bytes = bytes_of(&sample(70_000), Some(&key()));
    for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1, bytes.len() - 16]) {
        check_refused(&bytes[..length], &format!("{length} bytes"));
    }
    check_refused(&[bytes.as_slice(), &[0]].concat(), "a tail");
}

#[test]
fn segments_cannot_be_swapped_dropped_or_moved_to_another_record() {
    // No caller's header, so that segments are whole multiples from the payload's start.
    let body = vec![7; 3 * SEGMENT_BYTES];
    let bytes = encode(&name("clip-1"), 42, b"", &body, Some(&key())).unwrap();
    let start = Prefix::parse(&bytes).unwrap().bytes;
    let whole = SEGMENT_BYTES + TAG_BYTES;
    let mut swapped = bytes.clone();
    let (first, second) = swapped[start..].split_at_mut(whole);
    first.swap_with_slice(&mut second[..whole]);
    check_refused(&swapped, "a swapped segment");
    let other = encode(&name("clip-2"), 42, b"", &body, Some(&key())).unwrap();
    let moved = [&bytes[..start], &other[start..]].concat();
    check_refused(&moved, "another record's segments");
    // A shorter record, honest about its length, made of the first segments.
    let short = encode(&name("clip-1"), 42, b"", &body[SEGMENT_BYTES..], Some(&key())).unwrap();
    let short_start = Prefix::parse(&short).unwrap().bytes;
    let cut = [&short[..short_start], &bytes[start..start + 2 * whole]].concat();
    check_refused(&cut, "a record without its last segment");
    assert_eq!(
        decode(&other, &name("clip-1"), Some(&key())),
        Err(FormatError::OtherName(name("clip-2")))
    );
}

#[test]
fn the_place_and_the_last_flag_are_part_of_what_a_segment_is_bound_to() {
    let binding = blake3::hash(b"head");
    let mut segment = b"pixels".to_vec();
    let aad = segment_aad(&binding, 0, false);
    key().seal_in_place_append_tag(nonce(0), aad, &mut segment).unwrap();
    for (index, last, opens) in [(0, false, true), (0, true, false), (1, false, false)] {
        let mut bytes = segment.clone();
        let aad = segment_aad(&binding, index, last);
        assert_eq!(key().open_in_place(nonce(0), aad, &mut bytes).is_ok(), opens);
    }
}

#[test]
fn a_newer_version_is_named_and_hostile_lengths_are_refused_before_they_are_used() {
    let mut newer = bytes_of(&sample(3), None);
    newer[8] = 2;
    assert_eq!(Prefix::parse(&newer).unwrap_err(), FormatError::Version(2));
    let mut long = newer.clone();
    long[8] = 1;
    long[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Prefix::parse(&long).unwrap_err(), FormatError::Header);
    for json in [
        r#"{"name":"a","sequence":0,"header_bytes":0,"body_bytes":18446744073709551615}"#,
        r#"{"name":"a","sequence":0,"header_bytes":18446744073709551615,"body_bytes":1}"#,
        r#"{"name":"../a","sequence":0,"header_bytes":0,"body_bytes":1}"#,
        r#"{"name":"a","sequence":0,"header_bytes":0,"body_bytes":1,"more":1}"#,
    ] {
        let length = u32::try_from(json.len()).unwrap().to_le_bytes();
        let bytes = [MAGIC.as_slice(), &[1, 0, 0, 0], &length, json.as_bytes()].concat();
        assert_eq!(Prefix::parse(&bytes).unwrap_err(), FormatError::Header, "{json}");
    }
}

#[test]
fn a_note_is_bound_to_its_record_and_its_bytes() {
    let bytes = encode_note(&name("a"), b"3");
    assert_eq!(decode_note(&bytes, &name("a")).unwrap(), b"3");
    assert_eq!(decode_note(&bytes, &name("b")), Err(FormatError::Digest));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(decode_note(&changed, &name("a")).is_err(), "byte {at} may change unseen");
        assert!(decode_note(&bytes[..at], &name("a")).is_err(), "{at} bytes are enough");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_back_as_they_were(
        header in prop::collection::vec(any::<u8>(), 0..300),
        body in prop::collection::vec(any::<u8>(), 0..3000),
        sequence: u64,
    ) {
        for key in [None, Some(&key())] {
            let bytes = encode(&name("r"), sequence, &header, &body, key).unwrap();
            let record = decode(&bytes, &name("r"), key).unwrap();
            prop_assert_eq!(&record.header, &header);
            prop_assert_eq!(&record.body, &body);
            prop_assert_eq!(Prefix::parse(&bytes).unwrap().sequence(), sequence);
        }
    }

    /// The fuzz target as an ordinary test: pieces of real records cut, doubled, overwritten and joined.
    #[test]
    fn pieces_of_records_are_refused_and_never_panic(
        edits in prop::collection::vec((0usize..700, 0usize..700, any::<u8>(), 0u8..4), 1..6),
        encrypted: bool,
    ) {
        let key = key();
        let original = bytes_of(&sample(400), encrypted.then_some(&key));
        let mut bytes = original.clone();
        for (from, to, value, kind) in edits {
            let (from, to) = (from.min(bytes.len()), to.min(bytes.len()));
            let (from, to) = (from.min(to), from.max(to));
            match kind {
                0 => drop(bytes.drain(from..to)),
                1 => bytes.extend_from_within(from..to),
                2 => bytes.truncate(to),
                _ => bytes[from..to].fill(value),
            }
        }
        for key in [None, Some(&key)] {
            let accepted = decode(&bytes, &name("clip-1"), key).is_ok();
            prop_assert!(!accepted || bytes == original, "changed bytes were accepted");
        }
        prop_assert!(decode_note(&bytes, &name("clip-1")).is_err());
    }
}
