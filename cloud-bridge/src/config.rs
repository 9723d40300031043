//! Owns the configuration of a bridge: what its file may say, and the checked form that everything else uses.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use base::{config::ConfigError, duration::Span};
use link::mqtt::BrokerAddress;
use proto::{DeviceName, Identity, Role, SiteId, limits::OUTBOX_BYTES_DEFAULT, result::Placement};
use serde::Deserialize;

use crate::{collector::Pace, committer::ReceiptAfter, forwarder::Packing, overdue::Patience};

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    site: SiteId,
    name: DeviceName,
    credentials: PathBuf,
    listen: SocketAddr,
    outbox: PathBuf,
    #[serde(default = "outbox_bytes_default")]
    outbox_bytes_max: u64,
    database: String,
    seal_root: PathBuf,
    receipt_key: PathBuf,
    #[serde(default = "receipt_after_default")]
    receipt_after: ReceiptAfterEntry,
    broker: Option<BrokerAddress>,
    pack: Option<PackEntry>,
    store: store::Settings,
    #[serde(default)]
    function: FunctionEntry,
    #[serde(default = "inference_default")]
    inference: Placement,
    poll: Option<Span>,
    poll_max: Option<Span>,
    list_each: Option<Span>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReceiptAfterEntry {
    Outbox,
    Store,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PackEntry {
    Frame,
    Clip,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FunctionEntry {
    endpoint: Option<String>,
    name: String,
    overdue: Span,
    tries_max: u64,
}

/// A minute: a cold start and a slow day of the function fit, and an event that was lost is not waited for longer. Five
/// tries: with the function's own retries a quarter of an hour of trouble passes without a loss.
impl Default for FunctionEntry {
    fn default() -> Self {
        let overdue = Span(Duration::from_secs(60));
        Self { endpoint: None, name: "mask".to_owned(), overdue, tries_max: 5 }
    }
}

const fn outbox_bytes_default() -> u64 {
    OUTBOX_BYTES_DEFAULT
}

const fn receipt_after_default() -> ReceiptAfterEntry {
    ReceiptAfterEntry::Outbox
}

const fn inference_default() -> Placement {
    Placement::Lambda
}

/// Least quota: the largest clip (64 envelopes of 4 MiB), or it could never be committed, and a quarter more.
const OUTBOX_BYTES_MIN: u64 = 320 * 1024 * 1024;
/// A store of one's own is asked half a second after each frame, so that its result is shown within one; at last each
/// five seconds, and listings cost nothing.
const LOCAL: Pace = Pace {
    poll: Duration::from_millis(500),
    poll_max: Duration::from_secs(5),
    list_each: Duration::from_secs(10),
};
/// Amazon's is asked two seconds after each frame, when its event has usually come and the function has answered: one
/// read or two for each result, at $0.0004 for 1,000 of them. A listing costs a dozen reads and is made each five
/// minutes at most, and only while something is not where it was looked for.
const AMAZON: Pace = Pace {
    poll: Duration::from_secs(2),
    poll_max: Duration::from_secs(60),
    list_each: Duration::from_secs(300),
};
/// Bounds of the polling intervals.
const POLLS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(3600);
/// Bounds of the time after which a result is overdue.
const OVERDUES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// Most times that the function is asked for one frame.
const TRIES_MAX: u64 = 1000;

/// A bridge.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this process is.
    pub identity: Identity,
    /// Folder with `chain.pem`, `key.pem`, `roots.pem`.
    pub credentials: PathBuf,
    /// UDP address for fog nodes.
    pub listen: SocketAddr,
    /// Folder of the outbox.
    pub outbox: PathBuf,
    /// Bytes that the outbox may hold; more lets it bridge a longer outage.
    pub outbox_bytes_max: u64,
    /// The results database.
    pub database: String,
    /// File with the site's public seal root, 64 hexadecimal digits.
    pub seal_root: PathBuf,
    /// File with the seed of the key that signs receipts, 64 hexadecimal digits.
    pub receipt_key: PathBuf,
    /// When a receipt may be given.
    pub receipt_after: ReceiptAfter,
    /// How the frames of a clip lie in the object store: one by one they are seen sooner, packed they cost less.
    pub pack: Packing,
    /// MQTT, where there is a broker.
    pub broker: Option<BrokerAddress>,
    /// The object store.
    pub store: store::Settings,
    /// Base URL of a Lambda API that is not Amazon's.
    pub function_endpoint: Option<String>,
    /// Name of the function.
    pub function: String,
    /// When the function is asked again.
    pub patience: Patience,
    /// Where inference runs: the object store tells a function in the cloud, the bridge one beside it.
    pub inference: Placement,
    /// How often results are looked for.
    pub pace: Pace,
}

impl Config {
    /// Reads and checks a file. Relative paths count from its folder.
    ///
    /// # Errors
    /// With all problems at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: File = base::config::load(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let at = |p: PathBuf| folder.join(p);
        let mut problems = file.store.problems();
        if file.outbox_bytes_max < OUTBOX_BYTES_MIN {
            problems.push(format!("outbox_bytes_max: is under {OUTBOX_BYTES_MIN}"));
        }
        let database = results::resolve(&file.database, folder);
        let database = database.unwrap_or_else(|error| {
            problems.push(error.to_string());
            String::new()
        });
        // At Amazon's each object is paid for; in a store of one's own a frame's result is just seen sooner by itself.
        let (default, pack) = match file.store.endpoint {
            Some(_) => (LOCAL, Packing::Frame),
            None => (AMAZON, Packing::Clip),
        };
        let poll = file.poll.map_or(default.poll, |span| span.0);
        let poll_max = file.poll_max.map_or(default.poll_max.max(poll), |span| span.0);
        if !POLLS.contains(&poll) || !POLLS.contains(&poll_max) || poll_max < poll {
            problems.push("poll, poll_max: use 50ms to 1h, and poll_max at least poll".to_owned());
        }
        let list_each = file.list_each.map_or(default.list_each, |span| span.0);
        if !POLLS.contains(&list_each) {
            problems.push("list_each: use 50ms to 1h".to_owned());
        }
        let FunctionEntry { endpoint, name, overdue, tries_max } = file.function;
        problems.extend(function_problems(endpoint.as_deref(), &name, overdue.0, tries_max));
        if file.inference == Placement::Fog && endpoint.is_none() {
            let what = "inference = \"fog\" needs the address of the host beside the bridge";
            problems.push(format!("function.endpoint: {what}"));
        }
        if !problems.is_empty() {
            return Err(ConfigError::Values { path: path.to_owned(), problems });
        }
        Ok(Self {
            identity: Identity { site: file.site, role: Role::Bridge, name: file.name },
            credentials: at(file.credentials),
            listen: file.listen,
            outbox: at(file.outbox),
            outbox_bytes_max: file.outbox_bytes_max,
            database,
            seal_root: at(file.seal_root),
            receipt_key: at(file.receipt_key),
            receipt_after: match file.receipt_after {
                ReceiptAfterEntry::Outbox => ReceiptAfter::Outbox,
                ReceiptAfterEntry::Store => ReceiptAfter::Store,
            },
            pack: match file.pack {
                Some(PackEntry::Frame) => Packing::Frame,
                Some(PackEntry::Clip) => Packing::Clip,
                None => pack,
            },
            broker: file.broker,
            store: file.store,
            function_endpoint: endpoint,
            function: name,
            patience: Patience { overdue: overdue.0, tries_max },
            inference: file.inference,
            pace: Pace { poll, poll_max, list_each },
        })
    }
}

fn function_problems(
    endpoint: Option<&str>,
    name: &str,
    overdue: Duration,
    tries_max: u64,
) -> Vec<String> {
    let mut problems = Vec::new();
    let schemes = ["http://", "https://"];
    if endpoint.is_some_and(|url| !schemes.iter().any(|scheme| url.starts_with(scheme))) {
        problems.push("function.endpoint: write http://HOST:PORT or https://HOST".to_owned());
    }
    if name.is_empty() {
        problems.push("function.name: is empty".to_owned());
    }
    if !OVERDUES.contains(&overdue) {
        problems.push("function.overdue: is outside 1s to 1d".to_owned());
    }
    if tries_max > TRIES_MAX {
        problems.push(format!("function.tries_max: is over {TRIES_MAX}"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "site = 'town'\nname = 'bridge'\ncredentials = 'pki'\n\
        listen = '127.0.0.1:0'\noutbox = 'outbox'\ndatabase = 'sqlite:results.db'\n\
        seal_root = 'seal.root'\nreceipt_key = 'receipt.key'\n";
    const STORE: &str =
        "[store]\nregion = 'us-east-1'\nframes_bucket = 'frames'\nresults_bucket = 'results'\n";

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn a_short_file_has_the_stated_defaults() {
        let config = load(&format!("{HEAD}{STORE}")).unwrap();
        assert_eq!(config.outbox_bytes_max, 20_000_000_000);
        assert_eq!((config.receipt_after, config.pack), (ReceiptAfter::Outbox, Packing::Clip));
        assert_eq!(config.patience, Patience { overdue: Duration::from_secs(60), tries_max: 5 });
        assert_eq!((config.function.as_str(), config.pace), ("mask", AMAZON));
        assert_eq!(config.inference, Placement::Lambda);
        assert!(config.outbox.is_absolute() && config.database.starts_with("sqlite:/"));
        let own = format!("{HEAD}{STORE}endpoint = 'http://127.0.0.1:1'\n");
        let own = load(&own).unwrap();
        assert_eq!((own.pace, own.pack), (LOCAL, Packing::Frame));
    }

    #[test]
    fn all_problems_are_told_at_once_by_key() {
        let text = format!(
            "{}outbox_bytes_max = 5\npoll = '1ms'\nlist_each = '2h'\n{STORE}endpoint = 'ftp://x'\n\
             [function]\noverdue = '0s'\nname = ''\nendpoint = 'x'\ntries_max = 5000\n",
            HEAD.replace("sqlite:", "mysql:")
        );
        let error = load(&text).unwrap_err().to_string();
        for part in [
            "bridge.toml",
            "outbox_bytes_max",
            "mysql",
            "poll",
            "list_each",
            "store.endpoint",
            "function.overdue",
            "function.name",
            "function.endpoint",
            "function.tries_max",
        ] {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }

    #[test]
    fn inference_beside_the_bridge_needs_its_address() {
        let head = format!("{HEAD}inference = 'fog'\n{STORE}");
        let error = load(&head).unwrap_err().to_string();
        assert!(error.contains("function.endpoint"), "{error}");
        let config = load(&format!("{head}[function]\nendpoint = 'http://127.0.0.1:9001'\n"));
        assert_eq!(config.unwrap().inference, Placement::Fog);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_so_is_a_place_that_is_none() {
        let error = load(&format!("{HEAD}outbox_size = 3\n{STORE}")).unwrap_err();
        assert!(error.to_string().contains("outbox_size"), "{error}");
        let error = load(&format!("{HEAD}inference = 'moon'\n{STORE}")).unwrap_err();
        assert!(
            error.to_string().contains("inference") || error.to_string().contains("moon"),
            "{error}"
        );
    }
}
