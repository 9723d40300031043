//! Owns the capturing pipelines: from a source to encoded access units in an `appsink`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::AppSink;

use crate::{CaptureError, CaptureSettings, CaptureSource, Pace, Pattern};

/// Encoded pictures between GStreamer's threads and ours; a slower consumer holds the source back.
const SINK_PICTURES_MAX: u32 = 16;
/// Bytes in the queue before the sink: a second of 4K at a very high rate.
const QUEUE_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// A camera that does not answer within 5 s (here in microseconds) is away.
const RTSP_TIMEOUT_US: u64 = 5_000_000;
/// Jitter buffer in milliseconds; over TCP nothing is reordered, so it is short.
const RTSP_LATENCY_MS: u32 = 200;
/// Name of our own bus message; its field `codec` is empty when there is no video stream at all.
pub(crate) const UNUSABLE: &str = "celosia-unusable";

/// A pipeline and its end.
pub(crate) struct Line {
    pub(crate) pipeline: gst::Pipeline,
    pub(crate) sink: AppSink,
    /// A video stream was found in it.
    pub(crate) shown: Arc<AtomicBool>,
}

impl Drop for Line {
    fn drop(&mut self) {
        stop(&self.pipeline);
    }
}

/// Takes a pipeline to NULL. Without this its threads and descriptors outlive it.
pub(crate) fn stop(pipeline: &gst::Pipeline) {
    if let Err(error) = pipeline.set_state(gst::State::Null) {
        tracing::warn!(%error, "a pipeline did not stop cleanly");
    }
}

/// An element by name, or the error that says which package has it.
pub(crate) fn element(name: &'static str) -> Result<gst::Element, CaptureError> {
    gst::ElementFactory::make(name)
        .build()
        .map_err(|_| CaptureError::Plugin { element: name, package: package(name) })
}

fn package(element: &str) -> &'static str {
    match element {
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "rtspsrc" | "v4l2src" | "matroskamux" => "gstreamer1.0-plugins-good",
        "h264parse" | "h265parse" | "av1parse" | "mpeg4videoparse" | "mpegvideoparse"
        | "vp9parse" => "gstreamer1.0-plugins-bad",
        "filesrc" | "filesink" | "queue" | "capsfilter" | "fakesink" => "libgstreamer1.0-0",
        _ => "gstreamer1.0-plugins-base",
    }
}

/// Builds the pipeline of a source, stopped.
pub(crate) fn build(
    source: &CaptureSource,
    settings: &CaptureSettings,
) -> Result<Line, CaptureError> {
    let pipeline = gst::Pipeline::new();
    let realtime = settings.pace == Pace::Realtime && matches!(source, CaptureSource::File { .. });
    let sink = AppSink::builder().sync(realtime).max_buffers(SINK_PICTURES_MAX).build();
    let line = Line { pipeline, sink, shown: Arc::default() };
    let queue = element("queue")?;
    queue.set_property("max-size-bytes", QUEUE_BYTES_MAX);
    queue.set_property("max-size-buffers", 0u32);
    queue.set_property("max-size-time", 0u64);
    add(&line.pipeline, &[&queue, line.sink.upcast_ref()], source)?;
    match source {
        CaptureSource::File { path } => {
            let file = element("filesrc")?;
            file.set_property("location", path);
            let parser = parsebin(&line, &queue)?;
            add(&line.pipeline, &[&file, &parser], source)?;
            link(&[&file, &parser], source)?;
        }
        CaptureSource::Rtsp { url, user, password_file } => {
            let camera = rtsp(url, user.as_deref(), password_file.as_deref(), source)?;
            let parser = parsebin(&line, &queue)?;
            add(&line.pipeline, &[&camera, &parser], source)?;
            connect_rtsp(&camera, &parser);
        }
        CaptureSource::V4l2 { device } => {
            let camera = element("v4l2src")?;
            camera.set_property_from_str("device", &device.to_string_lossy());
            encode(&line.pipeline, &camera, None, &queue, source)?;
        }
        CaptureSource::Test { pattern, width, height, rate, pictures } => {
            let camera = test(*pattern, *pictures, settings.pace)?;
            let caps = gst::Caps::builder("video/x-raw")
                .field("width", i32::try_from(*width).unwrap_or(i32::MAX))
                .field("height", i32::try_from(*height).unwrap_or(i32::MAX))
                .field("framerate", gst::Fraction::new(i32::try_from(*rate).unwrap_or(1).max(1), 1))
                .build();
            encode(&line.pipeline, &camera, Some(caps), &queue, source)?;
        }
    }
    let sink = line.sink.clone();
    link(&[&queue, sink.upcast_ref()], source)?;
    Ok(line)
}

fn test(pattern: Pattern, pictures: Option<u32>, pace: Pace) -> Result<gst::Element, CaptureError> {
    let camera = element("videotestsrc")?;
    let name = match pattern {
        Pattern::Bars => "smpte",
        Pattern::Ball => "ball",
        Pattern::Black => "black",
    };
    camera.set_property_from_str("pattern", name);
    camera.set_property("is-live", pace == Pace::Realtime);
    let buffers = pictures.and_then(|n| i32::try_from(n).ok()).unwrap_or(-1);
    camera.set_property("num-buffers", buffers);
    Ok(camera)
}

fn rtsp(
    url: &str,
    user: Option<&str>,
    password_file: Option<&std::path::Path>,
    source: &CaptureSource,
) -> Result<gst::Element, CaptureError> {
    let camera = element("rtspsrc")?;
    camera.set_property("location", url);
    camera.set_property_from_str("protocols", "tcp");
    camera.set_property("latency", RTSP_LATENCY_MS);
    camera.set_property("tcp-timeout", RTSP_TIMEOUT_US);
    if let Some(user) = user {
        camera.set_property("user-id", user);
    }
    if let Some(path) = password_file {
        let password = std::fs::read_to_string(path).map_err(|e| CaptureError::Settings {
            what: source.label(),
            reason: format!("password file {}: {e}", path.display()),
        })?;
        camera.set_property("user-pw", password.trim_end_matches(['\r', '\n']));
    }
    // Only video is set up at the camera; sound is never captured.
    camera.connect("select-stream", false, |values| {
        let caps = values.get(2).and_then(|v| v.get::<gst::Caps>().ok());
        let video = caps.is_some_and(|caps| {
            caps.iter().any(|s| s.get::<&str>("media").is_ok_and(|media| media == "video"))
        });
        Some(video.to_value())
    });
    Ok(camera)
}

fn connect_rtsp(camera: &gst::Element, parser: &gst::Element) {
    let target = parser.downgrade();
    camera.connect_pad_added(move |_, pad| {
        let Some(entry) = target.upgrade().and_then(|parser| parser.static_pad("sink")) else {
            return;
        };
        if !entry.is_linked()
            && let Err(error) = pad.link(&entry)
        {
            tracing::warn!(%error, "a stream of the camera does not link");
        }
    });
    let parser = parser.downgrade();
    camera.connect_no_more_pads(move |camera| {
        let entry = parser.upgrade().and_then(|parser| parser.static_pad("sink"));
        if entry.is_some_and(|entry| !entry.is_linked()) {
            unusable(camera, "");
        }
    });
}

/// Encodes raw pictures; with a key frame each second, so that clips are cut near their length.
fn encode(
    pipeline: &gst::Pipeline,
    camera: &gst::Element,
    caps: Option<gst::Caps>,
    queue: &gst::Element,
    source: &CaptureSource,
) -> Result<(), CaptureError> {
    let (convert, encoder) = (element("videoconvert")?, element("x264enc")?);
    encoder.set_property_from_str("tune", "zerolatency");
    encoder.set_property_from_str("speed-preset", "veryfast");
    encoder.set_property_from_str("key-int-max", "25");
    let wanted = element("capsfilter")?;
    wanted.set_property("caps", caps.unwrap_or_else(|| gst::Caps::new_empty_simple("video/x-raw")));
    let layout = element("capsfilter")?;
    // Browsers and hardware decoders want 4:2:0; a test source would otherwise give 4:4:4.
    let planar = gst::Caps::builder("video/x-raw").field("format", "I420").build();
    layout.set_property("caps", planar);
    let (parser, filter) = parser("video/x-h264", source)?;
    let chain = [camera, &wanted, &convert, &layout, &encoder, &parser, &filter];
    add(pipeline, &chain, source)?;
    link(&[camera, &wanted, &convert, &layout, &encoder, &parser, &filter, queue], source)
}

/// Finds containers, demuxers and depayloaders by itself; its first video stream goes to the queue.
fn parsebin(line: &Line, queue: &gst::Element) -> Result<gst::Element, CaptureError> {
    let bin = element("parsebin")?;
    let taken = Arc::clone(&line.shown);
    let (line, target, claim) = (line.pipeline.downgrade(), queue.downgrade(), Arc::clone(&taken));
    bin.connect_pad_added(move |bin, pad| {
        let (Some(line), Some(target)) = (line.upgrade(), target.upgrade()) else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let name = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
        let video = name.starts_with("video/") || name == "image/jpeg";
        let linked = if video && !claim.swap(true, Ordering::SeqCst) {
            attach(&line, pad, &name, &target)
        } else {
            discard(&line, pad)
        };
        if linked.is_err() {
            unusable(bin, &name);
        }
    });
    // parsebin does not say when it has shown its last pad, so a file of sound alone is told at its end.
    bin.connect("drained", false, move |values| {
        let bin = values.first().and_then(|v| v.get::<gst::Element>().ok());
        if let (Some(bin), false) = (bin, taken.load(Ordering::SeqCst)) {
            unusable(&bin, "");
        }
        None
    });
    Ok(bin)
}

fn unusable(element: &gst::Element, codec: &str) {
    let structure = gst::Structure::builder(UNUSABLE).field("codec", codec).build();
    let message = gst::message::Application::builder(structure).src(element).build();
    if element.post_message(message).is_err() {
        tracing::debug!("the pipeline has gone");
    }
}

fn attach(
    line: &gst::Pipeline,
    pad: &gst::Pad,
    name: &str,
    queue: &gst::Element,
) -> Result<(), gst::glib::BoolError> {
    let none = CaptureSource::File { path: std::path::PathBuf::new() };
    let Ok((parser, filter)) = parser(name, &none) else {
        return Err(gst::glib::bool_error!("codec not supported"));
    };
    line.add_many([&parser, &filter])?;
    gst::Element::link_many([&parser, &filter, queue])?;
    filter.sync_state_with_parent()?;
    parser.sync_state_with_parent()?;
    let entry = parser.static_pad("sink").ok_or(gst::glib::bool_error!("no sink pad"))?;
    pad.link(&entry).map_err(|_| gst::glib::bool_error!("codec does not link"))?;
    Ok(())
}

fn discard(line: &gst::Pipeline, pad: &gst::Pad) -> Result<(), gst::glib::BoolError> {
    let sink = gst::ElementFactory::make("fakesink").property("async", false).build()?;
    line.add(&sink)?;
    sink.sync_state_with_parent()?;
    let entry = sink.static_pad("sink").ok_or(gst::glib::bool_error!("no sink pad"))?;
    pad.link(&entry).map_err(|_| gst::glib::bool_error!("stream does not link"))?;
    Ok(())
}

/// The parser of a codec and the form in which the muxer takes it: one buffer a picture.
fn parser(
    name: &str,
    source: &CaptureSource,
) -> Result<(gst::Element, gst::Element), CaptureError> {
    let (parser, form) = match name {
        "video/x-h264" => ("h264parse", "video/x-h264,stream-format=avc,alignment=au"),
        "video/x-h265" => ("h265parse", "video/x-h265,stream-format=hvc1,alignment=au"),
        "video/x-av1" => ("av1parse", "video/x-av1,stream-format=obu-stream,alignment=tu"),
        "video/x-vp8" => ("identity", "video/x-vp8"),
        "video/x-vp9" => ("vp9parse", "video/x-vp9,alignment=super-frame"),
        "video/mpeg" => ("identity", "video/mpeg,systemstream=false"),
        "image/jpeg" => ("identity", "image/jpeg"),
        _ => return Err(CaptureError::Codec { what: source.label(), codec: name.to_owned() }),
    };
    let filter = element("capsfilter")?;
    filter.set_property_from_str("caps", form);
    Ok((element(parser)?, filter))
}

fn add(
    pipeline: &gst::Pipeline,
    elements: &[&gst::Element],
    source: &CaptureSource,
) -> Result<(), CaptureError> {
    pipeline
        .add_many(elements)
        .map_err(|e| CaptureError::Pipeline { what: source.label(), reason: e.to_string() })
}

fn link(elements: &[&gst::Element], source: &CaptureSource) -> Result<(), CaptureError> {
    gst::Element::link_many(elements)
        .map_err(|e| CaptureError::Pipeline { what: source.label(), reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::*;

    fn kind(element: &gst::Element) -> &'static str {
        element.type_().name()
    }

    /// Kinds of elements from the source to the sink, following each element's source pad.
    fn chain(line: &Line, first: &str) -> Vec<&'static str> {
        let mut all = line.pipeline.iterate_elements().into_iter().flatten();
        let mut at = all.find(|element| kind(element) == first);
        let mut kinds = Vec::new();
        while let Some(element) = at {
            kinds.push(kind(&element));
            let pad = element.static_pad("src").and_then(|pad| pad.peer());
            at = pad.and_then(|pad| pad.parent_element());
        }
        kinds
    }

    #[test]
    fn a_device_goes_through_the_encoder_to_the_sink() {
        gst::init().unwrap();
        let source = CaptureSource::V4l2 { device: PathBuf::from("/dev/video7") };
        let clip_length = Duration::from_secs(10);
        let settings = CaptureSettings { clip_length, pace: Pace::Realtime, repeat: false };
        let line = build(&source, &settings).unwrap();
        let mut all = line.pipeline.iterate_elements().into_iter().flatten();
        let device = all.find(|element| kind(element) == "GstV4l2Src").unwrap();
        assert_eq!(device.property::<String>("device"), "/dev/video7");
        let expected = [
            "GstV4l2Src",
            "GstCapsFilter",
            "GstVideoConvert",
            "GstCapsFilter",
            "GstX264Enc",
            "GstH264Parse",
            "GstCapsFilter",
            "GstQueue",
            "GstAppSink",
        ];
        assert_eq!(chain(&line, "GstV4l2Src"), expected);
    }
}
