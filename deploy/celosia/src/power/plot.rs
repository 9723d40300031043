//! Owns the figure: time and cost of a warm frame, and the time of a start, against memory.

use std::path::Path;

use plotters::prelude::*;

use super::{Power, PowerError};

const SIZE: (u32, u32) = (820, 520);
const FONT: (&str, u32) = ("sans-serif", 15);

/// Draws it; what it shows stands in the table too.
pub(super) fn draw(file: &Path, power: &Power) -> Result<(), PowerError> {
    let wrong = |e: &dyn std::fmt::Display| PowerError::Figure {
        path: file.to_owned(),
        why: e.to_string(),
    };
    let points = |of: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
        let memory = power.rows.iter().map(|row| f64::from(row.memory_mb)).enumerate();
        memory.map(|(n, memory)| (memory, of(n))).collect()
    };
    let row = |n: usize| power.rows.get(n);
    let init = points(&|n| row(n).map_or(1.0, super::Row::init_ms));
    let warm = points(&|n| row(n).map_or(1.0, |row| row.warm_ms));
    let dollars = points(&|n| power.frame_dollars.get(n).map_or(0.0, |dollars| dollars * 1e6));
    let most = |of: &[(f64, f64)]| of.iter().map(|(_, y)| *y).fold(1.0, f64::max) * 1.2;
    let low = warm.iter().map(|(_, y)| *y).fold(1.0, f64::min) * 0.8;

    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(|e| wrong(&e))?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .caption("The function by memory: frames of five faces", FONT)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .right_y_label_area_size(60)
        .build_cartesian_2d(0.0..3100.0, (low..most(&init)).log_scale())
        .map_err(|e| wrong(&e))?
        .set_secondary_coord(0.0..3100.0, 0.0..most(&dollars));
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("memory in MB").y_desc("milliseconds, logarithmic");
    mesh.draw().map_err(|e| wrong(&e))?;
    let mut axes = chart.configure_secondary_axes();
    axes.y_desc("dollars a million frames").draw().map_err(|e| wrong(&e))?;
    for (name, colour, line) in [("start", RED, init), ("warm frame", BLUE, warm)] {
        let dots = line.iter().map(|at| Circle::new(*at, 3, colour.filled()));
        let dots: Vec<_> = dots.collect();
        let series = chart.draw_series(LineSeries::new(line, colour.stroke_width(2)));
        let series = series.map_err(|e| wrong(&e))?.label(name);
        series.legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
        chart.draw_series(dots).map_err(|e| wrong(&e))?;
    }
    let line = LineSeries::new(dollars, BLACK.stroke_width(2));
    let series = chart.draw_secondary_series(line).map_err(|e| wrong(&e))?.label("cost (right)");
    series.legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLACK));
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperRight).background_style(WHITE).border_style(BLACK);
    labels.draw().map_err(|e| wrong(&e))?;
    root.present().map_err(|e| wrong(&e))
}
