//! Owns the log files of children: appended to by the children themselves, so that they can still say something when
//! their supervisor is gone; cut when they grow.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use base::Shutdown;

/// A log over this many bytes moves to `NAME.log.1`, whose former content goes: two such files bound a child's logs.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How often sizes are looked at: a child that writes a megabyte a second passes the bound by an eighth.
const LOOK_EACH: Duration = Duration::from_secs(1);
/// How much of the end is read for [`last_lines`].
const TAIL_BYTES: u64 = 4096;

/// The log file of a child.
pub(super) fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

/// Opens it for appending: also after a cut each writer goes on at the end.
pub(super) fn open(folder: &Path, name: &str) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().create(true).append(true).mode(0o600).open(path(folder, name))
}

/// The last lines of a child's log, for a message about its end; nothing when there is none.
pub(super) fn last_lines(folder: &Path, name: &str, lines: usize) -> Vec<String> {
    let read = || {
        let mut file = File::open(path(folder, name))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all.iter().rev().take(lines).rev().map(|line| (*line).to_owned()).collect()
}

/// Keeps the logs of these children within their bound until shutdown.
pub(super) async fn keep_bounded(folder: PathBuf, names: Vec<&'static str>, stop: Shutdown) {
    while stop.sleep(LOOK_EACH).await {
        for name in &names {
            let path = path(&folder, name);
            if let Err(error) = cut(&path, LOG_BYTES_MAX) {
                tracing::warn!(path = %path.display(), %error, "the log was not cut");
            }
        }
    }
}

/// A line that is written between the copy and the cut is lost: children hold the file open and cannot be asked.
fn cut(path: &Path, bytes_max: u64) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > bytes_max => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    fs::copy(path, older)?;
    File::options().write(true).open(path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_that_grows_is_cut_while_it_is_written_and_its_end_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open(folder.path(), "fog").unwrap();
        writeln!(log, "first\nsecond").unwrap();
        let path = path(folder.path(), "fog");
        cut(&path, 100).unwrap();
        assert_eq!(last_lines(folder.path(), "fog", 1), ["second"]);
        cut(&path, 5).unwrap();
        writeln!(log, "third").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
        assert_eq!(fs::read_to_string(folder.path().join("fog.log.1")).unwrap(), "first\nsecond\n");
        assert!(last_lines(folder.path(), "none", 3).is_empty());
    }
}
