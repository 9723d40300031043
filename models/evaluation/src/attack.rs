//! Owns the parrot attackers: each learns from photos that he redacted himself, and the best by inner folds attacks.

use nalgebra::DMatrix;

use crate::{
    linear::{Discriminant, Samples, Scorer, Standard, logistic, ridge},
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

/// An attacker who has learned.
struct Attacker {
    standard: Standard,
    scorer: Scorer,
    /// Mean embedding of each person, one column each; absent where scores are of persons already.
    gallery: Option<DMatrix<f64>>,
}

impl Attacker {
    /// Comparable scores: log shares, or cosines.
    fn scores(&self, features: &DMatrix<f64>) -> DMatrix<f64> {
        let mut scores = self.scorer.scores(&self.standard.apply(features));
        if let Some(gallery) = &self.gallery {
            for mut row in scores.row_iter_mut() {
                let length = row.norm().max(1e-9);
                row /= length;
            }
            return scores * gallery;
        }
        for mut row in scores.row_iter_mut() {
            let top = row.max();
            let sum: f64 = row.iter().map(|v| (v - top).exp()).sum();
            row.add_scalar_mut(-top - sum.ln());
        }
        scores
    }
}

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
        let choices = self.ranked(kind, learning);
        let found = choices.first().and_then(|choice| {
            let answers = self.one(*choice, kind, learning, probes, 1)?;
            Some((*choice, answers))
        });
        match found {
            Some((choice, answers)) => (Some(choice), answers),
            None => (None, Vec::new()),
        }
    }

    /// Every choice that can be learned, the best on inner folds first.
    fn ranked(&self, kind: usize, learning: &[usize]) -> Vec<Choice> {
        let inner = self.inner(learning);
        let mut scored: Vec<(f64, Choice)> = Vec::new();
        for (source, seen) in self.sources.iter().enumerate() {
            let width = seen.iter().find_map(|seen| seen.probed.get(kind)).map_or(0, Vec::len);
            for method in Method::all(width).iter().copied() {
                let choice = Choice { method, source };
                let mut hits = 0.0;
                for held in 0..INNER {
                    let (mut learn, mut probe) = (Vec::new(), Vec::new());
                    for (photo, fold) in learning.iter().zip(&inner) {
                        if *fold == held { probe.push(*photo) } else { learn.push(*photo) }
                    }
                    let answers = self.one(choice, kind, &learn, &probe, THINNED);
                    hits += answers.unwrap_or_default().iter().map(|a| a.hit()).sum::<f64>();
                }
                scored.push((hits, choice));
            }
        }
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.into_iter().map(|(_, choice)| choice).collect()
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

    /// One method's answers, or nothing where it cannot be learned.
    fn one(
        &self,
        choice: Choice,
        kind: usize,
        learning: &[usize],
        probes: &[usize],
        thinned: usize,
    ) -> Option<Vec<Answer>> {
        let seen = self.sources.get(choice.source)?;
        let subject = |photo: usize| self.subjects.get(photo);
        let mut persons: Vec<usize> =
            learning.iter().filter_map(|p| subject(*p)).map(|s| s.person).collect();
        persons.sort_unstable();
        persons.dedup();
        let class = |photo: usize| persons.binary_search(&subject(photo)?.person).ok();
        let looks = |photo: usize| {
            let looks = seen.get(photo).and_then(|seen| seen.learned.get(kind));
            looks.into_iter().flatten().step_by(thinned)
        };
        let rows = learning.iter().flat_map(|photo| {
            looks(*photo).filter_map(|look| Some((look.as_slice(), class(*photo)?)))
        });
        let samples = Samples::new(rows);
        let targets = learning.iter().flat_map(|photo| looks(*photo).map(|_| *photo));
        let attacker = self.learn(choice.method, samples, persons.len(), targets.collect())?;
        let probed: Vec<(usize, usize, &[f32])> = probes
            .iter()
            .filter_map(|photo| {
                let look = seen.get(*photo)?.probed.get(kind)?;
                Some((*photo, class(*photo)?, look.as_slice()))
            })
            .collect();
        let rows = Samples::new(probed.iter().map(|(_, class, look)| (*look, *class)));
        if probed.is_empty() {
            return Some(Vec::new());
        }
        let scores = attacker.scores(&rows.features);
        let answers = probed.iter().zip(scores.row_iter()).map(|((photo, own, _), row)| Answer {
            photo: *photo,
            scores: row.iter().copied().collect(),
            own: *own,
        });
        Some(answers.collect())
    }

    /// `photos`: the photo of each sample.
    fn learn(
        &self,
        method: Method,
        mut samples: Samples,
        persons: usize,
        photos: Vec<usize>,
    ) -> Option<Attacker> {
        let standard = Standard::of(&samples.features);
        samples.features = standard.apply(&samples.features);
        match method {
            Method::Discriminant(shrinkage) => {
                let scorer = Discriminant::of(&samples, persons).scorer(shrinkage)?;
                Some(Attacker { standard, scorer, gallery: None })
            }
            Method::Logistic(penalty) => {
                let scorer = balanced(logistic(&samples, persons, penalty), &samples.classes);
                Some(Attacker { standard, scorer, gallery: None })
            }
            Method::Embedding(penalty) => {
                let embedding = |photo: &usize| self.subjects.get(*photo).map(|s| &s.embedding);
                let width = photos.iter().find_map(embedding).map_or(0, Vec::len);
                // Where nothing is seen, persons in the middle of the gallery would come first each time.
                if width == 0 || standard.is_flat() {
                    return None;
                }
                let values = photos.iter().filter_map(embedding).flatten();
                let values: Vec<f64> = values.map(|v| f64::from(*v)).collect();
                let targets = DMatrix::from_row_slice(photos.len(), width, &values);
                let mut gallery = DMatrix::zeros(width, persons);
                for (row, class) in targets.row_iter().zip(&samples.classes) {
                    let mut column = gallery.column_mut(*class);
                    column += row.transpose();
                }
                for mut column in gallery.column_iter_mut() {
                    let length = column.norm().max(1e-9);
                    column /= length;
                }
                let scorer = ridge(&samples.features, &targets, penalty)?;
                Some(Attacker { standard, scorer, gallery: Some(gallery) })
            }
        }
    }
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
