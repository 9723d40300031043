//! Owns one question about a seek to a key frame: is it near enough? It is asked of the compressed picture, so that one that
//! is not costs no decoding.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use gstreamer as gst;
use gstreamer::prelude::*;

/// Longest wait for the first compressed picture after a seek; then the exact way is taken.
const WAIT: Duration = Duration::from_secs(2);

/// Times that are near enough, in nanoseconds after the clip's start, and whom to tell.
struct Ask {
    near: RangeInclusive<i64>,
    tell: Option<SyncSender<bool>>,
    shut: bool,
}

/// Stands in front of the decoder.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Option<Ask>>>);

impl Gate {
    /// Watches what comes through `pad`.
    pub(crate) fn watch(&self, pad: &gst::Pad) {
        let gate = self.clone();
        let what = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(what, move |pad, info| {
            let mut asked = gate.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(ask) = asked.as_mut() else { return gst::PadProbeReturn::Ok };
            let near = match (info.buffer(), info.event().map(|event| event.type_())) {
                (Some(buffer), _) => time(pad, buffer).is_some_and(|at| ask.near.contains(&at)),
                (None, Some(gst::EventType::Eos)) => false,
                (None, _) => return gst::PadProbeReturn::Ok,
            };
            if let Some(tell) = ask.tell.take() {
                ask.shut = !near;
                // Who asked may have stopped waiting.
                tell.try_send(near).ok();
            }
            if ask.shut { gst::PadProbeReturn::Handled } else { gst::PadProbeReturn::Ok }
        });
    }

    /// Asks about the next picture that comes; the answer is for [`Answer::is_near`].
    pub(crate) fn ask(&self, near: RangeInclusive<i64>) -> Answer {
        let (tell, answer) = sync_channel(1);
        let ask = Ask { near, tell: Some(tell), shut: false };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ask);
        Answer(answer)
    }

    /// Lets everything through again.
    pub(crate) fn open(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What is said of the first picture.
pub(crate) struct Answer(Receiver<bool>);

impl Answer {
    /// Whether it is near enough. Waits for it.
    pub(crate) fn is_near(&self) -> bool {
        self.0.recv_timeout(WAIT).unwrap_or(false)
    }
}

fn time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<i64> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?.clone();
    let pts = buffer.pts()?;
    let at = segment.to_stream_time(pts).unwrap_or(pts);
    i64::try_from(at.nseconds()).ok()
}
