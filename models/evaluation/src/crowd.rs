//! Owns the attack that a crowd allows: noise is keyed by place and epoch and not by person, so that whoever passes a place has
//! the noise of all who passed it. What is the same in many of them is noise, and is taken off.

use anyhow::{Context, bail};
use models::{Detection, PixelView, pixels::Window};
use privacy::{Noise, RawFrame};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{
    attack::{Subject, Target},
    cells::moved,
    identity::Plan,
    leaving::Leaving,
    looks::{JITTER, LEARNED, Seen},
    people::{self, People, Photo},
    spread::spread,
    still::Still,
};

/// How often persons are named where others passed.
#[derive(Debug, Serialize)]
pub(crate) struct Crowd {
    /// How many others: one look at each, at the same place within the same epoch.
    others: usize,
    /// Rank-1 of one look.
    rank1: f64,
    interval: [f64; 2],
}

impl std::fmt::Display for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { others, rank1, interval: [low, high] } = self;
        write!(f, "where {others} others passed: rank-1 {rank1:.3} [{low:.3}, {high:.3}]")
    }
}

/// Where the middle of each face is put, across and down: the middle of a cell of the lattice that keys noise.
const PLACE: usize = 8 * 64 + 32;
/// Longest side of a face there: a larger one is made smaller.
const FACE_MAX: usize = 400;
/// What of a photo is kept around a face, as a part of its sides: boxes tremble by less.
const MARGIN: f32 = 0.1;

/// Names persons by one look at each, the mean of so many others at the same place taken off.
pub(crate) fn attacked(
    people: &People,
    subjects: &[Subject],
    leaving: Leaving<'_>,
    plan: &Plan,
    others: usize,
) -> anyhow::Result<Crowd> {
    let of = |person| people.photos.iter().filter(|photo| photo.person != person).count();
    let fewest = people.photos.iter().map(|photo| of(photo.person)).min().unwrap_or(0);
    if others == 0 || others > fewest {
        bail!("--crowd {others}: there are 1 to {fewest} photos of others");
    }
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    // What is learned from and what is probed never share a key; all photos share each.
    let keys: Vec<[u8; 32]> = (0..=LEARNED).map(|_| random.random()).collect();
    let looks = spread(people.photos.len(), |at| {
        let photo = people.photos.get(at).context("a photo")?;
        looks(photo, leaving, &keys, plan.seed.wrapping_add(at as u64))
    });
    let looks: Vec<Vec<Vec<f32>>> = looks.into_iter().collect::<anyhow::Result<_>>()?;
    let seen = people.photos.iter().enumerate().map(|(at, photo)| {
        let mut freed = (0..=LEARNED).map(|key| {
            let strangers = people.photos.iter().zip(&looks);
            let strangers = strangers.filter(|(other, _)| other.person != photo.person);
            let mut met: Vec<&Vec<f32>> = strangers.filter_map(|(_, l)| l.get(key)).collect();
            met.shuffle(&mut random);
            met.truncate(others);
            let own = looks.get(at).and_then(|looks| looks.get(key));
            own.map_or_else(Vec::new, |own| less(own, &met))
        });
        let probed = freed.next().unwrap_or_default();
        Seen { learned: vec![freed.collect()], probed: vec![probed] }
    });
    let target = Target { subjects, sources: vec![seen.collect()] };
    let outcome = plan.run(&target, 1, "a crowd");
    let interval = plan.interval(&outcome.hits(0), people);
    Ok(Crowd { others, rank1: outcome.rank1(0), interval })
}

/// One look at a photo under each key, its face where everybody's is.
fn looks(
    photo: &Photo,
    leaving: Leaving<'_>,
    keys: &[[u8; 32]],
    seed: u64,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let frame = people::open(&photo.path)?;
    let (frame, face) = placed(frame.view().context("an empty picture")?, photo.face)?;
    let look = |key: &[u8; 32]| {
        let found = moved(face, JITTER, &mut random);
        leaving.features(&frame, found, &Noise::new(*key, 0))
    };
    keys.iter().map(look).collect()
}

/// The face on a grey picture, its middle at [`PLACE`].
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "picture sides are under 2^16"
)]
fn placed(view: PixelView<'_>, face: Detection) -> anyhow::Result<(RawFrame, Detection)> {
    let window = Window {
        x: (face.x - MARGIN * face.w).max(0.0) as usize,
        y: (face.y - MARGIN * face.h).max(0.0) as usize,
        w: ((1.0 + 2.0 * MARGIN) * face.w).ceil() as usize,
        h: ((1.0 + 2.0 * MARGIN) * face.h).ceil() as usize,
    };
    let cut = Still::cut(view, window).context("a face outside its picture")?;
    let scale = (FACE_MAX as f32 / face.w.max(face.h)).min(1.0);
    let side = |pixels: usize| ((pixels as f32 * scale).round() as usize).max(1);
    let small = if scale < 1.0 { cut.reduced(side(cut.width), side(cut.height)) } else { cut };
    let (w, h) = (face.w * scale, face.h * scale);
    let (inside_x, inside_y) =
        ((face.x - window.x as f32) * scale, (face.y - window.y as f32) * scale);
    let left = (PLACE as f32 - w / 2.0 - inside_x).round().max(0.0) as usize;
    let top = (PLACE as f32 - h / 2.0 - inside_y).round().max(0.0) as usize;
    let side = 2 * PLACE;
    let mut canvas = Still { width: side, height: side, planes: vec![128.0; 3 * side * side] };
    for at in 0..small.width * small.height {
        let (x, y) = (left + at % small.width, top + at / small.width);
        if x < side && y < side {
            canvas.set(y * side + x, small.pixel(at));
        }
    }
    let (x, y) = (left as f32 + inside_x, top as f32 + inside_y);
    Ok((canvas.frame()?, Detection { x, y, w, h, score: face.score }))
}

/// A look without what the others have in common, around one half.
#[expect(clippy::cast_precision_loss, reason = "a few thousand looks")]
fn less(own: &[f32], others: &[&Vec<f32>]) -> Vec<f32> {
    let n = others.len().max(1) as f32;
    let common = |at: usize| others.iter().filter_map(|look| look.get(at)).sum::<f32>() / n;
    own.iter().enumerate().map(|(at, value)| value - common(at) + 0.5).collect()
}

#[cfg(test)]
mod tests {
    use privacy::Policy;

    use super::*;

    /// A plain photo with a face at some place of it.
    fn photo(level: f32, x: f32) -> (RawFrame, Detection) {
        let still = Still { width: 300, height: 200, planes: vec![level; 3 * 300 * 200] };
        (still.frame().unwrap(), Detection { x, y: 60.0, w: 60.0, h: 80.0, score: 0.9 })
    }

    #[test]
    fn faces_of_one_place_have_one_noise_and_taking_it_off_leaves_the_face() {
        let policy = Policy::trial((4, 1), 24, 1);
        let look = |level: f32, x: f32| {
            let (frame, face) = photo(level, x);
            let (frame, face) = placed(frame.view().unwrap(), face).unwrap();
            Leaving::Cells(&policy).features(&frame, face, &Noise::new([7; 32], 0)).unwrap()
        };
        let (one, other) = (look(100.0, 30.0), look(120.0, 200.0));
        let noisy = one.iter().map(|value| (value - 100.0 / 255.0).abs()).fold(0.0, f32::max);
        assert!(noisy > 0.03, "{one:?}");
        let left = less(&one, &[&other]);
        let expected = 0.5 - 20.0 / 255.0;
        assert!(left.iter().all(|value| (value - expected).abs() < 0.006), "{left:?}");
    }
}
