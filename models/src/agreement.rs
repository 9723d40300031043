//! Owns what several scales of one network say together: boxes of one face are put together, and what a single scale is
//! unsure of is dropped unless another agrees. Lone weak boxes are what costs area.

use crate::Detection;

/// At which scales a network looks, and what of it counts.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Finding {
    /// Pixels of the picture's longer side at each scale.
    pub long_sides: Vec<usize>,
    /// Score from which a box is looked at at all.
    pub seen: f32,
    /// Score from which a face that one scale sees is believed.
    pub alone: f32,
    /// Sum of the best scores of the scales from which a face that two or more of them see is believed.
    pub together: f32,
}

impl Finding {
    /// Every box from this score on, whoever sees it.
    #[must_use]
    pub const fn plain(long_sides: Vec<usize>, threshold: f32) -> Self {
        Self { long_sides, seen: threshold, alone: threshold, together: threshold }
    }
}

/// Boxes of one scale that overlap the best of them by more than this vote on where it lies.
const VOTES: f32 = 0.5;
/// Boxes that share this much of the smaller one belong to one face.
const SAME_FACE: f32 = 0.4;

/// One box for each face of one scale: the best of boxes that overlap by more than `overlap_max` stays, at the mean of
/// those that overlap it most, weighted by score: steadier than the best box alone.
#[must_use]
pub fn voted(boxes: &[Detection], overlap_max: f32) -> Vec<Detection> {
    let kept = crate::detector::suppress(boxes.to_vec(), overlap_max);
    let moved = |best: &Detection| {
        let (mut sum, mut weight) = ([0.0; 4], 0.0);
        for vote in boxes.iter().filter(|b| b.overlap(best) > VOTES) {
            for (sum, value) in sum.iter_mut().zip([vote.x, vote.y, vote.w, vote.h]) {
                *sum += value * vote.score;
            }
            weight += vote.score;
        }
        let [x, y, w, h] = sum.map(|value| value / weight);
        // A box always overlaps itself; one that does not has no area and is left to whoever checks boxes.
        if weight > 0.0 { Detection { x, y, w, h, score: best.score } } else { *best }
    };
    kept.iter().map(moved).collect()
}

/// Puts boxes into groups around the best ones, the best first in each. Boxes carry whatever `T` is beside them.
#[must_use]
pub fn grouped<T: Copy>(boxes: &[(Detection, T)]) -> Vec<Vec<(Detection, T)>> {
    let mut sorted = boxes.to_vec();
    sorted.sort_by(|a, b| b.0.score.total_cmp(&a.0.score));
    let mut groups: Vec<Vec<(Detection, T)>> = Vec::new();
    for candidate in sorted {
        let same = |group: &&mut Vec<(Detection, T)>| {
            group.first().is_some_and(|(best, _)| same_face(best, &candidate.0))
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(candidate),
            None => groups.push(vec![candidate]),
        }
    }
    groups
}

fn same_face(a: &Detection, b: &Detection) -> bool {
    let side = |a: f32, aw: f32, b: f32, bw: f32| ((a + aw).min(b + bw) - a.max(b)).max(0.0);
    let shared = side(a.x, a.w, b.x, b.w) * side(a.y, a.h, b.y, b.h);
    shared > SAME_FACE * (a.w * a.h).min(b.w * b.h)
}

/// The boxes of every face that is believed, out of the boxes of each scale.
#[must_use]
pub fn agreed(scales: &[Vec<Detection>], finding: &Finding) -> Vec<Detection> {
    let numbered =
        scales.iter().enumerate().flat_map(|(scale, boxes)| boxes.iter().map(move |b| (*b, scale)));
    let groups = grouped(&numbered.collect::<Vec<_>>());
    let believed = groups.into_iter().filter(|group| {
        // The best of each scale: groups are sorted, so the first that a scale has in one.
        let best = (0..scales.len()).filter_map(|scale| {
            group.iter().find(|(_, seen_at)| *seen_at == scale).map(|(found, _)| found.score)
        });
        let best: Vec<f32> = best.collect();
        let alone = best.iter().any(|score| *score >= finding.alone);
        alone || (best.len() > 1 && best.iter().sum::<f32>() >= finding.together)
    });
    believed.flatten().map(|(found, _)| found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, score: f32) -> Detection {
        Detection { x, y: 0.0, w: 10.0, h: 10.0, score }
    }

    #[test]
    fn a_face_is_believed_when_one_scale_is_sure_or_several_agree() {
        let finding = Finding { long_sides: vec![], seen: 0.05, alone: 0.4, together: 0.3 };
        let large = vec![at(0.0, 0.2), at(100.0, 0.5), at(200.0, 0.3), at(300.0, 0.1)];
        let small = vec![at(1.0, 0.15), at(301.0, 0.1)];
        let kept = agreed(&[large, small], &finding);
        assert_eq!(kept, [at(100.0, 0.5), at(0.0, 0.2), at(1.0, 0.15)]);
    }

    #[test]
    fn one_face_seen_at_two_scales_is_one_group_and_the_best_box_comes_first() {
        let boxes = [at(2.0, 0.4), at(0.0, 0.9), at(80.0, 0.3)].map(|found| (found, ()));
        let groups = grouped(&boxes);
        assert_eq!(
            groups,
            [vec![(at(0.0, 0.9), ()), (at(2.0, 0.4), ())], vec![(at(80.0, 0.3), ())]]
        );
    }

    #[test]
    fn two_boxes_of_one_scale_are_no_agreement() {
        let finding = Finding { long_sides: vec![], seen: 0.05, alone: 0.4, together: 0.3 };
        assert_eq!(agreed(&[vec![at(0.0, 0.2), at(4.0, 0.2)], vec![]], &finding), []);
    }

    #[test]
    fn boxes_of_one_face_vote_on_its_place() {
        let kept = voted(&[at(0.0, 0.6), at(2.0, 0.3), at(50.0, 0.2)], 0.3);
        assert_eq!(kept.len(), 2);
        assert!((kept[0].x - 2.0 * 0.3 / 0.9).abs() < 1e-5, "{kept:?}");
        assert_eq!(kept[1], at(50.0, 0.2));
    }
}
