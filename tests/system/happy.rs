//! From a video to results: the real processes on real pictures, and counts that change as the scene does.

use std::{collections::BTreeSet, path::PathBuf};

use system_tests::{assets, data};

use crate::site::{self, Frame, Run, celosia, frames, results};

/// Folders of one run.
pub(crate) struct Folders {
    /// Deletes everything at the end.
    pub(crate) root: tempfile::TempDir,
    /// State of the site.
    pub(crate) state: PathBuf,
    /// Results.
    pub(crate) out: PathBuf,
}

impl Folders {
    /// New and empty.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (state, out) = (root.path().join("state"), root.path().join("out"));
        Self { root, state, out }
    }
}

/// The generated scene: portraits of one astronaut in several sizes, some with a drawn mask.
pub(crate) fn scene(folders: &Folders) -> PathBuf {
    let scene = folders.root.path().join("scene.mp4");
    let made = celosia().arg("demo").arg("--out").arg(&scene).output().unwrap();
    site::succeeded(&made);
    scene
}

fn at(frames: &[Frame], second: usize) -> &Frame {
    frames.get(second).unwrap_or_else(|| panic!("no frame at {second} s of {}", frames.len()))
}

/// What is said of a track that is counted.
const COUNTED: [&str; 4] = ["mask", "no_mask", "incorrect", "uncertain"];

/// The tracks of which this is said and one of whose faces is counted.
fn people(frames: &[Frame], label: &str) -> u64 {
    let mut people = BTreeSet::new();
    for frame in frames {
        assert_eq!(frame.faces.len(), frame.tracks.len(), "{frame:?}");
        for (face, track) in frame.faces.iter().zip(&frame.tracks) {
            if face["counted"] == true && track["label"] == label {
                people.insert((&frame.clip, track["number"].as_u64()));
            }
        }
    }
    people.len() as u64
}

#[test]
fn masks_are_counted_as_they_are_put_on_and_taken_off() {
    let (Some(_), Some(data)) = (assets(), data()) else { return };
    let folders = Folders::new();
    let video = data.join("video/masks-on-and-off.mp4");
    let run = Run::process(&video, &folders.state, &folders.out, &["--every", "1s", "--json"]);
    let output = run.end();
    site::succeeded(&output);

    // For programs: the summary as JSON, and nothing else beside it.
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let results_file = folders.out.join("results.json");
    assert_eq!(summary["results"], results_file.to_str().unwrap());
    let of_video = &summary["videos"][0];
    assert_eq!(of_video["video"], video.to_str().unwrap());
    assert_eq!((&of_video["delivered"], &of_video["frames"]), (&17.into(), &17.into()));
    assert_eq!(of_video["missing"], serde_json::json!([]));
    assert!(summary["seconds"].as_f64() > Some(0.0), "{summary}");

    // People are counted once in each clip, whatever number of its frames they are in.
    let counted: [u64; 4] = COUNTED.map(|label| of_video[label].as_u64().unwrap());
    let all = frames(&folders.out);
    assert_eq!(counted, COUNTED.map(|label| people(&all, label)), "{of_video}");
    let faces: u32 = all.iter().map(|f| f.mask + f.no_mask + f.incorrect + f.uncertain).sum();
    assert!(3 * counted.iter().sum::<u64>() < u64::from(faces), "{counted:?} of {faces} faces");
    for share in ["counted_share", "corrected_share"] {
        let [share, low, high, n] =
            ["share", "low", "high", "n"].map(|part| of_video[share][part].as_f64().unwrap());
        assert!(0.0 <= low && low <= share && share <= high && high <= 1.0, "{of_video}");
        assert!(high - low > 0.1 && n <= counted.iter().sum::<u64>() as f64, "{of_video}");
    }

    // 16.6 s at one frame a second. Four people; the painting behind them wears a mask from the start.
    let by_place = results(&folders.out);
    let frames: Vec<Frame> = by_place.into_values().collect();
    assert_eq!(frames.len(), 17);
    let start = at(&frames, 0);
    assert!(start.no_mask >= 3 && start.mask <= 2, "nobody wears one yet: {start:?}");
    // Noise differs from site to site, and so may a borderline face: four seconds are judged together, with the
    // painting's mask taken for none in each.
    let worn: Vec<&Frame> = [4, 13, 14, 15].map(|second| at(&frames, second)).into();
    let sum = |count: fn(&Frame) -> u32| worn.iter().map(|frame| count(frame)).sum::<u32>();
    let (mask, no_mask) = (sum(|f| f.mask), sum(|f| f.no_mask));
    assert!(mask >= 11 && no_mask <= 7, "all wear one: {mask} with, {no_mask} without: {worn:?}");
    let off = (6..=8).map(|second| at(&frames, second).no_mask).max();
    assert!(off > Some(at(&frames, 4).no_mask), "one takes his off for some seconds: {off:?}");
    for frame in &frames {
        let image = std::fs::read(folders.out.join(&frame.image)).unwrap();
        assert!(image.starts_with(&[0xff, 0xd8]), "{} is no JPEG", frame.image);
        assert!(frame.frame.starts_with(&frame.clip) && !frame.captured_at.is_empty());
        for face in &frame.faces {
            let corners = ["x", "y", "w", "h"].map(|side| face["box"][side].as_u64());
            assert!(corners.iter().all(Option::is_some), "{face}");
            let sum: f64 = ["mask", "no_mask", "incorrect", "not_a_face"]
                .iter()
                .map(|class| face[class].as_f64().unwrap())
                .sum();
            assert!((sum - 1.0).abs() < 0.01, "probabilities of {face} add up to {sum}");
        }
    }
}

#[test]
fn the_generated_scene_gives_masked_and_unmasked_faces_in_every_frame() {
    let Some(_) = assets() else { return };
    // Faces are classified by the worker before they are covered, and by the function from the cells that left.
    for (policy, place) in [("default", "fog"), ("cells", "lambda")] {
        counted_in_every_frame(policy, place);
    }
}

fn counted_in_every_frame(policy: &str, place: &str) {
    let folders = Folders::new();
    let settings = ["--every", "2s", "--policy", policy];
    let output = Run::process(&scene(&folders), &folders.state, &folders.out, &settings).end();
    site::succeeded(&output);
    // For people: a table with a line for the video.
    let table = String::from_utf8_lossy(&output.stdout);
    let line = table.lines().find(|line| line.contains("scene.mp4")).unwrap();
    let cells: Vec<&str> = line.split(['│', '┆']).map(str::trim).collect();
    assert!(cells.contains(&"15") && table.contains("no mask"), "{table}");
    // The share without mask and the corrected one, each with its interval.
    assert_eq!(cells.iter().filter(|cell| cell.contains("% (")).count(), 2, "{table}");
    let frames = results(&folders.out);
    assert_eq!(frames.len(), 15);
    // As it is drawn: few wear one in the first ten seconds, nearly everybody in the next.
    let of_ten = |from| frames.values().skip(from).take(5).map(|f| f.no_mask).sum::<u32>();
    let (start, middle) = (of_ten(0), of_ten(5));
    assert!(start > middle, "without a mask: {start} at the start, {middle} in the middle");
    let sum = |count: fn(&Frame) -> u32| frames.values().map(count).sum::<u32>();
    let (mask, no_mask) = (sum(|f| f.mask), sum(|f| f.no_mask));
    assert!(mask > 0 && no_mask > 0, "{mask} with, {no_mask} without");
    for frame in frames.values() {
        assert_eq!(frame.classified_on, place, "{policy}");
        assert!(frame.mask + frame.no_mask + frame.incorrect + frame.uncertain > 0, "{frame:?}");
    }
}

#[test]
fn packed_clips_give_the_same_frames_and_results_with_an_object_for_each_clip() {
    let Some(_) = assets() else { return };
    let (packed, alone) = (Folders::new(), Folders::new());
    let scene = scene(&packed);
    for (folders, pack) in [(&packed, "clip"), (&alone, "frame")] {
        let settings = ["--every", "1s", "--pack", pack];
        site::succeeded(&Run::process(&scene, &folders.state, &folders.out, &settings).end());
    }
    let (together, each) = (results(&packed.out), results(&alone.out));
    assert!(together.len() >= 10 && together.keys().eq(each.keys()), "{together:?}");
    for (place, frame) in &together {
        // Cells and so probabilities differ from site to site: noise keys do.
        assert_eq!(frame.boxes(), each[place].boxes(), "{place:?}");
        assert!(packed.out.join(&frame.image).exists());
    }
    // An object and a result for each clip, none for a frame.
    let clips: BTreeSet<&str> = together.values().map(|frame| frame.clip.as_str()).collect();
    let objects = site::files(&packed.state.join("objects"));
    let ending = |end: &str| objects.iter().filter(|p| p.to_string_lossy().contains(end)).count();
    assert_eq!((ending(".tar"), ending(".jpg")), (clips.len(), 0), "{objects:?}");
    assert_eq!(ending(".json"), clips.len(), "{objects:?}");
}
