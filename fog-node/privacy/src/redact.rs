//! Owns redaction: detections to regions with their cell values, computed once from the raw frame.

use models::{Detection, FaceDetector, Family};
use proto::{
    limits::FACES_MAX,
    manifest::{Grid, ModelRef, Rect, Region},
    record::WithheldReason,
};
use vision::Picture;

use crate::{
    Classifier, Noise, Policy, RawFrame, RedactedFrame, Seen, Withheld, drawing::pixels_of,
    memory::Face, noise::Place, policy::Ring, regions::snapped, values::released,
};

/// A raw frame whose faces are known.
pub struct Looked {
    raw: RawFrame,
    seen: Seen,
    detector: ModelRef,
    family: Family,
}

/// Has the detector look at a frame.
///
/// # Errors
/// [`Withheld`] when it fails or returns what is no box.
pub fn look(raw: RawFrame, detector: &mut dyn FaceDetector) -> Result<Looked, Withheld> {
    let view = raw.view().ok_or(Withheld(WithheldReason::Encoding))?;
    let faces = detector.detect(view).map_err(|error| {
        tracing::warn!(%error, "detector failed, frame withheld");
        Withheld(WithheldReason::Detector)
    })?;
    Looked::at(raw, &faces, detector)
}

/// Covers each face: a cluster's best box carries the cells, everything else in the grown union is filled. Static
/// regions of the camera are filled first.
///
/// # Errors
/// [`Withheld`] when there are more faces than a manifest holds, or a box that is none.
pub fn redact(
    raw: RawFrame,
    faces: &[Detection],
    detector: &dyn FaceDetector,
    policy: &Policy,
    noise: &Noise,
) -> Result<RedactedFrame, Withheld> {
    Looked::at(raw, faces, detector)?.redact(None, None, policy, noise)
}

impl Looked {
    fn at(
        raw: RawFrame,
        faces: &[Detection],
        detector: &dyn FaceDetector,
    ) -> Result<Self, Withheld> {
        let size = (raw.picture.width(), raw.picture.height());
        let seen = Seen::of(faces, raw.meta.captured_at.micros(), size)?;
        let family = detector.family();
        let detector = ModelRef { name: detector.name().to_owned(), digest: detector.digest() };
        Ok(Self { raw, seen, detector, family })
    }

    /// The faces, for the frames beside this one.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Goes on with the tracks of an earlier frame: a face keeps the noise of its first place.
    pub fn follow(&mut self, before: &Seen) {
        self.seen.follow(before);
    }

    /// Covers each face as [`redact`] does, and without cells what the frames before and after saw and this look did not.
    ///
    /// # Errors
    /// [`Withheld`] when there are more faces than a manifest holds.
    pub fn redact(
        self,
        before: Option<&Seen>,
        after: Option<&Seen>,
        policy: &Policy,
        noise: &Noise,
    ) -> Result<RedactedFrame, Withheld> {
        self.redact_classified(before, after, policy, noise, None)
    }

    /// As [`Self::redact`]; under a policy that releases no cells, each face is classified before it is covered whole.
    ///
    /// # Errors
    /// [`Withheld`] as [`Self::redact`], and when the classifier fails.
    pub fn redact_classified(
        self,
        before: Option<&Seen>,
        after: Option<&Seen>,
        policy: &Policy,
        noise: &Noise,
        classifier: Option<&mut Classifier>,
    ) -> Result<RedactedFrame, Withheld> {
        let Self { raw, seen, detector, family } = self;
        let (width, height) = (raw.picture.width(), raw.picture.height());
        let always = policy.statics.regions(&raw.meta.frame.clip.camera, width, height);
        let classifier = classifier.filter(|_| !policy.releases_cells());
        let (mut regions, classifier) = match classifier {
            None => (covered(&raw.picture, &seen, always, policy, noise)?, None),
            Some(classifier) => {
                let (rows, cols) = classifier.grid();
                let cells = policy.read_by(rows, cols);
                let regions = covered(&raw.picture, &seen, always, &cells, noise)?;
                (classifier.answered(regions)?, Some(classifier.reference()))
            }
        };
        for found in seen.remembered(before, after) {
            let rect = snapped(&found, policy.ring, width, height);
            let known = |rect: &Rect| fills(&regions).any(|outer| inside(*rect, outer));
            let new = rect.filter(|rect| !known(rect));
            regions.extend(new.map(|rect| Region::filled(vec![rect])));
        }
        if regions.len() > FACES_MAX {
            return Err(Withheld(WithheldReason::TooManyFaces));
        }
        Ok(RedactedFrame { raw, regions, detector, family, classifier })
    }
}

impl std::fmt::Debug for Looked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Looked({:?}, {} faces)", self.raw, self.seen.faces().len())
    }
}

fn fills(regions: &[Region]) -> impl Iterator<Item = Rect> {
    regions.iter().flat_map(|region| region.fill.iter().copied())
}

/// What is always covered, and the regions of these faces with their cells. A face that reaches into what is always
/// covered has none: they would say what is there.
pub(crate) fn covered(
    raw: &Picture,
    seen: &Seen,
    always: Vec<Region>,
    policy: &Policy,
    noise: &Noise,
) -> Result<Vec<Region>, Withheld> {
    let (width, height) = (raw.width(), raw.height());
    let fixed: Vec<Rect> = fills(&always).collect();
    let (mut regions, mut places) = (always, Vec::new());
    for face in seen.faces() {
        let Some(mut region) = region(face, policy, width, height) else { continue };
        region.grid = region.grid.filter(|g| !fixed.iter().any(|rect| share(*rect, g.rect)));
        // A face with a grid lies in the picture, and so has a place.
        region.grid = region.grid.filter(|_| face.place.is_some());
        places.extend(region.grid.as_ref().and(face.place));
        regions.push(region);
    }
    if regions.len() > FACES_MAX {
        return Err(Withheld(WithheldReason::TooManyFaces));
    }
    fill_cells(raw, &mut regions, &places, policy, noise);
    Ok(regions)
}

/// The detector's score leaves in quarters, in thousandths: finer it says how a face looks.
const SCORE_STEP: u16 = 250;

/// The region of one face out of all its boxes, the best first, its cells still empty; nothing when it lies outside the
/// picture. Where cells have noise they stay where they are as long as the face does: else boxes that tremble say more
/// with each frame than one does.
fn region(face: &Face, policy: &Policy, width: u32, height: u32) -> Option<Region> {
    let best = face.boxes.first()?;
    let cells_at = if policy.has_noise() { &face.cells_at } else { best };
    let cells_at = snapped(cells_at, Ring::NONE, width, height);
    let rects = face.boxes.iter().filter_map(|found| snapped(found, policy.ring, width, height));
    let mut fill: Vec<Rect> = Vec::new();
    for rect in rects.chain(cells_at) {
        // A box inside one that is already filled adds nothing but length.
        let known = fill.iter().any(|outer| inside(rect, *outer));
        fill.extend((!known).then_some(rect));
    }
    let grid = policy.grid.zip(cells_at);
    let grid = grid.map(|((rows, cols), rect)| Grid {
        rect,
        rows,
        cols,
        cells: Vec::new(),
        score_milli: milli(best.score) / SCORE_STEP * SCORE_STEP,
        counted: milli(best.score) >= policy.count_milli,
    });
    // A face cut by the border can be too small for its cells; it is filled all the same.
    let grid = grid.filter(|g| g.rect.w >= u32::from(g.cols) && g.rect.h >= u32::from(g.rows));
    (!fill.is_empty()).then_some(Region { grid, ..Region::filled(fill) })
}

const fn inside(inner: Rect, outer: Rect) -> bool {
    inner.x >= outer.x
        && inner.y >= outer.y
        && inner.x + inner.w <= outer.x + outer.w
        && inner.y + inner.h <= outer.y + outer.h
}

const fn share(a: Rect, b: Rect) -> bool {
    a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "scores are 0 to 1, checked when detections arrived"
)]
fn milli(score: f32) -> u16 {
    (score * 1000.0) as u16
}

/// What is released of the means of the pixels that each cell owns; `places` key the noise of each grid.
fn fill_cells(
    raw: &Picture,
    regions: &mut [Region],
    places: &[Place],
    policy: &Policy,
    noise: &Noise,
) {
    let digest = policy.noise_domain();
    let grids: Vec<Grid> = regions.iter().filter_map(|r| r.grid.clone()).collect();
    let borrowed: Vec<&Grid> = grids.iter().collect();
    let values: Vec<Vec<u8>> = grids
        .iter()
        .enumerate()
        .map(|(index, grid)| {
            let cells = usize::from(grid.rows) * usize::from(grid.cols);
            let mut sums = vec![([0u64; 3], 0u64); cells];
            let whole = u64::from(grid.rect.w) * u64::from(grid.rect.h) / (cells as u64).max(1);
            pixels_of(&borrowed, index, |x, y, cell| {
                if let (Some((sum, n)), [b, g, r]) = (sums.get_mut(cell), raw.row(y, x, 1)) {
                    for (total, value) in sum.iter_mut().zip([r, g, b]) {
                        *total += u64::from(*value);
                    }
                    *n += 1;
                }
            });
            // One pixel of few says much: a cell that other faces cover by more than half is unknown.
            sums.iter_mut().filter(|(_, n)| 2 * n < whole).for_each(|sum| *sum = ([0; 3], 0));
            // A grid without its place is none: there are as many of both.
            let Some(place) = places.get(index) else { return Vec::new() };
            let mut stream = noise.stream(&digest, *place);
            released(&sums, (grid.rows, grid.cols), policy, &mut stream)
        })
        .collect();
    let open = regions.iter_mut().filter_map(|region| region.grid.as_mut());
    for (grid, cells) in open.zip(values) {
        grid.cells = cells;
    }
}

#[cfg(test)]
mod tests {
    use models::detector::Scripted;
    use proptest::prelude::*;
    use proto::{
        UtcTime,
        envelope::{SealGrant, SealedFrame},
        signing::SigningKey,
    };

    use super::*;
    use crate::{AnonymisedFrame, anonymise, draw, frame::test_frame};

    fn anonymised(faces: Vec<Detection>, policy: &str, key: u8) -> AnonymisedFrame {
        let policy = Policy::named(policy).unwrap();
        let mut detector = Scripted::boxes(1, faces);
        let mut auditor = Scripted::boxes(2, vec![]);
        let noise = Noise::new([key; 32], 5);
        anonymise(test_frame(200, 150), &mut detector, &mut auditor, &policy, &noise).unwrap()
    }

    fn face(x: f32, y: f32, w: f32, h: f32) -> Detection {
        Detection { x, y, w, h, score: 0.8 }
    }

    #[test]
    fn redacting_again_gives_the_same_cells_and_another_key_gives_others() {
        let cells = |key| {
            let frame = anonymised(vec![face(40.0, 40.0, 48.0, 64.0)], "cells", key);
            frame.regions()[0].grid.clone().unwrap().cells
        };
        assert_eq!(cells(1), cells(1));
        assert_ne!(cells(1), cells(2));
    }

    #[test]
    fn no_pixel_of_a_region_depends_on_the_raw_pixel_below_it_but_through_its_cell() {
        let frame = anonymised(vec![face(40.0, 40.0, 48.0, 64.0)], "cells", 1);
        let grid = frame.regions()[0].grid.clone().unwrap();
        // The same regions drawn over a black picture give the same pixels.
        let mut black = Picture::new(200, 150, vec![0; 90_000]).unwrap();
        draw(&mut black, frame.regions());
        for rect in frame.regions()[0].fill.iter().copied().chain([grid.rect]) {
            for y in rect.y..rect.y + rect.h {
                assert_eq!(frame.picture.row(y, rect.x, rect.w), black.row(y, rect.x, rect.w));
            }
        }
        assert!(grid.rect.w < frame.regions()[0].fill[0].w, "there is no ring");
    }

    #[test]
    fn no_raw_pixel_enters_two_cells() {
        let frame = anonymised(
            vec![face(40.0, 40.0, 48.0, 64.0), face(76.0, 80.0, 48.0, 64.0)],
            "cells",
            1,
        );
        let grids: Vec<Grid> =
            frame.regions().iter().filter_map(|region| region.grid.clone()).collect();
        let borrowed: Vec<&Grid> = grids.iter().collect();
        assert_eq!(grids.len(), 2);
        let mut seen = std::collections::HashSet::new();
        for index in 0..2 {
            pixels_of(&borrowed, index, |x, y, _| assert!(seen.insert((x, y)), "{x} {y} twice"));
        }
    }

    #[test]
    fn a_cell_that_another_face_covers_by_more_than_half_is_unknown() {
        let policy = Policy::trial((1, 2), 0, 1);
        let second_of = |x: f32| {
            let faces = [face(40.0, 40.0, 48.0, 64.0), face(x, 40.0, 48.0, 64.0)];
            let noise = Noise::new([1; 32], 0);
            let cells = crate::measure::cells_of(&test_frame(200, 150), &faces, &policy, &noise);
            let cells = cells.unwrap().swap_remove(1).cells;
            let (left, right) = cells.split_at(3);
            (left == [128; 3], right == [128; 3])
        };
        // Two thirds of its left cell, a third, nothing.
        assert_eq!(
            [72.0, 80.0, 120.0].map(second_of),
            [(true, false), (false, false), (false, false)]
        );
    }

    #[test]
    fn a_solid_policy_has_no_cells() {
        let frame = anonymised(vec![face(40.0, 40.0, 48.0, 64.0)], "solid", 1);
        assert!(frame.regions()[0].grid.is_none());
    }

    /// Whatever happens to a picture between its drawing and its encoding, in a fill or in a cell, keeps it inside.
    #[test]
    fn one_changed_pixel_under_a_region_withholds_the_frame() {
        let root = SigningKey::from_seed(&[1; 32]).unwrap();
        let key = SigningKey::from_seed(&[2; 32]).unwrap();
        let until: UtcTime = "2030-01-01T00:00:00Z".parse().unwrap();
        let sealed = |change: Option<(u32, u32)>| {
            let mut frame = anonymised(vec![face(40.0, 40.0, 48.0, 64.0)], "cells", 1);
            let policies = vec![Policy::named("cells").unwrap().reference().digest];
            let (site, from) = ("town".parse().unwrap(), UtcTime::EPOCH);
            let grant = SealGrant::issue(&root, key.public(), site, from, until, policies);
            if let Some((x, y)) = change {
                let [b, g, r] = frame.picture.row(y, x, 1) else { panic!("{x} {y}") };
                let one_more = [r ^ 1, *g, *b];
                frame.picture.fill(vision::Area { x, y, w: 1, h: 1 }, one_more);
            }
            frame.seal(&key, &grant).map(|_| ())
        };
        let frame = anonymised(vec![face(40.0, 40.0, 48.0, 64.0)], "cells", 1);
        let (fill, grid) =
            (frame.regions()[0].fill[0], frame.regions()[0].grid.as_ref().unwrap().rect);
        assert!(sealed(None).is_ok());
        assert!(sealed(Some((fill.x + fill.w, fill.y))).is_ok(), "beside the region");
        for (x, y) in [(fill.x, fill.y + fill.h - 1), (grid.x, grid.y), (grid.x + 20, grid.y + 30)]
        {
            assert_eq!(sealed(Some((x, y))), Err(Withheld(WithheldReason::Encoding)), "{x} {y}");
        }
    }

    #[test]
    fn a_sealed_frame_opens_and_its_regions_rebuild_what_was_drawn() {
        let policy = Policy::named("cells").unwrap().reference().digest;
        let frame = anonymised(vec![face(40.0, 40.0, 48.0, 64.0)], "cells", 1);
        let regions = frame.regions().to_vec();
        let root = SigningKey::from_seed(&[1; 32]).unwrap();
        let key = SigningKey::from_seed(&[2; 32]).unwrap();
        let until: UtcTime = "2030-01-01T00:00:00Z".parse().unwrap();
        let site = "town".parse().unwrap();
        let grant =
            SealGrant::issue(&root, key.public(), site, UtcTime::EPOCH, until, vec![policy]);
        let sealed = SealedFrame::open(frame.seal(&key, &grant).unwrap(), &root.public()).unwrap();
        assert_eq!(sealed.manifest().regions, regions);
        let shown = Picture::decode(&sealed.jpeg()).unwrap();
        let mut rebuilt = Picture::decode(&sealed.jpeg()).unwrap();
        draw(&mut rebuilt, &regions);
        let grid = regions[0].grid.as_ref().unwrap().rect;
        let (mut difference, mut n) = (0u64, 0u64);
        for y in grid.y..grid.y + grid.h {
            for (a, b) in shown.row(y, grid.x, grid.w).iter().zip(rebuilt.row(y, grid.x, grid.w)) {
                difference += u64::from(a.abs_diff(*b));
                n += 1;
            }
        }
        assert!(difference / n < 12, "JPEG moved the cells by {} on average", difference / n);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_boxes_give_regions_inside_the_picture_that_cover_the_boxes(
            boxes in proptest::collection::vec((-60f32..220.0, -60f32..170.0, 1f32..150.0, 1f32..150.0), 1..12)
        ) {
            let faces: Vec<Detection> = boxes.iter().map(|&(x, y, w, h)| face(x, y, w, h)).collect();
            let frame = anonymised(faces.clone(), "cells", 1);
            let rects: Vec<Rect> = frame.regions().iter().flat_map(|r| r.fill.clone()).collect();
            prop_assert!(rects.iter().all(|r| r.fits(200, 150)));
            let hidden = |x: f32, y: f32| rects.iter().any(|r| {
                (r.x as f32..(r.x + r.w) as f32).contains(&x)
                    && (r.y as f32..(r.y + r.h) as f32).contains(&y)
            });
            for found in faces {
                for point in 0..100u8 {
                    let at = |start: f32, size: f32, k: u8| start + size * (f32::from(k) + 0.5) / 10.0;
                    let (x, y) = (at(found.x, found.w, point % 10), at(found.y, found.h, point / 10));
                    if (0.0..200.0).contains(&x) && (0.0..150.0).contains(&y) {
                        prop_assert!(hidden(x, y), "{x} {y} of {found:?} is bare");
                    }
                }
            }
        }
    }
}
