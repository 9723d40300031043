//! The disk is full in the middle of a run, for spool, outbox, store and database at once: nothing is lost, nothing
//! comes twice, and it goes on when there is room.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use system_tests::assets;

use crate::{
    crash::{SETTINGS, seen, undisturbed, video},
    happy::Folders,
    onlooker::{self, Onlooker},
    site::{self, Run, celosia, eventually, files},
};

/// Room for a whole run and some.
const DISK: &str = "size=96m";
/// Counters that say that a disk took nothing.
const NOTICED: [&str; 3] =
    ["clips_not_kept_yet_total", "outbox_writes_failed_total", "database_failures_total"];

/// What runs a command with a small disk of its own at `place`: nobody else sees it, and it goes with the command.
fn with_small_disk(place: &Path) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let mount = format!("mount -t tmpfs -o {DISK} celosia \"$0\" && exec \"$@\"");
    command.arg("--mount").args(["sh", "-c", &mount]).arg(place);
    command
}

fn can_mount(place: &Path) -> bool {
    let mut tried = with_small_disk(place);
    let tried = tried.arg("true").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        let line = "SKIPPED: no disk can be mounted here; run as root or allow user namespaces\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        // Where nobody reads the line, a skip is a failure.
        assert!(std::env::var_os("CI").is_none(), "{line}");
    }
    can
}

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut filler = File::create(path).unwrap();
    for size in [1 << 16, 1 << 10, 1] {
        while filler.write_all(&vec![0x55; size]).is_ok() {}
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_loses_nothing() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let disk = folders.root.path().canonicalize().unwrap().join("disk");
    fs::create_dir(&disk).unwrap();
    if !can_mount(&disk) {
        return;
    }
    let expected = undisturbed();
    let state = disk.join("state");
    let video = video(&folders);
    let mut command = with_small_disk(&disk);
    command.arg(site::program("celosia")).arg("process").arg(&video).args(SETTINGS);
    command.arg("--state").arg(&state).arg("--out").arg(&folders.out);
    command
        .env("CELOSIA_ASSETS", assets().unwrap())
        .current_dir(celosia().get_current_dir().unwrap());
    let mut run = Run::start(&mut command, &state);
    // The disk as that process sees it.
    let inside = |path: &Path| -> PathBuf {
        let seen = path.strip_prefix("/").unwrap();
        Path::new("/proc").join(run.id().to_string()).join("root").join(seen)
    };
    let (seen_state, filler) = (inside(&state), inside(&disk.join("filler")));
    let site = Onlooker::at(&mut run, &seen_state);
    eventually("the first clip at the gateway", || {
        let spool = files(&seen_state.join("spool"));
        run.has_ended() || spool.iter().any(|file| file.extension().is_some_and(|e| e == "rec"))
    });
    fill(&filler);
    eventually("somebody to notice", || {
        let statuses = onlooker::statuses(&site.heard());
        let noticed = |name: &&str| {
            statuses.values().any(|status| status.counters.get(*name).is_some_and(|n| *n > 0))
        };
        run.has_ended() || NOTICED.iter().any(noticed)
    });
    assert!(!run.has_ended(), "the run was over: {:?}", run.end());
    fs::remove_file(&filler).unwrap();
    site::succeeded(&run.end());
    assert_eq!(&seen(&folders), expected, "after the disk was full");
}
