//! Owns `celosia process`: videos in, redacted frames and results out, by the same processes as any site.
//!
//! The gateway reads the files as fast as it can and ends when each clip has its receipt; then what the bridge still
//! holds is waited for, and the results are written. Nothing is missing silently: the end says what is.

mod annotate;
mod files;
mod gather;
mod report;
mod videos;
mod wait;

use std::path::PathBuf;

use base::{Clock, Shutdown, SystemClock};
use proto::UtcTime;

pub use self::{annotate::AnnotateError, report::Report, videos::VideoError};
use crate::{
    run::{Common, RunError, Running},
    site::ConsoleAddress,
    supervisor::Memory,
};

/// What a person asks of `celosia process`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Videos, each a camera of its own, named after its file.
    #[arg(required = true, value_name = "VIDEO")]
    pub videos: Vec<PathBuf>,
    /// Folder for the redacted frames and `results.json`; made if need be.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print the summary as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Write also, into OUT/annotated, each frame with a box around each face: green for a mask, red for none, orange for
    /// one worn incorrectly, white where it cannot be said, blue for what is no face.
    #[arg(long)]
    pub annotated: bool,
    /// When the videos began, such as 2026-11-24T08:00:00Z; without it, what their containers say.
    #[arg(long, value_name = "TIME")]
    pub start: Option<UtcTime>,
    /// Keep the site in this folder, so that an interrupted run goes on; without it, a temporary one.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Settings shared with `celosia up`.
    #[command(flatten)]
    pub common: Common,
}

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A video cannot be used; nothing was started.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// The site.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The database.
    #[error(transparent)]
    Results(#[from] results::ResultsError),
    /// The bus that tells how far the gateway is.
    #[error(transparent)]
    Bus(#[from] link::mqtt::BusError),
    /// The certificate for it.
    #[error(transparent)]
    Credentials(#[from] link::tls::TlsError),
    /// A frame cannot be read from the store.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The annotated pictures.
    #[error(transparent)]
    Annotate(#[from] AnnotateError),
    /// A file cannot be written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It was stopped before the end.
    #[error("stopped before everything was in{0}")]
    Stopped(String),
    /// Nothing moved for too long.
    #[error("nothing has moved for {minutes} minutes: {what}; logs are in {logs}")]
    Stuck {
        /// The bound.
        minutes: u64,
        /// What is waited for.
        what: String,
        /// Where to look.
        logs: PathBuf,
    },
}

/// Processes the videos and writes the results; what is missing stands in the report.
///
/// # Errors
/// When nothing can be started, it is stopped, or something cannot be written.
pub async fn run(options: &Options, shutdown: &Shutdown) -> Result<Report, ProcessError> {
    let clock = SystemClock::default();
    let began = clock.now();
    let videos = videos::check(&options.videos, options)?;
    std::fs::create_dir_all(&options.out)
        .map_err(|source| ProcessError::File { path: options.out.clone(), source })?;
    // Kept until the end of this function: the state of a run that nobody wants to continue goes with it.
    let temporary = match options.state {
        Some(_) => None,
        None => Some(
            tempfile::tempdir()
                .map_err(|source| ProcessError::File { path: std::env::temp_dir(), source })?,
        ),
    };
    let state = options.state.clone().or_else(|| temporary.as_ref().map(|t| t.path().to_owned()));
    let state = state.unwrap_or_default();
    let cameras = videos.iter().map(|video| video.camera.clone()).collect();
    let console = ConsoleAddress::loopback();
    let running = Running::start(&state, &options.common, cameras, true, console, shutdown).await?;
    let mut memory = Memory::default();
    let done = finish(options, &videos, &running, &mut memory, shutdown).await;
    running.supervisor.look_at_memory(&mut memory);
    let cpu = running.supervisor.processor_time();
    let layout = running.site.layout.clone();
    running.stop().await;
    let mut report = done?;
    for video in &videos {
        over(layout.run_of(&video.camera.id))?;
    }
    report.seconds = clock.now().saturating_sub(began).as_secs_f64();
    report.cpu_seconds = cpu.as_secs_f64();
    report.memory_bytes = memory;
    Ok(report)
}

/// Its results are written: the next run on this file is another one. Until then the same command goes on with it.
fn over(run: PathBuf) -> Result<(), ProcessError> {
    match std::fs::remove_file(&run) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(ProcessError::File { path: run, source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn finish(
    options: &Options,
    videos: &[videos::Video],
    running: &Running,
    memory: &mut Memory,
    shutdown: &Shutdown,
) -> Result<Report, ProcessError> {
    let statuses = wait::until_done(running, videos, memory, shutdown)
        .await
        .map_err(|error| continued(error, options))?;
    gather::gather(options, videos, running, &statuses, shutdown).await
}

/// A stopped run can go on when its state was kept.
fn continued(error: ProcessError, options: &Options) -> ProcessError {
    match (error, &options.state) {
        (ProcessError::Stopped(_), Some(state)) => ProcessError::Stopped(format!(
            "; the same command with --state {} goes on",
            state.display()
        )),
        (error, _) => error,
    }
}
