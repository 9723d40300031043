//! Owns the run of a site on one machine: what `celosia up` and `celosia process` have in common, from the lock on the
//! state folder to the last process that ends.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base::{Clock, Shutdown, SystemClock, duration::Span};
use models::assets::{AssetError, Group, REGISTRY, registry};
use proto::{UtcTime, manifest::PolicyRef};
use results::Results;
use store::{FrameReader, ResultReader, Settings, s3::S3};

use crate::{
    programs::{ProgramError, Programs},
    services,
    site::{Camera, ConsoleAddress, Inference, Layout, Packing, Plan, Site, SiteError, loopback},
    statics::{self, Stranger},
    supervisor::{Failure, LockError, Locked, Supervisor},
};

/// The fog node's default policy, whichever that is.
const DEFAULT_POLICY: &str = "default";
/// Name of a site that nobody named.
const SITE: &str = "site";
/// Longest time until everything serves: seconds on an idle machine, a minute while it compiles something.
const READY_MAX: Duration = Duration::from_secs(120);
/// Who has swap: a page of a worker may hold a face.
const SWAPS: &str = "/proc/swaps";

/// Why a site does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An asset is not there.
    #[error("{0} is not there: run `celosia fetch`, or state the folder in --assets")]
    NoAsset(PathBuf),
    /// An asset is not what it should be.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// The state folder or the assets have no absolute path.
    #[error("{path}: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program is missing.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The site cannot be made.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// A static region of a camera that is not there.
    #[error(transparent)]
    Statics(#[from] Stranger),
    /// The state folder cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The end was asked for before everything served.
    #[error("stopped before everything served")]
    Stopped,
    /// A process does not get ready.
    #[error("{} did not get ready within {} s; logs are in {logs}", names.join(", "), READY_MAX.as_secs())]
    NotReady {
        /// Which.
        names: Vec<String>,
        /// Where to look.
        logs: PathBuf,
    },
    /// A process was given up.
    #[error(transparent)]
    GivenUp(#[from] Failure),
    /// The results database.
    #[error(transparent)]
    Results(#[from] results::ResultsError),
}

/// Settings of both commands.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// One frame each so often, such as 5s or 500ms.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = duration)]
    pub every: String,
    /// Length at which clips are closed, 1s to 60s.
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = duration)]
    pub clip: String,
    /// Redaction policy: solid (the default), or strict or cells, which release a few noisy cells of each face: for places that
    /// few people pass, since who collects many faces of one place takes the noise off.
    #[arg(long, default_value = DEFAULT_POLICY, value_name = "NAME")]
    pub policy: String,
    /// A polygon that is always filled: corners as fractions of width and height, such as '0,0 0.3,0 0.3,0.25'; of one
    /// camera when its name and a colon stand before. May be given several times.
    #[arg(long, value_name = "[CAMERA:]CORNERS")]
    pub static_region: Vec<String>,
    /// How frames lie in the object store.
    #[arg(long, default_value = "frame", value_name = "HOW")]
    pub pack: Packing,
    /// Where inference runs, which results say.
    #[arg(long, default_value = "lambda", value_name = "WHERE")]
    pub inference: Inference,
    /// Folder of the assets that `celosia fetch` brought.
    #[arg(long, default_value = ".celosia/assets", env = "CELOSIA_ASSETS", value_name = "DIR")]
    pub assets: PathBuf,
}

/// The text stays as it is, for the gateway's configuration; what is no duration is told before anything starts.
fn duration(text: &str) -> Result<String, String> {
    Span::try_from(text.to_owned()).map(|_| text.to_owned())
}

/// A site whose processes run.
pub struct Running {
    /// What it is made of.
    pub site: Site,
    /// Its processes.
    pub supervisor: Supervisor,
    /// Its database.
    pub results: Results,
}

impl Running {
    /// Makes the site in a state folder, starts its processes and waits until all of them serve.
    ///
    /// # Errors
    /// When something is missing or wrong, or a process is given up; nothing runs then.
    pub async fn start(
        state: &Path,
        common: &Common,
        cameras: Vec<Camera>,
        batch: bool,
        console: ConsoleAddress,
        shutdown: &Shutdown,
    ) -> Result<Self, RunError> {
        warn_of_swap();
        let assets = absolute(&common.assets)?;
        check(&assets)?;
        let programs = Programs::find()?;
        std::fs::create_dir_all(state)
            .map_err(|source| RunError::Folder { path: state.to_owned(), source })?;
        let layout = Layout::new(absolute(state)?);
        let locked = Locked::new(layout.state(), shutdown).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let now = UtcTime::from_micros(clock.utc_micros()).unwrap_or(UtcTime::EPOCH);
        let static_regions = layout.config("static-regions.toml");
        let static_regions = statics::write(&static_regions, &common.static_region, &cameras)?;
        let policies = programs.policies(static_regions.as_deref())?;
        let plan = Plan {
            site: SITE.parse().map_err(SiteError::from)?,
            cameras,
            policy: chosen(&common.policy, &policies),
            policies,
            static_regions,
            pack: common.pack,
            inference: common.inference,
            assets,
            function_program: programs.function.clone(),
            console,
            exit_when_done: batch,
        };
        let site = Site::make(layout, &plan, now)?;
        // The first to open the database makes its tables; bridge and console find them.
        let results = Results::open(&site.layout.database()).await?;
        let programs = services::of(&site, &programs, batch);
        let supervisor = Supervisor::start(locked, programs, site.layout.logs(), clock)
            .map_err(|source| RunError::Folder { path: site.layout.logs(), source })?;
        let running = Self { site, supervisor, results };
        let ready = tokio::select! {
            biased;
            () = shutdown.requested() => Err(RunError::Stopped),
            ready = tokio::time::timeout(READY_MAX, running.supervisor.ready()) => match ready {
                Ok(ready) => ready.map_err(RunError::from),
                Err(_) => Err(RunError::NotReady {
                    names: running.supervisor.not_ready(),
                    logs: running.site.layout.logs(),
                }),
            },
        };
        match ready {
            Ok(()) => Ok(running),
            Err(error) => {
                running.stop().await;
                Err(error)
            }
        }
    }

    /// A reader of the site's frames, by the administrator's key.
    pub async fn frames(&self) -> Result<impl FrameReader, RunError> {
        Ok(self.store().await?.frames(self.site.seal_root))
    }

    /// A reader of what lies among the site's results, by the same key.
    pub async fn stored_results(&self) -> Result<impl ResultReader, RunError> {
        Ok(self.store().await?.results())
    }

    async fn store(&self) -> Result<S3, RunError> {
        let settings = Settings {
            endpoint: Some(format!("http://{}", loopback(self.site.ports.store))),
            region: "us-east-1".to_owned(),
            frames_bucket: "frames".to_owned(),
            results_bucket: "results".to_owned(),
        };
        let path = self.site.layout.credentials("store").join("admin.secret");
        let secret = std::fs::read_to_string(&path);
        let secret = secret.map_err(|source| RunError::Folder { path, source })?;
        Ok(S3::with_keys(&settings, "admin", secret.trim()).await)
    }

    /// Stops the processes in order.
    pub async fn stop(self) {
        self.supervisor.stop().await;
        self.results.close().await;
    }
}

/// A model that somebody changed must not decide what is a face.
/// The policy's own name; the fog node tells its default first.
fn chosen(policy: &str, known: &[PolicyRef]) -> String {
    let default = known.first().filter(|_| policy == DEFAULT_POLICY);
    default.map_or(policy, |default| &default.name).to_owned()
}

fn check(assets: &Path) -> Result<(), RunError> {
    for asset in registry(REGISTRY)?.iter().filter(|asset| asset.group == Group::Site) {
        if !asset.is_installed(assets)? {
            return Err(RunError::NoAsset(assets.join(&asset.name)));
        }
    }
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf, RunError> {
    let failed = |source| RunError::Folder { path: path.to_owned(), source };
    if path.exists() { path.canonicalize() } else { std::path::absolute(path) }.map_err(failed)
}

/// One machine is a person's own: where swap is on this is told and nothing is refused.
fn warn_of_swap() {
    let swaps = std::fs::read_to_string(SWAPS).unwrap_or_default();
    if swaps.lines().count() > 1 {
        tracing::warn!("swap is on: pages with pixels of a face may reach the disk; turn it off");
    }
}
