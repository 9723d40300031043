//! Owns what an attacker sees of each photo: looks by the product's own redaction, within one epoch and across epochs.

use std::collections::{BTreeMap, BTreeSet};

use models::Detection;
use privacy::{Noise, RawFrame};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{cells::moved, leaving::Leaving};

/// How many looks the attacker has and what they share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Looks {
    /// One.
    One,
    /// Several within one epoch: the same noise, boxes that tremble.
    Within(usize),
    /// Several, each with the noise of another epoch.
    Across(usize),
}

impl Looks {
    /// Every kind that is measured.
    pub(crate) const ALL: [Self; 5] =
        [Self::One, Self::Within(4), Self::Within(16), Self::Across(4), Self::Across(16)];
}

/// Epochs and looks within each that are drawn of a learning photo; the attacker redacts as often as he likes.
const SIDE: usize = 16;
/// Times that a learning photo is learned from, under each number of looks.
pub(crate) const LEARNED: usize = 12;
/// Jitter of boxes: each edge moves by up to this share of its side.
pub(crate) const JITTER: f32 = 0.05;

/// One photo as features (0 to 1): what is learned from it and what is probed, under each kind of looks.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub learned: Vec<Vec<Vec<f32>>>,
    pub probed: Vec<Vec<f32>>,
}

/// All looks of these kinds at one photo. Learning and probing never share a key.
pub(crate) fn seen(
    frame: &RawFrame,
    face: Detection,
    leaving: Leaving<'_>,
    kinds: &[Looks],
    seed: u64,
) -> anyhow::Result<Seen> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = |times: usize| -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
        let each = |kind: &Looks| (0..times).map(|at| picked(*kind, at)).collect::<Vec<_>>();
        let places: Vec<Vec<Vec<(usize, usize)>>> = kinds.iter().map(each).collect();
        let needed: BTreeSet<(usize, usize)> = places.iter().flatten().flatten().copied().collect();
        let keys: [[u8; 32]; SIDE] = [[0; 32]; SIDE].map(|_| random.random());
        let mut looks = BTreeMap::new();
        for place in needed {
            let key = keys.get(place.0).copied().unwrap_or_default();
            let noise = Noise::new(key, 0);
            let found = moved(face, JITTER, &mut random);
            looks.insert(place, leaving.features(frame, found, &noise)?);
        }
        let means = |of: Vec<Vec<(usize, usize)>>| {
            of.iter().map(|places| mean(places.iter().filter_map(|at| looks.get(at)))).collect()
        };
        Ok(places.into_iter().map(means).collect())
    };
    let learned = drawn(LEARNED)?;
    let probed = drawn(1)?.into_iter().filter_map(|rows| rows.into_iter().next()).collect();
    Ok(Seen { learned, probed })
}

/// Epoch and number of each look that the `at`-th sample of a kind is the mean of.
fn picked(kind: Looks, at: usize) -> Vec<(usize, usize)> {
    match kind {
        Looks::One => vec![(at, 0)],
        Looks::Within(n) => (0..n).map(|look| (at, look)).collect(),
        Looks::Across(n) => (0..n).map(|epoch| ((at + epoch) % SIDE, at % SIDE)).collect(),
    }
}

/// The mean of some looks: an attacker who averages before he asks.
#[expect(clippy::cast_precision_loss, reason = "16 looks at most")]
fn mean<'a>(looks: impl Iterator<Item = &'a Vec<f32>>) -> Vec<f32> {
    let (mut sum, mut n) = (Vec::new(), 0usize);
    for look in looks {
        sum.resize(look.len(), 0.0);
        sum.iter_mut().zip(look).for_each(|(total, value)| *total += value);
        n += 1;
    }
    sum.into_iter().map(|total: f32| total / n.max(1) as f32).collect()
}

#[cfg(test)]
mod tests {
    use privacy::Policy;

    use super::*;
    use crate::still::Still;

    fn frame() -> RawFrame {
        let planes = (0..3 * 120 * 120).map(|i| (i % 251) as f32).collect();
        Still { width: 120, height: 120, planes }.frame().unwrap()
    }

    const FACE: Detection = Detection { x: 30.0, y: 30.0, w: 60.0, h: 60.0, score: 1.0 };

    #[test]
    fn looks_across_epochs_average_the_noise_away_and_looks_within_one_do_not() {
        let frame = frame();
        let looked = |noise| {
            let policy = Policy::trial((2, 2), noise, 1);
            seen(&frame, FACE, Leaving::Cells(&policy), &Looks::ALL, 1).unwrap()
        };
        let (noisy, quiet) = (looked(24), looked(0));
        let off = |looks: usize| {
            let pairs = noisy.probed[looks].iter().zip(&quiet.probed[looks]);
            pairs.map(|(a, b)| (a - b).abs()).sum::<f32>()
        };
        let [one, _, within, _, across] = [0, 1, 2, 3, 4].map(off);
        assert!(across < one / 2.0, "{across} {one}");
        assert!(within > one / 3.0, "{within} {one}");
    }
}
