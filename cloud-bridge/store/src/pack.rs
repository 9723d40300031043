//! Owns packs: the frames of one clip as one object, written so that whoever classifies reads its first bytes alone.
//! `proto::pack` has the form.

use std::io::Read;

use proto::{
    ClipId, FrameId,
    envelope::{EnvelopeError, HEAD_BYTES, SealedFrame, SealedHead},
    key,
    limits::{PACK_BYTES_MAX, PACK_HEADS_BYTES_MAX, SLOTS_MAX},
    pack::{HEADS, Within},
    signing::PublicKey,
};
use tar::{Archive, Builder, EntryType, Header};

use crate::StoreError;

/// Bytes of a tar header, and the step to which an entry is filled.
const BLOCK: usize = 512;
/// How many first bytes of a pack are asked for at first: the seals of an ordinary clip.
pub(crate) const FIRST_BYTES: usize = HEAD_BYTES;
/// The longest beginning of a pack with all its seals.
pub(crate) const LONGEST_FIRST_BYTES: usize = BLOCK + PACK_HEADS_BYTES_MAX;

/// The frames of one clip as one object.
#[derive(Clone)]
pub struct Pack {
    key: String,
    bytes: Vec<u8>,
    places: Vec<Within>,
}

impl Pack {
    /// Packs the frames of a clip; nothing when they are to travel one by one: fewer than two, which gains nothing, or
    /// more than a pack may hold, or not of one clip. The same frames always give the same.
    #[must_use]
    pub fn of(frames: &[SealedFrame]) -> Option<Self> {
        let (first, others) = frames.split_first()?;
        let (key, clip) = (key::pack_key(first.manifest()), &first.manifest().frame.clip);
        let same = |frame: &SealedFrame| {
            let manifest = frame.manifest();
            manifest.frame.clip == *clip && key::pack_key(manifest) == key
        };
        let heads: Vec<u8> = frames.iter().flat_map(SealedFrame::head_bytes).copied().collect();
        let room = heads.len() <= PACK_HEADS_BYTES_MAX && frames.len() <= SLOTS_MAX;
        if others.is_empty() || !others.iter().all(same) || !room {
            return None;
        }
        let packed = written(frames, clip, &heads).ok();
        let (bytes, places) = packed.filter(|(bytes, _)| bytes.len() <= PACK_BYTES_MAX)?;
        Some(Self { key, bytes, places })
    }

    /// The key of its object.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The object.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each frame lies, in the order in which they were given.
    #[must_use]
    pub fn places(&self) -> &[Within] {
        &self.places
    }
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pack({}, {} frames, {} bytes)", self.key, self.places.len(), self.bytes.len())
    }
}

fn written(
    frames: &[SealedFrame],
    clip: &ClipId,
    heads: &[u8],
) -> std::io::Result<(Vec<u8>, Vec<Within>)> {
    let mut archive = Builder::new(Vec::new());
    append(&mut archive, HEADS, heads)?;
    let mut places = Vec::with_capacity(frames.len());
    for frame in frames {
        let offset = (archive.get_ref().len() + BLOCK) as u64;
        let slot = frame.manifest().frame.slot;
        let name = format!("{}-{}-{slot}.jpg", clip.session, clip.seq);
        append(&mut archive, &name, frame.bytes())?;
        places.push(Within { offset, length: frame.bytes().len() as u64 });
    }
    archive.into_inner().map(|bytes| (bytes, places))
}

/// An entry that says nothing but its name and bytes.
fn append(archive: &mut Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    archive.append(&header, bytes)
}

/// The seals of the pack at a key, from its first bytes; nothing when more bytes are needed.
pub(crate) fn open_heads(
    key: &str,
    bytes: &[u8],
    root: &PublicKey,
) -> Result<Option<Vec<SealedHead>>, StoreError> {
    let no_pack = |why: String| StoreError::NotPack { key: key.to_owned(), why };
    let mut archive = Archive::new(bytes);
    let entry = archive.entries().and_then(|mut entries| entries.next().transpose());
    let mut entry = match entry {
        Ok(Some(entry)) if entry.path_bytes().as_ref() == HEADS.as_bytes() => entry,
        Ok(_) => return Err(no_pack(format!("it does not begin with {HEADS}"))),
        Err(error) => return Err(no_pack(error.to_string())),
    };
    let length = usize::try_from(entry.size()).unwrap_or(usize::MAX);
    if length > PACK_HEADS_BYTES_MAX {
        return Err(StoreError::TooLarge { key: key.to_owned(), bytes_max: PACK_HEADS_BYTES_MAX });
    }
    if bytes.len() < BLOCK + length {
        return Ok(None);
    }
    let mut row = Vec::with_capacity(length);
    entry.read_to_end(&mut row).map_err(|error| no_pack(error.to_string()))?;
    heads_in(key, &row, root).map(Some)
}

/// As [`open_heads`], from all the bytes that there can be.
pub(crate) fn open_all_heads(
    key: &str,
    bytes: &[u8],
    root: &PublicKey,
) -> Result<Vec<SealedHead>, StoreError> {
    let cut = || StoreError::NotPack { key: key.to_owned(), why: "it is cut short".to_owned() };
    open_heads(key, bytes, root)?.ok_or_else(cut)
}

/// Every seal of a row: all of this clip, each frame once.
fn heads_in(key: &str, mut row: &[u8], root: &PublicKey) -> Result<Vec<SealedHead>, StoreError> {
    let not_sealed = |source| StoreError::NotSealed { key: key.to_owned(), source };
    let no_pack = |why: &str| StoreError::NotPack { key: key.to_owned(), why: why.to_owned() };
    let (mut heads, mut frames) = (Vec::new(), Vec::<FrameId>::new());
    while !row.is_empty() {
        let head = SealedHead::open(row, root).map_err(not_sealed)?;
        let belongs = key::pack_key(head.manifest());
        if belongs != key {
            return Err(StoreError::WrongKey { key: key.to_owned(), belongs });
        }
        if heads.len() >= SLOTS_MAX || frames.contains(&head.manifest().frame) {
            return Err(no_pack("a frame is in it twice, or more than a clip has"));
        }
        let rest = row.get(head.length()..);
        row = rest.ok_or_else(|| not_sealed(EnvelopeError::Cut(row.len())))?;
        frames.push(head.manifest().frame.clone());
        heads.push(head);
    }
    if heads.is_empty() { Err(no_pack("no frame is in it")) } else { Ok(heads) }
}
