//! Owns the audit: an auditor of another network family looks at the raw frame and at a copy with regions flat grey;
//! what it still finds is covered too, twice at most, and then the frame is withheld.

use models::{Detection, FaceDetector, Family};
use proto::{
    limits::FACES_MAX,
    manifest::{FILL_RGB, ModelRef, Rect, Region},
    record::WithheldReason,
};
use vision::{Area, Picture};

use crate::{
    AnonymisedFrame, Noise, Policy, RedactedFrame, Withheld, drawing::draw, regions::snapped,
};

/// How often what the auditor found is covered before the frame is given up.
const REPEATS_MAX: usize = 2;

/// Checks a redacted frame.
///
/// # Errors
/// [`Withheld`] when the auditor fails, is of the detector's family, or still finds a face at the end.
pub fn audit(
    frame: RedactedFrame,
    auditor: &mut dyn FaceDetector,
    policy: &Policy,
    noise: &Noise,
) -> Result<AnonymisedFrame, Withheld> {
    if same_family(&frame.detector.name, auditor.family()) {
        tracing::error!("auditor is of the detector's own family, frame withheld");
        return Err(Withheld(WithheldReason::Auditor));
    }
    let RedactedFrame { raw, mut regions, detector } = frame;
    let (mut picture, meta) = (raw.picture, raw.meta);
    let on_raw = look(auditor, &picture, policy)?;
    for repeat in 0..=REPEATS_MAX {
        let on_grey = look(auditor, &greyed(&picture, &regions), policy)?;
        let mut residual = on_raw.iter().chain(&on_grey).copied().collect::<Vec<_>>();
        residual.retain(|hit| !is_covered(hit, &picture, &regions, policy));
        if residual.is_empty() {
            let auditor = ModelRef { name: auditor.name().to_owned(), digest: auditor.digest() };
            draw(&mut picture, &regions);
            let (policy, noise_epoch) = (policy.clone(), noise.epoch());
            let frame =
                AnonymisedFrame { picture, meta, regions, detector, auditor, policy, noise_epoch };
            return Ok(frame);
        }
        if repeat < REPEATS_MAX {
            let (w, h) = (picture.width(), picture.height());
            let rects = residual.iter().filter_map(|hit| snapped(hit, policy.ring_percent, w, h));
            regions.extend(rects.map(|rect| Region { fill: vec![rect], grid: None }));
        }
        if regions.len() > FACES_MAX {
            return Err(Withheld(WithheldReason::TooManyFaces));
        }
    }
    Err(Withheld(WithheldReason::Residual))
}

/// A scripted detector may audit only one of another number; names carry the family of real ones.
fn same_family(detector: &str, auditor: Family) -> bool {
    match auditor {
        Family::CenterFace => detector == "centerface",
        Family::UltraFace => detector == "ultraface",
        Family::Scripted(_) => false,
    }
}

fn look(
    auditor: &mut dyn FaceDetector,
    picture: &Picture,
    policy: &Policy,
) -> Result<Vec<Detection>, Withheld> {
    let failed = Withheld(WithheldReason::Auditor);
    let view = picture.view().ok_or(failed)?;
    let found = auditor.detect(view).map_err(|error| {
        tracing::warn!(%error, "auditor failed, frame withheld");
        failed
    })?;
    #[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
    let (w, h) = (picture.width() as f32, picture.height() as f32);
    if !found.iter().all(|hit| hit.is_sane(w, h)) {
        return Err(failed);
    }
    let threshold = f32::from(policy.audit_milli) / 1000.0;
    Ok(found.into_iter().filter(|hit| hit.score >= threshold).collect())
}

fn rects(regions: &[Region]) -> impl Iterator<Item = Rect> {
    let grids = regions.iter().filter_map(|region| region.grid.as_ref().map(|grid| grid.rect));
    regions.iter().flat_map(|region| region.fill.iter().copied()).chain(grids)
}

fn greyed(picture: &Picture, regions: &[Region]) -> Picture {
    let mut copy = picture.duplicate();
    for rect in rects(regions) {
        copy.fill(Area { x: rect.x, y: rect.y, w: rect.w, h: rect.h }, FILL_RGB);
    }
    copy
}

/// Whether enough of a hit lies in regions: counted on a lattice of points, since regions overlap.
#[expect(clippy::cast_precision_loss, reason = "picture sides are under 2^16")]
fn is_covered(hit: &Detection, picture: &Picture, regions: &[Region], policy: &Policy) -> bool {
    const POINTS: u16 = 20;
    let rects: Vec<Rect> = rects(regions).collect();
    let (mut inside, mut covered) = (0u32, 0u32);
    for i in 0..POINTS * POINTS {
        let at = |start: f32, size: f32, k: u16| start + size * (f32::from(k) + 0.5) / f32::from(POINTS);
        let (x, y) = (at(hit.x, hit.w, i % POINTS), at(hit.y, hit.h, i / POINTS));
        let within = |v: f32, start: u32, size: u32| v >= start as f32 && v < (start + size) as f32;
        if within(x, 0, picture.width()) && within(y, 0, picture.height()) {
            inside += 1;
            let hidden = rects.iter().any(|r| within(x, r.x, r.w) && within(y, r.y, r.h));
            covered += u32::from(hidden);
        }
    }
    covered * 100 >= inside * u32::from(policy.audit_cover_percent)
}
