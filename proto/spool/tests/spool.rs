//! What a spool promises to its callers, on the real file system.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use base::{Fault, Faulty as _};
use spool::{DeviceKey, FormatError, Limits, Protection, RecordName, Recovery, Spool, SpoolError};

const ROOMY: Limits = Limits { bytes_max: 1 << 30, records_max: 1000 };

fn name(text: &str) -> RecordName {
    RecordName::new(text).unwrap()
}

fn sealed() -> Protection {
    Protection::Encrypted(DeviceKey::from_bytes([9; 32]))
}

fn open(folder: &Path, protection: Protection) -> (Spool, Recovery) {
    Spool::open(folder, ROOMY, protection).unwrap()
}

fn both() -> [fn() -> Protection; 2] {
    [|| Protection::Plain, sealed]
}

/// All files under a folder.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found
}

#[test]
fn records_are_there_after_a_restart_in_the_order_in_which_they_came() {
    for protection in both() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, recovery) = open(&folder.path().join("deep/spool"), protection());
        assert_eq!(recovery, Recovery::default());
        for text in ["c", "a", "b"] {
            spool.append(&name(text), text.as_bytes(), &[1; 100_000]).unwrap();
        }
        spool.set_note(&name("a"), b"attempt 1").unwrap();
        spool.set_note(&name("a"), b"attempt 2").unwrap();
        spool.remove(&name("c")).unwrap();
        let usage = spool.usage();
        drop(spool);
        let (spool, recovery) = open(&folder.path().join("deep/spool"), protection());
        assert_eq!(recovery, Recovery { records: 2, ..Recovery::default() });
        assert_eq!(spool.names(), [name("a"), name("b")]);
        assert_eq!(spool.usage(), usage);
        assert_eq!(spool.read(&name("a")).unwrap().header, b"a");
        assert_eq!(spool.read(&name("b")).unwrap().body, [1; 100_000]);
        assert_eq!(spool.note(&name("a")).unwrap().unwrap(), b"attempt 2");
        assert_eq!(spool.note(&name("b")).unwrap(), None);
        spool.append(&name("0"), b"", b"").unwrap();
        assert_eq!(spool.names(), [name("a"), name("b"), name("0")]);
    }
}

#[test]
fn nothing_of_a_record_can_be_read_from_the_disk_and_only_its_owner_may_try() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), sealed());
    let secret = b"a face that must not be seen".repeat(5000);
    spool.append(&name("clip"), b"camera at the gate", &secret).unwrap();
    for (path, bytes) in files(folder.path()) {
        for part in [&secret[..16], b"camera at the ga"] {
            let found = bytes.windows(part.len()).any(|window| window == part);
            assert!(!found, "{} holds plaintext", path.display());
        }
        if path.file_name().unwrap() != "lock" {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o077;
            assert_eq!(mode, 0, "{} is open to others", path.display());
        }
    }
}

#[test]
fn a_removed_record_leaves_neither_key_nor_bytes_nor_note() {
    for protection in both() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, _) = open(folder.path(), protection());
        let before = files(folder.path()).len();
        spool.append(&name("clip"), b"", &[3; 1000]).unwrap();
        spool.set_note(&name("clip"), b"1").unwrap();
        spool.remove(&name("clip")).unwrap();
        assert_eq!(files(folder.path()).len(), before);
        assert_eq!(spool.usage().bytes, 0);
        assert!(matches!(spool.read(&name("clip")), Err(SpoolError::NotFound { .. })));
        assert!(matches!(spool.remove(&name("clip")), Err(SpoolError::NotFound { .. })));
        assert!(matches!(spool.set_note(&name("clip"), b""), Err(SpoolError::NotFound { .. })));
        spool.append(&name("clip"), b"", b"again").unwrap();
        assert_eq!(spool.note(&name("clip")).unwrap(), None, "a new record has an old note");
    }
}

#[test]
fn a_second_record_of_a_name_is_refused_and_the_first_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), sealed());
    spool.append(&name("clip"), b"", b"first").unwrap();
    let error = spool.append(&name("clip"), b"", b"second").unwrap_err();
    assert!(matches!(error, SpoolError::AlreadyPresent { .. }), "{error}");
    assert_eq!(spool.read(&name("clip")).unwrap().body, b"first");
}

#[test]
fn a_quota_in_bytes_and_one_in_records_refuse_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { bytes_max: 10_000, records_max: 2 };
    let (spool, _) = Spool::open(folder.path(), limits, sealed()).unwrap();
    spool.append(&name("a"), b"", &[0; 4000]).unwrap();
    let error = spool.append(&name("b"), b"", &[0; 6000]).unwrap_err();
    assert!(matches!(error, SpoolError::Full { records: 1, .. }), "{error}");
    assert_eq!(error.fault(), Fault::Transient);
    spool.append(&name("b"), b"", &[0; 1000]).unwrap();
    let error = spool.append(&name("c"), b"", b"").unwrap_err();
    assert!(matches!(error, SpoolError::Full { records: 2, .. }), "{error}");
    let on_disk: usize = files(folder.path())
        .iter()
        .filter(|(path, _)| path.parent() != Some(folder.path()))
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert_eq!(spool.usage().bytes, on_disk as u64, "the quota counts other bytes than the disk");
    spool.remove(&name("a")).unwrap();
    spool.append(&name("c"), b"", b"").unwrap();
}

#[test]
fn headers_bodies_and_notes_over_their_limits_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), Protection::Plain);
    let header = vec![0; usize::try_from(spool::HEADER_BYTES_MAX).unwrap() + 1];
    let error = spool.append(&name("a"), &header, b"").unwrap_err();
    assert!(matches!(error, SpoolError::TooLarge { part: "header", .. }), "{error}");
    spool.append(&name("a"), b"", b"").unwrap();
    let note = vec![0; usize::try_from(spool::NOTE_BYTES_MAX).unwrap()];
    spool.set_note(&name("a"), &note).unwrap();
    assert_eq!(spool.note(&name("a")).unwrap().unwrap(), note);
    let error = spool.set_note(&name("a"), &[note.as_slice(), b"x"].concat()).unwrap_err();
    assert!(matches!(error, SpoolError::TooLarge { part: "note", .. }), "{error}");
}

#[test]
fn a_record_damaged_on_disk_is_set_aside_once_counted_and_kept() {
    for protection in both() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, _) = open(folder.path(), protection());
        spool.append(&name("good"), b"", b"good").unwrap();
        spool.append(&name("bad"), b"", &[7; 1000]).unwrap();
        let path = folder.path().join("records/bad.rec");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        let used = spool.usage().bytes;
        let error = spool.read(&name("bad")).unwrap_err();
        assert!(matches!(error, SpoolError::Corrupt { .. }), "{error}");
        assert_eq!(error.fault(), Fault::Corrupt);
        assert!(matches!(spool.read(&name("bad")), Err(SpoolError::NotFound { .. })));
        assert_eq!(spool.names(), [name("good")]);
        assert_eq!((spool.usage().set_aside, spool.usage().bytes), (1, used));
        assert_eq!(fs::read(folder.path().join("corrupt/bad.rec.0")).unwrap(), bytes);
        // The same name again, damaged again: the first one is not overwritten.
        spool.append(&name("bad"), b"", b"new").unwrap();
        fs::write(&path, b"short").unwrap();
        drop(spool);
        let (spool, recovery) = open(folder.path(), protection());
        assert_eq!(recovery.set_aside.len(), 1);
        assert_eq!(recovery.set_aside[0].reason, FormatError::NotOurs);
        assert_eq!(spool.usage().set_aside, 2);
        assert_eq!(fs::read(folder.path().join("corrupt/bad.rec.0")).unwrap(), bytes);
        assert_eq!(spool.read(&name("good")).unwrap().body, b"good");
    }
}

#[test]
fn a_record_whose_key_is_gone_or_anothers_is_set_aside_and_not_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), sealed());
    for text in ["a", "b", "c"] {
        spool.append(&name(text), b"", text.as_bytes()).unwrap();
    }
    drop(spool);
    fs::remove_file(folder.path().join("keys/a.key")).unwrap();
    fs::copy(folder.path().join("keys/c.key"), folder.path().join("keys/b.key")).unwrap();
    let (spool, recovery) = open(folder.path(), sealed());
    assert_eq!(spool.names(), [name("c")]);
    assert_eq!(recovery.set_aside.len(), 2);
    assert!(recovery.set_aside.iter().all(|s| s.reason == FormatError::Key));
    assert!(folder.path().join("corrupt/a.rec.0").exists());
}

#[test]
fn a_wrong_device_key_or_protection_is_refused_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), sealed());
    spool.append(&name("a"), b"", b"a").unwrap();
    drop(spool);
    let before = files(folder.path());
    let other = Protection::Encrypted(DeviceKey::from_bytes([8; 32]));
    let error = Spool::open(folder.path(), ROOMY, other).unwrap_err();
    assert!(matches!(error, SpoolError::WrongDeviceKey { .. }), "{error}");
    let error = Spool::open(folder.path(), ROOMY, Protection::Plain).unwrap_err();
    assert!(matches!(error, SpoolError::OtherProtection { .. }), "{error}");
    assert_eq!(files(folder.path()), before);
    fs::remove_file(folder.path().join("spool.json")).unwrap();
    let error = Spool::open(folder.path(), ROOMY, sealed()).unwrap_err();
    assert!(matches!(error, SpoolError::Marker { .. }), "{error}");
}

#[test]
fn a_spool_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path(), Protection::Plain);
    let error = Spool::open(folder.path(), ROOMY, Protection::Plain).unwrap_err();
    assert!(matches!(error, SpoolError::Locked { .. }), "{error}");
    drop(spool);
    drop(open(folder.path(), Protection::Plain));
}

#[test]
fn foreign_files_are_left_alone_and_do_not_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), Protection::Plain));
    let foreign = folder.path().join("records/README.txt");
    fs::write(&foreign, "mine").unwrap();
    let (spool, recovery) = open(folder.path(), Protection::Plain);
    assert_eq!((recovery.foreign, spool.names().len()), (1, 0));
    assert_eq!(fs::read(&foreign).unwrap(), b"mine");
}
