//! Owns the envelope: a plain JPEG whose first application segments carry a signed manifest.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | SOI, `FF D8` |
//! | 1 to [`SEGMENTS_MAX`] times: 2 + 2 + 8 + 1 + 1 + 1 + up to 65,522 | `FF EB` (APP11), length, `CELOSIA\0`, format version, index, count, part of the block |
//! | rest | the picture after its own SOI, untouched |
//!
//! The joined block is: `u32` length and manifest JSON, 32 bytes digest of the picture, 64 bytes signature,
//! `u32` length and grant JSON (all big-endian). The picture's digest is over SOI and rest, that is, the JPEG as it
//! was encoded. The signature covers the manifest exactly as stored and that digest. One segment is the rule; a
//! frame with some hundreds of faces needs more, since a JPEG segment ends at 64 KiB.
//!
//! [`SealedFrame::open`] is the only way in.

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Manifest, SiteId, UtcTime,
    limits::{ENVELOPE_BYTES_MAX, MANIFEST_BYTES_MAX},
    manifest::ManifestError,
    signing::{Domain, PublicKey, Signature, SigningError, SigningKey},
};

/// Version of the segment that this build writes and reads.
pub const ENVELOPE_VERSION: u8 = 1;
/// Most segments of one block: enough for [`MANIFEST_BYTES_MAX`].
pub const SEGMENTS_MAX: usize = 9;
/// The block of an ordinary frame lies within this many first bytes, for readers that fetch a range.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Most policies that one grant names.
const GRANT_POLICIES_MAX: usize = 32;
/// A grant is small: key, site, two times and a few digests.
const GRANT_BYTES_MAX: usize = 8 * 1024;

const SOI: [u8; 2] = [0xFF, 0xD8];
const APP11: [u8; 2] = [0xFF, 0xEB];
const MAGIC: &[u8; 8] = b"CELOSIA\0";
/// A segment's length field counts itself (2), magic (8), version, index and count (3).
const SEGMENT_OVERHEAD: usize = 13;
const SEGMENT_DATA_MAX: usize = 65_535 - SEGMENT_OVERHEAD;

/// Why bytes are not an envelope, or not one to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not a JPEG that carries a seal.
    #[error("not sealed: {0}")]
    NotSealed(&'static str),
    /// A seal of another version.
    #[error("envelope version {0} is not {ENVELOPE_VERSION}: upgrade the reader")]
    Version(u8),
    /// The bytes end within the seal; a reader of a range fetches more.
    #[error("the seal is cut short after {0} bytes")]
    Cut(usize),
    /// Over a bound.
    #[error("{0} is over its limit")]
    TooLarge(&'static str),
    /// The manifest is not one.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The grant is not one.
    #[error("grant is not of the expected form: {0}")]
    Grant(String),
    /// The grant does not cover this frame.
    #[error("grant does not cover frame {frame}: {why}")]
    NotGranted {
        /// The frame.
        frame: String,
        /// What is not covered.
        why: &'static str,
    },
    /// A signature does not verify.
    #[error(transparent)]
    Signature(#[from] SigningError),
    /// The picture is not the one that was sealed.
    #[error("picture of frame {0} is not the one that was sealed")]
    Picture(String),
}

/// The site's permission for one fog key to seal frames. Signed by the seal root at enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealGrant {
    /// The key that may seal.
    pub fog_key: PublicKey,
    /// The site whose frames it may seal.
    pub site: SiteId,
    /// First instant of validity, judged at seal time.
    pub not_before: UtcTime,
    /// Last instant of validity, judged at seal time.
    pub not_after: UtcTime,
    /// Digests of the policies under which it may seal.
    pub policies: Vec<Digest>,
    /// By the seal root, over all of the above.
    pub signature: Signature,
}

impl SealGrant {
    /// Issues a grant.
    #[must_use]
    pub fn issue(
        root: &SigningKey,
        fog_key: PublicKey,
        site: SiteId,
        not_before: UtcTime,
        not_after: UtcTime,
        policies: Vec<Digest>,
    ) -> Self {
        let message = Self::message(&fog_key, &site, not_before, not_after, &policies);
        let signature = root.sign(Domain::Grant, &[&message]);
        Self { fog_key, site, not_before, not_after, policies, signature }
    }

    /// Checks the root's signature.
    ///
    /// # Errors
    /// [`SigningError::Mismatch`] when another key signed, or the grant was changed.
    pub fn verify(&self, root: &PublicKey) -> Result<(), SigningError> {
        let message = Self::message(
            &self.fog_key,
            &self.site,
            self.not_before,
            self.not_after,
            &self.policies,
        );
        root.verify(Domain::Grant, &[&message], &self.signature)
    }

    fn message(
        key: &PublicKey,
        site: &SiteId,
        from: UtcTime,
        to: UtcTime,
        policies: &[Digest],
    ) -> Vec<u8> {
        let policies: Vec<String> = policies.iter().map(ToString::to_string).collect();
        format!("{key}|{site}|{}|{}|{}", from.micros(), to.micros(), policies.join(","))
            .into_bytes()
    }

    fn covers(&self, manifest: &Manifest) -> Result<(), EnvelopeError> {
        let refuse =
            |why| Err(EnvelopeError::NotGranted { frame: manifest.frame.to_string(), why });
        if manifest.frame.clip.site != self.site {
            return refuse("it is for another site");
        }
        if !self.policies.contains(&manifest.policy.digest) {
            return refuse("its policy is not granted");
        }
        Ok(())
    }
}

/// Seals a picture: the one function that makes an envelope.
///
/// # Errors
/// When the picture is no JPEG, a bound is broken, or the grant is not for this key, site and policy.
pub fn seal(
    manifest: &Manifest,
    jpeg: &[u8],
    key: &SigningKey,
    grant: &SealGrant,
) -> Result<Vec<u8>, EnvelopeError> {
    let rest = jpeg.strip_prefix(&SOI).ok_or(EnvelopeError::NotSealed("picture is no JPEG"))?;
    grant.covers(manifest)?;
    if grant.fog_key != key.public() {
        let frame = manifest.frame.to_string();
        return Err(EnvelopeError::NotGranted { frame, why: "it is for another key" });
    }
    let manifest = manifest.to_json()?;
    let picture = Digest::of(jpeg);
    let signature = key.sign(Domain::Envelope, &[&manifest, picture.as_bytes()]);
    let grant = serde_json::to_vec(grant).map_err(|e| EnvelopeError::Grant(e.to_string()))?;
    let mut block = length(&manifest, MANIFEST_BYTES_MAX, "manifest")?.to_vec();
    block.extend_from_slice(&manifest);
    block.extend_from_slice(picture.as_bytes());
    block.extend_from_slice(signature.as_bytes());
    block.extend_from_slice(&length(&grant, GRANT_BYTES_MAX, "grant")?);
    block.extend_from_slice(&grant);
    let mut bytes = SOI.to_vec();
    append_segments(&mut bytes, &block)?;
    bytes.extend_from_slice(rest);
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(EnvelopeError::TooLarge("envelope"));
    }
    Ok(bytes)
}

fn length(part: &[u8], max: usize, what: &'static str) -> Result<[u8; 4], EnvelopeError> {
    let too_large = EnvelopeError::TooLarge(what);
    if part.len() > max {
        return Err(too_large);
    }
    u32::try_from(part.len()).map(u32::to_be_bytes).map_err(|_| too_large)
}

fn append_segments(bytes: &mut Vec<u8>, block: &[u8]) -> Result<(), EnvelopeError> {
    let parts = block.chunks(SEGMENT_DATA_MAX);
    let too_large = || EnvelopeError::TooLarge("seal");
    let count = u8::try_from(parts.len()).map_err(|_| too_large())?;
    if usize::from(count) > SEGMENTS_MAX {
        return Err(too_large());
    }
    for (index, part) in (0u8..).zip(parts) {
        let length = u16::try_from(part.len() + SEGMENT_OVERHEAD).map_err(|_| too_large())?;
        bytes.extend_from_slice(&APP11);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[ENVELOPE_VERSION, index, count]);
        bytes.extend_from_slice(part);
    }
    Ok(())
}

/// A manifest whose signature and grant hold, without its picture: all that inference needs.
#[derive(Debug, Clone)]
pub struct SealedHead {
    manifest: Manifest,
    picture: Digest,
    /// First and last instants at which the grant allows sealing.
    granted: (UtcTime, UtcTime),
    /// Where the picture goes on after SOI and seal.
    rest_at: usize,
}

impl SealedHead {
    /// Opens the seal from the first bytes of an envelope. [`EnvelopeError::Cut`] asks for more of them.
    ///
    /// # Errors
    /// Whenever anything is not exactly as a granted fog node writes it.
    pub fn open(bytes: &[u8], root: &PublicKey) -> Result<Self, EnvelopeError> {
        let (block, rest_at) = join_segments(bytes)?;
        let mut reader = Reader(&block);
        let manifest_json = reader.part(MANIFEST_BYTES_MAX, "manifest")?;
        let picture = Digest::new(reader.array()?);
        let signature = Signature::new(reader.array()?);
        let grant = reader.part(GRANT_BYTES_MAX, "grant")?;
        if !reader.0.is_empty() {
            return Err(EnvelopeError::NotSealed("bytes after the grant"));
        }
        let grant: SealGrant =
            serde_json::from_slice(grant).map_err(|e| EnvelopeError::Grant(e.to_string()))?;
        if grant.policies.len() > GRANT_POLICIES_MAX {
            return Err(EnvelopeError::TooLarge("grant"));
        }
        grant.verify(root)?;
        grant.fog_key.verify(Domain::Envelope, &[manifest_json, picture.as_bytes()], &signature)?;
        let manifest = Manifest::from_json(manifest_json)?;
        grant.covers(&manifest)?;
        let granted = (grant.not_before, grant.not_after);
        Ok(Self { manifest, picture, granted, rest_at })
    }

    /// How many of the first bytes it was opened from: in a row of heads the next one begins there.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.rest_at
    }

    /// The manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// An envelope whose every signature and digest holds.
#[derive(Clone)]
pub struct SealedFrame {
    head: SealedHead,
    bytes: Vec<u8>,
}

impl SealedFrame {
    /// Opens an envelope: the only way in.
    ///
    /// # Errors
    /// Whenever anything is not exactly as a granted fog node writes it.
    pub fn open(bytes: Vec<u8>, root: &PublicKey) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLarge("envelope"));
        }
        let head = SealedHead::open(&bytes, root)?;
        let frame = Self { head, bytes };
        if Digest::of(&frame.jpeg()) != frame.head.picture {
            return Err(EnvelopeError::Picture(frame.manifest().frame.to_string()));
        }
        Ok(frame)
    }

    /// The manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.head.manifest
    }

    /// First and last instants at which the grant allows sealing. Judged once, by the bridge when the frame is committed:
    /// what was sealed in time stays good when the grant has ended.
    #[must_use]
    pub const fn granted(&self) -> (UtcTime, UtcTime) {
        self.head.granted
    }

    /// The redacted picture as it was encoded, without the seal.
    #[must_use]
    pub fn jpeg(&self) -> Vec<u8> {
        let rest = self.bytes.get(self.head.rest_at..).unwrap_or_default();
        [&SOI, rest].concat()
    }

    /// The first bytes, from which a [`SealedHead`] opens, and no more.
    #[must_use]
    pub fn head_bytes(&self) -> &[u8] {
        self.bytes.get(..self.head.rest_at).unwrap_or_default()
    }

    /// The whole envelope.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Digest of the whole envelope: the frame digest of a `ClipRecord`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

impl std::fmt::Debug for SealedFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedFrame({}, {} bytes)", self.manifest().frame, self.bytes.len())
    }
}

/// The joined block and the offset at which the picture goes on.
fn join_segments(bytes: &[u8]) -> Result<(Vec<u8>, usize), EnvelopeError> {
    let mut reader = Reader(bytes);
    if reader.array::<2>()? != SOI {
        return Err(EnvelopeError::NotSealed("no JPEG"));
    }
    let mut block = Vec::new();
    let mut expected = 0u8;
    loop {
        if reader.array::<2>()? != APP11 {
            return Err(EnvelopeError::NotSealed("no application segment after SOI"));
        }
        let length = usize::from(u16::from_be_bytes(reader.array()?));
        if reader.array::<8>()? != *MAGIC {
            return Err(EnvelopeError::NotSealed("another application's segment"));
        }
        let [version, index, count] = reader.array()?;
        if version != ENVELOPE_VERSION {
            return Err(EnvelopeError::Version(version));
        }
        if index != expected || index >= count || usize::from(count) > SEGMENTS_MAX {
            return Err(EnvelopeError::NotSealed("segments out of order"));
        }
        let data = length
            .checked_sub(SEGMENT_OVERHEAD)
            .ok_or(EnvelopeError::NotSealed("segment length"))?;
        block.extend_from_slice(reader.take(data)?);
        expected += 1;
        if expected == count {
            return Ok((block, bytes.len() - reader.0.len()));
        }
    }
}

/// Takes parts off the front of bytes; whatever is missing is [`EnvelopeError::Cut`].
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], EnvelopeError> {
        let (part, rest) =
            self.0.split_at_checked(count).ok_or(EnvelopeError::Cut(self.0.len()))?;
        self.0 = rest;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EnvelopeError> {
        let (part, rest) = self.0.split_first_chunk().ok_or(EnvelopeError::Cut(self.0.len()))?;
        self.0 = rest;
        Ok(*part)
    }

    fn part(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], EnvelopeError> {
        let length = u32::from_be_bytes(self.array()?);
        let length = usize::try_from(length).map_err(|_| EnvelopeError::TooLarge(what))?;
        if length > max {
            return Err(EnvelopeError::TooLarge(what));
        }
        self.take(length)
    }
}

#[cfg(test)]
mod tests;
