//! Owns the ledger of a camera as it is shown: slots by what became of them, in minutes of what the camera saw.

use proto::ledger::Ledger;
use results::CameraTotals;

use super::{
    bars::{Part, parts},
    format,
};
use crate::texts::Texts;

/// Slots of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) class: &'static str,
    pub(crate) label: &'static str,
    pub(crate) slots: String,
    /// Absent when the sampling interval is not known.
    pub(crate) minutes: Option<String>,
}

/// A ledger.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LedgerView {
    pub(crate) captured: Option<Line>,
    pub(crate) lines: Vec<Line>,
    pub(crate) bar: Vec<Part>,
    /// Absent when only the database knows.
    pub(crate) balances: Option<bool>,
    pub(crate) each: Option<String>,
}

/// The gateway's ledger, or what the database knows of it.
pub(crate) fn view(
    t: &'static Texts,
    live: Option<&Ledger>,
    stored: Option<&CameraTotals>,
) -> Option<LedgerView> {
    let every_ns = stored.and_then(|totals| totals.every_ns);
    let line = |class, label, slots: u64| Line {
        class,
        label,
        slots: format::number(slots),
        minutes: every_ns.map(|every| format::minutes(slots, every)),
    };
    let (kinds, captured, balances) = match (live, stored) {
        (Some(ledger), _) => {
            let Ledger { captured, delivered, withheld, undecodable, held, dropped, gaps } =
                *ledger;
            let mut kinds = vec![
                ("delivered", t.delivered, delivered),
                ("withheld", t.withheld, withheld),
                ("undecodable", t.undecodable, undecodable),
                ("held", t.held, held),
                ("dropped", t.dropped, dropped),
            ];
            if gaps > 0 {
                kinds.push(("gap", t.gaps, gaps));
            }
            (kinds, Some(line("captured", t.captured, captured)), Some(ledger.balances()))
        }
        (None, Some(totals)) => {
            let kinds = vec![
                ("delivered", t.delivered, totals.delivered),
                ("withheld", t.withheld, totals.withheld),
                ("undecodable", t.undecodable, totals.undecodable),
            ];
            (kinds, None, None)
        }
        (None, None) => return None,
    };
    Some(LedgerView {
        captured,
        lines: kinds.iter().map(|(class, label, slots)| line(class, label, *slots)).collect(),
        bar: parts(&kinds),
        balances,
        each: every_ns.map(|every| t.one_slot_each(&format::seconds(every))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::EN;

    #[test]
    fn a_gateways_ledger_says_whether_it_balances_and_the_databases_cannot() {
        let mut ledger = Ledger::default();
        ledger.captured(12);
        let shown = view(&EN, Some(&ledger), None).unwrap();
        assert_eq!((shown.balances, shown.lines.len()), (Some(true), 5));
        assert_eq!(shown.captured.unwrap().minutes, None, "nobody told how long a slot is");
        ledger.held = 11;
        assert_eq!(view(&EN, Some(&ledger), None).unwrap().balances, Some(false));
        assert_eq!(view(&EN, None, None), None);
        ledger.gaps = 3;
        let shown = view(&EN, Some(&ledger), None).unwrap();
        assert_eq!(shown.lines.last().map(|line| line.slots.as_str()), Some("3"));
    }
}
