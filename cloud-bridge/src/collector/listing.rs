//! Owns the listing of results: for what is not where it was looked for. A listing starts at the first wanted place of
//! an hour and jumps over what lies between wanted ones; the number of pages in a round is bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use super::{Collector, Places, Stop};
use crate::bridge::count;

/// Pages that are asked for in one round.
const PAGES_MAX: usize = 16;

/// Where a listing goes on: the prefix of the hour with which the next one begins, and the key after which.
pub(super) type Resume = Option<(String, Option<String>)>;

impl Collector {
    /// Lists the hours of these places and takes what is there.
    pub(super) async fn list(&mut self, places: &Places, wanted: Vec<String>) -> Result<(), Stop> {
        let hours = by_hour(wanted);
        // Where the last round stopped, this one begins, so that no hour is always behind the others.
        let resume = self.resume.take();
        let (first, mut after) = match &resume {
            Some((hour, after)) => (hour.as_str(), after.clone()),
            None => ("", None),
        };
        let mut pages = PAGES_MAX;
        let later = hours.range::<str, _>((Bound::Included(first), Bound::Unbounded));
        let earlier = hours.range::<str, _>((Bound::Unbounded, Bound::Excluded(first)));
        for (hour, wanted) in later.chain(earlier) {
            let after = if hour == first { after.take() } else { None };
            self.hour(hour, places, wanted, after, &mut pages).await?;
        }
        Ok(())
    }

    /// Looks through the results of one hour.
    async fn hour(
        &mut self,
        hour: &str,
        places: &Places,
        wanted: &BTreeSet<String>,
        after: Option<String>,
        pages: &mut usize,
    ) -> Result<(), Stop> {
        // Keys of results begin with their place and are longer, so they come after it.
        let mut next = after.or_else(|| wanted.first().cloned());
        while let Some(after) = next {
            if *pages == 0 {
                self.resume = Some((hour.to_owned(), Some(after)));
                return Err(Stop::Enough);
            }
            *pages -= 1;
            self.bridge.count(count::LISTS);
            let page = self.results.results(hour, Some(&after)).await;
            let page = page.map_err(|error| self.failed("list results", &error))?;
            for result_key in &page.keys {
                let place = place_of(result_key).filter(|place| wanted.contains(*place));
                if let Some(frames) = place.and_then(|place| places.get(place)) {
                    self.take_listed(result_key, frames).await?;
                }
            }
            let last = page.keys.last().filter(|_| page.more);
            next = last.and_then(|last| next_wanted(wanted, last));
        }
        Ok(())
    }
}

/// Places by the prefix of their hour.
fn by_hour(wanted: Vec<String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut hours: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for place in wanted {
        let hour = place.trim_end_matches('/').rsplit_once('/').map(|(hour, _)| format!("{hour}/"));
        if let Some(hour) = hour {
            hours.entry(hour).or_default().insert(place);
        }
    }
    hours
}

/// The place that a result's key belongs to.
fn place_of(result_key: &str) -> Option<&str> {
    result_key.rfind('/').and_then(|at| result_key.get(..=at))
}

/// After which key to go on: after the last one seen, or just before the next wanted place if that is further on.
/// Nothing when no wanted place can come any more.
fn next_wanted(wanted: &BTreeSet<String>, last: &str) -> Option<String> {
    let within = place_of(last).filter(|place| wanted.contains(*place));
    let further = wanted.range::<str, _>((Bound::Excluded(last), Bound::Unbounded)).next();
    match (within, further) {
        // More results of the frame that the page ended with.
        (Some(_), _) => Some(last.to_owned()),
        (None, Some(place)) => Some(place.clone()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_jumps_to_the_next_wanted_place() {
        let at = |slot: &str| format!("results/v1/t/c/2026/01/01/00/s-0-{slot}/");
        let wanted = BTreeSet::from(["1", "5"].map(at));
        let check = |last: &str, next: Option<String>| {
            assert_eq!(next_wanted(&wanted, &format!("{}m.json", at(last))), next, "{last}");
        };
        check("0", Some(at("1")));
        check("1", Some(format!("{}m.json", at("1"))));
        check("2", Some(at("5")));
        check("6", None);
    }
}
