//! Owns drawn masks for training: laid over bare faces, worn right or wrong. They need only look right through a grid of a
//! few cells. (Masked faces with drawn skin were tried too: they cost one to four points of F1 and went.)

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    augment::{Crop, normal},
    voc::Class,
};

/// A region of the face in shares of its box: from `top` to `bottom`, bent towards the sides, between `left` and `right`.
struct Patch {
    top: f32,
    bottom: f32,
    bend_top: f32,
    bend_bottom: f32,
    left: f32,
    right: f32,
    middle: f32,
}

impl Patch {
    fn covers(&self, u: f32, v: f32) -> bool {
        let side = (u - self.middle) * 2.0;
        let (top, bottom) =
            (self.top + self.bend_top * side * side, self.bottom - self.bend_bottom * side * side);
        (top..bottom).contains(&v) && (self.left..self.right).contains(&u)
    }
}

fn patch(
    tops: std::ops::Range<f32>,
    bottoms: std::ops::Range<f32>,
    random: &mut ChaCha8Rng,
) -> Patch {
    Patch {
        top: random.random_range(tops),
        bottom: random.random_range(bottoms),
        bend_top: random.random_range(0.0..0.16),
        bend_bottom: random.random_range(0.0..0.25),
        left: random.random_range(-0.08..0.12),
        right: random.random_range(0.88..1.08),
        middle: 0.5 + 0.08 * normal(random),
    }
}

/// A mask laid over a bare face: worn right, under the nose, on the chin, or over the mouth alone.
pub(crate) fn laid(crop: Crop, class: Class, random: &mut ChaCha8Rng) -> Crop {
    let patch = match class {
        Class::Incorrect => match random.random_range(0..10) {
            0..6 => patch(0.62..0.80, 0.94..1.12, random),
            6..9 => patch(0.80..0.96, 1.0..1.25, random),
            _ => patch(0.60..0.72, 0.82..0.92, random),
        },
        Class::Mask | Class::NoMask => patch(0.40..0.58, 0.92..1.12, random),
    };
    let base = cloth(random);
    let stripes = (random.random_bool(0.15), random.random_range(4.0..14.0), cloth(random));
    let light = (brightness(&crop) / 150.0).clamp(0.25, 1.25) * random.random_range(0.8..1.2);
    let (fall, round) = (0.25 * normal(random), random.random_range(0.0..0.5));
    painted(crop, &patch, |u, v, _| {
        let side = (u - 0.5) * 2.0;
        let shade = light * (1.0 - fall * (v - 0.7)) * (1.0 - round * side * side).max(0.2);
        let striped = stripes.0 && (v * stripes.1).rem_euclid(1.0) < 0.5;
        (if striped { stripes.2 } else { base }).map(|value| value * shade)
    })
}

/// Colours of masks as they are worn, roughly by how often.
fn cloth(random: &mut ChaCha8Rng) -> [f32; 3] {
    let base = match random.random_range(0..20) {
        0..6 => [165.0, 200.0, 222.0],
        6..9 => [225.0, 225.0, 225.0],
        9..13 => [38.0, 38.0, 42.0],
        13 => [215.0, 160.0, 175.0],
        14 => [110.0, 165.0, 140.0],
        15 => [50.0, 65.0, 110.0],
        16 => [130.0, 130.0, 135.0],
        17 => [185.0, 155.0, 125.0],
        _ => [0; 3].map(|_| random.random_range(20.0..235.0)),
    };
    base.map(|value| value + 14.0 * normal(random))
}

/// Mean luma of the face.
fn brightness(crop: &Crop) -> f32 {
    let (mut sum, mut n) = (0.0, 0.0);
    each(crop, |u, v, at| {
        if (0.1..0.9).contains(&u) && (0.1..0.6).contains(&v) {
            sum += luma(crop.still.pixel(at));
            n += 1.0;
        }
    });
    if n > 0.0 { sum / n } else { 128.0 }
}

fn luma([r, g, b]: [f32; 3]) -> f32 {
    r * 0.3 + g * 0.59 + b * 0.11
}

/// Calls `visit(u, v, position)` for each pixel near the face, with its place in shares of the box.
#[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
fn each(crop: &Crop, mut visit: impl FnMut(f32, f32, usize)) {
    for y in 0..crop.still.height {
        for x in 0..crop.still.width {
            let u = (x as f32 + 0.5 - crop.face.x) / crop.face.w;
            let v = (y as f32 + 0.5 - crop.face.y) / crop.face.h;
            visit(u, v, y * crop.still.width + x);
        }
    }
}

fn painted(mut crop: Crop, patch: &Patch, colour: impl Fn(f32, f32, usize) -> [f32; 3]) -> Crop {
    let mut covered = Vec::new();
    each(&crop, |u, v, at| {
        if patch.covers(u, v) {
            covered.push((at, colour(u, v, at)));
        }
    });
    for (at, colour) in covered {
        crop.still.set(at, colour);
    }
    crop
}

#[cfg(test)]
mod tests {
    use models::Detection;
    use rand::SeedableRng;

    use super::*;
    use crate::still::Still;

    fn crop(upper: f32, lower: f32) -> Crop {
        let (width, height) = (60, 80);
        let plane: Vec<f32> =
            (0..width * height).map(|at| if at / width < 40 { upper } else { lower }).collect();
        let planes = [plane.clone(), plane.clone(), plane].concat();
        let face = Detection { x: 10.0, y: 10.0, w: 40.0, h: 60.0, score: 1.0 };
        Crop { still: Still { width, height, planes }, face }
    }

    fn changed(before: &Crop, after: &Crop, v: f32) -> bool {
        let at = |u: f32| {
            let x = (before.face.x + u * before.face.w) as usize;
            let y = (before.face.y + v * before.face.h) as usize;
            y * before.still.width + x
        };
        before.still.pixel(at(0.5)) != after.still.pixel(at(0.5))
    }

    #[test]
    fn a_mask_worn_right_covers_the_mouth_and_leaves_the_eyes() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let (bare, masked) =
                (crop(150.0, 150.0), laid(crop(150.0, 150.0), Class::Mask, &mut random));
            assert!(changed(&bare, &masked, 0.75) && !changed(&bare, &masked, 0.3));
        }
    }

    #[test]
    fn a_mask_worn_wrong_leaves_the_nose() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..50 {
            let (bare, wrong) =
                (crop(150.0, 150.0), laid(crop(150.0, 150.0), Class::Incorrect, &mut random));
            assert!(!changed(&bare, &wrong, 0.56));
        }
    }
}
