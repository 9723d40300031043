//! Owns static regions: polygons of a camera that are always filled (windows, a school yard), whatever a detector says.
//!
//! Corners are fractions of width and height, so that a camera which changes its resolution keeps them. A polygon
//! becomes rectangles that cover every pixel it touches: bands of 8 px, each snapped outwards to 4 px.

use std::{collections::BTreeMap, str::FromStr};

use proto::{
    CameraId,
    limits::{PICTURE_HEIGHT_MAX, PICTURE_WIDTH_MAX},
    manifest::{FILLS_MAX, Rect, Region},
};
use serde::{Deserialize, Serialize};

/// Most polygons of one camera.
const POLYGONS_MAX: usize = 16;
/// Most corners of one polygon.
const CORNERS_MAX: usize = 64;
/// Most rectangles that the polygons of one camera become in the largest picture: they stand in every manifest.
const RECTS_MAX: usize = 512;
/// Height of the bands that a polygon is cut into, in pixels: lower ones follow it closer and make manifests longer.
const BAND: u32 = 8;
/// Rectangles snap outwards to multiples of this many pixels across.
const SNAP: f64 = 4.0;
/// Least area of a polygon, as a share of the picture: less is a slip of the pen.
const AREA_MIN: f64 = 1e-5;

/// A static region that cannot be used. The numbers count from 1, as a person does.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StaticError {
    /// Not two numbers.
    #[error("corner {0:?} is not like 0.25,0.5")]
    Corner(String),
    /// Too few or too many.
    #[error("{0} corners, a polygon has 3 to {CORNERS_MAX}")]
    Corners(usize),
    /// Not in the picture.
    #[error("corner {number} at {x},{y} is outside the picture: fractions from 0 to 1")]
    Outside {
        /// Which corner.
        number: usize,
        /// Its fraction of the width.
        x: f64,
        /// Its fraction of the height.
        y: f64,
    },
    /// A corner that stands twice in a row.
    #[error("corners {0} and {1} are the same")]
    Same(usize, usize),
    /// Inside and outside cannot be told apart.
    #[error("the side from corner {0} crosses or touches the side from corner {1}")]
    Crossing(usize, usize),
    /// All corners nearly on a line.
    #[error("it has no area")]
    Flat,
    /// One of a camera's polygons.
    #[error("static region {number} of camera {camera}: {why}")]
    Of {
        /// The camera.
        camera: CameraId,
        /// Which of its regions.
        number: usize,
        /// What is wrong with it.
        why: Box<Self>,
    },
    /// Too much for each manifest.
    #[error(
        "camera {camera}: {regions} static regions of {rects} rectangles, the limits are {POLYGONS_MAX} and {RECTS_MAX}: draw fewer or straighter ones"
    )]
    TooMany {
        /// The camera.
        camera: CameraId,
        /// How many.
        regions: usize,
        /// What they become in the largest picture.
        rects: usize,
    },
}

/// A polygon that is always filled. As text: corners as `x,y`, fractions of width and height from the top left, with
/// spaces between them, such as `0,0 0.3,0 0.3,0.25`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Polygon(Vec<(f64, f64)>);

impl FromStr for Polygon {
    type Err = StaticError;

    fn from_str(text: &str) -> Result<Self, StaticError> {
        let corner = |corner: &str| {
            let wrong = || StaticError::Corner(corner.to_owned());
            let (x, y) = corner.split_once(',').ok_or_else(wrong)?;
            Ok((x.parse::<f64>().map_err(|_| wrong())?, y.parse::<f64>().map_err(|_| wrong())?))
        };
        let corners = text.split_whitespace().map(corner).collect::<Result<Vec<_>, _>>()?;
        Self::new(corners)
    }
}

impl Polygon {
    /// A polygon of these corners.
    ///
    /// # Errors
    /// When they are none: too few, outside the picture, twice in a row, crossing sides, no area.
    pub fn new(corners: Vec<(f64, f64)>) -> Result<Self, StaticError> {
        if !(3..=CORNERS_MAX).contains(&corners.len()) {
            return Err(StaticError::Corners(corners.len()));
        }
        let fraction = |v: f64| (0.0..=1.0).contains(&v);
        let outside = corners.iter().position(|&(x, y)| !fraction(x) || !fraction(y));
        if let Some((index, &(x, y))) = outside.and_then(|i| corners.get(i).map(|c| (i, c))) {
            return Err(StaticError::Outside { number: index + 1, x, y });
        }
        let polygon = Self(corners);
        let sides: Vec<Side> = polygon.sides().collect();
        let n = sides.len();
        if let Some(index) = sides.iter().position(|(a, b)| a == b) {
            return Err(StaticError::Same(index + 1, (index + 1) % n + 1));
        }
        for (i, first) in sides.iter().enumerate() {
            // Neighbours share a corner.
            for (j, second) in sides.iter().enumerate().skip(i + 2) {
                if (j + 1) % n != i && meet(*first, *second) {
                    return Err(StaticError::Crossing(i + 1, j + 1));
                }
            }
        }
        let twice: f64 = sides.iter().map(|((ax, ay), (bx, by))| ax * by - bx * ay).sum();
        if twice.abs() / 2.0 < AREA_MIN { Err(StaticError::Flat) } else { Ok(polygon) }
    }

    fn sides(&self) -> impl Iterator<Item = Side> {
        let next = self.0.iter().cycle().skip(1);
        self.0.iter().copied().zip(next.copied())
    }

    /// Rectangles that together cover every pixel of a picture of this size that the polygon touches.
    fn rects(&self, width: u32, height: u32) -> Vec<Rect> {
        let (w, h) = (f64::from(width), f64::from(height));
        let at = |(x, y): (f64, f64)| (x * w, y * h);
        let sides: Vec<Side> = self.sides().map(|(a, b)| (at(a), at(b))).collect();
        let top = self.0.iter().map(|c| c.1 * h).fold(h, f64::min);
        let bottom = self.0.iter().map(|c| c.1 * h).fold(0.0, f64::max);
        let mut done: Vec<Rect> = Vec::new();
        let mut open: Vec<Rect> = Vec::new();
        for y in (0..height).step_by(BAND as usize) {
            let end = (y + BAND).min(height);
            if f64::from(end) <= top || f64::from(y) >= bottom {
                continue;
            }
            let spans = spans(&sides, (f64::from(y), f64::from(end)), width);
            if open.iter().map(|r| (r.x, r.w)).eq(spans.iter().copied()) {
                open.iter_mut().for_each(|rect| rect.h = end - rect.y);
            } else {
                done.append(&mut open);
                open = spans.into_iter().map(|(x, w)| Rect { x, y, w, h: end - y }).collect();
            }
        }
        done.append(&mut open);
        done
    }
}

type Side = ((f64, f64), (f64, f64));

/// Whether two sides have a point in common.
fn meet((a, b): Side, (c, d): Side) -> bool {
    let turn = |p: (f64, f64), q: (f64, f64), r: (f64, f64)| {
        (q.0 - p.0) * (r.1 - p.1) - (q.1 - p.1) * (r.0 - p.0)
    };
    let within = |p: (f64, f64), q: (f64, f64), r: (f64, f64)| {
        r.0 >= p.0.min(q.0) && r.0 <= p.0.max(q.0) && r.1 >= p.1.min(q.1) && r.1 <= p.1.max(q.1)
    };
    let (abc, abd, cda, cdb) = (turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b));
    let apart = |u: f64, v: f64| (u > 0.0 && v < 0.0) || (u < 0.0 && v > 0.0);
    (apart(abc, abd) && apart(cda, cdb))
        || (abc == 0.0 && within(a, b, c))
        || (abd == 0.0 && within(a, b, d))
        || (cda == 0.0 && within(c, d, a))
        || (cdb == 0.0 && within(c, d, b))
}

/// Start and width of what a polygon touches in a band of rows. From any point inside, straight up, one comes to a side
/// within the band or to its upper row: so the sides' parts in the band and the polygon's cut at both rows are all.
fn spans(sides: &[Side], (top, bottom): (f64, f64), width: u32) -> Vec<(u32, u32)> {
    let mut found: Vec<(f64, f64)> = Vec::new();
    let across = |((ax, ay), (bx, by)): Side, y: f64| ax + (bx - ax) * (y - ay) / (by - ay);
    for &((ax, ay), (bx, by)) in sides {
        let (low, high) = (ay.min(by), ay.max(by));
        if high < top || low > bottom {
            continue;
        }
        let ends = if low == high {
            (ax, bx)
        } else {
            let side = ((ax, ay), (bx, by));
            (across(side, low.max(top)), across(side, high.min(bottom)))
        };
        found.push((ends.0.min(ends.1), ends.0.max(ends.1)));
    }
    for (y, is_top) in [(top, true), (bottom, false)] {
        let cut = sides.iter().filter(|((_, ay), (_, by))| {
            let (low, high) = (ay.min(*by), ay.max(*by));
            if is_top { low <= y && y < high } else { low < y && y <= high }
        });
        let mut cuts: Vec<f64> = cut.map(|side| across(*side, y)).collect();
        cuts.sort_by(f64::total_cmp);
        found.extend(cuts.as_chunks::<2>().0.iter().map(|[from, to]| (*from, *to)));
    }
    merged(found, width)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the picture, whose sides are under 2^16, right before"
)]
fn merged(mut found: Vec<(f64, f64)>, width: u32) -> Vec<(u32, u32)> {
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut spans: Vec<(u32, u32)> = Vec::new();
    let pixel = |v: f64| (v * SNAP).clamp(0.0, f64::from(width)) as u32;
    for (from, to) in found {
        let (from, to) = (pixel((from / SNAP).floor()), pixel((to / SNAP).ceil()));
        match spans.last_mut() {
            Some((start, wide)) if from <= *start + *wide => *wide = (*wide).max(to - *start),
            _ if to > from => spans.push((from, to - from)),
            _ => {}
        }
    }
    spans
}

/// The polygons of every camera of a site.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<CameraId, Vec<String>>")]
pub struct StaticRegions(BTreeMap<CameraId, Vec<Polygon>>);

impl TryFrom<BTreeMap<CameraId, Vec<String>>> for StaticRegions {
    type Error = StaticError;

    fn try_from(texts: BTreeMap<CameraId, Vec<String>>) -> Result<Self, StaticError> {
        let polygons = texts.into_iter().map(|(camera, texts)| {
            let numbered = texts.iter().zip(1..).map(|(text, number)| {
                let of =
                    |why| StaticError::Of { camera: camera.clone(), number, why: Box::new(why) };
                text.parse().map_err(of)
            });
            let polygons = numbered.collect::<Result<Vec<_>, _>>()?;
            Ok((camera, polygons))
        });
        Self::new(polygons.collect::<Result<_, _>>()?)
    }
}

impl StaticRegions {
    /// The polygons of each camera.
    ///
    /// # Errors
    /// When a camera has more than a manifest should hold.
    pub fn new(polygons: BTreeMap<CameraId, Vec<Polygon>>) -> Result<Self, StaticError> {
        for (camera, polygons) in &polygons {
            let each = polygons.iter().map(|p| p.rects(PICTURE_WIDTH_MAX, PICTURE_HEIGHT_MAX));
            let (regions, rects) = (polygons.len(), each.map(|rects| rects.len()).sum::<usize>());
            if regions > POLYGONS_MAX || rects > RECTS_MAX {
                return Err(StaticError::TooMany { camera: camera.clone(), regions, rects });
            }
        }
        Ok(Self(polygons))
    }

    /// The cameras that have any.
    pub fn cameras(&self) -> impl Iterator<Item = &CameraId> {
        self.0.keys()
    }

    /// Whether there are none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(Vec::is_empty)
    }

    /// What is always covered in a picture of this size of a camera.
    pub(crate) fn regions(&self, camera: &CameraId, width: u32, height: u32) -> Vec<Region> {
        let polygons = self.0.get(camera).into_iter().flatten();
        let rects = polygons.map(|polygon| polygon.rects(width, height));
        let chunks = rects.flat_map(|rects| {
            rects.chunks(FILLS_MAX).map(<[Rect]>::to_vec).collect::<Vec<Vec<Rect>>>()
        });
        chunks.map(Region::filled).collect()
    }
}

#[cfg(test)]
mod tests;
