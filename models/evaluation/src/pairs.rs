//! Owns pairs of photos: which are compared, whether they show the same person, and how well likeness tells the two kinds
//! apart (the area under the curve of right against wrong acceptances, AUC).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use models::FaceDetector;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{
    identity::{DRAWS, drawn, pools},
    people::{self, People, Photo},
    score::interval,
};

/// Two photos by their number: the first is redacted, the second clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    probe: usize,
    clear: usize,
    same: bool,
}

/// The area and 95% of it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Area {
    pub auc: f64,
    pub interval: [f64; 2],
}

/// The list of pairs in a folder of photos: two file names, and whether they show one person.
const LIST: &str = "master.csv";

/// Every photo against every other but its near-duplicates.
pub(crate) fn all(people: &People) -> Vec<Pair> {
    let photos = || people.photos.iter().enumerate();
    let of = |(probe, a): (usize, &Photo)| {
        let others = photos().filter(|(_, b)| b.group != a.group);
        let pair = |(clear, b): (usize, &Photo)| Pair { probe, clear, same: a.person == b.person };
        others.map(pair).collect::<Vec<_>>()
    };
    photos().flat_map(of).collect()
}

/// A folder of photos and the pairs that its list names, each both ways, but for near-duplicates. Who are linked by pairs of
/// the same person are one person.
pub(crate) fn read(
    folder: &Path,
    detector: &mut dyn FaceDetector,
) -> anyhow::Result<(People, Vec<Pair>)> {
    let file = folder.join(LIST);
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let listed = listed(&text).with_context(|| file.display().to_string())?;
    let people = people::of(&persons(folder, &listed), detector, None)?;
    let numbered = people.photos.iter().enumerate();
    let number: BTreeMap<PathBuf, (usize, usize)> =
        numbered.map(|(n, photo)| (photo.path.clone(), (n, photo.group))).collect();
    let mut pairs = Vec::new();
    for (a, b, same) in &listed {
        // A file that is no picture is counted as unreadable, and its pairs are left out.
        let both = number.get(&folder.join(a)).zip(number.get(&folder.join(b)));
        let Some((a, b)) = both.filter(|(a, b)| a.1 != b.1) else { continue };
        let pair = |probe: usize, clear: usize| Pair { probe, clear, same: *same };
        pairs.extend([pair(a.0, b.0), pair(b.0, a.0)]);
    }
    Ok((people, pairs))
}

/// Lines of two file names and `Yes` or `No`, after a heading.
fn listed(text: &str) -> anyhow::Result<Vec<(String, String, bool)>> {
    let pair = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        Ok(match *fields.as_slice() {
            [a, b, "Yes"] => (a.to_owned(), b.to_owned(), true),
            [a, b, "No"] => (a.to_owned(), b.to_owned(), false),
            _ => bail!("{line:?} is not two file names and Yes or No"),
        })
    };
    text.lines().skip(1).filter(|line| !line.trim().is_empty()).map(pair).collect()
}

/// The photos of each person.
fn persons(folder: &Path, listed: &[(String, String, bool)]) -> Vec<Vec<PathBuf>> {
    let names = listed.iter().flat_map(|(a, b, _)| [a, b]);
    let mut person: BTreeMap<&String, usize> = names.enumerate().map(|(n, a)| (a, n)).collect();
    for (a, b, _) in listed.iter().filter(|(.., same)| *same) {
        if let Some((of_a, of_b)) = person.get(a).copied().zip(person.get(b).copied()) {
            person.values_mut().filter(|p| **p == of_b).for_each(|p| *p = of_a);
        }
    }
    let mut persons: BTreeMap<usize, Vec<PathBuf>> = BTreeMap::new();
    for (name, person) in person {
        persons.entry(person).or_default().push(folder.join(name));
    }
    persons.into_values().collect()
}

/// How many pairs show the same person, and how many show two.
pub(crate) fn kinds(pairs: &[Pair]) -> (usize, usize) {
    let same = pairs.iter().filter(|pair| pair.same).count();
    (same, pairs.len() - same)
}

/// Pairs from the least alike to the most, those that are as alike together.
pub(crate) struct Ranked(Vec<(f32, Pair)>);

impl Ranked {
    /// By the likeness of the two photos.
    pub(crate) fn by(pairs: &[Pair], likeness: impl Fn(usize, usize) -> f32) -> Self {
        let of = |pair: &Pair| (likeness(pair.probe, pair.clear), *pair);
        let mut ranked: Vec<(f32, Pair)> = pairs.iter().map(of).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self(ranked)
    }

    /// The area and its bootstrap over persons, then photos: a pair counts as often as both of its photos were drawn.
    pub(crate) fn area(&self, people: &People, seed: u64) -> Area {
        let photos = people.photos.iter().enumerate();
        let persons = pools(photos.map(|(n, photo)| (photo.person, n)), people.people);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let draw = |_| {
            let mut times = vec![0.0; people.photos.len()];
            for photo in drawn(&persons, &mut random) {
                if let Some(times) = times.get_mut(*photo) {
                    *times += 1.0;
                }
            }
            self.auc(|photo| times.get(photo).copied().unwrap_or(0.0))
        };
        // A draw may have pairs of one kind alone: it says nothing.
        let draws = (0..DRAWS).filter_map(draw).collect();
        Area { auc: self.auc(|_| 1.0).unwrap_or(0.5), interval: interval(draws) }
    }

    /// How often two photos of one person are more alike than two of different persons, a tie as half; nothing without
    /// pairs of both kinds. Photos have weights.
    fn auc(&self, weight: impl Fn(usize) -> f64) -> Option<f64> {
        let (mut right, mut wrong, mut won) = (0.0, 0.0, 0.0);
        for alike in self.0.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
            let (mut same, mut different) = (0.0, 0.0);
            for (_, pair) in alike {
                let weight = weight(pair.probe) * weight(pair.clear);
                *if pair.same { &mut same } else { &mut different } += weight;
            }
            won += same * (wrong + different / 2.0);
            right += same;
            wrong += different;
        }
        (right > 0.0 && wrong > 0.0).then(|| won / (right * wrong))
    }
}

#[cfg(test)]
mod tests {
    use models::Detection;

    use super::*;

    /// So many persons of four photos, the first two of each near-duplicates.
    fn people(persons: usize) -> People {
        let photo = |i: usize| Photo {
            person: i / 4,
            group: if i % 4 == 1 { i - 1 } else { i },
            path: PathBuf::new(),
            face: Detection { x: 0.0, y: 0.0, w: 1.0, h: 1.0, score: 1.0 },
            embedding: Vec::new(),
        };
        let photos: Vec<Photo> = (0..4 * persons).map(photo).collect();
        People { people: persons, detected: photos.len(), photos, unreadable: 0 }
    }

    fn area(persons: usize, likeness: impl Fn(usize, usize) -> f32) -> Area {
        let people = people(persons);
        Ranked::by(&all(&people), likeness).area(&people, 1)
    }

    #[test]
    fn a_photo_is_compared_with_all_but_itself_and_its_near_duplicates() {
        let pairs = all(&people(3));
        // Of each person four photos times three others, without two pairs of near-duplicates.
        assert_eq!(kinds(&pairs), (3 * (4 * 3 - 2), 12 * 8));
        assert!(!pairs.iter().any(|pair| pair.probe == pair.clear));
        assert!(!pairs.contains(&Pair { probe: 0, clear: 1, same: true }));
    }

    #[test]
    fn perfect_likeness_has_area_one_reversed_none_and_ties_a_half() {
        let same = |a: usize, b: usize| f32::from(u8::from(a / 4 == b / 4));
        let perfect = area(12, same);
        assert_eq!((perfect.auc, perfect.interval), (1.0, [1.0, 1.0]));
        let reversed = area(12, |a, b| -same(a, b));
        assert_eq!((reversed.auc, reversed.interval), (0.0, [0.0, 0.0]));
        let tied = area(12, |_, _| 0.3);
        assert_eq!((tied.auc, tied.interval), (0.5, [0.5, 0.5]));
    }

    #[test]
    fn a_tie_between_a_right_and_a_wrong_pair_counts_half() {
        let pair = |probe, same| Pair { probe, clear: 0, same };
        let pairs = [pair(1, true), pair(2, true), pair(3, false), pair(4, false)];
        // Right pairs at 2 and 3, wrong ones at 1 and 2: three won of four, and one tied.
        let likeness = [0.0, 2.0, 3.0, 1.0, 2.0];
        let ranked = Ranked::by(&pairs, |probe, _| likeness[probe]);
        assert_eq!(ranked.auc(|_| 1.0), Some(3.5 / 4.0));
        // Without the wrong pair that is tied nothing is lost; without right ones there is nothing to say.
        assert_eq!(ranked.auc(|photo| if photo == 4 { 0.0 } else { 1.0 }), Some(1.0));
        assert_eq!(ranked.auc(|photo| if photo < 3 { 0.0 } else { 1.0 }), None);
    }

    #[test]
    fn the_interval_holds_the_area_of_a_likeness_that_says_something() {
        let noisy = |a: usize, b: usize| {
            let same = f32::from(u8::from(a / 4 == b / 4));
            same * 0.5 + ((a * 7919 + b * 104_729) % 101) as f32 / 101.0
        };
        let Area { auc, interval: [low, high] } = area(12, noisy);
        assert!(0.6 < low && low < auc && auc < high && high < 1.0, "{low} {auc} {high}");
    }

    #[test]
    fn who_are_linked_by_pairs_are_one_person() {
        let text = "file_x,file_y,Decision\na.jpg,b.jpg,Yes\nc.jpg,d.jpg,No\nd.jpg,b.jpg,Yes\n\n";
        let persons = persons(Path::new("in"), &listed(text).unwrap());
        let mut sizes: Vec<usize> = persons.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 3]);
        assert!(persons.iter().flatten().any(|path| path == Path::new("in/c.jpg")));
        for wrong in ["a.jpg,b.jpg", "a.jpg,b.jpg,Maybe", "a.jpg,b.jpg,Yes,more"] {
            assert!(listed(&format!("heading\n{wrong}\n")).is_err(), "{wrong}");
        }
    }
}
