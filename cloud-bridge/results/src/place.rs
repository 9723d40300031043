//! Owns where the database is: the address in a configuration, read once.

use std::path::{Path, PathBuf};

use crate::ResultsError;

/// A database address.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// The URL of a server, with its password.
    Postgres(String),
}

/// The address with a relative file counted from `folder` (that of the configuration).
///
/// # Errors
/// When the text is no address of a database that we know.
pub fn resolve(url: &str, folder: &Path) -> Result<String, ResultsError> {
    Ok(match Place::parse(url)? {
        Place::Sqlite(file) => format!("sqlite:{}", folder.join(file).display()),
        Place::Postgres(url) => url,
    })
}

impl Place {
    pub(crate) fn parse(url: &str) -> Result<Self, ResultsError> {
        if ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Ok(Self::Postgres(url.to_owned()));
        }
        let refuse = |why: &str| ResultsError::Address { url: shown(url), why: why.to_owned() };
        let file = url.strip_prefix("sqlite:").ok_or_else(|| refuse("neither of the two kinds"))?;
        let file = file.strip_prefix("//").unwrap_or(file);
        match file {
            "" => Err(refuse("no file")),
            ":memory:" => Err(refuse("results must outlive the process")),
            file => Ok(Self::Sqlite(PathBuf::from(file))),
        }
    }

    /// What sqlx connects to.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => {
                // Read as a URL, so that a file name may hold whatever the file system allows.
                let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-~".contains(b);
                let encoded = file.to_string_lossy().bytes().fold(String::new(), |mut text, b| {
                    if plain(&b) {
                        text.push(char::from(b));
                    } else {
                        text.push_str(&format!("%{b:02X}"));
                    }
                    text
                });
                format!("sqlite:{encoded}")
            }
            Self::Postgres(url) => url.clone(),
        }
    }

    /// For people: without password.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Sqlite(file) => file.display().to_string(),
            Self::Postgres(url) => shown(url),
        }
    }
}

/// Scheme, host and name of an address: user, password and parameters are nobody's business in a log.
fn shown(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(before, _)| before);
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (Some(_) | None, None) | (None, Some(_)) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_file_counts_from_the_folder_and_a_server_stays() {
        let folder = Path::new("/etc/celosia");
        let cases = [
            ("sqlite:results.db", "sqlite:/etc/celosia/results.db"),
            ("sqlite://results.db", "sqlite:/etc/celosia/results.db"),
            ("sqlite:///srv/results.db", "sqlite:/srv/results.db"),
            ("postgres://celosia@db/results", "postgres://celosia@db/results"),
        ];
        for (url, expected) in cases {
            assert_eq!(resolve(url, folder).unwrap(), expected);
        }
        for url in ["", "results.db", "mysql://a/b", "sqlite:", "sqlite::memory:"] {
            assert!(resolve(url, folder).is_err(), "{url:?} was taken");
        }
    }

    #[test]
    fn a_password_is_in_no_error() {
        let place = Place::parse("postgres://celosia:s3cr3t@db:5432/results?sslmode=require");
        assert_eq!(place.unwrap().shown(), "postgres://db:5432/results");
        let error = resolve("mysql://celosia:s3cr3t@db/results?password=s3cr3t", Path::new("/"));
        assert!(!error.unwrap_err().to_string().contains("s3cr3t"));
    }
}
