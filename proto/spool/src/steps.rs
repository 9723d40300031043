//! Owns the steps on disk that make up an append, a removal and a read, and their order. Knows nothing of what else is
//! in the spool.

use std::{io, path::Path};

use crate::{
    FormatError, Protection, Record, RecordName, Spool, SpoolError,
    codec::{self, PREFIX_BYTES_MAX},
    keys::KEY_FILE_BYTES,
};

impl Spool {
    /// Key before record: a record that is there always has its key.
    pub(crate) fn write_record(
        &self,
        name: &RecordName,
        key_file: Option<&[u8]>,
        file: &[u8],
    ) -> Result<(), SpoolError> {
        if let Some(bytes) = key_file {
            self.place(&self.layout.key(name), &self.layout.keys, bytes)?;
        }
        self.place(&self.layout.record(name), &self.layout.records, file)
    }

    /// Puts a whole file into a folder, durably, or leaves the folder as it was.
    pub(crate) fn place(&self, file: &Path, folder: &Path, bytes: &[u8]) -> Result<(), SpoolError> {
        let files = self.filesystem.as_ref();
        let temporary = self.layout.tmp.join(file.file_name().unwrap_or_default());
        let placed = tried("write", &temporary, files.write(&temporary, bytes))
            .and_then(|()| tried("sync", &temporary, files.sync_file(&temporary)))
            .and_then(|()| tried("place", file, files.rename(&temporary, file)));
        if let Err(error) = placed {
            // The bytes of a failed write must not fill the disk further; if this fails too, the next start removes it.
            if let Err(error) = self.remove_if_there(&temporary) {
                tracing::warn!(%error, "a temporary file stays until the next start");
            }
            return Err(error);
        }
        tried("sync", folder, files.sync_folder(folder))
    }

    /// The steps of a removal, each of which may have been done before.
    pub(crate) fn destroy(&self, name: &RecordName) -> Result<(), SpoolError> {
        let (files, layout) = (self.filesystem.as_ref(), &self.layout);
        let key = layout.key(name);
        if matches!(self.protection, Protection::Encrypted(_)) {
            let zeroed = files.overwrite(&key, &[0; KEY_FILE_BYTES]);
            match zeroed.and_then(|()| files.sync_file(&key)) {
                // A file system that never overwrites in place may need room for it. Removal must work on a full
                // disk: then the unlinking below has to do.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    tracing::warn!(%name, "disk is full: key removed without being overwritten");
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => tried("destroy", &key, other)?,
            }
        }
        self.remove_if_there(&layout.record(name))?;
        tried("sync", &layout.records, files.sync_folder(&layout.records))?;
        // The destroyed key stays until its record is gone for good: it tells a restart to finish the removal.
        if matches!(self.protection, Protection::Encrypted(_)) {
            self.remove_if_there(&key)?;
            tried("sync", &layout.keys, files.sync_folder(&layout.keys))?;
        }
        if self.remove_if_there(&layout.note(name))? {
            tried("sync", &layout.notes, files.sync_folder(&layout.notes))?;
        }
        Ok(())
    }

    /// The outer error is the disk, the inner one the record.
    pub(crate) fn try_read(
        &self,
        name: &RecordName,
        bytes: u64,
    ) -> Result<Result<Record, FormatError>, SpoolError> {
        let key = match &self.protection {
            Protection::Plain => None,
            Protection::Encrypted(device) => {
                let file = self.read_if_there(&self.layout.key(name), KEY_FILE_BYTES as u64 + 1)?;
                match file.and_then(|file| device.open(name, &file)) {
                    Some(key) => Some(key),
                    None => return Ok(Err(FormatError::Key)),
                }
            }
        };
        let file =
            self.read_if_there(&self.layout.record(name), bytes + PREFIX_BYTES_MAX as u64)?;
        Ok(codec::decode(&file.unwrap_or_default(), name, key.as_ref()))
    }

    pub(crate) fn read_if_there(
        &self,
        file: &Path,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, SpoolError> {
        match self.filesystem.read(file, bytes_max) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => tried("read", file, Err(error)),
        }
    }

    /// True when it was there.
    pub(crate) fn remove_if_there(&self, file: &Path) -> Result<bool, SpoolError> {
        match self.filesystem.remove(file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => tried("remove", file, Err(error)),
        }
    }
}

/// Says what was tried, and where, when it failed.
pub(crate) fn tried<T>(
    action: &'static str,
    path: &Path,
    outcome: io::Result<T>,
) -> Result<T, SpoolError> {
    outcome.map_err(|source| SpoolError::Io { action, path: path.to_owned(), source })
}
