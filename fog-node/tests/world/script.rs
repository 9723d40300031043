//! Workers that do as they are told: a shell script that speaks the worker's side of the pipe, one step for each clip.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use fog_node::framing::{self, WorkerMessage};
use privacy::Seen;
use proto::{
    Digest,
    record::{ClipRecord, SlotOutcome, SlotRecord},
    wire::{Offer, decode},
};

/// Every clip for a scripted worker has this many bytes, so that the script knows how many to read.
pub(crate) const CLIP_BYTES: usize = 1000;

/// What a worker does with the next clip.
pub(crate) enum Step<'a> {
    /// Answers for this offer, with an envelope for each slot.
    Answer(&'a Offer),
    /// The same when [`Script::go`] is called.
    AnswerLater(&'a Offer),
    /// Aborts, as a native decoder does.
    Abort,
    /// Never answers.
    Hang,
}

/// The steps of all workers of a fog node, in order.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    folder: PathBuf,
}

impl Script {
    pub(super) fn new(folder: &Path) -> Self {
        for name in ["todo", "done", "pids", "told"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        let mut ready = Vec::new();
        framing::write(&mut ready, &WorkerMessage::Ready).unwrap();
        std::fs::write(folder.join("ready"), ready).unwrap();
        Self { folder: folder.to_owned() }
    }

    /// Adds a step.
    pub(crate) fn then(&self, step: Step<'_>) {
        let count = |name| std::fs::read_dir(self.folder.join(name)).unwrap().count();
        let (kind, content) = match step {
            Step::Answer(offer) => ("answer", answer(offer)),
            Step::AnswerLater(offer) => ("later", answer(offer)),
            Step::Abort => ("abort", Vec::new()),
            Step::Hang => ("hang", Vec::new()),
        };
        let name = format!("{:03}.{kind}", count("todo") + count("done"));
        // Whole at once: a worker may look at any time.
        let written = self.folder.join(&name);
        std::fs::write(&written, content).unwrap();
        std::fs::rename(written, self.folder.join("todo").join(name)).unwrap();
    }

    /// Clips that workers have taken.
    pub(crate) fn taken(&self) -> usize {
        std::fs::read_dir(self.folder.join("done")).unwrap().count()
    }

    /// What workers were told of each clip that they have taken, in order.
    pub(crate) fn told(&self) -> Vec<WorkerMessage> {
        let entries = std::fs::read_dir(self.folder.join("told")).unwrap().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().map(|path| decode(&std::fs::read(path).unwrap()).unwrap()).collect()
    }

    /// Lets those answer that were told to wait.
    pub(crate) fn go(&self) {
        std::fs::File::create(self.folder.join("go")).unwrap().flush().unwrap();
    }

    /// Process ids of all workers that were ever started.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let entries = std::fs::read_dir(self.folder.join("pids")).unwrap().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().parse().unwrap()).collect()
    }

    pub(crate) fn command(&self) -> Command {
        let script = format!(
            "touch pids/$$; cat ready\n\
             while len=$(head -c 4 | od -An -tu4 --endian=big) && [ -n \"$len\" ]; do\n\
               head -c $len >told.$$; head -c {CLIP_BYTES} >/dev/null\n\
               step=$(ls todo | head -n 1); mv told.$$ told/$step; mv todo/$step done/\n\
               case $step in\n\
                 *.answer) cat done/$step;;\n\
                 *.later) while [ ! -e go ]; do sleep 0.02; done; cat done/$step;;\n\
                 *.abort) kill -ABRT $$;;\n\
                 *.hang) exec sleep 1000;;\n\
               esac\n\
             done"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(&self.folder);
        command
    }
}

/// Where a scripted worker says that the faces of a clip's last frame were: one of them, its time the clip's number and
/// attempt.
pub(crate) fn last(seq: u64, attempt: u32) -> Seen {
    let found = serde_json::json!({"x": 1.0, "y": 1.0, "w": 20.0, "h": 30.0, "score": 0.5});
    let face =
        serde_json::json!({"boxes": [found], "place": null, "cells_at": found, "stood": false});
    serde_json::from_value(
        serde_json::json!({"at_us": 100 * u64::from(attempt) + seq, "faces": [face]}),
    )
    .unwrap()
}

fn answer(offer: &Offer) -> Vec<u8> {
    let (mut out, mut slots) = (Vec::new(), Vec::new());
    for slot in offer.interval.slots(offer.every_ns) {
        let envelope = format!("envelope of {} {slot}", offer.clip).into_bytes();
        slots.push(SlotRecord { slot, outcome: SlotOutcome::Frame(Digest::of(&envelope)) });
        let length = u32::try_from(envelope.len()).unwrap();
        framing::write(&mut out, &WorkerMessage::Frame { length }).unwrap();
        out.extend(envelope);
    }
    let record = ClipRecord {
        clip: offer.clip.clone(),
        interval: offer.interval,
        every_ns: offer.every_ns,
        captured_at: offer.captured_at,
        clock: offer.clock,
        attempt: offer.attempt,
        policy: Digest::of(b"policy"),
        slots,
        failure: None,
    };
    framing::write(&mut out, &WorkerMessage::Last(last(offer.clip.seq, offer.attempt))).unwrap();
    framing::write(&mut out, &WorkerMessage::Record(Box::new(record))).unwrap();
    out
}
