//! Owns the making of operators from the command line: a password is read from standard input or drawn, never an
//! argument, which other users of the machine could read.

use std::io::BufRead;

use base::Clock;
use proto::UtcTime;
use results::Results;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// Longest line that is read for a password, in bytes.
const LINE_BYTES_MAX: u64 = 1024;
/// Characters of a drawn password: no two that look alike. Thirty-two of them: each stands for five bits.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789_";
/// Length of a drawn password: 100 bits.
const DRAWN_CHARS: usize = 20;

/// Why there is no new operator.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The database.
    #[error(transparent)]
    Results(#[from] results::ResultsError),
    /// The name is taken.
    #[error("there is a user {0:?} already: add --replace to give them a new password")]
    Taken(String),
    /// There is nothing on standard input.
    #[error("no password on standard input: write one line")]
    NoPassword,
    /// Standard input cannot be read.
    #[error("standard input: {0}")]
    Input(#[from] std::io::Error),
    /// The operating system gives no random bytes.
    #[error("no random bytes from the operating system")]
    Random,
}

/// Reads one line.
///
/// # Errors
/// When there is none.
pub fn read_password(from: impl BufRead) -> Result<Zeroizing<String>, OperatorError> {
    let mut line = Zeroizing::new(String::new());
    from.take(LINE_BYTES_MAX).read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(OperatorError::NoPassword);
    }
    Ok(Zeroizing::new(password.to_owned()))
}

/// Draws a password.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn draw_password() -> Result<Zeroizing<String>, OperatorError> {
    let mut bytes = Zeroizing::new([0u8; DRAWN_CHARS]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| OperatorError::Random)?;
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from);
    Ok(Zeroizing::new(bytes.iter().filter_map(letter).collect()))
}

/// Makes a user, or gives one that is there a new password.
///
/// # Errors
/// When the name is taken and `replace` is not set, or the database does not take it.
pub async fn add(
    results: &Results,
    name: &str,
    password: &str,
    replace: bool,
    clock: &dyn Clock,
) -> Result<(), OperatorError> {
    let now = UtcTime::from_micros(clock.utc_micros()).unwrap_or(UtcTime::EPOCH);
    if results.create_user(name, password, now).await?
        || (replace && results.change_password(name, password, now).await?)
    {
        return Ok(());
    }
    Err(OperatorError::Taken(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line() {
        let read = |text: &str| read_password(text.as_bytes()).map(|p| p.to_string()).ok();
        assert_eq!(read("correct horse\nmore\n").as_deref(), Some("correct horse"));
        assert_eq!(read(" spaces count \r\n").as_deref(), Some(" spaces count "));
        assert_eq!(read("\n"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn drawn_passwords_are_long_and_never_the_same() {
        let [one, two] = [(); 2].map(|()| draw_password().unwrap());
        assert_eq!(one.len(), DRAWN_CHARS);
        assert_ne!(one, two);
    }
}
