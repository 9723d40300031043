//! Owns the pixels of the demonstration video: a portrait, a person cut out of it in some size, and a canvas.

/// Side of the square portrait in pixels.
pub(super) const PORTRAIT_SIDE: usize = 512;
/// The middle of the face in the portrait.
pub(super) const FACE: (f32, f32) = (225.0, 126.0);
/// Height of the face in the portrait in pixels, from hairline to chin.
pub(super) const FACE_HEIGHT: f32 = 120.0;

/// A place in the portrait.
type Point = (f32, f32);

/// Outline of the person in the portrait.
const PERSON: [Point; 28] = [
    (152.0, 92.0),
    (154.0, 62.0),
    (172.0, 36.0),
    (198.0, 18.0),
    (230.0, 13.0),
    (264.0, 22.0),
    (290.0, 44.0),
    (302.0, 76.0),
    (297.0, 106.0),
    (277.0, 128.0),
    (266.0, 152.0),
    (254.0, 176.0),
    (256.0, 186.0),
    (284.0, 198.0),
    (304.0, 224.0),
    (306.0, 246.0),
    (334.0, 262.0),
    (352.0, 296.0),
    (364.0, 360.0),
    (364.0, 511.0),
    (22.0, 511.0),
    (28.0, 420.0),
    (44.0, 300.0),
    (70.0, 254.0),
    (112.0, 214.0),
    (126.0, 166.0),
    (180.0, 150.0),
    (170.0, 118.0),
];

/// Outline of a mask: from the bridge of the nose to below the chin.
const MASK: [Point; 12] = [
    (224.0, 107.0),
    (240.0, 113.0),
    (268.0, 122.0),
    (267.0, 146.0),
    (258.0, 170.0),
    (244.0, 186.0),
    (226.0, 193.0),
    (208.0, 187.0),
    (194.0, 172.0),
    (186.0, 148.0),
    (183.0, 122.0),
    (208.0, 113.0),
];

/// Pieces of a pixel's side that are looked at, so that edges are smooth.
const PIECES: [f32; 3] = [1.0 / 6.0, 0.5, 5.0 / 6.0];

/// A portrait, three bytes a pixel.
pub(super) struct Portrait(Vec<u8>);

/// A person in some size: red, green, blue, opacity.
pub(super) struct Sprite {
    width: usize,
    pixels: Vec<[u8; 4]>,
    /// Where the middle of the face lies in it.
    face: (i32, i32),
}

/// A picture, three bytes a pixel.
#[derive(Clone)]
pub(super) struct Canvas {
    width: usize,
    pub(super) bytes: Vec<u8>,
}

/// What a person wears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mask {
    /// Nothing.
    None,
    /// A mask of this colour.
    Of([u8; 3]),
}

impl Portrait {
    /// Nothing when these are not the bytes of a portrait.
    pub(super) fn new(rgb: Vec<u8>) -> Option<Self> {
        (rgb.len() == PORTRAIT_SIDE * PORTRAIT_SIDE * 3).then_some(Self(rgb))
    }

    fn at(&self, x: usize, y: usize) -> [f32; 3] {
        let last = PORTRAIT_SIDE - 1;
        let start = (y.min(last) * PORTRAIT_SIDE + x.min(last)) * 3;
        let pixel = self.0.get(start..start + 3).and_then(|bytes| <[u8; 3]>::try_from(bytes).ok());
        pixel.unwrap_or_default().map(f32::from)
    }

    /// The colour at a place between pixels.
    fn between(&self, (x, y): Point) -> [f32; 3] {
        let (x, y) = (x.max(0.0), y.max(0.0));
        let (left, top) = (whole(x), whole(y));
        let (right_share, bottom_share) = (x.fract(), y.fract());
        let mix = |a: [f32; 3], b: [f32; 3], share: f32| {
            let mut mixed = a;
            mixed.iter_mut().zip(b).for_each(|(a, b)| *a += (b - *a) * share);
            mixed
        };
        let upper = mix(self.at(left, top), self.at(left + 1, top), right_share);
        let lower = mix(self.at(left, top + 1), self.at(left + 1, top + 1), right_share);
        mix(upper, lower, bottom_share)
    }

    /// The person with a face of this height in pixels.
    pub(super) fn person(&self, face_height: f32, mask: Mask) -> Sprite {
        let scale = face_height / FACE_HEIGHT;
        let side = whole(PORTRAIT_SIDE as f32 * scale);
        let mut pixels = Vec::with_capacity(side * side);
        for y in 0..side {
            for x in 0..side {
                pixels.push(self.piece((x as f32, y as f32), scale, mask));
            }
        }
        let place = |at: f32| (at * scale) as i32;
        Sprite { width: side, pixels, face: (place(FACE.0), place(FACE.1)) }
    }

    /// One pixel of a person: the mean of its pieces.
    fn piece(&self, (x, y): Point, scale: f32, mask: Mask) -> [u8; 4] {
        let (mut sum, mut inside) = ([0.0f32; 3], 0.0f32);
        for (dx, dy) in PIECES.iter().flat_map(|dx| PIECES.iter().map(move |dy| (dx, dy))) {
            let at = ((x + dx) / scale, (y + dy) / scale);
            if !contains(&PERSON, at) {
                continue;
            }
            let colour = match mask {
                Mask::Of(colour) if contains(&MASK, at) => cloth(colour, at),
                Mask::Of(_) | Mask::None => self.between(at),
            };
            sum.iter_mut().zip(colour).for_each(|(sum, part)| *sum += part);
            inside += 1.0;
        }
        let [r, g, b] = sum.map(|sum| (sum / inside.max(1.0)) as u8);
        let all = (PIECES.len() * PIECES.len()) as f32;
        [r, g, b, (inside / all * 255.0) as u8]
    }
}

/// The colour of a mask at a place: three folds, darker towards the sides.
fn cloth(colour: [u8; 3], (x, y): Point) -> [f32; 3] {
    let fold = if ((y - 128.0) / 14.0).fract().abs() < 0.16 && (126.0..172.0).contains(&y) {
        0.86
    } else {
        1.0
    };
    let side = 1.0 - ((x - FACE.0) / 110.0).powi(2);
    colour.map(|part| f32::from(part) * fold * side)
}

/// Whether a place lies inside an outline.
fn contains(outline: &[Point], (x, y): Point) -> bool {
    let ends = outline.iter().zip(outline.iter().cycle().skip(1));
    let crossings = ends.filter(|((ax, ay), (bx, by))| {
        (*ay > y) != (*by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax
    });
    crossings.count() % 2 == 1
}

/// The whole part of a number that is not negative.
fn whole(number: f32) -> usize {
    number.max(0.0) as usize
}

impl Canvas {
    /// A picture of one colour a place.
    pub(super) fn new(
        width: usize,
        height: usize,
        colour: impl Fn(usize, usize) -> [u8; 3],
    ) -> Self {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Self { width, bytes: places.flat_map(|(x, y)| colour(x, y)).collect() }
    }

    /// Lays a person over the picture with the middle of the face here; what is outside is cut off.
    pub(super) fn lay(&mut self, sprite: &Sprite, (x, y): (i32, i32)) {
        let (left, top) = (x - sprite.face.0, y - sprite.face.1);
        let rows = self.bytes.chunks_exact_mut(self.width * 3);
        let (skipped, above) = (usize::try_from(top).unwrap_or(0), whole(-top as f32));
        let pairs = rows.skip(skipped).zip(sprite.pixels.chunks_exact(sprite.width).skip(above));
        let (start, before) = (usize::try_from(left).unwrap_or(0), whole(-left as f32));
        for (row, line) in pairs {
            let row = row.as_chunks_mut::<3>().0.iter_mut().skip(start);
            for (pixel, [r, g, b, opacity]) in row.zip(line.iter().skip(before)) {
                let mix = |under: u8, over: u8| {
                    let (under, over, share) =
                        (u32::from(under), u32::from(over), u32::from(*opacity));
                    ((under * (255 - share) + over * share) / 255) as u8
                };
                let [red, green, blue] = *pixel;
                *pixel = [mix(red, *r), mix(green, *g), mix(blue, *b)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey() -> Portrait {
        Portrait::new(vec![90; PORTRAIT_SIDE * PORTRAIT_SIDE * 3]).unwrap()
    }

    #[test]
    fn a_mask_covers_nose_to_chin_and_leaves_the_eyes() {
        let blue = [100, 150, 200];
        let person = grey().person(FACE_HEIGHT, Mask::Of(blue));
        let at = |x: usize, y: usize| person.pixels[y * person.width + x];
        for (x, y) in [(224, 125), (226, 150), (224, 180), (200, 140), (250, 140)] {
            assert!(at(x, y)[2] > at(x, y)[0] + 20, "no mask at {x},{y}: {:?}", at(x, y));
        }
        for (x, y) in [(200, 98), (248, 98), (225, 60), (225, 230)] {
            assert_eq!(at(x, y), [90, 90, 90, 255], "at {x},{y}");
        }
        assert_eq!(at(5, 5)[3], 0, "the background of the portrait came with the person");
    }

    #[test]
    fn a_person_at_the_border_is_cut_off() {
        let person = grey().person(60.0, Mask::None);
        for place in [(0, 0), (99, 99), (-500, 50), (50, -500), (700, 700)] {
            let mut canvas = Canvas::new(100, 100, |_, _| [7, 7, 7]);
            canvas.lay(&person, place);
            assert_eq!(canvas.bytes.len(), 30_000);
        }
        let mut canvas = Canvas::new(100, 100, |_, _| [7, 7, 7]);
        canvas.lay(&person, (50, 50));
        let middle = (50 * 100 + 50) * 3;
        assert_eq!(canvas.bytes[middle..middle + 3], [90, 90, 90]);
        assert_eq!(canvas.bytes[..3], [7, 7, 7]);
    }
}
