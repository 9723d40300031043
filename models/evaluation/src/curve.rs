//! Owns the curve of utility against identity: a table, a plot, and the rule that chooses the default policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    identity::{DRAWS, drawn, pools},
    plot,
    score::interval,
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rows as `models/training/curve.py` writes them.
    #[arg(long)]
    rows: PathBuf,
    /// Folder for `curve.md` and `curve.svg`.
    #[arg(long, default_value = "models/evaluation/figures")]
    out: PathBuf,
    /// JSON of the choices instead of the tables.
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
    repeats: usize,
    observations: BTreeMap<String, f64>,
    across_epochs: BTreeMap<String, f64>,
    pub interval: [f64; 2],
    clear: f64,
    colour_floor: f64,
    colour_floor_interval: [f64; 2],
    gain_within_epoch: f64,
    gain_within_epoch_interval: [f64; 2],
    mean_reciprocal_rank: BTreeMap<String, f64>,
    tar_at_far_10: BTreeMap<String, f64>,
    person_of_photo: Vec<usize>,
    named_of_photo: Vec<Option<f64>>,
}

impl Attack {
    pub(crate) fn rank1(&self) -> f64 {
        self.observations.get("16").copied().unwrap_or(1.0)
    }

    fn one(&self) -> f64 {
        self.observations.get("1").copied().unwrap_or(1.0)
    }

    /// With the noise of 4 and of 16 epochs.
    fn across(&self) -> [f64; 2] {
        ["4", "16"].map(|looks| self.across_epochs.get(looks).copied().unwrap_or(1.0))
    }

    /// How much more often 16 looks name a person than under another policy, photo by photo, and 95% of that by bootstrap as
    /// everywhere. An error when they are not of the same photos.
    fn paired(&self, other: &Self) -> anyhow::Result<(f64, [f64; 2])> {
        if self.person_of_photo != other.person_of_photo {
            bail!("rows of different photos cannot be paired: attack all of them again");
        }
        let gains = self.named_of_photo.iter().zip(&other.named_of_photo);
        let gains = gains.zip(&self.person_of_photo);
        let gains: Vec<(usize, f64)> =
            gains.filter_map(|((a, b), person)| Some((*person, (*a)? - (*b)?))).collect();
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^24 photos")]
        let mean = |gains: &mut dyn ExactSizeIterator<Item = f64>| {
            let n = gains.len().max(1) as f64;
            gains.sum::<f64>() / n
        };
        let whole = mean(&mut gains.iter().map(|(_, gain)| *gain));
        let people = self.person_of_photo.iter().max().map_or(0, |last| last + 1);
        let persons = pools(gains.into_iter(), people);
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let draws =
            (0..DRAWS).map(|_| mean(&mut drawn(&persons, &mut random).into_iter().copied()));
        Ok((whole, interval(draws.collect())))
    }
}

/// Arguments of the policy that the others are compared with: the default.
const REFERENCE: &str = "--policy solid";
/// Seed of the bootstrap.
const SEED: u64 = 1;

/// The design's rule: utility within two points of the reference, and at most half of what the clear attacker names.
const LOSS_MAX: f64 = 0.02;
const CLEAR_SHARE_MAX: f64 = 0.5;

/// What the rule says by one set of people.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Choice {
    people: String,
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
    let sets: BTreeSet<&String> = rows.iter().flat_map(|row| row.attacks.keys()).collect();
    let sets = Vec::from_iter(sets);
    if sets.is_empty() {
        bail!("{}: no row was attacked", options.rows.display());
    }
    let choices: Vec<Choice> = sets.iter().map(|people| chosen(&rows, people)).collect();
    std::fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    let text = tables(&rows, &choices)?;
    write(&options.out.join("curve.md"), &text)?;
    let attacked: Vec<(&str, Vec<(&Row, &Attack)>)> =
        sets.iter().map(|people| (people.as_str(), attacked(&rows, people))).collect();
    plot::curve(&options.out.join("curve.svg"), &attacked)?;
    print(&text, &choices, options.json)
}

fn attacked<'a>(rows: &'a [Row], people: &str) -> Vec<(&'a Row, &'a Attack)> {
    rows.iter().filter_map(|row| Some((row, row.attacks.get(people)?))).collect()
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(text: &str, choices: &[Choice], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(choices)?);
    } else {
        println!("{text}");
    }
    Ok(())
}

/// Replaces what stands between two marks, so that a person may write around it; without marks the file is all tables.
fn write(path: &Path, tables: &str) -> anyhow::Result<()> {
    let old = std::fs::read_to_string(path).unwrap_or_default();
    let around =
        old.split_once(START).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = around.unwrap_or_default();
    std::fs::write(path, [before, START, tables, END, after].concat())
        .with_context(|| path.display().to_string())
}

/// Marks around the tables.
const START: &str = "<!-- written by evaluation curve -->\n";
const END: &str = "<!-- end -->\n";

fn chosen(rows: &[Row], people: &str) -> Choice {
    let mut attacked = attacked(rows, people);
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
    Choice {
        people: people.to_owned(),
        default: names(&|row, attack| is_useful(row) && is_private(attack)).into_iter().next(),
        useful: names(&|row, _| is_useful(row)),
        private: names(&|_, attack| is_private(attack)),
        strict: strict.into_iter().map(|row| row.name.clone()).collect(),
    }
}

fn tables(rows: &[Row], choices: &[Choice]) -> anyhow::Result<String> {
    let mut text = utility(rows);
    for choice in choices {
        text.push_str(&identity(rows, choice)?);
    }
    text.push_str("\nArguments of `evaluation`:\n\n");
    for row in rows {
        text.push_str(&format!("* {}: `{}`\n", row.name, row.arguments));
    }
    Ok(text)
}

/// What is still seen of masks, and what leaves.
fn utility(rows: &[Row]) -> String {
    let mut text = String::from(
        "| policy | F1-2 | F1-2-all | paired with the first row | F1-3 | ECE | bits a face | epsilon at 32 / 64 / 128 px |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let Utility { f1_2, f1_2_all, f1_2_all_interval: [low, high], f1_3, ece } = &row.utility;
        let [loss, gain] = row.loss_interval;
        let epsilon = ["32", "64", "128"].map(|width| {
            let epsilon = row.epsilon.get(width).copied().flatten();
            epsilon.map_or_else(
                || "unbounded".to_owned(),
                |e| format!("{e:.*}", usize::from(e < 9.95)),
            )
        });
        let line = format!(
            "| {} | {f1_2:.3} | {f1_2_all:.3} [{low:.3}, {high:.3}] | [{loss:+.3}, {gain:+.3}] | {f1_3:.3} | {ece:.3} | {:.0} | {} |\n",
            row.name,
            row.bits,
            epsilon.join(" / ")
        );
        text.push_str(&line);
    }
    text
}

/// What is still seen of one set of people, and what the rule makes of it.
fn identity(rows: &[Row], choice: &Choice) -> anyhow::Result<String> {
    let attacked = attacked(rows, &choice.people);
    let reference = attacked.iter().find(|(row, _)| row.arguments == REFERENCE);
    let mut text = format!(
        "\n| {} | rank-1: 1 look | 16 within an epoch | minus the default's, paired | gain of 16, paired | 4 / 16 across epochs | \
         MRR, 16 within | TAR at FAR 10% | repeats | useful | private | strict |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
        choice.people
    );
    let mark = |names: &[String], row: &Row| if names.contains(&row.name) { "yes" } else { "" };
    for (row, attack) in &attacked {
        let [low, high] = attack.interval;
        let [less, more] = attack.gain_within_epoch_interval;
        let [four, sixteen] = attack.across();
        let of_16 = |map: &BTreeMap<String, f64>| {
            map.get("16").map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
        };
        let pair = reference.filter(|(default, _)| default.name != row.name);
        let pair = pair.map(|(_, default)| attack.paired(default)).transpose();
        let pair = pair.with_context(|| format!("{} on {}", row.name, choice.people))?;
        let pair = pair.map_or_else(String::new, |(gain, [less, more])| {
            format!("{gain:+.3} [{less:+.3}, {more:+.3}]")
        });
        let line = format!(
            "| {} | {:.3} | {:.3} [{low:.3}, {high:.3}] | {pair} | {:+.3} [{less:+.3}, {more:+.3}] | {four:.3} / {sixteen:.3} | {} | {} | {} | {} | {} | {} |\n",
            row.name,
            attack.one(),
            attack.rank1(),
            attack.gain_within_epoch,
            of_16(&attack.mean_reciprocal_rank),
            of_16(&attack.tar_at_far_10),
            attack.repeats,
            mark(&choice.useful, row),
            mark(&choice.private, row),
            mark(&choice.strict, row)
        );
        text.push_str(&line);
    }
    if let Some((_, attack)) = attacked.first() {
        let [low, high] = attack.colour_floor_interval;
        text.push_str(&format!(
            "\nThe clear attacker names {:.3}, the colour floor is {:.3} [{low:.3}, {high:.3}]. By these people the rule's default is: {}.\n",
            attack.clear,
            attack.colour_floor,
            choice.default.as_deref().unwrap_or("none, so solid fill with classification before filling")
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, loss: f64, upper: f64) -> Row {
        let attack = Attack {
            repeats: 1,
            gain_within_epoch: 0.0,
            gain_within_epoch_interval: [0.0; 2],
            mean_reciprocal_rank: BTreeMap::new(),
            tar_at_far_10: BTreeMap::new(),
            person_of_photo: (0..40).map(|photo| photo / 2).collect(),
            named_of_photo: vec![Some(upper - 0.05); 40],
            observations: BTreeMap::from([("16".to_owned(), upper - 0.05)]),
            across_epochs: BTreeMap::new(),
            interval: [upper - 0.1, upper],
            clear: 0.9,
            colour_floor: 0.1,
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
        let choice = chosen(&rows, "some");
        assert_eq!(choice.default.as_deref(), Some("better"));
        assert_eq!(choice.private, ["useless", "better", "good"]);
        assert_eq!(choice.strict, ["useless"]);
        assert!(tables(&rows, &[choice]).unwrap().contains("default is: better"));
        let choice = chosen(&rows[..1], "some");
        assert_eq!(choice.default, None, "nothing is private enough");
        assert_eq!(chosen(&rows, "others").default, None);
    }

    #[test]
    fn policies_are_compared_photo_by_photo_and_only_on_the_same_photos() {
        let of = |upper: f64| row("some", 0.0, upper).attacks["some"].clone();
        let (low, mut high) = (of(0.3), of(0.5));
        // Photos that were never probed count on neither side.
        high.named_of_photo[7] = None;
        let (gain, [less, more]) = high.paired(&low).unwrap();
        for value in [gain, less, more] {
            assert!((value - 0.2).abs() < 1e-9, "{value}");
        }
        // One person alone is named more often: the interval reaches down to no gain at all.
        let mut lucky = of(0.3);
        lucky.named_of_photo[..2].fill(Some(1.0));
        let (gain, [less, more]) = lucky.paired(&low).unwrap();
        assert!((gain - 0.75 / 20.0).abs() < 1e-9 && less < 1e-9 && more > gain);
        high.person_of_photo[0] = 3;
        assert!(high.paired(&low).is_err());
        let mut rows = [row("a", 0.0, 0.3), row("b", 0.0, 0.5)];
        rows[0].arguments = REFERENCE.to_owned();
        let choice = chosen(&rows, "some");
        assert!(tables(&rows, &[choice]).unwrap().contains("+0.200 [+0.200, +0.200]"));
    }

    #[test]
    fn tables_are_renewed_and_what_is_written_around_them_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("curve.md");
        write(&file, "old\n").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("Before.\n{text}After.\n")).unwrap();
        write(&file, "new\n").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("Before.\n{START}new\n{END}After.\n"));
    }
}
