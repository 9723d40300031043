//! Owns the places that system tests read from, and the one line that a skipped test prints.

use std::{io::Write, path::PathBuf};

/// The project's root.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The assets that `celosia fetch` brought; absent only in a quick local run. `deploy/test` fetches and states them: what
/// is stated must be there, or a whole suite would pass without having run.
///
/// # Panics
/// When a folder is stated and they are not in it.
#[must_use]
pub fn assets() -> Option<PathBuf> {
    let stated = std::env::var_os("CELOSIA_ASSETS").map(PathBuf::from);
    let must = stated.is_some();
    let folder = stated.unwrap_or_else(|| root().join(".celosia/assets"));
    let found = present(folder, "centerface.onnx", "run `celosia fetch`");
    assert!(!must || found.is_some(), "CELOSIA_ASSETS states a folder without the assets");
    found
}

/// The measuring data, which is never part of the repository.
#[must_use]
pub fn data() -> Option<PathBuf> {
    let stated = std::env::var_os("CELOSIA_DATA").map(PathBuf::from);
    let folder = stated.unwrap_or_else(|| root().join("../shared/data"));
    present(folder, "README.md", "state its folder in CELOSIA_DATA")
}

fn present(folder: PathBuf, file: &str, remedy: &str) -> Option<PathBuf> {
    if folder.join(file).exists() {
        return Some(folder);
    }
    // Straight to standard error: the test harness would keep a passed test's `eprintln!` to itself.
    let line = format!("SKIPPED: {} is not there; {remedy}\n", folder.join(file).display());
    std::io::stderr().write_all(line.as_bytes()).ok();
    None
}
