//! Owns who finds faces in a measurement: the product's detector, its auditor in its place, or both of them.

use std::path::Path;

use models::{DetectError, Detection, FaceDetector, Family, PixelView};
use onnx::{Detectors, Runtime};
use proto::Digest;

/// Who finds faces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Finder {
    /// CenterFace finds and UltraFace checks, as the product does.
    #[value(name = "centerface")]
    CenterFace,
    /// UltraFace finds and CenterFace checks.
    #[value(name = "ultraface")]
    UltraFace,
    /// What either of them finds; UltraFace checks.
    Both,
}

/// Who finds and who checks.
pub(crate) struct Pair {
    pub detector: Box<dyn FaceDetector>,
    pub auditor: Box<dyn FaceDetector>,
}

impl Finder {
    /// Opens both networks from the folder that `celosia fetch` filled.
    pub(crate) fn open(self, runtime: &Runtime, assets: &Path) -> anyhow::Result<Pair> {
        let Detectors { detector: center, auditor: ultra } = Detectors::open(runtime, assets)?;
        Ok(match self {
            Self::CenterFace => Pair { detector: Box::new(center), auditor: Box::new(ultra) },
            Self::UltraFace => Pair { detector: Box::new(ultra), auditor: Box::new(center) },
            Self::Both => {
                let second = Detectors::open(runtime, assets)?.auditor;
                let detector = Box::new(Either { first: center, second });
                Pair { detector, auditor: Box::new(ultra) }
            }
        })
    }
}

/// Boxes of two networks; the first stands for both.
struct Either<A, B> {
    first: A,
    second: B,
}

impl<A: FaceDetector, B: FaceDetector> FaceDetector for Either<A, B> {
    fn detect(&mut self, view: PixelView<'_>) -> Result<Vec<Detection>, DetectError> {
        let mut boxes = self.first.detect(view)?;
        boxes.extend(self.second.detect(view)?);
        Ok(boxes)
    }

    fn name(&self) -> &str {
        self.first.name()
    }

    fn digest(&self) -> Digest {
        self.first.digest()
    }

    fn family(&self) -> Family {
        self.first.family()
    }
}

#[cfg(test)]
mod tests {
    use models::detector::Scripted;

    use super::*;

    #[test]
    fn either_finds_what_one_of_them_finds_and_fails_when_one_fails() {
        let face = |x| Detection { x, y: 1.0, w: 8.0, h: 8.0, score: 0.5 };
        let grey = vec![1; 20 * 20 * 3];
        let view = || PixelView::new(20, 20, &grey).unwrap();
        let first = || Scripted::boxes(1, vec![face(1.0)]);
        let mut both = Either { first: first(), second: Scripted::boxes(2, vec![face(9.0)]) };
        assert_eq!(both.detect(view()).unwrap(), [face(1.0), face(9.0)]);
        let broken =
            |name: &str| DetectError::Run { name: name.to_owned(), message: String::new() };
        let second = Scripted::answers(2, move || Err(broken("scripted")));
        assert!(Either { first: first(), second }.detect(view()).is_err());
    }
}
