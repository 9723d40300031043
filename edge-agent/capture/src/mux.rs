//! Owns the muxing of a draft into a finished Matroska file in memory.
//!
//! `filesink` writes onto a memfd by its path under `/proc/self/fd`, so the muxer can seek back and write index and
//! duration, and no byte reaches a disk.

use std::{
    fs::File,
    io::{Read, Seek},
    os::fd::AsRawFd,
};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::AppSrc;
use proto::limits::CLIP_BYTES_MAX;

use crate::{CaptureError, cutter::Draft, pipeline};

/// Muxing is copying in memory: a muxer that takes longer than this hangs.
const MUX_LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// The bytes of the clip.
pub(crate) fn mux(what: &str, draft: &Draft, caps: &gst::Caps) -> Result<Vec<u8>, CaptureError> {
    let failed = |reason: String| CaptureError::Mux { what: what.to_owned(), reason };
    let memory = rustix::fs::memfd_create("clip", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|e| failed(e.to_string()))?;
    let mut memory = File::from(memory);
    let location = format!("/proc/self/fd/{}", memory.as_raw_fd());

    let source = AppSrc::builder().caps(caps).format(gst::Format::Time).max_bytes(0).build();
    let muxer = pipeline::element("matroskamux")?;
    muxer.set_property("writing-app", "celosia");
    let sink = pipeline::element("filesink")?;
    sink.set_property("location", &location);
    let line = gst::Pipeline::new();
    line.add_many([source.upcast_ref(), &muxer, &sink]).map_err(|e| failed(e.to_string()))?;
    gst::Element::link_many([source.upcast_ref(), &muxer, &sink])
        .map_err(|_| failed(format!("matroskamux does not take {caps}")))?;

    let outcome = run(&line, &source, draft).map_err(failed);
    pipeline::stop(&line);
    outcome?;
    let length = memory.metadata().map_err(|e| failed(e.to_string()))?.len();
    if length > CLIP_BYTES_MAX {
        return Err(failed(format!("{length} bytes are over the limit of {CLIP_BYTES_MAX}")));
    }
    let mut bytes = Vec::new();
    memory
        .rewind()
        .and_then(|()| memory.read_to_end(&mut bytes))
        .map_err(|e| failed(e.to_string()))?;
    Ok(bytes)
}

fn run(line: &gst::Pipeline, source: &AppSrc, draft: &Draft) -> Result<(), String> {
    let bus = line.bus().ok_or("a pipeline without a bus")?;
    line.set_state(gst::State::Playing).map_err(|e| e.to_string())?;
    for unit in &draft.units {
        let mut buffer = gst::Buffer::from_slice(unit.bytes.clone());
        let fresh = buffer.get_mut().ok_or("a shared buffer")?;
        // No decoding times: Matroska stores presentation times in decoding order, and the order is that of pushing.
        fresh.set_pts(time(unit.pts_ns));
        fresh.set_duration(unit.duration_ns.and_then(time));
        if !unit.key {
            fresh.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        source.push_buffer(buffer).map_err(|e| e.to_string())?;
    }
    source.end_of_stream().map_err(|e| e.to_string())?;
    let end = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(MUX_LIMIT, &end).ok_or("the muxer hangs")?;
    match message.view() {
        gst::MessageView::Error(error) => Err(error.error().to_string()),
        _ => Ok(()),
    }
}

fn time(ns: i64) -> Option<gst::ClockTime> {
    u64::try_from(ns).ok().map(gst::ClockTime::from_nseconds)
}
