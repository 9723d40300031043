//! Owns the limit on failed logins. It lives in the database, so that a restart or a second console does not lift it.
//!
//! Three limits within one window: on a user from one address (guessing one password), on one address (guessing at
//! many users), on one user from everywhere (guessing from many addresses). An attempt is counted before the password
//! is looked at, so that a thousand at once are a thousand attempts.

use std::time::Duration;

use proto::UtcTime;
use sqlx::AnyConnection;

/// The window: after it, attempts count from 0 again.
pub const ATTEMPT_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Failures of one user from one address in a window: a person who mistypes needs two or three.
pub const PAIR_FAILURES_MAX: u32 = 5;
/// Failures from one address in a window: a room of operators behind one address.
pub const ADDRESS_FAILURES_MAX: u32 = 20;
/// Failures of one user from everywhere in a window. Higher, since it lets a stranger lock a user out.
pub const USER_FAILURES_MAX: u32 = 50;

/// What the limits say of one more attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It may be looked at.
    Allowed,
    /// Refused until then; `first` when this attempt is the one that went over the limit.
    Refused { until: UtcTime, first: bool },
}

/// The window in microseconds.
const WINDOW_US: i64 = 1_000_000 * ATTEMPT_WINDOW.as_secs().cast_signed();

/// Subjects hold lengths, so that no name and address read like another pair.
fn subjects(name: &str, address: &str) -> [(String, u32); 3] {
    [
        (format!("address {address}"), ADDRESS_FAILURES_MAX),
        (format!("user {name}"), USER_FAILURES_MAX),
        (format!("pair {} {name} {address}", name.len()), PAIR_FAILURES_MAX),
    ]
}

/// Counts an attempt against each limit, coarsest first, and stops at the first that is reached: an attacker who
/// invents users cannot make more rows than one address may have failures.
pub(crate) async fn attempt(
    connection: &mut AnyConnection,
    name: &str,
    address: &str,
    now: UtcTime,
) -> Result<Attempt, sqlx::Error> {
    let begin = now.micros().saturating_sub(WINDOW_US);
    sqlx::query("DELETE FROM attempts WHERE since_us <= $1")
        .bind(begin)
        .execute(&mut *connection)
        .await?;
    for (subject, failures_max) in subjects(name, address) {
        let (failures, since): (i64, i64) = sqlx::query_as(
            "INSERT INTO attempts (subject, since_us, failures) VALUES ($1, $2, 1) \
             ON CONFLICT (subject) DO UPDATE SET failures = attempts.failures + 1 \
             RETURNING failures, since_us",
        )
        .bind(subject)
        .bind(now.micros())
        .fetch_one(&mut *connection)
        .await?;
        let over = failures.saturating_sub(i64::from(failures_max));
        if over > 0 {
            let until = UtcTime::from_micros(since.saturating_add(WINDOW_US)).unwrap_or(now);
            return Ok(Attempt::Refused { until, first: over == 1 });
        }
    }
    Ok(Attempt::Allowed)
}

/// A right password: the attempt was no failure, and the pair starts anew.
pub(crate) async fn forgive(
    connection: &mut AnyConnection,
    name: &str,
    address: &str,
) -> Result<(), sqlx::Error> {
    let [address, user, pair] = subjects(name, address);
    for (subject, _) in [address, user] {
        sqlx::query(
            "UPDATE attempts SET failures = failures - 1 WHERE subject = $1 AND failures > 0",
        )
        .bind(subject)
        .execute(&mut *connection)
        .await?;
    }
    let delete = sqlx::query("DELETE FROM attempts WHERE subject = $1").bind(pair.0);
    delete.execute(connection).await.map(drop)
}
