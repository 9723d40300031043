//! Random histories of a spool, with faults and crashes, against a twin that is a map.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

use std::{collections::BTreeMap, path::Path, sync::Arc};

use proptest::prelude::*;
use spool::{
    DeviceKey, Limits, Protection, RecordName, Spool, SpoolError,
    filesystem::{Faulty, Memory, Plan},
};

const LIMITS: Limits = Limits { bytes_max: 400_000, records_max: 6 };

#[derive(Debug, Clone)]
enum Action {
    Append(u8, usize),
    Remove(u8),
    Note(u8, u8),
    Read(u8),
    /// The next n-th operation on the disk fails.
    Fail(u64),
    /// Power off, with these choices for what the disk kept, and open again.
    Crash(Vec<u8>),
    /// Close and open again.
    Reopen,
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0u8..8, prop_oneof![0usize..100, 60_000usize..140_000])
            .prop_map(|(name, bytes)| Action::Append(name, bytes)),
        3 => (0u8..8).prop_map(Action::Remove),
        2 => (0u8..8, any::<u8>()).prop_map(|(name, note)| Action::Note(name, note)),
        3 => (0u8..8).prop_map(Action::Read),
        2 => (0u64..14).prop_map(Action::Fail),
        1 => prop::collection::vec(any::<u8>(), 16).prop_map(Action::Crash),
        1 => Just(Action::Reopen),
    ]
}

/// What must be true of a record.
#[derive(Debug, Clone, PartialEq)]
struct Expected {
    body: Vec<u8>,
    /// Notes that it may have: more than one after a failed change.
    notes: Vec<Option<Vec<u8>>>,
    order: usize,
}

#[derive(Debug, Default)]
struct Twin {
    present: BTreeMap<RecordName, Expected>,
    /// What may be back after a restart: an operation on it failed, or was cut off.
    perhaps: BTreeMap<RecordName, Vec<Expected>>,
    appended: usize,
}

struct World {
    memory: Memory,
    disk: Faulty,
    protection: fn() -> Protection,
    spool: Option<Spool>,
    twin: Twin,
}

fn name(number: u8) -> RecordName {
    RecordName::new(&format!("clip-{number}")).unwrap()
}

impl World {
    fn new(protection: fn() -> Protection) -> Self {
        let memory = Memory::default();
        let disk = Faulty::new(Arc::new(memory.clone()), Plan::Sound);
        let twin = Twin::default();
        let mut world = Self { memory, disk, protection, spool: None, twin };
        world.reopen();
        world
    }

    /// Opens again; what was perhaps there is there, whole, or not.
    fn reopen(&mut self) {
        self.spool = None;
        self.disk.set_plan(Plan::Sound);
        let disk = Arc::new(self.disk.clone());
        let folder = Path::new("/spool");
        let (spool, recovery) = Spool::open_on(disk, folder, LIMITS, (self.protection)()).unwrap();
        assert!(recovery.set_aside.is_empty(), "a fault looked like damage: {recovery:?}");
        for (name, choices) in std::mem::take(&mut self.twin.perhaps) {
            if spool.contains(&name) && !self.twin.present.contains_key(&name) {
                let body = spool.read(&name).unwrap().body;
                let is = choices.into_iter().rev().find(|choice| choice.body == body);
                self.twin.present.insert(name, is.expect("a record that nobody appended"));
            }
        }
        self.spool = Some(spool);
        self.check();
    }

    fn check(&mut self) {
        let spool = self.spool.as_ref().unwrap();
        let mut names: Vec<_> = self.twin.present.iter().collect();
        names.sort_by_key(|(_, expected)| expected.order);
        let names: Vec<_> = names.into_iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(spool.names(), names);
        for (name, expected) in &mut self.twin.present {
            let note = spool.note(name).unwrap();
            assert!(expected.notes.contains(&note), "{name}: {note:?} not in {:?}", expected.notes);
        }
        assert!(spool.usage().bytes <= LIMITS.bytes_max);
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Append(number, bytes) => self.append(name(*number), *bytes),
            Action::Remove(number) => self.remove(&name(*number)),
            Action::Note(number, note) => self.note(&name(*number), *note),
            Action::Read(number) => self.read(&name(*number)),
            Action::Fail(n) => self.disk.set_plan(Plan::Once(*n)),
            Action::Crash(choices) => {
                self.spool = None;
                let mut choices = choices.iter().cycle();
                self.memory.crash(|outcomes| usize::from(*choices.next().unwrap()) % outcomes);
                self.reopen();
            }
            Action::Reopen => self.reopen(),
        }
    }

    fn append(&mut self, name: RecordName, bytes: usize) {
        let spool = self.spool.as_ref().unwrap();
        self.twin.appended += 1;
        let order = self.twin.appended;
        let body = vec![u8::try_from(order % 251).unwrap(); bytes];
        let outcome = spool.append(&name, b"header", &body);
        let expected = Expected { body, notes: vec![None], order };
        match outcome {
            Ok(()) => {
                assert!(self.twin.present.insert(name.clone(), expected).is_none());
                self.twin.perhaps.remove(&name);
            }
            Err(SpoolError::AlreadyPresent { .. }) => {
                assert!(self.twin.present.contains_key(&name));
            }
            Err(SpoolError::Full { .. }) => assert!(!self.twin.present.contains_key(&name)),
            Err(SpoolError::Io { .. }) => {
                assert!(!self.twin.present.contains_key(&name));
                self.twin.perhaps.entry(name).or_default().push(expected);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn remove(&mut self, name: &RecordName) {
        let outcome = self.spool.as_ref().unwrap().remove(name);
        let expected = self.twin.present.remove(name);
        match outcome {
            Ok(()) => {
                assert!(expected.is_some());
                self.twin.perhaps.remove(name);
            }
            Err(SpoolError::NotFound { .. }) => assert!(expected.is_none()),
            Err(SpoolError::Io { .. }) => {
                let mut expected = expected.unwrap();
                // The removal may have come as far as the note.
                expected.notes.push(None);
                self.twin.perhaps.entry(name.clone()).or_default().push(expected);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn note(&mut self, name: &RecordName, note: u8) {
        let outcome = self.spool.as_ref().unwrap().set_note(name, &[note]);
        let expected = self.twin.present.get_mut(name);
        match outcome {
            Ok(()) => expected.unwrap().notes = vec![Some(vec![note])],
            Err(SpoolError::NotFound { .. }) => assert!(expected.is_none()),
            Err(SpoolError::Io { .. }) => expected.unwrap().notes.push(Some(vec![note])),
            Err(error) => panic!("{error}"),
        }
    }

    fn read(&mut self, name: &RecordName) {
        let outcome = self.spool.as_ref().unwrap().read(name);
        match (outcome, self.twin.present.get(name)) {
            (Ok(record), Some(expected)) => assert_eq!(record.body, expected.body),
            (Err(SpoolError::NotFound { .. }), None) => {}
            (outcome, expected) => panic!("{outcome:?} instead of {}", expected.is_some()),
        }
    }
}

/// Found by the test below. A removal failed after the bytes were unlinked, the process started again without a crash,
/// and then a crash brought the record back: recovery judged what was not yet durable.
#[test]
fn a_removal_that_a_restart_saw_is_not_undone_by_a_later_crash() {
    for fail in 0..8 {
        for protection in [sealed as fn() -> Protection, || Protection::Plain] {
            let mut world = World::new(protection);
            let history = [
                Action::Append(5, 0),
                Action::Fail(fail),
                Action::Remove(5),
                Action::Reopen,
                Action::Crash(vec![0; 16]),
            ];
            for action in &history {
                world.act(action);
                world.check();
            }
        }
    }
}

fn sealed() -> Protection {
    Protection::Encrypted(DeviceKey::from_bytes([3; 32]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spool_is_its_map_through_faults_and_crashes(
        history in prop::collection::vec(actions(), 1..60),
        encrypted: bool,
    ) {
        let mut world = World::new(if encrypted { sealed } else { || Protection::Plain });
        for action in &history {
            world.act(action);
            world.check();
        }
        world.reopen();
    }
}
