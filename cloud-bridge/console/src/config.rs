//! Owns the configuration of the console: what its file may say, and the checked form that everything else uses.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use base::config::ConfigError;
use link::mqtt::BrokerAddress;
use proto::{DeviceName, Identity, Role, SiteId};
use serde::Deserialize;

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    site: SiteId,
    name: DeviceName,
    credentials: PathBuf,
    #[serde(default = "listen_default")]
    listen: SocketAddr,
    public_url: Option<String>,
    database: String,
    broker: Option<BrokerAddress>,
    seal_root: PathBuf,
    store: store::Settings,
}

/// Loopback: passwords travel in the clear up to whatever adds TLS.
fn listen_default() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8600))
}

/// A console.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this process is.
    pub identity: Identity,
    /// Folder with `chain.pem`, `key.pem`, `roots.pem`; only read where there is a broker.
    pub credentials: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Address that operators see, where a proxy stands in front.
    pub public_url: Option<String>,
    /// The results database, with a file counted from the folder of the configuration.
    pub database: String,
    /// MQTT, where there is a broker.
    pub broker: Option<BrokerAddress>,
    /// File with the site's public seal root.
    pub seal_root: PathBuf,
    /// The object store.
    pub store: store::Settings,
}

impl Config {
    /// Reads and checks a file. Relative paths count from its folder.
    ///
    /// # Errors
    /// With all problems at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: File = base::config::load(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut problems = file.store.problems();
        let database = results::resolve(&file.database, folder);
        if let Err(error) = &database {
            problems.push(error.to_string());
        }
        match &file.public_url {
            Some(url) if !is_origin(url) => {
                problems.push(format!("public_url {url:?}: write https://HOST or https://HOST:PORT"));
            }
            None if !file.listen.ip().is_loopback() => problems.push(format!(
                "listen {}: is not loopback: put a proxy with TLS in front and name it in public_url",
                file.listen
            )),
            Some(_) | None => {}
        }
        let Some(database) = database.ok().filter(|_| problems.is_empty()) else {
            return Err(ConfigError::Values { path: path.to_owned(), problems });
        };
        Ok(Self {
            identity: Identity { site: file.site, role: Role::Console, name: file.name },
            credentials: folder.join(file.credentials),
            listen: file.listen,
            public_url: file.public_url,
            database,
            broker: file.broker,
            seal_root: folder.join(file.seal_root),
            store: file.store,
        })
    }
}

/// Scheme and host alone, as a browser's `Origin` header says it.
fn is_origin(url: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|host| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "site = 'town'\nname = 'console'\ncredentials = 'pki'\n\
        database = 'sqlite:results.db'\nseal_root = 'seal.pub'\n[store]\nregion = 'us-east-1'\n\
        frames_bucket = 'frames'\nresults_bucket = 'results'\n";

    fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.toml");
        std::fs::write(&path, text).unwrap();
        let folder = folder.path().display().to_string();
        let loaded = Config::load(&path).map_err(|e| e.to_string());
        loaded.inspect(|c| assert_eq!(c.database, format!("sqlite:{folder}/results.db")))
    }

    #[test]
    fn a_file_reads_with_loopback_as_default() {
        let config = load(GOOD).unwrap();
        assert!(config.listen.ip().is_loopback());
        assert_eq!(config.identity.to_string(), "celosia://town/console/console");
        assert!(load(&format!("unknown = 1\n{GOOD}")).unwrap_err().contains("unknown"));
    }

    #[test]
    fn an_open_address_needs_a_proxy_with_tls_and_all_problems_are_told_at_once() {
        let open = GOOD.replace("[store]", "listen = '0.0.0.0:80'\n[store]");
        let wrong = open.replace("sqlite:results.db", "results.db").replace("'frames'", "'F'");
        let told = load(&wrong).unwrap_err();
        for part in ["listen", "database", "frames_bucket"] {
            assert!(told.contains(part), "{part} is not in: {told}");
        }
        let with = |url: &str| open.replace("[store]", &format!("public_url = '{url}'\n[store]"));
        assert!(load(&with("https://console.town.example")).is_ok());
        for url in ["http://console.town.example", "https://", "https://town/console"] {
            assert!(load(&with(url)).unwrap_err().contains("public_url"), "{url}");
        }
    }
}
