//! Owns which pixels of a picture are redacted, and when a face counts as covered, as the design defines it: 90% of the
//! central 70% of its annotated box (in width and in height); the stricter reading takes 90% of the whole box.

use proto::manifest::{Rect, Region};

use crate::voc::Face;

/// Share that makes a face covered.
const COVERED: f64 = 0.9;
/// The central part of a box, in width and in height.
const CENTRAL: f32 = 0.7;
/// Redacted pixels outside the annotated boxes grown by this much hide nothing that had to be hidden.
const GROWN: f32 = 1.6;

/// The sizes that are told apart, by the shorter side in pixels.
pub(crate) const BINS: [&str; 3] = ["16-32", "32-64", "64+"];

/// Which of [`BINS`] a face is in; nothing when it is smaller than all.
pub(crate) fn bin(face: &Face) -> Option<usize> {
    match face.width().min(face.height()) {
        side if side < 16.0 => None,
        side if side < 32.0 => Some(0),
        side if side < 64.0 => Some(1),
        _ => Some(2),
    }
}

/// Which pixels are redacted.
pub(crate) struct Area {
    width: usize,
    height: usize,
    redacted: Vec<bool>,
}

impl Area {
    /// Nothing redacted.
    pub(crate) fn new((width, height): (u32, u32)) -> Self {
        let (width, height) = (width as usize, height as usize);
        Self { width, height, redacted: vec![false; width * height] }
    }

    /// What a manifest's regions cover.
    pub(crate) fn of(size: (u32, u32), regions: &[Region]) -> Self {
        let mut area = Self::new(size);
        let grids = regions.iter().filter_map(|region| region.grid.as_ref().map(|g| g.rect));
        for Rect { x, y, w, h } in
            regions.iter().flat_map(|region| region.fill.clone()).chain(grids)
        {
            let [x, y, w, h] = [x, y, w, h].map(|v| v as usize);
            area.set(x..x + w, y..y + h, true);
        }
        area
    }

    /// What boxes (left, top, width, height) cover, whatever lies outside the picture ignored.
    pub(crate) fn of_boxes(size: (u32, u32), boxes: &[[f32; 4]]) -> Self {
        let mut area = Self::new(size);
        for [x, y, w, h] in boxes {
            let (columns, rows) = (span(*x, x + w, area.width), span(*y, y + h, area.height));
            area.set(columns, rows, true);
        }
        area
    }

    fn set(&mut self, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>, to: bool) {
        for row in self.redacted.chunks_mut(self.width).skip(rows.start).take(rows.len()) {
            row.iter_mut().skip(columns.start).take(columns.len()).for_each(|pixel| *pixel = to);
        }
    }

    /// Share of the picture that is redacted.
    #[expect(clippy::cast_precision_loss, reason = "pictures have fewer than 2^24 pixels")]
    pub(crate) fn share(&self) -> f64 {
        self.redacted.iter().filter(|pixel| **pixel).count() as f64 / self.redacted.len() as f64
    }

    /// Share of the picture that is redacted and lies outside the annotated boxes grown 1.6 times.
    pub(crate) fn share_outside(&self, faces: &[Face]) -> f64 {
        let redacted = self.redacted.clone();
        let mut rest = Self { redacted, ..*self };
        for face in faces {
            let (columns, rows) = rest.part(face, GROWN);
            rest.set(columns, rows, false);
        }
        rest.share()
    }

    /// Whether a face is covered: by its central part, and by its whole box.
    pub(crate) fn covers(&self, face: &Face) -> (bool, bool) {
        (self.covered(face, CENTRAL) >= COVERED, self.covered(face, 1.0) >= COVERED)
    }

    fn part(&self, face: &Face, part: f32) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let [x0, y0, x1, y1] = face.corners;
        let about = |low: f32, high: f32, side: usize| {
            let (middle, half) = (f32::midpoint(low, high), (high - low) * part / 2.0);
            span(middle - half, middle + half, side)
        };
        (about(x0, x1, self.width), about(y0, y1, self.height))
    }

    /// Share of a part of a face's box that is redacted; 1 when no pixel of it is in the picture.
    fn covered(&self, face: &Face, part: f32) -> f64 {
        let (columns, rows) = self.part(face, part);
        let (mut all, mut hidden) = (0u32, 0u32);
        for row in self.redacted.chunks(self.width).skip(rows.start).take(rows.len()) {
            for pixel in row.iter().skip(columns.start).take(columns.len()) {
                all += 1;
                hidden += u32::from(*pixel);
            }
        }
        if all == 0 { 1.0 } else { f64::from(hidden) / f64::from(all) }
    }
}

/// The whole pixels from `low` to `high` inside a side.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the picture, whose sides are under 2^16"
)]
fn span(low: f32, high: f32, side: usize) -> std::ops::Range<usize> {
    let clamp = |v: f32| v.round().clamp(0.0, side as f32) as usize;
    clamp(low)..clamp(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voc::Class;

    fn face(corners: [f32; 4]) -> Face {
        Face { class: Class::Mask, corners }
    }

    #[test]
    fn a_face_is_covered_by_its_central_part_or_its_whole_box() {
        let rect = Rect { x: 10, y: 10, w: 70, h: 100 };
        let area = Area::of((100, 120), &[Region::filled(vec![rect])]);
        let found = face([0.0, 10.0, 100.0, 110.0]);
        // Whole box: 70 of 100 columns. Central part: columns 15 to 85, of which 15 to 80 are redacted.
        assert!((area.covered(&found, 1.0) - 0.70).abs() < 1e-9);
        assert!((area.covered(&found, CENTRAL) - 65.0 / 70.0).abs() < 1e-9);
        assert_eq!(area.covers(&found), (true, false));
        assert!((area.share() - 7000.0 / 12_000.0).abs() < 1e-9);
    }

    #[test]
    fn boxes_of_others_are_cut_to_the_picture() {
        let area = Area::of_boxes((10, 10), &[[-5.0, -5.0, 10.0, 10.0], [8.0, 8.0, 90.0, 1.0]]);
        assert!((area.share() - 0.27).abs() < 1e-9, "{}", area.share());
    }

    #[test]
    fn what_lies_around_a_face_is_not_outside() {
        let area = Area::of_boxes((100, 100), &[[0.0, 0.0, 100.0, 50.0]]);
        // 20 px of face grown 1.6 times: 32 by 32, all redacted.
        let outside = area.share_outside(&[face([40.0, 10.0, 60.0, 30.0])]);
        assert!((outside - (5000.0 - 32.0 * 32.0) / 10_000.0).abs() < 1e-9, "{outside}");
    }

    #[test]
    fn faces_fall_into_bins_by_their_shorter_side() {
        let by = |w: f32, h: f32| bin(&face([0.0, 0.0, w, h]));
        assert_eq!(
            [by(15.0, 90.0), by(16.0, 90.0), by(90.0, 32.0), by(64.0, 64.0)],
            [None, Some(0), Some(1), Some(2)]
        );
    }
}
