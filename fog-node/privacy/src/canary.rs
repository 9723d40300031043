//! Owns copies of frames that drawn faces are painted into, to see whether the detector finds them. A copy is looked at by
//! a detector, wiped, and nothing else: there is no way from it to a frame that could be redacted or sealed.

use models::{Detection, PixelView};
use vision::{Area, Picture};

use crate::RawFrame;

/// A copy of a raw frame for canaries.
pub struct CanaryFrame(Picture);

impl RawFrame {
    /// A copy to paint on.
    #[must_use]
    pub fn for_canaries(&self) -> CanaryFrame {
        CanaryFrame(self.picture.duplicate())
    }
}

impl CanaryFrame {
    /// What a detector sees.
    #[must_use]
    pub fn view(&self) -> Option<PixelView<'_>> {
        self.0.view()
    }

    /// Width and height in pixels.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
    pub const fn size(&self) -> (f32, f32) {
        (self.0.width() as f32, self.0.height() as f32)
    }

    /// Paints every pixel of an area: `at` has its middle's colour (0 to 255), opacity (0 to 1) and grain. Colours are drawn
    /// towards the mean of the area by `contrast` (1 keeps them).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "clamped to the picture and to bytes"
    )]
    pub fn paint(
        &mut self,
        area: Detection,
        contrast: f32,
        mut at: impl FnMut(f32, f32) -> ([f32; 3], f32, f32),
    ) {
        let clamp = |v: f32, side: u32| v.round().clamp(0.0, side as f32) as u32;
        let (x0, x1) = (clamp(area.x, self.0.width()), clamp(area.x + area.w, self.0.width()));
        let (y0, y1) = (clamp(area.y, self.0.height()), clamp(area.y + area.h, self.0.height()));
        let mean = self.mean(x0, y0, x1, y1);
        for y in y0..y1 {
            for x in x0..x1 {
                let (colour, opacity, grain) = at(x as f32 + 0.5, y as f32 + 0.5);
                let [b, g, r] = self.0.row(y, x, 1) else { continue };
                let under = [r, g, b].map(|v| f32::from(*v));
                let mut mixed = [0u8; 3];
                for ((mixed, colour), (under, mean)) in
                    mixed.iter_mut().zip(colour).zip(under.into_iter().zip(mean))
                {
                    let faint = mean + contrast * (colour - MIDDLE) + grain;
                    *mixed = (under + (faint - under) * opacity).round().clamp(0.0, 255.0) as u8;
                }
                self.0.fill(Area { x, y, w: 1, h: 1 }, mixed);
            }
        }
    }

    /// Mean red, green and blue.
    #[expect(clippy::cast_precision_loss, reason = "a sum of bytes over an area")]
    fn mean(&self, x0: u32, y0: u32, x1: u32, y1: u32) -> [f32; 3] {
        let (mut sum, mut n) = ([0u64; 3], 0u64);
        for y in y0..y1 {
            for pixel in self.0.row(y, x0, x1.saturating_sub(x0)).as_chunks::<3>().0 {
                let [b, g, r] = *pixel;
                sum.iter_mut().zip([r, g, b]).for_each(|(total, v)| *total += u64::from(v));
                n += 1;
            }
        }
        sum.map(|total| total as f32 / n.max(1) as f32)
    }
}

/// The middle of the levels: what a painted colour differs from.
const MIDDLE: f32 = 128.0;

impl std::fmt::Debug for CanaryFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CanaryFrame({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::test_frame;

    #[test]
    fn painting_changes_the_copy_inside_the_area_and_the_frame_not_at_all() {
        let frame = test_frame(64, 48);
        let mut copy = frame.for_canaries();
        let area = Detection { x: 50.0, y: 40.0, w: 100.0, h: 100.0, score: 1.0 };
        copy.paint(area, 1.0, |_, _| ([250.0; 3], 1.0, 0.0));
        let untouched = test_frame(64, 48);
        for y in 0..48 {
            assert_eq!(frame.picture.row(y, 0, 64), untouched.picture.row(y, 0, 64));
            assert_eq!(copy.0.row(y, 0, 50), frame.picture.row(y, 0, 50));
        }
        assert!(copy.0.row(47, 50, 14).iter().all(|v| *v > 120));
    }
}
