//! Owns the recording of one camera: sessions, reconnects, gaps, and the hand-over of clips to the keeper.

use std::{path::PathBuf, sync::Arc, time::Duration};

use base::{Fault, Faulty, Shutdown};
use capture::{Capture, CaptureError, CaptureSettings, CaptureSource, CapturedClip};
use proto::{
    CameraId, ClipId, Clock, SessionId, UtcTime,
    control::CameraState,
    limits::{CLIP_BYTES_MAX, CLOCK_STEP_NS},
    time::ClockSource,
};
use tokio::{sync::watch, task::spawn_blocking};

use crate::{
    config::Camera,
    due::Due,
    gateway::{Gateway, count},
    held::Fresh,
    keeper::{KeepError, Keeper},
    schedule::{Phase, Plan},
    sessions::{self, Run, RunFile, SessionError},
};

/// First and longest waits before a camera that went away is tried again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A camera that refuses us is asked again each minute: a person may mend it at either end.
const REFUSED_WAIT: Duration = Duration::from_secs(60);
/// How often a file waits for room in the spool, and how often a clip that could not be kept is tried again.
const ROOM_WAIT: Duration = Duration::from_millis(500);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionEnd {
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The recorder of one camera.
pub struct Recorder {
    gateway: Arc<Gateway>,
    camera: Camera,
    state: PathBuf,
    spool_bytes_max: u64,
    plan: watch::Receiver<Plan>,
    shutdown: Shutdown,
    /// The camera went away and has not given anything since.
    away: bool,
    wait: Duration,
    /// The wall time from which the plan's time counts.
    began: UtcTime,
    /// It does not record now, by its schedule.
    paused: bool,
}

/// A session that runs.
struct Session {
    id: SessionId,
    next_seq: u64,
    /// Clips before this one were kept by an earlier process.
    skip_below: u64,
    run: Option<(RunFile, Run)>,
    /// UTC of the session's start and how far to trust it, where the recorder knows better than the container.
    anchor: Option<(UtcTime, Clock)>,
    /// Wall clock minus monotonic clock at the start, in microseconds; for sources whose time is the wall clock.
    wall_offset: Option<i64>,
}

impl Recorder {
    /// A recorder that keeps the runs of files in `state`.
    #[must_use]
    pub fn new(
        gateway: Arc<Gateway>,
        camera: Camera,
        state: PathBuf,
        spool_bytes_max: u64,
        plan: watch::Receiver<Plan>,
        shutdown: Shutdown,
    ) -> Self {
        let began = beginning(&gateway);
        Self {
            gateway,
            camera,
            state,
            spool_bytes_max,
            plan,
            shutdown,
            away: false,
            wait: FIRST_WAIT,
            began,
            paused: false,
        }
    }

    /// Records until shutdown, or until a file ends.
    pub async fn run(mut self) {
        while !self.shutdown.is_requested() {
            let now = self.gateway.clock.now();
            let phase = self.plan.borrow_and_update().at(now);
            match phase {
                Phase::Wait(until) => {
                    match until {
                        Some(_) => self.idle().await,
                        None => self.rest().await,
                    }
                    self.tell(CameraState::Paused, None);
                    self.pause(until.map(|until| until.saturating_sub(now))).await;
                }
                Phase::Record(until) => {
                    self.expect().await;
                    let ended = self.session(until).await;
                    if self.after(ended).await {
                        break;
                    }
                }
            }
        }
        self.rest().await;
        let id = self.camera.id.clone();
        if let Err(error) = self.gateway.with_keeper(move |keeper| keeper.end(&id)).await {
            tracing::error!(camera = %self.camera.id, %error, "noise keys were not destroyed");
        }
    }

    fn tell(&self, state: CameraState, reason: Option<String>) {
        self.gateway.tell(&self.camera.id, state, reason);
    }

    async fn pause(&mut self, wait: Option<Duration>) {
        let wait = wait.unwrap_or(REFUSED_WAIT);
        tokio::select! {
            biased;
            _ = self.shutdown.sleep(wait) => {}
            changed = self.plan.changed() => drop(changed),
        }
    }

    /// Decides what follows from the end of a session; true when the camera is over.
    async fn after(&mut self, ended: Result<(), SessionEnd>) -> bool {
        let error = match ended {
            Ok(()) if self.camera.is_run_once() && !self.shutdown.is_requested() => {
                self.tell(CameraState::Finished, None);
                return true;
            }
            Ok(()) => return false,
            Err(error) => error,
        };
        self.away = true;
        self.count_gap().await;
        let camera = &self.camera.id;
        let fault = match &error {
            SessionEnd::Capture(error) => error.fault(),
            SessionEnd::Keep(_) | SessionEnd::Session(_) => Fault::Transient,
        };
        let reason = Some(error.to_string());
        if fault == Fault::Transient {
            self.gateway.counters.add(count::RECONNECTS, 1);
            tracing::warn!(%camera, %error, "the camera is away, will try again");
            self.tell(CameraState::Reconnecting, reason);
            self.shutdown.sleep(self.wait).await;
            self.wait = (self.wait * 2).min(LONGEST_WAIT);
            return false;
        }
        self.gateway.counters.add(count::SOURCES_FAILED, 1);
        tracing::error!(%camera, %error, "the source cannot be used");
        self.tell(CameraState::Failed, reason);
        if self.camera.is_run_once() {
            return true;
        }
        self.pause(Some(REFUSED_WAIT)).await;
        false
    }

    async fn open_session(&self) -> Result<Session, SessionEnd> {
        let mut session = Session {
            id: SessionId::new(crate::random()?),
            next_seq: 0,
            skip_below: 0,
            run: None,
            anchor: None,
            wall_offset: None,
        };
        let CaptureSource::File { path } = &self.camera.source else {
            session.wall_offset = Some(self.wall_offset());
            return Ok(session);
        };
        if self.camera.repeat {
            let clock = Clock { source: ClockSource::System, uncertainty_ms: None };
            session.anchor = Some((self.gateway.utc(), clock));
            session.wall_offset = Some(self.wall_offset());
            return Ok(session);
        }
        let clock = Clock { source: ClockSource::File, uncertainty_ms: None };
        session.anchor = self.camera.start.map(|at| (at, clock));
        if !path.is_file() {
            // The capture says why, in its own words.
            return Ok(session);
        }
        let (file, path) = (RunFile::new(&self.state, &self.camera.id), path.clone());
        let drawn = crate::random()?;
        let opened = spawn_blocking(move || {
            let run = Run::continue_or_new(file.read()?, sessions::content(&path)?, drawn);
            file.write(&run)?;
            Ok::<_, SessionError>((file, run))
        });
        let (file, run) =
            opened.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
        session.id = run.session();
        let id = session.id;
        let in_spool = self.gateway.with_keeper(move |keeper| Ok(keeper.next_seq(id))).await?;
        session.skip_below = run.next_seq.max(in_spool);
        session.run = Some((file, run));
        Ok(session)
    }

    fn wall_offset(&self) -> i64 {
        beginning(&self.gateway).micros()
    }

    /// One session, until the source ends, the plan says so, or shutdown.
    async fn session(&mut self, until: Option<Duration>) -> Result<(), SessionEnd> {
        let mut session = self.open_session().await?;
        let settings = CaptureSettings {
            clip_length: self.camera.clip,
            pace: self.camera.pace,
            repeat: self.camera.repeat,
        };
        let (source, clock) = (self.camera.source.clone(), Arc::clone(&self.gateway.clock));
        let started = spawn_blocking(move || Capture::start(source, settings, clock)).await;
        let mut capture = started.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
        self.tell(CameraState::Recording, None);
        loop {
            self.wait_for_room().await;
            let stopper = capture.stopper();
            let mut next = spawn_blocking(move || {
                let clip = capture.next_clip();
                (capture, clip)
            });
            let done = loop {
                let now = self.gateway.clock.now();
                let left = until.map_or(REFUSED_WAIT, |until| until.saturating_sub(now));
                tokio::select! {
                    biased;
                    // First: whatever else woke this up, the open clip is closed and not waited for.
                    () = self.shutdown.requested() => {
                        stopper.stop();
                        break (&mut next).await;
                    }
                    done = &mut next => break done,
                    changed = self.plan.changed() => drop(changed),
                    _ = self.shutdown.sleep(left.max(ROOM_WAIT)) => {}
                }
                let now = self.gateway.clock.now();
                if matches!(self.plan.borrow().at(now), Phase::Wait(_)) {
                    stopper.stop();
                }
            };
            let clip;
            (capture, clip) = done.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
            match clip {
                Ok(Some(clip)) => {
                    self.take(&mut session, clip).await?;
                    if self.clock_stepped(&session) {
                        tracing::warn!(camera = %self.camera.id, "the wall clock stepped: new session");
                        self.gateway.counters.add(count::CLOCK_SET, 1);
                        self.began = beginning(&self.gateway);
                        self.expect_anew().await;
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A file can wait: reading it faster than it is uploaded must not make the quota drop what is held.
    async fn wait_for_room(&self) {
        while self.camera.is_run_once() {
            let held = self.gateway.with_keeper(|keeper| Ok(keeper.bytes())).await.unwrap_or(0);
            let room = held.saturating_add(2 * CLIP_BYTES_MAX) <= self.spool_bytes_max;
            if room || !self.shutdown.sleep(ROOM_WAIT).await {
                return;
            }
        }
    }

    fn clock_stepped(&self, session: &Session) -> bool {
        let step = session.wall_offset.map(|at_start| self.wall_offset().saturating_sub(at_start));
        step.is_some_and(|step| step.saturating_abs() > CLOCK_STEP_NS / 1000)
    }

    async fn take(&mut self, session: &mut Session, clip: CapturedClip) -> Result<(), SessionEnd> {
        let seq = session.next_seq;
        session.next_seq += 1;
        if seq < session.skip_below {
            return Ok(());
        }
        let id = ClipId {
            site: self.gateway.identity.site.clone(),
            camera: self.camera.id.clone(),
            session: session.id,
            seq,
        };
        self.keep(&id, session, Arc::new(clip)).await?;
        if let Some((file, run)) = &mut session.run {
            run.next_seq = seq + 1;
            let (file, run) = (file.clone(), run.clone());
            let written = spawn_blocking(move || file.write(&run)).await;
            written.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
        }
        self.gateway.kept.notify_waiters();
        (self.away, self.wait) = (false, FIRST_WAIT);
        Ok(())
    }

    async fn keep(
        &self,
        id: &ClipId,
        session: &Session,
        clip: Arc<CapturedClip>,
    ) -> Result<(), KeepError> {
        let (captured_at, clock) = match session.anchor {
            Some((anchor, clock)) => (anchor.plus_ns(clip.interval.start_ns), clock),
            None => (clip.captured_at, clip.clock),
        };
        let counters = &self.gateway.counters;
        counters.add(count::CUT_INSIDE_GROUP, u64::from(clip.marks.ends_inside_group));
        counters.add(count::LEADING, u64::from(clip.marks.leading_dropped));
        loop {
            let (clip, name, now) = (Arc::clone(&clip), id.clone(), self.gateway.utc());
            let every_ns = self.camera.every_ns;
            let due = (!self.camera.is_run_once()).then(|| self.due());
            let work = move |keeper: &mut Keeper| {
                let (bytes, interval) = (clip.bytes.as_slice(), clip.interval);
                // What lies between this clip and the last; a disk that cannot say so cannot keep the clip either.
                let mut slots = 0;
                if let Some(due) = due {
                    slots += keeper.expect(&name.camera, due, every_ns, captured_at)?;
                    slots += keeper.gap(&name.camera, every_ns, captured_at)?;
                }
                let fresh = Fresh { clip: name, bytes, interval, every_ns, captured_at, clock };
                keeper.keep(&fresh, now).map(|_| slots)
            };
            match self.gateway.with_keeper(work).await {
                Ok(slots) => {
                    counters.add(count::CAPTURED, 1);
                    counters.add(count::GAP_SLOTS, slots);
                    return Ok(());
                }
                // A file is still there: it waits for the disk. Unless it is time to stop: then the run resumes.
                Err(error) if self.camera.is_run_once() => {
                    counters.add(count::NOT_KEPT_YET, 1);
                    tracing::error!(clip = %id, %error, "clip not kept, will try again");
                    if !self.shutdown.sleep(ROOM_WAIT).await {
                        return Err(error);
                    }
                }
                Err(error) => {
                    counters.add(count::LOST, 1);
                    tracing::error!(clip = %id, %error, "clip lost: it could not be made durable");
                    return Ok(());
                }
            }
        }
    }

    fn due(&self) -> Due {
        Due::of(&self.plan.borrow(), self.began)
    }

    /// A live camera should record from now on.
    async fn expect(&mut self) {
        if self.camera.is_run_once() {
            return;
        }
        if std::mem::take(&mut self.paused) {
            self.began = beginning(&self.gateway);
            return self.expect_anew().await;
        }
        let (due, every_ns, now) = (self.due(), self.camera.every_ns, self.gateway.utc());
        self.account(move |keeper, id| keeper.expect(id, due, every_ns, now)).await;
    }

    /// What lies before now is accounted for.
    async fn expect_anew(&self) {
        let (due, now) = (self.due(), self.gateway.utc());
        self.account(move |keeper, id| keeper.expect_anew(id, due, now).map(|()| 0)).await;
    }

    /// A live camera does not record for a while, by its schedule. Where this process does not live to its end, the next
    /// one knows what was due.
    async fn idle(&mut self) {
        if std::mem::take(&mut self.away) {
            self.count_gap().await;
        }
        self.paused = true;
        self.began = beginning(&self.gateway);
        if !self.camera.is_run_once() {
            self.expect_anew().await;
        }
    }

    /// Nothing is expected of a live camera from now on; what it should have given before is counted.
    async fn rest(&mut self) {
        // Its last clip ends where it was stopped, unless it was away then.
        if std::mem::take(&mut self.away) {
            self.count_gap().await;
        }
        self.account(|keeper, id| keeper.rest(id).map(|()| 0)).await;
    }

    /// Counts what a live camera should have given until now and did not.
    async fn count_gap(&self) {
        let (every_ns, now) = (self.camera.every_ns, self.gateway.utc());
        self.account(move |keeper, id| keeper.gap(id, every_ns, now)).await;
    }

    /// Does something to the account of this camera. What a disk does not take is counted with the next gap.
    async fn account(
        &self,
        work: impl FnOnce(&mut Keeper, &CameraId) -> Result<u64, KeepError> + Send + 'static,
    ) {
        let id = self.camera.id.clone();
        match self.gateway.with_keeper(move |keeper| work(keeper, &id)).await {
            Ok(0) => {}
            Ok(slots) => {
                self.gateway.counters.add(count::GAP_SLOTS, slots);
                tracing::warn!(camera = %self.camera.id, slots, "nothing was recorded for a while");
            }
            Err(error) => tracing::error!(camera = %self.camera.id, %error, "gap not counted yet"),
        }
    }
}

/// The wall time at which the monotonic clock, and with it a plan's time, began.
fn beginning(gateway: &Gateway) -> UtcTime {
    let since = i64::try_from(gateway.clock.now().as_micros()).unwrap_or(i64::MAX);
    let micros = gateway.clock.utc_micros().saturating_sub(since);
    UtcTime::from_micros(micros).unwrap_or(UtcTime::EPOCH)
}
