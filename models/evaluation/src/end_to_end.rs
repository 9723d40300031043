//! Owns the counts on whole photos: detector, redaction, audit and classifier together, against the annotations.

use models::{MaskClassifier, MaskProbabilities, detector::Detection};
use privacy::{Noise, Policy, RawFrame};
use proto::{manifest::Grid, result::FaceLabel};
use serde::Serialize;

use crate::{
    score::{Figures, Judged, figures},
    utility::{Pipeline, input},
    voc::{Class, Face, Photo},
};

/// Overlap (over union) from which a counted box is an annotated face: boxes snap to 4 px, so it is loose.
const SAME_FACE: f32 = 0.3;

/// Figures of whole photos.
#[derive(Debug, Serialize)]
pub(crate) struct EndToEnd {
    /// Counted boxes of the least size and more that are an annotated face of any size.
    count_precision: f64,
    /// Annotated faces of the least size and more that are counted.
    count_recall: f64,
    /// Mean absolute error of the share without mask, over photos where both sides have a face.
    share_mae: f64,
    counted: u32,
    annotated: u32,
    share_pictures: u32,
    withheld: u32,
    /// The same figures on the cells that leave: of annotated faces of the least size and more that have a counted region,
    /// through the detector's own boxes.
    regions: Figures,
}

impl std::fmt::Display for EndToEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "whole photos: counted faces precision {:.3}, recall {:.3} ({} counted, {} annotated); \
             share without mask off by {:.3} on average ({} photos); {} withheld\n\
             on the cells that leave: {} faces, F1-2 {:.3}, F1-2-all {:.3}, F1-3 {:.3}, ECE {:.3}",
            self.count_precision,
            self.count_recall,
            self.counted,
            self.annotated,
            self.share_mae,
            self.share_pictures,
            self.withheld,
            self.regions.faces,
            self.regions.f1_2,
            self.regions.f1_2_all,
            self.regions.f1_3,
            self.regions.ece
        )
    }
}

/// Sums over photos.
pub(crate) struct Tally {
    min_px: f32,
    counted: u32,
    right: u32,
    annotated: u32,
    found: u32,
    errors: Vec<f64>,
    withheld: u32,
    judged: Vec<Judged>,
}

impl Tally {
    pub(crate) fn new(min_px: f32) -> Self {
        let (errors, judged) = (Vec::new(), Vec::new());
        Self { min_px, counted: 0, right: 0, annotated: 0, found: 0, errors, withheld: 0, judged }
    }

    /// One photo and its number through the product.
    pub(crate) fn add(
        &mut self,
        frame: RawFrame,
        (number, photo): (usize, &Photo),
        pipeline: &mut Pipeline<'_>,
        policy: &Policy,
        noise: &Noise,
        model: &mut dyn MaskClassifier,
    ) -> anyhow::Result<()> {
        let Pipeline { detector, auditor } = pipeline;
        let min_px = self.min_px;
        let large = |face: &Face| face.width().min(face.height()) >= min_px;
        let truth: Vec<&Face> = photo.faces.iter().filter(|face| large(face)).collect();
        self.annotated += count(truth.len());
        let Ok(frame) = privacy::anonymise(frame, *detector, *auditor, policy, noise) else {
            self.withheld += 1;
            return Ok(());
        };
        let answers = answered(frame.regions().iter().filter_map(|r| r.grid.as_ref()), model)?;
        self.judge(number, &photo.faces, &answers);
        let counted: Vec<&Answered> =
            answers.iter().filter(|answer| answer.is_counted(self.min_px)).collect();
        let boxes: Vec<Detection> = counted.iter().map(|answer| answer.found).collect();
        let matched = matches(&boxes, &photo.faces);
        self.counted += count(boxes.len());
        self.right += count(matched.iter().filter(|face| face.is_some()).count());
        let hit =
            matched.iter().flatten().filter(|index| photo.faces.get(**index).is_some_and(large));
        self.found += count(hit.count());
        let said = share(counted.iter().map(|answer| answer.label == FaceLabel::NoMask));
        let so = share(truth.iter().map(|face| face.class == Class::NoMask));
        self.errors.extend(said.zip(so).map(|(said, so)| (said - so).abs()));
        Ok(())
    }

    /// What is said of the faces that have a counted region.
    fn judge(&mut self, photo: usize, faces: &[Face], answers: &[Answered]) {
        let boxes: Vec<Detection> = answers.iter().map(|answer| answer.found).collect();
        for (face, Answered { answer, label, .. }) in matches(&boxes, faces).iter().zip(answers) {
            let face = face.and_then(|index| faces.get(index));
            let face = face.filter(|face| face.width().min(face.height()) >= self.min_px);
            let judged =
                |face: &Face| Judged { photo, class: face.class, answer: *answer, label: *label };
            self.judged.extend(face.map(judged));
        }
    }

    pub(crate) fn report(&self, seed: u64) -> EndToEnd {
        let ratio = |a: u32, b: u32| f64::from(a) / f64::from(b.max(1));
        let n = count(self.errors.len());
        EndToEnd {
            count_precision: ratio(self.right, self.counted),
            count_recall: ratio(self.found, self.annotated),
            share_mae: self.errors.iter().sum::<f64>() / f64::from(n.max(1)),
            counted: self.counted,
            annotated: self.annotated,
            share_pictures: n,
            withheld: self.withheld,
            regions: figures(&self.judged, seed),
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Share of faces without mask; nothing where there is no face.
fn share(faces: impl Iterator<Item = bool>) -> Option<f64> {
    let (mut without, mut all) = (0u32, 0u32);
    for face in faces {
        without += u32::from(face);
        all += 1;
    }
    (all > 0).then(|| f64::from(without) / f64::from(all))
}

/// A region that results count, with what is said of it.
struct Answered {
    found: Detection,
    answer: MaskProbabilities,
    label: FaceLabel,
}

impl Answered {
    /// Whether it is a face of the least size and more of which something is said.
    fn is_counted(&self, min_px: f32) -> bool {
        let said = !matches!(self.label, FaceLabel::NotAFace | FaceLabel::Uncertain);
        said && self.found.w.min(self.found.h) >= min_px
    }
}

#[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
fn answered<'a>(
    grids: impl Iterator<Item = &'a Grid>,
    model: &mut dyn MaskClassifier,
) -> anyhow::Result<Vec<Answered>> {
    let seen: Vec<&Grid> = grids.filter(|grid| grid.counted).collect();
    let inputs: Vec<_> = seen.iter().map(|grid| input(grid)).collect();
    let answers = model.classify(&inputs)?;
    let answered = seen.iter().zip(&inputs).zip(answers).map(|((grid, input), answer)| {
        let [x, y, w, h] = [grid.rect.x, grid.rect.y, grid.rect.w, grid.rect.h].map(|v| v as f32);
        let found = Detection { x, y, w, h, score: f32::from(grid.score_milli) / 1000.0 };
        Answered { found, answer, label: model.info().label(input, &answer) }
    });
    Ok(answered.collect())
}

/// For each box the face that it is, each face once, the best overlaps first.
fn matches(boxes: &[Detection], faces: &[Face]) -> Vec<Option<usize>> {
    let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
    for (b, found) in boxes.iter().enumerate() {
        for (f, face) in faces.iter().enumerate() {
            let [x, y, ..] = face.corners;
            let (w, h) = (face.width(), face.height());
            let overlap = found.overlap(&Detection { x, y, w, h, score: 1.0 });
            if overlap >= SAME_FACE {
                pairs.push((overlap, b, f));
            }
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut matched = vec![None; boxes.len()];
    for (_, b, f) in pairs {
        let taken = matched.contains(&Some(f));
        if let Some(slot) = matched.get_mut(b).filter(|slot| slot.is_none() && !taken) {
            *slot = Some(f);
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_face_is_matched_once_by_the_best_box() {
        let face = |x: f32| Face { class: Class::Mask, corners: [x, 0.0, x + 40.0, 40.0] };
        let found = |x: f32| Detection { x, y: 0.0, w: 40.0, h: 40.0, score: 0.9 };
        let matched = matches(&[found(8.0), found(2.0), found(300.0)], &[face(0.0), face(100.0)]);
        assert_eq!(matched, [None, Some(0), None]);
    }

    #[test]
    fn what_is_small_or_not_said_is_judged_and_not_counted() {
        let answer = |label, w| Answered {
            found: Detection { x: 0.0, y: 0.0, w, h: 40.0, score: 0.9 },
            answer: MaskProbabilities::KNOWS_NOTHING,
            label,
        };
        let answers = [
            answer(FaceLabel::Mask, 40.0),
            answer(FaceLabel::Mask, 30.0),
            answer(FaceLabel::NotAFace, 40.0),
        ];
        assert_eq!(answers.each_ref().map(|a| a.is_counted(32.0)), [true, false, false]);
        let face = |x: f32| Face { class: Class::Mask, corners: [x, 0.0, x + 40.0, 40.0] };
        let mut tally = Tally::new(32.0);
        tally.judge(0, &[face(0.0), face(300.0)], &answers[2..]);
        assert_eq!(tally.judged.len(), 1, "the far one has no region");
        assert_eq!(tally.report(1).regions.faces, 1);
    }

    #[test]
    fn a_share_without_faces_is_none() {
        assert_eq!(share([].into_iter()), None);
        assert_eq!(share([true, false].into_iter()), Some(0.5));
    }
}
