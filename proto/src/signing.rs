//! Owns ed25519 keys and signatures (by `ring`) and the domain separation of everything that the site signs.

use std::{fmt, str::FromStr};

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::digest::from_hex;

/// Why a key or a signature was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The text is not a key or signature in lowercase hexadecimal.
    #[error("{0} is not lowercase hexadecimal of the right length")]
    Text(&'static str),
    /// The signature does not fit key, domain and content.
    #[error("signature of {0} does not verify")]
    Mismatch(&'static str),
}

/// What a signature speaks of. Two domains never verify each other's signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// The manifest and picture digest of an envelope.
    Envelope,
    /// A grant to seal.
    Grant,
    /// A receipt for a clip.
    Receipt,
}

impl Domain {
    const fn tag(self) -> &'static str {
        match self {
            Self::Envelope => "celosia envelope v1",
            Self::Grant => "celosia grant v1",
            Self::Receipt => "celosia receipt v1",
        }
    }

    /// The domain and each part, every part behind its length, so that no two lists of parts read the same.
    fn message(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut message = self.tag().as_bytes().to_vec();
        for part in parts {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        }
        message
    }
}

/// A private ed25519 key. Never shown, never serialised.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// The key of this 32-byte seed. The caller draws and guards the seed.
    ///
    /// # Errors
    /// When `ring` refuses the seed, which it does for no 32 bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, SigningError> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| SigningError::Text("seed"))
    }

    /// The key whose seed is this text of 64 lowercase hexadecimal digits, as key files hold it.
    ///
    /// # Errors
    /// When the text is anything else (surrounding white space aside).
    pub fn from_hex(text: &str) -> Result<Self, SigningError> {
        let seed = zeroize_on_drop(from_hex(text.trim()).ok_or(SigningError::Text("seed"))?);
        Self::from_seed(&seed)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(self.0.public_key().as_ref()) {
            *to = *from;
        }
        PublicKey(bytes)
    }

    /// Signs the parts under a domain.
    #[must_use]
    pub fn sign(&self, domain: Domain, parts: &[&[u8]]) -> Signature {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(self.0.sign(&domain.message(parts)).as_ref()) {
            *to = *from;
        }
        Signature(bytes)
    }
}

/// The seed on the stack is wiped when the key has been made from it.
fn zeroize_on_drop(seed: [u8; 32]) -> zeroize::Zeroizing<[u8; 32]> {
    zeroize::Zeroizing::new(seed)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

/// A public ed25519 key, 64 lowercase hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Checks a signature over the parts under a domain.
    ///
    /// # Errors
    /// [`SigningError::Mismatch`] when it does not verify.
    pub fn verify(
        &self,
        domain: Domain,
        parts: &[&[u8]],
        signature: &Signature,
    ) -> Result<(), SigningError> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(&domain.message(parts), &signature.0)
            .map_err(|_| SigningError::Mismatch(domain.tag()))
    }
}

/// An ed25519 signature, 128 lowercase hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature([u8; 64]);

impl Signature {
    /// A signature read from 64 bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = SigningError;
    fn from_str(text: &str) -> Result<Self, SigningError> {
        from_hex(text.trim()).map(Self).ok_or(SigningError::Text("public key"))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = SigningError;
    fn try_from(text: String) -> Result<Self, SigningError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl TryFrom<String> for Signature {
    type Error = SigningError;
    fn try_from(text: String) -> Result<Self, SigningError> {
        from_hex(&text).map(Self).ok_or(SigningError::Text("signature"))
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        format!("{signature:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_own_domain_and_parts_only() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let signature = key.sign(Domain::Receipt, &[b"ab", b"c"]);
        assert!(key.public().verify(Domain::Receipt, &[b"ab", b"c"], &signature).is_ok());
        assert!(key.public().verify(Domain::Envelope, &[b"ab", b"c"], &signature).is_err());
        assert!(key.public().verify(Domain::Receipt, &[b"a", b"bc"], &signature).is_err());
        let other = SigningKey::from_seed(&[8; 32]).unwrap();
        assert!(other.public().verify(Domain::Receipt, &[b"ab", b"c"], &signature).is_err());
    }

    #[test]
    fn a_private_key_does_not_show_itself() {
        let key = SigningKey::from_hex(&"07".repeat(32)).unwrap();
        assert!(!format!("{key:?}").contains(&"07".repeat(8)));
    }
}
