//! Owns the durable part of the ledger: slots that left the spool, per camera, and which clip is leaving right now.
//!
//! A slot is counted and its record removed in two steps. The file names the record between them, so that a crash in
//! the middle is finished at the next start and no slot is counted twice or not at all.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use proto::{CameraId, UtcTime, record::Tally};
use serde::{Deserialize, Serialize};

use crate::due::Due;

/// Version of the file.
const VERSION: u16 = 1;

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("ledger {path}: {source}; restore it or move it away, then counts start at what is held")]
pub struct BooksError {
    path: PathBuf,
    source: io::Error,
}

/// Slots of one camera that left the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Settled {
    /// In frames that are durable beyond the fog.
    pub delivered: u64,
    /// Not let out by privacy.
    pub withheld: u64,
    /// Not decodable.
    pub undecodable: u64,
    /// Removed by a quota.
    pub dropped: u64,
    /// Slots in which a live camera recorded nothing although it should have.
    #[serde(default)]
    pub gaps: u64,
    /// Up to when a live camera is accounted for, beside what is held; absent while nothing is expected of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
    /// What has been due since then; absent where an earlier program wrote the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Due>,
}

impl Settled {
    /// Counts a receipt.
    pub fn receive(&mut self, tally: Tally) {
        self.delivered += u64::from(tally.delivered);
        self.withheld += u64::from(tally.withheld);
        self.undecodable += u64::from(tally.undecodable);
    }

    /// A clip leaves that says up to when its camera is accounted for.
    pub fn pass(&mut self, until: Option<UtcTime>) {
        if let (Some(mark), Some(until)) = (&mut self.until, until) {
            *mark = (*mark).max(until);
        }
    }
}

/// A record that is counted already and on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// The record.
    pub name: String,
    /// It stays for a while as undecodable, counted; else it is removed.
    pub keep: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u16,
    cameras: BTreeMap<CameraId, Settled>,
    leaving: Option<Leaving>,
}

/// The file and its content.
#[derive(Debug)]
pub struct Books {
    path: PathBuf,
    content: Content,
}

impl Books {
    /// Opens the ledger of a state folder.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or is of another version.
    pub fn open(state: &Path) -> Result<Self, BooksError> {
        let path = state.join("ledger.json");
        let error = |source| BooksError { path: path.clone(), source };
        let content = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| error(e.into()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Content { version: VERSION, cameras: BTreeMap::new(), leaving: None }
            }
            Err(e) => return Err(error(e)),
        };
        if content.version != VERSION {
            let reason = format!("version {} is not {VERSION}", content.version);
            return Err(error(io::Error::other(reason)));
        }
        Ok(Self { path, content })
    }

    /// What left the spool for a camera.
    #[must_use]
    pub fn settled(&self, camera: &CameraId) -> Settled {
        self.content.cameras.get(camera).copied().unwrap_or_default()
    }

    /// Every camera that something was counted for.
    pub fn cameras(&self) -> impl Iterator<Item = (&CameraId, &Settled)> {
        self.content.cameras.iter()
    }

    /// The record that a crash left half way.
    #[must_use]
    pub fn leaving(&self) -> Option<&Leaving> {
        self.content.leaving.as_ref()
    }

    /// Counts a record that is about to leave; durable on return. On an error nothing is counted.
    ///
    /// # Errors
    /// What the disk says.
    pub fn count(
        &mut self,
        camera: &CameraId,
        leaving: Leaving,
        count: impl FnOnce(&mut Settled),
    ) -> Result<(), BooksError> {
        let mut next = self.content.clone();
        count(next.cameras.entry(camera.clone()).or_default());
        next.leaving = Some(leaving);
        self.write(next)
    }

    /// Counts something that moves no record; durable on return. On an error nothing is counted.
    ///
    /// # Errors
    /// What the disk says.
    pub fn update(
        &mut self,
        camera: &CameraId,
        count: impl FnOnce(&mut Settled),
    ) -> Result<(), BooksError> {
        let mut next = self.content.clone();
        count(next.cameras.entry(camera.clone()).or_default());
        self.write(next)
    }

    fn write(&mut self, next: Content) -> Result<(), BooksError> {
        let error = |source| BooksError { path: self.path.clone(), source };
        let bytes = serde_json::to_vec(&next).map_err(|e| error(e.into()))?;
        base::files::write_durable(&self.path, &bytes).map_err(error)?;
        self.content = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_of_an_earlier_program_goes_on_and_one_of_a_later_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.json");
        let settled = r#"{"delivered":7,"withheld":1,"undecodable":0,"dropped":2}"#;
        let write = |version: u16| {
            let text =
                format!(r#"{{"version":{version},"cameras":{{"cam":{settled}}},"leaving":null}}"#);
            std::fs::write(&path, text).unwrap();
        };
        write(1);
        let mut books = Books::open(folder.path()).unwrap();
        let camera: CameraId = "cam".parse().unwrap();
        books.update(&camera, |s| s.gaps += 3).unwrap();
        let books = Books::open(folder.path()).unwrap();
        let settled = books.settled(&camera);
        assert_eq!((settled.delivered, settled.gaps, settled.until), (7, 3, None));
        write(2);
        let error = Books::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("ledger.json") && error.contains("version 2"), "{error}");
    }
}
