//! Owns what a recogniser is shown of a redacted face: what was released of it, where the face was, filtered in several
//! ways. What lies beside the redacted region is not shown: its border goes on.

use anyhow::Context;
use models::{Detection, pixels::Window};
use onnx::Recogniser;
use privacy::{Noise, Policy, RawFrame};
use proto::manifest::FILL_RGB;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    blurs::Blur,
    people,
    still::{self, Still},
};

/// A way to redact a face.
pub(crate) enum Redaction {
    /// None.
    Clear,
    /// Ours.
    Policy(Policy),
    /// Another's.
    Blur(Blur),
}

/// How a naive attacker makes a redacted picture more of a face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// As it is: cells are flat.
    Raw,
    /// Between the middles of cells (of pixels, where a picture is enlarged) bicubic.
    Bicubic,
    /// The median of the pixels around each.
    Median,
}

impl Filter {
    pub(crate) const ALL: [Self; 3] = [Self::Raw, Self::Bicubic, Self::Median];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Bicubic => "bicubic",
            Self::Median => "median",
        }
    }
}

/// Pixels to each side over which the median is taken, in a recogniser's view.
const REACH: usize = 2;

/// What was released of a face: a picture and its place in the photo, in pixels.
pub(crate) struct Region {
    still: Still,
    x: f32,
    y: f32,
    w: f32,
    h: f32,
    /// The square of the photo that a recogniser looks at.
    square: Window,
}

impl Region {
    /// One look at a face.
    #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
    pub(crate) fn of(
        redaction: &Redaction,
        frame: &RawFrame,
        face: Detection,
        random: &mut ChaCha8Rng,
    ) -> anyhow::Result<Self> {
        let view = frame.view().context("an empty picture")?;
        let square = people::square(view, face);
        let at = |still: Still, place: Window| {
            let Window { x, y, w, h } = place;
            Self { still, x: x as f32, y: y as f32, w: w as f32, h: h as f32, square }
        };
        Ok(match redaction {
            Redaction::Clear => {
                at(Still::cut(view, square).context("a face outside its picture")?, square)
            }
            Redaction::Blur(blur) => {
                let look = blur.looks(frame, face, 1, random)?.into_iter().next();
                let look = look.context("no look")?;
                at(look.still, look.place)
            }
            Redaction::Policy(policy) => {
                let noise = Noise::new(random.random(), 0);
                let Some(grid) = still::cells(frame, face, policy, &noise)? else {
                    // Solid fill, or a box too small for its cells.
                    let planes = FILL_RGB.map(f32::from).to_vec();
                    return Ok(at(Still { width: 1, height: 1, planes }, square));
                };
                let rect = grid.rect;
                let [x, y, w, h] = [rect.x, rect.y, rect.w, rect.h].map(|side| side as f32);
                Self { still: still::drawn(&grid), x, y, w, h, square }
            }
        })
    }

    /// As a recogniser takes it, in whole grey levels as a file would have them.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "picture sides are under 2^16"
    )]
    pub(crate) fn seen(&self, filter: Filter) -> Still {
        let side = Recogniser::SIDE;
        // What is finer than the view is reduced first, or some of its pixels would be left out.
        let fits = |length: f32, square: usize, pixels: usize| {
            let most = (length * side as f32 / square.max(1) as f32).round().max(1.0) as usize;
            pixels.min(most)
        };
        let columns = fits(self.w, self.square.w, self.still.width);
        let rows = fits(self.h, self.square.h, self.still.height);
        let small = self.still.reduced(columns, rows);
        let smooth = filter == Filter::Bicubic;
        let across = taps((self.x, self.w, columns), (self.square.x, self.square.w), smooth);
        let down = taps((self.y, self.h, rows), (self.square.y, self.square.h), smooth);
        let mut planes = Vec::with_capacity(3 * side * side);
        for plane in small.planes.chunks_exact(columns * rows) {
            let narrow: Vec<f32> = plane
                .chunks_exact(columns)
                .flat_map(|row| across.iter().map(|taps| weighed(taps, |x| row.get(x))))
                .collect();
            for taps in &down {
                let value = |x| weighed(taps, |y| narrow.get(y * side + x));
                planes.extend((0..side).map(|x| value(x).round().clamp(0.0, 255.0)));
            }
        }
        let seen = Still { width: side, height: side, planes };
        if filter == Filter::Median { median(&seen, REACH) } else { seen }
    }
}

/// For each pixel of a recogniser's view along one side, which pixels of a picture it takes by which weight: the picture
/// has a place in the photo and so many pixels; the view has its square's place.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the picture"
)]
fn taps(
    (start, length, pixels): (f32, f32, usize),
    (from, size): (usize, usize),
    smooth: bool,
) -> Vec<Vec<(usize, f32)>> {
    let last = pixels.saturating_sub(1) as f32;
    let inside = |at: f32| at.clamp(0.0, last) as usize;
    let pixel = |i: usize| {
        let place = from as f32 + (i as f32 + 0.5) / Recogniser::SIDE as f32 * size as f32;
        let at = (place - start) / length * pixels as f32;
        if !smooth {
            return vec![(inside(at.floor()), 1.0)];
        }
        let low = (at - 0.5).floor();
        let around = [-1.0, 0.0, 1.0, 2.0].map(|step| low + step);
        around.map(|pixel| (inside(pixel), cubic((at - 0.5 - pixel).abs()))).to_vec()
    };
    (0..Recogniser::SIDE).map(pixel).collect()
}

/// Keys' kernel of bicubic interpolation (1981), a = -1/2.
fn cubic(far: f32) -> f32 {
    match far {
        0.0..=1.0 => (1.5 * far - 2.5) * far * far + 1.0,
        1.0..=2.0 => ((2.5 - 0.5 * far) * far - 4.0) * far + 2.0,
        _ => 0.0,
    }
}

fn weighed<'a>(taps: &[(usize, f32)], at: impl Fn(usize) -> Option<&'a f32>) -> f32 {
    taps.iter().map(|(position, weight)| weight * at(*position).copied().unwrap_or(0.0)).sum()
}

/// Each pixel the median of those up to `reach` away, in each colour; at borders of fewer.
fn median(still: &Still, reach: usize) -> Still {
    let (width, height) = (still.width, still.height);
    let mut planes = Vec::with_capacity(still.planes.len());
    let mut around = Vec::new();
    for plane in still.planes.chunks_exact(width * height) {
        for y in 0..height {
            let rows = y.saturating_sub(reach)..(y + reach + 1).min(height);
            for x in 0..width {
                let columns = x.saturating_sub(reach)..(x + reach + 1).min(width);
                around.clear();
                for y in rows.clone() {
                    let row = y * width;
                    around.extend(
                        plane.get(row + columns.start..row + columns.end).unwrap_or_default(),
                    );
                }
                let middle = around.len() / 2;
                planes.push(*around.select_nth_unstable_by(middle, f32::total_cmp).1);
            }
        }
    }
    Still { width, height, planes }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const FACE: Detection = Detection { x: 40.0, y: 20.0, w: 60.0, h: 80.0, score: 1.0 };

    fn frame() -> RawFrame {
        let planes = (0..3 * 160 * 120).map(|i| ((i * 7) % 251) as f32).collect();
        Still { width: 160, height: 120, planes }.frame().unwrap()
    }

    fn seen(redaction: &Redaction, filter: Filter) -> Still {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        Region::of(redaction, &frame(), FACE, &mut random).unwrap().seen(filter)
    }

    #[test]
    fn nothing_of_a_face_is_seen_under_solid_fill_by_any_filter() {
        let solid = Redaction::Policy(Policy::named("solid").unwrap());
        for filter in Filter::ALL {
            let seen = seen(&solid, filter);
            for (plane, fill) in seen.planes.chunks(112 * 112).zip(FILL_RGB) {
                assert!(plane.iter().all(|v| *v == f32::from(fill)), "{filter:?}");
            }
        }
    }

    #[test]
    fn cells_are_flat_where_they_lie_and_bicubic_between_their_middles() {
        // Two columns of cells over 60 pixels, in the middle of a square of 80: the left one goes on to the border.
        let still = Still { width: 2, height: 1, planes: [[50.0, 150.0]; 3].concat() };
        let square = Window { x: 30, y: 20, w: 80, h: 80 };
        let region = Region { still, x: 40.0, y: 20.0, w: 60.0, h: 80.0, square };
        let raw = region.seen(Filter::Raw);
        let row = |still: &Still| still.planes[..112].to_vec();
        assert!(row(&raw)[..56].iter().all(|v| *v == 50.0));
        assert!(row(&raw)[56..].iter().all(|v| *v == 150.0));
        let smooth = row(&region.seen(Filter::Bicubic));
        assert!(smooth.windows(2).all(|pair| pair[1] >= pair[0] - 4.0), "{smooth:?}");
        assert!((smooth[55] + smooth[56] - 200.0).abs() < 1.5 && smooth[56] - smooth[55] < 6.0);
    }

    #[test]
    fn a_clear_face_is_seen_as_the_gallery_sees_it() {
        let (frame, mut random) = (frame(), ChaCha8Rng::seed_from_u64(1));
        // A face larger than the view, so that both are reduced.
        let large = Still::scaled(frame.view().unwrap(), 480, 360).frame().unwrap();
        let face = Detection { x: 120.0, y: 60.0, w: 180.0, h: 240.0, score: 1.0 };
        let region = Region::of(&Redaction::Clear, &large, face, &mut random).unwrap();
        let portrait = people::portrait(large.view().unwrap(), face).unwrap();
        let seen = region.seen(Filter::Raw);
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 0.501;
        assert!(seen.planes.iter().zip(&portrait.planes).all(near));
    }

    #[test]
    fn the_median_drops_a_lone_pixel_and_keeps_an_edge() {
        let mut still = Still { width: 12, height: 9, planes: vec![10.0; 3 * 12 * 9] };
        for y in 0..9 {
            for x in 6..12 {
                still.set(y * 12 + x, [200.0; 3]);
            }
        }
        let edge = still.planes.clone();
        still.set(4 * 12 + 2, [255.0; 3]);
        assert_eq!(median(&still, 2).planes, edge);
    }

    #[test]
    fn every_redaction_and_filter_gives_what_a_recogniser_takes() {
        let blurs = Blur::ALL.map(Redaction::Blur);
        let cells = Redaction::Policy(Policy::named("cells").unwrap());
        for redaction in blurs.iter().chain([&cells, &Redaction::Clear]) {
            for filter in Filter::ALL {
                let seen = seen(redaction, filter);
                assert_eq!(seen.planes.len(), 3 * 112 * 112);
                assert!(seen.planes.iter().all(|v| (0.0..=255.0).contains(v)));
            }
        }
    }
}
