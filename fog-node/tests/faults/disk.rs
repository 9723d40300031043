//! Disks: a fog node needs none for pictures, and a bridge without room is asked before any work is done.

use fog_node::{node::count, parent::Worker, pipeline::Known};
use proto::wire::RefuseReason;

use crate::{
    twin::{Step, command, offer, small},
    world::{self, LONG, Mood, World, counted, eventually, reason},
};

/// What a process has open: where each descriptor leads.
fn open(pid: u32) -> Vec<String> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let read = links.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    read.map(|to| to.to_string_lossy().into_owned()).collect()
}

/// A full disk cannot stop or change a frame, since none is written: in the middle of one, a worker has pipes and memory.
#[tokio::test]
async fn a_worker_in_the_middle_of_a_frame_has_no_file_open_and_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(Step::Hang, folder.path());
    // The log of whoever runs this test may be a file.
    command.stderr(std::process::Stdio::null());
    let worker = Worker::start(command, LONG).unwrap();
    let (pid, killer) = (worker.id(), worker.killer());
    let processing = std::thread::spawn(move || {
        worker.process(offer(1, small(), 2), Known::default(), small().to_vec().into(), LONG)
    });
    // The clip is in a sealed memory file while its frames are taken out of it.
    assert!(eventually(|| open(pid).iter().any(|to| to.starts_with("/memfd:"))).await);
    let harmless = |to: &String| {
        let pipes = ["pipe:", "/memfd:", "anon_inode:", "/dev/null", "/dev/urandom", "socket:"];
        pipes.iter().any(|kind| to.starts_with(kind))
    };
    let files: Vec<String> = open(pid).into_iter().filter(|to| !harmless(to)).collect();
    // Plugins and their libraries may just be loaded: `libx264.so.164` and the like.
    let is_library =
        |to: &String| to.contains(".so.") || to.ends_with(".so") || to.ends_with(".bin");
    assert!(files.iter().all(is_library), "{files:?}");
    killer.kill();
    assert!(processing.join().unwrap().is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it left files");
}

#[tokio::test]
async fn with_a_full_outbox_no_clip_is_taken_and_none_is_processed() {
    let world = World::new();
    let bridge = world.bridge(Mood::Full);
    let config = world.config(&bridge.address, &world.path("none"), "workers = 1");
    let config = fog_node::config::Config::load(&config).unwrap();
    let folder = world.folder.path().to_owned();
    let fog = world::Fog::start(config, move || command(Step::Never, &folder)).await.unwrap();
    let gateway = world.gateway("gw-1", &fog.address).await;
    let outcome = gateway.upload(&offer(1, small(), 2), small()).await;
    assert_eq!(reason(&outcome), Some(RefuseReason::BridgeUnavailable));
    bridge.books().mood = Mood::Takes;
    assert_eq!(reason(&gateway.upload_at_last(&offer(1, small(), 2), small()).await), None);
    let status = fog.stop().await;
    assert_eq!((counted(&status, count::RECEIVED), counted(&status, count::COMMITTED)), (1, 1));
}
