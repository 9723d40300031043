//! Owns which clips are known not to be committed: what makes a second commit of a clip impossible although the answer
//! of the database is older than the commit.
//!
//! Whoever wants to commit a clip takes a ticket, then looks into outbox and database, then confirms the ticket. A commit
//! of the clip voids every ticket of it. So a confirmed ticket that still stands says: since before we looked, nobody
//! has committed this clip.

use std::collections::{BTreeMap, VecDeque};

use proto::ClipId;

/// Tickets at a time: clips that fog nodes have under way, with much to spare. The oldest goes first; its holder looks
/// again.
const TICKETS_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

#[derive(Debug, Clone, Copy)]
struct Entry {
    ticket: Ticket,
    confirmed: bool,
}

/// Tickets by clip.
#[derive(Debug, Default)]
pub(crate) struct Unknowns {
    entries: BTreeMap<ClipId, Entry>,
    order: VecDeque<(Ticket, ClipId)>,
    next: u64,
}

impl Unknowns {
    /// The ticket of a clip, a new one where there is none, and whether it is confirmed.
    pub(crate) fn take(&mut self, clip: &ClipId) -> (Ticket, bool) {
        if let Some(entry) = self.entries.get(clip) {
            return (entry.ticket, entry.confirmed);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.entries.insert(clip.clone(), Entry { ticket, confirmed: false });
        self.order.push_back((ticket, clip.clone()));
        while self.order.len() > TICKETS_MAX {
            if let Some((old, clip)) = self.order.pop_front()
                && self.entries.get(&clip).is_some_and(|entry| entry.ticket == old)
            {
                self.entries.remove(&clip);
            }
        }
        (ticket, false)
    }

    /// Confirms a ticket; false when it was voided meanwhile.
    pub(crate) fn confirm(&mut self, clip: &ClipId, ticket: Ticket) -> bool {
        match self.entries.get_mut(clip) {
            Some(entry) if entry.ticket == ticket => {
                entry.confirmed = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether a confirmed ticket stands.
    pub(crate) fn confirmed(&self, clip: &ClipId) -> bool {
        self.entries.get(clip).is_some_and(|entry| entry.confirmed)
    }

    /// Voids the ticket of a clip: it is committed, or nobody asks any more.
    pub(crate) fn void(&mut self, clip: &ClipId) {
        self.entries.remove(clip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(seq: u64) -> ClipId {
        format!("town/cam/000102030405060708090a0b0c0d0e0f/{seq}").parse().unwrap()
    }

    #[test]
    fn a_commit_voids_the_tickets_of_all_who_looked_before() {
        let mut unknowns = Unknowns::default();
        let (slow, _) = unknowns.take(&clip(1));
        unknowns.void(&clip(1));
        assert!(!unknowns.confirm(&clip(1), slow), "the look was before the commit");
        let (fresh, _) = unknowns.take(&clip(1));
        assert!(!unknowns.confirm(&clip(1), slow), "another's fresh ticket is not the slow one's");
        assert!(!unknowns.confirmed(&clip(1)));
        assert!(unknowns.confirm(&clip(1), fresh) && unknowns.confirmed(&clip(1)));
        unknowns.void(&clip(1));
        assert!(!unknowns.confirmed(&clip(1)));
    }

    #[test]
    fn tickets_are_bounded_and_the_oldest_goes_first() {
        let mut unknowns = Unknowns::default();
        for seq in 0..=TICKETS_MAX as u64 {
            let (ticket, _) = unknowns.take(&clip(seq));
            assert!(unknowns.confirm(&clip(seq), ticket));
        }
        assert!(!unknowns.confirmed(&clip(0)) && unknowns.confirmed(&clip(1)));
        for _ in 0..3 * TICKETS_MAX {
            unknowns.take(&clip(7));
            unknowns.void(&clip(7));
        }
        assert!(unknowns.order.len() <= TICKETS_MAX && unknowns.entries.len() <= TICKETS_MAX);
    }
}
