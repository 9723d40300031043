//! Owns the figures of mask utility as the design defines them. An abstention counts as wrong in every F1.

use std::collections::BTreeMap;

use models::MaskProbabilities;
use proto::result::FaceLabel;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::voc::Class;

/// One annotated face and what the model says of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    /// Which photo: faces of one photo are not independent.
    pub photo: usize,
    pub class: Class,
    pub answer: MaskProbabilities,
    pub label: FaceLabel,
}

/// Names of the classes in the order of [`Class`].
pub(crate) const CLASSES: [&str; 3] = ["mask", "no_mask", "incorrect"];
/// Bins of equal mass of the calibration error.
const BINS: usize = 15;
/// Draws of the bootstrap.
const DRAWS: usize = 1000;

impl Judged {
    fn answered(&self) -> bool {
        match self.label {
            FaceLabel::Mask | FaceLabel::NoMask | FaceLabel::Incorrect => true,
            FaceLabel::Uncertain | FaceLabel::NotAFace => false,
        }
    }

    /// The three ways to wear a mask, given that there is a face.
    fn three(&self) -> [f32; 3] {
        let MaskProbabilities { mask, no_mask, incorrect, .. } = self.answer;
        let sum = (mask + no_mask + incorrect).max(1e-9);
        [mask, no_mask, incorrect].map(|p| p / sum)
    }

    fn top(&self) -> (usize, f32) {
        // The first of several that are as likely, as a label has it.
        let ranked = self.three().into_iter().enumerate().rev();
        ranked.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
    }

    /// Truth and answer under each of the three readings; nothing where the reading leaves the face out.
    fn readings(&self) -> [Option<(usize, Option<usize>)>; 3] {
        let told = |answer: usize| self.answered().then_some(answer);
        let [mask, no_mask, _] = self.three();
        let two = usize::from(no_mask > mask);
        let masked = usize::from(mask <= 0.5);
        let truth = self.class as usize;
        [
            (self.class != Class::Incorrect).then(|| (truth, told(two))),
            Some((usize::from(self.class != Class::Mask), told(masked))),
            Some((truth, told(self.top().0))),
        ]
    }
}

/// How often each truth (row) was answered so (column; the fourth: not answered), under each reading.
type Tables = [[[u32; 4]; 3]; 3];

fn tables<'a>(faces: impl Iterator<Item = &'a Judged>) -> Tables {
    let mut tables = Tables::default();
    for face in faces {
        for (table, reading) in tables.iter_mut().zip(face.readings()) {
            let Some((truth, answer)) = reading else { continue };
            if let Some(n) = table.get_mut(truth).and_then(|row| row.get_mut(answer.unwrap_or(3))) {
                *n += 1;
            }
        }
    }
    tables
}

/// Faces that are so and are told so, are so, are told so.
fn tally(table: &[[u32; 4]; 3], class: usize) -> (u32, u32, u32) {
    let row = table.get(class).copied().unwrap_or_default();
    let hit = row.get(class).copied().unwrap_or(0);
    let told = table.iter().filter_map(|row| row.get(class)).sum();
    (hit, row.iter().sum(), told)
}

fn macro_f1(table: &[[u32; 4]; 3], classes: usize) -> f64 {
    let one = |class| {
        let (hit, so, told) = tally(table, class);
        f64::from(2 * hit) / f64::from((so + told).max(1))
    };
    (0..classes).map(one).sum::<f64>() / [1.0, 1.0, 2.0, 3.0].get(classes).unwrap_or(&1.0)
}

/// F1-2, F1-2-all, F1-3.
fn f1s(tables: &Tables) -> [f64; 3] {
    let [two, all, three] = tables;
    [macro_f1(two, 2), macro_f1(all, 2), macro_f1(three, 3)]
}

/// One class of the three-way reading.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PerClass {
    faces: u32,
    precision: f64,
    recall: f64,
    f1: f64,
}

/// The figures of a set of faces.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub faces: usize,
    pub f1_2: f64,
    pub f1_2_all: f64,
    pub f1_3: f64,
    /// 95%, percentile bootstrap over pictures.
    pub f1_2_interval: [f64; 2],
    pub f1_2_all_interval: [f64; 2],
    pub f1_3_interval: [f64; 2],
    /// On the answered part alone.
    pub f1_2_answered: f64,
    pub f1_2_all_answered: f64,
    pub f1_3_answered: f64,
    /// Calibration error of the top label, 15 bins of equal mass, three classes, before abstention.
    pub ece: f64,
    pub brier: f64,
    /// Too small to say.
    pub uncertain_share: f64,
    /// Annotated faces that were called none: errors.
    pub not_a_face_share: f64,
    pub per_class: BTreeMap<&'static str, PerClass>,
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^24 faces")]
pub(crate) fn figures(faces: &[Judged], seed: u64) -> Figures {
    let whole = tables(faces.iter());
    let [f1_2, f1_2_all, f1_3] = f1s(&whole);
    let answered = f1s(&tables(faces.iter().filter(|face| face.answered())));
    let [two, all, three] = intervals(faces, seed);
    let n = faces.len().max(1) as f64;
    let share = |label| faces.iter().filter(|f| f.label == label).count() as f64 / n;
    let per_class = CLASSES.into_iter().enumerate().map(|(class, name)| {
        let (hit, so, told) = tally(&whole[2], class);
        let ratio = |of: u32| f64::from(hit) / f64::from(of.max(1));
        let f1 = f64::from(2 * hit) / f64::from((so + told).max(1));
        (name, PerClass { faces: so, precision: ratio(told), recall: ratio(so), f1 })
    });
    Figures {
        faces: faces.len(),
        f1_2,
        f1_2_all,
        f1_3,
        f1_2_interval: two,
        f1_2_all_interval: all,
        f1_3_interval: three,
        f1_2_answered: answered[0],
        f1_2_all_answered: answered[1],
        f1_3_answered: answered[2],
        ece: reliability(faces).iter().map(|bin| bin.gap() * bin.faces).sum::<f64>() / n,
        brier: faces.iter().map(brier).sum::<f64>() / n,
        uncertain_share: share(FaceLabel::Uncertain),
        not_a_face_share: share(FaceLabel::NotAFace),
        per_class: per_class.collect(),
    }
}

fn brier(face: &Judged) -> f64 {
    let squares = face.three().into_iter().enumerate().map(|(class, p)| {
        let truth = if class == face.class as usize { 1.0 } else { 0.0 };
        f64::from(p - truth).powi(2)
    });
    squares.sum()
}

/// One bin of the calibration error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bin {
    pub faces: f64,
    pub confidence: f64,
    pub right: f64,
}

impl Bin {
    fn gap(&self) -> f64 {
        (self.confidence - self.right).abs()
    }
}

/// Confidence and truth of the top label in bins of equal mass, the least confident first.
#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^24 faces")]
pub(crate) fn reliability(faces: &[Judged]) -> Vec<Bin> {
    let mut tops: Vec<(f32, bool)> =
        faces.iter().map(|face| (face.top().1, face.top().0 == face.class as usize)).collect();
    tops.sort_by(|a, b| a.0.total_cmp(&b.0));
    let cut = |bin: usize| bin * tops.len() / BINS;
    let slices = (0..BINS).filter_map(|bin| tops.get(cut(bin)..cut(bin + 1)));
    slices
        .filter(|slice| !slice.is_empty())
        .map(|slice| {
            let n = slice.len() as f64;
            let confidence = slice.iter().map(|(p, _)| f64::from(*p)).sum::<f64>() / n;
            let right = slice.iter().filter(|(_, right)| *right).count() as f64 / n;
            Bin { faces: n, confidence, right }
        })
        .collect()
}

/// 95% of the bootstrap over pictures of F1-2, F1-2-all, F1-3.
fn intervals(faces: &[Judged], seed: u64) -> [[f64; 2]; 3] {
    let mut photos: BTreeMap<usize, Vec<Judged>> = BTreeMap::new();
    for face in faces {
        photos.entry(face.photo).or_default().push(*face);
    }
    let photos: Vec<Tables> = photos.values().map(|faces| tables(faces.iter())).collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draws: [Vec<f64>; 3] = Default::default();
    for _ in 0..if photos.is_empty() { 0 } else { DRAWS } {
        let mut sum = Tables::default();
        for _ in 0..photos.len() {
            if let Some(one) = photos.get(random.random_range(0..photos.len())) {
                let cells = one.as_flattened().as_flattened();
                for (total, n) in sum.as_flattened_mut().as_flattened_mut().iter_mut().zip(cells) {
                    *total += n;
                }
            }
        }
        for (values, f1) in draws.iter_mut().zip(f1s(&sum)) {
            values.push(f1);
        }
    }
    draws.map(interval)
}

/// The middle 95% of draws.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position among a thousand draws"
)]
pub(crate) fn interval(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    [0.025, 0.975].map(|q| values.get((q * last).round() as usize).copied().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(photo: usize, class: Class, shares: [f32; 4], label: FaceLabel) -> Judged {
        Judged { photo, class, answer: MaskProbabilities::new(shares).unwrap(), label }
    }

    #[test]
    fn f1_follows_its_three_readings() {
        let faces = [
            face(0, Class::Mask, [0.9, 0.1, 0.0, 0.0], FaceLabel::Mask),
            face(0, Class::Mask, [0.4, 0.5, 0.1, 0.0], FaceLabel::NoMask),
            face(1, Class::NoMask, [0.1, 0.9, 0.0, 0.0], FaceLabel::NoMask),
            face(2, Class::Incorrect, [0.2, 0.2, 0.6, 0.0], FaceLabel::Incorrect),
        ];
        let figures = figures(&faces, 1);
        // Mask: one of two found, none wrong. No mask: found, one wrong.
        assert!((figures.f1_2 - (2.0 / 3.0 + 2.0 / 3.0) / 2.0).abs() < 1e-9);
        // All: masked 1 of 2; not masked 2 of 2 and one wrong.
        assert!((figures.f1_2_all - (2.0 / 3.0 + 4.0 / 5.0) / 2.0).abs() < 1e-9);
        assert!((figures.f1_3 - (2.0 / 3.0 + 2.0 / 3.0 + 1.0) / 3.0).abs() < 1e-9);
        assert_eq!((figures.faces, figures.per_class["mask"].faces), (4, 2));
        assert!(
            figures.f1_2_interval[0] <= figures.f1_2 && figures.f1_2 <= figures.f1_2_interval[1]
        );
    }

    #[test]
    fn an_abstention_is_wrong_and_is_told_apart() {
        let faces = [
            face(0, Class::Mask, [0.9, 0.1, 0.0, 0.0], FaceLabel::Uncertain),
            face(1, Class::NoMask, [0.0, 0.1, 0.0, 0.9], FaceLabel::NotAFace),
            face(2, Class::Mask, [0.9, 0.1, 0.0, 0.0], FaceLabel::Mask),
            face(3, Class::NoMask, [0.1, 0.9, 0.0, 0.0], FaceLabel::NoMask),
        ];
        let figures = figures(&faces, 1);
        assert!((figures.f1_2 - 2.0 / 3.0).abs() < 1e-9);
        assert!((figures.f1_2_answered - 1.0).abs() < 1e-9);
        assert!((figures.uncertain_share, figures.not_a_face_share) == (0.25, 0.25));
    }

    #[test]
    fn a_model_that_knows_what_it_does_not_know_has_no_calibration_error() {
        let sure = |right: bool| {
            let class = if right { Class::Mask } else { Class::NoMask };
            face(0, class, [0.75, 0.25, 0.0, 0.0], FaceLabel::Mask)
        };
        // Every bin of four has one error.
        let faces: Vec<Judged> = (0..60).map(|i| sure(i % 4 != 0)).collect();
        assert!(figures(&faces, 1).ece < 1e-6);
        let faces: Vec<Judged> = (0..60).map(|_| sure(true)).collect();
        assert!((figures(&faces, 1).ece - 0.25).abs() < 1e-6);
    }
}
