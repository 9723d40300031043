//! Ctrl-C drains and leaves nothing but the state folder; the next start goes on where this one ended.

use std::fs;

use system_tests::assets;

use crate::{
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
