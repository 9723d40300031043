//! Owns counts by the classifier that said them: each one's errors are its own, and so is what corrects its share.

use std::collections::BTreeMap;

use proto::Digest;

use crate::{Confusion, Counts, Share, corrected::Corrected, counts::float};

/// What was counted, by the digest of the classifier that said it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CountsByModel {
    /// Nothing stands for a classifier that was not noted.
    counts: BTreeMap<Option<Digest>, Counts>,
}

impl CountsByModel {
    /// What one classifier said; nothing where nobody noted which.
    #[must_use]
    pub fn of(model: Option<Digest>, counts: Counts) -> Self {
        Self { counts: BTreeMap::from([(model, counts)]) }
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        for (model, counts) in &other.counts {
            self.counts.entry(*model).or_default().add(counts);
        }
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.counts.values().for_each(|counts| total.add(counts));
        total
    }

    /// The share without mask as it most likely is, given how often each classifier errs: the mean of what corrects each
    /// one's share, by how much it said. Nothing when nothing was said, or some of it by a classifier of whose errors too
    /// little is known. The interval takes the errors of classifiers for independent of one another.
    #[must_use]
    pub fn corrected_share(&self) -> Option<Share> {
        let n = self.total().answered();
        let said = self.counts.iter().filter(|(_, counts)| counts.answered() > 0);
        let mut whole = Corrected::default();
        for (model, counts) in said {
            let part = Confusion::of(model.as_ref()?)?.correct(counts)?;
            whole.add(&part, float(counts.answered()) / float(n));
        }
        (n > 0).then(|| whole.share(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(mask: u64, no_mask: u64) -> Counts {
        Counts { frames: 1, mask, no_mask, incorrect: 0, uncertain: 3 }
    }

    fn two() -> (Confusion, Confusion) {
        let mut shipped = Confusion::shipped();
        (shipped.next().unwrap(), shipped.next().unwrap())
    }

    #[test]
    fn one_classifier_is_corrected_by_its_own_errors() {
        let (one, other) = two();
        let of = |known: &Confusion| CountsByModel::of(Some(known.digest), counts(60, 40));
        let share = of(&one).corrected_share().unwrap();
        assert_eq!(Some(share), one.share_without_mask(&counts(60, 40)));
        assert_ne!(Some(share), of(&other).corrected_share());
    }

    /// A newer classifier with other errors does not correct what the older one said.
    #[test]
    fn two_classifiers_are_corrected_each_by_itself() {
        let (one, other) = two();
        let mut both = CountsByModel::of(Some(one.digest), counts(60, 40));
        both.add(&CountsByModel::of(Some(other.digest), counts(150, 150)));
        let (a, b) = (
            one.share_without_mask(&counts(60, 40)).unwrap(),
            other.share_without_mask(&counts(150, 150)).unwrap(),
        );
        let share = both.corrected_share().unwrap();
        assert!((share.share - (a.share + 3.0 * b.share) / 4.0).abs() < 1e-12, "{share:?}");
        assert_eq!((share.n, both.total().answered()), (400, 400));
        // Variances add by the squares of the weights: a quarter and three quarters.
        let width = |share: Share| share.high - share.low;
        let both = (width(a) / 4.0).hypot(width(b) * 0.75);
        assert!((width(share) - both).abs() < 1e-12, "{share:?} of {a:?} and {b:?}");
    }

    #[test]
    fn nothing_is_corrected_where_a_part_was_said_by_who_knows_whom() {
        let (one, _) = two();
        for unknown in [None, Some(Digest::of(b"another"))] {
            let mut both = CountsByModel::of(Some(one.digest), counts(60, 40));
            both.add(&CountsByModel::of(unknown, counts(1, 0)));
            assert_eq!(both.corrected_share(), None);
            // One that said nothing of anybody takes nothing away.
            let mut silent = CountsByModel::of(Some(one.digest), counts(60, 40));
            silent.add(&CountsByModel::of(unknown, counts(0, 0)));
            assert!(silent.corrected_share().is_some());
        }
        assert_eq!(CountsByModel::default().corrected_share(), None);
    }
}
