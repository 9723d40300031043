//! Owns the noise on cell values: a function of the epoch's key, the policy and the place, never drawn afresh, since
//! fresh draws average away.

use proto::{Digest, manifest::Rect};
use serde::{Deserialize, Serialize};

/// The noise of one camera and epoch.
pub struct Noise {
    key: zeroize::Zeroizing<[u8; 32]>,
    epoch: u64,
}

/// Side of the fixed lattice of the frame, in pixels: a face that stays within one lattice cell keeps its noise.
const LATTICE: u32 = 64;
/// Parts of a grey level that values and their noise have, so that no rounding comes before the noise.
pub(crate) const PARTS: i64 = 256;

/// What keys the noise of a face: the lattice cell where its track began, and which of that cell's faces in this frame it
/// is. Without the latter the difference of two would have no noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    cell: (u32, u32),
    nth: u32,
}

impl Place {
    /// The place of a face whose track begins here, beside the faces of its frame that have theirs: the first that is free.
    pub(crate) fn beside(taken: &[Self], first: Rect) -> Self {
        let cell = ((first.x + first.w / 2) / LATTICE, (first.y + first.h / 2) / LATTICE);
        let is_free = |nth: &u32| !taken.contains(&Self { cell, nth: *nth });
        Self { cell, nth: (0..).find(is_free).unwrap_or(u32::MAX) }
    }
}

impl Noise {
    /// Noise of this key (drawn by the edge for one camera and epoch).
    #[must_use]
    pub fn new(key: [u8; 32], epoch: u64) -> Self {
        Self { key: zeroize::Zeroizing::new(key), epoch }
    }

    /// The epoch, for the manifest.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The endless stream of noise for a face of this place.
    pub(crate) fn stream(&self, policy: &Digest, place: Place) -> NoiseStream {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(policy.as_bytes());
        for number in [place.cell.0, place.cell.1, place.nth] {
            hasher.update(&number.to_be_bytes());
        }
        NoiseStream { bytes: hasher.finalize_xof(), block: [0; BLOCK], used: BLOCK }
    }
}

impl std::fmt::Debug for Noise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Noise(epoch {})", self.epoch)
    }
}

/// Bytes that are taken from the hash at once: it makes as many.
const BLOCK: usize = 64;

pub(crate) struct NoiseStream {
    bytes: blake3::OutputReader,
    block: [u8; BLOCK],
    used: usize,
}

impl NoiseStream {
    /// The next value, in [`PARTS`] of a grey level: discrete Laplace of this scale in grey levels, to a part in 2^40 and in
    /// integers throughout, so that every build gives the same (Canonne, Kamath and Steinke 2020, The Discrete Gaussian for
    /// Differential Privacy, algorithm 2).
    pub(crate) fn laplace(&mut self, scale: u8) -> i64 {
        let scale = u64::from(scale) * PARTS.unsigned_abs();
        if scale == 0 {
            return 0;
        }
        loop {
            let rest = self.below(scale);
            if !self.happens(rest, scale) {
                continue;
            }
            let mut whole = 0;
            while self.happens(1, 1) {
                whole += 1;
            }
            let magnitude = i64::try_from(rest + scale * whole).unwrap_or(i64::MAX);
            let negative = self.below(2) == 1;
            // Nothing would come twice as often as it ought to.
            if !(negative && magnitude == 0) {
                return if negative { -magnitude } else { magnitude };
            }
        }
    }

    /// Whether something happens that has the probability `exp(-of / whole)`, `of` being `whole` at most.
    fn happens(&mut self, of: u64, whole: u64) -> bool {
        let mut step = 1;
        while self.below(whole * step) < of {
            step += 1;
        }
        step % 2 == 1
    }

    /// A number from 0 to `limit`, without it; each as likely but for one part in 2^40.
    fn below(&mut self, limit: u64) -> u64 {
        if self.used == BLOCK {
            self.bytes.fill(&mut self.block);
            self.used = 0;
        }
        let drawn = self.block.get(self.used..).and_then(|rest| rest.first_chunk::<8>());
        self.used += 8;
        let drawn = drawn.map_or(0, |bytes| u64::from_be_bytes(*bytes));
        u64::try_from((u128::from(drawn) * u128::from(limit)) >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [i64; 12] =
        [-576, 622, 11436, 7972, -3025, 307, 7316, 5729, 17624, -10869, 3688, -625];
    const FACE: Rect = Rect { x: 100, y: 100, w: 40, h: 40 };

    fn stream(key: u8, place: Rect) -> NoiseStream {
        Noise::new([key; 32], 0).stream(&Digest::of(b"policy"), Place::beside(&[], place))
    }

    fn draws(key: u8, place: Rect, n: usize) -> Vec<i64> {
        let mut stream = stream(key, place);
        (0..n).map(|_| stream.laplace(8)).collect()
    }

    #[test]
    fn noise_is_a_function_of_key_and_place() {
        assert_eq!(draws(1, FACE, 100), draws(1, FACE, 100));
        assert_ne!(draws(1, FACE, 100), draws(2, FACE, 100));
        assert_ne!(draws(1, FACE, 100), draws(1, Rect { x: 900, ..FACE }, 100));
        let moved = Rect { x: 104, ..FACE };
        assert_eq!(draws(1, FACE, 100), draws(1, moved, 100), "a small motion redrew the noise");
    }

    #[test]
    fn faces_of_one_cell_have_noise_of_their_own() {
        let left = Place::beside(&[], Rect { x: 64, w: 20, ..FACE });
        let right = Place::beside(&[left], FACE);
        let far = Place::beside(&[left, right], Rect { x: 900, ..FACE });
        assert_eq!((left.cell, left.nth, right.nth, far.nth), (right.cell, 0, 1, 0));
        // Whoever comes when the first has gone has its place, and whoever is alone the first.
        assert_eq!(Place::beside(&[right], FACE), left);
        assert_eq!(Place::beside(&[], FACE), left);
    }

    /// Counts of magnitudes against `(1 - q) / (1 + q) * q^|k|`, `q = exp(-1 / scale)`, within four standard deviations.
    #[test]
    fn noise_is_discrete_laplace_of_its_scale() {
        let n = 200_000;
        let draws = draws(3, FACE, n);
        let q = (-1.0 / (8.0 * PARTS as f64)).exp();
        // Of all values from one bound to the next; both sides alike.
        let share = |from: i32, to: i32| {
            let zero = if from == 0 { (1.0 - q) / (1.0 + q) } else { 0.0 };
            2.0 * (q.powi(from) - q.powi(to)) / (1.0 + q) - zero
        };
        let level = PARTS as i32;
        let bounds = [0, 1, 2, 3, 5, 6, 8, 11, 12, 16, 22, 23, 32, 64, 200].map(|n| n * level);
        for pair in bounds.windows(2) {
            let (from, to) = (i64::from(pair[0]), i64::from(pair[1]));
            let found = draws.iter().filter(|d| (from..to).contains(&d.abs())).count() as f64;
            let expected = share(pair[0], pair[1]) * n as f64;
            assert!((found - expected).abs() < 4.0 * expected.sqrt(), "{from}: {found} {expected}");
        }
        let positive = draws.iter().filter(|d| **d > 0).count() as f64;
        assert!((positive - n as f64 / 2.0).abs() < 4.0 * (n as f64 / 4.0).sqrt(), "{positive}");
        let mut none = stream(3, FACE);
        assert_eq!(none.laplace(0), 0);
    }

    /// Nothing is as rare as it ought to be: at scale 1 it has 1 of 512 draws.
    #[test]
    fn nothing_comes_once_and_not_from_both_sides() {
        let mut stream = stream(4, FACE);
        let n = 200_000;
        let found = f64::from((0..n).map(|_| u32::from(stream.laplace(1) == 0)).sum::<u32>());
        let q = (-1.0 / PARTS as f64).exp();
        let expected = (1.0 - q) / (1.0 + q) * f64::from(n);
        assert!((found - expected).abs() < 4.0 * expected.sqrt(), "{found} {expected}");
    }

    /// Drawn by another program: Python's `blake3` and the same paper.
    #[test]
    fn every_build_draws_the_same() {
        let mut stream = stream(5, FACE);
        assert_eq!([(); 12].map(|()| stream.laplace(16)), KNOWN);
    }
}
