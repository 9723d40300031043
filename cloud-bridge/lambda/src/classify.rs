//! Owns the step from a verified manifest to its result: a pure function of the manifest and the model, so that a
//! replay gives the same bytes.
//!
//! Where the fog classified the faces before it covered them whole, the manifest has the answers and no cells: they
//! become the same result, and the network here is not asked.

use models::{CellInput, MaskClassifier, MaskProbabilities, classifier::ClassifyError};
use proto::{
    Manifest, key,
    manifest::{Grid, ModelRef, PARTS, Said},
    result::{FaceLabel, FaceResult, FrameResult, Placement, RESULT_SCHEMA},
};

/// Classifies all faces of a frame in one run of the network. How long it took is for the caller to add.
///
/// # Errors
/// When the network fails. Cells of a grid that the model does not read are no error: such a face is `uncertain`.
pub fn classify(
    manifest: &Manifest,
    model: &mut dyn MaskClassifier,
    placement: Placement,
) -> Result<FrameResult, ClassifyError> {
    if let Some(classifier) = &manifest.classifier {
        let faces = manifest.regions.iter().filter_map(|region| region.said.as_ref()).map(told);
        return Ok(result(manifest, classifier.clone(), Placement::Fog, faces.collect()));
    }
    let info = model.info().clone();
    let readable = |grid: &&Grid| (grid.rows, grid.cols) == (info.rows, info.cols);
    let inputs: Vec<CellInput<'_>> = manifest.grids().filter(readable).map(input).collect();
    let mut answers = model.classify(&inputs)?.into_iter();
    let mut faces = Vec::new();
    for grid in manifest.grids() {
        let answer = if readable(&grid) { answers.next() } else { None };
        let label = answer.map_or(FaceLabel::Uncertain, |said| info.label(&input(grid), &said));
        faces.push(face(grid, answer, label));
    }
    let model = ModelRef { name: info.name, digest: info.digest };
    Ok(result(manifest, model, placement, faces))
}

fn result(
    manifest: &Manifest,
    model: ModelRef,
    classified_on: Placement,
    faces: Vec<FaceResult>,
) -> FrameResult {
    let ([mask, no_mask, incorrect, uncertain], share_without_mask) = FrameResult::count(&faces);
    FrameResult {
        schema: RESULT_SCHEMA,
        frame: manifest.frame.clone(),
        image: key::frame_key(manifest),
        captured_at: manifest.captured_at,
        model,
        policy: manifest.policy.clone(),
        classified_on,
        width: manifest.width,
        height: manifest.height,
        faces,
        mask,
        no_mask,
        incorrect,
        uncertain,
        share_without_mask,
        timings: None,
    }
}

/// What the fog said, as everybody says it.
fn told(said: &Said) -> FaceResult {
    let [mask, no_mask, incorrect, not_a_face] = said.probabilities();
    FaceResult {
        rect: said.rect,
        score_milli: said.score_milli,
        counted: said.counted,
        mask,
        no_mask,
        incorrect,
        not_a_face,
        label: said.label,
    }
}

fn input(grid: &Grid) -> CellInput<'_> {
    CellInput { cells: &grid.cells, box_w: grid.rect.w, box_h: grid.rect.h }
}

/// Without an answer all probabilities are 0: nothing is known. They are rounded to parts as the fog rounds them, since
/// what two processors compute differs in the last bits.
fn face(grid: &Grid, answer: Option<MaskProbabilities>, label: FaceLabel) -> FaceResult {
    let part = |of: fn(&MaskProbabilities) -> f32| {
        let part = answer.as_ref().map_or(0, |said| Said::part(of(said)));
        f32::from(part) / f32::from(PARTS)
    };
    FaceResult {
        rect: grid.rect,
        score_milli: grid.score_milli,
        counted: grid.counted,
        mask: part(|said| said.mask),
        no_mask: part(|said| said.no_mask),
        incorrect: part(|said| said.incorrect),
        not_a_face: part(|said| said.not_a_face),
        label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ShadeClassifier;
    use proto::manifest::{example, example_classified};

    #[test]
    fn every_grid_is_a_face_in_its_order_and_only_counted_ones_are_counted() {
        let mut manifest = example();
        let region = manifest.regions[0].clone();
        let mut bare = region.clone();
        let grid = bare.grid.as_mut().unwrap();
        grid.cells.reverse();
        grid.counted = false;
        let mut other = region.clone();
        let grid = other.grid.as_mut().unwrap();
        (grid.rows, grid.cols, grid.cells) = (8, 1, vec![1; 24]);
        manifest.regions.extend([bare, other]);
        let mut model = ShadeClassifier::new(8, 2);
        let result = classify(&manifest, &mut model, Placement::Lambda).unwrap();
        let labels: Vec<FaceLabel> = result.faces.iter().map(|face| face.label).collect();
        assert_eq!(labels, [FaceLabel::NoMask, FaceLabel::Mask, FaceLabel::Uncertain]);
        assert_eq!((result.no_mask, result.mask, result.uncertain), (1, 0, 1));
        assert_eq!(result.share_without_mask, Some(1.0));
        let again = classify(&manifest, &mut model, Placement::Lambda).unwrap();
        assert_eq!(serde_json::to_vec(&result).unwrap(), serde_json::to_vec(&again).unwrap());
    }

    #[test]
    fn a_frame_without_cells_has_a_result_without_faces() {
        let mut manifest = example();
        manifest.regions.iter_mut().for_each(|region| region.grid = None);
        let mut model = ShadeClassifier::new(8, 2);
        let result = classify(&manifest, &mut model, Placement::Lambda).unwrap();
        assert_eq!((result.faces.len(), result.share_without_mask), (0, None));
    }

    #[test]
    fn what_the_fog_said_is_the_result_of_its_own_model_and_nothing_is_asked_here() {
        let manifest = example_classified();
        let mut model = ShadeClassifier::failing(8, 2);
        let result = classify(&manifest, &mut model, Placement::Lambda).unwrap();
        assert_eq!(result.classified_on, Placement::Fog);
        assert_eq!(Some(&result.model), manifest.classifier.as_ref());
        let [face] = result.faces.as_slice() else { panic!("{result:?}") };
        let said = manifest.regions[0].said.as_ref().unwrap();
        assert_eq!((face.rect, face.label), (said.rect, FaceLabel::Mask));
        assert_eq!([face.mask, face.no_mask, face.incorrect], [0.8712, 0.0643, 0.0645]);
        assert_eq!((result.mask, result.share_without_mask), (1, Some(0.0)));
        // A frame in which it found no face.
        let mut empty = example_classified();
        empty.regions.clear();
        let result = classify(&empty, &mut model, Placement::Lambda).unwrap();
        assert_eq!((result.faces.len(), result.classified_on), (0, Placement::Fog));
    }

    #[test]
    fn a_network_that_fails_is_an_error_and_no_result() {
        let mut model = ShadeClassifier::failing(8, 2);
        assert!(classify(&example(), &mut model, Placement::Lambda).is_err());
    }
}
