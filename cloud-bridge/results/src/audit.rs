//! Owns the audit log: who came, who was refused, who left. Never a password or a token.

use proto::UtcTime;
use sqlx::{AnyConnection, Row, any::AnyRow};

use crate::{
    Results, ResultsError,
    database::time,
    select::Select,
    sessions::{hex, random},
};

/// What happened. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A password was right and a session began.
    Login,
    /// A password was wrong, or there is no such user.
    WrongPassword,
    /// Too many were wrong: further attempts are refused for a while. Written once, when that begins.
    Throttled,
    /// A session was ended by its operator.
    Logout,
    /// A user was made.
    UserCreated,
    /// A user has another password; their sessions ended.
    PasswordChanged,
}

impl Event {
    /// All events.
    pub const ALL: [Self; 6] = [
        Self::Login,
        Self::WrongPassword,
        Self::Throttled,
        Self::Logout,
        Self::UserCreated,
        Self::PasswordChanged,
    ];

    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::WrongPassword => "wrong_password",
            Self::Throttled => "throttled",
            Self::Logout => "logout",
            Self::UserCreated => "user_created",
            Self::PasswordChanged => "password_changed",
        }
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// When.
    pub at: UtcTime,
    /// What.
    pub event: Event,
    /// The user, as typed.
    pub name: String,
    /// From where.
    pub address: String,
}

/// Adds a line within a transaction.
pub(crate) async fn note(
    connection: &mut AnyConnection,
    at: UtcTime,
    event: Event,
    name: &str,
    address: &str,
) -> Result<(), sqlx::Error> {
    // Without random bytes there are no sessions either; the line matters more than its id.
    let id = random::<16>().map_or_else(|_| format!("{}-{name}", at.micros()), |id| hex(&id));
    sqlx::query("INSERT INTO audit (id, at_us, event, name, address) VALUES ($1, $2, $3, $4, $5)")
        .bind(id)
        .bind(at.micros())
        .bind(event.as_str())
        .bind(name)
        .bind(address)
        .execute(connection)
        .await
        .map(drop)
}

impl Results {
    /// The newest lines of the log, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditRow>, ResultsError> {
        let told = self.told("read the audit log");
        let rows = Select::new("SELECT at_us, event, name, address FROM audit WHERE 1 = 1")
            .last("ORDER BY at_us DESC, id", limit)
            .query()
            .fetch_all(&self.pool)
            .await
            .map_err(&told)?;
        let read = |row: &AnyRow| {
            let word: String = row.try_get("event").map_err(&told)?;
            let event = Event::ALL.into_iter().find(|event| event.as_str() == word);
            let why = || ResultsError::Row { what: "event", why: format!("{word:?}") };
            Ok(AuditRow {
                at: time("time", row.try_get("at_us").map_err(&told)?)?,
                event: event.ok_or_else(why)?,
                name: row.try_get("name").map_err(&told)?,
                address: row.try_get("address").map_err(&told)?,
            })
        };
        rows.iter().map(read).collect()
    }
}
