//! The object store as this system needs it: sealed frames and results, each created once and never changed.
//!
//! There is no `put(bytes)`: a frame goes in as a [`SealedFrame`], whose seal was verified, and a result as a
//! [`FrameResult`], both at the key that follows from themselves, or all frames of a clip as one [`Pack`] and their
//! results as one [`ClipResult`]. What comes out is verified again: an object that
//! nobody sealed, or that lies at another key than its own, is an error and no frame.
//!
//! Reading and writing are traits of their own, so that a process is given no more than it may do. Each has three
//! versions: [`s3`] (the real one), [`memory`] and [`faulty`] (for tests). Nothing here tries again by itself: callers
//! do, by `base::retry`.
//!
//! Limits: envelopes of 4 MiB, packs of 6 MiB, results of 256 KiB and of 2 MiB for a clip, annotated pictures of 4 MiB, pages of 1,000 keys; a body over its limit is refused before it is
//! read.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod codec;
mod error;
pub mod faulty;
pub mod memory;
mod pack;
pub mod s3;
mod settings;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use proto::{
    envelope::{SealedFrame, SealedHead},
    pack::Within,
    result::{ClipResult, DeadLetter, FrameResult},
};

pub use codec::{annotated_key, clip_result_key, result_key};
pub use error::StoreError;
pub use pack::Pack;
pub use settings::Settings;

/// Most keys of one page: what S3 gives at once.
pub const PAGE_KEYS_MAX: usize = 1000;

/// What became of a create-once write. Both are success: the object is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// It was written.
    Created,
    /// An object was there before; it is unchanged.
    AlreadyThere,
}

/// Keys in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// At most [`PAGE_KEYS_MAX`] keys.
    pub keys: Vec<String>,
    /// Whether there are more: ask again with the last key as `after`.
    pub more: bool,
}

/// Writes frames.
#[async_trait]
pub trait FrameWriter: Send + Sync {
    /// Creates the frame's object at `proto::key::frame_key` of its manifest. Durable when this returns.
    ///
    /// # Errors
    /// When the store is away or refuses. Nothing is known then: the object may be there.
    async fn put_frame(&self, frame: &SealedFrame) -> Result<Put, StoreError>;

    /// Creates the object of all frames of a clip at its key. Durable when this returns.
    ///
    /// # Errors
    /// As [`Self::put_frame`].
    async fn put_pack(&self, pack: &Pack) -> Result<Put, StoreError>;
}

/// Reads frames, verified against the site's seal root and their key.
#[async_trait]
pub trait FrameReader: Send + Sync {
    /// The whole frame.
    ///
    /// # Errors
    /// When there is none, it is not sealed, lies at another key than its own, or the store is away or refuses.
    async fn frame(&self, key: &str) -> Result<SealedFrame, StoreError>;

    /// Only its manifest, from the first bytes of the object: all that inference needs.
    ///
    /// # Errors
    /// As [`Self::frame`], but for the picture, which is not looked at.
    async fn head(&self, key: &str) -> Result<SealedHead, StoreError>;

    /// The whole frame of this key from within the pack of its clip, of which nothing else is read.
    ///
    /// # Errors
    /// As [`Self::frame`].
    async fn frame_within(&self, key: &str, within: Within) -> Result<SealedFrame, StoreError>;

    /// Only the manifest of the frame of this key from within the pack of its clip.
    ///
    /// # Errors
    /// As [`Self::head`].
    async fn head_within(&self, key: &str, within: Within) -> Result<SealedHead, StoreError>;

    /// The manifests of all frames of a pack, from its first bytes.
    ///
    /// # Errors
    /// As [`Self::head`]; when one of them does not verify there are none.
    async fn pack_heads(&self, pack_key: &str) -> Result<Vec<SealedHead>, StoreError>;
}

/// Writes results.
#[async_trait]
pub trait ResultWriter: Send + Sync {
    /// Creates the result's object at [`result_key`]. Durable when this returns.
    ///
    /// # Errors
    /// When the result does not hold together, or the store is away or refuses.
    async fn put_result(&self, result: &FrameResult) -> Result<Put, StoreError>;

    /// Creates the object with the results of all frames of a pack at [`clip_result_key`]. Durable when this returns.
    ///
    /// # Errors
    /// As [`Self::put_result`].
    async fn put_clip_result(&self, result: &ClipResult) -> Result<Put, StoreError>;

    /// Creates the annotated picture of a result's frame, a JPEG, at `proto::key::annotated_key`. It is for people, made
    /// on request, and no evidence: nothing seals it. Durable when this returns.
    ///
    /// # Errors
    /// When it is no JPEG or too large, its result is of no frame, or the store is away or refuses.
    async fn put_annotated(&self, result: &FrameResult, jpeg: &[u8]) -> Result<Put, StoreError>;

    /// Writes why an object has no result, at `proto::key::dead_letter_key` of its key: once, so that the first reason
    /// stays. Durable when this returns.
    ///
    /// # Errors
    /// When the letter is too long, or the store is away or refuses.
    async fn put_dead_letter(&self, letter: &DeadLetter) -> Result<Put, StoreError>;
}

/// Reads results, checked against their key.
#[async_trait]
pub trait ResultReader: Send + Sync {
    /// The result at this key.
    ///
    /// # Errors
    /// When there is none, it is no result or lies at another key than its own, or the store is away or refuses.
    async fn result(&self, key: &str) -> Result<FrameResult, StoreError>;

    /// The results of a pack at this key.
    ///
    /// # Errors
    /// As [`Self::result`].
    async fn clip_result(&self, key: &str) -> Result<ClipResult, StoreError>;

    /// The annotated picture of a result's frame, a JPEG.
    ///
    /// # Errors
    /// When there is none, it is no JPEG, or the store is away or refuses.
    async fn annotated(&self, result: &FrameResult) -> Result<Vec<u8>, StoreError>;

    /// Why the frame or pack at this key has no result, if that is written anywhere.
    ///
    /// # Errors
    /// When what is there is no such letter, or the store is away or refuses.
    async fn dead_letter(&self, object_key: &str) -> Result<Option<DeadLetter>, StoreError>;

    /// The next keys that begin with `prefix` (which begins with `proto::key::RESULTS`) and come after `after`.
    ///
    /// # Errors
    /// When the prefix is none of results, or the store is away or refuses.
    async fn results(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError>;
}
