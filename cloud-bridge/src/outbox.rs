//! Owns the outbox: committed clips that wait for the object store and the database, each ONE spool record.
//!
//! A record's header is JSON: version, `ClipRecord`, receipt, who committed, and the length of each envelope; its body
//! is the envelopes, one after the other. What does not verify when it is read again is moved to a second spool, for a
//! person to look at. All calls block.

use std::{path::Path, sync::Arc};

use base::{Fault, Faulty};
use proto::{
    ClipId, Identity, SiteId,
    envelope::SealedFrame,
    limits::SLOTS_MAX,
    record::{ClipRecord, Receipt},
    signing::PublicKey,
};
use serde::{Deserialize, Serialize};
use spool::{
    Limits, NameError, Protection, Record, RecordName, Recovery, Spool, SpoolError, Usage,
    filesystem::{Disk, Filesystem},
};

use crate::clip::{Refusal, SealedClip};

/// Version of the header.
const VERSION: u16 = 1;
/// Clips in the outbox: 20 GB of clips with a frame or two each.
const RECORDS_MAX: u64 = 500_000;
/// Folder, in that of the outbox, of what does not verify.
const ASIDE: &str = "aside";
/// Bytes set aside: an alarm has long gone off before.
const ASIDE_BYTES_MAX: u64 = 1_000_000_000;

/// Why the outbox does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The clip's id makes no record name, which no id that was parsed does.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A record of a later version.
    #[error("outbox record {name} is of version {version}, not {VERSION}: upgrade the bridge")]
    Version {
        /// The record.
        name: RecordName,
        /// Its version.
        version: u16,
    },
    /// A record that we did not write so.
    #[error("outbox record {name}: {why}")]
    Form {
        /// The record.
        name: RecordName,
        /// What is wrong.
        why: String,
    },
    /// A whole record whose clip does not verify.
    #[error("outbox record {name}: {source}")]
    Clip {
        /// The record.
        name: RecordName,
        /// Why.
        source: Refusal,
    },
}

impl Faulty for OutboxError {
    fn fault(&self) -> Fault {
        match self {
            Self::Spool(error) => error.fault(),
            Self::Name(_) | Self::Version { .. } => Fault::Misuse,
            Self::Form { .. } | Self::Clip { .. } => Fault::Corrupt,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u16,
    record: ClipRecord,
    receipt: Receipt,
    committed_by: Identity,
    lengths: Vec<u32>,
}

/// A committed clip as it waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The clip, verified again.
    pub clip: SealedClip,
    /// The answer that its fog node got.
    pub receipt: Receipt,
}

/// The outbox.
#[derive(Debug)]
pub struct Outbox {
    waiting: Spool,
    aside: Spool,
}

/// The record of a clip. Its site is the bridge's own.
fn name_of(clip: &ClipId) -> Result<RecordName, NameError> {
    RecordName::new(&format!("{}_{}_{}", clip.camera, clip.session, clip.seq))
}

impl Outbox {
    /// Opens the outbox in a folder, making it if need be, and brings it in order after a crash.
    ///
    /// # Errors
    /// When another process has it, or the disk fails.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<(Self, Recovery), OutboxError> {
        Self::open_on(Arc::new(Disk), folder, bytes_max)
    }

    /// As [`Self::open`], on a chosen file system.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(
        files: Arc<dyn Filesystem>,
        folder: &Path,
        bytes_max: u64,
    ) -> Result<(Self, Recovery), OutboxError> {
        let limits = |bytes_max| Limits { bytes_max, records_max: RECORDS_MAX };
        let open = |folder: &Path, bytes_max| {
            Spool::open_on(files.clone(), folder, limits(bytes_max), Protection::Plain)
        };
        let (waiting, recovery) = open(folder, bytes_max)?;
        let (aside, _) = open(&folder.join(ASIDE), ASIDE_BYTES_MAX)?;
        Ok((Self { waiting, aside }, recovery))
    }

    /// Commits a clip: durable when this returns.
    ///
    /// # Errors
    /// When it is there already, there is no room, or the disk fails; then it is not committed.
    pub fn append(
        &self,
        clip: &SealedClip,
        receipt: &Receipt,
        committed_by: &Identity,
    ) -> Result<(), OutboxError> {
        let name = name_of(&clip.record().clip)?;
        let form = |why: String| OutboxError::Form { name: name.clone(), why };
        let lengths = clip.frames().iter().map(|frame| u32::try_from(frame.bytes().len()));
        let header = Header {
            version: VERSION,
            record: clip.record().clone(),
            receipt: receipt.clone(),
            committed_by: committed_by.clone(),
            lengths: lengths.collect::<Result<_, _>>().map_err(|e| form(e.to_string()))?,
        };
        let header = serde_json::to_vec(&header).map_err(|e| form(e.to_string()))?;
        let body = clip.frames().iter().map(SealedFrame::bytes).collect::<Vec<_>>().concat();
        Ok(self.waiting.append(&name, &header, &body)?)
    }

    /// Whether a clip waits here.
    #[must_use]
    pub fn contains(&self, clip: &ClipId) -> bool {
        name_of(clip).is_ok_and(|name| self.waiting.contains(&name))
    }

    /// The receipt of a clip that waits here; nothing when it does not.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub fn receipt(&self, clip: &ClipId) -> Result<Option<Receipt>, OutboxError> {
        let name = name_of(clip)?;
        match self.waiting.read(&name) {
            Ok(record) => Ok(Some(header(&name, &record)?.receipt)),
            Err(SpoolError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The records, oldest first.
    #[must_use]
    pub fn names(&self) -> Vec<RecordName> {
        self.waiting.names()
    }

    /// Reads a clip and verifies it again.
    ///
    /// # Errors
    /// When it is not there, is damaged (then the spool has set it aside), or does not verify (then it stays).
    pub fn read(
        &self,
        name: &RecordName,
        root: &PublicKey,
        site: &SiteId,
    ) -> Result<Waiting, OutboxError> {
        let record = self.waiting.read(name)?;
        let Header { record: clip, receipt, lengths, .. } = header(name, &record)?;
        let frames = split(name, &record.body, &lengths)?;
        let failed = |source| OutboxError::Clip { name: name.clone(), source };
        let open = |bytes: &[u8]| {
            SealedFrame::open(bytes.to_vec(), root).map_err(|e| failed(Refusal::Sealed(e)))
        };
        let frames = frames.into_iter().map(open).collect::<Result<_, _>>()?;
        let clip = SealedClip::assemble(clip, frames, site).map_err(failed)?;
        Ok(Waiting { clip, receipt })
    }

    /// Removes a clip that is safe elsewhere.
    ///
    /// # Errors
    /// When it is not there; or the disk fails, and then it may be back after a restart.
    pub fn remove(&self, name: &RecordName) -> Result<(), OutboxError> {
        Ok(self.waiting.remove(name)?)
    }

    /// Moves a record that does not verify out of the way, whole and durably.
    ///
    /// # Errors
    /// When there is no room for it or the disk fails; then it stays.
    pub fn set_aside(&self, name: &RecordName) -> Result<(), OutboxError> {
        let Record { header, body, .. } = self.waiting.read(name)?;
        match self.aside.append(name, &header, &body) {
            // A crash between the two steps: it lies there whole.
            Ok(()) | Err(SpoolError::AlreadyPresent { .. }) => self.remove(name),
            Err(error) => Err(error.into()),
        }
    }

    /// What the outbox holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.waiting.usage()
    }

    /// Records that a person has to look at.
    #[must_use]
    pub fn set_aside_records(&self) -> u64 {
        let aside = self.aside.usage();
        self.waiting.usage().set_aside + aside.records + aside.set_aside
    }
}

fn header(name: &RecordName, record: &Record) -> Result<Header, OutboxError> {
    let form = |why: String| OutboxError::Form { name: name.clone(), why };
    #[derive(Deserialize)]
    struct Version {
        version: u16,
    }
    let Version { version } =
        serde_json::from_slice(&record.header).map_err(|e| form(e.to_string()))?;
    if version != VERSION {
        return Err(OutboxError::Version { name: name.clone(), version });
    }
    serde_json::from_slice(&record.header).map_err(|e| form(e.to_string()))
}

/// The envelopes of a body.
fn split<'a>(
    name: &RecordName,
    mut body: &'a [u8],
    lengths: &[u32],
) -> Result<Vec<&'a [u8]>, OutboxError> {
    let form = |why: &str| OutboxError::Form { name: name.clone(), why: why.to_owned() };
    if lengths.len() > SLOTS_MAX {
        return Err(form("it has more frames than a clip has slots"));
    }
    let mut parts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let length = usize::try_from(*length).unwrap_or(usize::MAX);
        let (part, rest) = body.split_at_checked(length).ok_or_else(|| form("it ends early"))?;
        parts.push(part);
        body = rest;
    }
    if body.is_empty() { Ok(parts) } else { Err(form("there are bytes behind its frames")) }
}
