//! Owns the bytes of a record file and of a note. Pure: no disk, no clock, no random source.
//!
//! ```text
//! record: "CELSPOOL" version:u16 protection:u8 0:u8 json_bytes:u32 | JSON header | payload
//!   JSON header: {"name", "sequence", "header_bytes", "body_bytes"}, at most 1 KiB
//!   plain payload:     caller's header, body, BLAKE3 of all before it (32 bytes)
//!   encrypted payload: caller's header and body in segments of 64 KiB (the last shorter, at least one), each
//!                      followed by its 16 byte tag: AES-256-GCM, nonce = 0:u32 index:u64 big-endian,
//!                      associated data = BLAKE3 of fixed and JSON header, index:u64, last:u8
//! note:   "CELSNOTE" version:u16 0:u16 | BLAKE3 of name, 0 and content (32 bytes) | content
//! ```
//!
//! Integers are little-endian unless said otherwise. A counter as nonce is safe because a record's key seals one file.

use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use serde::{Deserialize, Serialize};

use crate::RecordName;

/// A clip is at most 64 MiB; a commit of the bridge at most 64 envelopes of 4 MiB, and what frames them.
pub const BODY_BYTES_MAX: u64 = 320 * 1024 * 1024;
/// Metadata of a clip, or the record of 64 slots: far below.
pub const HEADER_BYTES_MAX: u64 = 1024 * 1024;
/// An attempt count and what goes with it.
pub const NOTE_BYTES_MAX: u64 = 4096;

const MAGIC: &[u8; 8] = b"CELSPOOL";
const NOTE_MAGIC: &[u8; 8] = b"CELSNOTE";
/// Raised together with the version in `spool.json`, so that an older program refuses the folder
/// instead of taking each newer record for a damaged one.
const VERSION: u16 = 1;
const FIXED_BYTES: usize = 16;
const NOTE_FIXED_BYTES: usize = 12;
/// A name of 200 bytes and three numbers take less than half of it.
const JSON_BYTES_MAX: usize = 1024;
/// As much of a file as has to be read to know what it is.
pub(crate) const PREFIX_BYTES_MAX: usize = FIXED_BYTES + JSON_BYTES_MAX;
const SEGMENT_BYTES: usize = 64 * 1024;
const TAG_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

/// What a record holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The caller's metadata.
    pub header: Vec<u8>,
    /// The caller's bytes.
    pub body: Vec<u8>,
}

/// Sizes only: a body may be raw video.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (header, body) = (self.header.len(), self.body.len());
        write!(f, "Record({header} + {body} bytes)")
    }
}

/// How the bytes of a record or note are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Too short, or another kind of file.
    #[error("it is not a file of a spool")]
    NotOurs,
    /// Written by a newer version.
    #[error("its format version is {0}, this program reads version {VERSION}")]
    Version(u16),
    /// The header cannot be understood or is beyond the limits.
    #[error("its header is not valid")]
    Header,
    /// It is another record's file.
    #[error("it holds the record {0}")]
    OtherName(RecordName),
    /// The file has not the length that its header says.
    #[error("it has {found} bytes instead of {expected}")]
    Length {
        /// Bytes there.
        found: u64,
        /// Bytes that should be there.
        expected: u64,
    },
    /// The digest over a plain record or a note does not match.
    #[error("its digest does not match its content")]
    Digest,
    /// A segment was not sealed with this record's key, at this place.
    #[error("its segment {0} does not open")]
    Segment(u64),
    /// The key file is missing or damaged.
    #[error("its key is missing or damaged")]
    Key,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonHeader {
    name: RecordName,
    sequence: u64,
    header_bytes: u64,
    body_bytes: u64,
}

/// The understood beginning of a record file.
#[derive(Debug)]
pub(crate) struct Prefix {
    json: JsonHeader,
    encrypted: bool,
    bytes: usize,
}

impl Prefix {
    /// Reads the beginning of a file; more bytes may follow.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let (fixed, rest) = bytes.split_first_chunk::<FIXED_BYTES>().ok_or(FormatError::NotOurs)?;
        let [magic @ .., v0, v1, protection, zero, j0, j1, j2, j3] = fixed;
        if magic != MAGIC {
            return Err(FormatError::NotOurs);
        }
        let version = u16::from_le_bytes([*v0, *v1]);
        if version != VERSION {
            return Err(FormatError::Version(version));
        }
        let length =
            usize::try_from(u32::from_le_bytes([*j0, *j1, *j2, *j3])).unwrap_or(usize::MAX);
        if length > JSON_BYTES_MAX || *protection > 1 || *zero != 0 {
            return Err(FormatError::Header);
        }
        let text = rest.get(..length).ok_or(FormatError::Header)?;
        let json: JsonHeader = serde_json::from_slice(text).map_err(|_| FormatError::Header)?;
        if json.header_bytes > HEADER_BYTES_MAX || json.body_bytes > BODY_BYTES_MAX {
            return Err(FormatError::Header);
        }
        Ok(Self { json, encrypted: *protection == 1, bytes: FIXED_BYTES + length })
    }

    pub(crate) fn check_name(&self, name: &RecordName) -> Result<(), FormatError> {
        let same = self.json.name == *name;
        if same { Ok(()) } else { Err(FormatError::OtherName(self.json.name.clone())) }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.json.sequence
    }

    /// Bytes of the whole file.
    pub(crate) fn file_bytes(&self) -> u64 {
        let payload = self.json.header_bytes + self.json.body_bytes;
        let extra = if self.encrypted {
            payload.div_ceil(SEGMENT_BYTES as u64).max(1) * TAG_BYTES as u64
        } else {
            DIGEST_BYTES as u64
        };
        self.bytes as u64 + payload + extra
    }

    fn check_length(&self, found: u64) -> Result<(), FormatError> {
        let expected = self.file_bytes();
        if found == expected { Ok(()) } else { Err(FormatError::Length { found, expected }) }
    }

    /// Checks what can be known of a file without reading its payload.
    pub(crate) fn check(&self, name: &RecordName, file_bytes: u64) -> Result<(), FormatError> {
        self.check_name(name)?;
        self.check_length(file_bytes)
    }
}

/// The bytes of a record file. With a key: encrypted; the key must never seal a second file.
pub(crate) fn encode(
    name: &RecordName,
    sequence: u64,
    header: &[u8],
    body: &[u8],
    key: Option<&LessSafeKey>,
) -> Result<Vec<u8>, FormatError> {
    let (header_bytes, body_bytes) = (header.len() as u64, body.len() as u64);
    let json = JsonHeader { name: name.clone(), sequence, header_bytes, body_bytes };
    let text = serde_json::to_vec(&json).map_err(|_| FormatError::Header)?;
    let encrypted = key.is_some();
    let prefix = Prefix { json, encrypted, bytes: FIXED_BYTES + text.len() };
    let file_bytes = usize::try_from(prefix.file_bytes()).map_err(|_| FormatError::Header)?;
    // Reserved once: growing would leave copies of the plaintext in freed memory.
    let mut out = Vec::with_capacity(file_bytes);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[u8::from(encrypted), 0]);
    let json_bytes = u32::try_from(text.len()).map_err(|_| FormatError::Header)?;
    out.extend_from_slice(&json_bytes.to_le_bytes());
    out.extend_from_slice(&text);
    match key {
        Some(key) => seal_segments(&mut out, header, body, key)?,
        None => {
            out.extend_from_slice(header);
            out.extend_from_slice(body);
            let digest = blake3::hash(&out);
            out.extend_from_slice(digest.as_bytes());
        }
    }
    // The pair of the check after reading: what is written is what will be accepted.
    let written = Prefix::parse(&out)?;
    written.check(name, out.len() as u64)?;
    Ok(out)
}

/// Opens a whole record file.
pub(crate) fn decode(
    bytes: &[u8],
    name: &RecordName,
    key: Option<&LessSafeKey>,
) -> Result<Record, FormatError> {
    let prefix = Prefix::parse(bytes)?;
    prefix.check(name, bytes.len() as u64)?;
    let (head, rest) = bytes.split_at_checked(prefix.bytes).ok_or(FormatError::NotOurs)?;
    let payload = match (prefix.encrypted, key) {
        (true, Some(key)) => open_segments(head, rest, key)?,
        (false, None) => {
            let (covered, digest) =
                bytes.split_last_chunk::<DIGEST_BYTES>().ok_or(FormatError::Digest)?;
            if blake3::hash(covered) != blake3::Hash::from_bytes(*digest) {
                return Err(FormatError::Digest);
            }
            covered.get(prefix.bytes..).ok_or(FormatError::NotOurs)?.to_vec()
        }
        (true, None) | (false, Some(_)) => return Err(FormatError::Key),
    };
    let header_bytes =
        usize::try_from(prefix.json.header_bytes).map_err(|_| FormatError::Header)?;
    let mut header = payload;
    if header.len() < header_bytes {
        return Err(FormatError::Header);
    }
    let body = header.split_off(header_bytes);
    Ok(Record { header, body })
}

fn seal_segments(
    out: &mut Vec<u8>,
    header: &[u8],
    body: &[u8],
    key: &LessSafeKey,
) -> Result<(), FormatError> {
    let binding = blake3::hash(out);
    let (mut header, mut body) = (header, body);
    for index in 0.. {
        let start = out.len();
        for part in [&mut header, &mut body] {
            let room = SEGMENT_BYTES - (out.len() - start);
            let (now, later) = part.split_at(part.len().min(room));
            out.extend_from_slice(now);
            *part = later;
        }
        let last = header.is_empty() && body.is_empty();
        let segment = out.get_mut(start..).ok_or(FormatError::Segment(index))?;
        let tag = key
            .seal_in_place_separate_tag(nonce(index), segment_aad(&binding, index, last), segment)
            .map_err(|_| FormatError::Segment(index))?;
        out.extend_from_slice(tag.as_ref());
        if last {
            break;
        }
    }
    Ok(())
}

fn open_segments(head: &[u8], rest: &[u8], key: &LessSafeKey) -> Result<Vec<u8>, FormatError> {
    let binding = blake3::hash(head);
    let mut payload = Vec::with_capacity(rest.len());
    let mut sealed = rest;
    for index in 0.. {
        let (now, later) = sealed.split_at(sealed.len().min(SEGMENT_BYTES + TAG_BYTES));
        sealed = later;
        let start = payload.len();
        payload.extend_from_slice(now);
        let aad = segment_aad(&binding, index, later.is_empty());
        let segment = payload.get_mut(start..).ok_or(FormatError::Segment(index))?;
        let open = key.open_in_place(nonce(index), aad, segment);
        let open = open.map_err(|_| FormatError::Segment(index))?.len();
        payload.truncate(start + open);
        if later.is_empty() {
            break;
        }
    }
    Ok(payload)
}

fn nonce(index: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    if let Some(counter) = bytes.last_chunk_mut::<8>() {
        *counter = index.to_be_bytes();
    }
    Nonce::assume_unique_for_key(bytes)
}

fn segment_aad(binding: &blake3::Hash, index: u64, last: bool) -> Aad<[u8; DIGEST_BYTES + 9]> {
    let mut bytes = [u8::from(last); DIGEST_BYTES + 9];
    let numbers = binding.as_bytes().iter().copied().chain(index.to_le_bytes());
    bytes.iter_mut().zip(numbers).for_each(|(to, from)| *to = from);
    Aad::from(bytes)
}

/// The bytes of a note file.
pub(crate) fn encode_note(name: &RecordName, content: &[u8]) -> Vec<u8> {
    let version = VERSION.to_le_bytes();
    [NOTE_MAGIC, version.as_slice(), &[0, 0], note_digest(name, content).as_bytes(), content]
        .concat()
}

/// Opens a note file.
pub(crate) fn decode_note(bytes: &[u8], name: &RecordName) -> Result<Vec<u8>, FormatError> {
    let (fixed, rest) =
        bytes.split_first_chunk::<NOTE_FIXED_BYTES>().ok_or(FormatError::NotOurs)?;
    let [magic @ .., v0, v1, z0, z1] = fixed;
    let version = u16::from_le_bytes([*v0, *v1]);
    let (digest, content) = rest.split_first_chunk::<DIGEST_BYTES>().ok_or(FormatError::NotOurs)?;
    if magic != NOTE_MAGIC || [*z0, *z1] != [0, 0] {
        return Err(FormatError::NotOurs);
    }
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    let fits = note_digest(name, content) == blake3::Hash::from_bytes(*digest);
    if fits { Ok(content.to_vec()) } else { Err(FormatError::Digest) }
}

/// Bytes that a note file adds to its content.
pub(crate) const NOTE_FRAME_BYTES: u64 = (NOTE_FIXED_BYTES + DIGEST_BYTES) as u64;

fn note_digest(name: &RecordName, content: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_str().as_bytes()).update(&[0]).update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
