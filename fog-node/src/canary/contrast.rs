//! Owns how faint the canaries of one size are on one camera: set on its first day so that the healthy detector finds
//! about [`TARGET`] of them, and kept from then on. What went on being set would hide what it should show.

use serde::{Deserialize, Serialize};

/// The middle of the 70 to 95% that are wanted: most are found, and more than enough can be lost.
pub const TARGET: f64 = 0.83;
/// Canaries that set it at least; with a frame each 5 s a day has 576.
pub const SET_MIN: u32 = 100;
/// From nothing that could be seen to a face as plain as in daylight at 1, and on to one that is neither turned nor, but for
/// one of ten, masked.
const RANGE: (f64, f64) = (0.03, 2.0);
/// Steps of the contrast's logarithm are `GAIN / (n + EARLY)`: about one over how steeply the share rises with it, so that
/// each canary of the day counts alike; the first ones do not throw it far.
const GAIN: f64 = 5.0;
const EARLY: f64 = 12.0;

/// A contrast that is being set, or is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    share: f64,
    canaries: u32,
}

impl Contrast {
    /// The one of a new camera, in thousandths.
    #[must_use]
    pub fn new(milli: u16) -> Self {
        Self { share: f64::from(milli) / 1000.0, canaries: 0 }
    }

    /// Takes a canary that was drawn for setting it: fainter when it was found, plainer by more when it was not.
    pub fn set(&mut self, found: bool) {
        let step = GAIN / (f64::from(self.canaries) + EARLY);
        let more = TARGET - f64::from(u8::from(found));
        self.share = (self.share * (step * more).exp()).clamp(RANGE.0, RANGE.1);
        self.canaries = self.canaries.saturating_add(1);
    }

    /// Whether so many have set it that it could be kept.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.canaries >= SET_MIN
    }

    /// In thousandths.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 at most")]
    pub fn milli(&self) -> u16 {
        (self.share * 1000.0).round() as u16
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Lot, *};

    /// What a detector finds at a contrast: half at `half`, and of some canaries whatever the contrast nothing.
    fn share(contrast: f64, half: f64, most: f64) -> f64 {
        most / (1.0 + (half / contrast).powf(2.0))
    }

    #[test]
    fn a_day_sets_it_for_any_camera_that_shows_faces_at_all() {
        for (number, half) in [0.05, 0.1, 0.2, 0.3, 0.45].into_iter().enumerate() {
            for start in [150, 600] {
                let (mut contrast, mut lot) = (Contrast::new(start), Lot(number as u64));
                for _ in 0..576 {
                    let now = f64::from(contrast.milli()) / 1000.0;
                    contrast.set(f64::from(lot.share()) < share(now, half, 1.0));
                }
                let then = share(f64::from(contrast.milli()) / 1000.0, half, 1.0);
                assert!((0.75..0.91).contains(&then), "half at {half} from {start}: {then}");
            }
        }
    }

    #[test]
    fn a_camera_that_shows_none_gets_plain_faces_and_no_more() {
        let mut contrast = Contrast::new(600);
        for number in 0..SET_MIN {
            assert!(!contrast.is_set(), "{number}");
            contrast.set(false);
        }
        assert!(contrast.is_set());
        assert_eq!(contrast.milli(), 2000);
        (0..100_000).for_each(|_| contrast.set(true));
        assert_eq!(contrast.milli(), 30, "and one that shows all of them never nothing");
    }
}
