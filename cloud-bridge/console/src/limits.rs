//! Owns the limit on requests of one address: a bucket of tokens that fills with time. Pure: takes `now`.

use std::{collections::HashMap, net::IpAddr, time::Duration};

/// Requests that an address may make at once: a page, its script and some forty pictures, three times over.
pub const BURST: u32 = 150;
/// Requests in a second after that: ten operators behind one address, each with a page that refreshes itself.
pub const PER_SECOND: u32 = 25;
/// Addresses that are remembered; when they are full, those whose bucket is full again are forgotten, and if there is
/// none, all are: a flood from everywhere is not for this process to stop.
const ADDRESSES_MAX: usize = 10_000;

/// What an address has left.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

/// The buckets.
#[derive(Debug, Default)]
pub struct Limits(HashMap<IpAddr, Bucket>);

impl Limits {
    /// Takes a token of an address; false when it has none.
    pub fn allow(&mut self, address: IpAddr, now: Duration) -> bool {
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&address) {
            self.0.retain(|_, bucket| bucket.filled(now) < f64::from(BURST));
            if self.0.len() >= ADDRESSES_MAX {
                self.0.clear();
            }
        }
        let full = Bucket { tokens: f64::from(BURST), at: now };
        let bucket = self.0.entry(address).or_insert(full);
        let tokens = bucket.filled(now);
        let allowed = tokens >= 1.0;
        *bucket = Bucket { tokens: if allowed { tokens - 1.0 } else { tokens }, at: now };
        allowed
    }
}

impl Bucket {
    fn filled(&self, now: Duration) -> f64 {
        let seconds = now.saturating_sub(self.at).as_secs_f64();
        (self.tokens + seconds * f64::from(PER_SECOND)).min(f64::from(BURST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_took_its_burst_waits_and_others_do_not() {
        let mut limits = Limits::default();
        let [one, two] = [1, 2].map(|n| IpAddr::from([10, 0, 0, n]));
        let start = Duration::from_secs(100);
        assert!((0..BURST).all(|_| limits.allow(one, start)));
        assert!(!limits.allow(one, start));
        assert!(limits.allow(two, start));
        let later = start + Duration::from_secs(2);
        assert!((0..2 * PER_SECOND).all(|_| limits.allow(one, later)));
        assert!(!limits.allow(one, later));
    }

    #[test]
    fn a_flood_from_everywhere_does_not_fill_the_memory() {
        let mut limits = Limits::default();
        for n in 0..30_000u32 {
            assert!(limits.allow(IpAddr::from(n.to_be_bytes()), Duration::from_secs(1)));
        }
        assert!(limits.0.len() <= ADDRESSES_MAX);
    }
}
