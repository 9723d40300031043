//! Owns what is said at the end of a run: a table for people, JSON for programs, and what is missing.

use std::{collections::BTreeMap, path::PathBuf};

use comfy_table::{Table, presets};
use proto::record::SlotOutcome;
use results::{ClipRow, Counts, CountsByModel, Share};
use serde::Serialize;

use crate::supervisor::Memory;

/// A run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Where the results are.
    pub results: PathBuf,
    /// Seconds from the start of the command to its end.
    pub seconds: f64,
    /// Processor time of all processes of the run.
    pub cpu_seconds: f64,
    /// The most that each kind of process held at once.
    pub memory_bytes: Memory,
    /// Every video, in the order of the arguments.
    pub videos: Vec<VideoReport>,
}

/// What became of a video.
#[derive(Debug, Default, Serialize)]
pub struct VideoReport {
    /// As it was given.
    pub video: String,
    /// Clips that were committed.
    pub clips: u64,
    /// Slots that gave a frame.
    pub delivered: u64,
    /// Slots that privacy did not let out, by reason.
    pub withheld: BTreeMap<String, u64>,
    /// Slots that could not be decoded.
    pub undecodable: u64,
    /// Frames with a result.
    pub frames: u64,
    /// Counted tracks with a mask: the faces of one person in consecutive frames of one clip are one, and vote.
    pub mask: u64,
    /// Counted tracks without.
    pub no_mask: u64,
    /// Counted tracks with a mask worn incorrectly.
    pub incorrect: u64,
    /// Counted tracks too small to say.
    pub uncertain: u64,
    /// The share without mask among tracks of which something was said, as it was counted.
    pub counted_share: Option<Share>,
    /// The same with the classifier's errors taken off, where they are known.
    pub corrected_share: Option<Share>,
    /// One line for everything that is missing.
    pub missing: Vec<String>,
}

impl VideoReport {
    pub(super) fn new(video: String) -> Self {
        Self { video, ..Self::default() }
    }

    pub(super) fn add_clip(&mut self, clip: &ClipRow) {
        self.clips += 1;
        for slot in &clip.record.slots {
            match slot.outcome {
                SlotOutcome::Frame(_) => self.delivered += 1,
                SlotOutcome::Withheld(reason) => {
                    *self.withheld.entry(word(reason)).or_default() += 1;
                }
                SlotOutcome::Undecodable => self.undecodable += 1,
            }
        }
        if let Some(failure) = clip.record.failure {
            let (seq, why) = (clip.record.clip.seq, word(failure));
            self.missing.push(format!("clip {seq} cannot be read: {why}"));
        }
    }

    /// What was counted in all of its frames.
    pub(super) fn count(&mut self, counts: &CountsByModel) {
        let Counts { frames, mask, no_mask, incorrect, uncertain } = counts.total();
        (self.frames, self.mask, self.no_mask) = (frames, mask, no_mask);
        (self.incorrect, self.uncertain) = (incorrect, uncertain);
        self.counted_share = counts.total().share_without_mask();
        self.corrected_share = counts.corrected_share();
    }

    pub(super) fn slots(&self) -> u64 {
        self.delivered + self.withheld.values().sum::<u64>() + self.undecodable
    }
}

/// A share with its interval, for people.
fn percent(share: Option<Share>) -> String {
    let hundredth = |part: f64| 100.0 * part;
    share.map_or_else(String::new, |Share { share, low, high, .. }| {
        let [share, low, high] = [share, low, high].map(hundredth);
        format!("{share:.0}% ({low:.0} to {high:.0})")
    })
}

/// The word for a value of a closed set, as it stands in JSON.
fn word(value: impl Serialize) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or("unknown").to_owned()
}

impl Report {
    /// One line for everything that is missing, each with its video; none when all is well.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let of = |video: &VideoReport| {
            let name = video.video.clone();
            video.missing.iter().map(move |line| format!("{name}: {line}")).collect::<Vec<_>>()
        };
        self.videos.iter().flat_map(of).collect()
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "video",
            "clips",
            "frames",
            "withheld",
            "undecodable",
            "mask",
            "no mask",
            "incorrect",
            "uncertain",
            "without mask",
            "corrected",
        ]);
        for video in &self.videos {
            let withheld: Vec<String> =
                video.withheld.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
            let withheld = if withheld.is_empty() { "0".to_owned() } else { withheld.join(", ") };
            table.add_row([
                video.video.clone(),
                video.clips.to_string(),
                video.frames.to_string(),
                withheld,
                video.undecodable.to_string(),
                video.mask.to_string(),
                video.no_mask.to_string(),
                video.incorrect.to_string(),
                video.uncertain.to_string(),
                percent(video.counted_share),
                percent(video.corrected_share),
            ]);
        }
        let (seconds, cpu, results) = (self.seconds, self.cpu_seconds, self.results.display());
        let memory = self.memory_bytes.text();
        format!(
            "{table}\nCounted are tracks: who stays in consecutive frames of a clip counts once. Shares are of those of whom something was said, with 95% \
             intervals.\n{seconds:.1} s, {cpu:.1} s of CPU; at most {memory}; results in {results}"
        )
    }
}
