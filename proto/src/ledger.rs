//! Owns the ledger: every captured slot of a camera is delivered, withheld, undecodable, held or dropped.

use serde::{Deserialize, Serialize};

use crate::record::Tally;

/// Slots of one camera, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// In clips that were closed, sealed and fsynced.
    pub captured: u64,
    /// In frames that are durable beyond the fog.
    pub delivered: u64,
    /// Not let out by privacy.
    pub withheld: u64,
    /// Not decodable.
    pub undecodable: u64,
    /// In clips that wait at the edge, quarantined ones included.
    pub held: u64,
    /// In clips that a quota removed.
    pub dropped: u64,
    /// Never captured: a live camera, or its gateway, was away while it should have recorded. Beside the balance: with
    /// the captured ones these are all slots that were due.
    #[serde(default)]
    pub gaps: u64,
}

impl Ledger {
    /// A clip with this many slots is durable at the edge.
    pub const fn captured(&mut self, slots: u64) {
        self.captured += slots;
        self.held += slots;
    }

    /// A held clip earned its receipt.
    pub fn received(&mut self, tally: Tally) {
        let slots = [tally.delivered, tally.withheld, tally.undecodable].map(u64::from);
        let [delivered, withheld, undecodable] = slots;
        self.held = self.held.saturating_sub(slots.iter().sum());
        self.delivered += delivered;
        self.withheld += withheld;
        self.undecodable += undecodable;
    }

    /// A quota removed a held clip with this many slots.
    pub const fn dropped(&mut self, slots: u64) {
        self.held = self.held.saturating_sub(slots);
        self.dropped += slots;
    }

    /// Whether every captured slot is accounted for.
    #[must_use]
    pub const fn balances(&self) -> bool {
        self.captured
            == self.delivered + self.withheld + self.undecodable + self.held + self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_balance_through_every_outcome() {
        let mut ledger = Ledger::default();
        ledger.captured(6);
        ledger.received(Tally { delivered: 1, withheld: 1, undecodable: 0 });
        ledger.dropped(2);
        assert!(ledger.balances());
        assert_eq!(ledger.held, 2);
        ledger.received(Tally { delivered: 3, withheld: 0, undecodable: 0 });
        assert!(!ledger.balances(), "more came back than was held and nobody noticed");
    }
}
