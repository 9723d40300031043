//! Owns the names of records, which are also file names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// With the longest ending (`.note`) still well under the 255 bytes of a file name.
const NAME_BYTES_MAX: usize = 200;

/// A name of 1 to 200 of `a-z`, `0-9`, `.`, `_` and `-`. Files always carry an ending, so `.` and `..` are harmless.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordName(String);

/// The text is not a record name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record name {0:?}: use 1 to {NAME_BYTES_MAX} of a-z, 0-9, '.', '_' and '-'")]
pub struct NameError(String);

impl RecordName {
    /// Checks a name.
    ///
    /// # Errors
    /// For an empty or long text or another character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        // Cut, so that an error line stays short however long the outside text was.
        fits.then(|| Self(text.to_owned()))
            .ok_or_else(|| NameError(text.chars().take(80).collect()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RecordName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for RecordName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<RecordName> for String {
    fn from(name: RecordName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_or_confuse_a_shell_are_refused() {
        let long = "a".repeat(201);
        for text in ["", "a/b", "../x", "A", "a b", "a\0", "ü", "a\n", &long] {
            assert!(RecordName::new(text).is_err(), "{text:?} passed");
        }
        for text in ["a", ".", "..", "a.tmp", "0-_.z", &"a".repeat(200)] {
            assert_eq!(RecordName::new(text).unwrap().as_str(), text);
        }
    }
}
