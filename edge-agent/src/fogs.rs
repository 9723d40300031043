//! Owns the choice of a fog node. Pure: takes `now`.

use std::{collections::BTreeMap, time::Duration};

/// First and longest pause of a node that does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Nodes that may announce themselves; more are not listened to.
const ANNOUNCED_MAX: usize = 256;

#[derive(Debug, Clone, Default)]
struct Node {
    announced: bool,
    free_bytes: u64,
    paused_until: Duration,
    failures: u32,
}

/// The fog nodes that this gateway knows, by address.
#[derive(Debug, Clone, Default)]
pub struct Fogs(BTreeMap<String, Node>);

impl Fogs {
    /// Those of the configuration; they are never forgotten.
    #[must_use]
    pub fn new(fixed: &[String]) -> Self {
        Self(fixed.iter().map(|address| (address.clone(), Node::default())).collect())
    }

    /// A node announced itself, or that it is going.
    pub fn announce(&mut self, address: &str, online: bool, free_bytes: u64) {
        if online && (self.0.contains_key(address) || self.0.len() < ANNOUNCED_MAX) {
            let fixed =
                self.0.contains_key(address) && !self.0.get(address).is_some_and(|n| n.announced);
            let node = self.0.entry(address.to_owned()).or_default();
            (node.announced, node.free_bytes) = (!fixed, free_bytes);
        } else if !online && self.0.get(address).is_some_and(|node| node.announced) {
            self.0.remove(address);
        }
    }

    /// The node to try: of those that are not paused the one with the fewest failures, then with the most room.
    #[must_use]
    pub fn choose(&self, now: Duration) -> Option<&str> {
        let ready = self.0.iter().filter(|(_, node)| node.paused_until <= now);
        ready
            .min_by_key(|(_, node)| (node.failures, std::cmp::Reverse(node.free_bytes)))
            .map(|(address, _)| address.as_str())
    }

    /// It took or knew a clip.
    pub fn worked(&mut self, address: &str) {
        if let Some(node) = self.0.get_mut(address) {
            (node.failures, node.paused_until) = (0, Duration::ZERO);
        }
    }

    /// It does not answer: pause it, longer each time.
    pub fn failed(&mut self, address: &str, now: Duration) {
        if let Some(node) = self.0.get_mut(address) {
            let pause = FIRST_PAUSE.saturating_mul(1 << node.failures.min(10)).min(LONGEST_PAUSE);
            node.failures = node.failures.saturating_add(1);
            node.paused_until = now + pause;
        }
    }

    /// It has no room for a while.
    pub fn busy(&mut self, address: &str, now: Duration, retry_after: Duration) {
        if let Some(node) = self.0.get_mut(address) {
            node.paused_until = now + retry_after.min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_fails_is_paused_and_another_is_tried() {
        let second = Duration::from_secs(1);
        let mut fogs = Fogs::new(&["a:1".into()]);
        assert_eq!(fogs.choose(second), Some("a:1"));
        fogs.failed("a:1", second);
        assert_eq!(fogs.choose(second), None);
        fogs.announce("b:1", true, 100);
        assert_eq!(fogs.choose(second), Some("b:1"));
        assert_eq!(fogs.choose(10 * second), Some("b:1"), "fewer failures go first");
        fogs.announce("b:1", false, 0);
        assert_eq!(fogs.choose(10 * second), Some("a:1"));
        fogs.worked("a:1");
        fogs.busy("a:1", 10 * second, second);
        assert_eq!(fogs.choose(10 * second), None);
        assert_eq!(fogs.choose(11 * second), Some("a:1"));
    }

    #[test]
    fn the_pause_grows_and_is_bounded() {
        let mut fogs = Fogs::new(&["a:1".into()]);
        for _ in 0..50 {
            fogs.failed("a:1", Duration::ZERO);
        }
        assert_eq!(fogs.choose(LONGEST_PAUSE), Some("a:1"));
        assert_eq!(fogs.choose(LONGEST_PAUSE / 2), None);
    }
}
