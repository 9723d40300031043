//! Owns `celosia up`: a whole site on this machine with one camera, until somebody stops it.

mod pace;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use base::{Clock, Shutdown, SystemClock};
use proto::UtcTime;
use results::{CameraTotals, FrameFilter, Order};

use crate::{
    demo::{self, DemoError},
    run::{Common, RunError, Running},
    site::{Camera, ConsoleAddress},
    supervisor::Memory,
};

/// Name of the console's first user.
const OPERATOR: &str = "operator";
/// How often a line says what came in.
const ROUND: Duration = Duration::from_secs(30);

/// What a person asks of `celosia up`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where pictures come from: `demo`, a video file, rtsp://HOST/PATH, /dev/video0, or test:ball.
    #[arg(long, default_value = "demo", value_name = "SOURCE")]
    pub camera: String,
    /// User of an rtsp:// camera.
    #[arg(long, value_name = "NAME", requires = "camera_password_file")]
    pub camera_user: Option<String>,
    /// File with that user's password.
    #[arg(long, value_name = "FILE")]
    pub camera_password_file: Option<PathBuf>,
    /// Everything that the site keeps; made at the first start, continued at the next.
    #[arg(long, default_value = ".celosia/site", env = "CELOSIA_STATE", value_name = "DIR")]
    pub state: PathBuf,
    /// Address on which the console listens. Another than loopback needs a proxy with TLS in front.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub bind: IpAddr,
    /// What operators type to reach that proxy, such as `https://masks.example.org`.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Settings shared with `celosia process`.
    #[command(flatten)]
    pub common: Common,
}

/// Why a site does not run.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The camera cannot be one.
    #[error("camera {source_text}: {reason}")]
    Camera {
        /// As it was given.
        source_text: String,
        /// Why.
        reason: String,
    },
    /// The demonstration video.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The site.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its database.
    #[error(transparent)]
    Results(#[from] results::ResultsError),
}

/// Runs a site until it is asked to stop or a process is given up.
///
/// # Errors
/// When it cannot be started, or a process is given up. Everything is stopped then.
pub async fn run(options: &Options, shutdown: &Shutdown) -> Result<(), UpError> {
    let camera = camera(options)?;
    let started = Running::start(
        &options.state,
        &options.common,
        vec![camera],
        false,
        ConsoleAddress { address: options.bind, public_url: options.public_url.clone() },
        shutdown,
    );
    let running = match started.await {
        Ok(running) => running,
        // Ctrl-C during the start is no failure.
        Err(_) if shutdown.is_requested() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let clock = SystemClock::default();
    let now = UtcTime::from_micros(clock.utc_micros()).unwrap_or(UtcTime::EPOCH);
    let password = running.site.password.reveal();
    let new = running.results.create_user(OPERATOR, password, now).await?;
    greet(options, &running, new);
    let mut memory = Memory::default();
    let ended = tokio::select! {
        biased;
        () = shutdown.requested() => Ok(()),
        failure = running.supervisor.failed() => Err(RunError::from(failure).into()),
        () = rounds(&running, &clock, &mut memory, shutdown) => Ok(()),
    };
    say("stopping: what is captured is kept");
    running.supervisor.look_at_memory(&mut memory);
    say(&format!("memory    at most {}", memory.text()));
    running.stop().await;
    ended
}

fn camera(options: &Options) -> Result<Camera, UpError> {
    let wrong = |reason: String| UpError::Camera { source_text: options.camera.clone(), reason };
    let text = options.camera.as_str();
    let is_device = text.contains("://") || text.starts_with("/dev/") || text.starts_with("test:");
    let (id, source, repeat) = match text {
        "demo" => {
            let video = demo::among_assets(&options.common.assets)?;
            let video = video.canonicalize().map_err(|e| wrong(e.to_string()))?;
            ("demo", video.to_string_lossy().into_owned(), true)
        }
        _ if is_device => ("camera", text.to_owned(), false),
        path => {
            let path = Path::new(path).canonicalize().map_err(|e| wrong(e.to_string()))?;
            ("camera", path.to_string_lossy().into_owned(), true)
        }
    };
    let password_file = options.camera_password_file.as_ref();
    let password_file = password_file.map(|p| p.canonicalize()).transpose();
    Ok(Camera {
        id: id.parse().map_err(|e: proto::ids::IdError| wrong(e.to_string()))?,
        source,
        user: options.camera_user.clone(),
        password_file: password_file.map_err(|e| wrong(format!("password file: {e}")))?,
        clip: Some(options.common.clip.clone()),
        every: options.common.every.clone(),
        repeat,
        start: None,
    })
}

fn greet(options: &Options, running: &Running, new: bool) {
    let layout = &running.site.layout;
    let console = SocketAddr::from((options.bind, running.site.ports.console));
    say(&format!("console   http://{console}"));
    let file = layout.state().join("console.password");
    if new {
        let password = running.site.password.reveal();
        say(&format!("login     {OPERATOR}, password {password}"));
        say(&format!("          (it stands in {})", file.display()));
    } else {
        say(&format!("login     {OPERATOR}, password in {}", file.display()));
    }
    say(&format!("camera    {}", options.camera));
    say(&format!("logs      {}", layout.logs().display()));
    say("Ctrl-C stops it; the same command goes on where it was.");
}

/// Says now and then what came in, for whoever looks at the terminal.
async fn rounds(running: &Running, clock: &dyn Clock, memory: &mut Memory, shutdown: &Shutdown) {
    let utc = || UtcTime::from_micros(clock.utc_micros()).unwrap_or(UtcTime::EPOCH);
    let mut since = utc();
    while shutdown.sleep(ROUND).await {
        running.supervisor.look_at_memory(memory);
        match line(running, since, utc()).await {
            Ok(line) => {
                say(&line);
                since = utc();
            }
            Err(error) => tracing::warn!(%error, "the results cannot be looked at"),
        }
    }
}

/// The sums of all cameras, the newest result, and how long results took since the last line.
async fn line(
    running: &Running,
    since: UtcTime,
    now: UtcTime,
) -> Result<String, results::ResultsError> {
    let cameras = running.results.cameras().await?;
    let sum = |what: fn(&CameraTotals) -> u64| cameras.iter().map(what).sum::<u64>();
    let mut line = format!(
        "{} frames, {} withheld, {} undecodable, {} wait for their result",
        sum(|c| c.counts.total().frames),
        sum(|c| c.withheld),
        sum(|c| c.undecodable),
        sum(|c| c.awaiting)
    );
    let newest = FrameFilter { order: Order::Newest, ..FrameFilter::default() };
    let newest = running.results.frames(&newest, 1).await?;
    if let Some((frame, result)) = newest.first().and_then(|f| f.result().map(|r| (f, r))) {
        line.push_str(&format!(
            "; at {}: {} with mask, {} without, {} incorrect, {} uncertain",
            frame.captured_at, result.mask, result.no_mask, result.incorrect, result.uncertain
        ));
    }
    if let Some(pace) = pace::since(&running.results, since, now).await? {
        line.push_str(&format!("; {pace}"));
    }
    Ok(line)
}

#[expect(clippy::print_stdout, reason = "what the person at the terminal asked for")]
fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn read(arguments: &[&str]) -> Result<Camera, String> {
        let line = Line::try_parse_from([&["up"], arguments].concat());
        let options = line.map_err(|e| e.to_string())?.options;
        camera(&options).map_err(|e| e.to_string())
    }

    #[test]
    fn every_kind_of_camera_is_taken_for_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let video = folder.path().join("street.mp4");
        let password = folder.path().join("door.password");
        std::fs::write(&video, "video").unwrap();
        std::fs::write(&password, "secret").unwrap();
        let (video, password) = (video.to_str().unwrap(), password.to_str().unwrap());

        let file = read(&["--camera", video, "--every", "2s", "--clip", "5s"]).unwrap();
        let whole = Path::new(video).canonicalize().unwrap();
        assert_eq!(Path::new(&file.source), whole);
        assert!(file.repeat, "a file is shown again and again");
        assert_eq!((file.every.as_str(), file.clip.as_deref()), ("2s", Some("5s")));

        let login = ["--camera-user", "viewer", "--camera-password-file", password];
        let url = "rtsp://10.0.0.7/main";
        let rtsp = read(&[&["--camera", url][..], &login].concat()).unwrap();
        assert_eq!((rtsp.source.as_str(), rtsp.repeat), (url, false));
        assert_eq!(rtsp.user.as_deref(), Some("viewer"));
        assert!(rtsp.password_file.is_some_and(|path| path.is_absolute()));

        for source in ["/dev/video0", "test:ball"] {
            let device = read(&["--camera", source]).unwrap();
            assert_eq!((device.source.as_str(), device.repeat), (source, false));
        }
    }

    #[test]
    fn a_camera_that_cannot_be_one_is_named() {
        let missing = read(&["--camera", "no/such/street.mp4"]).unwrap_err();
        assert!(missing.contains("no/such/street.mp4"), "{missing}");
        let alone = read(&["--camera", "rtsp://cam/x", "--camera-user", "viewer"]).unwrap_err();
        assert!(alone.contains("--camera-password-file"), "{alone}");
        let slow = read(&["--every", "often"]).unwrap_err();
        assert!(slow.contains("often"), "{slow}");
    }

    #[test]
    fn without_a_camera_the_drawn_scene_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let assets = ["--assets", folder.path().to_str().unwrap()];
        // Named by what it would be made from.
        let error = read(&assets).unwrap_err();
        assert!(error.contains("astronaut.png"), "{error}");
        std::fs::write(folder.path().join("demo-1.mp4"), "video").unwrap();
        for arguments in [&assets[..], &[&["--camera", "demo"], &assets[..]].concat()] {
            let demo = read(arguments).unwrap();
            assert!(demo.source.ends_with("demo-1.mp4") && demo.repeat, "{demo:?}");
        }
    }
}
