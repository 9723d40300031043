//! Ctrl-C drains and leaves nothing but the state folder; the next start goes on where this one ended.

use std::fs;

use system_tests::assets;

use crate::{
    crash::{SETTINGS, seen, undisturbed, video},
    happy::Folders,
    site::{self, Run, celosia, eventually, files, processes_of},
};

fn objects(folders: &Folders, kind: &str) -> usize {
    let all = files(&folders.state.join("objects"));
    all.iter().filter(|f| f.extension().is_some_and(|e| e == kind)).count()
}

#[test]
fn a_site_that_is_stopped_leaves_nothing_and_goes_on_later() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let mut run = Run::up(&folders.state, &["--camera", "demo", "--every", "1s", "--clip", "2s"]);
    eventually("the first result", || run.has_ended() || objects(&folders, "json") > 0);
    let refused = celosia().arg("up").arg("--state").arg(&folders.state).output().unwrap();
    assert!(!refused.status.success(), "a second site on the same folder");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains(folders.state.to_str().unwrap()), "{said}");

    run.interrupt();
    site::succeeded(&run.end());
    assert_eq!(processes_of(&folders.state), [], "processes are left");
    // What was delivered has its result: a drained site leaves no frame without one for long.
    let before = (objects(&folders, "jpg"), objects(&folders, "json"));
    let delivered = as_an_earlier_program_left_it(&folders);

    let mut run = Run::up(&folders.state, &["--camera", "demo", "--every", "1s", "--clip", "2s"]);
    eventually("more results", || run.has_ended() || objects(&folders, "json") > before.1);
    run.interrupt();
    site::succeeded(&run.end());
    assert_eq!(processes_of(&folders.state), []);
    assert!(ledger(&folders)["delivered"].as_u64() > delivered, "its books went on");
}

#[test]
fn a_batch_that_is_interrupted_says_how_to_go_on_and_the_same_command_does() {
    let Some(_) = assets() else { return };
    let expected = undisturbed();
    let folders = Folders::new();
    let video = video(&folders);
    let mut run = Run::process(&video, &folders.state, &folders.out, &SETTINGS);
    eventually("the first frame", || run.has_ended() || objects(&folders, "jpg") > 0);
    run.interrupt();
    let output = run.end();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let state = folders.state.to_str().unwrap();
    assert!(said.contains("goes on") && said.contains(state), "{said}");
    assert_eq!(processes_of(&folders.state), [], "processes are left");
    assert!(objects(&folders, "jpg") < expected.len(), "it was over before it was interrupted");

    site::succeeded(&Run::process(&video, &folders.state, &folders.out, &SETTINGS).end());
    assert_eq!(&seen(&folders), expected, "after the interruption");
    assert_eq!(objects(&folders, "jpg"), expected.len(), "some frames came twice");

    // It is over now: the same command again is another run.
    site::succeeded(&Run::process(&video, &folders.state, &folders.out, &SETTINGS).end());
    assert_eq!(&seen(&folders), expected, "in another run");
    assert_eq!(objects(&folders, "jpg"), 2 * expected.len());
}

#[test]
fn a_batch_without_a_state_folder_leaves_nothing_when_it_is_interrupted() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let temporary = folders.root.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = celosia();
    command.env("TMPDIR", &temporary).arg("process").arg(video(&folders)).args(SETTINGS);
    // Its processes are known by the folder of temporary files that stands in their environment.
    let mut run = Run::start(command.arg("--out").arg(&folders.out), &temporary);
    let jpegs = || files(&temporary).iter().any(|f| f.extension().is_some_and(|e| e == "jpg"));
    eventually("the first frame", || run.has_ended() || jpegs());
    run.interrupt();
    let output = run.end();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("stopped before everything was in"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(processes_of(&temporary), [], "processes are left");
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn ledger(folders: &Folders) -> serde_json::Value {
    let text = fs::read(folders.state.join("edge/ledger.json")).unwrap();
    let books: serde_json::Value = serde_json::from_slice(&text).unwrap();
    books["cameras"]["demo"].clone()
}

/// Takes away what the first version did not write yet. Gives the slots that were delivered.
fn as_an_earlier_program_left_it(folders: &Folders) -> Option<u64> {
    let path = folders.state.join("edge/ledger.json");
    let mut books: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let camera = books["cameras"]["demo"].as_object_mut().unwrap();
    let delivered = camera["delivered"].as_u64();
    assert!(delivered > Some(0) && camera.remove("gaps").is_some(), "{camera:?}");
    camera.remove("until");
    fs::write(&path, books.to_string()).unwrap();
    delivered
}

#[test]
fn a_supervisor_that_is_killed_takes_its_processes_with_it() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let mut run = Run::up(&folders.state, &["--camera", "demo"]);
    eventually("every process", || {
        run.has_ended()
            || [
                "edge-agent",
                "fog-node serve",
                "cloud-bridge",
                "mask-lambda",
                "console",
                "mosquitto",
            ]
            .iter()
            .all(|name| !run.processes(name).is_empty())
    });
    assert!(!run.has_ended(), "it ended by itself");
    drop(run);
    eventually("the end of every process", || processes_of(&folders.state).is_empty());
    assert!(fs::exists(&folders.state).unwrap());
}
