//! Owns the site of one machine: what stands in its state folder before any process starts.
//!
//! | in the state folder | what |
//! |---|---|
//! | `pki/authority/` | certificate authorities and the seal root; only `celosia` reads it |
//! | `pki/{process}/` | certificate, key, roots of a process and what else it alone may know |
//! | `pki/store/` | secrets of the object store's keys |
//! | `config/` | configurations of the processes, the broker's list of who may what |
//! | `ports.json`, `console.password` | ports; the operator's password |
//! | `edge/ spool/ outbox/ objects/ results.db logs/` | what the processes keep |
//!
//! Making it again changes nothing that holds: secrets are drawn once, certificates and grants are issued again only
//! near their end, ports are chosen again only when taken. Each file appears whole or not at all, so a crash in the
//! middle is mended by the next start.

mod broker;
mod configs;
mod layout;
mod pki;
mod ports;
mod secrets;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use models::weights;
use proto::{
    DeviceName, Identity, Role, SiteId, UtcTime,
    envelope::SealGrant,
    manifest::PolicyRef,
    signing::{PublicKey, SigningError},
};
use serde::Serialize;

pub use self::{
    configs::Camera,
    layout::Layout,
    ports::{Ports, loopback},
};

/// How long a fog node may seal before the next start must give it a new grant.
const GRANT_S: i64 = 397 * 86_400;
/// A grant with less left than this is issued again.
const GRANT_LEFT_S: i64 = 90 * 86_400;

/// Why a site cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A file or folder of it.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key file has something else in it.
    #[error("{path}: {source}: restore it, or remove the state folder to begin anew")]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        source: SigningError,
    },
    /// A certificate cannot be issued.
    #[error("certificate of {0}: {1}")]
    Certificate(String, rcgen::Error),
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] proto::ids::IdError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
    /// No port is free.
    #[error("no free port was found on loopback")]
    NoPort,
    /// A configuration cannot be written as TOML.
    #[error("configuration: {0}")]
    Configuration(#[from] toml::ser::Error),
    /// The policy that was asked for is not one of this build.
    #[error("policy {0:?} is not known; there are {1}")]
    Policy(String, String),
}

impl SiteError {
    fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

/// What is wanted of a site.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name.
    pub site: SiteId,
    /// Its cameras, all on one gateway.
    pub cameras: Vec<Camera>,
    /// The policy under which it redacts.
    pub policy: String,
    /// File with what is always filled, absolute.
    pub static_regions: Option<PathBuf>,
    /// Every policy that its fog node may seal under.
    pub policies: Vec<PolicyRef>,
    /// How frames lie in the object store.
    pub pack: Packing,
    /// Where inference runs.
    pub inference: Inference,
    /// Folder of the assets, absolute.
    pub assets: PathBuf,
    /// `mask-lambda`, absolute.
    pub function_program: PathBuf,
    /// Where the console is.
    pub console: ConsoleAddress,
    /// Whether the gateway ends when everything is done.
    pub exit_when_done: bool,
}

/// How frames lie in the object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// Each by itself: its result is seen sooner.
    Frame,
    /// Those of a clip in one object: cheaper on S3.
    Clip,
}

/// Where inference runs, which results say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Inference {
    /// The object store tells the function.
    Lambda,
    /// The bridge asks the same function in a host beside it.
    Fog,
}

impl Inference {
    /// As configurations have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::Fog => "fog",
        }
    }
}

/// Where the console of a site is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleAddress {
    /// On which address it listens.
    pub address: IpAddr,
    /// What operators type, where a proxy with TLS stands in front; asked for unless the address is loopback.
    pub public_url: Option<String>,
}

impl ConsoleAddress {
    /// For people at this machine.
    #[must_use]
    pub const fn loopback() -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::LOCALHOST), public_url: None }
    }
}

/// Names of the processes of a site.
struct Names {
    edge: &'static str,
    fog: &'static str,
    bridge: &'static str,
    console: &'static str,
    admin: &'static str,
}

const fn names() -> Names {
    Names { edge: "gw-1", fog: "fog-1", bridge: "bridge", console: "console", admin: "celosia" }
}

/// A site that is ready to be started.
#[derive(Debug)]
pub struct Site {
    /// Where everything is.
    pub layout: Layout,
    /// Ports of its servers.
    pub ports: Ports,
    /// The key that every envelope of the site comes down to.
    pub seal_root: PublicKey,
    /// The site's name.
    pub id: SiteId,
    /// The operator's password; a person may read it, so it is shown on purpose only.
    pub password: Password,
}

/// A password that does not show itself in logs.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// To show it to its owner, or to hash it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Site {
    /// Makes the site or completes it. The caller holds the lock of the state folder. Blocks.
    ///
    /// # Errors
    /// When a file cannot be written or has something else in it than it should.
    pub fn make(layout: Layout, plan: &Plan, now: UtcTime) -> Result<Self, SiteError> {
        check_policy(plan)?;
        for folder in ["config", "pki/authority", "pki/store", "logs", "models"] {
            let folder = layout.state().join(folder);
            fs::create_dir_all(&folder).map_err(|e| SiteError::file(&folder, e))?;
        }
        for folder in ["", "pki", "pki/authority"] {
            private(&layout.state().join(folder))?;
        }
        keep(&layout.model(), weights::OF_CELLS.model)?;
        keep(&layout.model().with_extension("json"), weights::OF_CELLS.description)?;
        let identities = enrol(&layout, plan, now)?;
        let seal_root = seals(&layout, plan, now)?;
        store_keys(&layout)?;
        let ports = Ports::open(&layout.state().join("ports.json"))?;
        for (name, text) in configs::all(&layout, plan, ports, &seal_root.to_string())? {
            keep(&layout.config(name), text.as_bytes())?;
        }
        keep(&layout.config("broker.conf"), broker::configuration(ports.broker).as_bytes())?;
        keep(&layout.config("broker.acl"), broker::access(&identities).as_bytes())?;
        let password = Password(secrets::password(&layout.state().join("console.password"))?);
        Ok(Self { layout, ports, seal_root, id: plan.site.clone(), password })
    }
}

fn check_policy(plan: &Plan) -> Result<(), SiteError> {
    if plan.policies.iter().any(|policy| policy.name == plan.policy) {
        return Ok(());
    }
    let known: Vec<&str> = plan.policies.iter().map(|policy| policy.name.as_str()).collect();
    Err(SiteError::Policy(plan.policy.clone(), known.join(", ")))
}

/// Certificates of all processes; their identities, for the broker.
fn enrol(layout: &Layout, plan: &Plan, now: UtcTime) -> Result<Vec<Identity>, SiteError> {
    let authority = layout.credentials("authority");
    let authorities = pki::Authorities::open(&authority, &plan.site, now)?;
    let names = names();
    let processes = [
        (Role::Edge, names.edge),
        (Role::Fog, names.fog),
        (Role::Bridge, names.bridge),
        (Role::Console, names.console),
        (Role::Admin, names.admin),
    ];
    let mut identities = Vec::new();
    for (role, name) in processes {
        // Our own names are names; the site's was checked when it was read.
        let Ok(name) = name.parse::<DeviceName>() else { continue };
        let identity = Identity { site: plan.site.clone(), role, name };
        authorities.enrol(&identity, &layout.credentials(role.as_str()))?;
        identities.push(identity);
    }
    authorities.enrol_broker(&layout.credentials("broker"))?;
    Ok(identities)
}

/// The seal root, the fog's key and its grant; the bridge's receipt key and its public half for the gateway.
fn seals(layout: &Layout, plan: &Plan, now: UtcTime) -> Result<PublicKey, SiteError> {
    let root = secrets::signing_key(&layout.credentials("authority").join("seal-root.key"))?;
    let public = format!("{}\n", root.public());
    keep(&layout.credentials("seal-root.pub"), public.as_bytes())?;
    let fog = secrets::signing_key(&layout.credentials("fog").join("seal.key"))?;
    let path = layout.credentials("fog").join("grant.json");
    let policies: Vec<_> = plan.policies.iter().map(|policy| policy.digest).collect();
    let until = |seconds: i64| now.plus_ns(seconds * 1_000_000_000);
    let held: Option<SealGrant> =
        fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let good = held.is_some_and(|grant| {
        grant.verify(&root.public()).is_ok()
            && (grant.fog_key, &grant.site) == (fog.public(), &plan.site)
            && grant.policies == policies
            && grant.not_before <= now
            && grant.not_after > until(GRANT_LEFT_S)
    });
    if !good {
        let (key, site) = (fog.public(), plan.site.clone());
        // A clock that is set back a little must not make it a grant of the future.
        let grant = SealGrant::issue(&root, key, site, until(-86_400), until(GRANT_S), policies);
        let json = serde_json::to_vec(&grant).map_err(|e| SiteError::file(&path, e.into()))?;
        keep(&path, &json)?;
    }
    let receipts = secrets::signing_key(&layout.credentials("bridge").join("receipt.key"))?;
    let public = format!("{}\n", receipts.public());
    keep(&layout.credentials("edge").join("receipt.pub"), public.as_bytes())?;
    Ok(root.public())
}

/// A secret for each key of the object store, and for its owner in the form of the AWS tools.
fn store_keys(layout: &Layout) -> Result<(), SiteError> {
    for (id, _) in configs::STORE_KEYS {
        let secret = secrets::secret(&layout.credentials("store").join(format!("{id}.secret")))?;
        let path = layout.store_credentials(id);
        let folder = layout.credentials(id);
        fs::create_dir_all(&folder).map_err(|e| SiteError::file(&folder, e))?;
        let text = format!(
            "[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\nregion = {}\n",
            configs::REGION
        );
        keep(&path, text.as_bytes())?;
    }
    Ok(())
}

fn private(folder: &Path) -> Result<(), SiteError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        .map_err(|e| SiteError::file(folder, e))
}

/// Writes a file unless it has this content already. For its owner only.
fn keep(path: &Path, content: &[u8]) -> Result<(), SiteError> {
    if fs::read(path).is_ok_and(|held| held == content) {
        return Ok(());
    }
    base::files::write_durable(path, content).map_err(|e| SiteError::file(path, e))
}
