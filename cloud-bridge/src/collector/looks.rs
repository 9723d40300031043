//! Owns when each awaited result is looked for, and by which keys: a key follows from the object's own and the digest of
//! the model, and the models are those whose results came before. Decides and asks nobody.

use std::{collections::BTreeMap, time::Duration};

use proto::{Digest, UtcTime};

use super::{Pace, Places};

/// Models whose results are looked for: the one that runs, and the one before it while its last results come.
const MODELS_MAX: usize = 2;
/// Looks in vain after which a result is a straggler: by then it may be another model's, which only a listing tells.
const STRAGGLER_MISSES: u32 = 3;

/// The next look for what lies at one place.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Duration,
    wait: Duration,
    misses: u32,
}

/// The looks of a collector.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Newest first.
    models: Vec<Digest>,
    next: BTreeMap<String, Look>,
    listed_at: Option<Duration>,
    /// Wait before the next listing while no model is known.
    learn_wait: Duration,
}

impl Looks {
    /// Takes up what is awaited now and forgets everything else. What was stored just now has its first look when its
    /// result can be there.
    pub(super) fn follow(&mut self, places: &Places, now: Duration, utc: UtcTime, pace: Pace) {
        self.next.retain(|place, _| places.contains_key(place));
        for (place, frames) in places {
            let newest = frames.iter().map(|frame| frame.awaited_at).max();
            let age_us = utc.micros() - newest.unwrap_or(UtcTime::EPOCH).micros();
            let age = Duration::from_micros(u64::try_from(age_us).unwrap_or(0)).min(pace.poll);
            let first = Look { at: now + (pace.poll - age), wait: pace.poll, misses: 0 };
            self.next.entry(place.clone()).or_insert(first);
        }
    }

    /// The places whose time has come, the longest due first.
    pub(super) fn due(&self, now: Duration) -> Vec<String> {
        let mut due: Vec<_> = self.next.iter().filter(|(_, look)| look.at <= now).collect();
        due.sort_by_key(|(_, look)| look.at);
        due.into_iter().map(|(place, _)| place.clone()).collect()
    }

    /// Where the result of a place is, as far as is known: one key for each model.
    pub(super) fn keys(&self, place: &str) -> Vec<String> {
        self.models.iter().map(|model| format!("{place}{model}.json")).collect()
    }

    /// It was looked for: the next look, if it is still awaited then, is later, in doubling steps.
    pub(super) fn looked(&mut self, place: &str, now: Duration, pace: Pace) {
        if let Some(look) = self.next.get_mut(place) {
            look.misses = look.misses.saturating_add(1);
            look.at = now + look.wait;
            look.wait = (look.wait * 2).min(pace.poll_max);
        }
    }

    /// A result of this model came: others of it are where they can be computed. What is awaited is looked for at once
    /// when the model is a new one.
    pub(super) fn learn(&mut self, model: Digest) {
        if self.models.contains(&model) {
            return;
        }
        self.models.insert(0, model);
        self.models.truncate(MODELS_MAX);
        self.next.values_mut().for_each(|look| look.at = Duration::ZERO);
    }

    /// Which places are worth a listing now: stragglers, and what is given up but may come after all, as often as the
    /// pace says; everything while no model is known, since then nothing else tells.
    pub(super) fn to_list(&self, given_up: &Places, now: Duration, pace: Pace) -> Vec<String> {
        let each = if self.models.is_empty() { self.learn_wait } else { pace.list_each };
        if self.listed_at.is_some_and(|at| now.saturating_sub(at) < each) {
            return Vec::new();
        }
        let all = self.models.is_empty();
        let wanted = |(place, look): &(&String, &Look)| {
            let due = all && look.misses > 0;
            due || look.misses >= STRAGGLER_MISSES || given_up.contains_key(*place)
        };
        self.next.iter().filter(wanted).map(|(place, _)| place.clone()).collect()
    }

    /// A listing was made.
    pub(super) fn listed(&mut self, now: Duration, pace: Pace) {
        self.listed_at = Some(now);
        self.learn_wait = (self.learn_wait * 2).clamp(pace.poll, pace.poll_max);
    }

    /// How long until something is due.
    pub(super) fn wait(&self, now: Duration, pace: Pace) -> Duration {
        let next = self.next.values().map(|look| look.at.saturating_sub(now)).min();
        next.unwrap_or(pace.poll_max).clamp(pace.poll, pace.poll_max)
    }
}

#[cfg(test)]
mod tests {
    use results::Awaiting;

    use super::*;

    const PACE: Pace = Pace {
        poll: Duration::from_secs(2),
        poll_max: Duration::from_secs(60),
        list_each: Duration::from_secs(300),
    };

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn places(of: &[(&str, UtcTime)]) -> Places {
        let frame = |(place, awaited_at): &(&str, UtcTime)| {
            let frame = format!("t/c/{}/0/0", "0".repeat(32)).parse().unwrap();
            let (key, packed, tries, tried_at) = (String::new(), false, 0, None);
            let awaited_at = *awaited_at;
            let awaiting = Awaiting { key, packed, frame, awaited_at, tries, tried_at };
            ((*place).to_owned(), vec![awaiting])
        };
        of.iter().map(frame).collect()
    }

    #[test]
    fn the_first_look_is_when_the_result_can_be_there_and_later_ones_in_doubling_steps() {
        let (mut looks, utc) = (Looks::default(), UtcTime::from_micros(100_000_000).unwrap());
        let model = Digest::of(b"model");
        looks.learn(model);
        let new = places(&[("a/", utc), ("old/", UtcTime::EPOCH)]);
        looks.follow(&new, s(10), utc, PACE);
        assert_eq!(looks.due(s(10)), ["old/"], "what has waited is looked for at once");
        assert_eq!(looks.wait(s(10), PACE), s(2), "and never more often than the pace says");
        let new = places(&[("a/", utc)]);
        let mut at = Vec::new();
        for now in 10..200 {
            looks.follow(&new, s(now), utc, PACE);
            if !looks.due(s(now)).is_empty() {
                looks.looked("a/", s(now), PACE);
                at.push(now);
            }
        }
        assert_eq!(at, [12, 14, 18, 26, 42, 74, 134, 194]);
        assert_eq!(looks.keys("a/"), [format!("a/{model}.json")]);
    }

    #[test]
    fn nothing_is_listed_for_results_that_come_and_stragglers_seldom() {
        let (mut looks, utc) = (Looks::default(), UtcTime::EPOCH);
        looks.learn(Digest::of(b"model"));
        let (awaited, none) = (places(&[("a/", utc), ("b/", utc)]), Places::new());
        looks.follow(&awaited, s(0), utc, PACE);
        let mut listed = Vec::new();
        for now in 0..1000 {
            for place in looks.due(s(now)).iter().filter(|place| *place == "a/") {
                looks.looked(place, s(now), PACE);
            }
            let wanted = looks.to_list(&none, s(now), PACE);
            if !wanted.is_empty() {
                assert_eq!(wanted, ["a/"], "b came, or is still looked for by its key");
                looks.listed(s(now), PACE);
                listed.push(now);
            }
        }
        assert_eq!(listed, [8, 308, 608, 908]);
        let dead = places(&[("b/", utc)]);
        assert_eq!(looks.to_list(&dead, s(1300), PACE), ["a/", "b/"]);
    }

    #[test]
    fn while_no_model_is_known_listings_are_made_in_doubling_steps_and_the_first_result_ends_them()
    {
        let (mut looks, utc) = (Looks::default(), UtcTime::EPOCH);
        let (awaited, none) = (places(&[("a/", utc)]), Places::new());
        let mut listed = Vec::new();
        looks.follow(&awaited, s(0), utc, PACE);
        for now in 0..200 {
            for place in looks.due(s(now)) {
                looks.looked(&place, s(now), PACE);
            }
            if !looks.to_list(&none, s(now), PACE).is_empty() {
                looks.listed(s(now), PACE);
                listed.push(now);
            }
        }
        assert_eq!(listed, [2, 4, 8, 16, 32, 64, 124, 184]);
        looks.learn(Digest::of(b"model"));
        assert_eq!(looks.due(s(200)), ["a/"], "its key is known now");
    }

    #[test]
    fn two_models_are_looked_for_the_newest_first() {
        let mut looks = Looks::default();
        let models = [1u8, 2, 3].map(|n| Digest::of(&[n]));
        models.into_iter().chain([models[1]]).for_each(|model| looks.learn(model));
        let keys = [models[2], models[1]].map(|model| format!("a/{model}.json"));
        assert_eq!(looks.keys("a/"), keys);
    }
}
