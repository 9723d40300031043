//! Owns a file system in memory that forgets, at a crash, what was not synced.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Entry, Filesystem, Lock};

/// Files in memory, shared by clones. [`Memory::crash`] keeps what was synced and a chosen part of the rest.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    contents: BTreeMap<u64, Content>,
    /// Names as a running process sees them, and as the disk has them.
    seen: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    next: u64,
}

#[derive(Debug, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

impl Memory {
    /// Power off and on. For each name and content that was not synced, `chance` says whether the disk has it anyway,
    /// half of it (content only), or not at all: it is called with the number of outcomes and answers with one of them.
    pub fn crash(&self, mut chance: impl FnMut(usize) -> usize) {
        let mut state = self.state();
        let State { contents, seen, durable, .. } = &mut *state;
        for content in contents.values_mut().filter(|c| c.seen != c.durable) {
            match chance(3) {
                0 => content.seen = content.durable.clone(),
                1 => content.seen.truncate(content.seen.len() / 2),
                _ => {}
            }
            content.durable = content.seen.clone();
        }
        let names: BTreeSet<PathBuf> = seen.keys().chain(durable.keys()).cloned().collect();
        for name in names {
            let (now, before) = (seen.get(&name).copied(), durable.get(&name).copied());
            let kept = if now == before || chance(2) == 1 { now } else { before };
            match kept {
                Some(id) => drop(durable.insert(name, id)),
                None => drop(durable.remove(&name)),
            }
        }
        *seen = durable.clone();
    }

    /// Everything there, by path: for looking for what must not be on a disk.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let content = |id| state.contents.get(id).map(|c| c.seen.clone()).unwrap_or_default();
        state.seen.iter().map(|(path, id)| (path.clone(), content(id))).collect()
    }

    /// Damages or makes a file behind the spool's back, durably.
    pub fn put(&self, file: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.contents.insert(id, Content { seen: bytes.to_vec(), durable: bytes.to_vec() });
        state.seen.insert(file.to_owned(), id);
        state.durable.insert(file.to_owned(), id);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn content(&mut self, file: &Path) -> io::Result<&mut Content> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let id = self.seen.get(file).ok_or_else(missing)?;
        self.contents.get_mut(id).ok_or_else(missing)
    }
}

impl Filesystem for Memory {
    fn lock(&self, _folder: &Path) -> io::Result<Lock> {
        Ok(Lock(None))
    }

    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        let inside = state.seen.iter().filter(|(path, _)| path.parent() == Some(folder));
        let entry = |(path, id): (&PathBuf, &u64)| Entry {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: state.contents.get(id).map_or(0, |c| c.seen.len() as u64),
        };
        Ok(inside.map(entry).collect())
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if let Ok(content) = state.content(file) {
            content.seen = bytes.to_vec();
            return Ok(());
        }
        let id = state.next;
        state.next += 1;
        state.contents.insert(id, Content { seen: bytes.to_vec(), durable: Vec::new() });
        state.seen.insert(file.to_owned(), id);
        Ok(())
    }

    fn overwrite(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let content = state.content(file)?;
        let tail = content.seen.get(bytes.len()..).unwrap_or_default().to_vec();
        content.seen = [bytes, &tail].concat();
        Ok(())
    }

    fn sync_file(&self, file: &Path) -> io::Result<()> {
        let mut state = self.state();
        let content = state.content(file)?;
        content.durable = content.seen.clone();
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        let State { seen, durable, .. } = &mut *state;
        durable.retain(|path, _| path.parent() != Some(folder));
        let inside = seen.iter().filter(|(path, _)| path.parent() == Some(folder));
        durable.extend(inside.map(|(path, id)| (path.clone(), *id)));
        Ok(())
    }

    fn read(&self, file: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        let content = &state.content(file)?.seen;
        let length = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(content.len());
        Ok(content.get(..length).unwrap_or_default().to_vec())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let id = state.seen.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.seen.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let removed = self.state().seen.remove(file);
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
