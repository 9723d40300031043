//! Owns the order of clips: which one is offered next, which one a quota drops first. Pure.

use std::time::Duration;

use proto::{UtcTime, limits::ATTEMPTS_MAX};
use serde::{Deserialize, Serialize};

use crate::names::ClipName;

/// A clip that failed waits this long (2 s) before it is offered again, so that one clip does not spin.
const RETRY_WAIT: Duration = Duration::from_secs(2);
/// A quarantined clip is tried again after an hour, and only when nothing fresh waits: a new fog may read it.
const QUARANTINE_WAIT: Duration = Duration::from_secs(3600);

/// The durable side note of a clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// When it was kept.
    pub kept_at: UtcTime,
    /// Uploads that were begun and did not end well.
    pub attempts: u32,
    /// Set when it has its receipt and stays for a day because it is undecodable.
    pub settled_at: Option<UtcTime>,
    /// Up to when a live camera is accounted for by it.
    #[serde(default)]
    pub until: Option<UtcTime>,
}

/// A clip in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its record.
    pub name: ClipName,
    /// Its note.
    pub note: Note,
    /// It is being uploaded.
    pub in_flight: bool,
    /// When an upload of it ended last, in this process.
    pub tried_at: Option<Duration>,
}

impl Entry {
    /// A clip at rest.
    #[must_use]
    pub const fn new(name: ClipName, note: Note) -> Self {
        Self { name, note, in_flight: false, tried_at: None }
    }

    /// Whether it waits for a receipt.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.note.settled_at.is_none()
    }

    const fn is_quarantined(&self) -> bool {
        self.note.attempts >= ATTEMPTS_MAX
    }

    fn is_due(&self, now: Duration) -> bool {
        let wait = if self.is_quarantined() { QUARANTINE_WAIT } else { RETRY_WAIT };
        // A quarantined clip of an earlier process waits out its hour, too.
        let tried = self.tried_at.or(self.is_quarantined().then_some(Duration::ZERO));
        self.is_held() && !self.in_flight && tried.is_none_or(|at| now.saturating_sub(at) >= wait)
    }
}

/// The clip to offer: oldest first, quarantined ones behind all others.
#[must_use]
pub fn next(entries: &[Entry], now: Duration) -> Option<usize> {
    let due = |quarantined| {
        entries.iter().position(|e| e.is_due(now) && e.is_quarantined() == quarantined)
    };
    let fresh_waits = entries.iter().any(|e| e.is_held() && !e.is_quarantined());
    due(false).or_else(|| if fresh_waits { None } else { due(true) })
}

/// The clip that a quota drops first: undecodable, then quarantined, then held, each oldest first; never one that is
/// being uploaded.
#[must_use]
pub fn first_to_drop(entries: &[Entry]) -> Option<usize> {
    let oldest =
        |wanted: &dyn Fn(&Entry) -> bool| entries.iter().position(|e| !e.in_flight && wanted(e));
    oldest(&|e| !e.is_held())
        .or_else(|| oldest(&Entry::is_quarantined))
        .or_else(|| oldest(&|_| true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, attempts: u32) -> Entry {
        let name = ClipName {
            camera: "cam".parse().unwrap(),
            session: proto::SessionId::new([0; 16]),
            seq,
            slots: 2,
            epoch: 0,
        };
        Entry::new(name, Note { kept_at: UtcTime::EPOCH, attempts, settled_at: None, until: None })
    }

    #[test]
    fn quarantined_clips_never_stand_in_front_of_fresh_ones() {
        let hour = QUARANTINE_WAIT;
        let mut entries = vec![entry(0, 3), entry(1, 0), entry(2, 1)];
        assert_eq!(next(&entries, hour), Some(1));
        entries[1].in_flight = true;
        assert_eq!(next(&entries, hour), Some(2));
        entries[2].tried_at = Some(hour);
        assert_eq!(next(&entries, hour), None);
        assert_eq!(next(&entries, hour + RETRY_WAIT), Some(2));
        entries.truncate(1);
        assert_eq!(next(&entries, hour), Some(0));
        assert_eq!(next(&entries, Duration::from_secs(5)), None);
    }

    #[test]
    fn a_quota_drops_undecodable_then_quarantined_then_oldest() {
        let mut entries = vec![entry(0, 0), entry(1, 3), entry(2, 0)];
        entries[2].note.settled_at = Some(UtcTime::EPOCH);
        assert_eq!(first_to_drop(&entries), Some(2));
        entries.remove(2);
        assert_eq!(first_to_drop(&entries), Some(1));
        entries.remove(1);
        assert_eq!(first_to_drop(&entries), Some(0));
        entries[0].in_flight = true;
        assert_eq!(first_to_drop(&entries), None);
    }

    #[test]
    fn a_note_of_an_earlier_program_is_read() {
        let json = r#"{"kept_at":"2026-11-24T12:00:00Z","attempts":2,"settled_at":null}"#;
        let note: Note = serde_json::from_str(json).unwrap();
        assert_eq!((note.attempts, note.until), (2, None));
    }
}
