//! Owns a JPEG encoder for generated pictures: each 8x8 block one flat colour, so that only DC coefficients are
//! written. A baseline JPEG that every viewer opens, and no picture of anybody.

/// Lengths of the standard DC codes for categories 0 to 11, and the codes.
const DC_CODES: [(u32, u32); 12] = [
    (0b00, 2),
    (0b010, 3),
    (0b011, 3),
    (0b100, 3),
    (0b101, 3),
    (0b110, 3),
    (0b1110, 4),
    (0b1_1110, 5),
    (0b11_1110, 6),
    (0b111_1110, 7),
    (0b1111_1110, 8),
    (0b1_1111_1110, 9),
];

/// Encodes blocks of colour, row by row; the picture has eight times as many pixels each way.
pub(crate) fn encode(columns: usize, blocks: &[[u8; 3]]) -> Vec<u8> {
    let (width, height) = (columns * 8, blocks.len() / columns * 8);
    let mut bytes = vec![0xFF, 0xD8];
    // One quantisation table of eights: a DC coefficient is then the mean itself.
    bytes.extend([0xFF, 0xDB, 0, 67, 0]);
    bytes.extend([8; 64]);
    bytes.extend([0xFF, 0xC0, 0, 17, 8]);
    bytes.extend(u16::try_from(height).unwrap().to_be_bytes());
    bytes.extend(u16::try_from(width).unwrap().to_be_bytes());
    bytes.extend([3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    bytes.extend([0xFF, 0xC4, 0, 31, 0x00, 0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(0..12);
    // The only AC code is the end of the block.
    bytes.extend([0xFF, 0xC4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    let mut bits = Bits { bytes, held: 0, count: 0 };
    let mut before = [0i32; 3];
    for block in blocks {
        for (before, value) in before.iter_mut().zip(ycc(*block)) {
            bits.difference(value - *before);
            *before = value;
        }
    }
    bits.finish()
}

/// Luma and chroma around zero.
fn ycc([r, g, b]: [u8; 3]) -> [i32; 3] {
    let [r, g, b] = [r, g, b].map(i32::from);
    let y = (299 * r + 587 * g + 114 * b) / 1000 - 128;
    let cb = (-169 * r - 331 * g + 500 * b) / 1000;
    let cr = (500 * r - 419 * g - 81 * b) / 1000;
    [y, cb, cr]
}

struct Bits {
    bytes: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    fn difference(&mut self, difference: i32) {
        let category = 32 - difference.unsigned_abs().leading_zeros();
        let (code, length) = DC_CODES[category as usize];
        self.push(code, length);
        let value = if difference < 0 { difference - 1 } else { difference };
        self.push(value.cast_unsigned() & ((1 << category) - 1), category);
        self.push(0, 1);
    }

    fn push(&mut self, value: u32, length: u32) {
        self.held = (self.held << length) | value;
        self.count += length;
        while self.count >= 8 {
            self.count -= 8;
            let byte = u8::try_from((self.held >> self.count) & 0xFF).unwrap();
            self.bytes.push(byte);
            if byte == 0xFF {
                self.bytes.push(0);
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.push(0x7F, 7);
        self.bytes.extend([0xFF, 0xD9]);
        self.bytes
    }
}
