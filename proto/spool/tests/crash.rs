//! What a crash, a failing disk and a full disk leave behind: one named test each, every step of every operation.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{path::Path, sync::Arc};

use base::{Fault, Faulty as _};
use spool::{
    DeviceKey, Limits, Protection, RecordName, Recovery, Spool, SpoolError,
    filesystem::{Faulty, Memory, Plan},
};

const ROOMY: Limits = Limits { bytes_max: 1 << 30, records_max: 1000 };
static BODY: [u8; 70_000] = [1; 70_000];

fn name(text: &str) -> RecordName {
    RecordName::new(text).unwrap()
}

fn both() -> [fn() -> Protection; 2] {
    [|| Protection::Plain, || Protection::Encrypted(DeviceKey::from_bytes([9; 32]))]
}

fn open(disk: &Faulty, protection: Protection) -> (Spool, Recovery) {
    Spool::open_on(Arc::new(disk.clone()), Path::new("/spool"), ROOMY, protection).unwrap()
}

/// A small deterministic source of choices: xorshift, seeded by the crash point so that a failure can be repeated.
fn chance(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |outcomes| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % outcomes
    }
}

/// Dies at each step of an operation in turn, with several outcomes for what the disk kept, and looks at the reopened
/// spool. Returns how many steps there were.
fn at_each_step(
    prepare: impl Fn(&Spool),
    operate: impl Fn(&Spool) -> Result<(), SpoolError>,
    check: impl Fn(&Spool, Recovery, bool),
) -> u64 {
    let mut steps = 0;
    for protection in both() {
        for step in 0.. {
            let mut died = false;
            for seed in 0..24 {
                let memory = Memory::default();
                let disk = Faulty::new(Arc::new(memory.clone()), Plan::Sound);
                let (spool, _) = open(&disk, protection());
                prepare(&spool);
                disk.set_plan(Plan::DeadFrom(step));
                let done = operate(&spool).is_ok();
                died = disk.operations() > step;
                drop(spool);
                memory.crash(chance(step * 1000 + seed));
                disk.set_plan(Plan::Sound);
                let (spool, recovery) = open(&disk, protection());
                eprintln!("step {step}, seed {seed}, done {done}: {recovery:?}");
                check(&spool, recovery, done);
            }
            steps += 1;
            if !died {
                break;
            }
        }
    }
    steps
}

#[test]
fn append_is_whole_or_absent_after_a_crash_at_each_step_and_whole_once_it_returned() {
    let steps = at_each_step(
        |spool| spool.append(&name("before"), b"h", b"before").unwrap(),
        |spool| spool.append(&name("clip"), b"header", &BODY),
        |spool, recovery, done| {
            assert!(recovery.set_aside.is_empty(), "a crash must not look like damage");
            assert_eq!(spool.read(&name("before")).unwrap().body, b"before");
            assert!(spool.contains(&name("clip")) || !done, "an acknowledged record is gone");
            if spool.contains(&name("clip")) {
                assert_eq!(spool.read(&name("clip")).unwrap().body, BODY);
            } else {
                spool.append(&name("clip"), b"header", &BODY).unwrap();
            }
            assert_eq!(spool.names().len(), 2);
        },
    );
    assert!(steps >= 12, "only {steps} steps: the faults did not reach the disk");
}

#[test]
fn remove_is_finished_or_undone_after_a_crash_at_each_step_and_never_looks_like_damage() {
    at_each_step(
        |spool| {
            spool.append(&name("clip"), b"header", &BODY).unwrap();
            spool.append(&name("other"), b"", b"other").unwrap();
            spool.set_note(&name("clip"), b"3").unwrap();
        },
        |spool| spool.remove(&name("clip")),
        |spool, recovery, done| {
            assert!(recovery.set_aside.is_empty(), "a crash must not look like damage");
            assert!(!(done && spool.contains(&name("clip"))), "a removed record is back");
            if spool.contains(&name("clip")) {
                assert_eq!(spool.read(&name("clip")).unwrap().body, BODY);
                spool.remove(&name("clip")).unwrap();
            }
            assert_eq!(spool.names(), [name("other")]);
            spool.append(&name("clip"), b"", b"new").unwrap();
            assert_eq!(spool.note(&name("clip")).unwrap(), None, "an old note came back");
        },
    );
}

#[test]
fn a_note_is_the_old_or_the_new_one_after_a_crash_at_each_step() {
    at_each_step(
        |spool| {
            spool.append(&name("clip"), b"", b"").unwrap();
            spool.set_note(&name("clip"), b"old").unwrap();
        },
        |spool| spool.set_note(&name("clip"), b"new"),
        |spool, _, done| {
            let note = spool.note(&name("clip")).unwrap().unwrap();
            assert!(note == b"new" || (note == b"old" && !done), "{note:?}");
        },
    );
}

#[test]
fn the_first_opening_and_the_recovery_survive_a_crash_at_each_step() {
    for protection in both() {
        for step in 0..80 {
            let memory = Memory::default();
            let disk = Faulty::new(Arc::new(memory.clone()), Plan::DeadFrom(step));
            let filesystem = Arc::new(disk.clone());
            drop(Spool::open_on(filesystem.clone(), Path::new("/spool"), ROOMY, protection()));
            memory.crash(chance(step));
            disk.set_plan(Plan::Sound);
            let (spool, _) = open(&disk, protection());
            spool.append(&name("damaged"), b"", &BODY).unwrap();
            spool.append(&name("sound"), b"", &BODY).unwrap();
            drop(spool);
            memory.put(Path::new("/spool/records/damaged.rec"), b"not a record");
            memory.put(Path::new("/spool/tmp/torn.rec"), b"torn");
            disk.set_plan(Plan::DeadFrom(step));
            drop(Spool::open_on(filesystem, Path::new("/spool"), ROOMY, protection()));
            memory.crash(chance(step + 1));
            disk.set_plan(Plan::Sound);
            let (spool, _) = open(&disk, protection());
            assert_eq!(spool.names(), [name("sound")]);
            // A crash between two folders may leave it in both, so that it is set aside twice, but never in none.
            assert!(matches!(spool.usage().set_aside, 1 | 2), "step {step}: {:?}", spool.usage());
            assert!(memory.files().values().any(|bytes| bytes == b"not a record"));
            assert!(!memory.files().values().any(|bytes| bytes == b"torn"));
        }
    }
}

#[test]
fn torn_temporary_files_are_removed_and_counted() {
    let memory = Memory::default();
    let disk = Faulty::new(Arc::new(memory.clone()), Plan::Sound);
    drop(open(&disk, Protection::Plain));
    memory.put(Path::new("/spool/tmp/clip.rec"), &BODY);
    let (spool, recovery) = open(&disk, Protection::Plain);
    assert_eq!((recovery.torn_removed, spool.usage().bytes), (1, 0));
}

#[test]
fn a_disk_that_is_full_at_each_step_refuses_the_append_and_gives_its_room_back() {
    for protection in both() {
        for step in 0.. {
            let memory = Memory::default();
            let disk = Faulty::new(Arc::new(memory.clone()), Plan::Sound);
            let (spool, _) = open(&disk, protection());
            spool.append(&name("before"), b"", b"before").unwrap();
            let before = memory.files();
            disk.set_plan(Plan::FullFrom(step));
            let outcome = spool.append(&name("clip"), b"", &BODY);
            let Err(error) = outcome else { break };
            assert_eq!(error.fault(), Fault::Transient, "{error}");
            assert_eq!(memory.files(), before, "step {step}: something stayed on a full disk");
            // Receipts still free room while the disk is full.
            spool.remove(&name("before")).unwrap();
            disk.set_plan(Plan::Sound);
            spool.append(&name("clip"), b"", &BODY).unwrap();
            assert_eq!(spool.read(&name("clip")).unwrap().body, BODY);
        }
    }
}

#[test]
fn one_failed_step_of_an_append_or_a_removal_heals_without_a_restart() {
    for protection in both() {
        for step in 0..16 {
            let memory = Memory::default();
            let disk = Faulty::new(Arc::new(memory.clone()), Plan::Sound);
            let (spool, _) = open(&disk, protection());
            spool.append(&name("old"), b"", &BODY).unwrap();
            disk.set_plan(Plan::Once(step));
            let appended = spool.append(&name("new"), b"", b"new").is_ok();
            assert_eq!(spool.contains(&name("new")), appended);
            disk.set_plan(Plan::Once(step));
            let removed = spool.remove(&name("old"));
            assert!(!spool.contains(&name("old")), "step {step}: {removed:?}");
            disk.set_plan(Plan::Sound);
            spool.append(&name("next"), b"", b"next").unwrap();
            spool.append(&name("old"), b"", b"another").unwrap();
            assert_eq!(spool.read(&name("old")).unwrap().body, b"another");
            spool.remove(&name("old")).unwrap();
            spool.remove(&name("next")).unwrap();
            let left = if appended { 1 } else { 0 };
            assert_eq!(spool.names().len(), left);
            if !appended {
                assert_eq!(spool.usage().bytes, 0, "step {step}");
            }
        }
    }
}
