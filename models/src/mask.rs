//! Owns what a mask classifier is: the cells it sees, the probabilities it gives, and the sidecar that
//! describes a trained network.
//!
//! A network takes `cells` (float32 `[n, 3, rows, cols]`, RGB, 0..=255, exactly the manifest's values) and
//! `log_box` (float32 `[n, 1]`, the natural logarithm of the geometric mean of the box's sides in pixels) and
//! gives calibrated `probabilities` (float32 `[n, classes]`). All other features are computed inside the graph.

use proto::Digest;
use serde::{Deserialize, Serialize};

/// Colours of one cell.
pub const CELL_CHANNELS: usize = 3;
/// Most rows or columns of a grid: finer than this is no redaction.
pub const GRID_SIDE_MAX: u8 = 16;
/// Largest sidecar, in bytes.
pub const SIDECAR_BYTES_MAX: usize = 64 * 1024;
/// How far from 1 the sum of one face's probabilities may be: single precision over four classes.
const SUM_ERROR_MAX: f32 = 1e-3;

/// Rows and columns of the cells over one face.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Rows, 1 to [`GRID_SIDE_MAX`].
    pub rows: u8,
    /// Columns, 1 to [`GRID_SIDE_MAX`].
    pub cols: u8,
}

impl Grid {
    /// Bytes of one face's cells.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.rows as usize * self.cols as usize * CELL_CHANNELS
    }
}

/// One redacted face, as the manifest has it.
#[derive(Clone, Copy)]
pub struct FaceCells<'a> {
    /// Red, green, blue of each cell, row by row from the top left: `3 * rows * cols` bytes.
    pub rgb: &'a [u8],
    /// Width of the box under the grid, in pixels.
    pub box_width: f32,
    /// Height of the box under the grid, in pixels.
    pub box_height: f32,
}

/// What a network says of one face. The four add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probabilities {
    /// A mask over mouth and nose.
    pub mask: f32,
    /// No mask.
    pub no_mask: f32,
    /// A mask that leaves the nose or the mouth free.
    pub incorrect: f32,
    /// Not a face at all; 0 from a network that has no such class.
    #[serde(default)]
    pub not_a_face: f32,
}

/// What is counted for one face.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Counted as masked.
    Mask,
    /// Counted as not masked.
    NoMask,
    /// Counted as worn incorrectly.
    Incorrect,
    /// Not counted: the detector was wrong.
    NotAFace,
    /// Too small to tell; counted apart.
    Uncertain,
}

/// The answer for one face: probabilities always, and what to count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Calibrated probabilities.
    pub probabilities: Probabilities,
    /// What to count.
    pub label: Label,
}

/// Classifies redacted faces. Implementations keep buffers, hence `&mut self`; one per thread.
pub trait MaskClassifier: Send {
    /// What results call this classifier, such as `mask-8x2`.
    fn name(&self) -> &str;

    /// BLAKE3 of the model file.
    fn digest(&self) -> Digest;

    /// The grid that it was trained on; cells of another grid are refused.
    fn grid(&self) -> Grid;

    /// One answer per face, in order. No faces, no answers.
    ///
    /// # Errors
    /// [`ClassifyError`]; no face is left out silently.
    fn classify(&mut self, faces: &[FaceCells<'_>]) -> Result<Vec<Answer>, ClassifyError>;
}

/// Faces were not classified.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClassifyError {
    /// The network did not run.
    #[error("{classifier} failed: {reason}")]
    Failed {
        /// Its [`MaskClassifier::name`].
        classifier: String,
        /// What the runtime said.
        reason: String,
    },
    /// The cells are of another grid than the network's.
    #[error("{classifier} was trained on {} bytes of cells ({}x{}), face {face} has {got}",
        .grid.bytes(), .grid.rows, .grid.cols)]
    Grid {
        /// Its [`MaskClassifier::name`].
        classifier: String,
        /// The network's grid.
        grid: Grid,
        /// Index of the face.
        face: usize,
        /// Bytes given.
        got: usize,
    },
    /// The box under the cells has no size.
    #[error("face {face} has a box of {width}x{height} pixels")]
    Box {
        /// Index of the face.
        face: usize,
        /// Width given.
        width: f32,
        /// Height given.
        height: f32,
    },
    /// The network gave another number of values than classes times faces.
    #[error(
        "{classifier} gave {got} values where {expected} belong: is this the right model file?"
    )]
    Shape {
        /// Its [`MaskClassifier::name`].
        classifier: String,
        /// Values given.
        got: usize,
        /// Values that belong to the faces.
        expected: usize,
    },
    /// Values that are not probabilities: not finite, outside 0..=1, or not adding up to 1.
    #[error("{classifier} gave {found:?} for face {face}, which are no probabilities")]
    Impossible {
        /// Its [`MaskClassifier::name`].
        classifier: String,
        /// Index of the face.
        face: usize,
        /// The values as the network gave them.
        found: Vec<f32>,
    },
}

/// The sidecar of a trained network, `mask-8x2.json` beside `mask-8x2.onnx`: what its file cannot say of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskModel {
    /// Version of this sidecar; 1.
    pub format: u32,
    /// What results call it.
    pub name: String,
    /// BLAKE3 of the ONNX file.
    pub digest: Digest,
    /// The outputs in order, of [`Label`]s that a network can give; `mask`, `no_mask`, `incorrect` first.
    pub classes: Vec<Label>,
    /// The grid that it was trained on.
    pub grid: Grid,
    /// The redaction policy whose cells it was trained on.
    pub policy: String,
    /// The temperature inside the graph, for the record.
    pub temperature: f32,
    /// Boxes whose shorter side is under this many pixels are [`Label::Uncertain`].
    pub face_px_min: f32,
}

/// A sidecar cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// Not JSON of this shape.
    #[error("not a sidecar of a mask model: {0}")]
    Json(#[from] serde_json::Error),
    /// Longer than [`SIDECAR_BYTES_MAX`].
    #[error("{0} bytes are too long for a sidecar of a mask model")]
    Long(usize),
    /// A field has a value that nothing can be done with.
    #[error("the sidecar's {field} is {value}")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
}

/// A network's inputs for some faces.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskInput {
    /// `[faces, 3, rows, cols]`, 0..=255.
    pub cells: Vec<f32>,
    /// `[faces, 1]`.
    pub log_box: Vec<f32>,
}

impl MaskModel {
    /// Reads a sidecar.
    ///
    /// # Errors
    /// [`SidecarError`] for another version, another order of classes, an empty or too fine grid, or numbers that
    /// are not finite.
    pub fn parse(json: &[u8]) -> Result<Self, SidecarError> {
        if json.len() > SIDECAR_BYTES_MAX {
            return Err(SidecarError::Long(json.len()));
        }
        let model: Self = serde_json::from_slice(json)?;
        let value = |field, value: String| Err(SidecarError::Value { field, value });
        if model.format != 1 {
            return value("format", model.format.to_string());
        }
        let classes = [Label::Mask, Label::NoMask, Label::Incorrect, Label::NotAFace];
        if model.classes != classes && Some(model.classes.as_slice()) != classes.get(..3) {
            return value("classes", format!("{:?}", model.classes));
        }
        let sides = 1..=GRID_SIDE_MAX;
        if !sides.contains(&model.grid.rows) || !sides.contains(&model.grid.cols) {
            return value("grid", format!("{}x{}", model.grid.rows, model.grid.cols));
        }
        if !(model.face_px_min.is_finite() && model.face_px_min >= 0.0) {
            return value("face_px_min", model.face_px_min.to_string());
        }
        if !(model.temperature.is_finite() && model.temperature > 0.0) {
            return value("temperature", model.temperature.to_string());
        }
        Ok(model)
    }

    /// The network's inputs for `faces`.
    ///
    /// # Errors
    /// [`ClassifyError::Grid`] or [`ClassifyError::Box`] for a face that the network was not made for.
    pub fn input(&self, faces: &[FaceCells<'_>]) -> Result<MaskInput, ClassifyError> {
        let mut input = MaskInput {
            cells: Vec::with_capacity(self.grid.bytes() * faces.len()),
            log_box: Vec::with_capacity(faces.len()),
        };
        for (index, face) in faces.iter().enumerate() {
            if face.rgb.len() != self.grid.bytes() {
                let (classifier, got) = (self.name.clone(), face.rgb.len());
                return Err(ClassifyError::Grid { classifier, grid: self.grid, face: index, got });
            }
            let area = face.box_width * face.box_height;
            if !(face.box_width > 0.0 && face.box_height > 0.0 && area.is_finite()) {
                let (width, height) = (face.box_width, face.box_height);
                return Err(ClassifyError::Box { face: index, width, height });
            }
            for channel in 0..CELL_CHANNELS {
                let plane = face.rgb.iter().skip(channel).step_by(CELL_CHANNELS);
                input.cells.extend(plane.map(|value| f32::from(*value)));
            }
            input.log_box.push(area.sqrt().ln());
        }
        Ok(input)
    }

    /// The answers for `faces` from the network's `probabilities`, `[faces, classes]`.
    ///
    /// # Errors
    /// [`ClassifyError::Shape`] or [`ClassifyError::Impossible`] for values that are no probabilities.
    pub fn answers(
        &self,
        faces: &[FaceCells<'_>],
        probabilities: &[f32],
    ) -> Result<Vec<Answer>, ClassifyError> {
        let (expected, got) = (self.classes.len() * faces.len(), probabilities.len());
        if got != expected {
            return Err(ClassifyError::Shape { classifier: self.name.clone(), got, expected });
        }
        let rows = probabilities.chunks_exact(self.classes.len());
        faces
            .iter()
            .zip(rows)
            .enumerate()
            .map(|(index, (face, row))| self.answer(index, face, row))
            .collect()
    }

    fn answer(
        &self,
        index: usize,
        face: &FaceCells<'_>,
        row: &[f32],
    ) -> Result<Answer, ClassifyError> {
        let sum: f32 = row.iter().sum();
        let each = row.iter().all(|value| (0.0..=1.0).contains(value));
        if !each || (sum - 1.0).abs() > SUM_ERROR_MAX {
            let (classifier, found) = (self.name.clone(), row.to_vec());
            return Err(ClassifyError::Impossible { classifier, face: index, found });
        }
        let at = |class: usize| row.get(class).copied().unwrap_or_default();
        let probabilities =
            Probabilities { mask: at(0), no_mask: at(1), incorrect: at(2), not_a_face: at(3) };
        let small = face.box_width.min(face.box_height) < self.face_px_min;
        let label = if small { Label::Uncertain } else { probabilities.likeliest() };
        Ok(Answer { probabilities, label })
    }
}

impl Probabilities {
    /// The class of the highest probability; of equals the first in the order of the fields.
    #[must_use]
    pub fn likeliest(&self) -> Label {
        let mut best = (self.mask, Label::Mask);
        for (value, label) in [
            (self.no_mask, Label::NoMask),
            (self.incorrect, Label::Incorrect),
            (self.not_a_face, Label::NotAFace),
        ] {
            if value > best.0 {
                best = (value, label);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> MaskModel {
        MaskModel {
            format: 1,
            name: "m".to_owned(),
            digest: Digest::of(b"file"),
            classes: vec![Label::Mask, Label::NoMask, Label::Incorrect],
            grid: Grid { rows: 2, cols: 1 },
            policy: "default".to_owned(),
            temperature: 1.5,
            face_px_min: 16.0,
        }
    }

    const FACE: FaceCells<'_> =
        FaceCells { rgb: &[1, 2, 3, 4, 5, 6], box_width: 20.0, box_height: 45.0 };

    #[test]
    fn cells_become_planes_and_the_box_its_logarithm() {
        let input = model().input(&[FACE]).unwrap();
        assert_eq!(input.cells, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert!((input.log_box[0] - 30f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn cells_of_another_grid_and_boxes_without_size_are_errors() {
        let short = FaceCells { rgb: &[0; 5], ..FACE };
        assert!(matches!(
            model().input(&[FACE, short]),
            Err(ClassifyError::Grid { face: 1, got: 5, .. })
        ));
        for width in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let flat = FaceCells { box_width: width, ..FACE };
            assert!(
                matches!(model().input(&[flat]), Err(ClassifyError::Box { face: 0, .. })),
                "{width}"
            );
        }
    }

    #[test]
    fn the_likeliest_class_counts_and_a_small_face_is_uncertain() {
        let small = FaceCells { box_width: 15.9, ..FACE };
        let answers = model().answers(&[FACE, small], &[0.2, 0.7, 0.1, 0.2, 0.7, 0.1]).unwrap();
        assert_eq!(
            answers.iter().map(|a| a.label).collect::<Vec<_>>(),
            [Label::NoMask, Label::Uncertain]
        );
        assert!((answers[1].probabilities.no_mask - 0.7).abs() < 1e-6);
    }

    #[test]
    fn values_that_are_no_probabilities_are_errors() {
        for row in [[f32::NAN, 0.5, 0.5], [1.2, -0.1, -0.1], [0.2, 0.2, 0.2]] {
            let answer = model().answers(&[FACE], &row);
            assert!(matches!(answer, Err(ClassifyError::Impossible { face: 0, .. })), "{row:?}");
        }
        assert!(matches!(model().answers(&[FACE], &[1.0]), Err(ClassifyError::Shape { .. })));
    }

    #[test]
    fn a_sidecar_is_read_back_and_a_wrong_one_says_which_field() {
        let json = serde_json::to_vec(&model()).unwrap();
        assert_eq!(MaskModel::parse(&json).unwrap(), model());
        let wrong = [
            ("format", MaskModel { format: 2, ..model() }),
            ("classes", MaskModel { classes: vec![Label::NoMask, Label::Mask], ..model() }),
            ("grid", MaskModel { grid: Grid { rows: 0, cols: 2 }, ..model() }),
            ("face_px_min", MaskModel { face_px_min: -1.0, ..model() }),
            ("temperature", MaskModel { temperature: 0.0, ..model() }),
        ];
        for (field, model) in wrong {
            let error = MaskModel::parse(&serde_json::to_vec(&model).unwrap()).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
        assert!(MaskModel::parse(b"{}").is_err());
    }
}
