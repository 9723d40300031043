//! Owns the places that system tests read from, and the one line that a skipped test prints.

use std::{io::Write, path::PathBuf};

/// The project's root.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The assets that `celosia fetch` brought; `deploy/test` always does, so this is absent only in a quick local run.
#[must_use]
pub fn assets() -> Option<PathBuf> {
    let stated = std::env::var_os("CELOSIA_ASSETS").map(PathBuf::from);
    let folder = stated.unwrap_or_else(|| root().join(".celosia/assets"));
    present(folder, "centerface.onnx", "run `celosia fetch`")
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
