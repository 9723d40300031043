//! Owns the classification of faces that are covered whole: the means of cells over a face are computed as they are,
//! answered, and dropped. What leaves of a face is its box and the answer.

use models::{CellInput, MaskClassifier};
use proto::{
    manifest::{GRID_SIDE_MAX, Grid, ModelRef, Region, Said},
    record::WithheldReason,
};

use crate::{Coarse, Policy, PolicyError, Withheld};

/// A classifier that cannot be used before covering.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClassifierError {
    /// It learned under a policy that is not of this build.
    #[error("classifier {name}: {source}")]
    Policy {
        /// The classifier.
        name: String,
        /// Which policy.
        source: PolicyError,
    },
    /// It learned from cells as a policy releases them, and not from a face as it is.
    #[error(
        "classifier {name} reads what policy {policy} releases, not faces before they are covered"
    )]
    Released {
        /// The classifier.
        name: String,
        /// The policy that it names.
        policy: String,
    },
    /// It reads cells that no grid has.
    #[error(
        "classifier {name} reads {rows}x{cols} cells, and a grid has 1 to {GRID_SIDE_MAX} a side"
    )]
    Cells {
        /// The classifier.
        name: String,
        /// Rows it reads.
        rows: u8,
        /// Columns it reads.
        cols: u8,
    },
    /// It does not say what its levels are worth, or what cannot be.
    #[error(
        "classifier {name} has no probabilities for unsure, likely and sure answers, or wrong ones: {levels:?}"
    )]
    Levels {
        /// The classifier.
        name: String,
        /// What it says.
        levels: Option<[f32; 3]>,
    },
}

/// Answers for faces before they are covered.
pub struct Classifier {
    model: Coarse<Box<dyn MaskClassifier>>,
}

impl Classifier {
    /// Of a model that learned under a policy without cells.
    ///
    /// # Errors
    /// When this build does not know that policy, it releases cells, the model reads what no grid has, or does not say what
    /// its levels are worth.
    pub fn new(model: Box<dyn MaskClassifier>) -> Result<Self, ClassifierError> {
        let info = model.info();
        let (name, policy) = (info.name.clone(), info.policy.clone());
        let learned = Policy::named(&policy)
            .map_err(|source| ClassifierError::Policy { name: name.clone(), source })?;
        if learned.releases_cells() {
            return Err(ClassifierError::Released { name, policy });
        }
        let (rows, cols) = (info.rows, info.cols);
        let sides = 1..=GRID_SIDE_MAX;
        if !sides.contains(&rows) || !sides.contains(&cols) {
            return Err(ClassifierError::Cells { name, rows, cols });
        }
        Ok(Self { model: Coarse::new(model)? })
    }

    /// Rows and columns of the cells that it reads.
    pub(crate) fn grid(&self) -> (u8, u8) {
        let info = self.model.info();
        (info.rows, info.cols)
    }

    /// Name and digest, as manifests have them.
    #[must_use]
    pub fn reference(&self) -> ModelRef {
        let info = self.model.info();
        ModelRef { name: info.name.clone(), digest: info.digest }
    }

    /// The regions without their cells, and with what is said of each face that had some.
    pub(crate) fn answered(&mut self, mut regions: Vec<Region>) -> Result<Vec<Region>, Withheld> {
        // First of all: whatever happens below, no region that goes on has cells.
        let grids: Vec<Option<Grid>> =
            regions.iter_mut().map(|region| region.grid.take()).collect();
        let inputs: Vec<CellInput<'_>> = grids.iter().flatten().map(input).collect();
        let answers = self.model.classify(&inputs).map_err(|error| {
            tracing::warn!(%error, "classifier failed, frame withheld");
            Withheld(WithheldReason::Detector)
        })?;
        if answers.len() != inputs.len() {
            tracing::warn!(faces = inputs.len(), "an answer is missing, frame withheld");
            return Err(Withheld(WithheldReason::Detector));
        }
        let info = self.model.info();
        let mut answers = answers.into_iter();
        for (region, grid) in regions.iter_mut().zip(&grids) {
            let Some((grid, answer)) = grid.as_ref().and_then(|g| Some((g, answers.next()?)))
            else {
                continue;
            };
            let shares = [answer.mask, answer.no_mask, answer.incorrect, answer.not_a_face];
            region.said = Some(Said {
                rect: grid.rect,
                score_milli: grid.score_milli,
                counted: grid.counted,
                parts: shares.map(Said::part),
                label: info.label(&input(grid), &answer),
            });
        }
        Ok(regions)
    }
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Classifier({})", self.model.info().name)
    }
}

fn input(grid: &Grid) -> CellInput<'_> {
    CellInput { cells: &grid.cells, box_w: grid.rect.w, box_h: grid.rect.h }
}

#[cfg(test)]
mod tests {
    use models::{
        Detection, MaskClassifier, ShadeClassifier, classifier::ClassifyError, detector::Scripted,
    };
    use proto::{
        Digest, UtcTime,
        envelope::{SealGrant, SealedFrame},
        manifest::MANIFEST_VERSION_CLASSIFIED,
        signing::SigningKey,
    };

    use super::*;
    use crate::{AnonymisedFrame, Noise, StaticRegions, audit, frame::test_frame, look};

    const FACES: [Detection; 2] = [
        Detection { x: 30.0, y: 20.0, w: 48.0, h: 64.0, score: 0.9 },
        Detection { x: 120.0, y: 60.0, w: 40.0, h: 40.0, score: 0.4 },
    ];

    /// Rows and columns that the twins read.
    const READ: (u8, u8) = (6, 4);

    fn classifier() -> Classifier {
        Classifier::new(Box::new(ShadeClassifier::new(READ.0, READ.1))).unwrap()
    }

    fn covered(
        policy: &Policy,
        faces: &[Detection],
        classifier: Option<&mut Classifier>,
    ) -> Result<AnonymisedFrame, Withheld> {
        let mut detector = Scripted::boxes(1, faces.to_vec());
        let mut auditor = Scripted::boxes(2, vec![]);
        let noise = Noise::new([1; 32], 5);
        let looked = look(test_frame(200, 150), &mut detector)?;
        let frame = looked.redact_classified(None, None, policy, &noise, classifier)?;
        audit(frame, &mut auditor, policy, &noise)
    }

    fn solid() -> Policy {
        Policy::named("solid").unwrap()
    }

    fn sealed(frame: AnonymisedFrame, policy: &Policy) -> Result<SealedFrame, Withheld> {
        let root = SigningKey::from_seed(&[1; 32]).unwrap();
        let key = SigningKey::from_seed(&[2; 32]).unwrap();
        let (site, until) = ("town".parse().unwrap(), "2100-01-01T00:00:00Z".parse().unwrap());
        let policies = vec![policy.reference().digest];
        let grant = SealGrant::issue(&root, key.public(), site, UtcTime::EPOCH, until, policies);
        let envelope = frame.seal(&key, &grant)?;
        Ok(SealedFrame::open(envelope, &root.public()).unwrap())
    }

    #[test]
    fn a_face_that_is_covered_whole_is_answered_as_its_reader_would_and_no_cell_leaves() {
        let mut classifier = classifier();
        let frame = covered(&solid(), &FACES, Some(&mut classifier)).unwrap();
        let sealed = sealed(frame, &solid()).unwrap();
        let manifest = sealed.manifest();
        assert_eq!(manifest.version, MANIFEST_VERSION_CLASSIFIED);
        assert_eq!(manifest.classifier, Some(classifier.reference()));
        assert_eq!((manifest.grids().count(), manifest.regions.len()), (0, 2));
        // The same faces with cells that leave, answered by whoever reads them.
        let open = covered(&Policy::trial(READ, 0, 1), &FACES, None).unwrap();
        let mut reader = Coarse::new(ShadeClassifier::new(READ.0, READ.1)).unwrap();
        for (region, drawn) in manifest.regions.iter().zip(open.regions()) {
            let (said, grid) = (region.said.as_ref().unwrap(), drawn.grid.as_ref().unwrap());
            let answer = reader.classify(&[input(grid)]).unwrap()[0];
            assert_eq!(said.label, reader.info().label(&input(grid), &answer));
            assert_eq!(said.parts[0], Said::part(answer.mask));
            assert_eq!((said.rect, said.score_milli), (grid.rect, grid.score_milli));
            assert_eq!((said.counted, &region.fill), (grid.counted, &drawn.fill));
            assert_eq!(said.parts.iter().map(|part| u32::from(*part)).sum::<u32>(), 10_000);
        }
        let counted: Vec<bool> =
            manifest.regions.iter().map(|r| r.said.as_ref().unwrap().counted).collect();
        assert_eq!(counted, [true, false]);
        // Nothing of the face is in the picture: it is the same over any other.
        let again = covered(&solid(), &FACES, None).unwrap();
        assert!(again.regions().iter().all(|region| region.said.is_none()));
        let plain = self::sealed(again, &solid()).unwrap();
        assert_eq!((plain.jpeg(), plain.manifest().version), (sealed.jpeg(), 1));
    }

    #[test]
    fn where_cells_are_released_nothing_is_said() {
        let policy = Policy::named("cells").unwrap();
        let frame = covered(&policy, &FACES, Some(&mut classifier())).unwrap();
        assert!(frame.regions().iter().all(|r| r.said.is_none() && r.grid.is_some()));
        assert_eq!(sealed(frame, &policy).unwrap().manifest().version, 1);
    }

    #[test]
    fn a_frame_without_faces_was_classified_too_and_a_face_in_a_static_region_is_not() {
        let mut classifier = classifier();
        let empty = covered(&solid(), &[], Some(&mut classifier)).unwrap();
        let empty = sealed(empty, &solid()).unwrap();
        assert_eq!((empty.manifest().version, empty.manifest().regions.len()), (2, 0));
        let text = "0,0 0.5,0 0.5,1 0,1".parse().unwrap();
        let regions = StaticRegions::new([("cam-1".parse().unwrap(), vec![text])].into()).unwrap();
        let policy = solid().with_static_regions(regions);
        let frame = covered(&policy, &FACES, Some(&mut classifier)).unwrap();
        let said: Vec<_> = frame.regions().iter().filter_map(|r| r.said.as_ref()).collect();
        assert_eq!(said.len(), 1, "the other one lies in what is always covered");
        assert!(said[0].rect.x >= 100);
    }

    #[test]
    fn a_classifier_that_fails_withholds_the_frame() {
        let mut failing =
            Classifier::new(Box::new(ShadeClassifier::failing(READ.0, READ.1))).unwrap();
        let frame = covered(&solid(), &FACES, Some(&mut failing));
        assert_eq!(frame.err(), Some(Withheld(WithheldReason::Detector)));
    }

    /// Says what its info claims, and never answers.
    struct Claims(models::ClassifierInfo);

    impl MaskClassifier for Claims {
        fn classify(
            &mut self,
            _: &[CellInput<'_>],
        ) -> Result<Vec<models::MaskProbabilities>, ClassifyError> {
            Ok(Vec::new())
        }

        fn info(&self) -> &models::ClassifierInfo {
            &self.0
        }
    }

    fn claims(policy: &str, rows: u8) -> Box<dyn MaskClassifier> {
        let (name, digest) = ("claims".to_owned(), Digest::of(b"claims"));
        let policy = policy.to_owned();
        Box::new(Claims(models::ClassifierInfo {
            name,
            digest,
            rows,
            cols: READ.1,
            policy,
            min_face_px: 0,
            levels: Some([0.5, 0.8, 0.95]),
        }))
    }

    #[test]
    fn a_classifier_of_other_cells_or_that_leaves_a_face_out_is_not_believed() {
        let over = GRID_SIDE_MAX + 1;
        for (policy, rows, part) in [
            ("none", READ.0, "\"none\""),
            ("cells", READ.0, "policy cells releases"),
            ("solid", over, "17x4"),
            ("solid", 0, "0x4"),
        ] {
            let error = Classifier::new(claims(policy, rows)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let mut silent = Classifier::new(claims("solid", READ.0)).unwrap();
        assert!(covered(&solid(), &FACES, Some(&mut silent)).is_err());
    }

    /// A region that keeps its cells under a policy without any, by whatever mistake, stays inside.
    #[test]
    fn cells_under_a_policy_without_any_withhold_the_frame() {
        let cells = covered(&Policy::named("cells").unwrap(), &FACES, None).unwrap();
        let mistaken = AnonymisedFrame { policy: solid(), ..cells };
        assert!(sealed(mistaken, &solid()).is_err());
    }
}
