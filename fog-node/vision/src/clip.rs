//! Owns the decoding of a clip: bytes in a sealed memfd, seeks to the frames that are needed, limits checked before a
//! picture is decoded.

use std::{io::Write, ops::RangeInclusive, os::fd::AsRawFd};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use proto::limits::{PICTURE_HEIGHT_MAX, PICTURE_WIDTH_MAX};

use crate::{Picture, disposable, gate::Gate, mp4::is_cut_mp4};

/// Longest wait for one picture: a key frame group of 60 s of 4K decodes in less.
const WAIT: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Why a clip gives no pictures.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// No bytes at all.
    #[error("clip has no bytes")]
    Empty,
    /// Not a container that we read, or no video in it.
    #[error("clip is not a video: {0}")]
    NotVideo(String),
    /// Pictures over the limit; nothing was decoded.
    #[error(
        "clip has pictures of {width}x{height}, the limit is {PICTURE_WIDTH_MAX}x{PICTURE_HEIGHT_MAX}"
    )]
    PictureTooLarge {
        /// Width in pixels.
        width: i32,
        /// Height in pixels.
        height: i32,
    },
    /// The stream is there but a picture could not be decoded.
    #[error("clip could not be decoded: {0}")]
    Decode(String),
    /// The system refused memory or a pipeline.
    #[error("clip could not be opened: {0}")]
    System(String),
}

/// An open clip.
pub struct Clip {
    pipeline: gst::Pipeline,
    sink: AppSink,
    gate: Gate,
    /// The memory file must live as long as the pipeline reads it.
    _file: std::fs::File,
}

impl Clip {
    /// Opens a clip from memory. Nothing touches a disk.
    ///
    /// # Errors
    /// When the bytes are no video, or its pictures are over the limit.
    pub fn open(bytes: &[u8]) -> Result<Self, ClipError> {
        if bytes.is_empty() {
            return Err(ClipError::Empty);
        }
        if is_cut_mp4(bytes) {
            return Err(ClipError::NotVideo("an MP4 without its index: it was cut off".to_owned()));
        }
        gst::init().map_err(|e| ClipError::System(e.to_string()))?;
        let file = sealed(bytes).map_err(|e| ClipError::System(e.to_string()))?;
        // The caps filter in front of the decoder refuses large pictures from the stream's headers.
        let description = format!(
            "filesrc location=/proc/self/fd/{} ! parsebin name=container ! \
             capsfilter name=headers ! decodebin name=decoder ! videoconvert n-threads=1 ! \
             appsink name=sink sync=false max-buffers=1 caps=video/x-raw,format=BGR",
            file.as_raw_fd()
        );
        let pipeline = gst::parse::launch(&description)
            .ok()
            .and_then(|element| element.downcast::<gst::Pipeline>().ok())
            .ok_or_else(|| ClipError::System("GStreamer plugins are missing".to_owned()))?;
        let sink = pipeline.by_name("sink").and_then(|e| e.downcast::<AppSink>().ok());
        let sink = sink.ok_or_else(|| ClipError::System("no appsink".to_owned()))?;
        let clip = Self { pipeline, sink, gate: Gate::default(), _file: file };
        clip.tell_of_no_stream()?;
        clip.set_up_decoder()?;
        clip.refuse_large_pictures()?;
        clip.preroll()?;
        Ok(clip)
    }

    /// A container that ends before its first stream is an error that its demuxer posts and the bin around it at times
    /// loses: then only the end of a long wait would tell. That it has no more streams and none at all is always said.
    fn tell_of_no_stream(&self) -> Result<(), ClipError> {
        let container =
            self.pipeline.by_name("container").and_then(|e| e.downcast::<gst::Bin>().ok());
        let container = container.ok_or_else(|| ClipError::System("no parsebin".to_owned()))?;
        container.connect_element_added(|_, element| {
            element.connect_no_more_pads(|demuxer| {
                if demuxer.src_pads().is_empty() {
                    let said = gst::Structure::builder(NO_STREAM).build();
                    let message = gst::message::Application::builder(said).src(demuxer);
                    // A pipeline that is already gone needs no message.
                    demuxer.post_message(message.build()).ok();
                }
            });
        });
        Ok(())
    }

    /// A worker is one process a core, and a decoder with several threads decodes ahead what nobody asked for. And a
    /// decoder that makes a picture up where it lacks the one that it refers to may show a face that no detector
    /// recognises as one: such pictures are none.
    fn set_up_decoder(&self) -> Result<(), ClipError> {
        let decoder = self.pipeline.by_name("decoder").and_then(|e| e.downcast::<gst::Bin>().ok());
        let decoder = decoder.ok_or_else(|| ClipError::System("no decoder".to_owned()))?;
        decoder.connect_deep_element_added(|_, _, element| {
            if element.has_property_with_type("max-threads", i32::static_type()) {
                element.set_property("max-threads", 1);
            }
            for (property, value) in [("output-corrupt", false), ("discard-corrupted-frames", true)]
            {
                if element.has_property_with_type(property, bool::static_type()) {
                    element.set_property(property, value);
                }
            }
        });
        Ok(())
    }

    /// A probe on the compressed stream's caps: a picture over the limit ends the stream before the decoder sees it.
    fn refuse_large_pictures(&self) -> Result<(), ClipError> {
        let headers = self.pipeline.by_name("headers");
        let pad = headers.and_then(|headers| headers.static_pad("sink"));
        let pad = pad.ok_or_else(|| ClipError::System("no caps filter".to_owned()))?;
        self.gate.watch(&pad);
        disposable::drop_unneeded(&pad);
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |pad, info| {
            let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) else {
                return gst::PadProbeReturn::Ok;
            };
            let size = caps.caps().structure(0).map(|s| (s.get("width"), s.get("height")));
            let Some((Ok(width), Ok(height))) = size else { return gst::PadProbeReturn::Ok };
            let (width, height): (i32, i32) = (width, height);
            let over = |side: i32, max: u32| u32::try_from(side).is_ok_and(|s| s > max);
            if over(width, PICTURE_WIDTH_MAX) || over(height, PICTURE_HEIGHT_MAX) {
                if let Some(element) = pad.parent_element() {
                    let message = gst::message::Application::builder(
                        gst::Structure::builder(TOO_LARGE)
                            .field("width", width)
                            .field("height", height)
                            .build(),
                    );
                    // A pipeline that is already gone needs no message.
                    element.post_message(message.src(&element).build()).ok();
                }
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
        Ok(())
    }

    fn preroll(&self) -> Result<(), ClipError> {
        let asked = self.pipeline.set_state(gst::State::Paused);
        let bus = self.pipeline.bus().ok_or_else(|| ClipError::System("no bus".to_owned()))?;
        if asked.is_err() {
            return Err(self.why(&bus, "the pipeline refused to start"));
        }
        let wanted = [
            gst::MessageType::AsyncDone,
            gst::MessageType::Error,
            gst::MessageType::Eos,
            gst::MessageType::Application,
        ];
        match bus.timed_pop_filtered(WAIT, &wanted) {
            Some(message) => match message.view() {
                gst::MessageView::AsyncDone(_) => Ok(()),
                _ => Err(judge(&message)),
            },
            None => Err(ClipError::Decode("no picture in time".to_owned())),
        }
    }

    fn why(&self, bus: &gst::Bus, otherwise: &str) -> ClipError {
        let wanted = [gst::MessageType::Error, gst::MessageType::Application];
        bus.pop_filtered(&wanted)
            .map_or_else(|| ClipError::NotVideo(otherwise.to_owned()), |message| judge(&message))
    }

    /// The picture that is shown at `at_ns` nanoseconds after the clip's start.
    ///
    /// # Errors
    /// When there is none or it cannot be decoded.
    pub fn frame_at(&self, at_ns: i64) -> Result<Picture, ClipError> {
        let sample = self.seek(gst::SeekFlags::ACCURATE, at_ns)?;
        picture(&sample)
    }

    /// A picture at most `tolerance_ns` away from `at_ns` that takes little decoding, and a time in nanoseconds after the
    /// clip's start at which it is shown: the nearest key frame where there is one, else the earliest that is near enough.
    ///
    /// # Errors
    /// When there is none or it cannot be decoded.
    pub fn frame_near(&self, at_ns: i64, tolerance_ns: i64) -> Result<(Picture, i64), ClipError> {
        let near = at_ns.saturating_sub(tolerance_ns)..=at_ns.saturating_add(tolerance_ns);
        let key = || self.seek_to_key(at_ns, near.clone());
        let early = || {
            let from_start = *near.start() >= 0 && tolerance_ns > 0;
            from_start.then(|| self.seek(gst::SeekFlags::ACCURATE, *near.start()).ok()).flatten()
        };
        let cheap = |sample: gst::Sample| {
            let shown_ns = time(&sample).filter(|shown_ns| near.contains(shown_ns))?;
            Some((sample, shown_ns))
        };
        let found = key().and_then(cheap).or_else(|| early().and_then(cheap));
        if let Some((sample, shown_ns)) = found {
            return Ok((picture(&sample)?, shown_ns));
        }
        let sample = self.seek(gst::SeekFlags::ACCURATE, at_ns)?;
        let shown_ns = time(&sample).unwrap_or(at_ns);
        Ok((picture(&sample)?, shown_ns))
    }

    /// The nearest key frame, when it is near enough. Nothing else is decoded.
    fn seek_to_key(&self, at_ns: i64, near: RangeInclusive<i64>) -> Option<gst::Sample> {
        let answer = self.gate.ask(near);
        let snap = gst::SeekFlags::KEY_UNIT | gst::SeekFlags::SNAP_NEAREST;
        let at = gst::ClockTime::from_nseconds(u64::try_from(at_ns).unwrap_or(0));
        let sought = self.pipeline.seek_simple(gst::SeekFlags::FLUSH | snap, at).is_ok();
        let is_near = sought && answer.is_near();
        // The gate stays as it is: what follows a picture that was not let through is of no use without it.
        is_near.then(|| self.sink.try_pull_preroll(WAIT)).flatten()
    }

    fn seek(&self, flags: gst::SeekFlags, at_ns: i64) -> Result<gst::Sample, ClipError> {
        let wrong = |what: &str| ClipError::Decode(what.to_owned());
        let at = gst::ClockTime::from_nseconds(u64::try_from(at_ns).unwrap_or(0));
        let flags = gst::SeekFlags::FLUSH | flags;
        self.gate.open();
        self.pipeline.seek_simple(flags, at).map_err(|_| wrong("cannot seek in it"))?;
        self.sink.try_pull_preroll(WAIT).ok_or_else(|| wrong("no picture at the slot"))
    }
}

/// When a picture is shown, in nanoseconds after the clip's start.
fn time(sample: &gst::Sample) -> Option<i64> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let shown = segment.to_stream_time(sample.buffer()?.pts()?)?;
    i64::try_from(shown.nseconds()).ok()
}

fn picture(sample: &gst::Sample) -> Result<Picture, ClipError> {
    let wrong = |what: &str| ClipError::Decode(what.to_owned());
    let caps = sample.caps().ok_or_else(|| wrong("picture without caps"))?;
    let info = gstreamer_video::VideoInfo::from_caps(caps).map_err(|e| wrong(&e.to_string()))?;
    let buffer = sample.buffer().ok_or_else(|| wrong("sample without picture"))?;
    let map = buffer.map_readable().map_err(|e| wrong(&e.to_string()))?;
    let stride = info.stride().first().copied().and_then(|s| usize::try_from(s).ok());
    let row = info.width() as usize * 3;
    let stride = stride.filter(|s| *s >= row).ok_or_else(|| wrong("picture with odd rows"))?;
    let mut bgr = Vec::with_capacity(row * info.height() as usize);
    for line in map.as_slice().chunks(stride).take(info.height() as usize) {
        bgr.extend_from_slice(line.get(..row).unwrap_or_default());
    }
    Picture::new(info.width(), info.height(), bgr).map_err(|e| wrong(&e.to_string()))
}

/// Name of the message that the header probe posts.
const TOO_LARGE: &str = "celosia-picture-too-large";
/// Name of the message that there is nothing in a container.
const NO_STREAM: &str = "celosia-no-stream";

fn is_no_stream(said: &gst::StructureRef) -> bool {
    said.name() == NO_STREAM
}

fn judge(message: &gst::Message) -> ClipError {
    match message.view() {
        gst::MessageView::Application(said) if said.structure().is_some_and(is_no_stream) => {
            ClipError::NotVideo("it ends before its first stream".to_owned())
        }
        gst::MessageView::Application(application) => {
            let side =
                |name| application.structure().and_then(|s| s.get::<i32>(name).ok()).unwrap_or(0);
            ClipError::PictureTooLarge { width: side("width"), height: side("height") }
        }
        gst::MessageView::Error(error) => {
            let what = error.error();
            if what.matches(gst::StreamError::Decode) {
                ClipError::Decode(what.to_string())
            } else {
                ClipError::NotVideo(what.to_string())
            }
        }
        _ => ClipError::NotVideo("it ends before its first picture".to_owned()),
    }
}

impl Drop for Clip {
    fn drop(&mut self) {
        // A pipeline that is dropped while it plays leaks its threads; there is nobody to tell if this fails.
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

fn sealed(bytes: &[u8]) -> std::io::Result<std::fs::File> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = std::fs::File::from(memfd_create("clip", flags)?);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
