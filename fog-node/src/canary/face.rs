//! Owns the drawing of a face out of shapes: no photo of anybody, no person's likeness. Coordinates run from -1 to 1 over
//! the face's box, across and down.

/// How a drawn face looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Face {
    /// How far it is turned, in degrees; positive to the right.
    pub yaw: f32,
    /// Whether it wears a mask.
    pub masked: bool,
    /// Brightness of the skin, 0 to 1.
    pub tone: f32,
}

type Colour = [f32; 3];

/// How far shoulders reach to each side and down from the middle of the face, in halves of its box.
pub(super) const BODY: (f32, f32) = (2.1, 2.8);
/// Where they begin, and what covers them.
const COLLAR: f32 = 1.25;
const COAT: Colour = [60.0, 64.0, 84.0];

/// The head is this much narrower than its box is high.
const HEAD: (f32, f32) = (0.92, 1.05);

impl Face {
    /// Red, green, blue (0 to 255) and opacity (0 to 1) at a place.
    #[must_use]
    pub fn at(&self, x: f32, y: f32) -> (Colour, f32) {
        let outside = (x / HEAD.0).powi(2) + (y / HEAD.1).powi(2);
        if outside > 1.0 {
            return self.around(x, y);
        }
        // Features move with the turn and crowd on the far side.
        let turn = self.yaw.to_radians().sin();
        let x = (x - 0.55 * turn * (1.0 - outside * 0.5)) / (1.0 - 0.25 * turn.abs());
        let skin = self.skin(x, y, turn);
        let (eye_x, side) = ((x.abs() - 0.37).abs(), (x.abs() - 0.37));
        let colour = if y < -0.62 - 0.12 * x.abs() {
            self.hair()
        } else if self.masked && self.under_mask(x, y) {
            cloth(x, y)
        } else if ellipse(eye_x, y + 0.14, 0.11, 0.09) {
            [28.0, 22.0, 20.0]
        } else if ellipse(side, y + 0.14, 0.20, 0.09) {
            [172.0, 164.0, 158.0]
        } else if ellipse(side, y + 0.33 + 0.1 * side, 0.25, 0.055) {
            self.hair()
        } else if ellipse(side, y + 0.14, 0.27, 0.17) {
            skin.map(|v| v * 0.6)
        } else if ellipse(x.abs() - 0.10, y - 0.28, 0.055, 0.04) {
            skin.map(|v| v * 0.45)
        } else if ellipse(x - 0.05 * turn, y - 0.1, 0.07, 0.3) {
            skin.map(|v| (v * 1.1).min(255.0))
        } else if ellipse(x, y - 0.56, 0.3, 0.035) {
            skin.map(|v| v * 0.35)
        } else if ellipse(x, y - 0.57, 0.32, 0.095) {
            let [r, g, b] = skin;
            [r * 0.85, g * 0.6, b * 0.62]
        } else if ellipse(x, y - 0.76, 0.22, 0.05) {
            skin.map(|v| v * 0.85)
        } else {
            skin
        };
        (colour, 1.0)
    }

    /// Hair above the head, neck and shoulders below it; nothing elsewhere. Without shoulders small masked faces are hardly
    /// found, however plain they are.
    fn around(&self, x: f32, y: f32) -> (Colour, f32) {
        let hair = (x / 1.02).powi(2) + ((y + 0.18) / 1.08).powi(2) < 1.0 && y < 0.1;
        if hair {
            return (self.hair(), 1.0);
        }
        if ellipse(x, y - BODY.1, BODY.0, BODY.1 - COLLAR) && y < BODY.1 {
            return (COAT, 1.0);
        }
        if x.abs() < 0.5 && (0.6..1.5).contains(&y) {
            return (self.skin(x, 0.9, 0.0).map(|v| v * 0.7), 1.0);
        }
        ([0.0; 3], 0.0)
    }

    fn skin(&self, x: f32, y: f32, turn: f32) -> Colour {
        // Light from above and from the side that looks at us.
        let light = 1.0 - 0.28 * (x + 0.8 * turn).powi(2) - 0.12 * y.max(0.0);
        let bright = 110.0 + 115.0 * self.tone;
        [bright * light, bright * 0.78 * light, bright * 0.66 * light]
    }

    fn hair(&self) -> Colour {
        [24.0 + 30.0 * self.tone, 20.0 + 22.0 * self.tone, 18.0 + 16.0 * self.tone]
    }

    fn under_mask(&self, x: f32, y: f32) -> bool {
        // From the bridge of the nose, lower at the cheeks, down to the chin.
        y > 0.08 + 0.22 * x.abs() && y < 0.98
    }
}

fn ellipse(x: f32, y: f32, wide: f32, high: f32) -> bool {
    (x / wide).powi(2) + (y / high).powi(2) < 1.0
}

/// Three folds, darker towards the sides.
fn cloth(x: f32, y: f32) -> Colour {
    let fold = if ((y - 0.2) / 0.22).fract().abs() < 0.18 { 0.85 } else { 1.0 };
    let shade = 1.0 - 0.45 * x * x - 0.5 * (y - 0.35).max(0.0);
    [112.0, 142.0, 164.0].map(|v: f32| v * fold * shade)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACE: Face = Face { yaw: 0.0, masked: false, tone: 0.6 };

    fn grey(face: Face, x: f32, y: f32) -> f32 {
        face.at(x, y).0.iter().sum::<f32>() / 3.0
    }

    #[test]
    fn eyes_are_darker_than_the_skin_and_a_mask_covers_nose_to_chin() {
        assert!(grey(FACE, 0.37, -0.14) < grey(FACE, 0.0, -0.4) / 2.0);
        let masked = Face { masked: true, ..FACE };
        for y in [0.2, 0.56, 0.9] {
            let ([red, _, blue], _) = masked.at(0.0, y);
            assert!(blue > red, "no mask at {y}");
        }
        assert_eq!(masked.at(0.37, -0.14), FACE.at(0.37, -0.14), "a mask over the eyes");
    }

    #[test]
    fn a_turned_face_has_its_eyes_on_that_side_and_corners_are_bare() {
        let eyes = |yaw: f32| {
            let dark = (-90..90).map(|x| x as f32 / 100.0);
            let dark = dark.filter(|x| grey(Face { yaw, ..FACE }, *x, -0.14) < 60.0);
            let dark: Vec<f32> = dark.collect();
            dark.iter().sum::<f32>() / dark.len() as f32
        };
        assert!(eyes(45.0) > 0.15 && eyes(-45.0) < -0.15 && eyes(0.0).abs() < 0.05);
        assert!(FACE.at(-0.99, 0.99).1 < 0.5);
    }
}
