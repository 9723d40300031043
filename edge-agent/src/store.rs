//! Owns the border to the disk: what the keeper needs of a spool, in memory for tests, and with faults.

/// Why the spool did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A record of this name is there already.
    #[error("record {0} is in the spool already")]
    AlreadyPresent(String),
    /// The quota has no room for the record.
    #[error("the spool is full")]
    Full,
    /// The record is not there.
    #[error("record {0} is not in the spool")]
    Missing(String),
    /// The record is damaged, and out of the queue.
    #[error("spool record {name} is damaged: {reason}")]
    Corrupt {
        /// The record.
        name: String,
        /// How.
        reason: String,
    },
    /// The disk.
    #[error("spool record {name}: {reason}")]
    Disk {
        /// The record.
        name: String,
        /// What the spool says.
        reason: String,
    },
}

/// A record: a header and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// JSON.
    pub header: Vec<u8>,
    /// Encoded video or a key.
    pub body: Vec<u8>,
}

/// A durable queue of records. All calls block; what returned is durable.
pub trait Store: Send {
    /// Adds a record.
    ///
    /// # Errors
    /// `AlreadyPresent`, `Full`, `Disk`; nothing is added then.
    fn append(&mut self, name: &str, header: &[u8], body: &[u8]) -> Result<(), StoreError>;
    /// All names, oldest first.
    fn names(&self) -> Vec<String>;
    /// Reads a record.
    ///
    /// # Errors
    /// `Missing`, `Disk`.
    fn read(&self, name: &str) -> Result<Stored, StoreError>;
    /// Destroys a record; one that is not there is no error.
    ///
    /// # Errors
    /// `Disk`.
    fn remove(&mut self, name: &str) -> Result<(), StoreError>;
    /// Sets the small note of a record.
    ///
    /// # Errors
    /// `Missing`, `Disk`.
    fn set_note(&mut self, name: &str, note: &[u8]) -> Result<(), StoreError>;
    /// The note of a record.
    ///
    /// # Errors
    /// `Disk`.
    fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Bytes held.
    fn bytes(&self) -> u64;
}

pub mod disk;

pub mod memory {
    //! A store in memory, which can be told to fail.

    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

    use super::{Store, StoreError, Stored};

    #[derive(Debug, Default)]
    struct Inner {
        records: Vec<(String, Stored, Option<Vec<u8>>)>,
        bytes_max: u64,
        writes_until_fault: Option<u32>,
    }

    /// Shared, so that it outlives a keeper that a test drops as a crash would.
    #[derive(Debug, Clone, Default)]
    pub struct MemoryStore(Arc<Mutex<Inner>>);

    impl MemoryStore {
        /// A store with room for this many bytes.
        #[must_use]
        pub fn new(bytes_max: u64) -> Self {
            let inner = Inner { bytes_max, ..Inner::default() };
            Self(Arc::new(Mutex::new(inner)))
        }

        /// Lets this many writes pass and fails all later ones, as a disk that goes away does; `None` mends it.
        pub fn fail_after(&self, writes: Option<u32>) {
            self.inner().writes_until_fault = writes;
        }

        fn inner(&self) -> MutexGuard<'_, Inner> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl Inner {
        fn write(&mut self, name: &str) -> Result<(), StoreError> {
            match &mut self.writes_until_fault {
                Some(0) => {
                    let (name, reason) = (name.to_owned(), "the disk is gone".to_owned());
                    Err(StoreError::Disk { name, reason })
                }
                Some(left) => {
                    *left -= 1;
                    Ok(())
                }
                None => Ok(()),
            }
        }

        fn bytes(&self) -> u64 {
            self.records.iter().map(|(_, s, _)| s.body.len() as u64).sum()
        }
    }

    impl Store for MemoryStore {
        fn append(&mut self, name: &str, header: &[u8], body: &[u8]) -> Result<(), StoreError> {
            let mut inner = self.inner();
            if inner.records.iter().any(|(n, ..)| n == name) {
                return Err(StoreError::AlreadyPresent(name.to_owned()));
            }
            if inner.bytes() + body.len() as u64 > inner.bytes_max {
                return Err(StoreError::Full);
            }
            inner.write(name)?;
            let stored = Stored { header: header.to_vec(), body: body.to_vec() };
            inner.records.push((name.to_owned(), stored, None));
            Ok(())
        }

        fn names(&self) -> Vec<String> {
            self.inner().records.iter().map(|(n, ..)| n.clone()).collect()
        }

        fn read(&self, name: &str) -> Result<Stored, StoreError> {
            let inner = self.inner();
            let found = inner.records.iter().find(|(n, ..)| n == name);
            found.map(|(_, s, _)| s.clone()).ok_or_else(|| StoreError::Missing(name.to_owned()))
        }

        fn remove(&mut self, name: &str) -> Result<(), StoreError> {
            let mut inner = self.inner();
            inner.write(name)?;
            inner.records.retain(|(n, ..)| n != name);
            Ok(())
        }

        fn set_note(&mut self, name: &str, note: &[u8]) -> Result<(), StoreError> {
            let mut inner = self.inner();
            inner.write(name)?;
            let found = inner.records.iter_mut().find(|(n, ..)| n == name);
            let record = found.ok_or_else(|| StoreError::Missing(name.to_owned()))?;
            record.2 = Some(note.to_vec());
            Ok(())
        }

        fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
            let inner = self.inner();
            Ok(inner.records.iter().find(|(n, ..)| n == name).and_then(|(.., note)| note.clone()))
        }

        fn bytes(&self) -> u64 {
            self.inner().bytes()
        }
    }
}
