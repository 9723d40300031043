//! Owns what training does to a face before the product redacts it: another size, other light, another box. Nothing
//! here touches cells: noise and rounding stay as the product draws them.

use models::{Detection, pixels::Window};
use privacy::RawFrame;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::still::Still;

/// A face cut out of its photo with room around it.
#[derive(Clone)]
pub(crate) struct Crop {
    pub still: Still,
    /// The face's box in the crop.
    pub face: Detection,
}

/// Room around the box, in boxes: for boxes that are off, for masks below the chin.
const ROOM: f32 = 0.6;
/// Crops start at multiples of this, as the product's cells snap: an unchanged crop gives the photo's own cells.
const SNAP: f32 = 4.0;
/// No face is made smaller than this: a grid of eight rows needs as many pixels.
const SIDE_MIN: f32 = 12.0;

impl Crop {
    /// The crop around a box; nothing when no pixel of the photo is near it.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "clamped to the picture, whose sides are under 2^16"
    )]
    pub(crate) fn of(frame: &RawFrame, face: Detection) -> Option<Self> {
        let view = frame.view()?;
        let span = |at: f32, size: f32, side: usize| {
            let low = ((at - ROOM * size) / SNAP).floor() * SNAP;
            let high = at + (1.0 + ROOM) * size;
            let clamp = |v: f32| v.clamp(0.0, side as f32) as usize;
            (clamp(low), clamp(high.ceil()))
        };
        let (x0, x1) = span(face.x, face.w, view.width());
        let (y0, y1) = span(face.y, face.h, view.height());
        let window = Window { x: x0, y: y0, w: x1.saturating_sub(x0), h: y1.saturating_sub(y0) };
        let still = Still::cut(view, window)?;
        let face = Detection { x: face.x - x0 as f32, y: face.y - y0 as f32, ..face };
        Some(Self { still, face })
    }

    /// Where a box of the photo lies in the crop around `annotated`.
    pub(crate) fn place(&self, annotated: &Detection, other: Detection) -> Detection {
        let (across, down) = (self.face.w / annotated.w, self.face.h / annotated.h);
        Detection {
            x: self.face.x + (other.x - annotated.x) * across,
            y: self.face.y + (other.y - annotated.y) * down,
            w: other.w * across,
            h: other.h * down,
            score: other.score,
        }
    }

    /// The same face with at most so many pixels across: what changes light has less to do.
    pub(crate) fn at_most(self, side_max: f32) -> Self {
        let share = side_max / self.face.w.min(self.face.h);
        if share < 1.0 { self.smaller(share) } else { self }
    }

    /// The same face from further away, half of the time.
    pub(crate) fn further(self, random: &mut ChaCha8Rng) -> Self {
        let side = self.face.w.min(self.face.h);
        if side <= SIDE_MIN || random.random_bool(0.5) {
            return self;
        }
        self.smaller((SIDE_MIN / side).powf(random.random_range(0.0..1.0)))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a picture side, which is under 2^16"
    )]
    fn smaller(self, share: f32) -> Self {
        let smaller = |side: usize| ((side as f32 * share).round() as usize).max(1);
        let still = self.still.reduced(smaller(self.still.width), smaller(self.still.height));
        let across = still.width as f32 / self.still.width as f32;
        let down = still.height as f32 / self.still.height as f32;
        let Detection { x, y, w, h, score } = self.face;
        let face = Detection { x: x * across, y: y * down, w: w * across, h: h * down, score };
        Self { still, face }
    }

    /// The same face as another camera sees it by other light.
    #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
    pub(crate) fn relit(mut self, random: &mut ChaCha8Rng) -> Self {
        let gain = [0; 3].map(|_| (0.09 * normal(random)).exp());
        let gamma = (0.25 * normal(random)).exp();
        let bright = (0.2 * normal(random)).exp();
        let offset = 8.0 * normal(random);
        let (across, down) = (0.25 * normal(random), 0.25 * normal(random));
        let grey = match random.random_range(0..10) {
            0 => 1.0,
            1..=4 => random.random_range(-0.4..0.6),
            _ => 0.0,
        };
        let (width, height) = (self.still.width, self.still.height);
        for y in 0..height {
            for x in 0..width {
                let at = y * width + x;
                let (u, v) = (x as f32 / width as f32 - 0.5, y as f32 / height as f32 - 0.5);
                let light = (1.0 + across * u + down * v).clamp(0.2, 2.0) * bright;
                let colour = self.still.pixel(at);
                let luma = (colour[0] * 0.3 + colour[1] * 0.59 + colour[2] * 0.11).max(0.0);
                let mut lit = [0.0; 3];
                for ((out, value), gain) in lit.iter_mut().zip(colour).zip(gain) {
                    let faded = (value + (luma - value) * grey).clamp(0.0, 255.0);
                    *out = 255.0 * (faded / 255.0).powf(gamma) * gain * light + offset;
                }
                self.still.set(at, lit);
            }
        }
        self
    }

    /// A box as some detector gives it: each edge is off by a share of the side, and the whole may be larger or smaller.
    pub(crate) fn boxed(&self, random: &mut ChaCha8Rng) -> Detection {
        let jitter = random.random_range(0.02..0.12);
        let grow = (0.07 * normal(random)).exp();
        let Detection { x, y, w, h, score } = self.face;
        let mut moved = |size: f32| random.random_range(-jitter..=jitter) * size;
        let (left, right) =
            (x + w / 2.0 * (1.0 - grow) + moved(w), x + w / 2.0 * (1.0 + grow) + moved(w));
        let (top, bottom) =
            (y + h / 2.0 * (1.0 - grow) + moved(h), y + h / 2.0 * (1.0 + grow) + moved(h));
        Detection { x: left, y: top, w: right - left, h: bottom - top, score }
    }
}

/// A standard normal draw: the sum of twelve uniform ones.
pub(crate) fn normal(random: &mut ChaCha8Rng) -> f32 {
    (0..12).map(|_| random.random_range(-0.5..0.5)).sum()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn crop() -> Crop {
        let planes = vec![100.0; 3 * 200 * 160];
        let frame = Still { width: 200, height: 160, planes }.frame().unwrap();
        Crop::of(&frame, Detection { x: 70.0, y: 51.0, w: 40.0, h: 50.0, score: 1.0 }).unwrap()
    }

    #[test]
    fn a_crop_keeps_the_snapping_of_its_photo() {
        let crop = crop();
        // 70 - 24 = 46 snaps to 44, 51 - 30 = 21 to 20; 110 + 24 = 134, 101 + 30 = 131 and a last pixel.
        assert_eq!((crop.face.x, crop.face.y), (26.0, 31.0));
        assert_eq!(crop.still.width, 134 - 44);
        assert!((131 - 20..=132 - 20).contains(&crop.still.height));
    }

    #[test]
    fn a_box_of_the_photo_keeps_its_place_beside_the_face_in_a_smaller_crop() {
        let annotated = Detection { x: 70.0, y: 51.0, w: 40.0, h: 50.0, score: 1.0 };
        let other = Detection { x: 74.0, y: 41.0, w: 40.0, h: 50.0, score: 0.5 };
        let crop = crop().at_most(20.0);
        let placed = crop.place(&annotated, other);
        assert!((crop.face.w - 20.0).abs() < 0.5, "{:?}", crop.face);
        assert!((placed.x - crop.face.x - 2.0).abs() < 0.1, "{placed:?}");
        assert!((placed.y - crop.face.y + 5.0).abs() < 0.2, "{placed:?}");
        assert!((placed.w - crop.face.w).abs() < 1e-3 && (placed.score - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_face_from_further_away_keeps_its_place() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let (whole, far) = (crop(), crop().further(&mut random));
            let place =
                |c: &Crop| (c.face.x / c.still.width as f32, c.face.h / c.still.height as f32);
            let ((a, b), (c, d)) = (place(&whole), place(&far));
            assert!((a - c).abs() < 1e-4 && (b - d).abs() < 1e-4);
            assert!(far.face.w.min(far.face.h) > SIDE_MIN - 1.0);
        }
    }
}
