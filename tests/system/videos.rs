//! Owns videos that GStreamer draws for stories, good ones and bad ones.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Runs a GStreamer pipeline that ends by itself.
fn gst(line: &str) {
    let made = Command::new("gst-launch-1.0").arg("-q").args(line.split_whitespace()).status();
    assert!(made.unwrap().success(), "{line}");
}

/// A ball, drawn 10 times a second, with a key frame each `group` pictures; Matroska.
pub(crate) fn ball(path: &Path, size: (u32, u32), pictures: u32, group: u32) -> PathBuf {
    let (width, height) = size;
    gst(&format!(
        "videotestsrc num-buffers={pictures} pattern=ball ! \
         video/x-raw,width={width},height={height},framerate=10/1 ! \
         x264enc key-int-max={group} bframes=0 ! h264parse ! matroskamux ! filesink location={}",
        path.display()
    ));
    path.to_owned()
}

/// Two seconds of such a stream without its key frame: parameter sets, then pictures that need one that is not there.
pub(crate) fn without_key_frame(path: &Path) -> PathBuf {
    let (stream, cut) = (path.with_extension("all"), path.with_extension("cut"));
    gst(&format!(
        "videotestsrc num-buffers=20 pattern=ball ! \
         video/x-raw,width=320,height=240,framerate=10/1 ! x264enc key-int-max=250 bframes=0 ! \
         video/x-h264,stream-format=byte-stream,alignment=au ! filesink location={}",
        stream.display()
    ));
    let bytes = fs::read(&stream).unwrap();
    let starts: Vec<usize> =
        (0..bytes.len() - 3).filter(|at| bytes[*at..].starts_with(&[0, 0, 1])).collect();
    let ends = starts.iter().copied().skip(1).chain([bytes.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| &bytes[*start..end]);
    // Type 5 is a slice of a key frame.
    let kept: Vec<u8> = units.filter(|unit| unit[3] & 0x1f != 5).flatten().copied().collect();
    fs::write(&cut, kept).unwrap();
    gst(&format!(
        "filesrc location={} ! video/x-h264,framerate=10/1 ! h264parse ! matroskamux ! \
         filesink location={}",
        cut.display(),
        path.display()
    ));
    path.to_owned()
}
