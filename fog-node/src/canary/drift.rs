//! Owns the drift of canary recall on one camera: its first day sets how faint canaries are, the rest of its first week is
//! what is usual, by the time of day; from then on a cumulative sum says when fewer are found. Pure: takes counts and times.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use proto::{
    UtcTime,
    watch::{CANARY_SIZES, Canaries, CanaryRecall, Contrasts},
};

use super::contrast::Contrast;

/// How long the contrast is set, in microseconds: light changes within a day.
const DAY: i64 = 24 * 3600 * 1_000_000;
/// When a camera's usual recall is learned.
const WEEK: i64 = 7 * DAY;
/// Parts of a day that are learned apart: light changes with them.
const PARTS: usize = 8;
/// Canaries that a part of the day must have had to be watched: where the first week has fewer it is learned for longer.
const LEARNED_MIN: u32 = 60;
/// What is told from chance: this much less than usual.
const LESS: f64 = 0.20;
/// A usual share is taken for this much lower than it was learned, for it is a sample too.
const MARGIN: f64 = 0.02;
/// Below this there is nothing to lose that would show: such a part of the day is not watched, which the status says.
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Size {
    contrast: Contrast,
    learned: [Canaries; PARTS],
    drawn: u64,
    recent: f64,
    sum: f64,
}

/// One camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// When its first canaries were captured, and its newest ones.
    span: Option<(UtcTime, UtcTime)>,
    sizes: [Size; 3],
}

impl Default for Drift {
    fn default() -> Self {
        Self { span: None, sizes: Contrasts::default().0.map(Size::new) }
    }
}

impl Drift {
    /// Takes the canaries of a clip that was captured at `at`.
    pub fn note(&mut self, at: UtcTime, canaries: &[Canaries; 3]) {
        if canaries.iter().all(|size| size.drawn == 0) {
            return;
        }
        let (began, newest) = self.span.get_or_insert((at, at));
        // A clip that comes late turns nothing back.
        *newest = (*newest).max(at);
        let age = newest.micros().saturating_sub(began.micros());
        for (size, canaries) in self.sizes.iter_mut().zip(canaries) {
            // A worker is not believed to find more than it draws.
            let found = canaries.found.min(canaries.drawn);
            for number in 0..canaries.drawn {
                size.one(part(at), number < found, age);
            }
        }
    }

    /// Whether any size has drifted.
    #[must_use]
    pub fn is_drifting(&self) -> bool {
        self.sizes.iter().any(|size| size.sum >= ALARM)
    }

    /// Whether any size is not watched at some hour of the day, since too few are found there.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.is_learned() && self.sizes.iter().any(|size| size.low_hours() > 0)
    }

    /// How faint its canaries are.
    #[must_use]
    pub fn contrasts(&self) -> Contrasts {
        Contrasts(self.sizes.map(|size| size.contrast.milli()))
    }

    fn is_learned(&self) -> bool {
        self.span.is_some_and(|(began, newest)| newest.micros() - began.micros() >= WEEK)
    }

    /// For the status; sizes that were never drawn are left out.
    #[must_use]
    pub fn status(&self) -> BTreeMap<String, CanaryRecall> {
        let named = CANARY_SIZES.iter().zip(&self.sizes).filter(|(_, size)| size.drawn > 0);
        named.map(|(name, size)| ((*name).to_owned(), size.status(self.is_learned()))).collect()
    }
}

/// Which part of the day.
fn part(at: UtcTime) -> usize {
    let hour = at.micros().div_euclid(3_600_000_000).rem_euclid(24);
    usize::try_from(hour).unwrap_or(0) * PARTS / 24
}

impl Size {
    fn new(contrast_milli: u16) -> Self {
        let (contrast, learned) = (Contrast::new(contrast_milli), Default::default());
        Self { contrast, learned, drawn: 0, recent: 0.0, sum: 0.0 }
    }

    /// Takes a canary in that part of the day, `age` microseconds after the camera's first.
    fn one(&mut self, part: usize, found: bool, age: i64) {
        self.drawn = self.drawn.saturating_add(1);
        let hit = f64::from(u8::from(found));
        #[expect(clippy::cast_precision_loss, reason = "capped right here")]
        let weight = 1.0 / (self.drawn.min(1 << 20) as f64).min(RECENT);
        self.recent += (hit - self.recent) * weight;
        if age < DAY || !self.contrast.is_set() {
            self.contrast.set(found);
            return;
        }
        let Some(learned) = self.learned.get_mut(part) else { return };
        if age < WEEK || learned.drawn < LEARNED_MIN {
            learned.drawn = learned.drawn.saturating_add(1);
            learned.found = learned.found.saturating_add(u32::from(found));
            return;
        }
        let usual = share(learned) - MARGIN;
        if is_low(learned) {
            return;
        }
        let less = usual - LESS;
        let ratio = if found { less / usual } else { (1.0 - less) / (1.0 - usual) };
        self.sum = (self.sum + ratio.ln()).clamp(0.0, SUM_MAX);
    }

    /// Hours of the day in which it is not watched.
    fn low_hours(&self) -> u8 {
        const HOURS: u8 = 24 / PARTS as u8;
        self.learned.iter().map(|part| HOURS * u8::from(is_low(part))).sum()
    }

    fn status(&self, learned: bool) -> CanaryRecall {
        let all = self.learned.iter().fold(Canaries::default(), |sum, part| Canaries {
            drawn: sum.drawn.saturating_add(part.drawn),
            found: sum.found.saturating_add(part.found),
        });
        CanaryRecall {
            drawn: self.drawn,
            recent_milli: milli(self.recent),
            usual_milli: (learned && all.drawn > 0).then(|| milli(share(&all))),
            drifting: self.sum >= ALARM,
            low_hours: if learned { self.low_hours() } else { 0 },
        }
    }
}

/// Whether too few are usual for a fall to show.
fn is_low(learned: &Canaries) -> bool {
    learned.drawn >= LEARNED_MIN && share(learned) - MARGIN < USUAL_MIN
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
    fn a_camera_that_shows_too_few_says_in_how_many_hours_it_is_not_watched() {
        let night = |hour: i64| !(6..18).contains(&hour);
        let (drift, _) = run(6, 5, |_, hour| if night(hour) { 0.1 } else { 0.8 });
        assert!(!drift.is_low() && drift.status().values().all(|size| size.low_hours == 0));
        let (drift, alarm) = run(20, 5, |_, hour| if night(hour) { 0.1 } else { 0.8 });
        assert!(drift.is_low() && alarm.is_none());
        assert!(drift.status().values().all(|size| size.low_hours == 12), "{drift:?}");
        let (drift, alarm) = run(20, 6, |day, _| if day < 9 { 0.2 } else { 0.0 });
        assert!(drift.status().values().all(|size| size.low_hours == 24), "{drift:?}");
        assert_eq!(alarm, None, "nothing could be seen to fall");
        let (drift, _) = run(20, 7, |_, hour| usual(hour));
        assert!(!drift.is_low() && drift.status().values().all(|size| size.low_hours == 0));
    }

    #[test]
    fn the_contrast_is_set_on_the_first_day_and_stays_whatever_is_found_or_comes_late() {
        let (drift, _) = run(1, 1, |_, _| 0.5);
        let set = drift.contrasts();
        assert_eq!(set.0, [2000; 3], "half of them found is too few");
        let (mut drift, _) = run(3, 1, |day, _| if day == 0 { 0.5 } else { 1.0 });
        assert_eq!(drift.contrasts(), set);
        drift.note(UtcTime::EPOCH, &[Canaries { drawn: 50, found: 50 }; 3]);
        assert_eq!(drift.contrasts(), set);
        let (drift, _) = run(1, 1, |_, _| 1.0);
        assert!(drift.contrasts().0.iter().all(|milli| *milli < 100), "all of them is too many");
    }

    #[test]
    fn a_camera_of_few_frames_is_learned_for_longer_and_then_watched() {
        let (mut drift, mut alarm) = (Drift::default(), None);
        // A frame each minute: 48 canaries of each size a day.
        for number in 0..48 * 40 {
            let found = u32::from(number % 8 != 0 && number < 48 * 30);
            let at = UtcTime::EPOCH.plus_ns(number * 1_800 * 1_000_000_000);
            drift.note(at, &[Canaries { drawn: 1, found }; 3]);
            if drift.is_drifting() && alarm.is_none() {
                alarm = Some(number);
            }
        }
        assert!(alarm.is_some_and(|number| (48 * 30..48 * 31).contains(&number)), "{alarm:?}");
    }

    #[test]
    fn a_camera_that_is_mended_is_believed_again_within_a_day() {
        let (drift, alarm) = run(12, 3, |day, hour| if day == 9 { 0.1 } else { usual(hour) });
        assert!(alarm.is_some() && !drift.is_drifting());
    }
}
