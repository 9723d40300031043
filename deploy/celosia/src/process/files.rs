//! Owns writing what a run leaves: away from the runtime's threads, which have the site's processes to look after.

use std::{io, path::PathBuf};

use super::ProcessError;

/// Writes a file, and the folder that it lies in.
pub(super) async fn write(path: PathBuf, bytes: Vec<u8>) -> Result<(), ProcessError> {
    away(path, move |path| {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, bytes)
    })
    .await
}

/// Writes a file that is whole on the disk or not there.
pub(super) async fn write_durable(path: PathBuf, bytes: Vec<u8>) -> Result<(), ProcessError> {
    away(path, move |path| base::files::write_durable(path, &bytes)).await
}

async fn away(
    path: PathBuf,
    work: impl FnOnce(&PathBuf) -> io::Result<()> + Send + 'static,
) -> Result<(), ProcessError> {
    let done = tokio::task::spawn_blocking(move || work(&path).map_err(|error| (path, error)));
    match done.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err((path, source))) => Err(ProcessError::File { path, source }),
        // Work that panics has broken an invariant: it must be seen, not passed over.
        Err(broken) => std::panic::resume_unwind(broken.into_panic()),
    }
}
