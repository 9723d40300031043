//! Owns canaries: drawn faces in a copy of every some-th frame, made after the real frame was decided and forgotten right
//! away. The share that the detector finds is its pulse on this camera. It is called canary recall, and it is no coverage:
//! canaries are faint on purpose, so that a detector that gets worse loses them before it loses people. How faint, each
//! camera's first day says.
//!
//! A canary touches no track, no memory, no ledger, no count of withheld frames; its frame cannot be redacted or sealed.

pub mod contrast;
pub mod drift;
mod face;
mod lens;

use models::{Detection, FaceDetector};
use privacy::CanaryFrame;
use proto::{
    FrameId,
    watch::{Canaries, Contrasts},
};

use face::BODY;
pub use face::Face;
pub use lens::Lens;

/// One frame in so many has canaries, by lot. A look of the detector more in each, and the drawing, cost some 150 ms of a 1080p frame, so 5 ms of
/// every frame; with a frame each 5 s that is 576 canaries of each size a day.
const EVERY: u64 = 30;
/// Width of the drawn faces in pixels of the picture, by size.
const WIDTHS: [f32; 3] = [30.0, 46.0, 84.0];
/// A face's box is this much higher than wide.
const HEIGHT: f32 = 1.2;
/// Turned by up to so many degrees.
const YAW_MAX: f32 = 45.0;
/// How much of a canary's box and a found box must be common for it to be found.
const OVERLAP_MIN: f32 = 0.3;
/// Places that are tried for a canary before it is left out: a crowd may leave none.
const TRIES: usize = 24;

/// Whether this frame has canaries. By lot and not by counting, so that cameras that share a worker are served alike.
#[must_use]
pub fn is_due(frame: &FrameId) -> bool {
    Lot::of(frame).next().is_multiple_of(EVERY)
}

/// A canary that was drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canary {
    /// Where, in pixels of the picture.
    pub place: Detection,
    /// How it looks.
    pub face: Face,
    /// Whether the detector found it.
    pub found: bool,
}

/// Draws canaries into a copy of a frame, by size as faint as `contrasts` says, and lets the detector look at it. `found`
/// are the faces of the real frame, which are left alone. A look that fails tells nothing, and a size that has no place has
/// no canary.
pub fn look(
    mut copy: CanaryFrame,
    frame: &FrameId,
    found: &[Detection],
    contrasts: Contrasts,
    detector: &mut dyn FaceDetector,
) -> [Option<Canary>; 3] {
    let mut lot = Lot::of(frame);
    lot.next();
    let Some(lens) = copy.view().map(Lens::of) else { return Default::default() };
    let mut taken = found.to_vec();
    let mut sizes = WIDTHS.into_iter().zip(contrasts.0.map(|milli| f32::from(milli) / 1000.0));
    let drawn = [(); 3].map(|()| {
        let (width, contrast) = sizes.next()?;
        let place = place(&copy, width, &taken, &mut lot)?;
        taken.push(body(&place));
        let face = face(contrast, &mut lot);
        paint(&mut copy, place, face, contrast.min(1.0), lens, &mut lot);
        Some((place, face))
    });
    let seen = copy.view().and_then(|view| detector.detect(view).ok());
    let Some(seen) = seen else { return Default::default() };
    drawn.map(|drawn| {
        let (place, face) = drawn?;
        let found = seen.iter().any(|found| found.overlap(&place) > OVERLAP_MIN);
        Some(Canary { place, face, found })
    })
}

/// A face by lot. Where a plain one is still too hard to find, it is less often masked and turned by less.
fn face(contrast: f32, lot: &mut Lot) -> Face {
    let ease = (contrast - 1.0).clamp(0.0, 1.0);
    let yaw = (lot.share() * 2.0 - 1.0) * YAW_MAX * (1.0 - ease);
    let mask = lot.next();
    // The lowest bit says whether it is masked, others whether it stays so.
    let stays = ((mask >> 32) % 1000) as f32 >= 800.0 * ease;
    Face { yaw, masked: mask.is_multiple_of(2) && stays, tone: 0.25 + 0.7 * lot.share() }
}

/// The count of what was drawn.
#[must_use]
pub fn counted(drawn: [Option<Canary>; 3]) -> [Canaries; 3] {
    drawn.map(|canary| {
        canary.map_or_else(Canaries::default, |canary| Canaries {
            drawn: 1,
            found: u32::from(canary.found),
        })
    })
}

/// A place for a face of this width where what is drawn touches no real face and no other canary.
fn place(copy: &CanaryFrame, width: f32, taken: &[Detection], lot: &mut Lot) -> Option<Detection> {
    let (columns, rows) = copy.size();
    let height = width * HEIGHT;
    let (free_x, free_y) = (columns - 2.0 * width, rows - 2.0 * height);
    if free_x < 0.0 || free_y < 0.0 {
        return None;
    }
    (0..TRIES).find_map(|_| {
        let (x, y) = (width / 2.0 + lot.share() * free_x, height / 2.0 + lot.share() * free_y);
        let place = Detection { x, y, w: width, h: height, score: 1.0 };
        let body = body(&place);
        let free = !taken.iter().any(|other| other.overlap(&body) > 0.0);
        free.then_some(place)
    })
}

/// What is drawn for a face there: shoulders below it and hair above, a quarter of the face's height at most.
fn body(place: &Detection) -> Detection {
    let (half_w, half_h) = (place.w / 2.0, place.h / 2.0);
    let (reach_w, down) = (half_w * BODY.0, half_h * BODY.1);
    let (x, y) = (place.x + half_w - reach_w, place.y - half_h / 2.0);
    Detection { x, y, w: 2.0 * reach_w, h: half_h * 1.5 + down, ..*place }
}

/// Where the lens gathers light from, in standard deviations of its blur, and how much of it.
const GATHERS: [(f32, f32); 5] =
    [(-1.6, 0.11), (-0.8, 0.24), (0.0, 0.30), (0.8, 0.24), (1.6, 0.11)];

/// Paints a face as this lens would show it: as sharp, as noisy, and faint: its own levels drawn towards those of the place.
fn paint(
    copy: &mut CanaryFrame,
    place: Detection,
    face: Face,
    contrast: f32,
    lens: Lens,
    lot: &mut Lot,
) {
    let (half_w, half_h) = (place.w / 2.0, place.h / 2.0);
    let middle = (place.x + half_w, place.y + half_h);
    // The blur reaches beyond what is drawn.
    let (body, margin) = (body(&place), 3.0 * lens.blur);
    let (x, y) = (body.x - margin, body.y - margin);
    let area = Detection { x, y, w: body.w + 2.0 * margin, h: body.h + 2.0 * margin, ..body };
    copy.paint(area, contrast, |x, y| {
        let (mut sum, mut opacity) = ([0.0; 3], 0.0);
        for (down, a) in GATHERS {
            for (across, b) in GATHERS {
                let at_x = (x + across * lens.blur - middle.0) / half_w;
                let at_y = (y + down * lens.blur - middle.1) / half_h;
                let (colour, shown) = face.at(at_x, at_y);
                let weight = a * b * shown;
                sum.iter_mut().zip(colour).for_each(|(total, part)| *total += part * weight);
                opacity += weight;
            }
        }
        let grain = lens.noise * lot.normal() * opacity;
        (sum.map(|total| if opacity > 0.0 { total / opacity } else { 0.0 }), opacity, grain)
    });
}

/// A lot that is drawn alike whenever the same frame is processed (splitmix64 over the frame's digest).
struct Lot(u64);

impl Lot {
    fn of(frame: &FrameId) -> Self {
        let digest = proto::Digest::of(frame.to_string().as_bytes());
        let first = digest.as_bytes().first_chunk().copied().unwrap_or_default();
        Self(u64::from_be_bytes(first))
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
    const fn share(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Mean 0, variance 1, about normal: twelve uniforms.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.share()).sum::<f32>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use models::{
        detector::Scripted,
        pixels::{Norm, Window},
    };
    use privacy::{FrameMeta, RawFrame};
    use proto::{Clock, UtcTime, time::ClockSource, watch::CANARY_SIZES};

    use super::*;

    fn frame(slot: u64) -> FrameId {
        FrameId { clip: "town/cam-1/000102030405060708090a0b0c0d0e0f/7".parse().unwrap(), slot }
    }

    #[test]
    fn about_one_frame_in_thirty_has_canaries_and_always_the_same_ones() {
        let due = |slot| is_due(&frame(slot));
        let n = (0..30_000).filter(|slot| due(*slot)).count();
        assert!((900..1100).contains(&n), "{n}");
        assert!((0..100).all(|slot| due(slot) == due(slot)));
    }

    /// A copy of a grey picture.
    fn grey() -> CanaryFrame {
        let (width, height) = (480, 360);
        let mut file = format!("P6\n{width} {height}\n255\n").into_bytes();
        file.resize(file.len() + width * height * 3, 128);
        let clock = Clock { source: ClockSource::Unknown, uncertainty_ms: None };
        let (captured_at, clip_captured_at) = (UtcTime::EPOCH, UtcTime::EPOCH);
        let meta = FrameMeta { frame: frame(0), captured_at, clip_captured_at, clock };
        RawFrame::from_still(&file, meta).unwrap().for_canaries()
    }

    #[test]
    fn canaries_are_masked_and_not_turned_to_45_degrees_and_as_wide_as_their_size_says() {
        let mut blind = Scripted::boxes(1, vec![]);
        let looks =
            (0..300).map(|slot| look(grey(), &frame(slot), &[], Contrasts::default(), &mut blind));
        let looks: Vec<_> = looks.collect();
        let all: Vec<Canary> = looks.iter().flatten().flatten().copied().collect();
        assert!(all.len() > 500, "{} have a place", all.len());
        assert!(all.iter().all(|canary| canary.face.yaw.abs() <= 45.0 && !canary.found));
        for side in [-1.0, 1.0] {
            assert!(all.iter().any(|canary| canary.face.yaw * side > 43.0), "{side}");
        }
        let masked = all.iter().filter(|canary| canary.face.masked).count() * 100 / all.len();
        assert!((40..60).contains(&masked), "{masked}%");
        for (size, name) in CANARY_SIZES.iter().enumerate() {
            let (least, most) = name.split_once('-').unwrap_or((name.trim_end_matches('+'), "960"));
            let (least, most): (f32, f32) = (least.parse().unwrap(), most.parse().unwrap());
            let canaries: Vec<Canary> = looks.iter().filter_map(|look| look[size]).collect();
            assert!(canaries.len() > 100, "{name}: {} have a place", canaries.len());
            assert!(canaries.iter().all(|c| (least..most).contains(&c.place.w)), "{name}");
        }
    }

    #[test]
    fn beyond_a_plain_face_fewer_are_masked_and_turned() {
        let drawn = |contrast| {
            let mut lot = Lot(7);
            let faces: Vec<Face> = (0..2000).map(|_| face(contrast, &mut lot)).collect();
            let masked = faces.iter().filter(|face| face.masked).count() / 20;
            (masked, faces.iter().map(|face| face.yaw.abs()).fold(0.0, f32::max))
        };
        for (contrast, masked, turned) in [
            (0.1, 48..53, 43.0..45.0),
            (1.0, 48..53, 43.0..45.0),
            (1.5, 28..33, 20.0..23.0),
            (2.0, 9..12, 0.0..0.1),
        ] {
            let (share, most) = drawn(contrast);
            assert!(
                masked.contains(&share) && turned.contains(&most),
                "{contrast}: {share}% {most}"
            );
        }
    }

    #[test]
    fn nothing_is_drawn_outside_of_a_canarys_body_and_bodies_are_apart() {
        for (x, y) in
            (-40..40).flat_map(|x| (-40..40).map(move |y| (x as f32 / 10.0, y as f32 / 10.0)))
        {
            let (_, shown) = Face { yaw: 20.0, masked: true, tone: 0.5 }.at(x, y);
            let inside = x.abs() <= BODY.0 && (-1.5..=BODY.1).contains(&y);
            assert!(inside || shown == 0.0, "{x} {y}");
        }
        // Shoulders are there, on both sides of the neck.
        for x in [-1.2, 0.0, 1.2] {
            assert!(Face { yaw: 0.0, masked: false, tone: 0.5 }.at(x, 2.5).1 > 0.0, "{x}");
        }
        let mut blind = Scripted::boxes(1, vec![]);
        for slot in 0..300 {
            let drawn = look(grey(), &frame(slot), &[], Contrasts::default(), &mut blind);
            let bodies: Vec<Detection> = drawn.iter().flatten().map(|c| body(&c.place)).collect();
            for (at, one) in bodies.iter().enumerate() {
                assert!(bodies[..at].iter().all(|other| other.overlap(one) == 0.0), "{slot}");
            }
        }
    }

    /// The strongest step from a pixel to the next, and how much the forehead's pixels differ.
    fn painted(lens: Lens) -> (f32, f32) {
        let mut copy = grey();
        let place = Detection { x: 100.0, y: 60.0, w: 84.0, h: 100.0, score: 1.0 };
        let face = Face { yaw: 0.0, masked: false, tone: 0.6 };
        paint(&mut copy, place, face, 1.0, lens, &mut Lot(7));
        let of = |x, y, w, h| {
            let norm = Norm { mean: 0.0, scale: 1.0 };
            let planes = copy.view().unwrap().planes(Window { x, y, w, h }, w, h, norm);
            planes[..w * h].to_vec()
        };
        let rows = of(90, 50, 110, 130);
        let steps =
            rows.chunks(110).flat_map(|row| row.windows(2)).map(|two| (two[1] - two[0]).abs());
        let forehead = of(134, 83, 16, 6);
        let mean = forehead.iter().sum::<f32>() / forehead.len() as f32;
        let spread =
            forehead.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / forehead.len() as f32;
        (steps.fold(0.0, f32::max), spread.sqrt())
    }

    #[test]
    fn a_canary_is_as_sharp_and_as_noisy_as_the_lens() {
        let lens = |blur, noise| painted(Lens { blur, noise });
        let (sharp, soft) = (lens(0.3, 0.0), lens(4.0, 0.0));
        assert!(sharp.0 > 3.0 * soft.0, "{sharp:?} {soft:?}");
        let (clean, noisy) = (lens(0.9, 0.0), lens(0.9, 6.0));
        assert!(clean.1 < 3.0 && (4.5..8.0).contains(&noisy.1), "{clean:?} {noisy:?}");
    }
}
