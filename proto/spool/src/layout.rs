//! Owns where things lie in a spool's folder.
//!
//! `spool.json` says what the folder is; `records/NAME.rec`, `keys/NAME.key` and `notes/NAME.note` make up a record;
//! `tmp/` holds what is being written, and nothing of worth after a crash; `corrupt/` what was set aside; `lock` is the
//! lock.

use std::path::{Path, PathBuf};

use crate::RecordName;

#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) records: PathBuf,
    pub(crate) keys: PathBuf,
    pub(crate) notes: PathBuf,
    pub(crate) tmp: PathBuf,
    pub(crate) corrupt: PathBuf,
}

pub(crate) const RECORD_ENDING: &str = ".rec";
pub(crate) const KEY_ENDING: &str = ".key";
pub(crate) const NOTE_ENDING: &str = ".note";
pub(crate) const MARKER: &str = "spool.json";

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        let folder = |name| root.join(name);
        let (records, keys, notes) = (folder("records"), folder("keys"), folder("notes"));
        let (tmp, corrupt) = (folder("tmp"), folder("corrupt"));
        Self { root: root.to_owned(), records, keys, notes, tmp, corrupt }
    }

    pub(crate) fn folders(&self) -> [&Path; 6] {
        [&self.root, &self.records, &self.keys, &self.notes, &self.tmp, &self.corrupt]
    }

    pub(crate) fn record(&self, name: &RecordName) -> PathBuf {
        self.records.join(format!("{name}{RECORD_ENDING}"))
    }

    pub(crate) fn key(&self, name: &RecordName) -> PathBuf {
        self.keys.join(format!("{name}{KEY_ENDING}"))
    }

    pub(crate) fn note(&self, name: &RecordName) -> PathBuf {
        self.notes.join(format!("{name}{NOTE_ENDING}"))
    }
}

/// The record that a file belongs to, when its name has that ending.
pub(crate) fn name_of(file: &str, ending: &str) -> Option<RecordName> {
    RecordName::new(file.strip_suffix(ending)?).ok()
}
