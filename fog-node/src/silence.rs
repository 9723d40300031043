//! Owns the judgement of a detector that finds nothing. An empty street and a blind detector look alike; what tells them
//! apart is the auditor, which is of another family. One contradiction is what the audit is there for: it covers the face.
//! Several in a row mean that the detector is not to be believed, and then silence is withheld: fail closed.

use std::collections::BTreeMap;

use models::{DetectError, Detection, FaceDetector, Family, PixelView};
use proto::{CameraId, Digest};

/// Silent frames in a row that the auditor must contradict before silence is withheld: one or two are poor light, or a
/// picture on a wall.
const CONTRADICTIONS_MAX: u32 = 3;
/// A hit of this score is a face: the auditor's own withholding threshold.
const SURE: f32 = 0.7;
/// Cameras that a worker remembers, far more than a fog node serves; beyond them the first by name is forgotten, which only
/// makes its detector believed anew.
const CAMERAS_MAX: usize = 1024;

/// What one frame showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Boxes of the detector.
    pub found: usize,
    /// Sure hits of the auditor in the raw frame.
    pub sure: usize,
}

/// Contradictions in a row, by camera.
#[derive(Debug, Default)]
pub struct Silence(BTreeMap<CameraId, u32>);

impl Silence {
    /// Whether the detector is still to be believed on this camera, this look included.
    #[must_use]
    pub fn is_believed(&mut self, camera: &CameraId, look: Look) -> bool {
        if look.found > 0 {
            self.0.remove(camera);
            return true;
        }
        if look.sure == 0 && !self.0.contains_key(camera) {
            return true;
        }
        if self.0.len() >= CAMERAS_MAX && !self.0.contains_key(camera) {
            self.0.pop_first();
        }
        let contradicted = self.0.entry(camera.clone()).or_default();
        *contradicted = contradicted.saturating_add(u32::from(look.sure > 0));
        *contradicted < CONTRADICTIONS_MAX
    }
}

/// A detector that remembers what its first look found; everything else goes through.
pub struct Heard<'a> {
    inner: &'a mut dyn FaceDetector,
    first: Option<Vec<Detection>>,
}

impl<'a> Heard<'a> {
    /// Listens to a detector.
    pub fn new(inner: &'a mut dyn FaceDetector) -> Self {
        Self { inner, first: None }
    }

    /// The boxes of the first look.
    #[must_use]
    pub fn boxes(self) -> Vec<Detection> {
        self.first.unwrap_or_default()
    }

    /// Boxes of the first look that are surely faces.
    #[must_use]
    pub fn sure(&self) -> usize {
        self.first.iter().flatten().filter(|found| found.score >= SURE).count()
    }
}

impl FaceDetector for Heard<'_> {
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        let found = self.inner.detect(view)?;
        self.first.get_or_insert_with(|| found.clone());
        Ok(found)
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn digest(&self) -> Digest {
        self.inner.digest()
    }

    fn family(&self) -> Family {
        self.inner.family()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Look = Look { found: 2, sure: 2 };
    const EMPTY: Look = Look { found: 0, sure: 0 };
    const CONTRADICTED: Look = Look { found: 0, sure: 1 };

    fn camera(name: &str) -> CameraId {
        name.parse().unwrap()
    }

    #[test]
    fn an_empty_street_is_believed_for_as_long_as_it_stays_empty() {
        let mut silence = Silence::default();
        assert!((0..10_000).all(|_| silence.is_believed(&camera("a"), EMPTY)));
    }

    #[test]
    fn silence_that_is_contradicted_three_times_is_not_believed_until_something_is_found() {
        let (mut silence, a) = (Silence::default(), camera("a"));
        let mut next = |look| silence.is_believed(&a, look);
        assert!(next(CONTRADICTED) && next(EMPTY) && next(CONTRADICTED) && next(EMPTY));
        assert!(!next(CONTRADICTED));
        assert!(!next(EMPTY), "a frame in which the auditor sees nothing either proves nothing");
        assert!(next(SEEN) && next(CONTRADICTED));
    }

    #[test]
    fn cameras_are_judged_apart_and_only_so_many_are_remembered() {
        let mut silence = Silence::default();
        let thrice = [(); 3].map(|()| silence.is_believed(&camera("a"), CONTRADICTED));
        assert_eq!(thrice, [true, true, false]);
        assert!(silence.is_believed(&camera("b"), CONTRADICTED));
        assert!(!silence.is_believed(&camera("a"), EMPTY));
        for number in 0..2 * CAMERAS_MAX {
            assert!(silence.is_believed(&camera(&format!("c-{number}")), CONTRADICTED));
        }
        assert!(silence.0.len() <= CAMERAS_MAX);
    }
}
