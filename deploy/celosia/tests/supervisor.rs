//! The supervisor over real processes: shell scripts that behave, crash, hang and refuse as services do.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use base::{Shutdown, SystemClock};
use celosia::supervisor::{
    Limits, LockError, Locked, Program, Ready, State, Stop, Supervisor, bound,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Longest wait for what should happen at once.
const PATIENCE: Duration = Duration::from_secs(60);
/// Set in the child that the test of a killed supervisor starts: this program, supervising in that folder.
const SUPERVISE: &str = "SUPERVISOR_TEST_FOLDER";

/// Serves until its standard input ends.
const GOOD: &str = "echo started; echo 'ready {\"n\":1}'; cat > /dev/null";

fn program(folder: &Path, name: &'static str, script: &str) -> Program {
    Program {
        name,
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("NAME", name.into())],
        folder: folder.to_owned(),
        ready: Ready::Line,
        stop: Stop::EndOfInput,
        after: &[],
        ends: false,
        limits: Limits { ready: PATIENCE, grace: Duration::from_secs(20) },
    }
}

async fn start(folder: &Path, programs: Vec<Program>) -> Supervisor {
    let locked = Locked::new(folder, &Shutdown::default()).await.unwrap();
    let clock = Arc::new(SystemClock::default());
    Supervisor::start(locked, programs, folder.join("logs"), clock).unwrap()
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}

/// Process ids as the supervisor notes them.
fn pids(folder: &Path) -> BTreeMap<String, i32> {
    let json = fs::read(folder.join("run.json")).unwrap_or_default();
    let noted: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&json).unwrap_or_default();
    let pid = |value: &serde_json::Value| value["pid"].as_i64().unwrap().try_into().unwrap();
    noted.iter().map(|(name, value)| (name.clone(), pid(value))).collect()
}

fn is_alive(pid: i32) -> bool {
    let zombie = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "));
    !zombie && test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}

async fn eventually(mut so: impl FnMut() -> bool) {
    let looked = Shutdown::default();
    in_time(async {
        while !so() {
            looked.sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn children_start_after_what_they_need_and_stop_in_the_order_of_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let noted = "echo +$NAME >> order; echo 'ready {}'; cat > /dev/null; echo -$NAME >> order";
    let edge = Program { after: &["fog"], ..program(folder.path(), "edge", noted) };
    let fog = Program { after: &["store"], ..program(folder.path(), "fog", noted) };
    let store = program(folder.path(), "store", noted);
    let supervisor = start(folder.path(), vec![edge, fog, store]).await;
    in_time(supervisor.ready()).await.unwrap();
    assert_eq!(supervisor.state("edge"), Some(State::Ready(serde_json::json!({}))));
    in_time(supervisor.stop()).await;
    let order = fs::read_to_string(folder.path().join("order")).unwrap();
    let order: Vec<&str> = order.lines().collect();
    assert_eq!(order, ["+store", "+fog", "+edge", "-edge", "-fog", "-store"]);
    assert!(pids(folder.path()).is_empty());
}

#[tokio::test]
async fn a_child_that_is_killed_is_started_again_and_what_it_left_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let script = "sleep 1000 & echo $! > left; echo 'ready {}'; cat > /dev/null";
    let supervisor = start(folder.path(), vec![program(folder.path(), "fog", script)]).await;
    in_time(supervisor.ready()).await.unwrap();
    let first = pids(folder.path())["fog"];
    let left = fs::read_to_string(folder.path().join("left")).unwrap().trim().parse().unwrap();
    assert!(is_alive(left));
    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    eventually(|| pids(folder.path()).get("fog").is_some_and(|pid| *pid != first)).await;
    in_time(supervisor.ready()).await.unwrap();
    assert!(!is_alive(left), "a process that the child had started outlived it");
    in_time(supervisor.stop()).await;
}

#[tokio::test]
async fn a_child_that_crashes_five_times_in_a_minute_is_given_up_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo x >> lives; echo the disk is on fire >&2; exit 3";
    let supervisor = start(folder.path(), vec![program(folder.path(), "fog", script)]).await;
    let failure = in_time(supervisor.failed()).await.to_string();
    for part in ["fog", "exit status: 3", "the disk is on fire", "fog.log"] {
        assert!(failure.contains(part), "{part} is not in: {failure}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("lives")).unwrap().lines().count(), 5);
    assert!(in_time(supervisor.ready()).await.is_err());
    in_time(supervisor.stop()).await;
}

#[tokio::test]
async fn a_refused_configuration_is_given_up_at_once_and_others_are_stopped_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = "echo x >> lives; echo unknown key colour >&2; exit 64";
    let wrong = program(folder.path(), "bridge", wrong);
    let waiting = Program { after: &["bridge"], ..program(folder.path(), "fog", GOOD) };
    let good = program(folder.path(), "store", GOOD);
    let supervisor = start(folder.path(), vec![waiting, wrong, good]).await;
    let failure = in_time(supervisor.failed()).await.to_string();
    assert!(failure.contains("bridge") && failure.contains("colour"), "{failure}");
    assert_eq!(fs::read_to_string(folder.path().join("lives")).unwrap(), "x\n");
    in_time(supervisor.stop()).await;
    assert!(pids(folder.path()).is_empty());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Program { path: "/no/such/thing".into(), ..program(folder.path(), "fog", "") };
    let supervisor = start(folder.path(), vec![missing]).await;
    let failure = in_time(supervisor.failed()).await.to_string();
    assert!(failure.contains("/no/such/thing"), "{failure}");
    in_time(supervisor.stop()).await;
}

#[tokio::test]
async fn a_child_that_is_never_ready_or_never_stops_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let short = Duration::from_millis(150);
    let limits = |ready, grace| Limits { ready, grace };
    let mute = program(folder.path(), "mute", "exec sleep 1000");
    let mute = Program { limits: limits(short, short), ..mute };
    let stubborn = "echo 'ready {}'; trap '' TERM; while :; do sleep 1000; done";
    let stubborn = program(folder.path(), "stubborn", stubborn);
    let stubborn = Program { limits: limits(PATIENCE, short), ..stubborn };
    let supervisor = start(folder.path(), vec![stubborn, mute]).await;
    eventually(|| supervisor.state("mute") == Some(State::Crashed)).await;
    eventually(|| matches!(supervisor.state("stubborn"), Some(State::Ready(_)))).await;
    let pid = pids(folder.path())["stubborn"];
    in_time(supervisor.stop()).await;
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_child_that_may_end_answers_with_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo 'ready {}'; exit 1";
    let edge = Program { ends: true, ..program(folder.path(), "edge", script) };
    let supervisor = start(folder.path(), vec![edge]).await;
    assert_eq!(in_time(supervisor.ended("edge")).await, 1);
    in_time(supervisor.ready()).await.unwrap();
    in_time(supervisor.stop()).await;
}

#[tokio::test]
async fn a_state_folder_has_one_supervisor() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = start(folder.path(), vec![program(folder.path(), "fog", GOOD)]).await;
    let second = Locked::new(folder.path(), &Shutdown::default()).await.unwrap_err();
    assert!(matches!(second, LockError::InUse(_)), "{second}");
    assert!(second.to_string().contains(folder.path().to_str().unwrap()), "{second}");
    in_time(supervisor.stop()).await;
    Locked::new(folder.path(), &Shutdown::default()).await.unwrap();
}

#[tokio::test]
async fn keys_of_the_person_who_starts_it_do_not_reach_children() {
    let folder = tempfile::tempdir().unwrap();
    let script = "env > seen; echo 'ready {}'; cat > /dev/null";
    let supervisor = start(folder.path(), vec![program(folder.path(), "fog", script)]).await;
    in_time(supervisor.ready()).await.unwrap();
    let seen = fs::read_to_string(folder.path().join("seen")).unwrap();
    assert!(seen.lines().any(|line| line == "CELOSIA_PARENT_PIPE=stdin"), "{seen}");
    assert!(seen.lines().any(|line| line == "NAME=fog"), "{seen}");
    assert!(!seen.contains("CELOSIA_ASSETS") && !seen.contains("AWS_"), "{seen}");
    in_time(supervisor.stop()).await;
}

/// In a child of the test below: supervises one child of each kind until it is killed. Elsewhere: nothing to do.
#[tokio::test]
async fn supervise() {
    let Some(folder) = std::env::var_os(SUPERVISE).map(PathBuf::from) else { return };
    let script = "echo 'ready {}'; cat > /dev/null; echo drained >> end";
    let service = program(&folder, "fog", script);
    // It reads nothing, as Mosquitto does not.
    let server = "trap 'echo told >> end; exit' TERM; echo 'ready {}'; sleep 1000 & wait";
    let arguments = ["-c".into(), server.into()];
    let server = Program {
        path: env!("CARGO_BIN_EXE_celosia").into(),
        arguments: bound::arguments(Path::new("/bin/sh"), &arguments),
        stop: Stop::Terminate,
        ..program(&folder, "broker", "")
    };
    let supervisor = start(&folder, vec![service, server]).await;
    in_time(supervisor.ready()).await.unwrap();
    eprintln!("supervising");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn children_end_when_their_supervisor_is_killed_and_the_next_one_waits_for_that() {
    let folder = tempfile::tempdir().unwrap();
    let mut supervisor = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "supervise", "--nocapture"])
        .env(SUPERVISE, folder.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(supervisor.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("supervising")));
    let children = pids(folder.path());
    assert!(children.values().all(|pid| is_alive(*pid)), "{children:?}");
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    let _locked = in_time(Locked::new(folder.path(), &Shutdown::default())).await.unwrap();
    assert!(!children.values().any(|pid| is_alive(*pid)), "{children:?}");
    let mut end = Vec::new();
    eventually(|| {
        let text = fs::read_to_string(folder.path().join("end")).unwrap_or_default();
        end = text.lines().map(str::to_owned).collect();
        end.sort();
        end == ["drained", "told"]
    })
    .await;
}
