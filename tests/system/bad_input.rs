//! Bad input, and what it gets: one clear line naming the thing and the place, a counter, a non-zero exit where it is
//! start-up, and nothing else is disturbed. Each has its test, here over the whole path and where it is met:
//!
//! * not a video, truncated, zero bytes, no key frame, pictures over the limit, three minutes of one group of pictures:
//!   `each_bad_video_gets_its_line_and_its_count_and_a_good_one_its_results` here; capture `sources`
//!   (`what_is_no_video_gets_one_clear_error`, `a_truncated_file_gives_what_it_holds_and_then_says_so`); fog-node
//!   `inputs`, for whoever comes past the edge
//! * a wrong clock: edge-agent `recorder` (`a_wall_clock_that_is_set_begins_a_new_session_and_is_counted`); the fog
//!   refuses nothing for its clock
//! * a peer with an unknown certificate, an object in the bucket that nobody sealed: over the whole path
//!   `what_strangers_bring_is_named_and_counted_and_disturbs_nobody` in `strangers`; link
//!   `a_certificate_of_an_unknown_authority_is_refused_in_both_directions` and, at the broker,
//!   `a_certificate_of_another_site_gets_nothing_from_mosquitto`; mask-lambda
//!   `what_nobody_granted_sealed_is_set_aside_at_once_with_the_reason`
//! * a message over its length cap: fog-node `a_message_over_its_cap_ends_its_channel_and_disturbs_nobody`; link
//!   `a_length_over_its_cap_is_refused_before_allocation`
//! * a corrupt model file: `a_changed_model_file_stops_the_start` here; fog-node
//!   `a_missing_or_corrupt_model_or_key_exits_64_and_names_the_file`
//! * a configuration with an unknown key: `an_unknown_key_in_a_configuration_is_named_by_every_service` here

use std::{fs, path::PathBuf};

use system_tests::{assets, data};

use crate::{
    happy::{Folders, scene},
    onlooker::{self, Onlooker},
    site::{Run, celosia, eventually, frames, program},
    videos,
};

/// One run on everything that a file can be wrong in, with a good one in the middle of it.
#[test]
fn each_bad_video_gets_its_line_and_its_count_and_a_good_one_its_results() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let at = |name: &str| folders.root.path().join(name);
    let good = scene(&folders);
    let whole = fs::read(&good).unwrap();
    let letter = at("letter.mp4");
    fs::write(&letter, b"Dear Sir or Madam, this is not a video. ".repeat(200)).unwrap();
    let torn = at("torn.mp4");
    fs::write(&torn, &whole[..whole.len() / 3]).unwrap();
    let early = at("early.mkv");
    let ball = videos::ball(&at("ball.mkv"), (320, 240), 60, 10);
    let bytes = fs::read(ball).unwrap();
    fs::write(&early, &bytes[..bytes.len() / 2]).unwrap();
    let zero = at("zero.mp4");
    fs::write(&zero, b"").unwrap();
    let bad = [
        // Name, and what its line says.
        (zero, "not a video: the file is empty"),
        (letter, "not a video"),
        // The index of an MP4 stands at its end.
        (torn, "not a video"),
        (early, "truncated"),
        (videos::without_key_frame(&at("delta.mkv")), "no key frame"),
        (videos::ball(&at("wide.mkv"), (3856, 240), 20, 10), "picture_too_large"),
        // Three minutes with one group of pictures: the first minute can be decoded.
        (videos::ball(&at("endless.mkv"), (160, 120), 1800, 100_000), "24 pictures could not be"),
    ];
    let more: Vec<&str> = bad.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    let mut run = Run::process(&good, &folders.state, &folders.out, &more);
    let site = Onlooker::at(&mut run, &folders.state);
    let output = run.end();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for (path, said) in &bad {
        let name = path.file_name().unwrap().to_str().unwrap();
        let lines: Vec<&str> = stderr.lines().filter(|line| line.contains(name)).collect();
        assert!(lines.iter().any(|line| line.contains(said)), "{name}: {said}: {lines:?}");
    }
    assert!(!stderr.contains("scene.mp4"), "the good one is disturbed: {stderr}");

    // Counters only grow: the most that was ever said, since a last will says nothing.
    let counter = |device: &str, name: &str| {
        let heard = site.heard();
        let of_device = heard.iter().filter(|message| message.topic.contains(device));
        let counts = onlooker::all_statuses(of_device)
            .filter_map(|(_, status)| status.counters.get(name).copied());
        counts.max().unwrap_or(0)
    };
    eventually("the fog node's count", || counter("/fog-", "clips_unreadable_total") >= 1);
    // No bytes, a letter, a torn and a truncated file, and one without a key frame; its other fault is the fog's to see.
    assert_eq!(counter("/edge-", "sources_failed_total"), 5);
    assert_eq!(counter("/edge-", "clips_cut_inside_group_total"), 2);

    let frames = frames(&folders.out);
    let of = |camera: &str| frames.iter().filter(|frame| frame.camera() == camera).count();
    assert!(of("scene") >= 4, "the good one has its results all the same");
    assert_eq!(of("endless"), 12, "what can be decoded is");
    assert!(of("early") >= 1, "what there is of it");
    for camera in ["zero", "letter", "torn", "delta", "wide"] {
        assert_eq!(of(camera), 0, "{camera}");
    }
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
