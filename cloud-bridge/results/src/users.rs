//! Owns users and their passwords: argon2id hashes, and the one way to check a password.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use proto::UtcTime;
use zeroize::Zeroizing;

use crate::{
    Results, ResultsError,
    audit::{Event, note},
    sessions::random,
    throttle::{self, Attempt},
};

/// Shortest password that a user may have.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// Longest password that is looked at, in bytes: hashing is work for us, typing is none.
const PASSWORD_BYTES_MAX: usize = 256;
/// Longest name of a user, in characters.
const NAME_CHARS_MAX: usize = 64;

/// What became of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Login {
    /// The password is right.
    Accepted,
    /// The password is wrong, or there is no such user: which, is nobody's business.
    Wrong,
    /// Too many were wrong: nothing is looked at until then.
    Throttled {
        /// When attempts are looked at again.
        until: UtcTime,
    },
}

impl Results {
    /// Makes a user; false when the name is taken, and then nothing changes.
    ///
    /// # Errors
    /// When name or password cannot be used, or the database does not take it.
    pub async fn create_user(
        &self,
        name: &str,
        password: &str,
        now: UtcTime,
    ) -> Result<bool, ResultsError> {
        let hash = self.hashed(name, password).await?;
        let told = self.told("make a user");
        let mut transaction = self.begin("make a user").await?;
        let inserted = sqlx::query(
            "INSERT INTO users (name, password_hash, created_us, changed_us) \
             VALUES ($1, $2, $3, $3) ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(hash)
        .bind(now.micros())
        .execute(&mut *transaction)
        .await
        .map_err(&told)?;
        if inserted.rows_affected() == 0 {
            return Ok(false);
        }
        note(&mut transaction, now, Event::UserCreated, name, "").await.map_err(&told)?;
        transaction.commit().await.map_err(&told)?;
        Ok(true)
    }

    /// Gives a user another password and ends their sessions; false when there is no such user.
    ///
    /// # Errors
    /// When the password cannot be used, or the database does not take it.
    pub async fn change_password(
        &self,
        name: &str,
        password: &str,
        now: UtcTime,
    ) -> Result<bool, ResultsError> {
        let hash = self.hashed(name, password).await?;
        let told = self.told("change a password");
        let mut transaction = self.begin("change a password").await?;
        let updated =
            sqlx::query("UPDATE users SET password_hash = $2, changed_us = $3 WHERE name = $1")
                .bind(name)
                .bind(hash)
                .bind(now.micros())
                .execute(&mut *transaction)
                .await
                .map_err(&told)?;
        if updated.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM sessions WHERE name = $1")
            .bind(name)
            .execute(&mut *transaction)
            .await
            .map_err(&told)?;
        note(&mut transaction, now, Event::PasswordChanged, name, "").await.map_err(&told)?;
        transaction.commit().await.map_err(&told)?;
        Ok(true)
    }

    /// Looks at a password, within the limits on failures, and notes a failure in the audit log. Takes as long for a
    /// user that does not exist.
    ///
    /// # Errors
    /// When the database does not answer: then nobody is let in.
    pub async fn verify(
        &self,
        name: &str,
        password: &str,
        address: &str,
        now: UtcTime,
    ) -> Result<Login, ResultsError> {
        let told = self.told("look at a password");
        let name = cut(name);
        let mut transaction = self.begin("look at a password").await?;
        let attempt = throttle::attempt(&mut transaction, &name, address, now).await;
        let attempt = attempt.map_err(&told)?;
        if let Attempt::Refused { first: true, .. } = attempt {
            note(&mut transaction, now, Event::Throttled, &name, address).await.map_err(&told)?;
        }
        transaction.commit().await.map_err(&told)?;
        if let Attempt::Refused { until, .. } = attempt {
            return Ok(Login::Throttled { until });
        }
        let hash: Option<String> =
            sqlx::query_scalar("SELECT password_hash FROM users WHERE name = $1")
                .bind(&name)
                .fetch_optional(&self.pool)
                .await
                .map_err(&told)?;
        let right = self.compare(hash, password).await;
        let mut transaction = self.begin("look at a password").await?;
        if right {
            throttle::forgive(&mut transaction, &name, address).await.map_err(&told)?;
        } else {
            let event = Event::WrongPassword;
            note(&mut transaction, now, event, &name, address).await.map_err(&told)?;
        }
        transaction.commit().await.map_err(&told)?;
        Ok(if right { Login::Accepted } else { Login::Wrong })
    }

    /// Whether there is any user yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has_users(&self) -> Result<bool, ResultsError> {
        let found = sqlx::query("SELECT name FROM users LIMIT 1").fetch_optional(&self.pool).await;
        found.map(|row| row.is_some()).map_err(self.told("look for users"))
    }

    async fn hashed(&self, name: &str, password: &str) -> Result<String, ResultsError> {
        let refuse = |why| Err(ResultsError::Mismatch { key: format!("user {name:?}"), why });
        let chars = name.chars().count();
        if !(1..=NAME_CHARS_MAX).contains(&chars) || name.chars().any(char::is_control) {
            return refuse("a name has 1 to 64 printable characters");
        }
        if name.trim() != name {
            return refuse("a name has no space at its ends");
        }
        if password.chars().count() < PASSWORD_CHARS_MIN || password.len() > PASSWORD_BYTES_MAX {
            return refuse("a password has at least 10 characters and at most 256 bytes");
        }
        let password = Zeroizing::new(password.to_owned());
        let salt: [u8; 16] = random()?;
        let hash = self.off_runtime(move || {
            let hash: Result<PasswordHash, _> =
                Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
            hash.map(|hash| hash.to_string()).map_err(|e| e.to_string())
        });
        let failed = |why| ResultsError::Hash { name: name.to_owned(), why };
        hash.await.unwrap_or_else(|| Err("interrupted".to_owned())).map_err(failed)
    }

    async fn compare(&self, hash: Option<String>, password: &str) -> bool {
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        let password = Zeroizing::new(password.to_owned());
        let compared = self.off_runtime(move || {
            let known = hash.is_some();
            let hash = PasswordHash::new(hash.as_deref().unwrap_or(NOBODY));
            let fits = hash.is_ok_and(|hash| {
                Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
            });
            fits && known
        });
        compared.await.unwrap_or(false)
    }

    /// Hashing takes a core for a while: not one of the runtime's, and few at once.
    async fn off_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = self.hashing.clone().acquire_owned().await.ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        done.await.ok()
    }
}

/// The hash of no password, with the cost of every other: looking for a user that does not exist takes as long.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9mIG51bGw$\
    VR2m6fL1y1B0pYx8Gg3b2q0dN6b9nZ9v0m8q8uQmYyA";

/// What somebody typed as a name, bounded, as it goes into the log.
fn cut(name: &str) -> String {
    let printable = name.chars().filter(|c| !c.is_control());
    printable.take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_nobody_costs_what_a_users_costs() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let user: PasswordHash =
            Argon2::default().hash_password_with_salt(b"password", &[1; 16]).unwrap();
        assert_eq!(nobody.params.to_string(), user.params.to_string());
        assert_eq!(nobody.algorithm, user.algorithm);
        assert_eq!(nobody.hash.map(|h| h.len()), user.hash.map(|h| h.len()));
        assert!(Argon2::default().verify_password(b"password", &user).is_ok());
        assert!(Argon2::default().verify_password(b"password", &nobody).is_err());
    }
}
