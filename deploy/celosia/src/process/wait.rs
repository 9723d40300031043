//! Owns the waiting for the end of a run, and the progress that a person sees meanwhile.

use std::{collections::BTreeMap, time::Duration};

use base::{Clock, Shutdown, SystemClock};
use indicatif::{ProgressBar, ProgressStyle};
use link::mqtt::{Bus, MqttConfig};
use proto::{
    CameraId, Identity, Role,
    control::{CameraState, CameraStatus, DeviceStatus},
    topic,
};

use super::{ProcessError, videos::Video};
use crate::{
    run::{RunError, Running},
    services::EDGE,
    supervisor::Memory,
};

/// How often the database is looked at.
const TICK: Duration = Duration::from_millis(100);
/// Longest time without any change: many times what one clip of 4K takes on a busy machine.
const STILL_MAX: Duration = Duration::from_secs(600);

/// How long the gateway's last status may be on its way after the gateway has ended.
const LAST_WORD_MAX: Duration = Duration::from_secs(5);

/// How often the memory of all processes is looked at, in ticks: a look takes some milliseconds.
const MEMORY_TICKS: u32 = 3;

/// What the gateway last said of its cameras.
pub(super) type Statuses = BTreeMap<CameraId, CameraStatus>;

/// Everything that changes while a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Progress {
    captured: u64,
    held: u64,
    outbox: usize,
    done: u64,
    awaiting: u64,
}

/// Waits until the gateway has ended, the bridge's outbox is empty and no frame waits for its result.
pub(super) async fn until_done(
    running: &Running,
    videos: &[Video],
    memory: &mut Memory,
    shutdown: &Shutdown,
) -> Result<Statuses, ProcessError> {
    let clock = SystemClock::default();
    let bus_shutdown = Shutdown::default();
    let mut inbox = listen(running, &bus_shutdown)?;
    let bar = bar();
    let mut statuses = Statuses::new();
    let mut last = (Progress::default(), clock.now());
    let mut edge_ended = None;
    for tick in 0u32.. {
        if tick.is_multiple_of(MEMORY_TICKS) {
            running.supervisor.look_at_memory(memory);
        }
        while let Ok(message) = inbox.try_recv() {
            match serde_json::from_slice::<DeviceStatus>(&message.payload) {
                // A last will knows no cameras.
                Ok(status) => statuses.extend(status.cameras),
                Err(error) => tracing::warn!(topic = %message.topic, %error, "not a status"),
            }
        }
        let progress = look(running, videos, &statuses).await?;
        if progress != last.0 {
            last = (progress, clock.now());
            show(&bar, progress);
        }
        let settled = progress.outbox == 0 && progress.awaiting == 0;
        let told = videos.iter().all(|video| is_over(&statuses, video));
        let since = edge_ended.map_or(Duration::ZERO, |at| clock.now().saturating_sub(at));
        if edge_ended.is_some() && settled && (told || since > LAST_WORD_MAX) {
            break;
        }
        if clock.now().saturating_sub(last.1) > STILL_MAX {
            let what = format!("{progress:?}");
            let logs = running.site.layout.logs();
            return Err(ProcessError::Stuck { minutes: STILL_MAX.as_secs() / 60, what, logs });
        }
        tokio::select! {
            biased;
            () = shutdown.requested() => return Err(ProcessError::Stopped(String::new())),
            failure = running.supervisor.failed() => return Err(RunError::from(failure).into()),
            _ = running.supervisor.ended(EDGE), if edge_ended.is_none() => {
                edge_ended = Some(clock.now());
            }
            _ = shutdown.sleep(TICK) => {}
        }
    }
    bar.finish_and_clear();
    bus_shutdown.request();
    Ok(statuses)
}

fn is_over(statuses: &Statuses, video: &Video) -> bool {
    let state = statuses.get(&video.camera.id).map(|status| status.state);
    matches!(state, Some(CameraState::Finished | CameraState::Failed))
}

fn listen(
    running: &Running,
    shutdown: &Shutdown,
) -> Result<tokio::sync::mpsc::Receiver<link::mqtt::Message>, ProcessError> {
    let site = &running.site;
    let credentials = link::Credentials::load(&site.layout.credentials(Role::Admin.as_str()))?;
    let identity: Identity = credentials.identity().clone();
    let config = MqttConfig {
        host: "localhost".to_owned(),
        port: site.ports.broker,
        credentials,
        client_id: identity.common_name(),
        last_will: None,
    };
    let bus = Bus::connect(config, shutdown)?;
    Ok(bus.subscribe(&topic::every_status(&site.id))?)
}

async fn look(
    running: &Running,
    videos: &[Video],
    statuses: &Statuses,
) -> Result<Progress, ProcessError> {
    let mut progress = Progress { outbox: waiting(running)?, ..Progress::default() };
    for video in videos {
        let ledger = statuses.get(&video.camera.id).map(|status| status.ledger);
        let ledger = ledger.unwrap_or_default();
        progress.captured += ledger.captured;
        progress.held += ledger.held;
    }
    for camera in running.results.cameras().await? {
        progress.done += camera.counts.total().frames;
        progress.awaiting += camera.awaiting;
    }
    Ok(progress)
}

/// Clips in the bridge's outbox. Looked at as files: the bridge takes a record away only when the database has it, so
/// that none is between the two.
fn waiting(running: &Running) -> Result<usize, ProcessError> {
    let path = running.site.layout.state().join("outbox/records");
    match std::fs::read_dir(&path) {
        Ok(entries) => Ok(entries.count()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(ProcessError::File { path, source }),
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // The template is a constant; were it wrong, the default would do.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    let Progress { captured, held, outbox, done, awaiting } = progress;
    bar.set_message(format!(
        "{captured} slots captured, {held} at the gateway, {outbox} clips at the bridge, \
         {awaiting} frames wait for a result, {done} done"
    ));
}
