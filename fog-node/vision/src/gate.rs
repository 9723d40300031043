//! Owns one question about a seek to a key frame: is it near enough? It is asked of the compressed picture, so that one that
//! is not costs no decoding. One that is ends the stream behind it: a decoder that waits for later pictures, in case they are
//! shown before, gives it out at once, and none of them is decoded.

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
    /// The seek has thrown away what was on its way before it: what comes now is meant.
    flushed: bool,
    shut: bool,
}

impl Ask {
    /// What becomes of a picture of this time, or of the stream's end.
    fn judge(&mut self, at: Option<i64>, whole: bool) -> Passage {
        if let Some(tell) = self.tell.take() {
            let near = at.is_some_and(|at| self.near.contains(&at));
            self.shut = !near;
            // Who asked may have stopped waiting.
            tell.try_send(near).ok();
        } else if !self.shut && at.is_some() && whole {
            self.shut = true;
            return Passage::End;
        }
        if self.shut { Passage::Closed } else { Passage::Open }
    }
}

/// Whether something may pass to the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Passage {
    Open,
    Closed,
    /// The stream ends before it.
    End,
}

/// Stands in front of the decoder.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Option<Ask>>>);

impl Gate {
    /// Watches what comes through `pad`.
    pub(crate) fn watch(&self, pad: &gst::Pad) {
        let gate = self.clone();
        let events = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
        let what = gst::PadProbeType::BUFFER | events;
        pad.add_probe(what, move |pad, info| {
            match info.event().map(|event| event.type_()) {
                None | Some(gst::EventType::Eos) => {}
                Some(gst::EventType::FlushStop) => {
                    gate.flushed();
                    return gst::PadProbeReturn::Ok;
                }
                Some(_) => return gst::PadProbeReturn::Ok,
            }
            match gate.judge(pad, info.buffer()) {
                Passage::Open => gst::PadProbeReturn::Ok,
                Passage::Closed => gst::PadProbeReturn::Handled,
                Passage::End => {
                    // Waits inside for as long as the picture is looked at; nothing is locked. Who seeks on ends it.
                    if let Some(onwards) = pad.parent_element().and_then(|e| e.static_pad("src")) {
                        onwards.push_event(gst::event::Eos::new());
                    }
                    gst::PadProbeReturn::Handled
                }
            }
        });
    }

    fn judge(&self, pad: &gst::Pad, buffer: Option<&gst::Buffer>) -> Passage {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ask) = asked.as_mut().filter(|ask| ask.flushed) else { return Passage::Open };
        let caps = pad.current_caps();
        let whole = caps.as_ref().and_then(|caps| caps.structure(0)).is_some_and(is_whole);
        ask.judge(buffer.and_then(|buffer| time(pad, buffer)), whole)
    }

    fn flushed(&self) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ask) = asked.as_mut() {
            ask.flushed = true;
        }
    }

    /// Asks about the first picture of the seek that follows; the answer is for [`Answer::is_near`].
    pub(crate) fn ask(&self, near: RangeInclusive<i64>) -> Answer {
        let (tell, answer) = sync_channel(1);
        let ask = Ask { near, tell: Some(tell), flushed: false, shut: false };
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

/// Whether one buffer is one whole picture: an interlaced one may come as two, and a stream cut into units as many.
fn is_whole(stream: &gst::StructureRef) -> bool {
    let says = |field: &str, whole: &[&str]| {
        stream.get::<&str>(field).map_or(true, |value| whole.contains(&value))
    };
    says("interlace-mode", &["progressive"])
        && says("coded-picture-structure", &["frame"])
        && says("alignment", &["au", "frame", "tu"])
}

fn time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<i64> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?.clone();
    let pts = buffer.pts()?;
    let at = segment.to_stream_time(pts).unwrap_or(pts);
    i64::try_from(at.nseconds()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passages of pictures at these times, the last of which may be the stream's end, when 10 to 20 is near enough; and
    /// what was told.
    fn passed(times: &[Option<i64>], whole: bool) -> (Vec<Passage>, Option<bool>) {
        let (tell, answer) = sync_channel(1);
        let mut ask = Ask { near: 10..=20, tell: Some(tell), flushed: true, shut: false };
        let passages = times.iter().map(|at| ask.judge(*at, whole)).collect();
        (passages, answer.try_recv().ok())
    }

    #[test]
    fn a_picture_that_is_near_ends_its_stream_and_one_that_is_not_passes_not_at_all() {
        use Passage::{Closed, End, Open};
        for (times, whole, passages, told) in [
            (&[Some(12), Some(13), Some(14)][..], true, &[Open, End, Closed][..], true),
            (&[Some(12), Some(13), Some(14)], false, &[Open, Open, Open], true),
            (&[Some(12), None], true, &[Open, Open], true),
            (&[Some(30), Some(12)], true, &[Closed, Closed], false),
            (&[None], true, &[Closed], false),
        ] {
            assert_eq!(passed(times, whole), (passages.to_vec(), Some(told)), "{times:?} {whole}");
        }
    }

    #[test]
    fn a_picture_in_halves_or_pieces_is_not_whole() {
        gst::init().unwrap();
        for (caps, whole) in [
            ("video/x-h264, alignment=au, coded-picture-structure=frame", true),
            ("image/jpeg", true),
            ("video/x-h264, alignment=au, coded-picture-structure=field", false),
            ("video/x-h264, alignment=au, interlace-mode=mixed", false),
            ("video/x-h265, alignment=nal", false),
        ] {
            let caps: gst::Caps = caps.parse().unwrap();
            assert_eq!(is_whole(caps.structure(0).unwrap()), whole, "{caps}");
        }
    }
}
