//! Owns the open spool: what is in it, and the order of the steps that add and remove records.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    BODY_BYTES_MAX, DeviceKey, HEADER_BYTES_MAX, NOTE_BYTES_MAX, Record, RecordName, Recovery,
    SpoolError,
    codec::{self, NOTE_FRAME_BYTES},
    filesystem::{Disk, Filesystem, Lock},
    layout::Layout,
    steps::tried,
};

/// How much a spool may hold. An append beyond it is refused; nothing is dropped by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on disk of records, their keys, and what was set aside. Notes come on top (4 KiB a record at most).
    pub bytes_max: u64,
    /// Records, those set aside included.
    pub records_max: u64,
}

/// How records lie on disk.
#[derive(Debug)]
pub enum Protection {
    /// Readable by whoever reads the disk, with a digest against damage: for redacted data.
    Plain,
    /// Under a key of each record's own, wrapped by this key.
    Encrypted(DeviceKey),
}

/// What a spool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk that count in the quota.
    pub bytes: u64,
    /// Records that can be read.
    pub records: u64,
    /// The quota.
    pub bytes_max: u64,
    /// Damaged records in `corrupt/`; a person has to look at them and remove them.
    pub set_aside: u64,
}

/// A bounded queue of records in a folder. One process at a time; calls from several threads take turns.
#[derive(Debug)]
pub struct Spool {
    pub(crate) filesystem: Arc<dyn Filesystem>,
    pub(crate) layout: Layout,
    limits: Limits,
    pub(crate) protection: Protection,
    state: Mutex<State>,
    _lock: Lock,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) records: BTreeMap<RecordName, Entry>,
    pub(crate) order: BTreeSet<(u64, RecordName)>,
    /// Records whose removal met an error: unreadable already, their bytes still on disk. Tried again at each change.
    removing: BTreeMap<RecordName, u64>,
    pub(crate) set_aside: u64,
    pub(crate) set_aside_bytes: u64,
    pub(crate) next_sequence: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) bytes: u64,
}

impl Spool {
    /// Opens the spool in a folder, making it if need be, and brings it in order after a crash.
    ///
    /// # Errors
    /// When another process has it, it was sealed otherwise or by another device key, or the disk fails.
    pub fn open(
        folder: &Path,
        limits: Limits,
        protection: Protection,
    ) -> Result<(Self, Recovery), SpoolError> {
        Self::open_on(Arc::new(Disk), folder, limits, protection)
    }

    /// As [`Spool::open`], on a chosen file system.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open_on(
        filesystem: Arc<dyn Filesystem>,
        folder: &Path,
        limits: Limits,
        protection: Protection,
    ) -> Result<(Self, Recovery), SpoolError> {
        let layout = Layout::new(folder);
        let files = filesystem.as_ref();
        tried("make", folder, files.create_folder(folder))?;
        let lock = match files.lock(folder) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(SpoolError::Locked { path: folder.to_owned() });
            }
            other => tried("lock", folder, other)?,
        };
        for folder in layout.folders() {
            tried("make", folder, files.create_folder(folder))?;
        }
        let state = Mutex::default();
        let mut spool = Self { filesystem, layout, limits, protection, state, _lock: lock };
        let (state, recovery) = spool.recover()?;
        spool.state = Mutex::new(state);
        Ok((spool, recovery))
    }

    /// Adds a record: durable when this returns. After an error nothing of it stays, or, where the disk does not even
    /// let it be removed, the whole record may be back after a restart; never a part.
    ///
    /// # Errors
    /// `AlreadyPresent`, `Full` and `TooLarge` before anything is written; `Io` when the disk fails or is full.
    pub fn append(&self, name: &RecordName, header: &[u8], body: &[u8]) -> Result<(), SpoolError> {
        check_size(name, "header", header, HEADER_BYTES_MAX)?;
        check_size(name, "body", body, BODY_BYTES_MAX)?;
        let mut state = self.state();
        self.finish_removals(&mut state);
        if state.removing.contains_key(name) {
            // The remains of the one before would mix with the new record's.
            self.destroy(name)?;
            state.removing.remove(name);
        }
        if state.records.contains_key(name) {
            return Err(SpoolError::AlreadyPresent { name: name.clone() });
        }
        let sequence = state.next_sequence;
        let (key, key_file) = match &self.protection {
            Protection::Plain => (None, None),
            Protection::Encrypted(device) => {
                let (key, file) = device.draw(name).ok_or(SpoolError::NoRandomness)?;
                (Some(key), Some(file))
            }
        };
        let file = codec::encode(name, sequence, header, body, key.as_ref())
            .map_err(|reason| SpoolError::Unwritable { name: name.clone(), reason })?;
        let bytes = (file.len() + key_file.as_ref().map_or(0, Vec::len)) as u64;
        self.check_room(&state, bytes)?;
        state.next_sequence += 1;
        if let Err(error) = self.write_record(name, key_file.as_deref(), &file) {
            if self.destroy(name).is_err() {
                state.removing.insert(name.clone(), bytes);
            }
            return Err(error);
        }
        state.records.insert(name.clone(), Entry { sequence, bytes });
        state.order.insert((sequence, name.clone()));
        Ok(())
    }

    /// The names of all records, in the order in which they were added.
    #[must_use]
    pub fn names(&self) -> Vec<RecordName> {
        self.state().order.iter().map(|(_, name)| name.clone()).collect()
    }

    /// Whether there is a record of that name.
    #[must_use]
    pub fn contains(&self, name: &RecordName) -> bool {
        self.state().records.contains_key(name)
    }

    /// Reads a record. A damaged one is set aside.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` once, after that it is not there any more; `Io`.
    pub fn read(&self, name: &RecordName) -> Result<Record, SpoolError> {
        let mut state = self.state();
        let entry = state.records.get(name).copied();
        let entry = entry.ok_or_else(|| SpoolError::NotFound { name: name.clone() })?;
        let reason = match self.try_read(name, entry.bytes)? {
            Ok(record) => return Ok(record),
            Err(reason) => reason,
        };
        tracing::error!(%name, %reason, "record is damaged, setting it aside");
        self.set_aside(name)?;
        self.remove_if_there(&self.layout.note(name))?;
        state.records.remove(name);
        state.order.remove(&(entry.sequence, name.clone()));
        state.set_aside += 1;
        state.set_aside_bytes += entry.bytes;
        Err(SpoolError::Corrupt { name: name.clone(), reason })
    }

    /// Removes a record: its key first, so that its bytes are worthless whatever the disk does with them, then the
    /// bytes, then its note. After an error it is not listed any more and the rest is tried again at the next change;
    /// it may be back after a restart.
    ///
    /// # Errors
    /// `NotFound`; `Io`.
    pub fn remove(&self, name: &RecordName) -> Result<(), SpoolError> {
        let mut state = self.state();
        self.finish_removals(&mut state);
        let entry = state.records.remove(name);
        let entry = entry.ok_or_else(|| SpoolError::NotFound { name: name.clone() })?;
        state.order.remove(&(entry.sequence, name.clone()));
        self.destroy(name).inspect_err(|_| {
            state.removing.insert(name.clone(), entry.bytes);
        })
    }

    /// Sets the note of a record, replacing the one before; durable when this returns. It goes with the record. Notes
    /// are not encrypted: counts and times, nothing else.
    ///
    /// # Errors
    /// `NotFound` without the record; `TooLarge`; `Io`, and then either this note or the one before stands.
    pub fn set_note(&self, name: &RecordName, note: &[u8]) -> Result<(), SpoolError> {
        check_size(name, "note", note, NOTE_BYTES_MAX)?;
        let state = self.state();
        if !state.records.contains_key(name) {
            return Err(SpoolError::NotFound { name: name.clone() });
        }
        self.place(&self.layout.note(name), &self.layout.notes, &codec::encode_note(name, note))
    }

    /// The note of a record, if one was set.
    ///
    /// # Errors
    /// `NotFound` without the record; `Corrupt` for a damaged note, until it is set again; `Io`.
    pub fn note(&self, name: &RecordName) -> Result<Option<Vec<u8>>, SpoolError> {
        let state = self.state();
        if !state.records.contains_key(name) {
            return Err(SpoolError::NotFound { name: name.clone() });
        }
        // One byte more than allowed, so that a longer file fails its digest.
        let bytes_max = NOTE_BYTES_MAX + NOTE_FRAME_BYTES + 1;
        let Some(bytes) = self.read_if_there(&self.layout.note(name), bytes_max)? else {
            return Ok(None);
        };
        let note = codec::decode_note(&bytes, name);
        note.map(Some).map_err(|reason| SpoolError::Corrupt { name: name.clone(), reason })
    }

    /// What the spool holds now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let state = self.state();
        Usage {
            bytes: state.bytes(),
            records: state.records.len() as u64,
            bytes_max: self.limits.bytes_max,
            set_aside: state.set_aside,
        }
    }

    fn check_room(&self, state: &State, needed_bytes: u64) -> Result<(), SpoolError> {
        let records = (state.records.len() + state.removing.len()) as u64 + state.set_aside;
        let free_bytes = self.limits.bytes_max.saturating_sub(state.bytes());
        if needed_bytes <= free_bytes && records < self.limits.records_max {
            return Ok(());
        }
        let records_max = self.limits.records_max;
        Err(SpoolError::Full { needed_bytes, free_bytes, records, records_max })
    }

    fn finish_removals(&self, state: &mut State) {
        state.removing.retain(|name, bytes| {
            let finished = self.destroy(name);
            if let Err(error) = &finished {
                tracing::warn!(%name, bytes, %error, "removed record still takes room, will try again");
            }
            finished.is_err()
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is made after the last step that can panic; a poisoned state is still true.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bytes(&self) -> u64 {
        let present: u64 = self.records.values().map(|entry| entry.bytes).sum();
        present + self.removing.values().sum::<u64>() + self.set_aside_bytes
    }
}

fn check_size(
    name: &RecordName,
    part: &'static str,
    content: &[u8],
    bytes_max: u64,
) -> Result<(), SpoolError> {
    let bytes = content.len() as u64;
    let fits = bytes <= bytes_max;
    if fits {
        Ok(())
    } else {
        Err(SpoolError::TooLarge { name: name.clone(), part, bytes, bytes_max })
    }
}
