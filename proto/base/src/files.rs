//! Owns durable small files and the lock on a folder.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Writes a file so that after a crash it has either its old or its new content: temporary file,
/// fsync, rename, fsync of the folder. New files are readable by their owner only. One writer a
/// file at a time. Blocks.
///
/// # Errors
/// What the file system says. The target is then unchanged, unless the fsync of the folder failed:
/// then a crash may bring the old content back.
pub fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".tmp");
    let folder = folder_of(path);
    let temporary = folder.join(name);
    let placed = write_synced(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = placed {
        // A full disk must not be filled further; the first error is the one to tell.
        drop(std::fs::remove_file(&temporary));
        return Err(error);
    }
    sync_folder(folder)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The folder that a file lies in: for a bare name the current one, whose path cannot be empty.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// Makes renames and removals in a folder durable.
///
/// # Errors
/// What the file system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// An exclusive lock on a folder, held until dropped or the process ends.
#[derive(Debug)]
pub struct FolderLock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Takes the lock of a folder (made if need be) without waiting.
///
/// # Errors
/// `WouldBlock` when another process holds it.
pub fn lock_folder(folder: &Path) -> io::Result<FolderLock> {
    std::fs::create_dir_all(folder)?;
    let file =
        File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(FolderLock(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durable_file_is_replaced_whole_and_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        write_durable(&path, b"old and long").unwrap();
        write_durable(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file stayed");
    }

    #[test]
    fn a_folder_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let lock = lock_folder(folder.path()).unwrap();
        assert!(lock_folder(folder.path()).is_err());
        drop(lock);
        assert!(lock_folder(folder.path()).is_ok());
    }

    #[test]
    fn a_bare_name_lies_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("note")), Path::new("."));
        assert_eq!(folder_of(Path::new("/note")), Path::new("/"));
        assert_eq!(folder_of(Path::new("a/note")), Path::new("a"));
    }

    #[test]
    fn a_write_that_fails_leaves_the_target_and_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("taken");
        std::fs::create_dir(&target).unwrap();
        assert!(write_durable(&target, b"x").is_err(), "a folder was replaced by a file");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
