//! Owns what measuring needs and the product does not: the cells of a face without a frame that leaves, and policies
//! that have no name. Nothing here makes a frame that could be sealed: a seal refuses such a policy whatever a grant allows.

use models::Detection;
use proto::manifest::Grid;

use crate::{
    Noise, Policy, RawFrame, Seen, Withheld,
    policy::{Colour, Ring},
    redact::covered,
};

/// Name of every policy that exists for a measurement only.
pub const TRIAL: &str = "trial";

impl Policy {
    /// The default policy with a grid (rows, columns), noise scale and quantum, to be measured.
    #[must_use]
    pub fn trial(grid: (u8, u8), noise_scale: u8, quantum: u8) -> Self {
        Self {
            name: TRIAL,
            grid: Some(grid),
            noise_scale,
            quantum: quantum.max(1),
            ..Self::solid()
        }
    }

    /// The same with brightness in blocks of `luma` rows and columns, and noise and quantum of colour differences apart.
    #[must_use]
    pub fn with_colour(self, luma: (u8, u8), noise_scale: u8, quantum: u8) -> Self {
        let colour = Colour { luma, chroma: None, noise_scale, quantum };
        Self { name: TRIAL, colour: Some(colour), ..self }
    }

    /// The same with colour in blocks of so many rows and columns; one whose colour is not apart stays as it is.
    #[must_use]
    pub fn with_colour_in(self, chroma: (u8, u8)) -> Self {
        let colour = self.colour.map(|colour| Colour { chroma: Some(chroma), ..colour });
        Self { name: TRIAL, colour, ..self }
    }

    /// The same with cells as they differ from the whole face.
    #[must_use]
    pub fn centred(self) -> Self {
        Self { name: TRIAL, centred: true, ..self }
    }

    /// The same with another ring around what the auditor finds: hundredths above, beside, below.
    #[must_use]
    pub fn audited(self, (above, beside, below): (u8, u8, u8)) -> Self {
        Self { name: TRIAL, audit_ring: Ring { above, beside, below }, ..self }
    }

    /// The ring around what the auditor finds: hundredths above, beside, below.
    #[must_use]
    pub const fn audit_ring(&self) -> (u8, u8, u8) {
        let Ring { above, beside, below } = self.audit_ring;
        (above, beside, below)
    }

    /// Rows and columns of cells over a face; absent under solid fill.
    #[must_use]
    pub const fn grid(&self) -> Option<(u8, u8)> {
        self.grid
    }
}

/// The grids that a manifest would hold for these faces, exactly as [`crate::redact`] fills them. The frame stays raw.
///
/// # Errors
/// [`Withheld`] as [`crate::redact`].
pub fn cells_of(
    raw: &RawFrame,
    faces: &[Detection],
    policy: &Policy,
    noise: &Noise,
) -> Result<Vec<Grid>, Withheld> {
    Followed::default().cells_of(raw, faces, policy, noise)
}

/// Faces that the product follows from frame to frame.
#[derive(Debug, Default)]
pub struct Followed(Option<Seen>);

impl Followed {
    /// As [`cells_of`], in the frame that comes next.
    ///
    /// # Errors
    /// [`Withheld`] as [`crate::redact`].
    pub fn cells_of(
        &mut self,
        raw: &RawFrame,
        faces: &[Detection],
        policy: &Policy,
        noise: &Noise,
    ) -> Result<Vec<Grid>, Withheld> {
        let size = (raw.picture.width(), raw.picture.height());
        let mut seen = Seen::of(faces, 0, size)?;
        if let Some(before) = &self.0 {
            seen.follow(before);
        }
        let regions = covered(&raw.picture, &seen, Vec::new(), policy, noise)?;
        self.0 = Some(seen);
        Ok(regions.into_iter().filter_map(|region| region.grid).collect())
    }
}

#[cfg(test)]
mod tests {
    use models::detector::Scripted;
    use proto::{UtcTime, envelope::SealGrant, record::WithheldReason, signing::SigningKey};

    use super::*;
    use crate::{anonymise, frame::test_frame};

    #[test]
    fn the_looks_of_a_face_that_stays_are_one_look_and_without_its_track_they_are_many() {
        let (frame, noise) = (test_frame(200, 150), Noise::new([3; 32], 7));
        // Each edge by up to a twentieth of its side, as detectors' boxes tremble.
        let look = |at: i32| {
            let by = |of: i32, side: f32| (of % 5 - 2) as f32 / 40.0 * side;
            let (x, y) = (40.0 + by(at, 48.0), 30.0 + by(3 * at, 64.0));
            let (right, below) = (88.0 + by(2 * at, 48.0), 94.0 + by(4 * at, 64.0));
            Detection { x, y, w: right - x, h: below - y, score: 0.9 }
        };
        let different = |policy: &Policy, followed: bool| {
            let mut faces = Followed::default();
            let looks = (0..16).map(|at| {
                if !followed {
                    faces = Followed::default();
                }
                faces.cells_of(&frame, &[look(at)], policy, &noise).unwrap()[0].cells.clone()
            });
            looks.collect::<std::collections::HashSet<_>>().len()
        };
        for name in ["cells", "strict"] {
            let policy = Policy::named(name).unwrap();
            assert_eq!(different(&policy, true), 1, "{name}");
            assert!(different(&policy, false) > 2, "{name}: the boxes do not tremble");
        }
        // What is read before it is covered has no noise to take off, and its best box.
        assert!(different(&Policy::named("solid").unwrap().read_by(8, 1), true) > 2);
    }

    #[test]
    fn measured_cells_are_those_of_the_frame_that_leaves() {
        let face = Detection { x: 40.0, y: 30.0, w: 48.0, h: 64.0, score: 0.9 };
        let noise = Noise::new([3; 32], 7);
        let policy = Policy::trial((6, 4), 5, 4);
        let measured = cells_of(&test_frame(200, 150), &[face], &policy, &noise).unwrap();
        let (mut detector, mut auditor) =
            (Scripted::boxes(1, vec![face]), Scripted::boxes(2, vec![]));
        let frame =
            anonymise(test_frame(200, 150), &mut detector, &mut auditor, &policy, &noise).unwrap();
        assert_eq!(Some(&measured[0]), frame.regions()[0].grid.as_ref());
        assert_eq!(measured[0].cells.len(), 6 * 4 * 3);
        // Nor would it be sealed, whatever a grant allows.
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let (from, until) = (UtcTime::EPOCH, "2100-01-01T00:00:00Z".parse().unwrap());
        let policies = vec![policy.reference().digest];
        let site = "town".parse().unwrap();
        let grant = SealGrant::issue(&key, key.public(), site, from, until, policies);
        assert_eq!(frame.seal(&key, &grant), Err(Withheld(WithheldReason::Encoding)));
    }
}
