//! Owns the noise on cell values: a function of the epoch's key, the policy and the place, never drawn afresh, since
//! fresh draws average away.

use proto::{Digest, manifest::Rect};

/// The noise of one camera and epoch.
pub struct Noise {
    key: zeroize::Zeroizing<[u8; 32]>,
    epoch: u64,
}

/// Side of the fixed lattice of the frame, in pixels: a face that stays within one lattice cell keeps its noise.
const LATTICE: u32 = 64;
/// Steps of the inverse distribution: 2^16 of them give grey levels exactly to a part in 2^15.
const LN2_Q16: i64 = 45_426;

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

    /// The endless stream of noise for a face whose cells lie here.
    pub(crate) fn stream(&self, policy: &Digest, rect: Rect) -> NoiseStream {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(policy.as_bytes());
        for place in [(rect.x + rect.w / 2) / LATTICE, (rect.y + rect.h / 2) / LATTICE] {
            hasher.update(&place.to_be_bytes());
        }
        NoiseStream(hasher.finalize_xof())
    }
}

impl std::fmt::Debug for Noise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Noise(epoch {})", self.epoch)
    }
}

pub(crate) struct NoiseStream(blake3::OutputReader);

impl NoiseStream {
    /// The next value: Laplace of this scale in grey levels, rounded, in integers throughout so that every build of one
    /// kind gives the same. The magnitude is `-ln(u)` for a uniform 16-bit `u`, from its leading bit and a linear
    /// remainder (error under .09 of the scale).
    pub(crate) fn laplace(&mut self, scale: u8) -> i32 {
        let mut bytes = [0; 3];
        self.0.fill(&mut bytes);
        let [sign, high, low] = bytes;
        let uniform = u64::from(u16::from_be_bytes([high, low])) + 1;
        let bits = uniform.ilog2();
        // uniform / 2^16 = 2^(bits - 16) * (1 + rest), ln(1 + rest) is about rest * ln 2.
        let rest = i64::try_from(((uniform << 16) >> bits) - (1 << 16)).unwrap_or(0);
        let ln_q16 = (16 - i64::from(bits)) * LN2_Q16 - ((rest * LN2_Q16) >> 16);
        let magnitude = (i64::from(scale) * ln_q16 + (1 << 15)) >> 16;
        let magnitude = i32::try_from(magnitude).unwrap_or(i32::MAX);
        if sign & 1 == 0 { magnitude } else { -magnitude }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Rect = Rect { x: 100, y: 100, w: 40, h: 40 };

    fn draws(key: u8, place: Rect, n: usize) -> Vec<i32> {
        let mut stream = Noise::new([key; 32], 0).stream(&Digest::of(b"policy"), place);
        (0..n).map(|_| stream.laplace(8)).collect()
    }

    #[test]
    fn noise_is_a_function_of_key_and_place() {
        assert_eq!(draws(1, PLACE, 100), draws(1, PLACE, 100));
        assert_ne!(draws(1, PLACE, 100), draws(2, PLACE, 100));
        assert_ne!(draws(1, PLACE, 100), draws(1, Rect { x: 900, ..PLACE }, 100));
        let moved = Rect { x: 104, ..PLACE };
        assert_eq!(draws(1, PLACE, 100), draws(1, moved, 100), "a small motion redrew the noise");
    }

    #[test]
    fn noise_is_laplace_of_its_scale() {
        let draws = draws(3, PLACE, 100_000);
        let mean = draws.iter().sum::<i32>() as f64 / 1e5;
        // A Laplace variable of scale b has mean 0 and mean magnitude b.
        let magnitude = draws.iter().map(|d| d.abs()).sum::<i32>() as f64 / 1e5;
        assert!(mean.abs() < 0.15, "{mean}");
        assert!((magnitude - 8.0).abs() < 0.5, "{magnitude}");
        // Half of it lies within b ln 2 = 5.5.
        let near = draws.iter().filter(|d| d.abs() <= 5).count();
        assert!((45_000..55_000).contains(&near), "{near}");
    }
}
