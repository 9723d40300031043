//! Owns what can go wrong with the results database, and what each asks for.

use std::{io, path::PathBuf};

use base::{Fault, Faulty};
use sqlx::migrate::MigrateError;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The address in the configuration is none.
    #[error("database {url:?}: {why}: write sqlite:FILE or postgres://USER@HOST/NAME")]
    Address {
        /// As written, without its password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file cannot be made or opened.
    #[error("database {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file or the server's storage is not what it was.
    #[error("{action}: database {place} is damaged: {source}: restore it from a backup")]
    Damaged {
        /// What was tried.
        action: &'static str,
        /// Which database.
        place: String,
        /// What it says.
        source: sqlx::Error,
    },
    /// A database that something else made.
    #[error("database {place} is not Celosia's: {why}: give it a database of its own")]
    Foreign {
        /// Which database.
        place: String,
        /// How that shows.
        why: String,
    },
    /// A database of a later version.
    #[error("database {place} is of a later version (migration {version}): upgrade this process")]
    Later {
        /// Which database.
        place: String,
        /// Its first migration that we do not know.
        version: i64,
    },
    /// Locked, full, unreachable or overloaded: it may be back soon.
    #[error("{action}: database {place} is not available: {source}")]
    Unavailable {
        /// What was tried.
        action: &'static str,
        /// Which database.
        place: String,
        /// What it says.
        source: sqlx::Error,
    },
    /// It refuses us.
    #[error("{action}: database {place} refuses: {source}: check name, password and rights")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// Which database.
        place: String,
        /// What it says.
        source: sqlx::Error,
    },
    /// A statement that it does not take.
    #[error("{action}: database {place}: {source}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// Which database.
        place: String,
        /// What it says.
        source: sqlx::Error,
    },
    /// A stored value is not what we wrote.
    #[error("{what} in the database is not as it was written: {why}")]
    Row {
        /// Which column.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// What is to be written does not fit together.
    #[error("{key} was not written: {why}")]
    Mismatch {
        /// The key, clip or user.
        key: String,
        /// What does not fit.
        why: &'static str,
    },
    /// The operating system gives no random bytes.
    #[error("no random bytes from the operating system")]
    Random,
    /// A password could not be hashed.
    #[error("password of {name:?} could not be hashed: {why}")]
    Hash {
        /// The user.
        name: String,
        /// Why.
        why: String,
    },
}

impl Faulty for ResultsError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unavailable { .. } | Self::Random => Fault::Transient,
            Self::Failed { .. } | Self::Hash { .. } => Fault::Permanent,
            Self::Damaged { .. } | Self::Row { .. } => Fault::Corrupt,
            Self::Address { .. }
            | Self::File { .. }
            | Self::Foreign { .. }
            | Self::Later { .. }
            | Self::Refused { .. }
            | Self::Mismatch { .. } => Fault::Misuse,
        }
    }
}

/// What the codes of the database say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Damaged,
    Unavailable,
    Refused,
    Failed,
}

/// The primary result codes of SQLite that mean something to us.
const SQLITE: &[(u32, Kind)] = &[
    (3, Kind::Refused),      // SQLITE_PERM
    (5, Kind::Unavailable),  // SQLITE_BUSY
    (6, Kind::Unavailable),  // SQLITE_LOCKED
    (8, Kind::Refused),      // SQLITE_READONLY
    (10, Kind::Unavailable), // SQLITE_IOERR
    (11, Kind::Damaged),     // SQLITE_CORRUPT
    (13, Kind::Unavailable), // SQLITE_FULL
    (14, Kind::Refused),     // SQLITE_CANTOPEN
    (26, Kind::Damaged),     // SQLITE_NOTADB
];

/// The classes of PostgreSQL's SQLSTATE that mean something to us.
const POSTGRES: &[(&str, Kind)] = &[
    ("08", Kind::Unavailable), // connection
    ("28", Kind::Refused),     // authorisation
    ("3D", Kind::Refused),     // no such database
    ("40", Kind::Unavailable), // serialisation, deadlock
    ("42501", Kind::Refused),  // no right
    ("53", Kind::Unavailable), // out of disk, memory, connections
    ("57", Kind::Unavailable), // shutting down
    ("58", Kind::Unavailable), // its system
    ("XX001", Kind::Damaged),
    ("XX002", Kind::Damaged),
];

fn kind(error: &sqlx::Error) -> Kind {
    let code = match error {
        sqlx::Error::Database(error) => error.code().unwrap_or_default().into_owned(),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => return Kind::Unavailable,
        _ => return Kind::Failed,
    };
    // SQLSTATEs have five characters; SQLite's extended codes have at most four digits.
    if code.len() == 5 {
        let found = POSTGRES.iter().find(|(class, _)| code.starts_with(class));
        return found.map_or(Kind::Failed, |(_, kind)| *kind);
    }
    let primary = code.parse().map_or(0, |code: u32| code & 0xFF);
    SQLITE.iter().find(|(code, _)| *code == primary).map_or(Kind::Failed, |(_, kind)| *kind)
}

impl ResultsError {
    /// Names what was tried and where, and sorts by what it asks for.
    pub(crate) fn told(action: &'static str, place: &str, source: sqlx::Error) -> Self {
        let place = place.to_owned();
        match (kind(&source), source) {
            (_, sqlx::Error::ColumnDecode { source, .. } | sqlx::Error::Decode(source)) => {
                Self::Row { what: action, why: source.to_string() }
            }
            (Kind::Damaged, source) => Self::Damaged { action, place, source },
            (Kind::Unavailable, source) => Self::Unavailable { action, place, source },
            (Kind::Refused, source) => Self::Refused { action, place, source },
            (Kind::Failed, source) => Self::Failed { action, place, source },
        }
    }

    pub(crate) fn migration(place: &str, error: MigrateError) -> Self {
        let action = "migrate";
        match error {
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                Self::told(action, place, source)
            }
            MigrateError::VersionMissing(version) => Self::Later { place: place.into(), version },
            other => Self::Foreign { place: place.into(), why: other.to_string() },
        }
    }
}
