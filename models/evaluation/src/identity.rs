//! Owns the protocol of re-identification: how photos are dealt into folds, what is summed up, and how sure it is.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{
    attack::{Answer, Subject, Target},
    people::People,
    score::interval,
    spread::spread,
};

/// Folds of the cross-validation.
const FOLDS: usize = 4;
/// Draws of the bootstrap.
pub(crate) const DRAWS: usize = 2000;
/// With fewer persons than this the bootstrap draws photos only: persons would be too few to draw from.
const PERSONS_MIN: usize = 10;
/// Share of wrong pairs that are accepted when the share of right ones is told.
const FAR: f64 = 0.1;

/// Fold of each photo, in each repeat.
pub(crate) struct Folds(Vec<Vec<usize>>);

impl Folds {
    /// Deals the groups of each person into folds, anew in each repeat: near-duplicates stay together.
    pub(crate) fn deal(subjects: &[Subject], repeats: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut persons: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for subject in subjects {
            let groups = persons.entry(subject.person).or_default();
            if !groups.contains(&subject.group) {
                groups.push(subject.group);
            }
        }
        let mut deal = || {
            let mut fold = BTreeMap::new();
            for groups in persons.values_mut() {
                groups.shuffle(&mut random);
                let first = random.random_range(0..FOLDS);
                let dealt = groups.iter().enumerate();
                fold.extend(dealt.map(|(i, group)| (*group, (first + i) % FOLDS)));
            }
            let of = |subject: &Subject| fold.get(&subject.group).copied().unwrap_or(0);
            subjects.iter().map(of).collect()
        };
        Self((0..repeats.max(1)).map(|_| deal()).collect())
    }

    /// Photos that are learned from and photos that are probed, of every attacker.
    pub(crate) fn parts(&self, photos: usize) -> impl Iterator<Item = (Vec<usize>, Vec<usize>)> {
        self.0.iter().flat_map(move |dealt| {
            (0..FOLDS).map(move |fold| {
                let held = |photo: &usize| dealt.get(*photo) == Some(&fold);
                let (probes, learning): (Vec<usize>, Vec<usize>) = (0..photos).partition(held);
                (learning, probes)
            })
        })
    }

    /// The fold of a photo in each repeat.
    pub(crate) fn of(&self, photo: usize) -> Vec<usize> {
        self.0.iter().filter_map(|dealt| dealt.get(photo).copied()).collect()
    }

    /// How often the photos were dealt.
    pub(crate) const fn repeats(&self) -> usize {
        self.0.len()
    }
}

/// Which photos are learned from and which are probed, and the seed of the bootstrap.
pub(crate) struct Plan {
    pub folds: Folds,
    pub seed: u64,
}

/// Answers of all attackers under one kind of looks.
#[derive(Default, Clone)]
struct Sums {
    /// Hits and times probed, of each photo.
    hits: BTreeMap<usize, (f64, f64)>,
    reciprocal: f64,
    answers: f64,
    /// Scores of right and of wrong pairs, of each attacker who learned: those of two cannot be compared.
    pairs: BTreeMap<usize, (Vec<f64>, Vec<f64>)>,
}

/// What an attack gave, under each kind of looks.
pub(crate) struct Outcome {
    photos: usize,
    kinds: Vec<Sums>,
    chosen: BTreeMap<&'static str, usize>,
}

impl Plan {
    /// Runs every repeat, fold and kind of looks on all processors.
    pub(crate) fn run(&self, target: &Target<'_>, kinds: usize, what: &str) -> Outcome {
        let photos = target.subjects.len();
        let mut outcome =
            Outcome { photos, kinds: vec![Sums::default(); kinds], chosen: BTreeMap::new() };
        let attackers = self.folds.0.len() * FOLDS;
        eprintln!("{what}: {attackers} attackers under {kinds} kinds of looks");
        let parts: Vec<(Vec<usize>, Vec<usize>)> = self.folds.parts(photos).collect();
        let answers = spread(attackers * kinds, |task| match parts.get(task / kinds) {
            Some((learning, probes)) => target.attack(task % kinds, learning, probes),
            None => (None, Vec::new()),
        });
        for (task, (choice, answers)) in answers.into_iter().enumerate() {
            let (attacker, kind) = (task / kinds, task % kinds);
            outcome.add(kind, attacker, &answers);
            if let Some(choice) = choice.filter(|_| kind == 0) {
                *outcome.chosen.entry(choice.method.name()).or_default() += 1;
            }
        }
        outcome
    }

    /// 95% of the mean of values of photos (absent where a photo was never probed), by bootstrap over persons and then
    /// their photos.
    pub(crate) fn interval(&self, values: &[Option<f64>], people: &People) -> [f64; 2] {
        let known = values.iter().zip(&people.photos);
        let known = known.filter_map(|(value, photo)| Some((photo.person, (*value)?)));
        let persons = pools(known, people.people);
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let draws = 0..if persons.is_empty() { 0 } else { DRAWS };
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^24 photos")]
        let mean = |values: Vec<&f64>| values.iter().copied().sum::<f64>() / values.len() as f64;
        interval(draws.map(|_| mean(drawn(&persons, &mut random))).collect())
    }

    /// How intervals were drawn, for reports.
    pub(crate) const fn bootstrap(&self, people: &People) -> &'static str {
        bootstrap(people)
    }
}

/// What the bootstrap draws from, by person; of few persons, all as if they were one's.
pub(crate) fn pools<T>(values: impl Iterator<Item = (usize, T)>, people: usize) -> Vec<Vec<T>> {
    let mut persons: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for (person, value) in values {
        let person = if people < PERSONS_MIN { 0 } else { person };
        persons.entry(person).or_default().push(value);
    }
    persons.into_values().collect()
}

/// One draw of the bootstrap: as many persons as there are, and of each as many of its values as it has.
pub(crate) fn drawn<'a, T>(persons: &'a [Vec<T>], random: &mut ChaCha8Rng) -> Vec<&'a T> {
    let mut all = Vec::new();
    for _ in 0..persons.len() {
        let Some(values) = persons.get(random.random_range(0..persons.len())) else { continue };
        let one = |_| values.get(random.random_range(0..values.len()));
        all.extend((0..values.len()).filter_map(one));
    }
    all
}

/// How intervals of these people are drawn, for reports.
pub(crate) const fn bootstrap(people: &People) -> &'static str {
    if people.people < PERSONS_MIN {
        "photos only: fewer than ten persons resolve no small difference"
    } else {
        "persons, then photos"
    }
}

impl Outcome {
    fn add(&mut self, kind: usize, attacker: usize, answers: &[Answer]) {
        let Some(sums) = self.kinds.get_mut(kind) else { return };
        for answer in answers {
            let (hits, times) = sums.hits.entry(answer.photo).or_default();
            *hits += answer.hit();
            *times += 1.0;
            sums.reciprocal += answer.reciprocal();
            sums.answers += 1.0;
            let (right, wrong) = sums.pairs.entry(attacker).or_default();
            for (person, score) in answer.scores.iter().enumerate() {
                if person == answer.own { right.push(*score) } else { wrong.push(*score) }
            }
        }
    }

    /// Share of repeats in which each photo was named; nothing for photos that were never probed.
    pub(crate) fn hits(&self, kind: usize) -> Vec<Option<f64>> {
        let of = |photo| {
            let (hits, times) = self.kinds.get(kind)?.hits.get(&photo)?;
            Some(hits / times)
        };
        (0..self.photos).map(of).collect()
    }

    /// Mean over photos of the share of repeats in which they were named.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^24 photos")]
    pub(crate) fn rank1(&self, kind: usize) -> f64 {
        let hits: Vec<f64> = self.hits(kind).into_iter().flatten().collect();
        hits.iter().sum::<f64>() / hits.len().max(1) as f64
    }

    /// Mean reciprocal rank.
    pub(crate) fn reciprocal(&self, kind: usize) -> f64 {
        self.kinds.get(kind).map_or(0.0, |sums| sums.reciprocal / sums.answers.max(1.0))
    }

    /// Share of right pairs above the score that one in ten wrong pairs reaches, mean over attackers.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position in a list"
    )]
    pub(crate) fn accepted(&self, kind: usize) -> f64 {
        let Some(sums) = self.kinds.get(kind) else { return 0.0 };
        let shares = sums.pairs.values().map(|(right, wrong)| {
            let mut wrong = wrong.clone();
            wrong.sort_by(|a, b| b.total_cmp(a));
            let limit = wrong.get((wrong.len() as f64 * FAR) as usize).copied().unwrap_or(0.0);
            right.iter().filter(|score| **score > limit).count() as f64 / right.len().max(1) as f64
        });
        shares.sum::<f64>() / sums.pairs.len().max(1) as f64
    }

    /// How often each method was chosen on one look.
    pub(crate) fn chosen(&self) -> BTreeMap<&'static str, usize> {
        self.chosen.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_duplicates_are_never_learned_and_probed_at_once() {
        let subject = |i: usize| Subject { person: i / 8, group: i / 2, embedding: Vec::new() };
        let subjects: Vec<Subject> = (0..24).map(subject).collect();
        let folds = Folds::deal(&subjects, 10, 1);
        for repeat in &folds.0 {
            for pair in repeat.chunks(2) {
                assert_eq!(pair[0], pair[1]);
            }
            // Four groups a person, four folds: one each.
            for person in repeat.chunks(8) {
                let mut dealt = person.to_vec();
                dealt.sort_unstable();
                assert_eq!(dealt, [0, 0, 1, 1, 2, 2, 3, 3]);
            }
        }
        assert_ne!(folds.0[0], folds.0[1]);
    }
}
