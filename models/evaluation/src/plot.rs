//! Owns the figures (SVG). What they show stands as a table too.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::score::Bin;

const SIZE: (u32, u32) = (720, 540);
const FONT: (&str, u32) = ("sans-serif", 15);

/// A reliability diagram.
pub(crate) fn reliability(file: &Path, bins: &[Bin]) -> anyhow::Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let wrong = |e: &dyn std::fmt::Display| anyhow!("{}: {e}", file.display());
    root.fill(&WHITE).map_err(|e| wrong(&e))?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .caption("How often the most likely answer is right", FONT)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.3..1.0, 0.3..1.0)
        .map_err(|e| wrong(&e))?;
    chart
        .configure_mesh()
        .x_desc("confidence (15 bins of equal mass)")
        .y_desc("share that is right")
        .draw()
        .map_err(|e| wrong(&e))?;
    let diagonal = LineSeries::new([(0.3, 0.3), (1.0, 1.0)], BLACK.mix(0.4));
    chart.draw_series(diagonal).map_err(|e| wrong(&e))?;
    let points = bins.iter().map(|bin| (bin.confidence, bin.right));
    chart.draw_series(LineSeries::new(points.clone(), BLUE)).map_err(|e| wrong(&e))?;
    let dots = points.map(|at| Circle::new(at, 4, BLUE.filled()));
    chart.draw_series(dots).map_err(|e| wrong(&e))?;
    root.present().map_err(|e| wrong(&e))
}
