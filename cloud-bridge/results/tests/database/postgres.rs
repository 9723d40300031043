//! Owns a PostgreSQL server for one test: a new cluster in a temporary folder, on a Unix socket alone.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use base::{Clock, SystemClock};
use results::{Results, ResultsError};

/// Longest start of a server on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The server refuses to run as root: then it runs as `nobody` of Debian.
const NOBODY: u32 = 65_534;

pub(crate) struct Server {
    bin: PathBuf,
    folder: tempfile::TempDir,
    child: Child,
}

impl Server {
    /// Starts a server; nothing when none is installed.
    pub(crate) fn start() -> Option<Self> {
        let bin = newest_bin()?;
        let folder = tempfile::tempdir().unwrap();
        if rootly() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = folder.path().join("data");
        let made = as_nobody(Command::new(bin.join("initdb")).arg("-D").arg(&data).args([
            "--auth=trust",
            "--username=celosia",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]))
        .output()
        .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let child = as_nobody(
            Command::new(bin.join("postgres"))
                .arg("-D")
                .arg(&data)
                .arg("-k")
                .arg(folder.path())
                .args(["-F", "-c", "listen_addresses="]),
        )
        .spawn()
        .unwrap();
        let server = Self { bin, folder, child };
        let clock = SystemClock::default();
        while !server.client("pg_isready").output().unwrap().status.success() {
            assert!(clock.now() < PATIENCE, "PostgreSQL did not start within {PATIENCE:?}");
            pause();
        }
        Some(server)
    }

    /// The URL of a new database.
    pub(crate) fn database(&self, name: &str) -> String {
        let made = self.client("createdb").arg(name).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://celosia@localhost/{name}?host={}", self.folder.path().display())
    }

    /// What holds for a file in `files.rs` holds for a server: re-opening, two at once, foreign tables, nobody there.
    pub(crate) async fn opens_again_and_refuses_foreign(&self) {
        let url = self.database("again");
        let (one, two) = tokio::join!(Results::open(&url), Results::open(&url));
        let (one, two) = (one.unwrap(), two.unwrap());
        crate::files::two_handles_write_at_once(&one, &two).await;
        crate::tracks::two_handles_link_one_clip(&one, &two).await;
        let url = self.database("foreign");
        let sql = ["-c", "CREATE TABLE theirs (a INT)", "foreign"];
        assert!(self.client("psql").args(sql).output().unwrap().status.success());
        let error = Results::open(&url).await.unwrap_err();
        assert!(matches!(error, ResultsError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains("theirs"), "{error}");
        let error = Results::open(&url.replace("/foreign", "/missing")).await.unwrap_err();
        assert!(matches!(error, ResultsError::Refused { .. }), "{error}");
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.arg("-h").arg(self.folder.path()).args(["-U", "celosia"]);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let mut stop = Command::new(self.bin.join("pg_ctl"));
        stop.arg("stop").arg("-D").arg(data).args(["-m", "immediate"]);
        drop(as_nobody(&mut stop).output());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn newest_bin() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.flatten().map(|entry| entry.path()).max_by_key(|path| version(path))?;
    Some(newest.join("bin")).filter(|bin| bin.join("initdb").exists())
}

fn rootly() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn as_nobody(command: &mut Command) -> &mut Command {
    if rootly() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped())
}

#[expect(clippy::disallowed_methods, reason = "a real process is waited for, within a deadline")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
