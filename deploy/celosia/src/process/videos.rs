//! Owns the videos of a run: checked before anything starts, each with the camera that it is read as.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use proto::{CameraId, limits::NAME_BYTES_MAX};

use super::Options;
use crate::site::Camera;

/// A video that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It stands twice among the arguments.
    #[error("{0}: stands twice")]
    Twice(PathBuf),
}

/// A video and its camera.
#[derive(Debug, Clone)]
pub(super) struct Video {
    /// As it was given.
    pub(super) path: PathBuf,
    /// What the gateway is told.
    pub(super) camera: Camera,
}

/// Checks all videos and names their cameras.
pub(super) fn check(paths: &[PathBuf], options: &Options) -> Result<Vec<Video>, VideoError> {
    let mut names = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut videos = Vec::new();
    for path in paths {
        let refused = |source| VideoError::Unreadable { path: path.clone(), source };
        let absolute = path.canonicalize().map_err(refused)?;
        // What is in it is the gateway's to judge: a bad video among good ones disturbs none of them.
        File::open(&absolute).map_err(refused)?;
        if !seen.insert(absolute.clone()) {
            return Err(VideoError::Twice(path.clone()));
        }
        let camera = Camera {
            id: name(path, &mut names),
            source: absolute.to_string_lossy().into_owned(),
            user: None,
            password_file: None,
            clip: Some(options.common.clip.clone()),
            every: options.common.every.clone(),
            repeat: false,
            start: options.start,
        };
        videos.push(Video { path: path.clone(), camera });
    }
    Ok(videos)
}

/// The file's name as a camera's, made unique with a number.
fn name(path: &Path, taken: &mut BTreeSet<CameraId>) -> CameraId {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    // Room for a number at the end.
    let mut base: String = stem.chars().map(plain).take(NAME_BYTES_MAX - 6).collect();
    base = base.trim_matches('-').to_owned();
    if base.is_empty() {
        "video".clone_into(&mut base);
    }
    let numbered = (2u32..).map(|n| format!("{base}-{n}"));
    let mut candidates = std::iter::once(base.clone()).chain(numbered);
    loop {
        let id = candidates.next().and_then(|name| name.parse::<CameraId>().ok());
        if let Some(id) = id.filter(|id| taken.insert(id.clone())) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_are_named_after_files_and_never_twice() {
        let mut taken = BTreeSet::new();
        let mut named = |path: &str| name(Path::new(path), &mut taken).to_string();
        assert_eq!(named("/a/Street 1080p.mp4"), "street-1080p");
        assert_eq!(named("/b/street_1080p.mkv"), "street-1080p-2");
        assert_eq!(named("ñ.mp4"), "video");
        assert_eq!(named(&format!("{}.mp4", "x".repeat(200))).len(), NAME_BYTES_MAX - 6);
    }
}
