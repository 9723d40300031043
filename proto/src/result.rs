//! Owns the result of one frame, as the Lambda writes it and everybody reads it.

use serde::{Deserialize, Serialize};

use crate::{
    FrameId, UtcTime,
    manifest::{ModelRef, PolicyRef, Rect},
};

/// Version of the result JSON.
pub const RESULT_SCHEMA: u16 = 1;
/// Largest result of a clip, in bytes: it says less of a face than the seal of a pack does.
pub const CLIP_RESULT_BYTES_MAX: usize = 2 * crate::limits::PACK_HEADS_BYTES_MAX;
/// Largest result, in bytes: [`crate::limits::FACES_MAX`] faces of some 200 bytes each.
pub const RESULT_BYTES_MAX: usize = 256 * 1024;

/// What is said of one face.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaceLabel {
    /// A mask over nose and mouth.
    Mask,
    /// No mask.
    NoMask,
    /// A mask worn incorrectly.
    Incorrect,
    /// Too small to say.
    Uncertain,
    /// What the detector took for a face is none: in no count.
    NotAFace,
}

/// Probability of no face from which on a box is called none: high, since a face that is dropped is an error that
/// nobody sees.
pub const NOT_A_FACE_MIN: f32 = 0.7;

impl FaceLabel {
    /// What is said of a face with these probabilities of mask, no mask, incorrect and no face: the likeliest of the three
    /// ways to wear a mask, unless there is most likely no face.
    #[must_use]
    pub const fn likeliest([mask, no_mask, incorrect, not_a_face]: [f32; 4]) -> Self {
        if not_a_face >= NOT_A_FACE_MIN {
            Self::NotAFace
        } else if mask >= no_mask && mask >= incorrect {
            Self::Mask
        } else if no_mask >= incorrect {
            Self::NoMask
        } else {
            Self::Incorrect
        }
    }
}

/// Where the classifier ran.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// In the function.
    Lambda,
    /// On the fog.
    Fog,
}

/// One face.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaceResult {
    /// The box whose cells were classified, in pixels.
    #[serde(rename = "box")]
    pub rect: Rect,
    /// Score of the detection in thousandths; the fog rounds it down to quarters.
    pub score_milli: u16,
    /// Whether the face is in the frame's counts.
    pub counted: bool,
    /// Probability of a mask over nose and mouth, 0 to 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1)))]
    pub mask: f32,
    /// Probability of no mask, 0 to 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1)))]
    pub no_mask: f32,
    /// Probability of a mask worn incorrectly, 0 to 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1)))]
    pub incorrect: f32,
    /// Probability that there is no face, 0 to 1; the four sum to 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1)))]
    pub not_a_face: f32,
    /// What is said of it.
    pub label: FaceLabel,
}

/// How long a result took. No part of what is compared: a replay differs in this and in nothing else.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// Reading and verifying the seal, in microseconds; of a pack, the seals of all its frames together.
    pub read_us: u64,
    /// Running the network on the frame's faces, in microseconds.
    pub classify_us: u64,
}

/// Everything that is said of one frame. But for [`Timings`], which stand last, a replay gives the same bytes.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameResult {
    /// [`RESULT_SCHEMA`].
    pub schema: u16,
    /// The frame.
    pub frame: FrameId,
    /// Key of the frame: that of its object, also when it lies in the pack of its clip.
    pub image: String,
    /// When it was captured.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub captured_at: UtcTime,
    /// The classifier.
    pub model: ModelRef,
    /// The redaction policy.
    pub policy: PolicyRef,
    /// Where the classifier ran.
    pub classified_on: Placement,
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// The faces, in the manifest's order.
    pub faces: Vec<FaceResult>,
    /// Counted faces with a mask.
    pub mask: u32,
    /// Counted faces without.
    pub no_mask: u32,
    /// Counted faces with a mask worn incorrectly.
    pub incorrect: u32,
    /// Counted faces too small to say.
    pub uncertain: u32,
    /// `no_mask` over all counted faces that are not uncertain; absent when there is none.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1)))]
    pub share_without_mask: Option<f64>,
    /// How long it took, last and no part of what is compared; absent in results of functions that did not tell yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// Everything that is said of the frames of one pack: one object instead of one for each.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipResult {
    /// [`RESULT_SCHEMA`].
    pub schema: u16,
    /// Key of the pack.
    pub pack: String,
    /// The classifier, the same for all frames.
    pub model: ModelRef,
    /// The result of each frame, in the pack's order.
    pub frames: Vec<FrameResult>,
}

impl ClipResult {
    /// What is compared, as [`FrameResult::compared`].
    #[must_use]
    pub fn compared(&self) -> Self {
        let frames = self.frames.iter().map(FrameResult::compared).collect();
        Self { frames, ..self.clone() }
    }
}

/// Why an object has no result, and never will by itself. Written once: the first reason stays.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetter {
    /// [`RESULT_SCHEMA`].
    pub schema: u16,
    /// Key of the object.
    pub key: String,
    /// One line for a person.
    pub reason: String,
}

/// The published JSON Schema: of what lies at a result's key, of a frame or of a clip. `proto/schema` has it as a file.
#[cfg(feature = "schema")]
#[must_use]
pub fn schema() -> schemars::Schema {
    /// What is said of a frame, or of the frames of a clip that lie in one object.
    #[derive(schemars::JsonSchema)]
    #[schemars(untagged, title = "CelosiaResult")]
    #[expect(dead_code, reason = "its shape is what it is for")]
    enum AnyResult {
        /// Of a frame.
        Frame(FrameResult),
        /// Of the frames of a clip.
        Clip(ClipResult),
    }
    schemars::schema_for!(AnyResult)
}

impl FrameResult {
    /// What is compared: the result without its timings. The same bytes in every replay.
    #[must_use]
    pub fn compared(&self) -> Self {
        Self { timings: None, ..self.clone() }
    }

    /// Counts of mask, no mask, incorrect, uncertain among the counted faces, and the share without mask. What is no
    /// face is in none of them.
    #[must_use]
    pub fn count(faces: &[FaceResult]) -> ([u32; 4], Option<f64>) {
        let count = |label| {
            let n = faces.iter().filter(|face| face.counted && face.label == label).count();
            u32::try_from(n).unwrap_or(u32::MAX)
        };
        let counts =
            [FaceLabel::Mask, FaceLabel::NoMask, FaceLabel::Incorrect, FaceLabel::Uncertain]
                .map(count);
        let [mask, no_mask, incorrect, _] = counts;
        let answered = mask + no_mask + incorrect;
        (counts, (answered > 0).then(|| f64::from(no_mask) / f64::from(answered)))
    }
}
