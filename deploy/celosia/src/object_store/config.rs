//! Owns the configuration of the object store: what its file may say, and the checked form that everything else uses.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use axum::http::Uri;
use base::config::ConfigError;
use serde::Deserialize;

use super::{
    access::{Grant, Keys},
    notice::Rule,
};

/// Fewest characters of a secret: what `openssl rand -hex 16` gives.
const SECRET_CHARS_MIN: usize = 32;

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: SocketAddr,
    folder: PathBuf,
    buckets: Vec<String>,
    #[serde(rename = "key", default)]
    keys: Vec<KeyEntry>,
    notify: Option<NotifyEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    secret_file: PathBuf,
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NotifyEntry {
    bucket: String,
    prefix: String,
    endpoint: String,
}

/// An object store.
#[derive(Debug)]
pub struct Config {
    /// Where it listens: loopback, since it speaks HTTP without TLS.
    pub listen: SocketAddr,
    /// Where the objects are.
    pub folder: PathBuf,
    /// Its buckets, made at start.
    pub buckets: Vec<String>,
    /// Who may do what.
    pub keys: Keys,
    /// Who is told of new objects.
    pub notify: Option<Rule>,
}

impl Config {
    /// Reads and checks a file. Relative paths count from its folder.
    ///
    /// # Errors
    /// With all problems at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: File = base::config::load(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut problems = Vec::new();
        if !file.listen.ip().is_loopback() {
            problems.push(format!("listen {}: use a loopback address: no TLS here", file.listen));
        }
        if file.buckets.is_empty() {
            problems.push("buckets: name at least one".to_owned());
        }
        for bucket in &file.buckets {
            if !s3s::path::check_bucket_name(bucket) {
                problems.push(format!("buckets: {bucket:?} is no bucket's name on S3"));
            }
        }
        if file.keys.is_empty() {
            problems.push("key: have at least one `[[key]]` section".to_owned());
        }
        let known = |bucket: &str| file.buckets.iter().any(|known| known == bucket);
        let mut keys = Keys::default();
        for entry in file.keys {
            let (secret, grants, mut wrong) = read_key(&entry, folder, &known);
            problems.append(&mut wrong);
            if !keys.add(entry.id.clone(), &secret, grants) {
                problems.push(format!("key {}: stands twice", entry.id));
            }
        }
        let notify = file.notify.and_then(|entry| match rule(entry, &known) {
            Ok(rule) => Some(rule),
            Err(problem) => {
                problems.push(format!("notify: {problem}"));
                None
            }
        });
        if !problems.is_empty() {
            return Err(ConfigError::Values { path: path.to_owned(), problems });
        }
        let (listen, buckets) = (file.listen, file.buckets);
        Ok(Self { listen, folder: folder.join(file.folder), buckets, keys, notify })
    }
}

fn read_key(
    entry: &KeyEntry,
    folder: &Path,
    known: &impl Fn(&str) -> bool,
) -> (String, Vec<Grant>, Vec<String>) {
    let KeyEntry { id, secret_file, allow } = entry;
    let mut problems = Vec::new();
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        problems.push(format!("key {id:?}: use letters, digits and - in its id"));
    }
    let path = folder.join(secret_file);
    let secret = std::fs::read_to_string(&path).map(|text| text.trim().to_owned());
    let secret = secret.unwrap_or_else(|error| {
        problems.push(format!("key {id}: secret_file {}: {error}", path.display()));
        String::new()
    });
    if !secret.is_empty() && secret.len() < SECRET_CHARS_MIN {
        problems.push(format!("key {id}: its secret has under {SECRET_CHARS_MIN} characters"));
    }
    let mut grants = Vec::new();
    for text in allow {
        match text.parse::<Grant>() {
            Ok(grant) if known(&grant.bucket) => grants.push(grant),
            Ok(grant) => {
                problems.push(format!("key {id}: allow: {:?} is not in buckets", grant.bucket));
            }
            Err(problem) => problems.push(format!("key {id}: allow: {problem}")),
        }
    }
    (secret, grants, problems)
}

fn rule(entry: NotifyEntry, known: &impl Fn(&str) -> bool) -> Result<Rule, String> {
    let NotifyEntry { bucket, prefix, endpoint } = entry;
    if !known(&bucket) {
        return Err(format!("{bucket:?} is not in buckets"));
    }
    let wrong = || format!("endpoint {endpoint:?}: write http://HOST:PORT/PATH");
    let endpoint: Uri = endpoint.parse().map_err(|_| wrong())?;
    if endpoint.scheme_str() != Some("http") || endpoint.authority().is_none() {
        return Err(wrong());
    }
    Ok(Rule { bucket, prefix, endpoint })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bridge.secret"), "0123456789abcdef0123456789abcdef\n")
            .unwrap();
        std::fs::write(folder.path().join("short.secret"), "short").unwrap();
        let path = folder.path().join("store.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    const GOOD: &str = "listen = '127.0.0.1:0'\nfolder = 'objects'\nbuckets = ['frames']\n\
        [[key]]\nid = 'bridge'\nsecret_file = 'bridge.secret'\nallow = ['put:frames']\n";

    #[test]
    fn a_file_as_documented_is_taken() {
        let config = load(&format!(
            "{GOOD}[notify]\nbucket = 'frames'\nprefix = 'frames/v1/'\n\
             endpoint = 'http://127.0.0.1:9001/2015-03-31/functions/mask/invocations'\n"
        ))
        .unwrap();
        assert!(config.folder.is_absolute());
        assert_eq!(config.notify.unwrap().endpoint.port_u16(), Some(9001));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error = load(
            "listen = '0.0.0.0:1'\nfolder = 'objects'\nbuckets = ['Frames']\n\
             [[key]]\nid = 'a b'\nsecret_file = 'none.secret'\nallow = ['delete:frames']\n\
             [[key]]\nid = 'c'\nsecret_file = 'short.secret'\nallow = ['get:other']\n\
             [notify]\nbucket = 'Frames'\nprefix = ''\nendpoint = 'https://x'\n",
        )
        .unwrap_err()
        .to_string();
        for part in [
            "loopback",
            "Frames",
            "a b",
            "none.secret",
            "delete:frames",
            "32",
            "other",
            "https://x",
        ] {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
        assert!(!error.contains("short\""), "{error}");
        assert!(load(&format!("{GOOD}speed = 3\n")).unwrap_err().to_string().contains("speed"));
    }
}
