//! Owns what of a cell's mean is released: noise added, clipped, and only then rounded to few levels, so that what one pixel
//! can change is what the noise was made for. Integers throughout, in parts of a grey level.

use crate::{
    Policy,
    noise::{NoiseStream, PARTS},
    policy::Colour,
};

/// Sums of red, green, blue over the pixels of each cell, row by row, and how many pixels they are.
pub(crate) type Sums = [([u64; 3], u64)];

/// A cell whose every pixel belongs to an earlier face says nothing of this one: middle grey.
const UNKNOWN: i64 = 128;
/// The highest grey level.
const TOP: i64 = 255;

/// Red, green, blue of each cell as the manifest will have them.
pub(crate) fn released(
    sums: &Sums,
    (rows, cols): (u8, u8),
    policy: &Policy,
    stream: &mut NoiseStream,
) -> Vec<u8> {
    let middle = if policy.centred { means(whole(sums.iter())) } else { [UNKNOWN * PARTS; 3] };
    match policy.colour {
        None => {
            let each = sums.iter().flat_map(|cell| about(*cell, middle));
            each.map(|mean| byte(level(mean, policy.quantum, policy.noise_scale, stream))).collect()
        }
        Some(colour) => apart(sums, (rows, cols), middle, policy, colour, stream),
    }
}

/// Brightness and colour released apart: brightness of blocks of cells, since it tells people apart, and colour of blocks
/// of their own or of each cell, since it tells masks.
fn apart(
    sums: &Sums,
    grid: (u8, u8),
    middle: [i64; 3],
    policy: &Policy,
    colour: Colour,
    stream: &mut NoiseStream,
) -> Vec<u8> {
    let (bright, coloured) = (Blocks { grid, of: colour.luma }, colour.chroma.unwrap_or(grid));
    let coloured = Blocks { grid, of: coloured };
    let brightness = bright.sums(sums).into_iter().map(|block| {
        let [r, g, b] = about(block, middle);
        level((77 * r + 150 * g + 29 * b) >> 8, policy.quantum, policy.noise_scale, stream)
    });
    let brightness: Vec<i64> = brightness.collect();
    let differences = coloured.sums(sums).into_iter().map(|block| {
        let [r, g, b] = about(block, middle);
        let blue = UNKNOWN * PARTS + ((128 * b - 43 * r - 85 * g) >> 8);
        let red = UNKNOWN * PARTS + ((128 * r - 107 * g - 21 * b) >> 8);
        [blue, red].map(|mean| level(mean, colour.quantum, colour.noise_scale, stream) - UNKNOWN)
    });
    let differences: Vec<[i64; 2]> = differences.collect();
    let cells = (0..sums.len()).flat_map(|cell| {
        let y = brightness.get(bright.at(cell)).copied().unwrap_or(UNKNOWN);
        let [blue, red] = differences.get(coloured.at(cell)).copied().unwrap_or_default();
        [y + ((359 * red) >> 8), y - ((88 * blue + 183 * red) >> 8), y + ((454 * blue) >> 8)]
            .map(byte)
    });
    cells.collect()
}

/// Blocks of the cells of a grid, each as rows and columns.
struct Blocks {
    grid: (u8, u8),
    of: (u8, u8),
}

impl Blocks {
    /// The block of a cell.
    fn at(&self, cell: usize) -> usize {
        let [rows, cols, high, wide] =
            [self.grid.0, self.grid.1, self.of.0, self.of.1].map(|side| usize::from(side.max(1)));
        (cell / cols * high / rows) * wide + cell % cols * wide / cols
    }

    /// Sums and pixels of each block.
    fn sums(&self, cells: &Sums) -> Vec<([u64; 3], u64)> {
        let count = usize::from(self.of.0.max(1)) * usize::from(self.of.1.max(1));
        let mut blocks = vec![([0u64; 3], 0u64); count];
        for (cell, (sum, n)) in cells.iter().enumerate() {
            if let Some((total, pixels)) = blocks.get_mut(self.at(cell)) {
                total.iter_mut().zip(sum).for_each(|(total, sum)| *total += sum);
                *pixels += n;
            }
        }
        blocks
    }
}

/// All pixels together.
fn whole<'a>(cells: impl Iterator<Item = &'a ([u64; 3], u64)>) -> ([u64; 3], u64) {
    cells.fold(([0; 3], 0), |([r, g, b], n), ([red, green, blue], pixels)| {
        ([r + red, g + green, b + blue], n + pixels)
    })
}

/// Means of some pixels as they differ from the middle, around middle grey.
fn about((sum, n): ([u64; 3], u64), middle: [i64; 3]) -> [i64; 3] {
    let mut values = means((sum, n));
    if n > 0 {
        let pairs = values.iter_mut().zip(middle);
        pairs.for_each(|(value, middle)| {
            *value = (*value - middle + UNKNOWN * PARTS).clamp(0, TOP * PARTS);
        });
    }
    values
}

/// In parts of a grey level.
fn means((sum, n): ([u64; 3], u64)) -> [i64; 3] {
    sum.map(|total| {
        let mean = (total * PARTS.unsigned_abs()).checked_div(n);
        mean.and_then(|mean| i64::try_from(mean).ok()).unwrap_or(UNKNOWN * PARTS)
    })
}

/// A mean and noise as the middle of its step of `quantum` levels.
fn level(mean: i64, quantum: u8, scale: u8, stream: &mut NoiseStream) -> i64 {
    let quantum = i64::from(quantum.max(1));
    let noisy = (mean + stream.laplace(scale)).clamp(0, TOP * PARTS) / PARTS;
    (noisy / quantum * quantum + quantum / 2).min(TOP)
}

fn byte(value: i64) -> u8 {
    u8::try_from(value.clamp(0, TOP)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use proto::{Digest, manifest::Rect};

    use super::*;
    use crate::{Noise, noise::Place};

    const PLACE: Rect = Rect { x: 0, y: 0, w: 8, h: 8 };

    fn stream() -> NoiseStream {
        Noise::new([1; 32], 0).stream(&Digest::of(b"policy"), Place::beside(&[], PLACE))
    }

    fn quiet(luma: (u8, u8)) -> Policy {
        Policy::trial((4, 2), 0, 1).with_colour(luma, 0, 1)
    }

    fn sums(colours: &[[u64; 3]]) -> Vec<([u64; 3], u64)> {
        colours.iter().map(|colour| (colour.map(|v| v * 10), 10)).collect()
    }

    #[test]
    fn brightness_and_colour_without_noise_give_the_means_back() {
        let colours = [[200, 150, 120], [30, 40, 60], [128, 128, 128], [90, 160, 220]];
        let sums = sums(&[colours, colours].concat());
        let cells = released(&sums, (4, 2), &quiet((4, 2)), &mut stream());
        for (cell, colour) in cells.chunks(3).zip(colours.iter().chain(&colours)) {
            for (value, mean) in cell.iter().zip(colour) {
                assert!(u64::from(*value).abs_diff(*mean) <= 3, "{cell:?} {colour:?}");
            }
        }
    }

    #[test]
    fn cells_of_one_block_share_their_brightness_and_keep_their_colour() {
        let colours = [[200, 150, 120], [100, 110, 130]];
        let sums = sums(&[colours, colours, colours, colours].concat());
        let cells = released(&sums, (4, 2), &quiet((2, 1)), &mut stream());
        let luma = |cell: &[u8]| {
            (77 * i32::from(cell[0]) + 150 * i32::from(cell[1]) + 29 * i32::from(cell[2])) >> 8
        };
        let (left, right) = (&cells[..3], &cells[3..6]);
        assert!((luma(left) - luma(right)).abs() <= 3, "{left:?} {right:?}");
        assert!(left[0] > left[2] && right[0] < right[2], "{left:?} {right:?}");
    }

    #[test]
    fn cells_of_one_block_share_their_colour_and_keep_their_brightness() {
        let colours = [[200, 150, 120], [100, 110, 130]];
        let sums = sums(&[colours, colours, colours, colours].concat());
        let policy = quiet((4, 2)).with_colour_in((4, 1));
        let cells = released(&sums, (4, 2), &policy, &mut stream());
        let (left, right) = (&cells[..3], &cells[3..6]);
        let tint = |cell: &[u8]| (i32::from(cell[0]) - i32::from(cell[2]), cell[1]);
        assert!((tint(left).0 - tint(right).0).abs() <= 3, "{left:?} {right:?}");
        assert!(tint(left).1 > tint(right).1 + 20, "{left:?} {right:?}");
    }

    #[test]
    fn a_cell_without_pixels_is_grey() {
        let cells = released(&[([0; 3], 0); 8], (4, 2), &quiet((4, 2)), &mut stream());
        assert!(cells.iter().all(|value| value.abs_diff(128) <= 2), "{cells:?}");
    }

    /// What one pixel adds to a cell of a thousand is far below a step, and is drowned in noise before the step is taken.
    #[test]
    fn noise_comes_before_steps() {
        let policy = Policy::trial((4, 2), 0, 8);
        let below = released(&[([7_999; 3], 1000); 8], (4, 2), &policy, &mut stream());
        let above = released(&[([8_000; 3], 1000); 8], (4, 2), &policy, &mut stream());
        assert_ne!(below, above, "a step between them");
        let noisy = Policy::trial((4, 2), 16, 8);
        let mut differing = 0;
        for key in 0..200 {
            let stream = || {
                let place = Place::beside(&[], PLACE);
                Noise::new([key; 32], 0).stream(&Digest::of(b"policy"), place)
            };
            let of = |sum| released(&[([sum; 3], 1000); 8], (4, 2), &noisy, &mut stream());
            differing += of(7_999).iter().zip(of(8_000)).filter(|(a, b)| *a != b).count();
        }
        // Of 4,800 values: a step is 2,048 parts long, and one pixel moved its mean by one.
        assert!(differing <= 20, "{differing}");
    }

    #[test]
    fn centred_cells_say_nothing_of_light_and_skin() {
        let dark = [[40, 50, 60], [20, 30, 40], [40, 50, 60], [20, 30, 40]];
        let light = dark.map(|colour| [colour[0] + 100, colour[1] + 80, colour[2] + 60]);
        let policies =
            [Policy::trial((4, 2), 4, 1), Policy::trial((4, 2), 4, 1).with_colour((2, 1), 3, 1)];
        for policy in policies {
            let of = |colours: [[u64; 3]; 4], policy: &Policy| {
                released(&sums(&[colours, colours].concat()), (4, 2), policy, &mut stream())
            };
            assert_ne!(of(dark, &policy), of(light, &policy));
            let centred = policy.centred();
            assert_eq!(of(dark, &centred), of(light, &centred));
        }
    }
}
