//! Owns the demonstration video: a generated 1080p scene for people who have no camera at hand.
//!
//! One public-domain portrait walks about in six sizes, with faces from 42 to 250 pixels high, and wears a drawn mask now
//! and then: nearly nobody in the first ten seconds, nearly everybody in the next, half in the last. So counts change,
//! and what they should be is known. The drawing is a function of the portrait alone; the encoder is the system's, so
//! bytes differ between its versions.
//!
//! GStreamer's own command line decodes the portrait and encodes the pictures, which go through a pipe: this program
//! links no codec.

mod picture;
mod scene;

use std::{
    ffi::OsString,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use self::{
    picture::Portrait,
    scene::{FRAMES, HEIGHT, RATE, Scene, WIDTH},
};

/// The portrait among the assets.
const PORTRAIT: &str = "astronaut.png";
/// The video among the assets. The number changes with the drawing, so that an old one is not taken for it.
const VIDEO: &str = "demo-1.mp4";
/// GStreamer's command line.
const LAUNCH: &str = "gst-launch-1.0";

/// Why there is no demonstration video.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The portrait is not among the assets.
    #[error("{0} is not there: run `celosia fetch`")]
    NoPortrait(PathBuf),
    /// GStreamer's command line is missing.
    #[error("{LAUNCH}: {0}: deploy/install installs it")]
    NoLaunch(io::Error),
    /// A pipeline failed.
    #[error("{LAUNCH} failed while {what}: {message}")]
    Pipeline {
        /// What it was to do.
        what: &'static str,
        /// What it said.
        message: String,
    },
}

/// The demonstration video among the assets, made if it is not there.
///
/// # Errors
/// When it is not there and cannot be made.
pub fn among_assets(assets: &Path) -> Result<PathBuf, DemoError> {
    let video = assets.join(VIDEO);
    if !video.is_file() {
        make(assets, &video)?;
    }
    Ok(video)
}

/// Makes the demonstration video as this file; it appears whole or not at all. Takes some seconds.
///
/// # Errors
/// When the portrait is missing, GStreamer fails or the file cannot be written.
pub fn make(assets: &Path, video: &Path) -> Result<(), DemoError> {
    let portrait = decode(&assets.join(PORTRAIT))?;
    let mut part = video.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let made = encode(&Scene::new(&portrait), &part).and_then(|()| {
        fs::rename(&part, video).map_err(|e| DemoError::File { path: video.to_owned(), source: e })
    });
    if made.is_err() {
        // The first error is the one to tell.
        drop(fs::remove_file(&part));
    }
    made
}

fn decode(path: &Path) -> Result<Portrait, DemoError> {
    if !path.is_file() {
        return Err(DemoError::NoPortrait(path.to_owned()));
    }
    let what = "decoding the portrait";
    let side = picture::PORTRAIT_SIDE;
    let mut pipeline = vec![OsString::from("filesrc"), location(path)];
    let raw = format!("video/x-raw,format=RGB,width={side},height={side}");
    pipeline.extend(
        ["!", "pngdec", "!", "videoconvert", "!", &raw, "!", "fdsink", "fd=1"].map(OsString::from),
    );
    let output =
        launch(&pipeline, Stdio::null())?.wait_with_output().map_err(DemoError::NoLaunch)?;
    let portrait = Portrait::new(output.stdout);
    match portrait {
        Some(portrait) if output.status.success() => Ok(portrait),
        _ => Err(failed(what, &output.stderr)),
    }
}

fn encode(scene: &Scene, path: &Path) -> Result<(), DemoError> {
    let what = "encoding the scene";
    let caps = format!(
        "rawvideoparse format=rgb width={WIDTH} height={HEIGHT} framerate={RATE}/1 ! videoconvert ! \
         video/x-raw,format=I420 ! x264enc speed-preset=veryfast pass=qual quantizer=22 \
         key-int-max={RATE} bframes=0 ! h264parse ! mp4mux ! filesink"
    );
    let mut pipeline: Vec<OsString> = vec!["fdsrc".into(), "fd=0".into(), "!".into()];
    pipeline.extend(caps.split_whitespace().map(OsString::from));
    pipeline.push(location(path));
    let mut child = launch(&pipeline, Stdio::piped())?;
    let mut written = Ok(());
    if let Some(mut pipe) = child.stdin.take() {
        // The pipe closes with this block, which ends the video.
        written = (0..FRAMES).try_for_each(|frame| pipe.write_all(&scene.picture(frame)));
    }
    let output = child.wait_with_output().map_err(DemoError::NoLaunch)?;
    if !output.status.success() || written.is_err() {
        return Err(failed(what, &output.stderr));
    }
    let synced = fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| DemoError::File { path: path.to_owned(), source })
}

fn location(path: &Path) -> OsString {
    let mut location = OsString::from("location=");
    location.push(path);
    location
}

fn launch(pipeline: &[OsString], input: Stdio) -> Result<Child, DemoError> {
    let mut command = Command::new(LAUNCH);
    command.arg("-q").args(pipeline).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(DemoError::NoLaunch)
}

fn failed(what: &'static str, said: &[u8]) -> DemoError {
    let said = String::from_utf8_lossy(said);
    let last = said.lines().find(|line| line.contains("ERROR")).unwrap_or("it wrote too little");
    DemoError::Pipeline { what, message: last.to_owned() }
}
