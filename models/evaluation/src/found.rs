//! Owns what the detector finds on annotated photos: which of its boxes is which face, and a file that keeps the boxes.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use models::{Detection, FaceDetector, centerface::OVERLAP_MAX, detector::suppress};
use privacy::RawFrame;

use crate::voc::Face;

/// Overlap (over union) from which a box is an annotated face: the detector's boxes begin and end above the annotated ones.
const SAME_FACE: f32 = 0.4;

/// The box that the detector gives this face; nothing when it does not find it.
pub(crate) fn of_face(face: &Face, found: &[Detection]) -> Option<Detection> {
    let overlap = |found: &Detection| face.boxed().overlap(found);
    let best = found.iter().max_by(|a, b| overlap(a).total_cmp(&overlap(b)))?;
    (overlap(best) > SAME_FACE).then_some(*best)
}

/// The detector's boxes of each photo: left, top, width, height, score.
#[derive(Debug, Default)]
pub(crate) struct Found {
    boxes: BTreeMap<String, Vec<[f32; 5]>>,
    /// Some of them are not in the file.
    is_new: bool,
}

impl Found {
    /// What the file holds; nothing without one.
    pub(crate) fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file.filter(|file| file.exists()) else { return Ok(Self::default()) };
        let text = std::fs::read(file).with_context(|| file.display().to_string())?;
        let boxes = serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
        Ok(Self { boxes, is_new: false })
    }

    /// One box a face, the best; from the file, or from the detector.
    pub(crate) fn of(
        &mut self,
        stem: &str,
        frame: &RawFrame,
        detector: &mut dyn FaceDetector,
    ) -> anyhow::Result<Vec<Detection>> {
        if !self.boxes.contains_key(stem) {
            let view = frame.view().context("an empty picture")?;
            let found = suppress(detector.detect(view)?, OVERLAP_MAX);
            let boxes = found.iter().map(|f| [f.x, f.y, f.w, f.h, f.score]).collect();
            self.boxes.insert(stem.to_owned(), boxes);
            self.is_new = true;
        }
        let boxes = self.boxes.get(stem).map(Vec::as_slice).unwrap_or_default();
        Ok(boxes.iter().map(|&[x, y, w, h, score]| Detection { x, y, w, h, score }).collect())
    }

    /// Writes the file when there is something new: others may be reading it.
    pub(crate) fn keep(&self, file: Option<&Path>) -> anyhow::Result<()> {
        let Some(file) = file.filter(|_| self.is_new) else { return Ok(()) };
        let text = serde_json::to_vec(&self.boxes)?;
        std::fs::write(file, text).with_context(|| file.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use models::detector::Scripted;

    use super::*;
    use crate::{still::Still, voc::Class};

    fn found(x: f32) -> Detection {
        Detection { x, y: 10.0, w: 40.0, h: 40.0, score: 0.9 }
    }

    #[test]
    fn a_face_has_the_box_that_overlaps_it_most_and_none_when_all_are_elsewhere() {
        let face = Face { class: Class::Mask, corners: [0.0, 12.0, 40.0, 52.0] };
        assert_eq!(of_face(&face, &[found(12.0), found(2.0), found(90.0)]), Some(found(2.0)));
        assert_eq!(of_face(&face, &[found(30.0)]), None);
        assert_eq!(of_face(&face, &[]), None);
    }

    #[test]
    fn boxes_that_were_kept_are_read_and_not_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("found.json");
        let frame =
            Still { width: 90, height: 60, planes: vec![9.0; 3 * 90 * 60] }.frame().unwrap();
        let mut kept = Found::open(Some(&file)).unwrap();
        let mut detector = Scripted::boxes(1, vec![found(2.0), found(4.0)]);
        assert_eq!(kept.of("a", &frame, &mut detector).unwrap().len(), 1, "one box a face");
        kept.keep(Some(&file)).unwrap();
        let mut again = Found::open(Some(&file)).unwrap();
        let mut broken = Scripted::failing(1);
        assert_eq!(again.of("a", &frame, &mut broken).unwrap().len(), 1);
        assert!(again.of("b", &frame, &mut broken).is_err());
    }
}
