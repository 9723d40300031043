//! Owns what a run leaves in its folder: every redacted frame as a JPEG, verified, and `results.json`.

use std::path::PathBuf;

use base::Shutdown;
use proto::{
    SessionId, UtcTime,
    control::{CameraState, CameraStatus},
    manifest::{ModelRef, PolicyRef},
    result::{FaceResult, FrameResult, Placement},
};
use results::{
    ClipFilter, ClipRow, CountsByModel, FrameFilter, FrameRow, FrameState, Order, ROWS_MAX,
    Results, Track,
};
use serde::Serialize;
use store::FrameReader;

use super::{
    Options, ProcessError, annotate, files,
    report::{Report, VideoReport},
    videos::Video,
    wait::Statuses,
};
use crate::run::Running;

/// Name of the results in the folder.
pub(super) const RESULTS: &str = "results.json";

/// One frame in `results.json`.
#[derive(Debug, Serialize)]
struct Frame {
    clip: String,
    frame: String,
    captured_at: UtcTime,
    /// Relative to the folder of `results.json`.
    image: String,
    /// Relative to it too; only when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    annotated: Option<String>,
    width: u32,
    height: u32,
    faces: Vec<FaceResult>,
    /// The track of each face, by which those of one person in consecutive frames of a clip are linked, and vote.
    tracks: Vec<Track>,
    mask: u32,
    no_mask: u32,
    incorrect: u32,
    uncertain: u32,
    share_without_mask: Option<f64>,
    model: ModelRef,
    policy: PolicyRef,
    classified_on: Placement,
}

impl Frame {
    /// `result` is what the row's state holds.
    fn of(row: &FrameRow, result: &FrameResult, image: String, annotated: Option<String>) -> Self {
        Self {
            clip: result.frame.clip.to_string(),
            frame: result.frame.to_string(),
            captured_at: result.captured_at,
            image,
            annotated,
            width: result.width,
            height: result.height,
            faces: result.faces.clone(),
            tracks: row.tracks.clone(),
            mask: result.mask,
            no_mask: result.no_mask,
            incorrect: result.incorrect,
            uncertain: result.uncertain,
            share_without_mask: result.share_without_mask,
            model: result.model.clone(),
            policy: result.policy.clone(),
            classified_on: result.classified_on,
        }
    }
}

/// Writes frames and results; what is missing stands in the report.
pub(super) async fn gather(
    options: &Options,
    videos: &[Video],
    running: &Running,
    statuses: &Statuses,
    shutdown: &Shutdown,
) -> Result<Report, ProcessError> {
    let reader = running.frames().await?;
    let mut report = Report::default();
    let (mut frames, mut wanted) = (Vec::new(), Vec::new());
    for video in videos {
        let mut about = VideoReport::new(video.path.display().to_string());
        let mut counts = CountsByModel::default();
        let clips = newest_run(&running.results, video).await?;
        for clip in &clips {
            about.add_clip(clip);
        }
        if let Some(session) = clips.first().map(|clip| clip.record.clip.session) {
            for row in rows(&running.results, video, session).await? {
                match &row.state {
                    FrameState::Done { result, .. } => {
                        let image = file(&row, "frames");
                        save(&reader, &row, options.out.join(&image), shutdown).await?;
                        counts.add(&row.counts);
                        let annotated = options.annotated.then(|| file(&row, "annotated"));
                        frames.push(Frame::of(&row, result, image, annotated.clone()));
                        let result = result.clone();
                        wanted.extend(annotated.map(|file| annotate::Wanted { row, result, file }));
                    }
                    FrameState::Dead { reason, .. } => {
                        about.missing.push(format!("frame {} has no result: {reason}", row.frame));
                    }
                    FrameState::Awaiting { .. } => {
                        about.missing.push(format!("frame {} waits for its result", row.frame));
                    }
                }
            }
        }
        about.count(&counts);
        judge(&mut about, statuses.get(&video.camera.id));
        report.videos.push(about);
    }
    if !wanted.is_empty() {
        annotate::pictures(running, &wanted, &options.out, shutdown).await?;
    }
    let path = options.out.join(RESULTS);
    let json = serde_json::to_vec_pretty(&frames).map_err(std::io::Error::from);
    let json = json.map_err(|source| ProcessError::File { path: path.clone(), source })?;
    files::write_durable(path.clone(), json).await?;
    report.results = path;
    Ok(report)
}

/// The clips of the run that was just finished: a kept state may hold earlier runs on the same file.
async fn newest_run(results: &Results, video: &Video) -> Result<Vec<ClipRow>, ProcessError> {
    let mut filter = ClipFilter { camera: Some(video.camera.id.clone()), ..ClipFilter::default() };
    let mut clips = Vec::new();
    loop {
        let page = results.clips(&filter, ROWS_MAX).await?;
        let Some(last) = page.last() else { break };
        filter.after = Some((last.record.captured_at, last.record.clip.clone()));
        clips.extend(page);
    }
    let newest = clips.iter().max_by_key(|clip| clip.receipt.committed_at);
    let session = newest.map(|clip| clip.record.clip.session);
    clips.retain(|clip| Some(clip.record.clip.session) == session);
    Ok(clips)
}

async fn rows(
    results: &Results,
    video: &Video,
    session: SessionId,
) -> Result<Vec<FrameRow>, ProcessError> {
    let mut filter = FrameFilter {
        camera: Some(video.camera.id.clone()),
        session: Some(session),
        order: Order::Oldest,
        ..FrameFilter::default()
    };
    let mut rows = Vec::new();
    loop {
        let page = results.frames(&filter, ROWS_MAX).await?;
        let Some(last) = page.last() else { return Ok(rows) };
        filter.after = Some(last.place());
        rows.extend(page);
    }
}

/// `{folder}/{camera}/{clip}-{slot}.jpg`, in the order of time.
fn file(row: &FrameRow, folder: &str) -> String {
    let clip = &row.frame.clip;
    format!("{folder}/{}/{:06}-{:08}.jpg", clip.camera, clip.seq, row.frame.slot)
}

async fn save(
    reader: &impl FrameReader,
    row: &FrameRow,
    path: PathBuf,
    shutdown: &Shutdown,
) -> Result<(), ProcessError> {
    let read = async || match row.within() {
        None => reader.frame(&row.key).await,
        Some(within) => reader.frame_within(&row.key, within).await,
    };
    let frame = base::retry(shutdown, "read a frame", read).await?;
    files::write(path, frame.bytes().to_vec()).await
}

/// Holds what came out against what the gateway says went in.
fn judge(about: &mut VideoReport, status: Option<&CameraStatus>) {
    match status {
        Some(status) => {
            let ledger = status.ledger;
            if status.state == CameraState::Failed {
                let reason = status.reason.clone().unwrap_or_default();
                about.missing.push(format!("cannot be read: {reason}"));
            }
            if ledger.held > 0 {
                about.missing.push(format!("{} slots are still at the gateway", ledger.held));
            }
            if ledger.dropped > 0 {
                about.missing.push(format!("{} slots were dropped by a quota", ledger.dropped));
            }
        }
        None => about.missing.push("the gateway said nothing of it".to_owned()),
    }
    if about.slots() == 0 && about.missing.is_empty() {
        about.missing.push("no picture came of it".to_owned());
    }
    if about.undecodable > 0 {
        about.missing.push(format!("{} pictures could not be decoded", about.undecodable));
    }
    if about.frames != about.delivered {
        let (frames, delivered) = (about.frames, about.delivered);
        about.missing.push(format!("{frames} of {delivered} frames have a result"));
    }
}
