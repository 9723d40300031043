//! Owns redaction: detections to regions with their cell values, computed once from the raw frame.

use models::{Detection, FaceDetector};
use proto::{
    limits::FACES_MAX,
    manifest::{Grid, ModelRef, Rect, Region},
    record::WithheldReason,
};
use vision::Picture;

use crate::{
    Noise, Policy, RawFrame, RedactedFrame, Withheld,
    drawing::pixels_of,
    regions::{Cluster, cluster, snapped},
};

/// Covers each face: a cluster's best box carries the cells, everything else in the grown union is filled.
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
    let (width, height) = (raw.picture.width(), raw.picture.height());
    #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
    let (w, h) = (width as f32, height as f32);
    if !faces.iter().all(|face| face.is_sane(w, h)) {
        return Err(Withheld(WithheldReason::Detector));
    }
    let clusters = cluster(faces);
    let mut regions: Vec<Region> =
        clusters.iter().filter_map(|c| region(c, policy, width, height)).collect();
    if regions.len() > FACES_MAX {
        return Err(Withheld(WithheldReason::TooManyFaces));
    }
    fill_cells(&raw.picture, &mut regions, policy, noise);
    let detector = ModelRef { name: detector.name().to_owned(), digest: detector.digest() };
    Ok(RedactedFrame { raw, regions, detector })
}

/// The region of one face, its cells still empty; nothing when it lies outside the picture.
fn region(cluster: &Cluster, policy: &Policy, width: u32, height: u32) -> Option<Region> {
    let mut fill: Vec<Rect> = Vec::new();
    for face in &cluster.0 {
        let rect = snapped(face, policy.ring_percent, width, height);
        // A box inside one that is already filled adds nothing but length.
        fill.extend(rect.filter(|rect| !fill.iter().any(|outer| inside(*rect, *outer))));
    }
    let best = cluster.0.first()?;
    let grid = policy.grid.zip(snapped(best, 100, width, height));
    let grid = grid.map(|((rows, cols), rect)| Grid {
        rect,
        rows,
        cols,
        cells: Vec::new(),
        score_milli: milli(best.score),
        counted: milli(best.score) >= policy.count_milli,
    });
    // A face cut by the border can be too small for its cells; it is filled all the same.
    let grid = grid.filter(|g| g.rect.w >= u32::from(g.cols) && g.rect.h >= u32::from(g.rows));
    (!fill.is_empty()).then_some(Region { fill, grid })
}

const fn inside(inner: Rect, outer: Rect) -> bool {
    inner.x >= outer.x
        && inner.y >= outer.y
        && inner.x + inner.w <= outer.x + outer.w
        && inner.y + inner.h <= outer.y + outer.h
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "scores are 0 to 1, checked when detections arrived"
)]
fn milli(score: f32) -> u16 {
    (score * 1000.0) as u16
}

/// Means of the pixels that each cell owns, rounded down to the policy's levels, plus noise, clipped.
pub(crate) fn fill_cells(raw: &Picture, regions: &mut [Region], policy: &Policy, noise: &Noise) {
    let digest = policy.reference().digest;
    let grids: Vec<Grid> = regions.iter().filter_map(|r| r.grid.clone()).collect();
    let borrowed: Vec<&Grid> = grids.iter().collect();
    let values: Vec<Vec<u8>> = grids.iter().enumerate().map(|(index, grid)| {
        let cells = usize::from(grid.rows) * usize::from(grid.cols);
        let mut sums = vec![([0u64; 3], 0u64); cells];
        pixels_of(&borrowed, index, |x, y, cell| {
            if let (Some((sum, n)), [b, g, r]) = (sums.get_mut(cell), raw.row(y, x, 1)) {
                for (total, value) in sum.iter_mut().zip([r, g, b]) {
                    *total += u64::from(*value);
                }
                *n += 1;
            }
        });
        let mut stream = noise.stream(&digest, grid.rect);
        let quantum = i32::from(policy.quantum);
        let noisy = sums.iter().flat_map(|(sum, n)| sum.map(|total| (total, *n))).map(|(total, n)| {
            // A cell whose every pixel belongs to an earlier face says nothing of this one.
            let mean = total.checked_div(n).and_then(|mean| i32::try_from(mean).ok()).unwrap_or(128);
            let level = mean / quantum * quantum + quantum / 2;
            let value = (level + stream.laplace(policy.noise_scale)).clamp(0, 255);
            u8::try_from(value).unwrap_or(128)
        });
        noisy.collect()
    }).collect();
    let open = regions.iter_mut().filter_map(|region| region.grid.as_mut());
    for (grid, cells) in open.zip(values) {
        grid.cells = cells;
    }
}
