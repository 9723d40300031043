//! Owns counters: every error that no person sees ends in one of these, and every status carries
//! them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Counters of one process. Names end in `_total` and are constants, so their number is bounded by
/// the code.
#[derive(Debug, Default)]
pub struct Counters(Mutex<BTreeMap<&'static str, u64>>);

impl Counters {
    /// Counts `n` more.
    pub fn add(&self, name: &'static str, n: u64) {
        debug_assert!(name.ends_with("_total"), "{name} is not the name of a counter");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += n;
    }

    /// All counters so far, by name.
    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_by_name_and_nothing_is_shown_that_was_not_counted() {
        let counters = Counters::default();
        assert!(counters.snapshot().is_empty());
        counters.add("clips_total", 2);
        counters.add("clips_total", 3);
        counters.add("gaps_total", 1);
        let expected = [("clips_total".to_owned(), 5), ("gaps_total".to_owned(), 1)];
        assert_eq!(counters.snapshot(), BTreeMap::from(expected));
    }
}
