//! Owns the slots in which a live camera recorded nothing although it should have. They are counted from the instant up
//! to which a camera is accounted for, and that instant outlives the process: in the ledger's file, and in the notes of
//! clips that are held.

use std::collections::BTreeMap;

use proto::{CameraId, UtcTime};

use super::{KeepError, Keeper};
use crate::{books::Books, queue::Entry, schedule::Schedule};

/// Where every live camera that should have recorded when the last process ended was, as far as anybody knows.
pub(super) fn open(books: &Books, entries: &[Entry]) -> BTreeMap<CameraId, UtcTime> {
    let mut marks: BTreeMap<CameraId, UtcTime> =
        books.cameras().filter_map(|(id, settled)| Some((id.clone(), settled.until?))).collect();
    for entry in entries {
        if let (Some(mark), Some(until)) = (marks.get_mut(&entry.name.camera), entry.note.until) {
            *mark = (*mark).max(until);
        }
    }
    marks
}

impl Keeper {
    /// From now on a live camera should record. Where an earlier process did not end in order, it should have since.
    ///
    /// # Errors
    /// What the disk says.
    pub fn expect(&mut self, camera: &CameraId, now: UtcTime) -> Result<(), KeepError> {
        if self.marks.contains_key(camera) {
            return Ok(());
        }
        self.expect_anew(camera, now)
    }

    /// The same after the wall clock was set: what lies before tells nothing any more.
    ///
    /// # Errors
    /// What the disk says.
    pub fn expect_anew(&mut self, camera: &CameraId, now: UtcTime) -> Result<(), KeepError> {
        self.books.update(camera, |s| s.until = Some(now))?;
        self.marks.insert(camera.clone(), now);
        Ok(())
    }

    /// Counts the whole slots of its schedule in which a live camera gave nothing up to `now`; durable on return.
    ///
    /// # Errors
    /// What the disk says; nothing is counted then.
    pub fn gap(
        &mut self,
        camera: &CameraId,
        schedule: Schedule,
        every_ns: i64,
        now: UtcTime,
    ) -> Result<u64, KeepError> {
        let Some(from) = self.marks.get(camera) else { return Ok(0) };
        let gone_us = u64::try_from(now.micros().saturating_sub(from.micros())).unwrap_or(0);
        let due = schedule.within(std::time::Duration::from_micros(gone_us)).as_nanos();
        let every = u128::from(every_ns.unsigned_abs().max(1));
        let slots = u64::try_from(due / every).unwrap_or(u64::MAX);
        if slots == 0 {
            return Ok(0);
        }
        // What is left of a slot is counted with the next gap.
        let rest_ns = i64::try_from(due % every).unwrap_or(0);
        let until = now.plus_ns(-rest_ns);
        self.books.update(camera, |s| {
            s.gaps = s.gaps.saturating_add(slots);
            s.until = Some(until);
        })?;
        self.marks.insert(camera.clone(), until);
        Ok(slots)
    }

    /// Nothing is expected of a camera until [`Self::expect`].
    ///
    /// # Errors
    /// What the disk says.
    pub fn rest(&mut self, camera: &CameraId) -> Result<(), KeepError> {
        if self.marks.remove(camera).is_some() {
            self.books.update(camera, |s| s.until = None)?;
        }
        Ok(())
    }
}
