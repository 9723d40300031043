//! Owns the choice of what is measured: a policy by name, or a trial grid with its noise; or many of them out of a file.

use std::path::Path;

use anyhow::{Context, bail};
use clap::Parser;
use privacy::Policy;
use serde::Deserialize;

/// Which redaction is measured.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Choice {
    /// Redaction policy by name.
    #[arg(long, default_value = "default", conflicts_with = "grid")]
    pub policy: String,
    /// Another grid than a policy's, as rows x columns, such as 8x2.
    #[arg(long, value_parser = grid)]
    pub grid: Option<(u8, u8)>,
    /// Scale of the Laplace noise of `--grid`, in grey levels.
    #[arg(long, default_value_t = 0, requires = "grid")]
    pub noise: u8,
    /// Grey levels that a cell's mean of `--grid` is rounded to.
    #[arg(long, default_value_t = 8, requires = "grid")]
    pub quantum: u8,
    /// Colour of `--grid` released apart: brightness then has blocks of so many rows x columns, and the noise and quantum
    /// above.
    #[arg(long, value_parser = grid, requires = "grid")]
    pub luma: Option<(u8, u8)>,
    /// Scale of the noise on the colour differences of `--luma`.
    #[arg(long, default_value_t = 0, requires = "luma")]
    pub chroma_noise: u8,
    /// Levels that the colour differences of `--luma` are rounded to.
    #[arg(long, default_value_t = 2, requires = "luma")]
    pub chroma_quantum: u8,
    /// Colour in blocks of so many rows x columns too; without it each cell of `--grid` has its own.
    #[arg(long, value_parser = grid, requires = "luma")]
    pub chroma: Option<(u8, u8)>,
    /// Cells of `--grid` as they differ from the mean of the whole face, which is not released.
    #[arg(long, requires = "grid")]
    pub centred: bool,
}

impl Choice {
    /// The policy, and how reports call it.
    pub(crate) fn policy(&self) -> anyhow::Result<(Policy, String)> {
        match self.grid {
            Some((rows, cols)) => {
                let mut name =
                    format!("{rows}x{cols} noise {} quantum {}", self.noise, self.quantum);
                let mut policy = Policy::trial((rows, cols), self.noise, self.quantum);
                let blocks = [("--luma", self.luma), ("--chroma", self.chroma)];
                for (what, of) in blocks.into_iter().filter_map(|(what, of)| Some((what, of?))) {
                    if of.0 > rows || of.1 > cols {
                        bail!("{what} {}x{} is finer than the grid, {rows}x{cols}", of.0, of.1);
                    }
                }
                if let Some(luma) = self.luma {
                    let (noise, quantum) = (self.chroma_noise, self.chroma_quantum);
                    name = format!(
                        "{rows}x{cols} colour noise {noise} quantum {quantum}, brightness {}x{} noise {} quantum {}",
                        luma.0, luma.1, self.noise, self.quantum
                    );
                    policy = policy.with_colour(luma, noise, quantum);
                }
                if let Some((rows, cols)) = self.chroma {
                    name.push_str(&format!(", colour in {rows}x{cols}"));
                    policy = policy.with_colour_in((rows, cols));
                }
                if self.centred {
                    name.push_str(", centred");
                    policy = policy.centred();
                }
                Ok((policy, name))
            }
            None => {
                let policy = Policy::named(&self.policy)?;
                let name = policy.name().to_owned();
                Ok((policy, name))
            }
        }
    }
}

/// One of many choices in a file: a JSON list of objects with `name` and `arguments`, the latter as on the command line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Point {
    pub name: String,
    arguments: String,
}

/// Arguments of a point.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[command(flatten)]
    choice: Choice,
}

impl Point {
    /// Every point of a file.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<Self>> {
        let text = std::fs::read(file).with_context(|| file.display().to_string())?;
        let points: Vec<Self> =
            serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
        if points.is_empty() {
            bail!("{} has no point", file.display());
        }
        Ok(points)
    }

    /// The policy.
    pub(crate) fn policy(&self) -> anyhow::Result<Policy> {
        let line = Line::try_parse_from(self.arguments.split_whitespace())
            .with_context(|| format!("the arguments of point {:?}", self.name))?;
        Ok(line.choice.policy()?.0)
    }
}

/// Rows and columns from a text such as `8x2`.
pub(crate) fn grid(text: &str) -> anyhow::Result<(u8, u8)> {
    let (rows, cols) = text.split_once('x').context("a grid is rows x columns, such as 8x2")?;
    let sides = (rows.trim().parse()?, cols.trim().parse()?);
    let allowed = 1..=proto::manifest::GRID_SIDE_MAX;
    if !allowed.contains(&sides.0) || !allowed.contains(&sides.1) {
        bail!("a grid has 1 to {} rows and columns", proto::manifest::GRID_SIDE_MAX);
    }
    Ok(sides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_rows_by_columns_within_the_manifests_bounds() {
        assert_eq!(grid("8x2").unwrap(), (8, 2));
        for wrong in ["8", "0x2", "8x17", "axb", "300x1"] {
            assert!(grid(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_point_is_what_the_command_line_would_choose() {
        let point = |arguments: &str| Point { name: "some".into(), arguments: arguments.into() };
        let chosen = point("--grid 8x1 --noise 16 --quantum 8").policy().unwrap();
        assert_eq!(chosen, Policy::trial((8, 1), 16, 8));
        let apart = "--grid 8x2 --luma 8x2 --chroma 8x1";
        let policy = Policy::trial((8, 2), 0, 8).with_colour((8, 2), 0, 2);
        assert_eq!(point(apart).policy().unwrap(), policy.with_colour_in((8, 1)));
        assert_eq!(point("--policy solid").policy().unwrap(), Policy::named("solid").unwrap());
        for wrong in
            ["--grid 8", "--noise 3", "--grid 8x1 --more 3", "8x1", "--grid 4x1 --luma 8x2"]
        {
            assert!(point(wrong).policy().is_err(), "{wrong}");
        }
    }
}
