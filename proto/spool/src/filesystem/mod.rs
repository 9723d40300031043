//! Owns what a spool needs of a file system, small enough that a crash and a full disk can be played in a test.

mod disk;
mod faulty;
mod memory;

use std::{fmt, io, path::Path};

pub use disk::Disk;
pub use faulty::{Faulty, Plan};
pub use memory::Memory;

/// Files in folders. Nothing is durable before it is synced: content by [`Filesystem::sync_file`], names by
/// [`Filesystem::sync_folder`].
pub trait Filesystem: fmt::Debug + Send + Sync {
    /// Takes the folder for this process, making it if need be; held until the lock is dropped.
    ///
    /// # Errors
    /// `WouldBlock` when another process has it.
    fn lock(&self, folder: &Path) -> io::Result<Lock>;
    /// Makes a folder and those above it, and their names durable, where they are not there.
    ///
    /// # Errors
    /// What the system says.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// The files in a folder.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;
    /// Makes or replaces a file with this content, readable by its owner only. After an error it may hold a part.
    ///
    /// # Errors
    /// What the system says.
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Overwrites the beginning of a file where it lies, so that no new block takes its place on a plain file system.
    ///
    /// # Errors
    /// What the system says; `NotFound` without the file.
    fn overwrite(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes the content of a file durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_file(&self, file: &Path) -> io::Result<()>;
    /// Makes names that were made, changed and removed in a folder durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Reads the first bytes of a file, `bytes_max` at most.
    ///
    /// # Errors
    /// What the system says; `NotFound` without the file.
    fn read(&self, file: &Path, bytes_max: u64) -> io::Result<Vec<u8>>;
    /// Moves a file, replacing what is there.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// What the system says; `NotFound` without the file.
    fn remove(&self, file: &Path) -> io::Result<()>;
}

/// A file in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name; names that are not UTF-8 are shown with replacement characters.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// A folder that is taken.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] Option<base::files::FolderLock>);
