//! Owns objects in a folder: each is whole or not there, created once where that is asked for, durable before the
//! answer, listed in the order of keys.
//!
//! | place | what |
//! |---|---|
//! | `lock` | held by the one server of this folder |
//! | `incoming/` | objects that are being written; emptied at start |
//! | `buckets/BUCKET/KEY` | objects; what stands before a `/` of the key is a folder |
//!
//! An object is written to `incoming/`, fsynced, and then linked or renamed to its place, whose folders are fsynced up
//! to the bucket's. A link fails where something is: the file system makes creating an object once atomic, also for
//! two writers at the same moment. Whoever loses syncs too before it says so, since a writer may forget what it sent on
//! the strength of that answer.
//!
//! Limits: objects of [`OBJECT_BYTES_MAX`], keys of [`KEY_BYTES_MAX`], parts of a key between two `/` of
//! [`PART_BYTES_MAX`]. A key cannot end in `/`, and cannot be a folder of another key.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use base::files::{FolderLock, lock_folder, sync_folder};

/// Largest object: twice the largest envelope. An object is held in memory while it is written or read.
pub const OBJECT_BYTES_MAX: usize = 2 * proto::limits::ENVELOPE_BYTES_MAX;
/// Longest key, as on S3.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest name of a file or folder on the file systems that are in use.
const PART_BYTES_MAX: usize = 255;
/// Most folders remembered as durable; past that they are forgotten and synced once more.
const SETTLED_MAX: usize = 4096;

/// Why an object was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// No such bucket.
    #[error("there is no bucket {0:?}: add it to `buckets` in the configuration")]
    NoBucket(String),
    /// No such object.
    #[error("there is no object {0:?}")]
    NoKey(String),
    /// A key that cannot be a file's path.
    #[error("key {0:?} cannot be kept in a folder: {1}")]
    Key(String, &'static str),
    /// The disk.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Placed {
    /// It is there now, and durable.
    Written,
    /// Another object was there, which is durable; nothing was changed.
    WasThere,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// All of it.
    pub bytes: Vec<u8>,
    /// When it was written.
    pub modified: SystemTime,
}

/// What a listing asks for.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// Keys begin with this.
    pub prefix: &'a str,
    /// Keys come after this one.
    pub after: Option<&'a str>,
    /// How many are wanted.
    pub max: usize,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// When it was written.
    pub modified: SystemTime,
}

/// The folder. All methods block.
#[derive(Debug)]
pub struct Folder {
    incoming: PathBuf,
    buckets: PathBuf,
    next: AtomicU64,
    /// Folders whose entries up to the bucket were synced since the start.
    settled: Mutex<BTreeSet<PathBuf>>,
    _lock: FolderLock,
}

impl Folder {
    /// Opens a folder, makes its buckets, and removes what an interrupted server was writing.
    ///
    /// # Errors
    /// When another server has it, or the disk does not let us.
    pub fn open(root: &Path, buckets: &[String]) -> Result<Self, FolderError> {
        let lock = lock_folder(root).map_err(disk(root))?;
        let incoming = root.join("incoming");
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(disk(&incoming)(error))?,
            Ok(()) | Err(_) => {}
        }
        let all = root.join("buckets");
        make_folders(&incoming).map_err(disk(&incoming))?;
        for bucket in buckets {
            let path = all.join(bucket);
            make_folders(&path).map_err(disk(&path))?;
        }
        for path in [&all, root] {
            sync_folder(path).map_err(disk(path))?;
        }
        let (next, settled) = (AtomicU64::new(0), Mutex::default());
        Ok(Self { incoming, buckets: all, next, settled, _lock: lock })
    }

    /// Whether there is such a bucket.
    pub fn has_bucket(&self, bucket: &str) -> bool {
        self.bucket(bucket).is_ok()
    }

    /// Writes an object; with `once`, only where there is none. Durable when this returns, whatever it returns.
    ///
    /// # Errors
    /// When bucket or key are none, or the disk fails. Nothing of the object is there then, unless only the last sync
    /// failed.
    pub fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: &[u8],
        once: bool,
    ) -> Result<Placed, FolderError> {
        let bucket = self.bucket(bucket)?;
        let target = bucket.join(check_key(key)?);
        let folder = target.parent().unwrap_or(&bucket).to_owned();
        let part = self.incoming.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let place = || -> io::Result<Placed> {
            self.settle(&bucket, &folder)?;
            if !once {
                return fs::rename(&part, &target).map(|()| Placed::Written);
            }
            match fs::hard_link(&part, &target) {
                Ok(()) => Ok(Placed::Written),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    // A folder of that name is no object that a writer may believe to be there.
                    if target.is_dir() {
                        Err(ErrorKind::IsADirectory.into())
                    } else {
                        Ok(Placed::WasThere)
                    }
                }
                Err(error) => Err(error),
            }
        };
        let placed = write_synced(&part, bytes).and_then(|()| match place() {
            // Somebody tidied the folder away while it was remembered as there.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.settled.lock().unwrap_or_else(PoisonError::into_inner).clear();
                place()
            }
            done => done,
        });
        // A link leaves the part behind, a rename does not; a part that stays after a crash goes at the next start.
        drop(fs::remove_file(&part));
        let placed = placed.map_err(|error| no_object(key, &target, error))?;
        sync_folder(&folder).map_err(disk(&folder))?;
        Ok(placed)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// When there is none, or the disk fails.
    pub fn read(&self, bucket: &str, key: &str) -> Result<Object, FolderError> {
        let path = self.bucket(bucket)?.join(check_key(key)?);
        let found = fs::metadata(&path).and_then(|metadata| {
            if metadata.is_file() {
                return Ok((metadata.modified()?, fs::read(&path)?));
            }
            Err(ErrorKind::NotFound.into())
        });
        match found {
            Ok((modified, bytes)) => Ok(Object { bytes, modified }),
            Err(error) => Err(no_object(key, &path, error)),
        }
    }

    /// At most `max` objects in the order of their keys, and whether there are more.
    ///
    /// # Errors
    /// When there is no such bucket, or the disk fails.
    pub fn list(
        &self,
        bucket: &str,
        listing: Listing<'_>,
    ) -> Result<(Vec<Entry>, bool), FolderError> {
        let bucket = self.bucket(bucket)?;
        // Only the deepest folder of the prefix is looked into: an hour is listed without walking a year.
        let (place, _) = listing.prefix.rsplit_once('/').unwrap_or_default();
        let mut found = Vec::new();
        if place.is_empty() || check_key(place).is_ok() {
            let start = if place.is_empty() { String::new() } else { format!("{place}/") };
            walk(&bucket.join(place), &start, listing, &mut found)?;
        }
        let more = found.len() > listing.max;
        found.truncate(listing.max);
        Ok((found, more))
    }

    fn bucket(&self, name: &str) -> Result<PathBuf, FolderError> {
        let path = self.buckets.join(name);
        let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        if plain && path.is_dir() { Ok(path) } else { Err(FolderError::NoBucket(name.to_owned())) }
    }

    /// Makes the folders between a bucket and an object, and their entries durable. The folder itself is synced after
    /// the object's entry is in it.
    fn settle(&self, bucket: &Path, folder: &Path) -> io::Result<()> {
        let settled = || self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if settled().contains(folder) {
            return Ok(());
        }
        make_folders(folder)?;
        let mut synced = vec![folder.to_owned()];
        // Also those that were there: another writer may have made them and not have synced them yet.
        for above in folder.ancestors().skip(1).take_while(|path| path.starts_with(bucket)) {
            sync_folder(above)?;
            if settled().contains(above) {
                break;
            }
            synced.push(above.to_owned());
        }
        let mut settled = settled();
        if settled.len() >= SETTLED_MAX {
            settled.clear();
        }
        settled.extend(synced);
        Ok(())
    }
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Disk { path, source }
}

/// What a disk says of a path where another object's name is in the way, or nothing is.
fn no_object(key: &str, path: &Path, error: io::Error) -> FolderError {
    match error.kind() {
        ErrorKind::NotFound => FolderError::NoKey(key.to_owned()),
        // The latter is what making a folder finds in its way.
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            FolderError::Key(key.to_owned(), "a part of it is an object")
        }
        ErrorKind::IsADirectory => FolderError::Key(key.to_owned(), "it is a part of other keys"),
        _ => disk(path)(error),
    }
}

fn make_folders(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A key that is the path of a file below its bucket, and of nothing else.
fn check_key(key: &str) -> Result<&str, FolderError> {
    let refuse = |why| Err(FolderError::Key(key.to_owned(), why));
    if key.len() > KEY_BYTES_MAX {
        return refuse("it is too long");
    }
    if key.contains('\0') {
        return refuse("it contains a zero byte");
    }
    for part in key.split('/') {
        if matches!(part, "" | "." | "..") {
            return refuse("a part between two `/` is empty, `.` or `..`");
        }
        if part.len() > PART_BYTES_MAX {
            return refuse("a part between two `/` is too long");
        }
    }
    Ok(key)
}

/// Adds objects under `folder`, whose keys begin with `start`, in the order of their keys, until one more than wanted
/// is found.
fn walk(
    folder: &Path,
    start: &str,
    listing: Listing<'_>,
    found: &mut Vec<Entry>,
) -> Result<(), FolderError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(error) => return Err(disk(folder)(error)),
    };
    let mut keys = Vec::new();
    for entry in entries {
        let entry = entry.map_err(disk(folder))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_folder = entry.file_type().map_err(disk(folder))?.is_dir();
        // A folder's keys go on with `/`, which is what they are ordered by.
        keys.push((format!("{start}{name}{}", if is_folder { "/" } else { "" }), is_folder, entry));
    }
    keys.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let Listing { prefix, after, max } = listing;
    for (key, is_folder, entry) in keys {
        if found.len() > max {
            break;
        }
        let before = after.is_some_and(|after| key.as_str() <= after);
        if is_folder {
            let passed = before && after.is_some_and(|after| !after.starts_with(&key));
            if !passed && (key.starts_with(prefix) || prefix.starts_with(&key)) {
                walk(&entry.path(), &key, listing, found)?;
            }
        } else if !before && key.starts_with(prefix) {
            let metadata = entry.metadata().map_err(disk(&entry.path()))?;
            let modified = metadata.modified().map_err(disk(&entry.path()))?;
            found.push(Entry { key, bytes: metadata.len(), modified });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
