//! Owns the pipe between parent and worker: a `u32` length (big-endian) and a message, bulk bytes raw behind it.

use std::io::{self, Read, Write};

use privacy::Seen;
use proto::{
    limits::MESSAGE_BYTES_MAX,
    record::ClipRecord,
    watch::Notes,
    wire::{Offer, WireError, WireMessage, decode, encode},
};
use serde::{Deserialize, Serialize};

use crate::pipeline::Known;

/// Between a fog node and its own worker process: two processes of one build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WorkerMessage {
    /// Worker: models are loaded; clips may come.
    Ready,
    /// Parent: process this clip; its bytes follow raw.
    Clip {
        /// What the edge said of it.
        offer: Box<Offer>,
        /// What the fog node knows of its camera.
        known: Box<Known>,
    },
    /// Worker: an envelope of this many bytes follows raw.
    Frame {
        /// Its length in bytes.
        length: u32,
    },
    /// Worker: what it noticed in the clip whose record comes next.
    Notes(Notes),
    /// Worker: where the faces of that clip's last frame were.
    Last(Seen),
    /// Worker: and this is the whole clip.
    Record(Box<ClipRecord>),
}

impl WireMessage for WorkerMessage {}

/// Why nothing can be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FramingError {
    /// The other side is gone, or the pipe broke.
    #[error("pipe: {0}")]
    Pipe(#[from] io::Error),
    /// Bytes that are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A length over its cap, refused before anything is allocated.
    #[error("{0} bytes are over the limit")]
    TooLong(u64),
}

/// Writes a message.
///
/// # Errors
/// When the pipe is closed or the message is over the cap.
pub fn write(out: &mut impl Write, message: &WorkerMessage) -> Result<(), FramingError> {
    let bytes = encode(message)?;
    let length = u32::try_from(bytes.len()).map_err(|_| WireError::TooLong(bytes.len()))?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(&bytes)?;
    Ok(())
}

/// Reads a message; nothing at the orderly end of the pipe.
///
/// # Errors
/// When the pipe breaks within a message, or the bytes are none.
pub fn read(from: &mut impl Read) -> Result<Option<WorkerMessage>, FramingError> {
    let mut length = [0; 4];
    let first = from.read(&mut length)?;
    if first == 0 {
        return Ok(None);
    }
    if let Some(rest) = length.get_mut(first..) {
        from.read_exact(rest)?;
    }
    let length = u32::from_be_bytes(length);
    let bytes = read_bytes(from, u64::from(length), MESSAGE_BYTES_MAX as u64)?;
    Ok(Some(decode(&bytes)?))
}

/// Reads exactly `length` raw bytes.
///
/// # Errors
/// When `length` is over `max`, or the pipe ends first.
pub fn read_bytes(from: &mut impl Read, length: u64, max: u64) -> Result<Vec<u8>, FramingError> {
    if length > max {
        return Err(FramingError::TooLong(length));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| FramingError::TooLong(length))?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_follow_each_other_and_the_end_is_no_error() {
        let mut pipe = Vec::new();
        write(&mut pipe, &WorkerMessage::Ready).unwrap();
        write(&mut pipe, &WorkerMessage::Frame { length: 3 }).unwrap();
        let mut from = &pipe[..];
        assert_eq!(read(&mut from).unwrap(), Some(WorkerMessage::Ready));
        assert_eq!(read(&mut from).unwrap(), Some(WorkerMessage::Frame { length: 3 }));
        assert_eq!(read(&mut from).unwrap(), None);
    }

    /// Two faces, one with two boxes, as a worker tells where they were.
    fn last() -> Seen {
        let found = |x: f32| serde_json::json!({"x": x, "y": 9, "w": 20, "h": 30.5, "score": 0.5});
        let face = |boxes: &[f32], place| {
            let boxes: Vec<_> = boxes.iter().copied().map(found).collect();
            serde_json::json!({"boxes": boxes, "place": place, "cells_at": found(4.0), "stood": true})
        };
        let place = serde_json::json!({"cell": [3, 4], "nth": 1});
        let faces = [face(&[4.0, 5.0], place), face(&[90.0], serde_json::Value::Null)];
        serde_json::from_value(
            serde_json::json!({"at_us": 1_700_000_000_000_000i64, "faces": faces}),
        )
        .unwrap()
    }

    /// Who decodes video may be an attacker's by then: what he says is a message or an error, and never a panic.
    #[test]
    fn a_cut_oversized_or_changed_message_is_an_error_or_another_message() {
        let clip = "town/cam-1/000102030405060708090a0b0c0d0e0f/1".parse().unwrap();
        let interval = proto::Interval { start_ns: 0, end_ns: 5 };
        let clock =
            proto::Clock { source: proto::time::ClockSource::System, uncertainty_ms: Some(3) };
        let captured_at = proto::UtcTime::EPOCH;
        let slot =
            proto::record::SlotRecord { slot: 0, outcome: proto::record::SlotOutcome::Undecodable };
        let record = ClipRecord {
            clip,
            interval,
            every_ns: 5,
            captured_at,
            clock,
            attempt: 1,
            policy: proto::Digest::of(b"policy"),
            slots: vec![slot],
            failure: None,
        };
        // Boxes that a changed bit leaves sane, and those that it does not.
        let mut judged = [0; 2];
        for message in [
            WorkerMessage::Ready,
            WorkerMessage::Frame { length: 300_000 },
            WorkerMessage::Notes(Notes::default()),
            WorkerMessage::Last(last()),
            WorkerMessage::Record(Box::new(record)),
        ] {
            let mut pipe = Vec::new();
            write(&mut pipe, &message).unwrap();
            assert_eq!(read(&mut &pipe[..]).unwrap(), Some(message.clone()));
            for cut in 1..pipe.len() {
                assert!(read(&mut &pipe[..cut]).is_err(), "{cut}");
            }
            for (at, bit) in (0..pipe.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut changed = pipe.clone();
                changed[at] ^= 1 << bit;
                let Ok(Some(other)) = read(&mut &changed[..]) else { continue };
                assert_ne!(other, message, "{at} {bit}");
                if let WorkerMessage::Last(seen) = other {
                    judged[usize::from(seen.is_sane())] += 1;
                }
            }
        }
        assert!(judged.iter().all(|n| *n > 10), "{judged:?}");
        assert!(matches!(read(&mut &[255u8; 8][..]), Err(FramingError::TooLong(_))));
    }
}
