//! Test of what several looks within an epoch tell an attacker more than one: nothing.

use models::Detection;
use vision::{Area, Picture};

use super::Seen;
use crate::{Noise, Policy, redact::covered};

const SEED: u64 = 20_261_124;
const PEOPLE: usize = 20;
const EPOCHS: usize = 10;
const LOOKS: u32 = 16;
/// A head of 8 by 2 patches, each of its own colour, walks from here four pixels a look, over the border at 128 of the
/// lattice of places; the detector's box lies two pixels inside it.
const FACE: Detection = Detection { x: 74.0, y: 42.0, w: 44.0, h: 60.0, score: 0.9 };
const STEP: u32 = 4;

struct Random(u64);

impl Random {
    /// From 0 to `below`, by xorshift.
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// Somebody whose patches differ by up to `contrast` grey levels.
    fn person(&mut self, contrast: u64) -> Person {
        let mut level = || u8::try_from(100 + self.next(contrast)).unwrap();
        Person([[0; 3]; 16].map(|_| [0; 3].map(|_: u8| level())))
    }

    /// One look: the head trembles by a pixel in its cells, and the box by a pixel around it.
    fn look(&mut self, person: &Person, number: u32) -> (Picture, Detection) {
        let mut picture = Picture::new(200, 150, vec![90; 90_000]).unwrap();
        let mut tremble = || u32::try_from(self.next(3)).unwrap();
        let (x, y) = (71 + STEP * number + tremble(), 39 + tremble());
        for (patch, colour) in (0..16).zip(person.0) {
            let area = Area { x: x + patch % 2 * 24, y: y + patch / 2 * 8, w: 24, h: 8 };
            picture.fill(area, colour);
        }
        let (dx, dy) = (tremble() as f32 - 1.0, tremble() as f32 - 1.0);
        let x = FACE.x + (STEP * number) as f32 + dx;
        (picture, Detection { x, y: FACE.y + dy, ..FACE })
    }

    fn key(&mut self) -> Noise {
        Noise::new([0; 32].map(|_| u8::try_from(self.next(256)).unwrap()), 0)
    }
}

/// What an epoch's looks share.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Kind {
    /// Key and track, as within a clip.
    Followed,
    /// The key alone.
    Lost,
    /// Nothing.
    Across,
}

struct Person([[u8; 3]; 16]);

fn cells(picture: &Picture, seen: &Seen, policy: &Policy, noise: &Noise) -> Vec<f64> {
    let regions = covered(picture, seen, Vec::new(), policy, noise).unwrap();
    let grid = regions[0].grid.as_ref().unwrap();
    grid.cells.iter().map(|value| f64::from(*value)).collect()
}

fn mean(looks: &[Vec<f64>]) -> Vec<f64> {
    let sum = |at: usize| looks.iter().map(|look| look[at]).sum::<f64>();
    (0..looks[0].len()).map(|at| sum(at) / looks.len() as f64).collect()
}

/// The parrot redacts everybody himself, often, and names whoever's mean is nearest.
fn guess(gallery: &[Vec<f64>], probe: &[f64]) -> usize {
    let far = |known: &Vec<f64>| known.iter().zip(probe).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    (0..gallery.len()).min_by(|a, b| far(&gallery[*a]).total_cmp(&far(&gallery[*b]))).unwrap()
}

/// Mean over people of how much more often 16 looks are right than one, and twice its standard error.
fn gain(
    random: &mut Random,
    (people, gallery): (&[Person], &[Vec<f64>]),
    policy: &Policy,
    kind: Kind,
) -> (f64, f64) {
    let gains: Vec<f64> = people
        .iter()
        .enumerate()
        .map(|(who, person)| {
            let mut right = [0.0; 2];
            for _ in 0..EPOCHS {
                let mut noise = random.key();
                let mut before: Option<Seen> = None;
                let mut looks = Vec::new();
                for look in 0..LOOKS {
                    if kind == Kind::Across {
                        noise = random.key();
                    }
                    let (picture, found) = random.look(person, look);
                    let at_us = 200_000 * i64::from(look);
                    let mut seen = Seen::of(&[found], at_us, (200, 150)).unwrap();
                    if let Some(before) = before.as_ref().filter(|_| kind == Kind::Followed) {
                        seen.follow(before);
                    }
                    looks.push(cells(&picture, &seen, policy, &noise));
                    before = Some(seen);
                }
                right[0] += f64::from(u8::from(guess(gallery, &looks[0]) == who));
                right[1] += f64::from(u8::from(guess(gallery, &mean(&looks)) == who));
            }
            (right[1] - right[0]) / EPOCHS as f64
        })
        .collect();
    let n = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / n;
    let spread = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, 2.0 * (spread / n).sqrt())
}

/// What each person's cells are on average.
fn gallery(random: &mut Random, people: &[Person], policy: &Policy) -> Vec<Vec<f64>> {
    let mut of = |person: &Person| {
        let looks = (0..48).map(|_| {
            let (picture, found) = random.look(person, 0);
            let seen = Seen::of(&[found], 0, (200, 150)).unwrap();
            cells(&picture, &seen, policy, &random.key())
        });
        mean(&looks.collect::<Vec<_>>())
    };
    people.iter().map(&mut of).collect()
}

/// Under fine cells and under the policies that release any; people differ little against the noise of each, so that one look
/// often fails.
#[test]
fn sixteen_looks_of_a_track_gain_the_parrot_nothing_and_without_it_they_do() {
    let mut random = Random(SEED);
    let named = |name| Policy::named(name).unwrap();
    for (policy, contrast) in
        [(Policy::trial((8, 2), 8, 8), 10), (named("cells"), 32), (named("strict"), 64)]
    {
        let people: Vec<Person> = (0..PEOPLE).map(|_| random.person(contrast)).collect();
        let known = gallery(&mut random, &people, &policy);
        let mut gained = |kind| gain(&mut random, (&people, &known), &policy, kind);
        let name = policy.name();
        let (followed, interval) = gained(Kind::Followed);
        assert!(
            followed <= interval,
            "{name}, seed {SEED}: 16 looks gain {followed} +- {interval}"
        );
        for (kind, how) in [(Kind::Lost, "without tracks"), (Kind::Across, "across epochs")] {
            let (gain, interval) = gained(kind);
            assert!(
                gain > interval,
                "{name}, seed {SEED}: weak attack {how}: {gain} +- {interval}"
            );
        }
    }
}
