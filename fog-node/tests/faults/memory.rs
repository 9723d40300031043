//! Memory that runs out in the middle of a clip.

use std::process::Command;

use fog_node::{
    parent::{Worker, WorkerError},
    pipeline::Known,
};

use crate::{
    twin::{Step, X264, command, offer, small, video},
    world::LONG,
};

/// More than a second clip of small pictures needs, and less than one in 4K does, in KiB.
const ROOM_KIB: u64 = 64 * 1024;

/// Address space of a process, in KiB.
fn size_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmSize:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The command under a limit of its address space.
fn limited(command: &Command, kib: u64) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -v {kib}; exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(command.get_current_dir().unwrap());
    limited
}

#[test]
fn a_clip_that_needs_more_memory_than_there_is_ends_its_worker_and_the_next_clip_works() {
    let folder = tempfile::tempdir().unwrap();
    let plain = command(Step::Never, folder.path());
    let first = |command| {
        let worker = Worker::start(command, LONG).unwrap();
        let (worker, output) = worker
            .process(offer(1, small(), 2), Known::default(), small().to_vec().into(), LONG)
            .unwrap();
        assert_eq!(output.record.tally().delivered, 2);
        worker
    };
    // Whatever is loaded for a first clip is there now.
    let limit = size_kib(first(command(Step::Never, folder.path())).id()) + ROOM_KIB;
    let large = video((3840, 2160), 20, "smpte", X264);
    let worker = first(limited(&plain, limit));
    let ended = worker.process(offer(2, &large, 2), Known::default(), large.into(), LONG);
    assert!(matches!(ended, Err(WorkerError::Crashed { .. })), "{ended:?}");
    drop(first(plain));
}
