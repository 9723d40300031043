//! Owns what the bytes of an object must be to count as a frame or a result: the same for every version of the store.

use proto::{
    Digest, FrameId,
    envelope::{EnvelopeError, SealedFrame, SealedHead},
    key,
    limits::{ENVELOPE_BYTES_MAX, FACES_MAX, SLOTS_MAX},
    pack::Within,
    result::{
        CLIP_RESULT_BYTES_MAX, ClipResult, DeadLetter, FrameResult, RESULT_BYTES_MAX, RESULT_SCHEMA,
    },
    signing::PublicKey,
};

use crate::StoreError;

/// How far a share may be from the one that follows from the counts: it went through decimal digits.
const SHARE_TOLERANCE: f64 = 1e-6;

/// Largest dead letter, in bytes: an S3 key of 1 KiB, escaped, and a line for a person.
pub(crate) const DEAD_LETTER_BYTES_MAX: usize = 16 * 1024;

/// The frame at a key.
pub(crate) fn open_frame(
    key: &str,
    bytes: Vec<u8>,
    root: &PublicKey,
) -> Result<SealedFrame, StoreError> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(StoreError::TooLarge { key: key.to_owned(), bytes_max: ENVELOPE_BYTES_MAX });
    }
    let frame = SealedFrame::open(bytes, root)
        .map_err(|source| StoreError::NotSealed { key: key.to_owned(), source })?;
    belongs(key, key::frame_key(frame.manifest()))?;
    Ok(frame)
}

/// The head of the frame at a key; nothing when more bytes are needed.
pub(crate) fn open_head(
    key: &str,
    bytes: &[u8],
    root: &PublicKey,
) -> Result<Option<SealedHead>, StoreError> {
    match SealedHead::open(bytes, root) {
        Ok(head) => belongs(key, key::frame_key(head.manifest())).map(|()| Some(head)),
        Err(EnvelopeError::Cut(_)) => Ok(None),
        Err(source) => Err(StoreError::NotSealed { key: key.to_owned(), source }),
    }
}

/// As [`open_head`], from all the bytes that a seal can have: there are no more to ask for.
pub(crate) fn open_whole_head(
    key: &str,
    bytes: &[u8],
    root: &PublicKey,
) -> Result<SealedHead, StoreError> {
    let cut =
        || StoreError::NotSealed { key: key.to_owned(), source: EnvelopeError::Cut(bytes.len()) };
    open_head(key, bytes, root)?.ok_or_else(cut)
}

fn belongs(key: &str, belongs: String) -> Result<(), StoreError> {
    if key == belongs { Ok(()) } else { Err(StoreError::WrongKey { key: key.to_owned(), belongs }) }
}

/// A key that a frame can have: anything else is not even asked for.
pub(crate) fn check_frame_key(key: &str) -> Result<(), StoreError> {
    let fits = key::results_prefix(key).is_some();
    fits.then_some(()).ok_or_else(|| StoreError::NoKey { key: key.to_owned(), of: "frames" })
}

/// A key of what can have a dead letter: a frame's or a pack's.
pub(crate) fn check_object_key(key: &str) -> Result<(), StoreError> {
    check_frame_key(key).or_else(|_| check_pack_key(key))
}

/// A key that a pack can have.
pub(crate) fn check_pack_key(key: &str) -> Result<(), StoreError> {
    let fits = key::pack_results_prefix(key).is_some();
    fits.then_some(()).ok_or_else(|| StoreError::NoKey { key: key.to_owned(), of: "packs" })
}

/// The pack in which the frame of a key lies, and the bytes of it that are the frame, at most this many.
pub(crate) fn place_in_pack(
    frame_key: &str,
    within: Within,
    bytes_max: usize,
) -> Result<(String, std::ops::Range<u64>), StoreError> {
    let no_key = || StoreError::NoKey { key: frame_key.to_owned(), of: "frames" };
    let pack = key::pack_of(frame_key).ok_or_else(no_key)?;
    let length = within.length.min(bytes_max as u64);
    let end = within.offset.checked_add(length).ok_or_else(no_key)?;
    Ok((pack, within.offset..end))
}

/// A key or prefix that results can have.
pub(crate) fn check_results_key(key: &str) -> Result<(), StoreError> {
    let fits = key.starts_with(key::RESULTS);
    fits.then_some(()).ok_or_else(|| StoreError::NoKey { key: key.to_owned(), of: "results" })
}

/// The key of a result: beside the frame's key that it names, by model. The same as `proto::key::result_key` of the
/// frame's manifest.
///
/// # Errors
/// When the image that the result names is no key of its frame.
pub fn result_key(result: &FrameResult) -> Result<String, StoreError> {
    let FrameResult { image, frame, model, .. } = result;
    match key::results_prefix(image) {
        Some(prefix) if is_key_of(image, frame) => Ok(place(&prefix, &model.digest)),
        Some(_) | None => {
            let why = format!("its image is no key of frame {frame}");
            Err(StoreError::NotResult { key: image.clone(), why })
        }
    }
}

/// The key of the annotated picture of a result's frame, by model.
///
/// # Errors
/// When the result's image is no key of its frame.
pub fn annotated_key(result: &FrameResult) -> Result<String, StoreError> {
    let FrameResult { image, frame, model, .. } = result;
    match key::annotated_key(image, &model.digest) {
        Some(key) if is_key_of(image, frame) => Ok(key),
        Some(_) | None => {
            let why = format!("its image is no key of frame {frame}");
            Err(StoreError::NotResult { key: image.clone(), why })
        }
    }
}

/// What begins like no JPEG is no picture for a person.
pub(crate) fn check_jpeg(key: &str, bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(StoreError::TooLarge { key: key.to_owned(), bytes_max: ENVELOPE_BYTES_MAX });
    }
    if bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
        return Ok(());
    }
    Err(StoreError::NotResult { key: key.to_owned(), why: "it is no JPEG".to_owned() })
}

fn place(prefix: &str, model: &Digest) -> String {
    format!("{prefix}{model}.json")
}

/// Whether a frame key names this frame. The hour in it is the clip's, which only the manifest knows.
fn is_key_of(image: &str, frame: &FrameId) -> bool {
    let clip = &frame.clip;
    image.starts_with(&format!("{}{}/{}/", key::FRAMES, clip.site, clip.camera))
        && image.ends_with(&format!("/{}-{}-{}.jpg", clip.session, clip.seq, frame.slot))
}

/// Key and bytes of a result that holds together.
pub(crate) fn write_result(result: &FrameResult) -> Result<(String, Vec<u8>), StoreError> {
    let key = result_key(result)?;
    check_result(&key, result)?;
    let bytes = serde_json::to_vec(result)
        .map_err(|e| StoreError::NotResult { key: key.clone(), why: e.to_string() })?;
    if bytes.len() > RESULT_BYTES_MAX {
        return Err(StoreError::TooLarge { key, bytes_max: RESULT_BYTES_MAX });
    }
    Ok((key, bytes))
}

/// The result at a key.
pub(crate) fn read_result(key: &str, bytes: &[u8]) -> Result<FrameResult, StoreError> {
    if bytes.len() > RESULT_BYTES_MAX {
        return Err(StoreError::TooLarge { key: key.to_owned(), bytes_max: RESULT_BYTES_MAX });
    }
    let result: FrameResult = serde_json::from_slice(bytes)
        .map_err(|e| StoreError::NotResult { key: key.to_owned(), why: e.to_string() })?;
    belongs(key, result_key(&result)?)?;
    check_result(key, &result)?;
    Ok(result)
}

/// The key of a clip's result: beside the key of the pack that it names, by model.
///
/// # Errors
/// When that is no key of a pack.
pub fn clip_result_key(result: &ClipResult) -> Result<String, StoreError> {
    check_pack_key(&result.pack)?;
    let prefix = key::pack_results_prefix(&result.pack).unwrap_or_default();
    Ok(place(&prefix, &result.model.digest))
}

/// Key and bytes of a clip's result that holds together.
pub(crate) fn write_clip_result(result: &ClipResult) -> Result<(String, Vec<u8>), StoreError> {
    let key = clip_result_key(result)?;
    check_clip_result(&key, result)?;
    let bytes = serde_json::to_vec(result)
        .map_err(|e| StoreError::NotResult { key: key.clone(), why: e.to_string() })?;
    if bytes.len() > CLIP_RESULT_BYTES_MAX {
        return Err(StoreError::TooLarge { key, bytes_max: CLIP_RESULT_BYTES_MAX });
    }
    Ok((key, bytes))
}

/// The clip's result at a key.
pub(crate) fn read_clip_result(key: &str, bytes: &[u8]) -> Result<ClipResult, StoreError> {
    if bytes.len() > CLIP_RESULT_BYTES_MAX {
        return Err(StoreError::TooLarge { key: key.to_owned(), bytes_max: CLIP_RESULT_BYTES_MAX });
    }
    let result: ClipResult = serde_json::from_slice(bytes)
        .map_err(|e| StoreError::NotResult { key: key.to_owned(), why: e.to_string() })?;
    belongs(key, clip_result_key(&result)?)?;
    check_clip_result(key, &result)?;
    Ok(result)
}

/// Each of its results must hold by itself, be of this pack and this model, and of a frame of its own.
fn check_clip_result(key: &str, result: &ClipResult) -> Result<(), StoreError> {
    let refuse =
        |why: &str| Err(StoreError::NotResult { key: key.to_owned(), why: why.to_owned() });
    if result.schema != RESULT_SCHEMA {
        return refuse("another schema: upgrade the reader");
    }
    if result.frames.is_empty() || result.frames.len() > SLOTS_MAX {
        return refuse("no frame, or more than a clip has");
    }
    for (at, frame) in result.frames.iter().enumerate() {
        result_key(frame)?;
        check_result(key, frame)?;
        let ours = key::pack_of(&frame.image).is_some_and(|pack| pack == result.pack);
        if !ours || frame.model != result.model {
            return refuse("a result in it is of another pack or model");
        }
        if result.frames.iter().skip(at + 1).any(|other| other.frame == frame.frame) {
            return refuse("a frame is in it twice");
        }
    }
    Ok(())
}

/// Key and bytes of a dead letter.
pub(crate) fn write_letter(letter: &DeadLetter) -> Result<(String, Vec<u8>), StoreError> {
    let key = key::dead_letter_key(&letter.key);
    let bytes = serde_json::to_vec(letter)
        .map_err(|e| StoreError::NotResult { key: key.clone(), why: e.to_string() })?;
    if bytes.len() > DEAD_LETTER_BYTES_MAX {
        return Err(StoreError::TooLarge { key, bytes_max: DEAD_LETTER_BYTES_MAX });
    }
    Ok((key, bytes))
}

/// The dead letter of an object. The reason is somebody else's text: whoever shows it cuts and escapes it.
pub(crate) fn read_letter(object_key: &str, bytes: &[u8]) -> Result<DeadLetter, StoreError> {
    let key = key::dead_letter_key(object_key);
    let letter: DeadLetter = serde_json::from_slice(bytes)
        .map_err(|e| StoreError::NotResult { key: key.clone(), why: e.to_string() })?;
    if letter.schema != RESULT_SCHEMA {
        let why = "another schema: upgrade the reader".to_owned();
        return Err(StoreError::NotResult { key, why });
    }
    belongs(&key, key::dead_letter_key(&letter.key))?;
    Ok(letter)
}

/// What nobody may write and nobody believes: another schema, too many faces, probabilities that are none, counts that
/// do not follow from the faces.
fn check_result(key: &str, result: &FrameResult) -> Result<(), StoreError> {
    let refuse =
        |why: &str| Err(StoreError::NotResult { key: key.to_owned(), why: why.to_owned() });
    if result.schema != RESULT_SCHEMA {
        return refuse("another schema: upgrade the reader");
    }
    if result.faces.len() > FACES_MAX {
        return refuse("too many faces");
    }
    for face in &result.faces {
        let inside = face.rect.fits(result.width, result.height);
        let shares = [face.mask, face.no_mask, face.incorrect, face.not_a_face];
        if !inside || face.score_milli > 1000 || !shares.iter().all(|p| (0.0..=1.0).contains(p)) {
            return refuse("a face is out of bounds");
        }
    }
    let (counts, share) = FrameResult::count(&result.faces);
    let told = [result.mask, result.no_mask, result.incorrect, result.uncertain];
    let same_share = match (share, result.share_without_mask) {
        (None, None) => true,
        (Some(a), Some(b)) => (a - b).abs() <= SHARE_TOLERANCE,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if counts != told || !same_share {
        return refuse("its counts do not follow from its faces");
    }
    Ok(())
}
