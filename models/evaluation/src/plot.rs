//! Owns the figures (SVG). What they show stands as a table too.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::{
    area::BINS,
    curve::{Attack, Row},
    score::Bin,
    tally::Report,
};

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

/// Recall by size of face with its interval, ours and the peers' side by side.
pub(crate) fn coverage(file: &Path, report: &Report) -> anyhow::Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let wrong = |e: &dyn std::fmt::Display| anyhow!("{}: {e}", file.display());
    root.fill(&WHITE).map_err(|e| wrong(&e))?;
    let rows: Vec<&Report> = std::iter::once(report).chain(&report.peers).collect();
    let intervals = rows.iter().flat_map(|row| row.bins.values()).map(|row| row.recall.interval[0]);
    let low = (intervals.fold(1.0, f64::min) * 50.0).floor() / 50.0;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .caption("Covered faces by size (95% intervals)", FONT)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..3.0, low..1.0)
        .map_err(|e| wrong(&e))?;
    let name = |at: &f64| {
        let bin = BINS.iter().enumerate().find(|(b, _)| (*at - *b as f64 - 0.5).abs() < 1e-6);
        bin.map_or_else(String::new, |(_, name)| format!("{name} px"))
    };
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().x_labels(7).x_label_formatter(&name).y_desc("share of faces covered");
    mesh.draw().map_err(|e| wrong(&e))?;
    for (number, row) in rows.iter().enumerate() {
        let colour = Palette99::pick(number).to_rgba();
        let shift = (number as f64 + 0.5) / rows.len() as f64 * 0.6 + 0.2;
        let points: Vec<(f64, [f64; 2], f64)> = BINS
            .iter()
            .enumerate()
            .filter_map(|(b, name)| row.bins.get(name).map(|row| (b, row.recall)))
            .map(|(b, recall)| (b as f64 + shift, recall.interval, recall.share))
            .collect();
        let bars = points.iter().map(|(x, [low, high], share)| {
            ErrorBar::new_vertical(*x, *low, *share, *high, colour.filled(), 10)
        });
        chart
            .draw_series(bars)
            .map_err(|e| wrong(&e))?
            .label(format!("{} (redacts {:.3})", row.by, row.redacted_share))
            .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
    }
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::LowerRight).background_style(WHITE).border_style(BLACK);
    labels.draw().map_err(|e| wrong(&e))?;
    root.present().map_err(|e| wrong(&e))
}

/// Utility against identity, both with their intervals: one panel a set of people.
pub(crate) fn curve(file: &Path, sets: &[(&str, Vec<(&Row, &Attack)>)]) -> anyhow::Result<()> {
    let size = (1040, 120 + 560 * u32::try_from(sets.len())?);
    let root = SVGBackend::new(file, size).into_drawing_area();
    let wrong = |e: &dyn std::fmt::Display| anyhow!("{}: {e}", file.display());
    root.fill(&WHITE).map_err(|e| wrong(&e))?;
    let utility = || sets.iter().flat_map(|(_, rows)| rows).map(|(row, _)| &row.utility);
    let lows = utility().map(|utility| utility.f1_2_all_interval[0]);
    let highs = utility().map(|utility| utility.f1_2_all_interval[1]);
    let (low, high) = (lows.fold(1.0, f64::min) - 0.005, highs.fold(0.0, f64::max) + 0.005);
    for (panel, (people, rows)) in root.split_evenly((sets.len(), 1)).iter().zip(sets) {
        let mut chart = ChartBuilder::on(panel)
            .margin(16)
            .caption(format!("Masks seen against persons seen, {people} (95% intervals)"), FONT)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..1.4, low..high)
            .map_err(|e| wrong(&e))?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc("parrot rank-1, 16 looks within an epoch")
            .y_desc("F1-2-all, grouped cross-validation");
        mesh.draw().map_err(|e| wrong(&e))?;
        for (number, (row, attack)) in rows.iter().enumerate() {
            let colour = Palette99::pick(number).to_rgba();
            let (x, y) = (attack.rank1(), row.utility.f1_2_all);
            let ([left, right], [below, above]) = (attack.interval, row.utility.f1_2_all_interval);
            let across = ErrorBar::new_horizontal(y, left, x, right, colour.filled(), 6);
            chart
                .draw_series([across])
                .map_err(|e| wrong(&e))?
                .label(row.name.clone())
                .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
            let down = ErrorBar::new_vertical(x, below, y, above, colour.filled(), 6);
            chart.draw_series([down]).map_err(|e| wrong(&e))?;
        }
        let mut labels = chart.configure_series_labels();
        labels
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(BLACK);
        labels.draw().map_err(|e| wrong(&e))?;
    }
    root.present().map_err(|e| wrong(&e))
}

/// One column and the share of each kind in it, with its interval.
pub(crate) struct Shares {
    pub name: String,
    pub kinds: Vec<(f64, [f64; 2])>,
}

/// Shares of several kinds (rank-1 of attacks, say) of each of some things, with intervals: one column a thing.
pub(crate) fn shares(
    file: &Path,
    (caption, of): (&str, &str),
    kinds: &[&str],
    rows: &[Shares],
) -> anyhow::Result<()> {
    let root = SVGBackend::new(file, (1040, 560)).into_drawing_area();
    let wrong = |e: &dyn std::fmt::Display| anyhow!("{}: {e}", file.display());
    root.fill(&WHITE).map_err(|e| wrong(&e))?;
    #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
    let (width, step) = (rows.len() as f64, 0.5 / kinds.len().max(1) as f64);
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .caption(caption, FONT)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..width, 0.0..1.0)
        .map_err(|e| wrong(&e))?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().disable_x_axis().y_desc(of).draw().map_err(|e| wrong(&e))?;
    for (number, kind) in kinds.iter().enumerate() {
        let colour = Palette99::pick(number).to_rgba();
        #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
        let points = rows.iter().enumerate().filter_map(|(column, row)| {
            let (share, [low, high]) = *row.kinds.get(number)?;
            let x = column as f64 + 0.25 + step * number as f64;
            Some(ErrorBar::new_vertical(x, low, share, high, colour.filled(), 10))
        });
        chart
            .draw_series(points)
            .map_err(|e| wrong(&e))?
            .label((*kind).to_owned())
            .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
    let names = rows.iter().enumerate().map(|(column, row)| {
        Text::new(row.name.clone(), (column as f64 + 0.05, 0.02), ("sans-serif", 13))
    });
    chart.draw_series(names).map_err(|e| wrong(&e))?;
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperRight).background_style(WHITE).border_style(BLACK);
    labels.draw().map_err(|e| wrong(&e))?;
    root.present().map_err(|e| wrong(&e))
}
