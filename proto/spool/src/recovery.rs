//! Owns the opening of a folder that a crash may have left at any step.

use std::{collections::BTreeSet, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    FormatError, Protection, RecordName, Spool, SpoolError,
    codec::{PREFIX_BYTES_MAX, Prefix},
    filesystem::Entry as File,
    keys::{KEY_FILE_BYTES, is_destroyed},
    layout::{KEY_ENDING, MARKER, NOTE_ENDING, RECORD_ENDING, name_of},
    spool::{Entry, State},
    steps::tried,
};

/// What was found and done when a spool was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Recovery {
    /// Records that are there.
    pub records: u64,
    /// Unfinished temporary files, removed: writes that nobody was told to be done.
    pub torn_removed: u64,
    /// Removals that a crash had interrupted, finished.
    pub removals_finished: u64,
    /// Keys and notes without a record, removed.
    pub orphans_removed: u64,
    /// Damaged records, moved to `corrupt/` now. Opening looks at beginnings, lengths and keys; damage
    /// further inside is found when the record is read.
    pub set_aside: Vec<SetAside>,
    /// Files that are none of a spool's, left alone.
    pub foreign: u64,
}

/// A damaged record that was moved away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Which.
    pub name: RecordName,
    /// How it is damaged.
    pub reason: FormatError,
}

/// What `spool.json` says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    version: u16,
    protection: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_check: Option<String>,
}

const MARKER_VERSION: u16 = 1;
/// Three short fields.
const MARKER_BYTES_MAX: u64 = 4096;
const PLAIN: &str = "plain";
const ENCRYPTED: &str = "encrypted";

impl Spool {
    pub(crate) fn recover(&self) -> Result<(State, Recovery), SpoolError> {
        self.check_marker()?;
        // A process that failed and was started again sees changes that the disk may still forget. What is judged here
        // must be what a later crash leaves.
        for folder in self.layout.folders() {
            tried("sync", folder, self.filesystem.sync_folder(folder))?;
        }
        let (mut state, mut recovery) = (State::default(), Recovery::default());
        recovery.torn_removed = self.empty_tmp()?;
        for file in self.list(&self.layout.records)? {
            let Some(name) = name_of(&file.name, RECORD_ENDING) else {
                tracing::warn!(file = file.name, "a file in the spool is none of ours, left alone");
                recovery.foreign += 1;
                continue;
            };
            self.recover_record(name, file.bytes, &mut state, &mut recovery)?;
        }
        let removed = self.remove_orphans(&self.layout.keys, KEY_ENDING, &state)?;
        recovery.orphans_removed += removed;
        recovery.orphans_removed += self.remove_orphans(&self.layout.notes, NOTE_ENDING, &state)?;
        for file in self.list(&self.layout.corrupt)? {
            // Its key lies beside it under another ending and belongs to the same record.
            let kind = file.name.rsplit_once('.').map_or("", |(kind, _number)| kind);
            state.set_aside += u64::from(kind.ends_with(RECORD_ENDING));
            state.set_aside_bytes += file.bytes;
        }
        state.next_sequence =
            state.order.last().map_or(0, |(sequence, _)| sequence.saturating_add(1));
        recovery.records = state.records.len() as u64;
        Ok((state, recovery))
    }

    fn recover_record(
        &self,
        name: RecordName,
        bytes: u64,
        state: &mut State,
        recovery: &mut Recovery,
    ) -> Result<(), SpoolError> {
        let file = self.layout.record(&name);
        let start = self.read_if_there(&file, PREFIX_BYTES_MAX as u64)?.unwrap_or_default();
        let key = self.read_if_there(&self.layout.key(&name), KEY_FILE_BYTES as u64 + 1)?;
        if key.as_deref().is_some_and(is_destroyed) {
            self.destroy(&name)?;
            recovery.removals_finished += 1;
            return Ok(());
        }
        let prefix = Prefix::parse(&start).and_then(|p| p.check(&name, bytes).map(|()| p));
        let checked = prefix.and_then(|p| self.check_key(&p, &name, key.as_deref()).map(|()| p));
        match checked {
            Ok(prefix) => {
                let bytes = bytes + key.map_or(0, |key| key.len() as u64);
                let sequence = prefix.sequence();
                state.order.insert((sequence, name.clone()));
                state.records.insert(name, Entry { sequence, bytes });
            }
            Err(reason) => {
                tracing::error!(%name, %reason, "record is damaged, setting it aside");
                self.set_aside(&name)?;
                recovery.set_aside.push(SetAside { name, reason });
            }
        }
        Ok(())
    }

    fn check_key(
        &self,
        prefix: &Prefix,
        name: &RecordName,
        key: Option<&[u8]>,
    ) -> Result<(), FormatError> {
        let fits = match (&self.protection, key) {
            (Protection::Plain, _) => !prefix.is_encrypted(),
            (Protection::Encrypted(device), Some(key)) => {
                prefix.is_encrypted() && device.open(name, key).is_some()
            }
            (Protection::Encrypted(_), None) => false,
        };
        if fits { Ok(()) } else { Err(FormatError::Key) }
    }

    /// Moves a record, and its key with it, to `corrupt/`, under a name that is free there.
    pub(crate) fn set_aside(&self, name: &RecordName) -> Result<(), SpoolError> {
        let taken: BTreeSet<String> =
            self.list(&self.layout.corrupt)?.into_iter().map(|file| file.name).collect();
        let free = |number: &u64| {
            let ending = format!(".{number}");
            let both = [RECORD_ENDING, KEY_ENDING];
            both.iter().all(|kind| !taken.contains(&format!("{name}{kind}{ending}")))
        };
        let number = (0..).find(free).unwrap_or_default();
        let moves = [
            (self.layout.key(name), &self.layout.keys, KEY_ENDING),
            (self.layout.record(name), &self.layout.records, RECORD_ENDING),
        ];
        let files = self.filesystem.as_ref();
        for (from, folder, ending) in moves {
            let to = self.layout.corrupt.join(format!("{name}{ending}.{number}"));
            match files.rename(&from, &to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => tried("set aside", &from, other)?,
            }
            // Where it goes before where it was: a crash may leave it in both places, never in none.
            let corrupt = &self.layout.corrupt;
            tried("sync", corrupt, files.sync_folder(corrupt))?;
            tried("sync", folder, files.sync_folder(folder))?;
        }
        Ok(())
    }

    fn empty_tmp(&self) -> Result<u64, SpoolError> {
        let torn = self.list(&self.layout.tmp)?;
        for file in &torn {
            self.remove_if_there(&self.layout.tmp.join(&file.name))?;
            tracing::warn!(file = file.name, bytes = file.bytes, "removed an unfinished write");
        }
        tried("sync", &self.layout.tmp, self.filesystem.sync_folder(&self.layout.tmp))?;
        Ok(torn.len() as u64)
    }

    fn remove_orphans(
        &self,
        folder: &Path,
        ending: &str,
        state: &State,
    ) -> Result<u64, SpoolError> {
        let mut removed = 0;
        for file in self.list(folder)? {
            if name_of(&file.name, ending).is_some_and(|name| !state.records.contains_key(&name)) {
                removed += u64::from(self.remove_if_there(&folder.join(&file.name))?);
            }
        }
        tried("sync", folder, self.filesystem.sync_folder(folder))?;
        Ok(removed)
    }

    /// The device key is proven before anything is judged: under a wrong one every record would look damaged.
    fn check_marker(&self) -> Result<(), SpoolError> {
        let file = self.layout.root.join(MARKER);
        let wrong = |reason: String| SpoolError::Marker { path: self.layout.root.clone(), reason };
        let asked = match &self.protection {
            Protection::Plain => PLAIN,
            Protection::Encrypted(_) => ENCRYPTED,
        };
        let Some(bytes) = self.read_if_there(&file, MARKER_BYTES_MAX)? else {
            if !self.list(&self.layout.records)?.is_empty() {
                return Err(wrong(format!("it has records and no {MARKER}: restore that file")));
            }
            let key_check = match &self.protection {
                Protection::Plain => None,
                Protection::Encrypted(key) => {
                    Some(key.make_check().ok_or(SpoolError::NoRandomness)?)
                }
            };
            let protection = asked.to_owned();
            let marker = Marker { version: MARKER_VERSION, protection, key_check };
            let text = serde_json::to_vec(&marker).map_err(|error| wrong(error.to_string()))?;
            return self.place(&file, &self.layout.root, &text);
        };
        let marker: Marker = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("{MARKER} cannot be understood: {error}")))?;
        if marker.version != MARKER_VERSION {
            return Err(wrong(format!(
                "{MARKER} has version {}, this program reads version {MARKER_VERSION}",
                marker.version
            )));
        }
        if marker.protection != asked {
            let found = if marker.protection == PLAIN { PLAIN } else { ENCRYPTED };
            return Err(SpoolError::OtherProtection {
                path: self.layout.root.clone(),
                found,
                asked,
            });
        }
        match (&self.protection, marker.key_check) {
            (Protection::Encrypted(key), Some(check)) if !key.matches(&check) => {
                Err(SpoolError::WrongDeviceKey { path: self.layout.root.clone() })
            }
            (Protection::Encrypted(_), None) => Err(wrong(format!("{MARKER} has no key check"))),
            (Protection::Encrypted(_), Some(_)) | (Protection::Plain, _) => Ok(()),
        }
    }

    fn list(&self, folder: &Path) -> Result<Vec<File>, SpoolError> {
        tried("list", folder, self.filesystem.list(folder))
    }
}
