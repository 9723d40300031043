//! Owns the manifest: what an envelope says about its frame. Everything drawn over a face can be rebuilt from it;
//! nothing in it is finer than a box and its cells.
//!
//! | version | faces are classified by | has besides |
//! |---|---|---|
//! | [`MANIFEST_VERSION`] | whoever reads the cells | nothing |
//! | [`MANIFEST_VERSION_CLASSIFIED`] | the fog, which covers them whole | `classifier`, and `said` of each face |
//!
//! This build reads both, and writes the second only where the fog classifies: what is written elsewhere is read by the
//! builds before it.

mod said;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    Clock, Digest, FrameId, UtcTime,
    limits::{FACES_MAX, PICTURE_HEIGHT_MAX, PICTURE_WIDTH_MAX},
};

pub use said::{PARTS, Said};

/// Version of a manifest whose cells its reader classifies.
pub const MANIFEST_VERSION: u16 = 1;
/// Version of a manifest whose faces the fog classified before it covered them.
pub const MANIFEST_VERSION_CLASSIFIED: u16 = 2;
/// The constant colour of everything in a region outside its cells: middle grey, from no picture.
pub const FILL_RGB: [u8; 3] = [128, 128, 128];
/// Most cells along one side of a grid: 8x8 already gives identity away (privacy.md), 16 is for measuring.
pub const GRID_SIDE_MAX: u8 = 16;

/// Why a manifest was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The JSON does not have the manifest's shape.
    #[error("manifest is not of the expected form: {0}")]
    Json(String),
    /// Another version.
    #[error("manifest version {0} is neither 1 nor 2: upgrade the reader")]
    Version(u16),
    /// A number is outside its bound.
    #[error("manifest of frame {frame}: {what} is out of bounds")]
    Bound {
        /// The frame it claims to be.
        frame: String,
        /// Which field.
        what: &'static str,
    },
}

/// A rectangle of whole pixels inside the picture.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rect {
    /// Left edge, in pixels from the left.
    pub x: u32,
    /// Top edge, in pixels from the top.
    pub y: u32,
    /// Width in pixels.
    pub w: u32,
    /// Height in pixels.
    pub h: u32,
}

impl Rect {
    /// Whether the rectangle has an area and lies inside a picture of this size.
    #[must_use]
    pub const fn fits(&self, width: u32, height: u32) -> bool {
        let right = self.x.checked_add(self.w);
        let bottom = self.y.checked_add(self.h);
        match (right, bottom) {
            (Some(right), Some(bottom)) => {
                self.w > 0 && self.h > 0 && right <= width && bottom <= height
            }
            _ => false,
        }
    }
}

/// A model by name and digest.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRef {
    /// Short name, such as `centerface`.
    pub name: String,
    /// Digest of the model file.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub digest: Digest,
}

/// A redaction policy by name and digest.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRef {
    /// Name, such as `solid`.
    pub name: String,
    /// Digest of the policy's canonical form.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub digest: Digest,
}

/// The cells laid over one face: exactly the values that were drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Where the cells lie: the detector's box snapped outwards.
    pub rect: Rect,
    /// Rows of cells, 1 to [`GRID_SIDE_MAX`].
    pub rows: u8,
    /// Columns of cells, 1 to [`GRID_SIDE_MAX`].
    pub cols: u8,
    /// Values: row by row, three bytes (red, green, blue) a cell.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub cells: Vec<u8>,
    /// Score of the detection in thousandths, 0 to 1000. This fog rounds it down to quarters.
    pub score_milli: u16,
    /// Whether the score is high enough to count this face in results.
    pub counted: bool,
}

/// One redacted region: filled first, then its grid is drawn. Earlier grids own the pixels that they share with
/// later ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Rectangles filled with [`FILL_RGB`].
    pub fill: Vec<Rect>,
    /// The cells; absent under a `solid` policy and for what only the audit or a static region covers.
    pub grid: Option<Grid>,
    /// What the fog said of the face before it covered it; absent where there are cells, and in version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
}

impl Region {
    /// Rectangles that are filled, of whatever.
    #[must_use]
    pub const fn filled(fill: Vec<Rect>) -> Self {
        Self { fill, grid: None, said: None }
    }
}

/// What an envelope says about its frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`] or [`MANIFEST_VERSION_CLASSIFIED`].
    pub version: u16,
    /// The frame.
    pub frame: FrameId,
    /// When the frame was captured.
    pub captured_at: UtcTime,
    /// When the clip was captured, as its `ClipRecord` says: places the object in its hour.
    pub clip_captured_at: UtcTime,
    /// How far the times can be trusted.
    pub clock: Clock,
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// The policy.
    pub policy: PolicyRef,
    /// The detector that found the faces.
    pub detector: ModelRef,
    /// The auditor that checked the redaction.
    pub auditor: ModelRef,
    /// Scale of the Laplace noise in grey levels.
    pub noise_scale: u8,
    /// The epoch of the noise key. The key itself is never here.
    pub noise_epoch: u64,
    /// What was redacted, in drawing order.
    pub regions: Vec<Region>,
    /// What classified the faces on the fog; absent in version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier: Option<ModelRef>,
}

/// Most rectangles of one region: a cluster of every box that a face draws at two scales, and the audit's.
pub const FILLS_MAX: usize = 64;

impl Manifest {
    /// Reads a manifest and checks every bound.
    ///
    /// # Errors
    /// When the JSON, the version or a number is not as it must be.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self =
            serde_json::from_slice(json).map_err(|e| ManifestError::Json(e.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The bytes that are signed: compact JSON in field order.
    ///
    /// # Errors
    /// When a bound is broken: what we would refuse to read we refuse to write.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        serde_json::to_vec(self).map_err(|e| ManifestError::Json(e.to_string()))
    }

    fn check(&self) -> Result<(), ManifestError> {
        let classified = match self.version {
            MANIFEST_VERSION => false,
            MANIFEST_VERSION_CLASSIFIED => true,
            other => return Err(ManifestError::Version(other)),
        };
        let bound = |what| Err(ManifestError::Bound { frame: self.frame.to_string(), what });
        let widths = 1..=PICTURE_WIDTH_MAX;
        let heights = 1..=PICTURE_HEIGHT_MAX;
        if !widths.contains(&self.width) || !heights.contains(&self.height) {
            return bound("picture size");
        }
        if self.regions.len() > FACES_MAX {
            return bound("number of regions");
        }
        if self.classifier.is_some() != classified {
            return bound("classifier, which version 2 has and version 1 has not");
        }
        for region in &self.regions {
            // Where the fog has answered there are no cells, and where it has not there is no answer.
            let alone = region.grid.is_none() && classified;
            if region.said.as_ref().is_some_and(|s| !alone || !s.fits(self.width, self.height)) {
                return bound("answer of the fog");
            }
            if region.fill.len() > FILLS_MAX {
                return bound("number of fills of a region");
            }
            if !region.fill.iter().all(|r| r.fits(self.width, self.height)) {
                return bound("fill rectangle");
            }
            if region.grid.as_ref().is_some_and(|grid| !grid.fits(self.width, self.height)) {
                return bound("grid");
            }
        }
        Ok(())
    }

    /// The grids in drawing order.
    pub fn grids(&self) -> impl Iterator<Item = &Grid> {
        self.regions.iter().filter_map(|region| region.grid.as_ref())
    }
}

impl Grid {
    fn fits(&self, width: u32, height: u32) -> bool {
        let sides = 1..=GRID_SIDE_MAX;
        sides.contains(&self.rows)
            && sides.contains(&self.cols)
            && self.cells.len() == usize::from(self.rows) * usize::from(self.cols) * 3
            && self.score_milli <= 1000
            && self.rect.fits(width, height)
            // A cell without a pixel has no mean.
            && self.rect.w >= u32::from(self.cols)
            && self.rect.h >= u32::from(self.rows)
    }
}

fn to_base64<S: Serializer>(cells: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(cells))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

/// A manifest for tests: one face with cells, one without.
#[cfg(any(test, feature = "testing"))]
#[must_use]
#[expect(clippy::expect_used, reason = "constant texts that parse; test support only")]
pub fn example() -> Manifest {
    Manifest {
        version: MANIFEST_VERSION,
        frame: "town/cam-1/000102030405060708090a0b0c0d0e0f/7/14".parse().expect("constant"),
        captured_at: "2026-11-24T12:01:10Z".parse().expect("constant"),
        clip_captured_at: "2026-11-24T12:01:10Z".parse().expect("constant"),
        clock: Clock { source: crate::time::ClockSource::System, uncertainty_ms: Some(100) },
        width: 640,
        height: 360,
        policy: PolicyRef { name: "default".to_owned(), digest: Digest::of(b"policy") },
        detector: ModelRef { name: "centerface".to_owned(), digest: Digest::of(b"detector") },
        auditor: ModelRef { name: "ultraface".to_owned(), digest: Digest::of(b"auditor") },
        noise_scale: 8,
        noise_epoch: 3,
        regions: vec![
            Region {
                fill: vec![Rect { x: 90, y: 40, w: 80, h: 96 }],
                grid: Some(Grid {
                    rect: Rect { x: 104, y: 56, w: 48, h: 64 },
                    rows: 8,
                    cols: 2,
                    cells: (0..48).collect(),
                    score_milli: 871,
                    counted: true,
                }),
                said: None,
            },
            Region::filled(vec![Rect { x: 0, y: 0, w: 16, h: 16 }]),
        ],
        classifier: None,
    }
}

/// The same for tests, as the fog would have sealed it under a policy without cells: its face is classified there.
#[cfg(any(test, feature = "testing"))]
#[must_use]
pub fn example_classified() -> Manifest {
    let mut manifest = example();
    manifest.version = MANIFEST_VERSION_CLASSIFIED;
    for region in &mut manifest.regions {
        region.said = region.grid.take().map(|grid| Said {
            rect: grid.rect,
            score_milli: grid.score_milli,
            counted: grid.counted,
            parts: [8712, 643, 645, 0],
            label: crate::result::FaceLabel::Mask,
        });
    }
    let (name, digest) = ("mask".to_owned(), Digest::of(b"classifier"));
    manifest.classifier = Some(ModelRef { name, digest });
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        for manifest in [example(), example_classified()] {
            assert_eq!(Manifest::from_json(&manifest.to_json().unwrap()).unwrap(), manifest);
        }
    }

    #[test]
    fn manifests_keep_their_golden_bytes() {
        let golden = [
            (example(), include_str!("../tests/golden/manifest-v1.json")),
            (example_classified(), include_str!("../tests/golden/manifest-v2.json")),
        ];
        for (manifest, golden) in golden {
            let written = String::from_utf8(manifest.to_json().unwrap()).unwrap();
            assert_eq!(written, golden.trim_end(), "version {}", manifest.version);
        }
    }

    #[test]
    fn an_answer_of_the_fog_stands_in_a_classified_manifest_alone_and_never_beside_cells() {
        let spoils: [fn(&mut Manifest); 8] = [
            |m| m.version = MANIFEST_VERSION,
            |m| m.classifier = None,
            |m| m.regions[0].grid.clone_from(&example().regions[0].grid),
            |m| m.regions[0].said.as_mut().unwrap().parts[0] += 5,
            |m| m.regions[0].said.as_mut().unwrap().parts = [0; 4],
            |m| m.regions[0].said.as_mut().unwrap().score_milli = 1001,
            |m| m.regions[0].said.as_mut().unwrap().rect.w = 640,
            |m| (m.version, m.classifier) = (MANIFEST_VERSION, None),
        ];
        assert_eq!(spoilt(&example_classified(), &spoils), Vec::<usize>::new());
        let spoils: [fn(&mut Manifest); 2] = [
            |m| m.classifier = example_classified().classifier,
            |m| m.version = MANIFEST_VERSION_CLASSIFIED,
        ];
        assert_eq!(spoilt(&example(), &spoils), Vec::<usize>::new());
        // A frame in which there is no face was classified all the same.
        let mut empty = example_classified();
        empty.regions.clear();
        assert!(empty.to_json().is_ok());
    }

    /// Which of these spoilt manifests are written or read all the same.
    fn spoilt(good: &Manifest, spoils: &[fn(&mut Manifest)]) -> Vec<usize> {
        let passes = |spoil: &fn(&mut Manifest)| {
            let mut manifest = good.clone();
            spoil(&mut manifest);
            let json = serde_json::to_vec(&manifest).unwrap();
            manifest.to_json().is_ok() || Manifest::from_json(&json).is_ok()
        };
        assert!(good.to_json().is_ok());
        (0..spoils.len()).filter(|at| passes(&spoils[*at])).collect()
    }

    #[test]
    fn numbers_out_of_bounds_are_refused_when_reading_and_when_writing() {
        let spoils: [fn(&mut Manifest); 8] = [
            |m| m.version = 3,
            |m| m.width = 0,
            |m| m.height = PICTURE_HEIGHT_MAX + 1,
            |m| m.regions = vec![m.regions[0].clone(); FACES_MAX + 1],
            |m| m.regions[1].fill[0].w = 641,
            |m| m.regions[1].fill[0].x = u32::MAX,
            |m| m.regions[0].grid.as_mut().unwrap().cells.truncate(47),
            |m| m.regions[0].grid.as_mut().unwrap().rect.w = 1,
        ];
        assert_eq!(spoilt(&example(), &spoils), Vec::<usize>::new());
    }
}
