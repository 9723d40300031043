//! Owns the connection: opening, migrating, transactions.

use std::{os::unix::fs::OpenOptionsExt, path::Path, sync::Arc, time::Duration};

use base::{Shutdown, Tries};
use proto::UtcTime;
use sqlx::{
    Any, AnyConnection, AnyPool, ConnectOptions, Connection, Executor, SqlSafeStr, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions},
    migrate::{Migration, MigrationType, Migrator},
};
use tokio::sync::Semaphore;

use crate::{ResultsError, place::Place};

/// Connections of one process: SQLite has one writer at a time, and a console a few readers.
const CONNECTIONS_MAX: u32 = 4;
/// How long a statement waits for a connection or a lock before it is an error that is tried again.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Times to open a file that others open too: waits of 0.1 to 1.6 s, some 3 s in all.
const OPEN_TRIES_MAX: u32 = 6;
/// Password hashes at once: each takes a core and 19 MiB for some 30 ms.
const HASHES_MAX: usize = 2;

/// Every migration, oldest first. One that has landed is never changed: databases remember what they were made with.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../migrations/0001_first.sql")),
    (2, "sums", include_str!("../migrations/0002_sums.sql")),
    (3, "tracks", include_str!("../migrations/0003_tracks.sql")),
    (4, "models", include_str!("../migrations/0004_models.sql")),
];

/// A handle on the database. Clones share its connections.
#[derive(Clone)]
pub struct Results {
    pub(crate) pool: AnyPool,
    pub(crate) hashing: Arc<Semaphore>,
    place: Arc<Place>,
    shown: Arc<str>,
}

impl std::fmt::Debug for Results {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Results({})", self.shown)
    }
}

impl Results {
    /// Opens the database at `sqlite:FILE` (made when it is not there, for its owner only) or `postgres://...`, and
    /// brings its schema up to date under a lock.
    ///
    /// # Errors
    /// When the address is none, the database is away, damaged, foreign, or of a later version.
    pub async fn open(url: &str) -> Result<Self, ResultsError> {
        let place = Place::parse(url)?;
        let shown = place.shown();
        let told = |error| ResultsError::told("open", &shown, error);
        sqlx::any::install_default_drivers();
        let options: AnyConnectOptions = place.url().parse().map_err(told)?;
        if let Place::Sqlite(file) = &place {
            make(file).map_err(|source| ResultsError::File { path: file.clone(), source })?;
        }
        prepare(&options, &place, &shown).await?;
        let mut pool =
            AnyPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(WAIT_MAX);
        if let Place::Sqlite(_) = &place {
            pool = pool.after_connect(|connection, _| Box::pin(set_up(connection)));
        }
        let pool = pool.connect_lazy_with(options);
        let hashing = Arc::new(Semaphore::new(HASHES_MAX));
        Ok(Self { pool, hashing, place: Arc::new(place), shown: shown.into() })
    }

    /// Ends all connections. Everything that was written is durable before.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), ResultsError> {
        let answer = sqlx::query("SELECT 1").execute(&self.pool).await;
        answer.map(drop).map_err(self.told("ask for a sign of life"))
    }

    pub(crate) fn told(&self, action: &'static str) -> impl Fn(sqlx::Error) -> ResultsError + '_ {
        move |error| ResultsError::told(action, &self.shown, error)
    }

    /// Begins to write. On SQLite the write lock is taken at once: taken later, it could fail without waiting.
    pub(crate) async fn begin(
        &self,
        action: &'static str,
    ) -> Result<Transaction<'static, Any>, ResultsError> {
        let begun = match &*self.place {
            Place::Sqlite(_) => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Place::Postgres(_) => self.pool.begin().await,
        };
        begun.map_err(self.told(action))
    }
}

/// Makes the database ready for a pool. A file that another process opens at this moment is busy whatever its busy
/// timeout says (going over to WAL and back does not wait), so that is tried again.
async fn prepare(
    options: &AnyConnectOptions,
    place: &Place,
    shown: &str,
) -> Result<(), ResultsError> {
    let (never, mut tries) = (Shutdown::default(), Tries::default());
    let tries_max = if let Place::Sqlite(_) = place { OPEN_TRIES_MAX } else { 1 };
    for _ in 1..tries_max {
        match first_connection(options, place, shown).await {
            Ok(()) => return Ok(()),
            Err(error) => tries.again(&never, "open the results database", error).await?,
        }
    }
    first_connection(options, place, shown).await
}

/// The first connection is made by itself: the pool would hide why it cannot be.
async fn first_connection(
    options: &AnyConnectOptions,
    place: &Place,
    shown: &str,
) -> Result<(), ResultsError> {
    let told = |error| ResultsError::told("open", shown, error);
    let mut first = options.connect().await.map_err(told)?;
    if let Place::Sqlite(_) = place {
        set_up(&mut first).await.map_err(told)?;
    }
    migrate(&mut first, place, shown).await?;
    first.close().await.map_err(told)
}

/// Brings the schema up to date. Whoever comes second waits and finds it done.
async fn migrate(
    connection: &mut AnyConnection,
    place: &Place,
    shown: &str,
) -> Result<(), ResultsError> {
    let told = |error| ResultsError::told("migrate", shown, error);
    let failed = |error| ResultsError::migration(shown, error);
    let migrator = migrator(MIGRATIONS);
    match place {
        Place::Sqlite(_) => {
            // The migrator's lock is none on SQLite; one write transaction around it all is.
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(told)?;
            refuse_foreign(&mut transaction, SQLITE_TABLES, shown).await?;
            migrator.run_direct(None, &mut *transaction, false).await.map_err(failed)?;
            transaction.commit().await.map_err(told)
        }
        Place::Postgres(_) => {
            refuse_foreign(connection, POSTGRES_TABLES, shown).await?;
            migrator.run_direct(None, connection, false).await.map_err(failed)
        }
    }
}

/// A database that has tables, but not the table of our migrations, is somebody else's.
async fn refuse_foreign(
    connection: &mut AnyConnection,
    tables: &'static str,
    shown: &str,
) -> Result<(), ResultsError> {
    let rows: Vec<String> = sqlx::query_scalar(tables)
        .fetch_all(connection)
        .await
        .map_err(|error| ResultsError::told("look for tables", shown, error))?;
    match rows.first() {
        Some(first) if !rows.iter().any(|name| name == "_sqlx_migrations") => {
            let why = format!("it has a table {first:?} and none of our migrations");
            Err(ResultsError::Foreign { place: shown.to_owned(), why })
        }
        Some(_) | None => Ok(()),
    }
}

const SQLITE_TABLES: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'";
const POSTGRES_TABLES: &str = "SELECT CAST(table_name AS TEXT) FROM information_schema.tables \
     WHERE table_schema = current_schema()";

fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        let sql = sql.into_sql_str();
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
}

/// The file holds password hashes: it is its owner's alone. SQLite gives its side files the same mode.
fn make(file: &Path) -> std::io::Result<()> {
    std::fs::File::options().create(true).append(true).mode(0o600).open(file).map(drop)
}

/// WAL: readers and the writer do not wait for each other, across processes too. FULL: a commit is on the disk.
async fn set_up(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    connection.execute("PRAGMA busy_timeout = 10000").await?;
    connection.execute("PRAGMA journal_mode = WAL").await?;
    connection.execute("PRAGMA synchronous = FULL").await?;
    connection.execute("PRAGMA trusted_schema = OFF").await?;
    connection.ping().await
}

/// A stored time.
pub(crate) fn time(what: &'static str, micros: i64) -> Result<UtcTime, ResultsError> {
    UtcTime::from_micros(micros).map_err(|e| ResultsError::Row { what, why: e.to_string() })
}

/// A stored count.
pub(crate) fn count(what: &'static str, n: i64) -> Result<u64, ResultsError> {
    u64::try_from(n).map_err(|e| ResultsError::Row { what, why: e.to_string() })
}

/// A stored text that was an id.
pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    what: &'static str,
    text: &str,
) -> Result<T, ResultsError> {
    text.parse().map_err(|e: T::Err| ResultsError::Row { what, why: e.to_string() })
}

/// A stored JSON document.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    text: &str,
) -> Result<T, ResultsError> {
    serde_json::from_str(text).map_err(|e| ResultsError::Row { what, why: e.to_string() })
}

/// A document to store.
pub(crate) fn to_json<T: serde::Serialize>(
    what: &'static str,
    value: &T,
) -> Result<String, ResultsError> {
    serde_json::to_string(value).map_err(|e| ResultsError::Row { what, why: e.to_string() })
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;
    use crate::BucketWidth;

    #[tokio::test]
    async fn a_database_of_every_earlier_version_is_brought_up_to_date() {
        sqlx::any::install_default_drivers();
        let versions: Vec<i64> = MIGRATIONS.iter().map(|(version, ..)| *version).collect();
        assert_eq!(versions, (1..=MIGRATIONS.len() as i64).collect::<Vec<_>>());
        for had in 0..=MIGRATIONS.len() {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("results.db");
            make(&file).unwrap();
            let url = format!("sqlite:{}", file.display());
            let mut earlier = AnyConnection::connect(&url).await.unwrap();
            let left = migrator(&MIGRATIONS[..had]).run_direct(None, &mut earlier, false).await;
            left.unwrap();
            earlier.close().await.unwrap();

            let results = Results::open(&url).await.unwrap();
            let applied = "SELECT COUNT(*) FROM _sqlx_migrations";
            let applied = sqlx::query(applied).fetch_one(&results.pool).await.unwrap();
            assert_eq!(applied.get::<i64, _>(0), MIGRATIONS.len() as i64, "from version {had}");
            assert!(results.cameras().await.unwrap().is_empty());
            results.close().await;
        }
    }

    #[test]
    fn a_migration_that_has_landed_stays_as_it_is() {
        // BLAKE3 of the files as they landed; a new migration gets its line when it lands.
        let landed = [
            "0db1a22508fb35bd259006c45bb28f1b3c8f4dbeef7334742a5183f43702d2bf",
            "f9346604e8b492b315afd36ca78f852d76901fc3682a4be634f27fd6417e928c",
            "9183640764657998bdff200b34788357238d91273c91884370563c4307bdd401",
            "67eb620c628f176b8def29611f53b91b4b89388c66eb1f58d362a4204b26385c",
        ];
        assert_eq!(landed.len(), MIGRATIONS.len());
        for ((version, _, sql), digest) in MIGRATIONS.iter().zip(landed) {
            let is = proto::Digest::of(sql.as_bytes()).to_string();
            assert!(is.ends_with(digest), "migration {version} is {is}: add a new one instead");
        }
    }

    /// A database of an earlier version in the folder, and its address.
    async fn of_version(version: usize, folder: &tempfile::TempDir) -> (AnyConnection, String) {
        sqlx::any::install_default_drivers();
        let file = folder.path().join("results.db");
        make(&file).unwrap();
        let url = format!("sqlite:{}", file.display());
        let mut earlier = AnyConnection::connect(&url).await.unwrap();
        migrator(&MIGRATIONS[..version]).run_direct(None, &mut earlier, false).await.unwrap();
        (earlier, url)
    }

    #[tokio::test]
    async fn sums_by_camera_are_made_from_the_hours_of_the_first_version() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, url) = of_version(1, &folder).await;
        let hours = "INSERT INTO hours (camera, hour_us, delivered, withheld, undecodable, frames, \
                     mask, no_mask, incorrect, uncertain) \
                     VALUES ('door', 0, 5, 1, 0, 4, 3, 2, 1, 0), ('door', 3600000000, 2, 0, 1, 2, 1, 0, 0, 7)";
        first.execute(hours).await.unwrap();
        first.close().await.unwrap();

        let results = Results::open(&url).await.unwrap();
        let cameras = results.cameras().await.unwrap();
        let door = cameras.first().unwrap();
        assert_eq!((cameras.len(), door.delivered, door.withheld, door.undecodable), (1, 7, 1, 1));
        let counts = door.counts.total();
        assert_eq!((counts.frames, counts.mask, counts.no_mask), (6, 4, 2));
        assert_eq!((counts.incorrect, counts.uncertain), (1, 7));
        let (from, until) = (UtcTime::EPOCH, UtcTime::EPOCH.plus_ns(7_200_000_000_000));
        let hours = results.counts_over_time(None, BucketWidth::Hour, from, until).await.unwrap();
        let hours: Vec<_> = hours.iter().map(|hour| hour.counts.total().numbers()).collect();
        assert_eq!(hours, [[4, 3, 2, 1, 0], [2, 1, 0, 0, 7]]);
        results.close().await;
    }

    #[tokio::test]
    async fn what_was_counted_face_by_face_stays_until_its_clip_has_another_result() {
        let folder = tempfile::tempdir().unwrap();
        let (mut second, url) = of_version(2, &folder).await;
        let result = |slot: u64| {
            let mut result = crate::tracks::example(slot);
            result.frame.clip.seq = 10;
            result
        };
        let sums = "delivered, withheld, undecodable, frames, mask, no_mask, incorrect, uncertain";
        for slot in [0, 1] {
            let result = result(slot);
            let (frame, json) = (result.frame.to_string(), to_json("", &result).unwrap());
            let frames = "INSERT INTO frames (object_key, frame, camera, session, captured_us, state, \
                awaited_us, tries, done_us, result, mask, no_mask, incorrect, uncertain) \
                VALUES ($1, $2, 'cam-1', '', 0, 'done', 0, 0, 1, $3, 1, 0, 0, 0)";
            let insert = sqlx::query(frames).bind(result.image).bind(frame).bind(json);
            insert.execute(&mut second).await.unwrap();
        }
        for table in ["cameras (camera, ", "hours (hour_us, camera, "] {
            let hour = if table.starts_with("hours") { "0, " } else { "" };
            let insert = format!(
                "INSERT INTO {table}{sums}) VALUES ({hour}'cam-1', 2, 0, 0, 2, 2, 0, 0, 0)"
            );
            second.execute(sqlx::AssertSqlSafe(insert)).await.unwrap();
        }
        second.close().await.unwrap();

        let results = Results::open(&url).await.unwrap();
        let counts = async || results.cameras().await.unwrap()[0].counts.total();
        assert_eq!((counts().await.frames, counts().await.mask), (2, 2));
        let third = result(2);
        assert!(results.insert_result(&third.image, &third, UtcTime::EPOCH).await.unwrap());
        assert_eq!((counts().await.frames, counts().await.mask), (3, 1), "one person in all three");
        results.close().await;
    }
}
