//! Owns the answer to a request for an annotated picture: the whole frame is read and verified, its faces are classified
//! as for its result, and the drawing is written once. Results and dead letters are left as they are.

use models::classifier::ClassifyError;
use proto::{Manifest, result::FrameResult};
use serde::Serialize;
use store::{FrameReader, Put, ResultWriter};

use crate::{annotate::annotate, event::Picture, handler::HandleError};

/// An annotated picture that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drawn {
    /// Key of the frame.
    pub key: String,
    /// Key of the picture, among the results.
    pub annotated: String,
    /// Whether it was there before.
    pub already_there: bool,
}

/// Draws the picture of one frame.
///
/// # Errors
/// When the store is away, there is no such frame, or its picture cannot be drawn.
pub(crate) async fn draw(
    frames: &dyn FrameReader,
    results: &dyn ResultWriter,
    wanted: &Picture,
    classify: impl FnOnce(&Manifest) -> Result<FrameResult, ClassifyError> + Send,
) -> Result<Drawn, HandleError> {
    let Picture { key, within } = wanted;
    let refused = |why: &dyn std::fmt::Display| HandleError::Picture {
        key: key.clone(),
        why: why.to_string(),
    };
    let frame = match within {
        None => frames.frame(key).await?,
        Some(within) => frames.frame_within(key, *within).await?,
    };
    let result = classify(frame.manifest()).map_err(|e| refused(&e))?;
    let picture = annotate(&frame.jpeg(), &result).map_err(|e| refused(&e))?;
    let put = results.put_annotated(&result, &picture).await?;
    let annotated = store::annotated_key(&result)?;
    Ok(Drawn { key: key.clone(), annotated, already_there: put == Put::AlreadyThere })
}
