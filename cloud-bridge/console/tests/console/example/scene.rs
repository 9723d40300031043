//! Owns generated street scenes: sky, houses, pavement and people out of rectangles, their faces already covered.

use proto::{manifest::Rect, result::FaceLabel};

use super::jpeg;

/// A picture of 1280x720 has this many blocks each way.
pub(crate) const COLUMNS: usize = 160;
pub(crate) const ROWS: usize = 90;

/// A small generator of numbers that look random and are the same in each run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn size(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap()
    }
}

/// A face and what is to be said of it.
#[derive(Clone, Copy)]
pub(crate) struct Face {
    pub(crate) rect: Rect,
    pub(crate) label: FaceLabel,
}

/// A picture and its faces.
pub(crate) struct Scene {
    pub(crate) jpeg: Vec<u8>,
    pub(crate) faces: Vec<Face>,
}

struct Canvas(Vec<[u8; 3]>);

impl Canvas {
    fn fill(&mut self, (x, y, w, h): (usize, usize, usize, usize), colour: [u8; 3]) {
        for row in y..(y + h).min(ROWS) {
            for column in x..(x + w).min(COLUMNS) {
                self.0[row * COLUMNS + column] = colour;
            }
        }
    }
}

/// A street with people; `people` of them.
pub(crate) fn street(seed: u64, people: u64) -> Scene {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut canvas = Canvas(vec![[0; 3]; COLUMNS * ROWS]);
    for row in 0..ROWS {
        let light = u8::try_from(row).unwrap();
        canvas.fill((0, row, COLUMNS, 1), [150 + light / 2, 176 + light / 3, 200 + light / 4]);
    }
    houses(&mut canvas);
    canvas.fill((0, 56, COLUMNS, 34), [138, 136, 132]);
    canvas.fill((0, 56, COLUMNS, 2), [112, 110, 108]);
    for stripe in 0..8 {
        canvas.fill((stripe * 22 + 4, 82, 12, 2), [196, 194, 186]);
    }
    let mut faces = Vec::new();
    for person in 0..people {
        let near = dice.size(3);
        let head = 4 + near * 2;
        let x = usize::try_from(person).unwrap() * (COLUMNS / usize::try_from(people).unwrap())
            + 2
            + dice.size(6);
        let y = 48 - near * 7 + dice.size(4);
        faces.push(figure(&mut canvas, &mut dice, (x, y, head)));
    }
    Scene { jpeg: jpeg::encode(COLUMNS, &canvas.0), faces }
}

fn houses(canvas: &mut Canvas) {
    let fronts =
        [[196, 170, 140], [176, 130, 110], [206, 196, 176], [150, 150, 160], [190, 150, 120]];
    for (index, front) in fronts.iter().enumerate() {
        let (x, top) = (index * 32, 10 + (index * 7) % 12);
        canvas.fill((x, top, 31, 56 - top), *front);
        for row in 0..4 {
            for column in 0..4 {
                canvas.fill((x + 3 + column * 7, top + 4 + row * 9, 4, 5), [92, 108, 124]);
            }
        }
    }
}

/// Body, and what covers the face.
fn figure(canvas: &mut Canvas, dice: &mut Dice, (x, y, head): (usize, usize, usize)) -> Face {
    let coats = [[70, 88, 120], [120, 70, 74], [64, 104, 84], [96, 92, 88], [150, 132, 80]];
    let coat = coats[dice.size(coats.len())];
    canvas.fill((x.saturating_sub(head / 2), y + head + 2, head * 2, head * 3), coat);
    canvas.fill((x, y + head * 4, head / 2, head * 2), [48, 52, 60]);
    canvas.fill((x + head / 2 + 1, y + head * 4, head / 2, head * 2), [48, 52, 60]);
    canvas.fill((x.saturating_sub(1), y.saturating_sub(2), head + 2, head + 4), [128, 128, 128]);
    let label = match dice.below(10) {
        0..=5 => FaceLabel::Mask,
        6..=7 => FaceLabel::NoMask,
        8 => FaceLabel::Incorrect,
        _ => FaceLabel::Uncertain,
    };
    let pixels = |blocks: usize| u32::try_from(blocks * 8).unwrap();
    let rect = Rect { x: pixels(x), y: pixels(y), w: pixels(head), h: pixels(head) };
    Face { rect, label }
}
