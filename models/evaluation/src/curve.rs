//! Owns the curve of utility against identity: a table, a plot, and the rule that chooses the default policy.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::plot;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rows as `models/training/curve.py` writes them.
    #[arg(long)]
    rows: PathBuf,
    /// Folder for `curve.md` and `curve.svg`.
    #[arg(long, default_value = "models/evaluation/figures")]
    out: PathBuf,
    /// Name of the set of people that the rule goes by.
    #[arg(long, default_value = "forty-people")]
    people: String,
    /// JSON of the choice instead of the table.
    #[arg(long)]
    json: bool,
}

/// One policy.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Row {
    pub name: String,
    arguments: String,
    bits: f64,
    epsilon: BTreeMap<String, Option<f64>>,
    pub utility: Utility,
    /// 95% of F1-2-all minus the reference's, paired.
    loss_interval: [f64; 2],
    attacks: BTreeMap<String, Attack>,
}

/// What the best classifier for the policy sees.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Utility {
    f1_2: f64,
    pub f1_2_all: f64,
    pub f1_2_all_interval: [f64; 2],
    f1_3: f64,
    ece: f64,
}

/// What `evaluation reidentify` says.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Attack {
    observations: BTreeMap<String, f64>,
    across_epochs: BTreeMap<String, f64>,
    pub interval: [f64; 2],
    clear: f64,
    colour_floor_interval: [f64; 2],
}

impl Attack {
    pub(crate) fn rank1(&self) -> f64 {
        self.observations.get("16").copied().unwrap_or(1.0)
    }

    fn one(&self) -> f64 {
        self.observations.get("1").copied().unwrap_or(1.0)
    }

    fn across(&self) -> f64 {
        self.across_epochs.get("16").copied().unwrap_or(1.0)
    }
}

/// The design's rule: utility within two points of the reference, and at most half of what the clear attacker names.
const LOSS_MAX: f64 = 0.02;
const CLEAR_SHARE_MAX: f64 = 0.5;

/// What the rule says.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Choice {
    /// The policy with the lowest upper bound among those that qualify; none: solid fill, classified before filling.
    default: Option<String>,
    /// Policies that are within the loss of utility, and within the share of the clear attacker.
    useful: Vec<String>,
    private: Vec<String>,
    /// Policies whose interval overlaps the colour floor's, the most useful first.
    strict: Vec<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let text = std::fs::read(&options.rows).with_context(|| options.rows.display().to_string())?;
    let rows: Vec<Row> =
        serde_json::from_slice(&text).with_context(|| options.rows.display().to_string())?;
    let choice = chosen(&rows, &options.people)?;
    std::fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    let table = table(&rows, &options.people, &choice);
    write(&options.out.join("curve.md"), &table)?;
    let attacked: Vec<(&Row, &Attack)> =
        rows.iter().filter_map(|row| Some((row, row.attacks.get(&options.people)?))).collect();
    plot::curve(&options.out.join("curve.svg"), &attacked)?;
    print(&table, &choice, options.json)
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(table: &str, choice: &Choice, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(choice)?);
    } else {
        println!("{table}");
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

fn chosen(rows: &[Row], people: &str) -> anyhow::Result<Choice> {
    let mut attacked: Vec<(&Row, &Attack)> =
        rows.iter().filter_map(|row| Some((row, row.attacks.get(people)?))).collect();
    if attacked.is_empty() {
        bail!("no row was attacked on {people:?}");
    }
    attacked.sort_by(|(_, a), (_, b)| a.interval[1].total_cmp(&b.interval[1]));
    let is_useful = |row: &Row| row.loss_interval[0] >= -LOSS_MAX;
    let is_private = |attack: &Attack| attack.rank1() <= CLEAR_SHARE_MAX * attack.clear;
    let names = |keep: &dyn Fn(&Row, &Attack) -> bool| {
        let kept = attacked.iter().filter(|(row, attack)| keep(row, attack));
        kept.map(|(row, _)| row.name.clone()).collect::<Vec<_>>()
    };
    let mut strict: Vec<&Row> = attacked
        .iter()
        .filter(|(_, attack)| attack.interval[0] <= attack.colour_floor_interval[1])
        .map(|(row, _)| *row)
        .collect();
    strict.sort_by(|a, b| b.utility.f1_2_all.total_cmp(&a.utility.f1_2_all));
    Ok(Choice {
        default: names(&|row, attack| is_useful(row) && is_private(attack)).into_iter().next(),
        useful: names(&|row, _| is_useful(row)),
        private: names(&|_, attack| is_private(attack)),
        strict: strict.into_iter().map(|row| row.name.clone()).collect(),
    })
}

fn table(rows: &[Row], people: &str, choice: &Choice) -> String {
    let mut text = String::from(
        "| policy | F1-2 | F1-2-all | paired with the first row | F1-3 | ECE | rank-1: 1 look | 16 within an epoch | 16 across | \
         bits | epsilon at 32 / 64 / 128 px |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let Utility { f1_2, f1_2_all, f1_2_all_interval: [low, high], f1_3, ece } = &row.utility;
        let [loss, gain] = row.loss_interval;
        let attack = row.attacks.get(people);
        let of = |value: fn(&Attack) -> f64| {
            attack.map_or_else(|| "-".to_owned(), |attack| format!("{:.3}", value(attack)))
        };
        let within = attack.map_or_else(String::new, |attack| {
            format!(" [{:.3}, {:.3}]", attack.interval[0], attack.interval[1])
        });
        let epsilon = ["32", "64", "128"].map(|width| {
            let epsilon = row.epsilon.get(width).copied().flatten();
            epsilon.map_or_else(|| "none".to_owned(), |epsilon| format!("{epsilon:.0}"))
        });
        let line = format!(
            "| {} | {f1_2:.3} | {f1_2_all:.3} [{low:.3}, {high:.3}] | [{loss:+.3}, {gain:+.3}] | {f1_3:.3} | {ece:.3} | {} | \
             {}{within} | {} | {:.0} | {} |\n",
            row.name,
            of(Attack::one),
            of(Attack::rank1),
            of(Attack::across),
            row.bits,
            epsilon.join(" / ")
        );
        text.push_str(&line);
    }
    let clear = rows.iter().find_map(|row| row.attacks.get(people)).map_or(0.0, |a| a.clear);
    text.push_str(&format!(
        "\nPeople: {people}; the clear attacker names {clear:.3}. The rule's default: {}. Useful enough: {}. Private \
         enough: {}. Strict: {}.\n\nArguments:\n\n",
        choice
            .default
            .as_deref()
            .unwrap_or("none, so solid fill with classification before filling"),
        list(&choice.useful),
        list(&choice.private),
        list(&choice.strict),
    ));
    for row in rows {
        text.push_str(&format!("* {}: `{}`\n", row.name, row.arguments));
    }
    text
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, loss: f64, upper: f64) -> Row {
        let attack = Attack {
            observations: BTreeMap::from([("16".to_owned(), upper - 0.05)]),
            across_epochs: BTreeMap::new(),
            interval: [upper - 0.1, upper],
            clear: 0.9,
            colour_floor_interval: [0.05, 0.15],
        };
        let f1_2_all = 0.85 + loss;
        let interval = [f1_2_all - 0.02, f1_2_all + 0.02];
        let utility =
            Utility { f1_2: 0.9, f1_2_all, f1_2_all_interval: interval, f1_3: 0.7, ece: 0.03 };
        Row {
            name: name.to_owned(),
            arguments: String::new(),
            bits: 100.0,
            epsilon: BTreeMap::new(),
            utility,
            loss_interval: [loss, loss + 0.01],
            attacks: BTreeMap::from([("some".to_owned(), attack)]),
        }
    }

    #[test]
    fn the_default_is_the_most_private_of_those_that_are_useful_and_private_enough() {
        let rows = [
            row("fine", 0.0, 0.9),
            row("good", -0.01, 0.4),
            row("better", -0.015, 0.3),
            row("useless", -0.1, 0.1),
        ];
        let choice = chosen(&rows, "some").unwrap();
        assert_eq!(choice.default.as_deref(), Some("better"));
        assert_eq!(choice.private, ["useless", "better", "good"]);
        assert_eq!(choice.strict, ["useless"]);
        assert!(table(&rows, "some", &choice).contains("default: better"));
        let choice = chosen(&rows[..1], "some").unwrap();
        assert_eq!(choice.default, None, "nothing is private enough");
        assert!(chosen(&rows, "others").is_err());
    }
}
