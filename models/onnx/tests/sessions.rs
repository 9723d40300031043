//! Real networks behind the traits. Needs the assets folder that `celosia fetch` fills (environment variable
//! `CELOSIA_ASSETS`, else `.celosia/assets` in the project); without it each test says so and ends.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use models::{CellInput, FaceDetector, Family, Finding, MaskClassifier, PixelView, weights};
use onnx::{CenterFace, LoadError, MaskCells, Runtime, UltraFace};

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

/// One environment per process: tests may share one when they run as threads.
fn runtime(assets: &Path) -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::load(&assets.join("libonnxruntime.so")).unwrap())
}

#[test]
fn a_file_that_is_no_runtime_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libonnxruntime.so");
    fs::write(&library, b"not a library").unwrap();
    let error = Runtime::load(&library).err().unwrap();
    assert!(error.to_string().contains(library.to_str().unwrap()), "{error}");
}

#[test]
fn a_corrupt_model_is_one_clear_error_that_names_the_file() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("centerface.onnx");
    let whole = fs::read(assets.join("centerface.onnx")).unwrap();
    for bytes in [&whole[..whole.len() / 2], &[], b"not a model"] {
        fs::write(&path, bytes).unwrap();
        let error = CenterFace::open(runtime(&assets), &path, vec![640], 0.3).err().unwrap();
        assert!(matches!(error, LoadError::Model { .. }));
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let error = CenterFace::open(runtime(&assets), &path, vec![640], 0.3).err().unwrap();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn detectors_of_two_families_find_nothing_in_a_flat_picture_of_any_size() {
    let Some(assets) = assets() else { return };
    let runtime = runtime(&assets);
    let center = assets.join("centerface.onnx");
    let mut center = CenterFace::open(runtime, &center, vec![320, 640], 0.3).unwrap();
    let ultra = assets.join("ultraface-any-size.onnx");
    let mut ultra =
        UltraFace::finding(runtime, &ultra, Finding::plain(vec![640, 320], 0.6)).unwrap();
    assert_ne!(center.family(), ultra.family());
    assert_eq!(center.family(), Family::CenterFace);
    for (width, height) in [(1, 1), (33, 700), (1000, 600)] {
        let grey = vec![127; width * height * 3];
        let view = PixelView::new(width, height, &grey).unwrap();
        assert_eq!(center.detect(view).unwrap(), [], "{width}x{height}");
        assert_eq!(ultra.detect(view).unwrap(), [], "{width}x{height}");
    }
}

#[test]
fn the_committed_mask_model_answers_with_probabilities_for_any_cells() {
    let Some(assets) = assets() else { return };
    let shipped = &weights::OF_CELLS;
    let mut model = MaskCells::shipped(runtime(&assets), shipped).unwrap();
    assert_eq!((model.info().name.as_str(), model.info().policy.as_str()), (shipped.name, "cells"));
    assert_eq!((model.info().rows, model.info().cols), (8, 1));
    // Skin above and a light blue cloth below, as they differ from their mean; then nothing that differs.
    let (skin, cloth) = ([148, 108, 88], [108, 148, 168]);
    let masked: Vec<u8> = (0..8).flat_map(|cell| if cell < 4 { skin } else { cloth }).collect();
    let bare = vec![128; 24];
    let extremes = [vec![0; 24], vec![255; 24]];
    let faces: Vec<_> = [&masked, &bare, &extremes[0], &extremes[1]]
        .into_iter()
        .map(|cells| CellInput { cells, box_w: 60, box_h: 80 })
        .collect();
    let answers = model.classify(&faces).unwrap();
    assert_eq!(answers.len(), 4);
    assert!(answers[0].mask > answers[1].mask, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.not_a_face > 0.0), "no fourth output: {answers:?}");
    assert_eq!(model.classify(&[]).unwrap(), []);
    let short = CellInput { cells: &[0; 23], box_w: 60, box_h: 80 };
    assert!(model.classify(&[short]).is_err(), "cells of another grid");
}

#[test]
fn a_description_of_another_model_is_refused() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.onnx");
    fs::write(&path, weights::OF_CELLS.model).unwrap();
    fs::write(path.with_extension("json"), weights::OF_CELLS.description).unwrap();
    MaskCells::open(runtime(&assets), &path).unwrap();
    let json = String::from_utf8(weights::OF_CELLS.description.to_vec()).unwrap();
    let digest = proto::Digest::of(weights::OF_CELLS.model).to_string();
    fs::write(path.with_extension("json"), json.replace(&digest, &"0".repeat(64))).unwrap();
    let error = MaskCells::open(runtime(&assets), &path).err().unwrap();
    assert!(matches!(error, LoadError::Info { .. }), "{error}");
}
