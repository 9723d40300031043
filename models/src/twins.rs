//! Owns the in-memory and the faulty stand-ins of detector and classifier, for the tests of every crate that
//! takes one. They never look at a pixel.

use proto::Digest;

use crate::{
    detect::{DetectError, Detection, FaceDetector, possible},
    mask::{Answer, ClassifyError, FaceCells, Grid, Label, MaskClassifier, Probabilities},
    pixels::PixelView,
};

/// A detector that answers by a script: one entry per picture, the last one again and again.
#[derive(Debug, Clone)]
pub struct ScriptedDetector {
    family: String,
    script: Vec<Vec<Detection>>,
    looks: usize,
}

impl ScriptedDetector {
    /// Answers `script[i]` to picture `i`; an empty script never finds a face. Values are checked as a real
    /// detector's are.
    #[must_use]
    pub fn new(family: &str, script: Vec<Vec<Detection>>) -> Self {
        Self { family: family.to_owned(), script, looks: 0 }
    }

    /// How many pictures it was asked about.
    #[must_use]
    pub const fn looks(&self) -> usize {
        self.looks
    }
}

impl FaceDetector for ScriptedDetector {
    fn name(&self) -> &str {
        "scripted"
    }

    fn family(&self) -> &str {
        &self.family
    }

    fn digest(&self) -> Digest {
        Digest::of(format!("scripted {} {:?}", self.family, self.script).as_bytes())
    }

    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        let faces = self.script.get(self.looks).or(self.script.last()).cloned().unwrap_or_default();
        self.looks += 1;
        faces
            .into_iter()
            .map(|face| possible(self.name(), face, view.width(), view.height()))
            .collect()
    }
}

/// How a [`FaultyDetector`] or [`FaultyClassifier`] goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Returns an error.
    Error,
    /// Panics, as a bug in post-processing would.
    Panic,
    /// Gives a NaN, which must surface as an error.
    NotANumber,
    /// A detector finds nothing; a classifier gives an answer too few.
    Nothing,
}

/// Works like the detector inside it until picture `healthy` (counted from 0), then fails for good.
pub struct FaultyDetector<D> {
    inner: D,
    healthy: usize,
    failure: Failure,
    looks: usize,
}

impl<D: FaceDetector> FaultyDetector<D> {
    /// Fails from picture `healthy` on.
    pub const fn new(inner: D, healthy: usize, failure: Failure) -> Self {
        Self { inner, healthy, failure, looks: 0 }
    }
}

impl<D: FaceDetector> FaceDetector for FaultyDetector<D> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn family(&self) -> &str {
        self.inner.family()
    }

    fn digest(&self) -> Digest {
        self.inner.digest()
    }

    #[expect(clippy::panic, reason = "the failure that was asked for")]
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        let look = self.looks;
        self.looks += 1;
        let faces = self.inner.detect(view)?;
        if look < self.healthy {
            return Ok(faces);
        }
        match self.failure {
            Failure::Error => {
                let detector = self.name().to_owned();
                Err(DetectError::Failed { detector, reason: "told to".to_owned() })
            }
            Failure::Panic => panic!("detector told to panic"),
            Failure::NotANumber => {
                let found = Detection { x: f32::NAN, y: 0.0, w: 1.0, h: 1.0, score: 1.0 };
                possible(self.name(), found, view.width(), view.height()).map(|face| vec![face])
            }
            Failure::Nothing => Ok(Vec::new()),
        }
    }
}

/// A classifier that calls a face masked when the lower half of its cells is darker than the upper half.
#[derive(Debug, Clone)]
pub struct ShadeClassifier {
    grid: Grid,
}

impl ShadeClassifier {
    /// For cells of `grid`.
    #[must_use]
    pub const fn new(grid: Grid) -> Self {
        Self { grid }
    }
}

impl MaskClassifier for ShadeClassifier {
    fn name(&self) -> &str {
        "shade"
    }

    fn digest(&self) -> Digest {
        Digest::of(b"shade")
    }

    fn grid(&self) -> Grid {
        self.grid
    }

    fn classify(&mut self, faces: &[FaceCells<'_>]) -> Result<Vec<Answer>, ClassifyError> {
        faces.iter().enumerate().map(|(index, face)| self.answer(index, face)).collect()
    }
}

impl ShadeClassifier {
    fn answer(&self, index: usize, face: &FaceCells<'_>) -> Result<Answer, ClassifyError> {
        let (classifier, got) = (self.name().to_owned(), face.rgb.len());
        if got != self.grid.bytes() {
            return Err(ClassifyError::Grid { classifier, grid: self.grid, face: index, got });
        }
        let (upper, lower) = face.rgb.split_at(got / 2);
        let sum = |half: &[u8]| half.iter().map(|value| u64::from(*value)).sum::<u64>();
        let masked = sum(lower) < sum(upper);
        let (mask, no_mask, label) =
            if masked { (0.9, 0.05, Label::Mask) } else { (0.05, 0.9, Label::NoMask) };
        let probabilities = Probabilities { mask, no_mask, incorrect: 0.05, not_a_face: 0.0 };
        Ok(Answer { probabilities, label })
    }
}

/// Works like the classifier inside it for the first `healthy` calls, then fails for good.
pub struct FaultyClassifier<C> {
    inner: C,
    healthy: usize,
    failure: Failure,
    calls: usize,
}

impl<C: MaskClassifier> FaultyClassifier<C> {
    /// Fails from call `healthy` (counted from 0) on.
    pub const fn new(inner: C, healthy: usize, failure: Failure) -> Self {
        Self { inner, healthy, failure, calls: 0 }
    }
}

impl<C: MaskClassifier> MaskClassifier for FaultyClassifier<C> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn digest(&self) -> Digest {
        self.inner.digest()
    }

    fn grid(&self) -> Grid {
        self.inner.grid()
    }

    #[expect(clippy::panic, reason = "the failure that was asked for")]
    fn classify(&mut self, faces: &[FaceCells<'_>]) -> Result<Vec<Answer>, ClassifyError> {
        let call = self.calls;
        self.calls += 1;
        let mut answers = self.inner.classify(faces)?;
        if call < self.healthy {
            return Ok(answers);
        }
        let classifier = self.name().to_owned();
        match self.failure {
            Failure::Error => {
                Err(ClassifyError::Failed { classifier, reason: "told to".to_owned() })
            }
            Failure::Panic => panic!("classifier told to panic"),
            Failure::NotANumber => {
                Err(ClassifyError::Impossible { classifier, face: 0, found: vec![f32::NAN; 3] })
            }
            Failure::Nothing => {
                answers.pop();
                Ok(answers)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACE: Detection = Detection { x: 1.0, y: 2.0, w: 3.0, h: 4.0, score: 0.5 };

    fn look(detector: &mut dyn FaceDetector) -> Result<Vec<Detection>, DetectError> {
        detector.detect(PixelView::new(8, 8, 24, &[0; 192]).unwrap())
    }

    #[test]
    fn a_scripted_detector_repeats_its_last_answer() {
        let mut detector = ScriptedDetector::new("a", vec![vec![FACE], vec![]]);
        assert_eq!(look(&mut detector), Ok(vec![FACE]));
        assert_eq!(look(&mut detector), Ok(vec![]));
        assert_eq!(look(&mut detector), Ok(vec![]));
        assert_eq!(detector.looks(), 3);
    }

    #[test]
    fn a_faulty_detector_is_healthy_first_and_then_fails_as_told() {
        let faulty =
            |failure| FaultyDetector::new(ScriptedDetector::new("a", vec![vec![FACE]]), 1, failure);
        let mut detector = faulty(Failure::Error);
        assert_eq!(look(&mut detector), Ok(vec![FACE]));
        assert!(matches!(look(&mut detector), Err(DetectError::Failed { .. })));
        let mut detector = faulty(Failure::NotANumber);
        look(&mut detector).unwrap();
        assert!(matches!(look(&mut detector), Err(DetectError::Impossible { .. })));
        let mut detector = faulty(Failure::Nothing);
        look(&mut detector).unwrap();
        assert_eq!(look(&mut detector), Ok(vec![]));
    }

    #[test]
    fn the_shade_classifier_answers_by_the_lower_half() {
        let mut classifier = ShadeClassifier::new(Grid { rows: 2, cols: 1 });
        let face = |rgb| FaceCells { rgb, box_width: 9.0, box_height: 9.0 };
        let answers =
            classifier.classify(&[face(&[9, 9, 9, 1, 1, 1]), face(&[1, 1, 1, 9, 9, 9])]).unwrap();
        assert_eq!((answers[0].label, answers[1].label), (Label::Mask, Label::NoMask));
        assert!(classifier.classify(&[face(&[1, 1, 1])]).is_err());
    }
}
