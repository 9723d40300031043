//! What is no video gets one clear line and a non-zero end, and nothing else is disturbed.

use std::{fs, path::PathBuf};

use system_tests::{assets, data};

use crate::{
    happy::{Folders, scene},
    site::{Run, celosia, program, results},
};

fn check(name: &str, bytes: &[u8], said: &[&str]) {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let path = folders.root.path().join(name);
    fs::write(&path, bytes).unwrap();
    let output = Run::process(&path, &folders.state, &folders.out, &[]).end();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{name} was taken for a video: {stderr}");
    for part in [&[name], said].concat() {
        assert!(stderr.contains(part), "{part:?} is not in: {stderr}");
    }
}

#[test]
fn a_file_without_bytes_is_named() {
    check("empty.mp4", b"", &["empty"]);
}

#[test]
fn a_text_is_named() {
    check("letter.mp4", &b"Dear Sir or Madam, this is not a video. ".repeat(200), &[]);
}

#[test]
fn a_video_that_ends_early_is_named() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let whole = fs::read(scene(&folders)).unwrap();
    check("torn.mp4", &whole[..whole.len() / 3], &[]);
}

#[test]
fn a_broken_video_does_not_disturb_a_good_one() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let good = video(&folders);
    let broken = folders.root.path().join("broken.mp4");
    fs::write(&broken, b"no video at all".repeat(1000)).unwrap();
    let more = [broken.to_str().unwrap()];
    let output = Run::process(&good, &folders.state, &folders.out, &more).end();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("broken.mp4"));
    assert!(results(&folders.out).len() >= 4, "the good one has its results all the same");
}

fn video(folders: &Folders) -> PathBuf {
    data().map_or_else(|| scene(folders), |data| data.join("video/masks-on-and-off.mp4"))
}

#[test]
fn an_unknown_key_in_a_configuration_is_named_by_every_service() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service.toml");
    fs::write(&path, "colour = 'red'\n").unwrap();
    let services: [(&str, &[&str]); 6] = [
        ("edge-agent", &[]),
        ("fog-node", &["serve"]),
        ("cloud-bridge", &[]),
        ("console", &[]),
        ("celosia", &["object-store"]),
        ("celosia", &["function"]),
    ];
    for (name, arguments) in services {
        let mut service = std::process::Command::new(program(name));
        let output = service.args(arguments).arg("--config").arg(&path).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{name}: {stderr}");
        assert!(stderr.contains("colour") && stderr.contains("service.toml"), "{name}: {stderr}");
    }
}

#[test]
fn a_changed_model_file_stops_the_start() {
    let Some(assets) = assets() else { return };
    let folders = Folders::new();
    let copy = folders.root.path().join("assets");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(assets).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let model = copy.join("centerface.onnx");
    let mut bytes = fs::read(&model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&model, bytes).unwrap();
    let mut command = celosia();
    command.env("CELOSIA_ASSETS", &copy).arg("process").arg(video(&folders));
    let output = command.arg("--out").arg(&folders.out).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{stderr}");
    assert!(stderr.contains("centerface.onnx"), "{stderr}");
}
