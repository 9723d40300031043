//! A worker whose networks do as they are told. In this process it is a pipeline over twins of the detectors; as a process
//! it is this test program again, which serves as a worker does and dies where it is told to.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use fog_node::{
    framing::{self, WorkerMessage},
    worker,
};
use models::{
    DetectError, Detection, FaceDetector, Family, PixelView,
    detector::Scripted,
    pixels::{Norm, Window},
};
use proto::{Digest, Interval, wire::Offer};
use rustix::process::{Signal, getpid, kill_process};

use crate::world;
pub(crate) use crate::world::pipeline;

/// The environment variable that makes this program a worker, and says where it dies.
const STEP: &str = "CELOSIA_TWIN_DIES";

/// A face in the middle of the clip's pictures.
pub(crate) const FACE: Detection = Detection { x: 120.0, y: 80.0, w: 60.0, h: 80.0, score: 0.9 };

/// Where a twin ends itself with SIGKILL, in the order of a clip's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The bytes are there and the decoder's threads run.
    Decode,
    /// The detector looks.
    Detect,
    /// The detector has looked, and the frame is about to be redacted.
    Redact,
    /// The auditor looks at the raw frame.
    Audit,
    /// The auditor has looked at the grey copy too, and the frame is about to be drawn.
    Draw,
    /// Frames are sealed, and the first byte of the answer is about to be written.
    Seal,
    /// In the middle of the first envelope.
    Answer,
    /// The detector looks at the third frame: the first clip of two frames comes out.
    DetectLater,
    /// Nowhere: the detector never answers.
    Hang,
    /// Nowhere: the detector finds nothing where the auditor does.
    Blind,
    /// Nowhere.
    Never,
}

impl Step {
    pub(crate) const DEATHS: [Self; 7] = [
        Self::Decode,
        Self::Detect,
        Self::Redact,
        Self::Audit,
        Self::Draw,
        Self::Seal,
        Self::Answer,
    ];

    fn named(name: &str) -> Self {
        let all = Self::DEATHS.into_iter().chain([
            Self::DetectLater,
            Self::Hang,
            Self::Blind,
            Self::Never,
        ]);
        all.into_iter().find(|step| format!("{step:?}") == name).unwrap()
    }
}

fn die() -> ! {
    kill_process(getpid(), Signal::KILL).unwrap();
    loop {
        std::thread::park();
    }
}

/// A detector that finds [`FACE`] and dies when it is asked for something.
struct Mortal {
    family: Family,
    finds: Vec<Detection>,
    /// Which look it dies at, from 1.
    at_look: Option<u32>,
    looks: u32,
    at_digest: bool,
    hangs: bool,
}

impl FaceDetector for Mortal {
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        self.looks += 1;
        if self.at_look == Some(self.looks) {
            die();
        }
        if self.hangs {
            loop {
                std::thread::park();
            }
        }
        // Whoever is there in a dark clip stands lower by a quarter.
        let corner = Window { x: 0, y: 0, w: 1, h: 1 };
        let dark = view.planes(corner, 1, 1, Norm { mean: 0.0, scale: 1.0 })[0] < 50.0;
        let lower = |face: &Detection| Detection { y: face.y + face.h / 4.0, ..*face };
        Ok(self.finds.iter().map(|face| if dark { lower(face) } else { *face }).collect())
    }

    fn name(&self) -> &'static str {
        "mortal"
    }

    fn digest(&self) -> Digest {
        if self.at_digest {
            die();
        }
        Digest::of(b"mortal")
    }

    fn family(&self) -> Family {
        self.family
    }
}

/// Standard output that dies after so many bytes of it.
struct MortalPipe<W> {
    inner: W,
    left: usize,
}

impl<W: Write> Write for MortalPipe<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let now = bytes.len().min(self.left);
        let written = self.inner.write(bytes.get(..now).unwrap())?;
        self.left -= written;
        if self.left == 0 {
            self.inner.flush()?;
            die();
        }
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// The bytes with which a worker says that it is ready.
pub(crate) fn ready() -> Vec<u8> {
    let mut ready = Vec::new();
    framing::write(&mut ready, &WorkerMessage::Ready).unwrap();
    ready
}

/// Bytes of the first envelope that a twin writes before it dies in [`Step::Answer`].
const PART: usize = 3000;

/// Not a test of its own: what the twin runs. Without the environment variable there is nothing to do.
#[test]
fn the_twin_serves_as_a_worker() {
    let Some(step) = std::env::var_os(STEP) else { return };
    let step = Step::named(step.to_str().unwrap());
    let (detector, auditor) = (Family::Scripted(1), Family::Scripted(2));
    let detector = Mortal {
        family: detector,
        finds: if step == Step::Blind { vec![] } else { vec![FACE] },
        at_look: match step {
            Step::Detect => Some(1),
            Step::DetectLater => Some(3),
            _ => None,
        },
        looks: 0,
        at_digest: step == Step::Redact,
        hangs: step == Step::Hang,
    };
    let auditor = Mortal {
        family: auditor,
        finds: if step == Step::Blind { vec![FACE] } else { vec![] },
        at_look: (step == Step::Audit).then_some(1),
        looks: 0,
        at_digest: step == Step::Draw,
        hangs: false,
    };
    if step == Step::Decode {
        std::thread::spawn(|| while !decodes() {});
    }
    let left = match step {
        Step::Seal => ready().len(),
        Step::Answer => ready().len() + PART,
        _ => usize::MAX,
    };
    // Standard output has the lines of the test program; the parent's pipe is number 3.
    let out = std::fs::File::options().write(true).open("/dev/fd/3").unwrap();
    let mut out = MortalPipe { inner: out, left: left + usize::from(step == Step::Seal) };
    worker::serve_over(pipeline(detector, auditor), &mut std::io::stdin().lock(), &mut out)
        .unwrap();
}

/// Dies when a thread of the decoder runs.
fn decodes() -> bool {
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.contains("demux") || name.contains("queue") {
            die();
        }
    }
    std::thread::yield_now();
    false
}

/// The command of a twin that dies there, with an own folder for whatever it would write.
pub(crate) fn command(step: Step, folder: &Path) -> Command {
    let script = "exec 3>&1 1>/dev/null; exec \"$0\" --exact twin::the_twin_serves_as_a_worker \
                  --nocapture --test-threads 1";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(std::env::current_exe().unwrap());
    command.env(STEP, format!("{step:?}")).env("TMPDIR", folder).current_dir(folder);
    command
}

/// What a worker wrote from its start to its end, when it is given one clip.
pub(crate) fn written(mut command: Command, offer: &Offer, bytes: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A worker that is gone does not read; what it wrote is what counts.
    let sent = framing::write(
        &mut stdin,
        &WorkerMessage::Clip { offer: Box::new(offer.clone()), known: Box::default() },
    );
    drop(sent.and_then(|()| Ok(stdin.write_all(bytes)?)));
    // The end of the pipe is the end of a worker that is still there.
    drop(stdin);
    let mut written = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut written).unwrap();
    child.wait().unwrap();
    written
}

/// An auditor that finds nothing.
pub(crate) fn clear() -> Scripted {
    Scripted::boxes(2, vec![])
}

/// x264 with a key frame each second.
pub(crate) const X264: &str = "x264enc key-int-max=10 bframes=0 speed-preset=ultrafast ! h264parse";

/// Makes a video of the test source at 10 pictures a second.
pub(crate) fn video(size: (u32, u32), pictures: u32, pattern: &str, encoder: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (path, (width, height)) = (folder.path().join("clip.mkv"), size);
    let line = format!(
        "videotestsrc num-buffers={pictures} pattern={pattern} ! \
         video/x-raw,width={width},height={height},framerate=10/1 ! {encoder} ! matroskamux ! \
         filesink location={}",
        path.display()
    );
    let made = Command::new("gst-launch-1.0").arg("-q").args(line.split_whitespace()).status();
    assert!(made.unwrap().success(), "{line}");
    std::fs::read(path).unwrap()
}

/// Two seconds of small pictures, made once.
pub(crate) fn small() -> &'static [u8] {
    static CLIP: OnceLock<Vec<u8>> = OnceLock::new();
    CLIP.get_or_init(|| video((320, 240), 20, "smpte", X264))
}

/// The offer of a clip with so many slots in its first two seconds.
pub(crate) fn offer(seq: u64, bytes: &[u8], slots: i64) -> Offer {
    let interval = Interval { start_ns: 0, end_ns: 2_000_000_000 };
    Offer { interval, every_ns: 2_000_000_000 / slots, ..world::offer(seq, bytes) }
}
