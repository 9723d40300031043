//! Owns the parrot attackers: each learns from photos that he redacted himself, and the best by inner folds attacks.

use std::cell::OnceCell;

use nalgebra::DMatrix;

use crate::{
    linear::{Discriminant, Ridge, Samples, Scorer, Standard, logistic},
    looks::Seen,
};

/// One photo as attackers know it.
pub(crate) struct Subject {
    pub person: usize,
    pub group: usize,
    /// Embedding of the clear face; empty without a recogniser.
    pub embedding: Vec<f32>,
}

/// What is attacked: photos, and for each way to turn a photo into features what is seen of it.
pub(crate) struct Target<'a> {
    pub subjects: &'a [Subject],
    pub sources: Vec<Vec<Seen>>,
}

/// A way to attack, with its one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Method {
    /// Linear discriminant with shrinkage.
    Discriminant(f64),
    /// Logistic regression with a penalty.
    Logistic(f64),
    /// Ridge from cells to a recogniser's embedding of the clear face, compared with each person's.
    Embedding(f64),
}

impl Method {
    const ALL: [Self; 7] = [
        Self::Discriminant(0.02),
        Self::Discriminant(0.1),
        Self::Discriminant(0.3),
        Self::Discriminant(0.7),
        Self::Logistic(1e-2),
        Self::Embedding(1e-2),
        Self::Embedding(1e-1),
    ];

    /// What takes hardly longer for many persons than for few.
    const QUICK: [Self; 5] = [
        Self::Discriminant(0.02),
        Self::Discriminant(0.1),
        Self::Discriminant(0.3),
        Self::Embedding(1e-2),
        Self::Embedding(1e-1),
    ];

    /// Clear faces have many features: what is worth its time there.
    const WIDE: [Self; 3] =
        [Self::Discriminant(0.1), Self::Discriminant(0.3), Self::Logistic(1e-2)];

    fn all(width: usize) -> &'static [Self] {
        if width > WIDE_FROM { &Self::WIDE } else { &Self::ALL }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Discriminant(_) => "linear discriminant",
            Self::Logistic(_) => "logistic regression",
            Self::Embedding(_) => "ridge to embedding",
        }
    }
}

/// A method on one source of features.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Choice {
    pub method: Method,
    pub source: usize,
}

/// Features from which on only [`Method::WIDE`] is tried: more than any grid that could be a policy has.
const WIDE_FROM: usize = 250;
/// Inner folds that choose.
const INNER: usize = 3;
/// Of the looks that are learned from, every n-th serves to choose: choosing is most of the work.
const THINNED: usize = 2;

/// What one probe gave: scores of the persons learned, and which of them is right.
pub(crate) struct Answer {
    pub photo: usize,
    pub scores: Vec<f64>,
    pub own: usize,
}

impl Target<'_> {
    /// Learns from some photos under one kind of looks by the method that is best on inner folds, and attacks others.
    /// Photos of persons that were not learned are left out.
    pub(crate) fn attack(
        &self,
        kind: usize,
        learning: &[usize],
        probes: &[usize],
    ) -> (Option<Choice>, Vec<Answer>) {
        let Some(choice) = self.best(kind, learning, Method::all) else {
            return (None, Vec::new());
        };
        let lesson = Lesson::of(self, (choice.source, kind), learning, probes, 1);
        match lesson.and_then(|lesson| lesson.answers(choice.method)) {
            Some(answers) => (Some(choice), answers),
            None => (None, Vec::new()),
        }
    }

    /// As [`Self::attack`] with strangers learned too, by a method that many persons do not slow down: it is chosen without
    /// them.
    pub(crate) fn attack_among(
        &self,
        kind: usize,
        learning: &[usize],
        strangers: &[usize],
        probes: &[usize],
    ) -> Vec<Answer> {
        let Some(choice) = self.best(kind, learning, |_| &Method::QUICK) else {
            return Vec::new();
        };
        let all: Vec<usize> = learning.iter().chain(strangers).copied().collect();
        let lesson = Lesson::of(self, (choice.source, kind), &all, probes, 1);
        lesson.and_then(|lesson| lesson.answers(choice.method)).unwrap_or_default()
    }

    /// The choice that names most on inner folds, the first of several; `methods` are those worth trying on features of
    /// some number.
    fn best(
        &self,
        kind: usize,
        learning: &[usize],
        methods: impl Fn(usize) -> &'static [Method],
    ) -> Option<Choice> {
        let inner = self.inner(learning);
        let mut best: Option<(f64, Choice)> = None;
        for (source, seen) in self.sources.iter().enumerate() {
            let width = seen.iter().find_map(|seen| seen.probed.get(kind)).map_or(0, Vec::len);
            let methods = methods(width);
            let mut hits = vec![0.0; methods.len()];
            for held in 0..INNER {
                let dealt = learning.iter().copied().zip(&inner);
                let (probe, learn): (Vec<_>, Vec<_>) = dealt.partition(|(_, fold)| **fold == held);
                let photos = |of: Vec<(usize, &usize)>| of.into_iter().map(|(p, _)| p).collect();
                let (learn, probe): (Vec<usize>, Vec<usize>) = (photos(learn), photos(probe));
                let lesson = Lesson::of(self, (source, kind), &learn, &probe, THINNED);
                let Some(lesson) = lesson else { continue };
                for (method, hits) in methods.iter().zip(&mut hits) {
                    let answers = lesson.answers(*method).unwrap_or_default();
                    *hits += answers.iter().map(Answer::hit).sum::<f64>();
                }
            }
            for (method, hits) in methods.iter().zip(hits) {
                if best.is_none_or(|(most, _)| hits > most) {
                    best = Some((hits, Choice { method: *method, source }));
                }
            }
        }
        best.map(|(_, choice)| choice)
    }

    /// The inner fold of each learning photo: groups of a person are dealt in order.
    fn inner(&self, learning: &[usize]) -> Vec<usize> {
        let mut seen: Vec<(usize, usize)> = Vec::new();
        let mut fold = Vec::new();
        for subject in learning.iter().filter_map(|photo| self.subjects.get(*photo)) {
            let key = (subject.person, subject.group);
            if !seen.contains(&key) {
                seen.push(key);
            }
            let of_person = seen.iter().filter(|(person, _)| *person == subject.person);
            let number = of_person.clone().position(|(_, group)| *group == subject.group);
            fold.push(number.unwrap_or(0) % INNER);
        }
        fold
    }
}

/// What all methods share that learn from the same looks and are probed with the same.
struct Lesson<'a> {
    target: &'a Target<'a>,
    learning: &'a [usize],
    /// Standardised, as the probes.
    samples: Samples,
    /// Position in `learning` of the photo of each sample.
    photos: Vec<usize>,
    persons: usize,
    /// Photo and class of each probe.
    probed: Vec<(usize, usize)>,
    probes: DMatrix<f64>,
    /// Nothing differs between photos: there is nothing to learn from.
    flat: bool,
    discriminant: OnceCell<Discriminant>,
    embeddings: OnceCell<(Ridge, DMatrix<f64>)>,
}

impl<'a> Lesson<'a> {
    /// Of every `thinned`-th look at each learning photo; nothing for a source that does not exist.
    fn of(
        target: &'a Target<'a>,
        (source, kind): (usize, usize),
        learning: &'a [usize],
        probes: &[usize],
        thinned: usize,
    ) -> Option<Self> {
        let seen = target.sources.get(source)?;
        let person = |photo: &usize| target.subjects.get(*photo).map(|subject| subject.person);
        let mut persons: Vec<usize> = learning.iter().filter_map(person).collect();
        persons.sort_unstable();
        persons.dedup();
        let class = |photo: &usize| persons.binary_search(&person(photo)?).ok();
        let (mut rows, mut photos) = (Vec::new(), Vec::new());
        for (at, photo) in learning.iter().enumerate() {
            let looks = seen.get(*photo).and_then(|seen| seen.learned.get(kind));
            for look in looks.into_iter().flatten().step_by(thinned) {
                rows.push((look.as_slice(), class(photo)?));
                photos.push(at);
            }
        }
        let mut samples = Samples::new(rows.into_iter());
        let standard = Standard::of(&samples.features);
        samples.features = standard.apply(&samples.features);
        let looks = probes.iter().filter_map(|photo| {
            let look = seen.get(*photo)?.probed.get(kind)?;
            Some(((*photo, class(photo)?), look.as_slice()))
        });
        let (probed, looks): (Vec<(usize, usize)>, Vec<&[f32]>) = looks.unzip();
        let probes = Samples::new(looks.into_iter().map(|look| (look, 0))).features;
        let probes = if probed.is_empty() { probes } else { standard.apply(&probes) };
        let flat = standard.is_flat();
        let (discriminant, embeddings) = (OnceCell::new(), OnceCell::new());
        let persons = persons.len();
        Some(Self {
            target,
            learning,
            samples,
            photos,
            persons,
            probed,
            probes,
            flat,
            discriminant,
            embeddings,
        })
    }

    /// One method's answers, or nothing where it cannot be learned.
    fn answers(&self, method: Method) -> Option<Vec<Answer>> {
        if self.probed.is_empty() {
            return Some(Vec::new());
        }
        let scores = match method {
            Method::Discriminant(shrinkage) => {
                let of = || Discriminant::of(&self.samples, self.persons);
                shares(self.discriminant.get_or_init(of).scorer(shrinkage)?.scores(&self.probes))
            }
            Method::Logistic(penalty) => {
                let scorer = logistic(&self.samples, self.persons, penalty);
                shares(balanced(scorer, &self.samples.classes).scores(&self.probes))
            }
            Method::Embedding(penalty) => self.embedded(penalty)?,
        };
        let answers = self.probed.iter().zip(scores.row_iter()).map(|((photo, own), row)| Answer {
            photo: *photo,
            scores: row.iter().copied().collect(),
            own: *own,
        });
        Some(answers.collect())
    }

    /// Cosines of the embeddings that probes are taken for with the mean embedding of each person.
    fn embedded(&self, penalty: f64) -> Option<DMatrix<f64>> {
        let embedding = |photo: &usize| self.target.subjects.get(*photo).map(|s| &s.embedding);
        let width = self.learning.iter().find_map(embedding).map_or(0, Vec::len);
        // Where nothing is seen, persons in the middle of the gallery would come first each time.
        if width == 0 || self.flat {
            return None;
        }
        let (ridge, gallery) = self.embeddings.get_or_init(|| {
            let values = self.learning.iter().filter_map(embedding).flatten();
            let values: Vec<f64> = values.map(|v| f64::from(*v)).collect();
            let targets = DMatrix::from_row_slice(self.learning.len(), width, &values);
            let mut gallery = DMatrix::zeros(width, self.persons);
            for (photo, class) in self.photos.iter().zip(&self.samples.classes) {
                let mut column = gallery.column_mut(*class);
                column += targets.row(*photo).transpose();
            }
            for mut column in gallery.column_iter_mut() {
                let length = column.norm().max(1e-9);
                column /= length;
            }
            (Ridge::of(&self.samples.features, &self.photos, &targets), gallery)
        });
        let mut scores = ridge.scorer(penalty)?.scores(&self.probes);
        for mut row in scores.row_iter_mut() {
            let length = row.norm().max(1e-9);
            row /= length;
        }
        Some(scores * gallery)
    }
}

/// Logarithms of shares: scores of several probes become comparable.
fn shares(mut scores: DMatrix<f64>) -> DMatrix<f64> {
    for mut row in scores.row_iter_mut() {
        let top = row.max();
        let sum: f64 = row.iter().map(|v| (v - top).exp()).sum();
        row.add_scalar_mut(-top - sum.ln());
    }
    scores
}

/// The scorer as if every person had as many photos.
#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^24 samples")]
fn balanced(mut scorer: Scorer, classes: &[usize]) -> Scorer {
    for (class, bias) in scorer.bias.iter_mut().enumerate() {
        let n = classes.iter().filter(|c| **c == class).count();
        *bias -= (n.max(1) as f64).ln();
    }
    scorer
}

/// Scores that differ by less are the same: nothing tells such persons apart.
const SAME: f64 = 1e-9;

impl Answer {
    /// Persons whose score is higher, and persons whose score is the same.
    fn before(&self) -> (usize, usize) {
        let own = self.scores.get(self.own).copied().unwrap_or(f64::NEG_INFINITY);
        let higher = self.scores.iter().filter(|score| **score > own + SAME).count();
        let same = self.scores.iter().filter(|score| (**score - own).abs() <= SAME).count();
        (higher, same.saturating_sub(1))
    }

    /// Probability that the right person comes first; ties are drawn by lot.
    #[expect(clippy::cast_precision_loss, reason = "a few thousand persons")]
    pub(crate) fn hit(&self) -> f64 {
        match self.before() {
            (0, same) => 1.0 / (same + 1) as f64,
            _ => 0.0,
        }
    }

    /// Share of the others that come before the right person, half of those that are the same.
    #[expect(clippy::cast_precision_loss, reason = "a few thousand persons")]
    pub(crate) fn before_it(&self) -> f64 {
        let (higher, same) = self.before();
        (higher as f64 + same as f64 / 2.0) / self.scores.len().saturating_sub(1).max(1) as f64
    }

    /// One over the rank, for ties over the middle rank.
    #[expect(clippy::cast_precision_loss, reason = "a few thousand persons")]
    pub(crate) fn reciprocal(&self) -> f64 {
        let (higher, same) = self.before();
        1.0 / (1.0 + higher as f64 + same as f64 / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_drawn_by_lot() {
        let answer = |scores: &[f64]| Answer { photo: 0, scores: scores.to_vec(), own: 1 };
        assert!((answer(&[0.0; 4]).hit() - 0.25).abs() < 1e-9);
        assert!((answer(&[0.0, 1.0, 0.5]).hit() - 1.0).abs() < 1e-9);
        assert!(answer(&[2.0, 1.0, 0.5]).hit() < 1e-9);
        assert!((answer(&[2.0, 1.0, 0.5]).reciprocal() - 0.5).abs() < 1e-9);
    }
}
