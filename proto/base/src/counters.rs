//! Owns counters: every error that no person sees ends in one of these, and every status carries them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Counters of one process. Names end in `_total` and are constants, so their number is bounded by the code.
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
