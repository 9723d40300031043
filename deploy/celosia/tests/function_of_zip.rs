//! The function as its zip has it, for another processor in that one's emulator, beside the native one: of the same frames
//! both say the same, byte for byte, but for the last digit of a probability where the two round to different sides.
//! `deploy/lambda-zip [ARCHITECTURE] --run` starts this with what it has built; no other run has a zip.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::{path::PathBuf, process::Stdio};

use models::ClassifierInfo;
use proto::{
    manifest::{Rect, Said},
    result::{FaceLabel, FrameResult},
};
use support::{
    event, invoke,
    site::{Site, function_environment},
};

/// The program of the zip, or one that runs it in an emulator; everything else that it needs lies beside it, as on AWS.
const PROGRAM: &str = "CELOSIA_FUNCTION_OF_ZIP";
/// Frames that both are asked for, and the faces of each.
const FRAMES: u64 = 40;
const FACES: u32 = 5;

#[tokio::test]
#[ignore = "deploy/lambda-zip --run starts it with the zip's program"]
async fn the_function_of_the_zip_says_the_same() {
    let program = std::env::var_os(PROGRAM).map(PathBuf::from);
    let program = program.unwrap_or_else(|| panic!("{PROGRAM} names no program"));
    let Some(site) = Site::new() else {
        panic!("the native one needs what `celosia fetch` brings")
    };
    let native = results(&site, support::mask_lambda(), &[]).await;
    let beside_it = ["CELOSIA_ASSETS", "CELOSIA_MODEL"];
    let of_zip = results(&Site::new().unwrap(), program, &beside_it).await;
    assert_eq!(native.len(), of_zip.len());
    for (a, b) in native.iter().zip(&of_zip) {
        assert_eq!(without_decimals(a), without_decimals(b));
    }
    let faces: Vec<_> = native.iter().flat_map(|result| &result.faces).collect();
    let answered = faces.iter().filter(|face| face.label != FaceLabel::Uncertain).count();
    let (a, b) = (parts(&native), parts(&of_zip));
    let apart: Vec<u16> = a.iter().zip(&b).map(|(a, b)| a.abs_diff(*b)).collect();
    let differ = apart.iter().filter(|apart| **apart > 0).count();
    support::say(&format!(
        "MEASURED: {FRAMES} frames, {} faces, {answered} answered: {differ} of {} probabilities differ",
        faces.len(),
        apart.len()
    ));
    // Faces of which both say nothing would be alike too.
    assert!(answered > faces.len() / 2, "{answered} of {}", faces.len());
    assert!(apart.iter().all(|apart| *apart <= 1), "by more than the last digit: {apart:?}");
    assert!(differ * 100 <= apart.len(), "{differ} of {}", apart.len());
}

/// All that is compared but the probabilities, as bytes.
fn without_decimals(result: &FrameResult) -> String {
    let mut result = result.compared();
    for face in &mut result.faces {
        (face.mask, face.no_mask, face.incorrect, face.not_a_face) = (0.0, 0.0, 0.0, 0.0);
    }
    serde_json::to_string(&result).unwrap()
}

/// The probabilities of all faces, in parts of ten thousand.
fn parts(results: &[FrameResult]) -> Vec<u16> {
    let faces = results.iter().flat_map(|result| &result.faces);
    let said = faces.flat_map(|face| [face.mask, face.no_mask, face.incorrect, face.not_a_face]);
    said.map(Said::part).collect()
}

/// What a program of the function says of the frames, in a site of its own; it is not told of `left_out`.
async fn results(site: &Site, program: PathBuf, left_out: &[&str]) -> Vec<FrameResult> {
    let _store = site.store_telling("");
    let mut environment = function_environment(site.folder.path(), site.store_port);
    environment.retain(|name, _| !left_out.contains(name));
    let function = site.function_of(&program, &environment, "", Stdio::inherit());
    let mut results = Vec::new();
    for slot in 0..FRAMES {
        let key =
            site.put_sealed(support::sealed_with(slot, |manifest| draw(manifest, slot))).await;
        let event = event("frames", &key);
        let (head, body) = invoke(&site.invoke_url(), "RequestResponse", &event).await.unwrap();
        assert!(head.starts_with("http/1.1 200") && !head.contains("function-error"), "{body}");
        let [result_key] = site.results(&key).await.try_into().unwrap();
        results.push(site.result(&result_key).await);
    }
    assert_eq!(function.stop(), Some(0));
    results
}

/// Faces of several sizes with cells of any values, in the form that the shipped network reads.
fn draw(manifest: &mut proto::Manifest, slot: u64) {
    let reads: ClassifierInfo =
        serde_json::from_slice(models::weights::OF_CELLS.description).unwrap();
    let mut state = slot;
    // Split-mix: the next of a sequence of well-mixed numbers.
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    };
    let example = manifest.regions.remove(0);
    for number in 0..FACES {
        let mut face = example.clone();
        let grid = face.grid.as_mut().unwrap();
        (grid.rows, grid.cols) = (reads.rows, reads.cols);
        let cells = usize::from(reads.rows) * usize::from(reads.cols) * 3;
        // From flat to wild: what is drawn over real faces lies between.
        let contrast = 1 + next() % 128;
        grid.cells = (0..cells).map(|_| (64 + next() % contrast) as u8).collect();
        let side = 4 * (3 + number * 4);
        grid.rect = Rect { x: 104, y: 56, w: side, h: side + 8 };
        face.fill = vec![Rect { x: 100, y: 52, w: side + 8, h: side + 16 }];
        manifest.regions.push(face);
    }
}
