//! Owns what happens in the demonstration video: who walks where, and who wears a mask when.

use super::picture::{Canvas, Mask, Portrait, Sprite};

/// Size of the pictures.
pub(super) const WIDTH: usize = 1920;
pub(super) const HEIGHT: usize = 1080;
/// Pictures a second, and a key frame each second.
pub(super) const RATE: usize = 12;
/// Length in pictures: three acts of ten seconds.
pub(super) const FRAMES: usize = 3 * ACT;
const ACT: usize = 10 * RATE;

const BLUE: [u8; 3] = [142, 190, 222];
const WHITE: [u8; 3] = [232, 236, 238];
const BLACK: [u8; 3] = [38, 40, 46];

/// A person of the scene.
struct Role {
    /// Height of the face in pixels.
    face: f32,
    /// Middle of the walk, and how far it goes to either side, in pixels.
    middle: (i32, i32),
    reach: i32,
    /// Pictures for one way there and back.
    period: usize,
    colour: [u8; 3],
    /// Whether a mask is worn in each of the acts.
    masked: [bool; 3],
}

/// From far to near, as they are drawn: nobody's face is behind another person.
const ROLES: [Role; 6] = [
    Role {
        face: 42.0,
        middle: (960, 130),
        reach: 260,
        period: 310,
        colour: WHITE,
        masked: [false, true, true],
    },
    Role {
        face: 60.0,
        middle: (1500, 190),
        reach: 240,
        period: 250,
        colour: BLUE,
        masked: [false, true, false],
    },
    Role {
        face: 84.0,
        middle: (350, 270),
        reach: 180,
        period: 290,
        colour: BLACK,
        masked: [false, true, true],
    },
    Role {
        face: 120.0,
        middle: (1000, 400),
        reach: 120,
        period: 230,
        colour: BLUE,
        masked: [true, true, false],
    },
    Role {
        face: 180.0,
        middle: (500, 660),
        reach: 200,
        period: 340,
        colour: WHITE,
        masked: [false, true, false],
    },
    Role {
        face: 250.0,
        middle: (1480, 740),
        reach: 150,
        period: 370,
        colour: BLUE,
        masked: [false, false, true],
    },
];

/// A person in both looks.
struct Player {
    role: Role,
    bare: Sprite,
    masked: Sprite,
}

/// The scene, ready to be drawn.
pub(super) struct Scene {
    background: Canvas,
    players: Vec<Player>,
}

impl Scene {
    pub(super) fn new(portrait: &Portrait) -> Self {
        let player = |role: Role| Player {
            bare: portrait.person(role.face, Mask::None),
            masked: portrait.person(role.face, Mask::Of(role.colour)),
            role,
        };
        let players = ROLES.into_iter().map(player).collect();
        Self { background: Canvas::new(WIDTH, HEIGHT, wall), players }
    }

    /// Red, green and blue of one picture.
    pub(super) fn picture(&self, frame: usize) -> Vec<u8> {
        let mut canvas = self.background.clone();
        for player in &self.players {
            let worn = player.role.masked.get(frame / ACT).copied().unwrap_or(false);
            let look = if worn { &player.masked } else { &player.bare };
            canvas.lay(look, player.role.place(frame));
        }
        canvas.bytes
    }
}

impl Role {
    /// Where the middle of the face is: to and fro with an even step, a little up and down.
    fn place(&self, frame: usize) -> (i32, i32) {
        let half = self.period / 2;
        let at = frame % self.period;
        let away = if at < half { at } else { self.period - at };
        let number = |n: usize| i32::try_from(n).unwrap_or(0);
        let x = self.middle.0 - self.reach + 2 * self.reach * number(away) / number(half).max(1);
        let step = number(frame % RATE) - number(RATE / 2);
        (x, self.middle.1 + step.abs() / 2)
    }
}

/// A wall over a floor, with a grain that a camera would have.
fn wall(x: usize, y: usize) -> [u8; 3] {
    let shade = |base: usize, fall: usize| base.saturating_sub(y * fall / HEIGHT);
    let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)) >> 7 & 7;
    let panel = usize::from(x % 240 < 4) * 18;
    let [r, g, b] = if y < HEIGHT * 3 / 5 {
        [shade(186, 40), shade(190, 40), shade(196, 36)]
    } else {
        [shade(150, 60), shade(142, 60), shade(132, 60)]
    };
    [r, g, b].map(|part| u8::try_from(part + grain - panel.min(part)).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_differ_in_who_wears_a_mask_and_every_size_is_seen() {
        let worn = |act: usize| ROLES.iter().filter(|role| role.masked[act]).count();
        assert_eq!([worn(0), worn(1), worn(2)], [1, 5, 3]);
        let faces: Vec<f32> = ROLES.iter().map(|role| role.face).collect();
        assert!(faces.is_sorted() && faces[0] <= 45.0 && faces[5] >= 240.0);
    }

    #[test]
    fn no_face_leaves_the_picture_or_stands_behind_another_person() {
        for frame in 0..FRAMES {
            for (index, role) in ROLES.iter().enumerate() {
                let ((x, y), half) = (role.place(frame), role.face as i32 / 2);
                let (width, height) = (WIDTH as i32, HEIGHT as i32);
                assert!(x - half > 0 && x + half < width && y - half > 0 && y + half < height);
                for near in &ROLES[index + 1..] {
                    let (near_x, near_y) = near.place(frame);
                    // Hair reaches a face's height above its middle, shoulders 1.7 to the left.
                    let top = near_y - near.face as i32;
                    let beside = (x - near_x).abs() > (near.face * 1.8) as i32 + half;
                    let above_shoulders = y + half < near_y + (near.face * 0.6) as i32
                        && (x - near_x).abs() > (near.face * 0.7) as i32 + half;
                    assert!(
                        beside || above_shoulders || y + half < top,
                        "picture {frame}: the face of {} px is behind the one of {} px",
                        role.face,
                        near.face
                    );
                }
            }
        }
    }

    #[test]
    fn people_move() {
        let role = &ROLES[5];
        assert!((role.place(0).0 - role.place(60).0).abs() > 40);
    }
}
