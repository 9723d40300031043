//! Owns work on all processors: independent tasks by number, their results in order, so that nothing depends on which
//! thread was faster.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// The results of tasks 0 to `n`, in this order, on as many threads as there are processors.
pub(crate) fn spread<T: Send>(n: usize, task: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (results, next) = (Mutex::new(Vec::with_capacity(n)), AtomicUsize::new(0));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= n {
                return;
            }
            let result = task(number);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(n) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_their_numbers() {
        let squares = spread(1000, |number| number * number);
        assert!(squares.iter().enumerate().all(|(number, square)| number * number == *square));
        assert_eq!(squares.len(), 1000);
        assert!(spread(0, |number| number).is_empty());
    }
}
