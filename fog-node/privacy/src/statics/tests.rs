//! Tests of static regions: what they cover, what is refused.

use models::{Detection, detector::Scripted};
use proptest::prelude::*;
use proto::manifest::Rect;
use vision::Picture;

use super::*;
use crate::{AnonymisedFrame, Noise, Policy, anonymise, draw, frame::test_frame};

fn regions(polygons: &[&str]) -> StaticRegions {
    let texts = polygons.iter().map(|text| (*text).to_owned()).collect();
    StaticRegions::try_from(BTreeMap::from([("cam-1".parse().unwrap(), texts)])).unwrap()
}

fn anonymised(polygons: &[&str], faces: Vec<Detection>, seen: Vec<Detection>) -> AnonymisedFrame {
    let policy = Policy::named("cells").unwrap().with_static_regions(regions(polygons));
    let (mut detector, mut auditor) = (Scripted::boxes(1, faces), Scripted::boxes(2, seen));
    let noise = Noise::new([1; 32], 0);
    anonymise(test_frame(200, 150), &mut detector, &mut auditor, &policy, &noise).unwrap()
}

/// Whether a point is in a polygon: by the crossings of a ray, apart from how rectangles are made.
fn inside(corners: &[(f64, f64)], (x, y): (f64, f64)) -> bool {
    let mut within = false;
    for (i, &(ax, ay)) in corners.iter().enumerate() {
        let (bx, by) = corners[(i + 1) % corners.len()];
        if (ay > y) != (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax {
            within = !within;
        }
    }
    within
}

const FILL: [u8; 3] = [128, 128, 128];

fn pixel(picture: &Picture, x: u32, y: u32) -> &[u8] {
    picture.row(y, x, 1)
}

/// `test_frame` has no value over 96, so that 128 is the fill and nothing else.
#[test]
fn no_pixel_inside_a_static_region_keeps_its_value() {
    let text = "0.1,0.2 0.6,0.05 0.9,0.7 0.5,0.5 0.2,0.9";
    let frame = anonymised(&[text], vec![], vec![]);
    let Polygon(corners) = text.parse().unwrap();
    let mut n = 0;
    for y in 0..150 {
        for x in 0..200 {
            let at = ((f64::from(x) + 0.5) / 200.0, (f64::from(y) + 0.5) / 150.0);
            if inside(&corners, at) {
                assert_eq!(pixel(&frame.picture, x, y), FILL, "{x} {y}");
                n += 1;
            }
        }
    }
    assert!(n > 5_000, "{n}");
    // Far from it nothing is touched.
    assert_ne!(pixel(&frame.picture, 190, 10), FILL);
    assert_ne!(pixel(&frame.picture, 150, 140), FILL);
}

#[test]
fn a_static_region_at_the_border_reaches_the_last_pixel() {
    for text in ["0.5,0.5 1,0.5 1,1 0.5,1", "0,0 1,0 1,1 0,1", "0.8,0.9 1,0.9 1,1"] {
        let frame = anonymised(&[text], vec![], vec![]);
        assert_eq!(pixel(&frame.picture, 199, 149), FILL, "{text}");
        assert!(frame.regions().iter().flat_map(|r| &r.fill).all(|r| r.fits(200, 150)));
    }
    let whole = anonymised(&["0,0 1,0 1,1 0,1"], vec![], vec![]);
    assert_eq!(whole.regions()[0].fill, [Rect { x: 0, y: 0, w: 200, h: 150 }]);
}

#[test]
fn the_drawing_rebuilt_from_the_manifest_has_the_static_regions() {
    let face = Detection { x: 120.0, y: 90.0, w: 40.0, h: 48.0, score: 0.9 };
    let frame = anonymised(&["0,0 0.5,0 0.2,0.4"], vec![face], vec![]);
    let mut rebuilt = test_frame(200, 150).picture;
    draw(&mut rebuilt, frame.regions());
    for y in 0..150 {
        assert_eq!(frame.picture.row(y, 0, 200), rebuilt.row(y, 0, 200));
    }
    assert!(frame.regions().last().unwrap().grid.is_some(), "a face elsewhere has its cells");
}

/// Cells would say what is behind the window.
#[test]
fn a_face_that_reaches_into_a_static_region_has_no_cells_and_is_not_counted() {
    let face = Detection { x: 80.0, y: 30.0, w: 40.0, h: 48.0, score: 0.9 };
    let frame = anonymised(&["0,0 0.5,0 0.5,1 0,1"], vec![face], vec![]);
    assert!(frame.regions().iter().all(|region| region.grid.is_none()));
    assert_eq!(pixel(&frame.picture, 110, 50), FILL, "the part outside is filled");
}

#[test]
fn the_audit_takes_a_face_in_a_static_region_for_covered() {
    let face = Detection { x: 20.0, y: 30.0, w: 40.0, h: 48.0, score: 0.9 };
    let with = anonymised(&["0,0 0.5,0 0.5,1 0,1"], vec![], vec![face]);
    assert_eq!(with.regions().len(), 1, "the audit added something");
    let without = anonymised(&["0.9,0.9 1,0.9 1,1"], vec![], vec![face]);
    assert_eq!(without.regions().len(), 2, "the audit saw nothing");
}

#[test]
fn other_cameras_have_none_and_the_policy_digest_tells_them_apart() {
    let table = regions(&["0,0 0.5,0 0.5,1 0,1"]);
    assert!(table.regions(&"cam-2".parse().unwrap(), 200, 150).is_empty());
    let plain = Policy::named("cells").unwrap();
    let with = plain.clone().with_static_regions(table);
    let moved = plain.clone().with_static_regions(regions(&["0,0 0.5,0 0.5,1 0,0.9"]));
    assert_ne!(plain.reference().digest, with.reference().digest);
    assert_ne!(moved.reference().digest, with.reference().digest);
    let none = plain.clone().with_static_regions(StaticRegions::default());
    assert_eq!(plain.reference(), none.reference());
}

fn refused(text: &str, expected: &str) {
    let table = BTreeMap::from([("door".parse().unwrap(), vec![text.to_owned()])]);
    let error = StaticRegions::try_from(table).unwrap_err().to_string();
    assert!(error.contains("static region 1 of camera door"), "{error}");
    assert!(error.contains(expected), "{expected:?} is not in: {error}");
}

#[test]
fn a_polygon_that_is_none_is_refused_with_what_and_where() {
    refused("", "0 corners");
    refused("0,0 1,1", "2 corners");
    refused("0,0 0.5 1,1", "corner \"0.5\"");
    refused("0,0 x,0.5 1,1", "corner \"x,0.5\"");
    refused("0,0 0.5,0 0.5,1.2", "corner 3 at 0.5,1.2");
    refused("0,0 NaN,0 0.5,1", "corner 2 at NaN,0");
    refused("0,0 0.5,0 0.5,0 0.5,1", "corners 2 and 3 are the same");
    refused("0,0 0.5,0 0.5,1 0,0", "corners 4 and 1 are the same");
    refused("0,0 0.5,0.5 0.5,0 0,0.5", "from corner 1 crosses or touches the side from corner 3");
    refused("0,0 0.5,0.5 1,1", "no area");
}

#[test]
fn more_than_a_manifest_should_hold_is_refused() {
    let camera: CameraId = "door".parse().unwrap();
    let triangle = "0,0 1,0.5 0,1".to_owned();
    let table = |n| BTreeMap::from([(camera.clone(), vec![triangle.clone(); n])]);
    assert!(StaticRegions::try_from(table(1)).is_ok());
    let error = StaticRegions::try_from(table(17)).unwrap_err();
    assert!(matches!(error, StaticError::TooMany { regions: 17, .. }), "{error}");
    let error = StaticRegions::try_from(table(4)).unwrap_err();
    assert!(matches!(error, StaticError::TooMany { rects: 513.., .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Corners at growing angles around a point: any star, convex or not.
    #[test]
    fn every_pixel_whose_middle_is_in_a_polygon_is_in_its_rectangles(
        radii in proptest::collection::vec(0.05f64..0.5, 3..12),
        (width, height) in (16u32..300, 16u32..300),
    ) {
        let turn = std::f64::consts::TAU / radii.len() as f64;
        let star: Vec<(f64, f64)> = radii
            .iter()
            .enumerate()
            .map(|(i, r)| (0.5 + r * (turn * i as f64).cos(), 0.5 + r * (turn * i as f64).sin()))
            .collect();
        let Ok(polygon) = Polygon::new(star.clone()) else { return Ok(()) };
        let rects = polygon.rects(width, height);
        prop_assert!(rects.iter().all(|rect| rect.fits(width, height)));
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            let at = |v: u32, side: u32| (f64::from(v) + 0.5) / f64::from(side);
            if inside(&star, (at(x, width), at(y, height))) {
                let hides = |r: &Rect| {
                    (r.x..r.x + r.w).contains(&x) && (r.y..r.y + r.h).contains(&y)
                };
                prop_assert!(rects.iter().any(hides), "{x} {y} is bare");
            }
        }
    }
}
