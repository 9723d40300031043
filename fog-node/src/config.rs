//! Owns the configuration of a fog node: what its file may say, and the checked form that everything else uses.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use base::{config::ConfigError, duration::Span};
use link::mqtt::BrokerAddress;
use privacy::{Policy, StaticRegions};
use proto::{CameraId, DeviceName, Identity, Role, SiteId};
use serde::Deserialize;

use crate::{offer::Gateways, worker};

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    site: SiteId,
    name: DeviceName,
    credentials: PathBuf,
    listen: SocketAddr,
    advertise: Option<String>,
    bridge: String,
    broker: Option<BrokerAddress>,
    workers: Option<usize>,
    assets: PathBuf,
    #[serde(default = "policy_default")]
    policy: String,
    static_regions: Option<PathBuf>,
    state: Option<PathBuf>,
    seal_key: PathBuf,
    grant: PathBuf,
    #[serde(default = "deadline_default")]
    clip_deadline: Span,
    #[serde(default)]
    allow_swap: bool,
    gateways: BTreeMap<DeviceName, Vec<CameraId>>,
}

fn policy_default() -> String {
    "default".to_owned()
}

/// 60 s: a clip of 60 s with a frame each second takes half of that on one core.
const fn deadline_default() -> Span {
    Span(Duration::from_secs(60))
}

/// Most workers: each holds two models and the pictures of a clip, about half a gigabyte.
const WORKERS_MAX: usize = 64;
/// Deadlines that make sense: shorter ones kill healthy workers, longer ones let a hung one block a core.
const DEADLINES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(600);

/// A fog node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this process is.
    pub identity: Identity,
    /// Folder with `chain.pem`, `key.pem`, `roots.pem`.
    pub credentials: PathBuf,
    /// UDP address to listen on; port 0 is any.
    pub listen: SocketAddr,
    /// `host:port` under which edges reach it; absent: the address that it listens on.
    pub advertise: Option<String>,
    /// The bridge, `host:port`.
    pub bridge: String,
    /// MQTT, where there is a broker.
    pub broker: Option<BrokerAddress>,
    /// Worker processes.
    pub workers: usize,
    /// What each worker needs.
    pub worker: worker::Options,
    /// How long a worker may take for one clip before it is killed.
    pub clip_deadline: Duration,
    /// Who may offer which camera.
    pub gateways: Gateways,
    /// Where what is usual on each camera is kept; absent: it is learned anew after each start.
    pub state: Option<PathBuf>,
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
        let mut problems = Vec::new();
        for (key, address) in
            [("bridge", Some(&file.bridge)), ("advertise", file.advertise.as_ref())]
        {
            if address.is_some_and(|address| !is_address(address)) {
                problems.push(format!("{key}: write host:port"));
            }
        }
        if file.advertise.is_none() && file.listen.ip().is_unspecified() {
            problems.push("advertise: say how edges reach this node (`host:port`)".to_owned());
        }
        if let Err(error) = Policy::named(&file.policy) {
            problems.push(format!("policy: {error}"));
        }
        // Where the system does not say how many cores there are, one worker is right.
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = file.workers.unwrap_or_else(|| cores().min(WORKERS_MAX));
        if !(1..=WORKERS_MAX).contains(&workers) {
            problems.push(format!("workers: is outside 1 to {WORKERS_MAX}"));
        }
        if !DEADLINES.contains(&file.clip_deadline.0) {
            problems.push("clip_deadline: is outside 1s to 10m".to_owned());
        }
        if file.gateways.values().all(Vec::is_empty) {
            problems.push("gateways: name at least one gateway and its cameras".to_owned());
        }
        let gateways = Gateways::new(file.gateways).unwrap_or_else(|twice| {
            problems.extend(twice);
            Gateways::default()
        });
        let static_regions = file.static_regions.map(at);
        if let Some(file) = &static_regions {
            problems.extend(wrong_static_regions(file, &gateways));
        }
        if !problems.is_empty() {
            return Err(ConfigError::Values { path: path.to_owned(), problems });
        }
        Ok(Self {
            identity: Identity { site: file.site, role: Role::Fog, name: file.name },
            credentials: at(file.credentials),
            listen: file.listen,
            advertise: file.advertise,
            bridge: file.bridge,
            broker: file.broker,
            workers,
            worker: worker::Options {
                assets: at(file.assets),
                policy: file.policy,
                static_regions,
                seal_key: at(file.seal_key),
                grant: at(file.grant),
                allow_swap: file.allow_swap,
            },
            clip_deadline: file.clip_deadline.0,
            gateways,
            state: file.state.map(at),
        })
    }
}

/// What is wrong with a file of static regions. One of a camera that nobody may offer is a slip of the pen that would
/// leave a window open.
fn wrong_static_regions(file: &Path, gateways: &Gateways) -> Vec<String> {
    match base::config::load::<StaticRegions>(file) {
        Err(error) => vec![format!("static_regions: {error}")],
        Ok(regions) => {
            let strangers = regions.cameras().filter(|camera| !gateways.know(camera));
            let line = |camera: &CameraId| {
                format!(
                    "static_regions: camera {camera} of {} is not in [gateways]",
                    file.display()
                )
            };
            strangers.map(line).collect()
        }
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "site = 'town'\nname = 'fog-1'\ncredentials = 'pki'\n\
        listen = '127.0.0.1:0'\nassets = 'assets'\nseal_key = 'seal.key'\ngrant = 'grant.json'\n";

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fog.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn a_short_file_has_defaults_and_paths_from_its_folder() {
        let text = format!("{HEAD}bridge = 'bridge:4434'\n[gateways]\ngw-1 = ['cam-1', 'cam-2']\n");
        let config = load(&text).unwrap();
        assert_eq!(config.identity.to_string(), "celosia://town/fog/fog-1");
        assert!(config.workers >= 1 && config.worker.policy == "default");
        assert_eq!(config.clip_deadline, Duration::from_secs(60));
        assert!(config.worker.assets.is_absolute() && config.worker.seal_key.is_absolute());
        assert!(!config.worker.allow_swap && config.broker.is_none());
    }

    #[test]
    fn all_problems_are_told_at_once_with_their_key() {
        let text = format!(
            "{}bridge = 'bridge'\nworkers = 0\npolicy = 'none'\nclip_deadline = '1h'\n\
             [gateways]\na = ['x']\nb = ['x']\n",
            HEAD.replace("127.0.0.1", "0.0.0.0")
        );
        let error = load(&text).unwrap_err().to_string();
        for part in [
            "fog.toml",
            "bridge:",
            "advertise:",
            "workers:",
            "policy:",
            "clip_deadline:",
            "camera x stands at a and b",
        ] {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }

    #[test]
    fn static_regions_are_read_at_the_start_and_each_slip_names_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (path, regions) = (folder.path().join("fog.toml"), folder.path().join("windows.toml"));
        let key = "bridge = 'b:1'\nstatic_regions = 'windows.toml'\n";
        std::fs::write(&path, format!("{HEAD}{key}[gateways]\ngw-1 = ['door']\n")).unwrap();
        let load = |text: &str| {
            std::fs::write(&regions, text).unwrap();
            Config::load(&path)
        };
        let good = load("door = ['0,0 0.3,0 0.3,0.25', '0.9,0.9 1,0.9 1,1']\n").unwrap();
        assert_eq!(good.worker.static_regions, Some(folder.path().join("windows.toml")));
        for (text, expected) in [
            (
                "door = ['0,0 0.3,0 0.3,0.25', '0,0 1,1']",
                "static region 2 of camera door: 2 corners",
            ),
            ("yard = ['0,0 0.3,0 0.3,0.25']", "camera yard of"),
            ("door = '0,0 0.3,0 0.3,0.25'", "windows.toml"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected:?} is not in: {error}");
        }
    }

    #[test]
    fn an_unknown_key_or_a_name_that_is_none_is_refused() {
        let text = format!("{HEAD}bridge = 'b:1'\nclip_seconds = 3\n[gateways]\ngw-1 = ['a']\n");
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains("clip_seconds") && error.contains("fog.toml"), "{error}");
        let text = format!("{HEAD}bridge = 'b:1'\n[gateways]\ngw-1 = ['Cam/1']\n");
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains("Cam/1"), "{error}");
        let text = format!("{HEAD}bridge = 'b:1'\n[gateways]\n");
        assert!(load(&text).unwrap_err().to_string().contains("gateways"));
    }
}
