//! Owns the way of a still picture into the product's own redaction. No pixel is redacted here.

use models::Detection;
use privacy::{Noise, Policy, RawFrame, measure::cells_of};
use proto::manifest::Grid;

/// The cells of one face, each face alone; nothing when the box is too small for them or lies outside.
pub(crate) fn cells(
    frame: &RawFrame,
    found: Detection,
    policy: &Policy,
    noise: &Noise,
) -> anyhow::Result<Option<Grid>> {
    Ok(cells_of(frame, &[found], policy, noise)?.into_iter().next())
}
