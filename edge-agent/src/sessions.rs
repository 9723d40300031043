//! Owns the sessions of files: an interrupted run goes on where it was, a finished one starts a new session.

use std::{
    io,
    path::{Path, PathBuf},
};

use proto::{CameraId, Digest, SessionId};
use serde::{Deserialize, Serialize};

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("session file {path}: {source}")]
pub struct SessionError {
    path: PathBuf,
    source: io::Error,
}

/// The run of one file camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    version: u16,
    /// Content of the file.
    content: Digest,
    /// Drawn at the start of the run.
    run: SessionId,
    /// First clip that is not kept yet.
    pub next_seq: u64,
    /// The file was read to its end, and its gateway ended in good order after that.
    finished: bool,
}

impl Run {
    /// The run that goes on, or a new one with these drawn bits.
    #[must_use]
    pub fn continue_or_new(previous: Option<Self>, content: Digest, drawn: [u8; 16]) -> Self {
        let run = SessionId::new(drawn);
        previous.filter(|p| p.version == 1 && p.content == content && !p.finished).unwrap_or(Self {
            version: 1,
            content,
            run,
            next_seq: 0,
            finished: false,
        })
    }

    /// The session: a function of content and run.
    #[must_use]
    pub fn session(&self) -> SessionId {
        let text = format!("celosia file session v1|{}|{}", self.content, self.run);
        let mut bits = [0; 16];
        for (to, from) in bits.iter_mut().zip(Digest::of(text.as_bytes()).as_bytes()) {
            *to = *from;
        }
        SessionId::new(bits)
    }

    /// The next start is a new session.
    const fn finish(&mut self) {
        self.finished = true;
    }
}

/// Where the run of a camera is kept.
#[derive(Debug, Clone)]
pub struct RunFile(PathBuf);

impl RunFile {
    /// In this state folder.
    #[must_use]
    pub fn new(state: &Path, camera: &CameraId) -> Self {
        Self(state.join(format!("run-{camera}.json")))
    }

    /// The run as it was last written.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self) -> Result<Option<Run>, SessionError> {
        let error = |source| SessionError { path: self.0.clone(), source };
        match std::fs::read(&self.0) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| error(e.into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(error(e)),
        }
    }

    /// Closes the run: the next start on the file is a new session. For the orderly end of a gateway alone: one that is
    /// killed after it has read a file must find its run again, or everything would come twice.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn finish(&self) -> Result<(), SessionError> {
        let Some(mut run) = self.read()? else { return Ok(()) };
        run.finish();
        self.write(&run)
    }

    /// Writes the run; durable on return.
    ///
    /// # Errors
    /// What the disk says.
    pub fn write(&self, run: &Run) -> Result<(), SessionError> {
        let error = |source| SessionError { path: self.0.clone(), source };
        let bytes = serde_json::to_vec(run).map_err(|e| error(e.into()))?;
        base::files::write_durable(&self.0, &bytes).map_err(error)
    }
}

/// The digest of a file's content.
///
/// # Errors
/// When it cannot be read.
pub fn content(path: &Path) -> Result<Digest, SessionError> {
    let error = |source| SessionError { path: path.to_owned(), source };
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(path).map_err(error)?;
    hasher.update_reader(file).map_err(error)?;
    Ok(Digest::new(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_run_goes_on_and_a_finished_one_does_not_collide() {
        let folder = tempfile::tempdir().unwrap();
        let file = RunFile::new(folder.path(), &"cam".parse().unwrap());
        let content = Digest::of(b"video");
        let mut run = Run::continue_or_new(file.read().unwrap(), content, [1; 16]);
        run.next_seq = 3;
        file.write(&run).unwrap();
        let again = Run::continue_or_new(file.read().unwrap(), content, [2; 16]);
        assert_eq!((again.session(), again.next_seq), (run.session(), 3));
        let other = Run::continue_or_new(file.read().unwrap(), Digest::of(b"x"), [2; 16]);
        assert_ne!(other.session(), run.session());
        file.finish().unwrap();
        let fresh = Run::continue_or_new(file.read().unwrap(), content, [3; 16]);
        assert_ne!(fresh.session(), run.session());
        assert_eq!(fresh.next_seq, 0);
    }
}
