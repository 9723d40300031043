//! Owns a running capture: takes access units, cuts, muxes, hands out closed clips.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gst::prelude::*;
use gstreamer as gst;
use proto::{Clock, UtcTime, limits::CLIP_NS_MAX, time::ClockSource};

use crate::{
    CaptureError, CaptureSettings, CaptureSource, CapturedClip,
    cutter::{Cutter, Draft, Unit},
    mux::mux,
    pipeline::{self, Line, UNUSABLE},
};

/// How often a capture that waits for a picture looks at errors and at its stopper.
const LOOK_EACH: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// A source that gives no picture for this long (10 s) is away.
const STALL: Duration = Duration::from_secs(10);
/// A file that ends over this (1 s) before its stated end is truncated; containers round by less.
const SHORT_NS: i64 = 1_000_000_000;
/// Uncertainty of the gateway's clock in milliseconds: time service aside, the delay between camera and gateway.
const SYSTEM_UNCERTAINTY_MS: u32 = 500;

/// Ends a capture from another thread: the open clip is closed and given out, then the capture ends.
#[derive(Debug, Clone, Default)]
pub struct Stopper(Arc<AtomicBool>);

impl Stopper {
    /// Asks for the end.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// One session of one source.
pub struct Capture {
    source: CaptureSource,
    settings: CaptureSettings,
    clock: Arc<dyn base::Clock>,
    stopper: Stopper,
    line: Line,
    cutter: Cutter,
    /// Format of the open clip.
    caps: Option<gst::Caps>,
    /// Added to picture times: where the current round of a repeated file began.
    round_ns: i64,
    /// Running time of the current round's first picture.
    round_origin_ns: Option<i64>,
    anchor: Option<(UtcTime, Clock)>,
    created: Option<UtcTime>,
    last_picture: Duration,
    /// What comes after the clip that was given out last.
    then: Then,
}

enum Then {
    GoOn,
    End,
    Fail(CaptureError),
    Done,
}

enum Step {
    Clip(Draft, gst::Caps),
    Over(Then),
}

impl Capture {
    /// Starts a session.
    ///
    /// # Errors
    /// When the source cannot be opened at all; most causes show at the first [`Self::next_clip`].
    pub fn start(
        source: CaptureSource,
        settings: CaptureSettings,
        clock: Arc<dyn base::Clock>,
    ) -> Result<Self, CaptureError> {
        let what = source.label();
        gst::init().map_err(|e| CaptureError::Pipeline { what, reason: e.to_string() })?;
        let length_ns = check(&source, &settings)?;
        let line = pipeline::build(&source, &settings)?;
        let last_picture = clock.now();
        let capture = Self {
            source,
            settings,
            clock,
            stopper: Stopper::default(),
            line,
            cutter: Cutter::new(length_ns),
            caps: None,
            round_ns: 0,
            round_origin_ns: None,
            anchor: None,
            created: None,
            last_picture,
            then: Then::GoOn,
        };
        capture.play()?;
        Ok(capture)
    }

    /// Ends this capture from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Blocks until the next clip is closed; `None` at the end of a file or after a stop. After an error or `None`
    /// there is nothing more. What was captured before an error is given out before it.
    ///
    /// # Errors
    /// By cause; see [`CaptureError`].
    pub fn next_clip(&mut self) -> Result<Option<CapturedClip>, CaptureError> {
        loop {
            match std::mem::replace(&mut self.then, Then::Done) {
                Then::GoOn => {}
                Then::End | Then::Done => return Ok(None),
                Then::Fail(error) => return Err(error),
            }
            match self.step() {
                Step::Clip(draft, caps) => {
                    self.then = Then::GoOn;
                    return self.close(&draft, &caps).map(Some);
                }
                Step::Over(then) => {
                    pipeline::stop(&self.line.pipeline);
                    self.then = then;
                    if let (Some(draft), Some(caps)) = (self.cutter.finish(), self.caps.take()) {
                        return self.close(&draft, &caps).map(Some);
                    }
                }
            }
        }
    }

    fn close(&self, draft: &Draft, caps: &gst::Caps) -> Result<CapturedClip, CaptureError> {
        let bytes = mux(&self.source.label(), draft, caps)?;
        let unknown = Clock { source: ClockSource::Unknown, uncertainty_ms: None };
        let (anchor, clock) = self.anchor.unwrap_or((UtcTime::EPOCH, unknown));
        Ok(CapturedClip {
            bytes,
            interval: draft.interval,
            captured_at: anchor.plus_ns(draft.interval.start_ns),
            clock,
            pictures: draft.units.len(),
            marks: draft.marks,
        })
    }

    /// Takes pictures until a clip is closed or the session is over.
    fn step(&mut self) -> Step {
        loop {
            if let Some(error) = self.trouble() {
                return Step::Over(Then::Fail(error));
            }
            if self.stopper.is_stopped() {
                return Step::Over(Then::End);
            }
            if let Some(sample) = self.line.sink.try_pull_sample(LOOK_EACH) {
                self.last_picture = self.clock.now();
                match self.take(&sample) {
                    Ok(None) => {}
                    Ok(Some((draft, caps))) => return Step::Clip(draft, caps),
                    Err(error) => return Step::Over(Then::Fail(error)),
                }
            } else if self.line.sink.is_eos() {
                match self.at_end() {
                    Ok(true) => {}
                    Ok(false) => return Step::Over(Then::End),
                    Err(error) => return Step::Over(Then::Fail(error)),
                }
            } else if self.clock.now().saturating_sub(self.last_picture) > STALL {
                let (what, seconds) = (self.source.label(), STALL.as_secs());
                return Step::Over(Then::Fail(CaptureError::Stalled { what, seconds }));
            }
        }
    }

    fn take(&mut self, sample: &gst::Sample) -> Result<Option<(Draft, gst::Caps)>, CaptureError> {
        let (Some(buffer), Some(caps)) = (sample.buffer(), sample.caps()) else { return Ok(None) };
        let Some(pts) = buffer.pts().or(buffer.dts()) else { return Ok(None) };
        let running = sample
            .segment()
            .and_then(|s| s.downcast_ref::<gst::ClockTime>())
            .and_then(|s| s.to_running_time_full(pts))
            .map_or(pts.nseconds().cast_signed(), |t| match t {
                gst::Signed::Positive(t) => t.nseconds().cast_signed(),
                gst::Signed::Negative(t) => -t.nseconds().cast_signed(),
            });
        let Ok(map) = buffer.map_readable() else { return Ok(None) };
        let unit = Unit {
            pts_ns: self.round_ns + running - *self.round_origin_ns.get_or_insert(running),
            duration_ns: buffer.duration().map(|d| d.nseconds().cast_signed()),
            key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            bytes: map.as_slice().to_vec(),
        };
        // A session begins with its first key frame: pictures before it are not taken.
        if self.anchor.is_none() && unit.key {
            self.anchor = Some(anchor(&self.source, self.created, &*self.clock));
        }
        let renewed = self.caps.as_ref().is_some_and(|old| old.as_ref() != caps);
        let old = self.caps.clone();
        let draft = self.cutter.push(unit, renewed).map_err(|jump| {
            CaptureError::Discontinuity { what: self.source.label(), by_ms: jump.0 / 1_000_000 }
        })?;
        if renewed || self.caps.is_none() {
            self.caps = Some(caps.to_owned());
        }
        Ok(draft.zip(old))
    }

    /// At the end of the stream: true when a repeated file was started again.
    fn at_end(&mut self) -> Result<bool, CaptureError> {
        let what = self.source.label();
        if self.source.is_live() {
            return Err(CaptureError::Ended { what });
        }
        if self.anchor.is_none() {
            // A parser may keep back what cannot be decoded by itself, or give it without a key frame.
            let shown = self.caps.is_some() || self.line.shown.load(Ordering::SeqCst);
            return Err(match shown {
                true => CaptureError::NoKeyFrame { what },
                false => CaptureError::NoVideoStream { what },
            });
        }
        let end_ns = self.cutter.end_ns();
        let declared = self.line.pipeline.query_duration::<gst::ClockTime>();
        if let (Some(declared), CaptureSource::File { .. }) = (declared, &self.source) {
            let declared_ns = declared.nseconds().cast_signed();
            let read_ns = end_ns - self.round_ns + self.round_origin_ns.unwrap_or(0).max(0);
            if read_ns + SHORT_NS < declared_ns {
                let (read_ms, declared_ms) = (read_ns / 1_000_000, declared_ns / 1_000_000);
                return Err(CaptureError::Truncated { what, read_ms, declared_ms });
            }
        }
        if !self.settings.repeat {
            return Ok(false);
        }
        let base = self.line.pipeline.base_time();
        self.line = pipeline::build(&self.source, &self.settings)?;
        if let Some(base) = base {
            // The next round goes on at the very instant at which this one ends, however long the restart takes.
            let round = gst::ClockTime::from_nseconds((end_ns - self.round_ns).unsigned_abs());
            self.line.pipeline.set_start_time(gst::ClockTime::NONE);
            self.line.pipeline.set_base_time(base + round);
        }
        (self.round_ns, self.round_origin_ns) = (end_ns, None);
        self.play()?;
        Ok(true)
    }

    fn play(&self) -> Result<(), CaptureError> {
        match self.line.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(()),
            Err(e) => {
                let what = self.source.label();
                let error = self
                    .trouble_on_bus()
                    .unwrap_or(CaptureError::Pipeline { what, reason: e.to_string() });
                pipeline::stop(&self.line.pipeline);
                Err(error)
            }
        }
    }

    fn trouble_on_bus(&self) -> Option<CaptureError> {
        let bus = self.line.pipeline.bus()?;
        while let Some(message) = bus.pop() {
            if let gst::MessageView::Error(error) = message.view() {
                return Some(by_cause(&self.source, &error.error()));
            }
        }
        None
    }

    fn trouble(&mut self) -> Option<CaptureError> {
        let bus = self.line.pipeline.bus()?;
        while let Some(message) = bus.pop() {
            match message.view() {
                gst::MessageView::Error(error) => {
                    return Some(by_cause(&self.source, &error.error()));
                }
                gst::MessageView::Application(m) => {
                    let own = m.structure().filter(|s| s.name() == UNUSABLE)?;
                    let codec = own.get::<String>("codec").unwrap_or_default();
                    let what = self.source.label();
                    return Some(if codec.is_empty() {
                        CaptureError::NoVideoStream { what }
                    } else {
                        CaptureError::Codec { what, codec }
                    });
                }
                gst::MessageView::Tag(tags) => {
                    let tag = tags.tags().get::<gst::tags::DateTime>().map(|t| t.get());
                    self.created = self.created.or(tag.and_then(|t| utc(&t)));
                }
                _ => {}
            }
        }
        None
    }
}

fn check(source: &CaptureSource, settings: &CaptureSettings) -> Result<i64, CaptureError> {
    let length_ns = i64::try_from(settings.clip_length.as_nanos()).unwrap_or(i64::MAX);
    if !(1_000_000_000..=CLIP_NS_MAX).contains(&length_ns) {
        let reason = "clip length is outside 1 s to 60 s".to_owned();
        return Err(CaptureError::Settings { what: source.label(), reason });
    }
    if let CaptureSource::File { path } = source {
        let unreadable = |source| CaptureError::Unreadable { path: path.clone(), source };
        let length = std::fs::File::open(path).and_then(|f| f.metadata()).map_err(unreadable)?;
        if !length.is_file() {
            return Err(unreadable(std::io::Error::other("not a regular file")));
        }
        if length.len() == 0 {
            let reason = "the file is empty (0 bytes)".to_owned();
            return Err(CaptureError::NotVideo { what: source.label(), reason });
        }
    }
    Ok(length_ns)
}

fn anchor(
    source: &CaptureSource,
    created: Option<UtcTime>,
    clock: &dyn base::Clock,
) -> (UtcTime, Clock) {
    if let CaptureSource::File { .. } = source {
        return match created {
            // Cameras write the creation time in whole seconds and often in local time.
            Some(at) => (at, Clock { source: ClockSource::File, uncertainty_ms: None }),
            None => (UtcTime::EPOCH, Clock { source: ClockSource::Unknown, uncertainty_ms: None }),
        };
    }
    let now = UtcTime::from_micros(clock.utc_micros()).unwrap_or(UtcTime::EPOCH);
    let uncertainty_ms = Some(SYSTEM_UNCERTAINTY_MS);
    (now, Clock { source: ClockSource::System, uncertainty_ms })
}

fn utc(tag: &gst::DateTime) -> Option<UtcTime> {
    tag.to_g_date_time().ok()?.to_utc().ok()?.format("%Y-%m-%dT%H:%M:%SZ").ok()?.parse().ok()
}

fn by_cause(source: &CaptureSource, error: &gst::glib::Error) -> CaptureError {
    use gst::{ResourceError, StreamError};
    let (what, reason) = (source.label(), error.message().to_owned());
    let stream = error.kind::<StreamError>();
    if let Some(resource) = error.kind::<ResourceError>() {
        return match resource {
            ResourceError::NotAuthorized => CaptureError::Unauthorised { what },
            _ if source.is_live() => CaptureError::Unreachable { what, reason },
            _ => CaptureError::Pipeline { what, reason },
        };
    }
    match (source, stream) {
        (CaptureSource::File { .. }, Some(StreamError::CodecNotFound)) => {
            CaptureError::Codec { what, codec: reason }
        }
        (CaptureSource::File { .. }, Some(_)) => CaptureError::NotVideo { what, reason },
        _ => CaptureError::Pipeline { what, reason },
    }
}
