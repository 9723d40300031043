//! A worker that crashes, hangs or speaks nonsense costs one attempt of one clip; the real one is closed in.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{path::PathBuf, process::Command, time::Duration};

use fog_node::{
    framing::{self, WorkerMessage},
    parent::{Worker, WorkerError},
    pipeline::Known,
};
use proto::{
    Clock, Digest, Interval, UtcTime,
    envelope::{SealGrant, SealedFrame},
    record::{ClipFailure, SlotOutcome},
    signing::SigningKey,
    time::ClockSource,
    wire::{NoiseKey, Offer},
};

/// Long for a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(120);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A shell script that says it is ready as a worker does, then goes on.
fn ready_then(script: &str) -> Command {
    let mut ready = Vec::new();
    framing::write(&mut ready, &WorkerMessage::Ready).unwrap();
    let octal: String = ready.iter().map(|byte| format!("\\{byte:03o}")).collect();
    shell(&format!("printf '{octal}'; {script}"))
}

fn offer(length: u64) -> Offer {
    Offer {
        clip: "town/cam-1/000102030405060708090a0b0c0d0e0f/0".parse().unwrap(),
        digest: Digest::of(b""),
        length,
        attempt: 1,
        noise_key: NoiseKey([3; 32]),
        noise_epoch: 0,
        interval: Interval { start_ns: 0, end_ns: 2_000_000_000 },
        every_ns: 1_000_000_000,
        captured_at: UtcTime::EPOCH,
        clock: Clock { source: ClockSource::Unknown, uncertainty_ms: None },
    }
}

fn process(command: Command, deadline: Duration) -> WorkerError {
    let worker = Worker::start(command, DEADLINE).unwrap();
    worker.process(offer(4), Known::default(), vec![0; 4].into(), deadline).err().unwrap()
}

#[test]
fn a_worker_that_aborts_is_a_crash_that_names_the_signal() {
    let error = process(ready_then("head -c 8 >/dev/null; kill -ABRT $$"), DEADLINE);
    assert!(
        matches!(&error, WorkerError::Crashed { status, .. } if status.contains("SIGABRT")),
        "{error}"
    );
}

#[test]
fn a_worker_that_hangs_is_killed_at_the_deadline() {
    let error = process(ready_then("exec sleep 1000"), Duration::from_millis(200));
    assert!(matches!(error, WorkerError::Deadline(_)), "{error}");
}

#[test]
fn a_worker_that_speaks_nonsense_is_ended() {
    let error = process(ready_then("printf 'this is no message'; exec sleep 1000"), DEADLINE);
    assert!(matches!(error, WorkerError::Crashed { .. }), "{error}");
}

#[test]
fn a_worker_that_never_gets_ready_is_told_at_once() {
    let error = Worker::start(shell("exit 3"), DEADLINE).err().unwrap();
    assert!(
        matches!(&error, WorkerError::Crashed { status, .. } if status.contains('3')),
        "{error}"
    );
}

/// The real worker with a made-up site; nothing when the models are not there.
fn real(folder: &std::path::Path) -> Option<(Command, SigningKey)> {
    under(folder, &privacy::Policy::named("default").unwrap())
}

/// The same with a grant for this policy.
fn under(folder: &std::path::Path, policy: &privacy::Policy) -> Option<(Command, SigningKey)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let assets = std::env::var_os("CELOSIA_ASSETS").map(PathBuf::from);
    let assets = assets.unwrap_or_else(|| root.join(".celosia/assets"));
    if !assets.join("centerface.onnx").exists() {
        use std::io::Write;
        let line = format!("SKIPPED: {} has no models; run `celosia fetch`\n", assets.display());
        std::io::stderr().write_all(line.as_bytes()).ok();
        return None;
    }
    let policy = policy.reference().digest;
    let (root, seed) = (SigningKey::from_seed(&[1; 32]).unwrap(), [2; 32]);
    let key = SigningKey::from_seed(&seed).unwrap();
    let until: UtcTime = "2100-01-01T00:00:00Z".parse().unwrap();
    let site = "town".parse().unwrap();
    let grant = SealGrant::issue(&root, key.public(), site, UtcTime::EPOCH, until, vec![policy]);
    std::fs::write(folder.join("seal.key"), "02".repeat(32)).unwrap();
    std::fs::write(folder.join("grant.json"), serde_json::to_vec(&grant).unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fog-node"));
    command.arg("worker").arg("--assets").arg(assets);
    command.arg("--seal-key").arg(folder.join("seal.key"));
    command.arg("--grant").arg(folder.join("grant.json"));
    Some((command, root))
}

#[test]
fn the_real_worker_has_no_sockets_no_core_and_no_onlookers() {
    let folder = tempfile::tempdir().unwrap();
    let Some((command, _)) = real(folder.path()) else { return };
    let worker = Worker::start(command, DEADLINE).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    let has = |line: &str| status.lines().any(|l| l.split_whitespace().eq(line.split_whitespace()));
    assert!(has("Seccomp: 2") && has("NoNewPrivs: 1"), "{status}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", worker.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().skip(4).take(2).eq(["0", "0"]), "{core}");
    let sockets = std::fs::read_dir(format!("/proc/{}/fd", worker.id())).unwrap();
    let open: Vec<_> =
        sockets.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
    assert!(!open.iter().any(|to| to.to_string_lossy().starts_with("socket:")), "{open:?}");
}

/// Two seconds of a test picture.
fn clip(folder: &std::path::Path) -> Vec<u8> {
    let clip = folder.join("clip.mkv");
    let line = format!(
        "videotestsrc num-buffers=20 ! video/x-raw,width=320,height=240,framerate=10/1 ! x264enc ! \
         h264parse ! matroskamux ! filesink location={}",
        clip.display()
    );
    let made = Command::new("gst-launch-1.0").arg("-q").args(line.split_whitespace()).status();
    assert!(made.unwrap().success());
    std::fs::read(clip).unwrap()
}

/// From the file to the sealed picture, by the real process; and no start under a grant that does not name them.
#[test]
fn static_regions_are_in_the_digest_the_manifest_and_the_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("windows.toml");
    std::fs::write(&file, "cam-1 = ['0,0 0.5,0 0.5,0.5 0,0.5']\nother = ['0,0 1,0 1,1']\n")
        .unwrap();
    let policy = fog_node::worker::policy("default", Some(&file)).unwrap();
    let Some((mut command, root)) = under(folder.path(), &policy) else { return };
    command.arg("--static-regions").arg(&file);
    let worker = Worker::start(command, DEADLINE).unwrap();
    let bytes = clip(folder.path());
    let (_, output) = worker
        .process(offer(bytes.len() as u64), Known::default(), bytes.into(), DEADLINE)
        .unwrap();
    assert_eq!(output.record.policy, policy.reference().digest);
    for bytes in output.envelopes {
        let frame = SealedFrame::open(bytes, &root.public()).unwrap();
        let manifest = frame.manifest();
        assert_eq!(manifest.policy, policy.reference());
        let rect = manifest.regions[0].fill[0];
        assert_eq!((rect.x, rect.y, rect.w, rect.h), (0, 0, 160, 120));
        let raw =
            privacy::RawFrame::from_still(&frame.jpeg(), meta(manifest.frame.clone())).unwrap();
        let view = raw.view().unwrap();
        let shown = view.planes(
            models::pixels::Window { x: 0, y: 0, w: 160, h: 120 },
            160,
            120,
            models::pixels::Norm { mean: 0.0, scale: 1.0 },
        );
        // JPEG bleeds over the last block of colour, 16 px, at most; inside it is flat.
        let inside = (0..104).flat_map(|y| (0..144).map(move |x| y * 160 + x));
        assert!(inside.into_iter().all(|at| (shown[at] - 128.0).abs() <= 2.0));
    }

    let (mut command, _) = real(folder.path()).unwrap();
    command.arg("--static-regions").arg(&file);
    let error = Worker::start(command, DEADLINE).err().unwrap();
    assert!(matches!(error, WorkerError::Crashed { code: Some(64), .. }), "{error}");
}

fn meta(frame: proto::FrameId) -> privacy::FrameMeta {
    privacy::FrameMeta {
        frame,
        captured_at: UtcTime::EPOCH,
        clip_captured_at: UtcTime::EPOCH,
        clock: Clock { source: ClockSource::Unknown, uncertainty_ms: None },
    }
}

#[test]
fn bytes_that_are_no_video_are_a_record_and_the_worker_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some((command, root)) = real(folder.path()) else { return };
    let worker = Worker::start(command, DEADLINE).unwrap();
    let (worker, output) =
        worker.process(offer(4), Known::default(), b"nope".to_vec().into(), DEADLINE).unwrap();
    assert_eq!(output.record.failure, Some(ClipFailure::NotVideo));
    assert_eq!(output.record.tally().undecodable, 2);
    assert!(output.record.check().is_ok() && output.envelopes.is_empty());

    let bytes = clip(folder.path());
    let (_, output) = worker
        .process(offer(bytes.len() as u64), Known::default(), bytes.into(), DEADLINE)
        .unwrap();
    assert!(output.record.check().is_ok() && output.record.failure.is_none());
    assert_eq!(output.envelopes.len(), 2);
    for (slot, bytes) in output.record.slots.iter().zip(output.envelopes) {
        let frame = SealedFrame::open(bytes, &root.public()).unwrap();
        assert_eq!(slot.outcome, SlotOutcome::Frame(frame.digest()));
        assert_eq!(frame.manifest().frame.slot, slot.slot);
    }
}
