//! The store on a real disk: the encrypted spool.

use std::path::Path;

use spool::{DeviceKey, Limits, Protection, RecordName, Recovery, Spool, SpoolError};

use super::{Store, StoreError, Stored};

/// Records that a spool may hold: a week of ten cameras with clips of 10 s (a third of the default), and its noise keys.
const RECORDS_MAX: u64 = 1_000_000;

/// An encrypted spool.
#[derive(Debug)]
pub struct DiskStore(Spool);

impl DiskStore {
    /// Opens the spool in a folder under this device key.
    ///
    /// # Errors
    /// When it is in use, sealed under another key, or the disk fails.
    pub fn open(
        folder: &Path,
        bytes_max: u64,
        key: DeviceKey,
    ) -> Result<(Self, Recovery), SpoolError> {
        let limits = Limits { bytes_max, records_max: RECORDS_MAX };
        let (spool, recovery) = Spool::open(folder, limits, Protection::Encrypted(key))?;
        Ok((Self(spool), recovery))
    }
}

fn record(name: &str) -> Result<RecordName, StoreError> {
    let disk = |e: spool::NameError| StoreError::Disk { name: name.into(), reason: e.to_string() };
    RecordName::new(name).map_err(disk)
}

fn told(error: SpoolError, name: &str) -> StoreError {
    let (name, reason) = (name.to_owned(), error.to_string());
    match error {
        SpoolError::AlreadyPresent { .. } => StoreError::AlreadyPresent(name),
        SpoolError::NotFound { .. } => StoreError::Missing(name),
        SpoolError::Full { .. } => StoreError::Full,
        SpoolError::Corrupt { .. } => StoreError::Corrupt { name, reason },
        SpoolError::TooLarge { .. }
        | SpoolError::Io { .. }
        | SpoolError::Locked { .. }
        | SpoolError::WrongDeviceKey { .. }
        | SpoolError::OtherProtection { .. }
        | SpoolError::Marker { .. }
        | SpoolError::Unwritable { .. }
        | SpoolError::NoRandomness => StoreError::Disk { name, reason },
    }
}

impl Store for DiskStore {
    fn append(&mut self, name: &str, header: &[u8], body: &[u8]) -> Result<(), StoreError> {
        self.0.append(&record(name)?, header, body).map_err(|e| told(e, name))
    }

    fn names(&self) -> Vec<String> {
        self.0.names().into_iter().map(String::from).collect()
    }

    fn read(&self, name: &str) -> Result<Stored, StoreError> {
        let read = self.0.read(&record(name)?).map_err(|e| told(e, name))?;
        Ok(Stored { header: read.header, body: read.body })
    }

    fn remove(&mut self, name: &str) -> Result<(), StoreError> {
        match self.0.remove(&record(name)?) {
            Ok(()) | Err(SpoolError::NotFound { .. }) => Ok(()),
            Err(error) => Err(told(error, name)),
        }
    }

    fn set_note(&mut self, name: &str, note: &[u8]) -> Result<(), StoreError> {
        self.0.set_note(&record(name)?, note).map_err(|e| told(e, name))
    }

    fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.0.note(&record(name)?) {
            // A damaged note costs the attempts that it counted, not the clip.
            Err(SpoolError::Corrupt { .. } | SpoolError::NotFound { .. }) => Ok(None),
            other => other.map_err(|e| told(e, name)),
        }
    }

    fn bytes(&self) -> u64 {
        self.0.usage().bytes
    }
}
