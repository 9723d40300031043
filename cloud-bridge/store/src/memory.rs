//! Owns the object store in memory, for tests: the same rules as the real one, over a map.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use proto::{
    envelope::{HEAD_BYTES, SealedFrame, SealedHead},
    key,
    limits::ENVELOPE_BYTES_MAX,
    pack::Within,
    result::{ClipResult, DeadLetter, FrameResult},
    signing::PublicKey,
};

use crate::{
    FrameReader, FrameWriter, PAGE_KEYS_MAX, Pack, Page, Put, ResultReader, ResultWriter,
    StoreError, codec, pack,
};

#[derive(Debug, Default)]
struct Objects(Mutex<BTreeMap<String, Vec<u8>>>);

impl Objects {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn create(&self, key: String, bytes: Vec<u8>) -> Put {
        self.with(|objects| {
            if objects.contains_key(&key) {
                return Put::AlreadyThere;
            }
            objects.insert(key, bytes);
            Put::Created
        })
    }

    fn read(&self, key: &str) -> Result<Vec<u8>, StoreError> {
        let found = self.with(|objects| objects.get(key).cloned());
        found.ok_or_else(|| StoreError::Missing { key: key.to_owned() })
    }

    fn keys(&self) -> Vec<String> {
        self.with(|objects| objects.keys().cloned().collect())
    }
}

/// Frames in memory.
#[derive(Debug)]
pub struct MemoryFrames {
    root: PublicKey,
    objects: Objects,
}

impl MemoryFrames {
    /// An empty store that believes this seal root.
    #[must_use]
    pub fn new(root: PublicKey) -> Self {
        Self { root, objects: Objects::default() }
    }

    /// Puts bytes as somebody would who has the bucket's keys and is not us.
    pub fn plant(&self, key: &str, bytes: Vec<u8>) {
        self.objects.with(|objects| objects.insert(key.to_owned(), bytes));
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.objects.keys()
    }
}

#[async_trait]
impl FrameWriter for MemoryFrames {
    async fn put_frame(&self, frame: &SealedFrame) -> Result<Put, StoreError> {
        let key = key::frame_key(frame.manifest());
        Ok(self.objects.create(key, frame.bytes().to_vec()))
    }

    async fn put_pack(&self, pack: &Pack) -> Result<Put, StoreError> {
        Ok(self.objects.create(pack.key().to_owned(), pack.bytes().to_vec()))
    }
}

#[async_trait]
impl FrameReader for MemoryFrames {
    async fn frame(&self, key: &str) -> Result<SealedFrame, StoreError> {
        codec::check_frame_key(key)?;
        codec::open_frame(key, self.objects.read(key)?, &self.root)
    }

    async fn head(&self, key: &str) -> Result<SealedHead, StoreError> {
        codec::check_frame_key(key)?;
        let bytes = self.objects.read(key)?;
        let first = bytes.get(..HEAD_BYTES).unwrap_or(&bytes);
        match codec::open_head(key, first, &self.root)? {
            Some(head) => Ok(head),
            None => codec::open_whole_head(key, &bytes, &self.root),
        }
    }

    async fn frame_within(&self, key: &str, within: Within) -> Result<SealedFrame, StoreError> {
        codec::open_frame(key, self.part(key, within, ENVELOPE_BYTES_MAX)?, &self.root)
    }

    async fn head_within(&self, key: &str, within: Within) -> Result<SealedHead, StoreError> {
        codec::open_whole_head(key, &self.part(key, within, ENVELOPE_BYTES_MAX)?, &self.root)
    }

    async fn pack_heads(&self, pack_key: &str) -> Result<Vec<SealedHead>, StoreError> {
        codec::check_pack_key(pack_key)?;
        let bytes = self.objects.read(pack_key)?;
        let first = bytes.get(..pack::LONGEST_FIRST_BYTES).unwrap_or(&bytes);
        pack::open_all_heads(pack_key, first, &self.root)
    }
}

impl MemoryFrames {
    /// The bytes of a pack that are a frame; what lies behind its end is not there.
    fn part(&self, key: &str, within: Within, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let (pack, range) = codec::place_in_pack(key, within, bytes_max)?;
        let bytes = self.objects.read(&pack)?;
        let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes.get(at(range.start)..at(range.end)).unwrap_or_default().to_vec())
    }
}

/// Results in memory.
#[derive(Debug, Default)]
pub struct MemoryResults {
    objects: Objects,
}

impl MemoryResults {
    /// Puts bytes as somebody would who has the bucket's keys and is not us.
    pub fn plant(&self, key: &str, bytes: Vec<u8>) {
        self.objects.with(|objects| objects.insert(key.to_owned(), bytes));
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.objects.keys()
    }
}

#[async_trait]
impl ResultWriter for MemoryResults {
    async fn put_result(&self, result: &FrameResult) -> Result<Put, StoreError> {
        let (key, bytes) = codec::write_result(result)?;
        Ok(self.objects.create(key, bytes))
    }

    async fn put_clip_result(&self, result: &ClipResult) -> Result<Put, StoreError> {
        let (key, bytes) = codec::write_clip_result(result)?;
        Ok(self.objects.create(key, bytes))
    }

    async fn put_annotated(&self, result: &FrameResult, jpeg: &[u8]) -> Result<Put, StoreError> {
        let key = codec::annotated_key(result)?;
        codec::check_jpeg(&key, jpeg)?;
        Ok(self.objects.create(key, jpeg.to_vec()))
    }

    async fn put_dead_letter(&self, letter: &DeadLetter) -> Result<Put, StoreError> {
        let (key, bytes) = codec::write_letter(letter)?;
        Ok(self.objects.create(key, bytes))
    }
}

#[async_trait]
impl ResultReader for MemoryResults {
    async fn result(&self, key: &str) -> Result<FrameResult, StoreError> {
        codec::check_results_key(key)?;
        codec::read_result(key, &self.objects.read(key)?)
    }

    async fn clip_result(&self, key: &str) -> Result<ClipResult, StoreError> {
        codec::check_results_key(key)?;
        codec::read_clip_result(key, &self.objects.read(key)?)
    }

    async fn annotated(&self, result: &FrameResult) -> Result<Vec<u8>, StoreError> {
        let key = codec::annotated_key(result)?;
        let bytes = self.objects.read(&key)?;
        codec::check_jpeg(&key, &bytes).map(|()| bytes)
    }

    async fn dead_letter(&self, object_key: &str) -> Result<Option<DeadLetter>, StoreError> {
        codec::check_object_key(object_key)?;
        match self.objects.read(&key::dead_letter_key(object_key)) {
            Ok(bytes) => codec::read_letter(object_key, &bytes).map(Some),
            Err(_missing) => Ok(None),
        }
    }

    async fn results(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        codec::check_results_key(prefix)?;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_owned()),
            Some(_) | None => Bound::Included(prefix.to_owned()),
        };
        Ok(self.objects.with(|objects| {
            let found = objects.range((start, Bound::Unbounded)).map(|(key, _)| key);
            let mut found = found.take_while(|key| key.starts_with(prefix)).cloned();
            let keys: Vec<String> = found.by_ref().take(PAGE_KEYS_MAX).collect();
            Page { keys, more: found.next().is_some() }
        }))
    }
}
