//! Owns redaction policies: named, closed, and known by the digest of everything in them.

use proto::{Digest, manifest::PolicyRef};
use serde::Serialize;

use crate::StaticRegions;

/// A redaction policy. Grid and noise follow from measurements (design: privacy), not from taste.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Policy {
    /// Name.
    pub(crate) name: &'static str,
    /// Rows and columns of cells over a face; absent: one constant alone.
    pub(crate) grid: Option<(u8, u8)>,
    /// Scale of the Laplace noise on each cell value, in grey levels.
    pub(crate) noise_scale: u8,
    /// Grey levels a cell's mean with its noise is rounded to: 256 divided by this many.
    pub(crate) quantum: u8,
    /// Colour released apart from brightness, which then alone has the noise and the levels above; absent: red, green
    /// and blue have them alike.
    pub(crate) colour: Option<Colour>,
    /// Cells are released as they differ from the mean of the whole face, which itself is not: that is light and skin.
    pub(crate) centred: bool,
    /// How far the fill reaches beyond every box of a face.
    pub(crate) ring: Ring,
    /// How far the fill reaches beyond what the auditor found.
    pub(crate) audit_ring: Ring,
    /// Boxes of this score in thousandths and more are counted as faces.
    pub(crate) count_milli: u16,
    /// An auditor's hit of this score in thousandths and more must lie in regions.
    pub(crate) audit_milli: u16,
    /// What is still not covered at the end of the audit withholds the frame from this score in thousandths on.
    pub(crate) withhold_milli: u16,
    /// Share of an auditor's hit in hundredths that must lie in regions.
    pub(crate) audit_cover_percent: u8,
    /// What is always filled, whatever is found: of a site and not of a name.
    #[serde(skip_serializing_if = "StaticRegions::is_empty")]
    pub(crate) statics: StaticRegions,
}

/// How colour is released apart from brightness.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Colour {
    /// Rows and columns of the blocks of cells that share one brightness.
    pub(crate) luma: (u8, u8),
    /// Rows and columns of the blocks of cells that share one colour; absent: each cell has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chroma: Option<(u8, u8)>,
    /// Scale of the Laplace noise on both colour differences.
    pub(crate) noise_scale: u8,
    /// Levels that colour differences with their noise are rounded to.
    pub(crate) quantum: u8,
}

/// How values of cells come about, apart from their numbers: a grant for another way is none for this one.
const MECHANISM: &str = "discrete Laplace, then rounding";
/// Brightness tells people apart, so it has more noise; colour tells masks.
const COLOUR: Colour = Colour { luma: (8, 1), chroma: None, noise_scale: 2, quantum: 2 };

/// How far a fill reaches beyond a box, in hundredths of its sides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Ring {
    /// Above it.
    pub(crate) above: u8,
    /// On its left and on its right.
    pub(crate) beside: u8,
    /// Below it.
    pub(crate) below: u8,
}

impl Ring {
    /// The box itself.
    pub(crate) const NONE: Self = Self { above: 0, beside: 0, below: 0 };
}

/// A policy that does not exist. There is no looser one to fall back to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy {0:?} does not exist; there are solid (the default), strict and cells")]
pub struct PolicyError(String);

impl Policy {
    /// Name under which the policy is known that holds unless another is named.
    pub const DEFAULT: &'static str = "default";

    /// Every policy that this build knows, the default first.
    #[must_use]
    pub fn all() -> [Self; 3] {
        [
            Self::solid(),
            Self {
                name: "strict",
                noise_scale: 24,
                colour: Some(Colour { noise_scale: 4, ..COLOUR }),
                ..Self::rows()
            },
            Self::rows(),
        ]
    }

    /// The policy of this name; [`Self::DEFAULT`] names the first of all.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self, PolicyError> {
        if name == Self::DEFAULT {
            return Ok(Self::solid());
        }
        let found = Self::all().into_iter().find(|policy| policy.name == name);
        found.ok_or_else(|| PolicyError(name.to_owned()))
    }

    /// Every face is covered by one constant and was classified before; the others differ from it.
    pub(crate) fn solid() -> Self {
        Self {
            name: "solid",
            grid: None,
            noise_scale: 0,
            quantum: 1,
            colour: None,
            centred: false,
            // The detector's boxes begin above the brow and end above the chin (half A of kaggle853-hires).
            ring: Ring { above: 0, beside: 8, below: 15 },
            audit_ring: Ring { above: 10, beside: 10, below: 10 },
            count_milli: 500,
            audit_milli: 200,
            withhold_milli: 700,
            audit_cover_percent: 70,
            statics: StaticRegions::default(),
        }
    }

    /// Cells are released, for whoever wants to classify outside of the building.
    fn rows() -> Self {
        Self {
            name: "cells",
            // Whole rows: what differs from left to right tells people apart and masks hardly.
            grid: Some((8, 1)),
            noise_scale: 16,
            quantum: 8,
            colour: Some(COLOUR),
            centred: true,
            ..Self::solid()
        }
    }

    /// The same with these polygons always filled: another digest, which the site's grant must name.
    #[must_use]
    pub fn with_static_regions(self, statics: StaticRegions) -> Self {
        Self { statics, ..self }
    }

    /// This policy with cells of a classifier that reads so many rows and columns before a face is covered: means as
    /// they are, since they do not leave.
    pub(crate) fn read_by(&self, rows: u8, cols: u8) -> Self {
        let (noise_scale, quantum, colour, centred) = (0, 1, None, false);
        Self { grid: Some((rows, cols)), noise_scale, quantum, colour, centred, ..self.clone() }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the cells over a face are released; under a policy that has none a face can be classified only before it
    /// is covered.
    #[must_use]
    pub const fn releases_cells(&self) -> bool {
        self.grid.is_some()
    }

    /// Whether any cell that is released has noise.
    pub(crate) fn has_noise(&self) -> bool {
        self.noise_scale > 0 || self.colour.is_some_and(|colour| colour.noise_scale > 0)
    }

    /// What noise is keyed by: static regions that are drawn anew must not draw new noise within an epoch.
    pub(crate) fn noise_domain(&self) -> Digest {
        self.clone().with_static_regions(StaticRegions::default()).numbers(None)
    }

    fn numbers(&self, mechanism: Option<&str>) -> Digest {
        let found = (models::centerface::finding(), models::ultraface::finding());
        let json = match mechanism {
            None => serde_json::to_vec(&(self, found.0, found.1)),
            Some(mechanism) => serde_json::to_vec(&(self, found.0, found.1, mechanism)),
        };
        // Constants of plain numbers always serialise; an empty text would only give a digest that nobody granted.
        Digest::of(&json.unwrap_or_default())
    }

    /// Name and digest over the canonical JSON of all its numbers, those of finding and auditing included. What is the same
    /// under every policy, as the step of the detector's score, is not among them: noise is keyed by this digest.
    #[must_use]
    pub fn reference(&self) -> PolicyRef {
        let digest = self.numbers(self.releases_cells().then_some(MECHANISM));
        PolicyRef { name: self.name.to_owned(), digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_differ_in_name_and_digest() {
        let all = Policy::all();
        for (i, a) in all.iter().enumerate() {
            assert_eq!(Policy::named(a.name).unwrap(), *a);
            for b in &all[..i] {
                assert_ne!(a.reference(), b.reference());
            }
        }
        assert!(Policy::named("none").is_err());
    }

    #[test]
    fn the_default_releases_nothing_of_a_face() {
        let policy = Policy::named(Policy::DEFAULT).unwrap();
        assert_eq!(policy, Policy::all()[0]);
        assert!(!policy.releases_cells());
    }
}
