//! Owns the real file system.

use std::{
    fs::{DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use super::{Entry, Filesystem, Lock};

/// The machine's file system.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

impl Filesystem for Disk {
    fn lock(&self, folder: &Path) -> io::Result<Lock> {
        base::files::lock_folder(folder).map(|lock| Lock(Some(lock)))
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let parent = folder.parent().filter(|parent| *parent != Path::new(""));
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => self.sync_folder(parent.unwrap_or(Path::new("."))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_folder(parent.ok_or(error)?)?;
                self.create_folder(folder)
            }
            Err(error) => Err(error),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                entries.push(Entry { name, bytes: metadata.len() });
            }
        }
        Ok(entries)
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(file)?.write_all(bytes)
    }

    fn overwrite(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        File::options().write(true).open(file)?.write_all(bytes)
    }

    fn sync_file(&self, file: &Path) -> io::Result<()> {
        // Any descriptor will do: fsync is about the file, not about who wrote it.
        Ok(rustix::fs::fsync(File::open(file)?)?)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(File::open(folder)?)?)
    }

    fn read(&self, file: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(file)?.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        std::fs::remove_file(file)
    }
}
