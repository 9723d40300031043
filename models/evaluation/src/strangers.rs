//! Owns strangers in the gallery: persons of one photo each, cut out of annotated photos, among whom the right person has
//! to be found. How far up the list is he?

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail};
use onnx::Recogniser;
use serde::Serialize;

use crate::{
    attack::{Answer, Target},
    identity::{Folds, Plan},
    leaving::Leaving,
    looks::{Looks, Seen},
    people::{self, Photo},
    reidentify::{seen, subjects},
    voc,
};

/// Shorter side of a face from which on it is somebody, in pixels (design: privacy, "Distractors").
const SIDE_MIN: f32 = 48.0;
/// One look, and sixteen within an epoch; and which of [`Looks::ALL`] they are.
const KINDS: [(&str, Looks, usize); 2] = [("1", Looks::One, 0), ("16", Looks::Within(16), 2)];
/// Turns a seed into one far off: photos take the seeds that follow it.
const OTHER: u64 = 1 << 40;
/// Share of the list that counts as its top.
const TOP: f64 = 0.01;

/// Where the right person stands in a list of all persons and all strangers.
#[derive(Debug, Serialize)]
pub(crate) struct Ranks {
    /// How many strangers.
    strangers: usize,
    /// Median share of the list that comes before the right person, by looks: 0 is first, .5 is chance.
    rank_percentile: BTreeMap<&'static str, f64>,
    /// Share of probes whose person is in the first hundredth of the list; chance .01.
    in_first_percent: BTreeMap<&'static str, f64>,
}

impl std::fmt::Display for Ranks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "among {} strangers:", self.strangers)?;
        for (looks, before) in &self.rank_percentile {
            let top = self.in_first_percent.get(looks).copied().unwrap_or_default();
            write!(
                f,
                " {looks} looks: behind {before:.3} of the list (median), first hundredth {top:.3};"
            )?;
        }
        Ok(())
    }
}

/// Every annotated face of the folder that is large enough, as a person of one photo. `first` are persons and groups that
/// are taken.
pub(crate) fn read(
    folder: &Path,
    first: (usize, usize),
    mut recogniser: Option<&mut Recogniser>,
) -> anyhow::Result<Vec<Photo>> {
    let mut strangers = Vec::new();
    for photo in voc::read(folder)? {
        let large = |face: &&voc::Face| face.width().min(face.height()) >= SIDE_MIN;
        let faces: Vec<&voc::Face> = photo.faces.iter().filter(large).collect();
        if faces.is_empty() {
            continue;
        }
        let frame = people::open(&photo.image)?;
        let view = frame.view().context("an empty picture")?;
        for face in faces {
            let embedding = match &mut recogniser {
                Some(known) => known.embed(&people::portrait(view, face.boxed())?.planes)?,
                None => Vec::new(),
            };
            let (person, group) = (first.0 + strangers.len(), first.1 + strangers.len());
            let (path, face) = (photo.image.clone(), face.boxed());
            strangers.push(Photo { person, group, path, face, embedding });
        }
    }
    if strangers.is_empty() {
        bail!("{} has no face of {SIDE_MIN} px or more", folder.display());
    }
    Ok(strangers)
}

/// The ranks of persons (photos and what is seen of them) among strangers.
pub(crate) fn ranks(
    (photos, known): (&[Photo], &[Seen]),
    strangers: &[Photo],
    leaving: Leaving<'_>,
    plan: &Plan,
) -> anyhow::Result<Ranks> {
    let theirs = seen(strangers, leaving, &KINDS.map(|(_, looks, _)| looks), plan.seed ^ OTHER)?;
    let picked = |seen: &Seen| Seen {
        learned: KINDS.iter().filter_map(|(.., at)| seen.learned.get(*at).cloned()).collect(),
        probed: KINDS.iter().filter_map(|(.., at)| seen.probed.get(*at).cloned()).collect(),
    };
    let source = known.iter().map(picked).chain(theirs).collect();
    let subjects = subjects(photos.iter().chain(strangers));
    let target = Target { subjects: &subjects, sources: vec![source] };
    let mut ranks = Ranks {
        strangers: strangers.len(),
        rank_percentile: BTreeMap::new(),
        in_first_percent: BTreeMap::new(),
    };
    for (kind, (name, ..)) in KINDS.into_iter().enumerate() {
        let answers = among(&target, kind, photos.len(), &plan.folds);
        let mut before: Vec<f64> = answers.iter().map(Answer::before_it).collect();
        before.sort_by(f64::total_cmp);
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^24 photos")]
        let share = |n: usize| n as f64 / before.len().max(1) as f64;
        let top = share(before.iter().filter(|before| **before < TOP).count());
        ranks.in_first_percent.insert(name, top);
        ranks.rank_percentile.insert(name, before.get(before.len() / 2).copied().unwrap_or(0.5));
    }
    Ok(ranks)
}

/// Answers for every photo of the persons; strangers are learned each time.
fn among(target: &Target<'_>, kind: usize, photos: usize, folds: &Folds) -> Vec<Answer> {
    let strangers: Vec<usize> = (photos..target.subjects.len()).collect();
    let tasks: Vec<(Vec<usize>, Vec<usize>)> = folds.parts(photos).collect();
    let answers = crate::spread::spread(tasks.len(), |task| {
        let (learning, probes) = tasks.get(task)?;
        Some(target.attack_among(kind, learning, &strangers, probes))
    });
    answers.into_iter().flatten().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::Subject;

    /// Two persons of four photos whose one feature tells them apart, and strangers in between and outside.
    #[test]
    fn who_is_told_apart_stands_first_among_strangers_and_who_is_not_in_the_middle() {
        let subject = |i: usize| Subject {
            person: if i < 8 { i / 4 } else { i - 6 },
            group: i,
            embedding: Vec::new(),
        };
        let subjects: Vec<Subject> = (0..48).map(subject).collect();
        let look = |i: usize, told: bool| {
            let at =
                if i < 8 { (i / 4) as f32 * 10.0 + (i % 4) as f32 / 100.0 } else { i as f32 / 3.0 };
            vec![if told { at } else { 0.0 }, 1.0]
        };
        let of = |told: bool| {
            let seen =
                |i| Seen { learned: vec![vec![look(i, told); 3]], probed: vec![look(i, told)] };
            let sources = vec![(0..48).map(seen).collect()];
            let target = Target { subjects: &subjects, sources };
            let folds = Folds::deal(&subjects[..8], 1, 1);
            let answers = among(&target, 0, 8, &folds);
            assert_eq!(answers.len(), 8);
            answers.iter().map(Answer::before_it).sum::<f64>() / 8.0
        };
        assert!(of(true) < 0.1, "{}", of(true));
        assert!((of(false) - 0.5).abs() < 0.1, "{}", of(false));
    }
}
