//! The shape of the workspace: who may depend on whom, and how large a file may be.

use std::{collections::BTreeMap, fs, path::Path};

use cargo_metadata::MetadataCommand;
use system_tests::root;

/// Which crates of ours each crate may name, beside `proto` and `base`. Dependencies point down: tiers, shared, proto.
const ALLOWED: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("base", &[]),
    ("spool", &[]),
    ("link", &[]),
    ("capture", &[]),
    ("models", &[]),
    ("onnx", &["models"]),
    ("vision", &["models"]),
    ("privacy", &["models", "vision"]),
    ("edge-agent", &["spool", "link", "capture"]),
    ("fog-node", &["link", "privacy", "models", "onnx"]),
    ("store", &[]),
    ("results", &[]),
    ("cloud-bridge", &["spool", "link", "store", "results"]),
    ("mask-lambda", &["models", "onnx", "store"]),
    ("console", &["link", "results", "store"]),
    ("celosia", &["link", "models", "results", "store"]),
    ("evaluation", &["privacy", "models", "onnx"]),
];

/// The only crate that may name each native library.
const OWNERS: &[(&str, &[&str])] = &[
    ("opencv", &["vision"]),
    ("ort", &["onnx"]),
    ("gstreamer", &["capture", "vision"]),
    ("bincode", &["proto"]),
];

#[test]
fn dependencies_follow_the_table() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec();
    let metadata = metadata.unwrap();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let ours: Vec<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in metadata.packages.iter().filter(|p| p.name.as_str() != "system-tests") {
        let name = package.name.as_str();
        let Some(table) = allowed.get(name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let shared = ["proto", "base"].contains(&to) && !["proto", "base"].contains(&name);
            // A crate names itself where its tests want a feature of it.
            let itself = to == name;
            if ours.contains(&to) && !shared && !itself && !table.contains(&to) {
                wrong.push(format!("{name} must not depend on {to}"));
            }
            let owner = OWNERS.iter().find(|(library, _)| *library == to);
            if owner.is_some_and(|(_, owners)| !owners.contains(&name)) {
                wrong.push(format!("{name} must not name {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn raw_frames_are_named_by_privacy_fog_evaluation_and_tests_only() {
    each_source(&root(), &mut |path, text| {
        let place = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let may = ["fog-node/", "models/evaluation/", "tests/"];
        let named = text.contains("RawFrame") || text.contains("RawClip");
        assert!(!named || may.iter().any(|p| place.starts_with(p)), "{place} names a raw frame");
    });
}

/// What the table of promises names: a file, then tests in it, each between back quotes.
#[test]
fn the_tests_that_are_named_as_evidence_are_there() {
    let table = fs::read_to_string(root().join("fog-node/privacy/EVIDENCE.md")).unwrap();
    let is_promise = |line: &&str| line.starts_with("| ") && !line.ends_with("| |");
    let (mut checked, mut code) = (0, String::new());
    for line in table.lines().filter(is_promise).skip(1) {
        let before = checked;
        code.clear();
        for name in line.split('`').skip(1).step_by(2) {
            if name.contains('/') {
                code = fs::read_to_string(root().join(name)).unwrap_or_default();
                assert!(!code.is_empty(), "there is no {name}");
            } else {
                let head = code.split(&format!("fn {name}(")).next().filter(|head| *head != code);
                let head = head.unwrap_or_else(|| panic!("there is no {name}: {line}"));
                // The last line is what stands before `fn`.
                let above = head.rsplit('\n').skip(1).map(str::trim);
                let attributes: Vec<&str> =
                    above.take_while(|line| line.starts_with(['#', '/'])).collect();
                let has = |what: &str| attributes.iter().any(|line| line.starts_with(what));
                let is_test = has("#[test]") || has("#[tokio::test");
                assert!(is_test && !has("#[ignore"), "{name} is no test that runs: {line}");
                checked += 1;
            }
        }
        assert!(checked > before, "no test is named: {line}");
    }
    assert!(checked > 30, "the table was not read");
}

#[test]
fn files_stay_small_rooms() {
    const LINES_MAX: usize = 500;
    each_source(&root(), &mut |path, text| {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
        assert!(text.starts_with("//!"), "{} does not say what it owns", path.display());
    });
}

fn each_source(folder: &Path, each: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            each_source(&path, each);
        } else if name.ends_with(".rs") {
            each(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
