//! How a real process stops: by one signal, by two, and by the end of its supervisor.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use base::{Shutdown, exit, telemetry};
use rustix::process::{Pid, Signal, kill_process};

/// Set in the child that this file's tests start: this same program, running `child` alone.
const CHILD: &str = "CELOSIA_TEST_CHILD";
const GRACE: Duration = Duration::from_secs(60);

/// In a child: serves until it is told to stop; as `stubborn` it has a task that never ends.
/// Elsewhere: nothing to do.
#[test]
fn child() {
    let Some(kind) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let shutdown = Shutdown::listen().unwrap();
        if kind == "stubborn" {
            shutdown.spawn(std::future::pending());
        }
        telemetry::announce_ready(&serde_json::json!({ "kind": "child" })).unwrap();
        shutdown.requested().await;
        telemetry::announce_ready(&serde_json::json!({ "kind": "draining" })).unwrap();
        assert!(shutdown.drain(GRACE).await);
    });
}

struct Started {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Started {
    fn new(kind: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, kind)
            .env("CELOSIA_PARENT_PIPE", "stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut started = Self { child, lines };
        started.wait_for(r#"ready {"kind":"child"}"#);
        started
    }

    fn wait_for(&mut self, what: &str) {
        // The test harness writes to the same line.
        assert!(self.lines.any(|line| line.unwrap().ends_with(what)), "no line {what}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn exit_code(mut self) -> Option<i32> {
        self.lines.by_ref().for_each(drop);
        self.child.wait().unwrap().code()
    }
}

#[test]
fn one_signal_drains() {
    for signal in [Signal::TERM, Signal::INT] {
        let started = Started::new("ready to stop");
        started.signal(signal);
        assert_eq!(started.exit_code(), Some(0), "{signal:?}");
    }
}

#[test]
fn a_second_signal_exits_at_once() {
    let mut started = Started::new("stubborn");
    started.signal(Signal::TERM);
    started.wait_for(r#"ready {"kind":"draining"}"#);
    started.signal(Signal::INT);
    assert_eq!(started.exit_code(), Some(exit::STOPPED.into()));
}

#[test]
fn the_end_of_the_supervisor_drains() {
    let mut started = Started::new("ready to stop");
    drop(started.child.stdin.take());
    assert_eq!(started.exit_code(), Some(0));
}
