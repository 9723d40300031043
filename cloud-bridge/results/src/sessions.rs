//! Owns sessions: 256 random bits in the operator's browser, their digest in the database, an end.

use std::{fmt, time::Duration};

use proto::{Digest, UtcTime};
use ring::rand::{SecureRandom, SystemRandom};
use sqlx::Row;
use zeroize::Zeroizing;

use crate::{
    Results, ResultsError,
    audit::{Event, note},
    database::time,
};

/// Longest life of a session: a shift.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 3600);
/// A session that nobody used for this long is over.
pub const SESSION_IDLE: Duration = Duration::from_secs(3600);
/// Use is written at most this often, so that pages that refresh themselves do not write.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// The secret of a session. Shown once, to the browser.
pub struct SessionToken(Zeroizing<[u8; 32]>);

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its user.
    pub name: String,
    /// When it began.
    pub opened_at: UtcTime,
    /// When it ends at the latest.
    pub expires_at: UtcTime,
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken")
    }
}

impl SessionToken {
    fn draw() -> Result<Self, ResultsError> {
        random().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// Reads what a browser sent; nothing for any other text than 64 lowercase hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // A digest has the same form; it is only used to read it.
        let digest: Digest = text.parse().ok()?;
        Some(Self(Zeroizing::new(*digest.as_bytes())))
    }

    /// The secret as text, for the cookie.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(hex(&*self.0))
    }

    /// Another secret that follows from this one and from which this one does not follow, such as a form's token.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Digest {
        let mut bytes = Zeroizing::new(purpose.as_bytes().to_vec());
        bytes.push(0);
        bytes.extend_from_slice(&*self.0);
        Digest::of(&bytes)
    }

    fn stored(&self) -> String {
        self.derive("celosia session v1").to_string()
    }
}

impl Results {
    /// Begins a session of a user whose password was right.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn open_session(
        &self,
        name: &str,
        address: &str,
        now: UtcTime,
    ) -> Result<SessionToken, ResultsError> {
        let told = self.told("begin a session");
        let token = SessionToken::draw()?;
        let mut transaction = self.begin("begin a session").await?;
        sqlx::query("DELETE FROM sessions WHERE expires_us <= $1")
            .bind(now.micros())
            .execute(&mut *transaction)
            .await
            .map_err(&told)?;
        sqlx::query(
            "INSERT INTO sessions (token_digest, name, opened_us, seen_us, expires_us) \
             VALUES ($1, $2, $3, $3, $4)",
        )
        .bind(token.stored())
        .bind(name)
        .bind(now.micros())
        .bind(plus(now, SESSION_LIFE).micros())
        .execute(&mut *transaction)
        .await
        .map_err(&told)?;
        note(&mut transaction, now, Event::Login, name, address).await.map_err(&told)?;
        transaction.commit().await.map_err(&told)?;
        Ok(token)
    }

    /// The live session of a token; being asked for is use.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn session(
        &self,
        token: &SessionToken,
        now: UtcTime,
    ) -> Result<Option<Session>, ResultsError> {
        let told = self.told("look for a session");
        let idle = i64::try_from(SESSION_IDLE.as_micros()).unwrap_or(i64::MAX);
        let found = sqlx::query(
            "SELECT name, opened_us, seen_us, expires_us FROM sessions \
             WHERE token_digest = $1 AND expires_us > $2 AND seen_us > $3",
        )
        .bind(token.stored())
        .bind(now.micros())
        .bind(now.micros().saturating_sub(idle))
        .fetch_optional(&self.pool)
        .await
        .map_err(&told)?;
        let Some(row) = found else { return Ok(None) };
        let at = |name: &str| time("time", row.try_get(name).map_err(&told)?);
        if plus(at("seen_us")?, SEEN_EVERY) <= now {
            sqlx::query(
                "UPDATE sessions SET seen_us = $2 WHERE token_digest = $1 AND seen_us < $2",
            )
            .bind(token.stored())
            .bind(now.micros())
            .execute(&self.pool)
            .await
            .map_err(&told)?;
        }
        Ok(Some(Session {
            name: row.try_get("name").map_err(&told)?,
            opened_at: at("opened_us")?,
            expires_at: at("expires_us")?,
        }))
    }

    /// Ends a session; false when there was none.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn close_session(
        &self,
        token: &SessionToken,
        address: &str,
        now: UtcTime,
    ) -> Result<bool, ResultsError> {
        let told = self.told("end a session");
        let mut transaction = self.begin("end a session").await?;
        let name: Option<String> =
            sqlx::query_scalar("DELETE FROM sessions WHERE token_digest = $1 RETURNING name")
                .bind(token.stored())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(&told)?;
        let Some(name) = name else { return Ok(false) };
        note(&mut transaction, now, Event::Logout, &name, address).await.map_err(&told)?;
        transaction.commit().await.map_err(&told)?;
        Ok(true)
    }
}

/// Bytes of the operating system's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], ResultsError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| ResultsError::Random)?;
    Ok(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn plus(at: UtcTime, by: Duration) -> UtcTime {
    at.plus_ns(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_does_not_show_itself() {
        let token = SessionToken::draw().unwrap();
        let text = token.reveal();
        assert_eq!(*SessionToken::parse(&text).unwrap().reveal(), *text);
        assert!(!format!("{token:?}").contains(&*text.chars().take(8).collect::<String>()));
        assert_ne!(token.stored(), *text);
        assert_ne!(token.derive("a"), token.derive("b"));
        for wrong in ["", "abc", &text.to_uppercase(), &format!("{}0", *text)] {
            assert!(wrong == &**text || SessionToken::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
