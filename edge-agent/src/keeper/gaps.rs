//! Owns the slots in which a live camera recorded nothing although it should have. They are counted from the instant up
//! to which a camera is accounted for, by what was due since then; both outlive the process: in the ledger's file, and
//! the instant in the notes of clips that are held.

use std::collections::BTreeMap;

use proto::{CameraId, UtcTime};

use super::{KeepError, Keeper};
use crate::{books::Books, due::Due, queue::Entry};

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
    /// From now on this is due of a live camera. Where something else was, in an earlier process that did not end in
    /// order or by an earlier plan, what it missed is counted; gives those slots.
    ///
    /// # Errors
    /// What the disk says.
    pub fn expect(
        &mut self,
        camera: &CameraId,
        due: Due,
        every_ns: i64,
        now: UtcTime,
    ) -> Result<u64, KeepError> {
        let Some(from) = self.marks.get(camera).copied() else {
            self.account_from(camera, due, now)?;
            return Ok(0);
        };
        match self.books.settled(camera).due {
            Some(before) if before == due => Ok(0),
            // An earlier program did not write what was due: most likely the same.
            None => self.account_from(camera, due, from).map(|()| 0),
            Some(_) => {
                let slots = self.gap(camera, every_ns, now)?;
                // What is left of a slot is counted with the next gap, where the new plan has it in a stretch of its own.
                let mark = self.marks.get(camera).filter(|_| slots > 0).copied().unwrap_or(now);
                self.account_from(camera, due, mark)?;
                Ok(slots)
            }
        }
    }

    /// The same after the wall clock was set, or after a pause: what lies before tells nothing any more.
    ///
    /// # Errors
    /// What the disk says.
    pub fn expect_anew(
        &mut self,
        camera: &CameraId,
        due: Due,
        now: UtcTime,
    ) -> Result<(), KeepError> {
        self.account_from(camera, due, now)
    }

    fn account_from(&mut self, camera: &CameraId, due: Due, at: UtcTime) -> Result<(), KeepError> {
        self.books.update(camera, |s| (s.until, s.due) = (Some(at), Some(due)))?;
        self.marks.insert(camera.clone(), at);
        Ok(())
    }

    /// Counts the slots that were due of a live camera up to `now` and did not come; durable on return.
    ///
    /// # Errors
    /// What the disk says; nothing is counted then.
    pub fn gap(
        &mut self,
        camera: &CameraId,
        every_ns: i64,
        now: UtcTime,
    ) -> Result<u64, KeepError> {
        let Some(from) = self.marks.get(camera).copied() else { return Ok(0) };
        let Some(due) = self.books.settled(camera).due else { return Ok(0) };
        let missed = due.missed(from, now, every_ns);
        if missed.slots == 0 {
            return Ok(0);
        }
        self.books.update(camera, |s| {
            s.gaps = s.gaps.saturating_add(missed.slots);
            s.until = Some(missed.until);
        })?;
        self.marks.insert(camera.clone(), missed.until);
        Ok(missed.slots)
    }

    /// Nothing is expected of a camera until [`Self::expect`].
    ///
    /// # Errors
    /// What the disk says.
    pub fn rest(&mut self, camera: &CameraId) -> Result<(), KeepError> {
        if self.marks.remove(camera).is_some() {
            self.books.update(camera, |s| (s.until, s.due) = (None, None))?;
        }
        Ok(())
    }
}
