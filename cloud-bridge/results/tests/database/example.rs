//! Owns the clips, frames and results that the stories tell of.

use proto::{
    Clock, Digest, Interval, Manifest, UtcTime, key,
    manifest::{ModelRef, example},
    record::{
        ClipRecord, Receipt, SlotOutcome, SlotRecord,
        WithheldReason::{Residual, TooManyFaces},
    },
    result::{FaceLabel, FaceResult, FrameResult, Placement, RESULT_SCHEMA, Timings},
    signing::SigningKey,
    time::ClockSource,
};

/// Slots of every clip here: 10 s, one each 5 s.
pub(crate) const EVERY_NS: i64 = 5_000_000_000;

/// 2026-11-24, 12:00 UTC and this many seconds.
pub(crate) fn at(seconds: i64) -> UtcTime {
    let noon: UtcTime = "2026-11-24T12:00:00Z".parse().unwrap();
    noon.plus_ns(seconds * 1_000_000_000)
}

/// Clip `seq` of a camera: its first slot gave a frame, its second did not.
pub(crate) fn record(camera: &str, seq: u64) -> ClipRecord {
    let start = i64::try_from(seq).unwrap() * 10_000_000_000;
    let second = if seq.is_multiple_of(2) { Residual } else { TooManyFaces };
    ClipRecord {
        clip: format!("town/{camera}/000102030405060708090a0b0c0d0e0f/{seq}").parse().unwrap(),
        interval: Interval { start_ns: start, end_ns: start + 10_000_000_000 },
        every_ns: EVERY_NS,
        captured_at: at(i64::try_from(seq).unwrap() * 10),
        clock: Clock { source: ClockSource::System, uncertainty_ms: Some(100) },
        attempt: 1,
        policy: Digest::of(b"policy"),
        slots: vec![
            SlotRecord { slot: seq * 2, outcome: SlotOutcome::Frame(Digest::of(b"frame")) },
            SlotRecord { slot: seq * 2 + 1, outcome: SlotOutcome::Withheld(second) },
        ],
        failure: None,
    }
}

/// The bridge's receipt, as of this second.
pub(crate) fn receipt(record: &ClipRecord, second: i64) -> Receipt {
    Receipt::sign(&SigningKey::from_seed(&[5; 32]).unwrap(), record, at(second))
}

/// The manifest of the frame in this slot, and its key.
pub(crate) fn frame(camera: &str, slot: u64) -> (Manifest, String) {
    let mut manifest = example();
    manifest.frame.clip.camera = camera.parse().unwrap();
    manifest.frame.clip.seq = slot / 2;
    manifest.frame.slot = slot;
    manifest.captured_at = at(i64::try_from(slot).unwrap() * 5);
    manifest.clip_captured_at = manifest.captured_at;
    let key = key::frame_key(&manifest);
    (manifest, key)
}

/// The result of a frame: faces by label.
pub(crate) fn result(manifest: &Manifest, labels: &[FaceLabel]) -> FrameResult {
    let face = |label: &FaceLabel| FaceResult {
        rect: manifest.grids().next().unwrap().rect,
        score_milli: 871,
        counted: true,
        mask: 0.25,
        no_mask: 0.25,
        incorrect: 0.25,
        not_a_face: 0.25,
        label: *label,
    };
    let faces: Vec<FaceResult> = labels.iter().map(face).collect();
    let ([mask, no_mask, incorrect, uncertain], share_without_mask) = FrameResult::count(&faces);
    FrameResult {
        schema: RESULT_SCHEMA,
        frame: manifest.frame.clone(),
        image: key::frame_key(manifest),
        captured_at: manifest.captured_at,
        model: ModelRef { name: "mask-8x1".into(), digest: Digest::of(b"model") },
        policy: manifest.policy.clone(),
        classified_on: Placement::Lambda,
        width: manifest.width,
        height: manifest.height,
        faces,
        mask,
        no_mask,
        incorrect,
        uncertain,
        share_without_mask,
        timings: Some(Timings { read_us: 2_100, classify_us: 430 }),
    }
}
