//! Owns keys: the device key, the keys of single records, and how the one wraps the other.
//!
//! ```text
//! key file: "CELSPKEY" version:u16 0:u16 | nonce (12 bytes) | record key and tag under the device key (48 bytes)
//!   associated data = "celosia spool record key" 0 name; a destroyed key file is all zero bytes
//! ```
//!
//! The device key wraps with random nonces: 2^32 records stay far below the collision bound of 96 bits (a gateway with
//! 100 cameras and 10 s clips needs 13 years for so many).

use std::{
    fmt, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use crate::RecordName;

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const WRAPPED_BYTES: usize = NONCE_LEN + KEY_BYTES + TAG_BYTES;
const MAGIC: [u8; 12] = *b"CELSPKEY\x01\x00\x00\x00";
/// Bytes of a key file.
pub(crate) const KEY_FILE_BYTES: usize = MAGIC.len() + WRAPPED_BYTES;
const RECORD_DOMAIN: &[u8] = b"celosia spool record key";
const CHECK_DOMAIN: &[u8] = b"celosia spool key check";

/// The key of a device, under which the keys of its records are wrapped. Wiped on drop, never shown.
pub struct DeviceKey(Zeroizing<[u8; KEY_BYTES]>);

/// Why there is no device key.
#[derive(Debug, thiserror::Error)]
pub enum DeviceKeyError {
    /// The file cannot be read or written.
    #[error("device key {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner can read the file.
    #[error("device key {path} has mode {mode:o}: others may have read it, use 600")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a key.
    #[error(
        "device key {path} is not 64 hexadecimal digits: restore it, the spool cannot be read without"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("no random numbers from the system")]
    NoRandomness,
}

impl DeviceKey {
    /// A key from elsewhere, such as a TPM.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads the key in a file, or draws one and keeps it there, readable by its owner only. Warns: with the key in a
    /// file nothing is claimed about a stolen disk.
    ///
    /// # Errors
    /// When the file cannot be read or made, is readable by others, or is not a key. A damaged key is never replaced.
    pub fn load_or_create(path: &Path) -> Result<Self, DeviceKeyError> {
        let io_error = |source| DeviceKeyError::Io { path: path.to_owned(), source };
        tracing::warn!(
            "device key lies in a file: no claim is made about a stolen disk that has both key and spool"
        );
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::create(path),
            Err(error) => return Err(io_error(error)),
        };
        let mode = std::fs::metadata(path).map_err(io_error)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(DeviceKeyError::Exposed { path: path.to_owned(), mode });
        }
        let malformed = || DeviceKeyError::Malformed { path: path.to_owned() };
        let bytes = from_hex::<KEY_BYTES>(text.trim_end()).ok_or_else(malformed)?;
        Ok(Self::from_bytes(bytes))
    }

    fn create(path: &Path) -> Result<Self, DeviceKeyError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        SystemRandom::new().fill(bytes.as_mut()).map_err(|_| DeviceKeyError::NoRandomness)?;
        let text = Zeroizing::new(to_hex(bytes.as_ref()) + "\n");
        base::files::write_durable(path, text.as_bytes())
            .map_err(|source| DeviceKeyError::Io { path: path.to_owned(), source })?;
        Ok(Self(bytes))
    }

    /// Draws a key for a record: the key, and the bytes of its key file. None when there is no randomness.
    pub(crate) fn draw(&self, name: &RecordName) -> Option<(LessSafeKey, Vec<u8>)> {
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        SystemRandom::new().fill(secret.as_mut()).ok()?;
        let wrapped = self.wrap(&name_aad(name), secret.as_ref())?;
        Some((aead(&secret)?, [MAGIC.as_slice(), &wrapped].concat()))
    }

    /// Opens the key file of a record. None when it is damaged or of another record or device.
    pub(crate) fn open(&self, name: &RecordName, file: &[u8]) -> Option<LessSafeKey> {
        let wrapped = file.strip_prefix(MAGIC.as_slice())?;
        let secret = Zeroizing::new(self.unwrap(&name_aad(name), wrapped)?);
        aead(secret.first_chunk()?)
    }

    /// A text by which this key is known again.
    pub(crate) fn make_check(&self) -> Option<String> {
        Some(to_hex(&self.wrap(CHECK_DOMAIN, &[0; KEY_BYTES])?))
    }

    /// Whether a text was made by this key.
    pub(crate) fn matches(&self, check: &str) -> bool {
        from_hex::<WRAPPED_BYTES>(check)
            .is_some_and(|wrapped| self.unwrap(CHECK_DOMAIN, &wrapped).is_some())
    }

    fn wrap(&self, aad: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = secret.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        let tag = aead(&self.0)?.seal_in_place_separate_tag(unique, Aad::from(aad), &mut sealed);
        Some([nonce.as_slice(), &sealed, tag.ok()?.as_ref()].concat())
    }

    fn unwrap(&self, aad: &[u8], wrapped: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        aead(&self.0)?.open_in_place(nonce, Aad::from(aad), &mut sealed).ok()?;
        sealed.truncate(KEY_BYTES);
        Some(sealed)
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(..)")
    }
}

/// Whether a key file was destroyed by a removal that may not have come to its end, or not even to the file's end.
pub(crate) fn is_destroyed(file: &[u8]) -> bool {
    file.starts_with(&[0; MAGIC.len()])
}

fn aead(secret: &[u8; KEY_BYTES]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).ok()?))
}

fn name_aad(name: &RecordName) -> Vec<u8> {
    [RECORD_DOMAIN, &[0], name.as_str().as_bytes()].concat()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let nibbles = pair.iter().map(|d| char::from(*d).to_digit(16));
        for nibble in nibbles {
            *byte = *byte << 4 | u8::try_from(nibble?).ok()?;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_key_is_made_once_for_its_owner_only_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.key");
        let made = DeviceKey::load_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = DeviceKey::load_or_create(&path).unwrap();
        assert_eq!(made.0, again.0);
        assert_eq!(format!("{made:?}"), "DeviceKey(..)");
    }

    #[test]
    fn a_key_file_that_others_can_read_or_that_is_damaged_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.key");
        drop(DeviceKey::load_or_create(&path).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = DeviceKey::load_or_create(&path).unwrap_err();
        assert!(matches!(error, DeviceKeyError::Exposed { mode: 0o644, .. }), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "00ff").unwrap();
        let error = DeviceKey::load_or_create(&path).unwrap_err();
        assert!(matches!(error, DeviceKeyError::Malformed { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"00ff");
    }

    #[test]
    fn a_wrapped_key_opens_for_its_record_and_its_device_only() {
        let device = DeviceKey::from_bytes([7; 32]);
        let name = RecordName::new("clip-1").unwrap();
        let (_, file) = device.draw(&name).unwrap();
        assert_eq!(file.len(), KEY_FILE_BYTES);
        assert!(device.open(&name, &file).is_some());
        assert!(device.open(&RecordName::new("clip-2").unwrap(), &file).is_none());
        assert!(DeviceKey::from_bytes([8; 32]).open(&name, &file).is_none());
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(device.open(&name, &changed).is_none(), "byte {at} may change unseen");
            assert!(device.open(&name, &file[..at]).is_none(), "{at} bytes are enough");
        }
    }
}
