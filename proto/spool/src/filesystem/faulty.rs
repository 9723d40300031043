//! Owns a file system that fails when it is told to.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Entry, Filesystem, Lock};

/// When a [`Faulty`] file system fails. Operations that change something are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Never.
    Sound,
    /// The n-th operation from now fails, later ones work; a write leaves half of its bytes.
    Once(u64),
    /// From the n-th operation on the process is as good as dead: everything fails, and the first write is torn.
    DeadFrom(u64),
    /// From the n-th operation on the disk is full: writes leave half of their bytes, the rest works.
    FullFrom(u64),
}

/// Another file system with a plan for failing, shared by clones.
#[derive(Debug, Clone)]
pub struct Faulty(Arc<dyn Filesystem>, Arc<Mutex<(Plan, u64)>>);

/// `ENOSPC` of Linux: `io::Error` makes it a `StorageFull`.
const ENOSPC: i32 = 28;

impl Faulty {
    /// Fails by plan, and otherwise is the other one.
    pub fn new(inner: Arc<dyn Filesystem>, plan: Plan) -> Self {
        Self(inner, Arc::new(Mutex::new((plan, 0))))
    }

    /// Changes the plan and counts from 0 again.
    pub fn set_plan(&self, plan: Plan) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = (plan, 0);
    }

    /// Operations since the plan was set.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn step(&self, writes: bool) -> io::Result<()> {
        let mut state = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let (plan, at) = *state;
        state.1 += 1;
        match plan {
            Plan::Once(n) if n == at => Err(io::Error::other("the disk failed, as planned")),
            Plan::DeadFrom(n) if n <= at => Err(io::Error::other("the process died, as planned")),
            Plan::FullFrom(n) if n <= at && writes => Err(io::Error::from_raw_os_error(ENOSPC)),
            Plan::Sound | Plan::Once(_) | Plan::DeadFrom(_) | Plan::FullFrom(_) => Ok(()),
        }
    }

    fn torn(&self, bytes: &[u8], write: impl Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let already_dead = {
            let (plan, at) = *self.1.lock().unwrap_or_else(PoisonError::into_inner);
            matches!(plan, Plan::DeadFrom(n) if n < at)
        };
        match self.step(true) {
            Ok(()) => write(bytes),
            Err(error) if already_dead => Err(error),
            Err(error) => {
                write(bytes.get(..bytes.len() / 2).unwrap_or_default())?;
                Err(error)
            }
        }
    }
}

impl Filesystem for Faulty {
    fn lock(&self, folder: &Path) -> io::Result<Lock> {
        self.0.lock(folder)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(true)?;
        self.0.create_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(folder)
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.torn(bytes, |part| self.0.write(file, part))
    }

    fn overwrite(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.torn(bytes, |part| self.0.overwrite(file, part))
    }

    fn sync_file(&self, file: &Path) -> io::Result<()> {
        self.step(false)?;
        self.0.sync_file(file)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(false)?;
        self.0.sync_folder(folder)
    }

    fn read(&self, file: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.0.read(file, bytes_max)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(false)?;
        self.0.rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.step(false)?;
        self.0.remove(file)
    }
}
