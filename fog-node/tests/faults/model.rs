//! A model file that is swapped: the real worker over a folder of assets of its own.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use fog_node::{
    config::Config,
    parent::{Worker, WorkerError},
    pipeline::Known,
};
use proto::{Digest, envelope::SealedFrame};

use crate::{
    twin::{offer, small},
    world::{LONG, World, assets, root},
};

/// The folder of the worker, and its command; nothing when the models are not there.
fn own(world: &World) -> Option<(PathBuf, impl Fn() -> std::process::Command)> {
    let (from, own) = (assets()?, world.path("assets"));
    std::fs::create_dir(&own).unwrap();
    for file in std::fs::read_dir(from).unwrap().flatten() {
        let to = own.join(file.file_name());
        match file.path().extension() {
            Some(kind) if kind == "onnx" => drop(std::fs::copy(file.path(), to).unwrap()),
            _ => symlink(file.path(), to).unwrap(),
        }
    }
    let config = Config::load(&world.config("127.0.0.1:1", &own, "")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_fog-node"));
    Some((own, move || config.worker.command(program)))
}

#[test]
fn a_worker_does_not_start_with_another_model_than_it_was_measured_with() {
    let world = World::new();
    let Some((assets, command)) = own(&world) else { return };
    let (detector, auditor) = ("centerface.onnx", "ultraface-any-size.onnx");
    for (swapped, by) in [(detector, auditor), (auditor, detector)] {
        let kept = std::fs::read(assets.join(swapped)).unwrap();
        std::fs::copy(assets.join(by), assets.join(swapped)).unwrap();
        let error = Worker::start(command(), LONG).err().unwrap();
        // 64: a person must act. A fog node that starts ends with it; one that runs tries again and takes no clip.
        assert!(matches!(error, WorkerError::Crashed { code: Some(64), .. }), "{error}");
        // One byte is enough.
        let mut one = kept.clone();
        let middle = one.len() / 2;
        one[middle] ^= 1;
        std::fs::write(assets.join(swapped), one).unwrap();
        assert!(Worker::start(command(), LONG).is_err());
        std::fs::write(assets.join(swapped), kept).unwrap();
    }
    assert!(Worker::start(command(), LONG).is_ok(), "the right ones are back");
}

#[test]
fn a_model_that_is_swapped_under_a_running_worker_changes_nothing_that_it_does() {
    let world = World::new();
    let Some((assets, command)) = own(&world) else { return };
    let model = assets.join("centerface.onnx");
    let digest = Digest::of(&std::fs::read(&model).unwrap());
    let worker = Worker::start(command(), LONG).unwrap();
    // In place, so that a file that was mapped would change under its reader.
    std::fs::write(&model, vec![0; 100_000]).unwrap();
    let (_, output) = worker
        .process(offer(1, small(), 2), Known::default(), small().to_vec().into(), LONG)
        .unwrap();
    assert_eq!(output.record.tally().delivered, 2);
    for envelope in output.envelopes {
        let frame = SealedFrame::open(envelope, &root().public()).unwrap();
        assert_eq!(frame.manifest().detector.digest, digest);
    }
    assert!(Worker::start(command(), LONG).is_err(), "and the next worker is none");
}
