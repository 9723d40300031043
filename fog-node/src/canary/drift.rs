//! Owns the drift of canary recall on one camera: its first week is what is usual, by the time of day; from then on a
//! cumulative sum says when fewer are found. Pure: takes counts and times.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use proto::{
    UtcTime,
    watch::{CANARY_SIZES, Canaries, CanaryRecall},
};

/// How long a camera's usual recall is learned, in microseconds.
const WEEK: i64 = 7 * 24 * 3600 * 1_000_000;
/// Parts of a day that are learned apart: light changes with them.
const PARTS: usize = 8;
/// Canaries that a part of the day must have had in the first week to be watched.
const LEARNED_MIN: u32 = 60;
/// What is told from chance: this much less than usual.
const LESS: f64 = 0.20;
/// A usual share is taken for this much lower than it was learned, for it is a sample too.
const MARGIN: f64 = 0.02;
/// Below this there is nothing to lose that would show.
const USUAL_MIN: f64 = 0.35;
/// The sum of log likelihood ratios that raises the alarm. On a camera that has not changed, a sum passes h at most once in
/// e^h canaries (Wald); with 576 a day of each of three sizes that is one false alarm in 700 camera-years at most, as long
/// as canaries are found independently of each other and the first week was like the others.
const ALARM: f64 = 20.0;
/// The sum is held here, so that a camera that is mended is believed again within a day.
const SUM_MAX: f64 = 1.5 * ALARM;
/// Canaries that the recent share is over, about.
const RECENT: f64 = 100.0;

/// One size on one camera.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Size {
    learned: [Canaries; PARTS],
    drawn: u64,
    recent: f64,
    sum: f64,
}

/// One camera.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    began: Option<UtcTime>,
    learning: bool,
    sizes: [Size; 3],
}

impl Drift {
    /// Takes the canaries of a clip that was captured at `at`.
    pub fn note(&mut self, at: UtcTime, canaries: &[Canaries; 3]) {
        if canaries.iter().all(|size| size.drawn == 0) {
            return;
        }
        let began = *self.began.get_or_insert(at);
        self.learning = at.micros().saturating_sub(began.micros()) < WEEK;
        for (size, canaries) in self.sizes.iter_mut().zip(canaries) {
            // A worker is not believed to find more than it draws.
            let found = canaries.found.min(canaries.drawn);
            for number in 0..canaries.drawn {
                size.one(part(at), number < found, self.learning);
            }
        }
    }

    /// Whether any size has drifted.
    #[must_use]
    pub fn is_drifting(&self) -> bool {
        self.sizes.iter().any(|size| size.sum >= ALARM)
    }

    /// For the status; sizes that were never drawn are left out.
    #[must_use]
    pub fn status(&self) -> BTreeMap<String, CanaryRecall> {
        let named = CANARY_SIZES.iter().zip(&self.sizes).filter(|(_, size)| size.drawn > 0);
        named.map(|(name, size)| ((*name).to_owned(), size.status(self.learning))).collect()
    }
}

/// Which part of the day.
fn part(at: UtcTime) -> usize {
    let hour = at.micros().div_euclid(3_600_000_000).rem_euclid(24);
    usize::try_from(hour).unwrap_or(0) * PARTS / 24
}

impl Size {
    fn one(&mut self, part: usize, found: bool, learning: bool) {
        self.drawn = self.drawn.saturating_add(1);
        let hit = f64::from(u8::from(found));
        #[expect(clippy::cast_precision_loss, reason = "capped right here")]
        let weight = 1.0 / (self.drawn.min(1 << 20) as f64).min(RECENT);
        self.recent += (hit - self.recent) * weight;
        let Some(learned) = self.learned.get_mut(part) else { return };
        if learning {
            learned.drawn = learned.drawn.saturating_add(1);
            learned.found = learned.found.saturating_add(u32::from(found));
            return;
        }
        let usual = share(learned) - MARGIN;
        if learned.drawn < LEARNED_MIN || usual < USUAL_MIN {
            return;
        }
        let less = usual - LESS;
        let ratio = if found { less / usual } else { (1.0 - less) / (1.0 - usual) };
        self.sum = (self.sum + ratio.ln()).clamp(0.0, SUM_MAX);
    }

    fn status(&self, learning: bool) -> CanaryRecall {
        let all = self.learned.iter().fold(Canaries::default(), |sum, part| Canaries {
            drawn: sum.drawn.saturating_add(part.drawn),
            found: sum.found.saturating_add(part.found),
        });
        CanaryRecall {
            drawn: self.drawn,
            recent_milli: milli(self.recent),
            usual_milli: (!learning).then(|| milli(share(&all))),
            drifting: self.sum >= ALARM,
        }
    }
}

/// Never 0 or 1: what was always found in a sample is not always found.
fn share(canaries: &Canaries) -> f64 {
    (f64::from(canaries.found) + 1.0) / (f64::from(canaries.drawn) + 2.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
fn milli(share: f64) -> u16 {
    (share.clamp(0.0, 1.0) * 1000.0).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A camera with a canary of each size each 150 s; `share` is what is found at an hour of the day and a day.
    fn run(days: i64, seed: u64, share: impl Fn(i64, i64) -> f64) -> (Drift, Option<i64>) {
        let (mut drift, mut lot, mut alarm) = (Drift::default(), super::super::Lot(seed), None);
        for number in 0..days * 576 {
            let (day, hour) = (number / 576, number % 576 / 24);
            let found = [(); 3].map(|()| f64::from(lot.share()) < share(day, hour));
            let canaries = found.map(|found| Canaries { drawn: 1, found: u32::from(found) });
            drift.note(UtcTime::EPOCH.plus_ns(number * 150 * 1_000_000_000), &canaries);
            if drift.is_drifting() && alarm.is_none() {
                alarm = Some(number);
            }
        }
        (drift, alarm)
    }

    /// Fewer at night than by day, as in the first week.
    fn usual(hour: i64) -> f64 {
        if (6..20).contains(&hour) { 0.88 } else { 0.74 }
    }

    #[test]
    fn a_healthy_camera_raises_no_alarm_in_a_month_and_twenty_do_not_either() {
        for seed in 0..20 {
            let (drift, alarm) = run(30, seed, |_, hour| usual(hour));
            assert_eq!(alarm, None, "seed {seed}: {:?}", drift.status());
        }
    }

    #[test]
    fn a_quarter_less_raises_the_alarm_within_a_day_at_whatever_hour_it_begins() {
        for begin in 0..24 {
            let worse =
                |day, hour| usual(hour) * if day * 24 + hour >= 240 + begin { 0.75 } else { 1.0 };
            let (_, alarm) = run(13, begin as u64, worse);
            let after = alarm.map(|number| number - (240 + begin) * 24);
            assert!(after.is_some_and(|n| (0..576).contains(&n)), "begun at {begin}: {after:?}");
        }
    }

    #[test]
    fn the_first_week_is_learned_and_nothing_is_alarmed_in_it() {
        let (drift, alarm) = run(7, 1, |day, _| if day < 3 { 0.9 } else { 0.1 });
        assert_eq!(alarm, None);
        assert!(drift.status().values().all(|size| size.usual_milli.is_none()));
        let (drift, _) = run(8, 1, |_, hour| usual(hour));
        let [large, ..] = drift.status().into_values().collect::<Vec<_>>()[..] else { panic!() };
        assert!(large.usual_milli.is_some_and(|milli| (790..850).contains(&milli)), "{large:?}");
    }

    #[test]
    fn a_camera_that_is_mended_is_believed_again_within_a_day() {
        let (drift, alarm) = run(12, 3, |day, hour| if day == 9 { 0.1 } else { usual(hour) });
        assert!(alarm.is_some() && !drift.is_drifting());
    }
}
