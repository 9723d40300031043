//! Owns what a site draws once and keeps for itself: key seeds, secrets and the operator's password.

use std::{fs, path::Path};

use proto::signing::SigningKey;
use ring::rand::{SecureRandom, SystemRandom};

use super::{SiteError, keep};

/// Random bytes of the system.
pub(super) fn draw<const N: usize>() -> Result<[u8; N], SiteError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SiteError::NoRandom)?;
    Ok(bytes)
}

/// The text of a file, or of a new one with what `fresh` gives.
fn load_or_create(
    path: &Path,
    fresh: impl FnOnce() -> Result<String, SiteError>,
) -> Result<String, SiteError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = fresh()?;
            keep(path, format!("{text}\n").as_bytes())?;
            Ok(text)
        }
        Err(error) => Err(SiteError::file(path, error)),
    }
}

/// 64 hexadecimal digits.
pub(super) fn secret(path: &Path) -> Result<String, SiteError> {
    load_or_create(path, || Ok(draw::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// A signing key by the file of its seed.
pub(super) fn signing_key(path: &Path) -> Result<SigningKey, SiteError> {
    let refused = |e| SiteError::Key { path: path.to_owned(), source: e };
    SigningKey::from_hex(&secret(path)?).map_err(refused)
}

/// Letters and digits that cannot be taken for one another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A password for a person: 20 of 32 letters and digits, 100 bits.
pub(super) fn password(path: &Path) -> Result<String, SiteError> {
    load_or_create(path, || {
        let letter = |byte: &u8| {
            let letter = LETTERS.iter().cycle().nth(usize::from(*byte));
            letter.copied().map(char::from)
        };
        Ok(draw::<20>()?.iter().filter_map(letter).collect())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_drawn_once_and_are_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let first = secret(&one).unwrap();
        assert_eq!((first.len(), secret(&one).unwrap()), (64, first.clone()));
        assert_ne!(secret(&two).unwrap(), first);
        assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(password(&folder.path().join("password")).unwrap().len(), 20);
        signing_key(&one).unwrap();
    }

    #[test]
    fn a_key_file_that_is_none_is_told_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "short").unwrap();
        assert!(signing_key(&path).unwrap_err().to_string().contains("key"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
    }
}
