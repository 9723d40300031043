//! Owns what can go wrong with a spool, and what each asks for.

use std::{io, path::PathBuf};

use base::{Fault, Faulty};

use crate::{FormatError, RecordName};

/// Why a spool cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A record of that name is there already; it is unchanged.
    #[error("record {name} is already in the spool")]
    AlreadyPresent {
        /// The record.
        name: RecordName,
    },
    /// No such record, or it is being removed.
    #[error("record {name} is not in the spool")]
    NotFound {
        /// The record.
        name: RecordName,
    },
    /// The quota does not hold another record of that size: remove some, or raise the quota.
    #[error(
        "spool is full: {needed_bytes} bytes asked for, {free_bytes} free, {records} of {records_max} records"
    )]
    Full {
        /// Bytes on disk that the record would take.
        needed_bytes: u64,
        /// Bytes left in the quota.
        free_bytes: u64,
        /// Records there.
        records: u64,
        /// Records allowed.
        records_max: u64,
    },
    /// Larger than any record, header or note may be.
    #[error("record {name}: its {part} has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// The record.
        name: RecordName,
        /// Which part of it.
        part: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The record is damaged; it has been set aside in `corrupt/` where that was possible.
    #[error("record {name} is damaged and was set aside: {reason}")]
    Corrupt {
        /// The record.
        name: RecordName,
        /// How it is damaged.
        reason: FormatError,
    },
    /// The record cannot be brought into its form; nothing was written. A defect of this program.
    #[error("record {name} cannot be written: {reason}")]
    Unwritable {
        /// The record.
        name: RecordName,
        /// Why.
        reason: FormatError,
    },
    /// The file system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has this spool open.
    #[error("spool {path} is in use by another process: stop that one first")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The spool was sealed with another device key. Nothing was touched.
    #[error(
        "spool {path} belongs to another device key: restore that key, or move the folder away"
    )]
    WrongDeviceKey {
        /// The folder.
        path: PathBuf,
    },
    /// The spool is plain and was opened as encrypted, or the other way round. Nothing was touched.
    #[error(
        "spool {path} is {found}, and was opened as {asked}: move the folder away to change it"
    )]
    OtherProtection {
        /// The folder.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What was asked for.
        asked: &'static str,
    },
    /// The file that says what the folder is cannot be understood, or is missing beside records. Nothing was touched.
    #[error("spool {path} cannot be opened: {reason}")]
    Marker {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system gives no random numbers.
    #[error("no random numbers from the system")]
    NoRandomness,
}

impl Faulty for SpoolError {
    fn fault(&self) -> Fault {
        match self {
            // A full disk or quota empties when receipts arrive; a disk may come back.
            Self::Full { .. } | Self::NoRandomness => Fault::Transient,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Fault::Permanent
                }
                _ => Fault::Transient,
            },
            Self::Corrupt { .. } => Fault::Corrupt,
            Self::NotFound { .. }
            | Self::AlreadyPresent { .. }
            | Self::Locked { .. }
            | Self::WrongDeviceKey { .. }
            | Self::Marker { .. } => Fault::Permanent,
            Self::Unwritable { .. } | Self::TooLarge { .. } | Self::OtherProtection { .. } => {
                Fault::Misuse
            }
        }
    }
}
