//! Owns the audit: an auditor of another network family looks at the raw frame and at a copy with regions flat grey;
//! what it still finds is covered too, twice at most, and then the frame is withheld.

use models::{Detection, FaceDetector, detector::suppress, ultraface};
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
    if frame.family == auditor.family() {
        tracing::error!("auditor is of the detector's own family, frame withheld");
        return Err(Withheld(WithheldReason::Auditor));
    }
    let RedactedFrame { raw, mut regions, detector, classifier, .. } = frame;
    let (mut picture, meta) = (raw.picture, raw.meta);
    let on_raw = look(auditor, &picture, policy)?;
    for repeat in 0..=REPEATS_MAX {
        let on_grey = look(auditor, &greyed(&picture, &regions), policy)?;
        // Both looks usually find the same face: one region is enough for it.
        let hits = on_raw.iter().chain(&on_grey).copied().collect();
        let mut residual = suppress(hits, ultraface::OVERLAP_MAX);
        residual.retain(|hit| !is_covered(hit, &picture, &regions, policy));
        let last = repeat == REPEATS_MAX;
        if residual.is_empty()
            || (last && residual.iter().all(|hit| !over(hit, policy.withhold_milli)))
        {
            let auditor = ModelRef { name: auditor.name().to_owned(), digest: auditor.digest() };
            draw(&mut picture, &regions);
            let (policy, noise_epoch) = (policy.clone(), noise.epoch());
            return Ok(AnonymisedFrame {
                picture,
                meta,
                regions,
                detector,
                auditor,
                classifier,
                policy,
                noise_epoch,
            });
        }
        if !last {
            let (w, h) = (picture.width(), picture.height());
            let rects = residual.iter().filter_map(|hit| snapped(hit, policy.audit_ring, w, h));
            regions.extend(rects.map(|rect| Region::filled(vec![rect])));
        }
        if regions.len() > FACES_MAX {
            return Err(Withheld(WithheldReason::TooManyFaces));
        }
    }
    Err(Withheld(WithheldReason::Residual))
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
    Ok(found.into_iter().filter(|hit| over(hit, policy.audit_milli)).collect())
}

fn over(hit: &Detection, milli: u16) -> bool {
    hit.score >= f32::from(milli) / 1000.0
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
        let at =
            |start: f32, size: f32, k: u16| start + size * (f32::from(k) + 0.5) / f32::from(POINTS);
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

#[cfg(test)]
mod tests {
    use models::{DetectError, detector::Scripted};

    use super::*;
    use crate::{anonymise, frame::test_frame};

    const FACE: Detection = Detection { x: 40.0, y: 40.0, w: 32.0, h: 40.0, score: 0.9 };
    const OTHER: Detection = Detection { x: 120.0, y: 60.0, w: 24.0, h: 30.0, score: 0.9 };

    fn run(detector: Scripted, auditor: Scripted) -> Result<AnonymisedFrame, WithheldReason> {
        let (mut detector, mut auditor) = (detector, auditor);
        let policy = Policy::named("cells").unwrap();
        let noise = Noise::new([1; 32], 0);
        anonymise(test_frame(200, 150), &mut detector, &mut auditor, &policy, &noise)
            .map_err(|withheld| withheld.0)
    }

    #[test]
    fn a_face_that_the_detector_missed_is_covered_by_the_audit() {
        let mut looks = vec![vec![], vec![OTHER], vec![FACE, OTHER]];
        let auditor = Scripted::answers(2, move || Ok(looks.pop().unwrap_or_default()));
        let frame = run(Scripted::boxes(1, vec![FACE]), auditor).unwrap();
        assert_eq!(frame.regions().len(), 2);
        let fill = frame.regions()[1].fill[0];
        assert!(fill.x <= 120 && fill.x + fill.w >= 144, "{fill:?}");
        assert!(frame.regions()[1].grid.is_none(), "what only the auditor saw must not be counted");
    }

    #[test]
    fn a_face_that_stays_withholds_the_frame() {
        // Each look finds a face somewhere else: nothing that is covered makes it go away.
        let mut at = 0.0;
        let auditor = Scripted::answers(2, move || {
            at += 30.0;
            Ok(vec![Detection { x: at, y: 5.0, w: 12.0, h: 12.0, score: 0.9 }])
        });
        let detector = Scripted::boxes(1, vec![]);
        assert_eq!(run(detector, auditor).err(), Some(WithheldReason::Residual));
    }

    /// A hit so wide as this part of a region that the detector's face has, the rest of it beside.
    fn partly_covered(percent: u8) -> Detection {
        let alone = run(Scripted::boxes(1, vec![FACE]), Scripted::boxes(2, vec![])).unwrap();
        let fill = alone.regions()[0].fill[0];
        let w = fill.w as f32;
        let x = (fill.x + fill.w) as f32 - w * f32::from(percent) / 100.0;
        Detection { x, y: fill.y as f32, w, h: fill.h as f32, score: 0.9 }
    }

    #[test]
    fn a_hit_of_which_less_than_seven_tenths_lie_in_regions_is_covered_too() {
        for (percent, regions) in [(60, 2), (64, 2), (76, 1), (90, 1)] {
            let hit = partly_covered(percent);
            let frame = run(Scripted::boxes(1, vec![FACE]), Scripted::boxes(2, vec![hit])).unwrap();
            assert_eq!(frame.regions().len(), regions, "{percent}% of a hit lie in a region");
        }
    }

    #[test]
    fn what_remains_withholds_the_frame_from_its_threshold_on() {
        for (score, withheld) in [(0.69, None), (0.71, Some(WithheldReason::Residual))] {
            let mut at = 0.0;
            let auditor = Scripted::answers(2, move || {
                at += 30.0;
                Ok(vec![Detection { x: at, y: 5.0, w: 12.0, h: 12.0, score }])
            });
            assert_eq!(run(Scripted::boxes(1, vec![]), auditor).err(), withheld, "at {score}");
        }
    }

    #[test]
    fn whatever_goes_wrong_withholds_the_frame() {
        let clear = || Scripted::boxes(2, vec![]);
        let nan = Detection { x: f32::NAN, ..FACE };
        let huge = Detection { w: 1e9, ..FACE };
        let cases = [
            (Scripted::failing(1), clear(), WithheldReason::Detector),
            (Scripted::boxes(1, vec![nan]), clear(), WithheldReason::Detector),
            (Scripted::boxes(1, vec![FACE, huge]), clear(), WithheldReason::Detector),
            (Scripted::boxes(1, vec![FACE]), Scripted::failing(2), WithheldReason::Auditor),
            (
                Scripted::boxes(1, vec![FACE]),
                Scripted::boxes(2, vec![nan]),
                WithheldReason::Auditor,
            ),
            (Scripted::boxes(1, vec![FACE]), Scripted::boxes(1, vec![]), WithheldReason::Auditor),
        ];
        for (index, (detector, auditor, reason)) in cases.into_iter().enumerate() {
            assert_eq!(run(detector, auditor).err(), Some(reason), "case {index}");
        }
    }

    #[test]
    fn a_crowd_over_the_limit_withholds_the_frame() {
        let faces = (0..=FACES_MAX).map(|i| {
            let (x, y) = ((i % 28) as f32 * 7.0, (i / 28) as f32 * 7.0);
            Detection { x, y, w: 4.0, h: 4.0, score: 0.5 }
        });
        let detector = Scripted::boxes(1, faces.collect());
        let auditor = Scripted::boxes(2, vec![]);
        assert_eq!(run(detector, auditor).err(), Some(WithheldReason::TooManyFaces));
    }

    /// A JPEG's sides end at 65,500 in this encoder.
    #[test]
    fn an_encoder_that_fails_withholds_the_frame() {
        let policy = Policy::named("cells").unwrap();
        let noise = Noise::new([1; 32], 0);
        let (mut detector, mut auditor) = (Scripted::boxes(1, vec![]), Scripted::boxes(2, vec![]));
        let wide = test_frame(65_536, 1);
        let frame = anonymise(wide, &mut detector, &mut auditor, &policy, &noise).unwrap();
        let key = proto::signing::SigningKey::from_seed(&[2; 32]).unwrap();
        let (site, from) = ("town".parse().unwrap(), proto::UtcTime::EPOCH);
        let until = "2100-01-01T00:00:00Z".parse().unwrap();
        let policies = vec![policy.reference().digest];
        let grant =
            proto::envelope::SealGrant::issue(&key, key.public(), site, from, until, policies);
        assert_eq!(frame.seal(&key, &grant).err(), Some(Withheld(WithheldReason::Encoding)));
    }

    #[test]
    fn a_detector_that_errs_after_a_good_frame_leaves_nothing_behind() {
        let mut first = true;
        let mut detector = Scripted::answers(1, move || {
            let message = "out of memory".to_owned();
            let answer = if first {
                Ok(vec![FACE])
            } else {
                Err(DetectError::Run { name: "scripted".to_owned(), message })
            };
            first = false;
            answer
        });
        let policy = Policy::named("cells").unwrap();
        let noise = Noise::new([1; 32], 0);
        let mut go = || {
            let mut auditor = Scripted::boxes(2, vec![]);
            anonymise(test_frame(200, 150), &mut detector, &mut auditor, &policy, &noise)
        };
        assert!(go().is_ok());
        assert!(go().is_err());
    }
}
