//! Owns the way of a frame: awaited, done with a result, or dead.
//!
//! A frame is awaiting from the moment it is in the object store. A result makes it done, for good: the first result
//! stays. Frames whose function fails every time are dead until a result comes after all.

use proto::{FrameId, Manifest, UtcTime, pack::Within, result::FrameResult};
use sqlx::{AnyConnection, Row, any::AnyRow};

use crate::{
    CountsByModel, Results, ResultsError,
    database::{count, from_json, parsed, time, to_json},
    frame::{Awaiting, FrameAbout, FrameFilter, FrameRow, FrameState, Order, StateKind},
    select::Select,
};

const COLUMNS: &str = "SELECT object_key, frame, captured_us, about, state, awaited_us, tries, \
    tried_us, reason, done_us, result, tracks, model, CAST(1 AS BIGINT) AS frames, mask, no_mask, incorrect, \
    uncertain FROM frames WHERE 1 = 1";
const INSERT: &str = "INSERT INTO frames (object_key, frame, camera, session, captured_us, about, \
    state, awaited_us, tries, mask, no_mask, incorrect, uncertain, clip) \
    VALUES ($1, $2, $3, $4, $5, $6, 'awaiting', $7, 0, 0, 0, 0, 0, $8) ON CONFLICT DO NOTHING";

/// Inserts an awaited frame unless it is known; false when it is.
async fn insert(
    connection: &mut AnyConnection,
    (key, frame, captured_at): (&str, &FrameId, UtcTime),
    about: Option<String>,
    now: UtcTime,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(INSERT)
        .bind(key)
        .bind(frame.to_string())
        .bind(frame.clip.camera.to_string())
        .bind(frame.clip.session.to_string())
        .bind(captured_at.micros())
        .bind(about)
        .bind(now.micros())
        .bind(frame.clip.to_string())
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

/// A frame has one key and a key one frame, for good: the object's key follows from the manifest.
async fn check_known(
    connection: &mut AnyConnection,
    key: &str,
    frame: &FrameId,
    told: impl Fn(sqlx::Error) -> ResultsError,
) -> Result<(), ResultsError> {
    let found: Option<String> =
        sqlx::query_scalar("SELECT frame FROM frames WHERE object_key = $1")
            .bind(key)
            .fetch_optional(connection)
            .await
            .map_err(told)?;
    let same = found.is_some_and(|found| found == frame.to_string());
    let why = "its frame is known at another key, or its key for another frame";
    same.then_some(()).ok_or_else(|| ResultsError::Mismatch { key: key.to_owned(), why })
}

impl Results {
    /// Awaits the result of a frame that is in the object store; false when it was known, and then its state stays.
    ///
    /// # Errors
    /// When the key is not the frame's, or the database does not take it.
    pub async fn await_frame(
        &self,
        manifest: &Manifest,
        key: &str,
        now: UtcTime,
    ) -> Result<bool, ResultsError> {
        self.await_stored(manifest, key, None, now).await
    }

    /// As [`Self::await_frame`], of a frame that lies in the pack of its clip where one is given.
    ///
    /// # Errors
    /// As there.
    pub async fn await_stored(
        &self,
        manifest: &Manifest,
        key: &str,
        within: Option<Within>,
        now: UtcTime,
    ) -> Result<bool, ResultsError> {
        if key != proto::key::frame_key(manifest) {
            let why = "it is not the key of its frame";
            return Err(ResultsError::Mismatch { key: key.to_owned(), why });
        }
        let told = self.told("await a frame");
        let about = to_json("manifest", &FrameAbout::of(manifest, within))?;
        let mut transaction = self.begin("await a frame").await?;
        let id = (key, &manifest.frame, manifest.captured_at);
        let inserted = insert(&mut transaction, id, Some(about.clone()), now).await;
        let new = inserted.map_err(&told)?;
        if !new {
            check_known(&mut transaction, key, &manifest.frame, &told).await?;
            // A result that was faster than the bridge has left this empty.
            sqlx::query("UPDATE frames SET about = $2 WHERE object_key = $1 AND about IS NULL")
                .bind(key)
                .bind(about)
                .execute(&mut *transaction)
                .await
                .map_err(&told)?;
        }
        transaction.commit().await.map_err(&told)?;
        Ok(new)
    }

    /// Frames without a result that were neither put nor tried after `before`, longest waiting first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn awaiting(
        &self,
        before: UtcTime,
        limit: u32,
    ) -> Result<Vec<Awaiting>, ResultsError> {
        let told = self.told("list overdue frames");
        let rows = Select::new(
            "SELECT object_key, frame, about, awaited_us, tries, tried_us FROM frames \
             WHERE done_us IS NULL AND state = 'awaiting'",
        )
        .and("awaited_us <=", Some(before.micros()))
        .and("COALESCE(tried_us, awaited_us) <=", Some(before.micros()))
        .last("ORDER BY COALESCE(tried_us, awaited_us), object_key", limit)
        .query()
        .fetch_all(&self.pool)
        .await
        .map_err(&told)?;
        let read = |row: &AnyRow| {
            let frame: String = row.try_get("frame").map_err(&told)?;
            let tried: Option<i64> = row.try_get("tried_us").map_err(&told)?;
            let about: Option<String> = row.try_get("about").map_err(&told)?;
            let about = about.map(|json| from_json::<FrameAbout>("manifest", &json)).transpose()?;
            Ok(Awaiting {
                key: row.try_get("object_key").map_err(&told)?,
                packed: about.is_some_and(|about| about.within.is_some()),
                frame: parsed("frame", &frame)?,
                awaited_at: time("time", row.try_get("awaited_us").map_err(&told)?)?,
                tries: count("tries", row.try_get("tries").map_err(&told)?)?,
                tried_at: tried.map(|at| time("time", at)).transpose()?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Notes that the function was asked again at `now`. Repeated with the same time it counts once.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn tried(&self, key: &str, now: UtcTime) -> Result<(), ResultsError> {
        sqlx::query(
            "UPDATE frames SET tries = tries + 1, tried_us = $2 WHERE object_key = $1 \
             AND state = 'awaiting' AND (tried_us IS NULL OR tried_us < $2)",
        )
        .bind(key)
        .bind(now.micros())
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(self.told("note a try"))
    }

    /// Gives up on an awaited frame. A frame that is done stays done.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn mark_dead(&self, key: &str, reason: &str) -> Result<(), ResultsError> {
        sqlx::query(
            "UPDATE frames SET state = 'dead', reason = $2 WHERE object_key = $1 \
             AND state = 'awaiting'",
        )
        .bind(key)
        .bind(reason)
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(self.told("give up on a frame"))
    }

    /// Stores the result of the frame at `key` (the frame's key) and links its clip anew; false when it has one already,
    /// which stays. Also takes results of frames that are not awaited yet, and of dead ones.
    ///
    /// # Errors
    /// When the result is another frame's, or the database does not take it.
    pub async fn insert_result(
        &self,
        key: &str,
        result: &FrameResult,
        now: UtcTime,
    ) -> Result<bool, ResultsError> {
        if result.image != key {
            let why = "the result is of another frame";
            return Err(ResultsError::Mismatch { key: key.to_owned(), why });
        }
        let told = self.told("store a result");
        let mut transaction = self.begin("store a result").await?;
        let clip = &result.frame.clip;
        self.queue_at(&mut transaction, clip).await?;
        let id = (key, &result.frame, result.captured_at);
        if !insert(&mut transaction, id, None, now).await.map_err(&told)? {
            check_known(&mut transaction, key, &result.frame, &told).await?;
        }
        let updated = sqlx::query(
            "UPDATE frames SET state = 'done', reason = NULL, done_us = $2, result = $3, model = $4 \
             WHERE object_key = $1 AND state <> 'done'",
        )
        .bind(key)
        .bind(now.micros())
        .bind(to_json("result", result)?)
        .bind(result.model.digest.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(&told)?;
        if updated.rows_affected() == 0 {
            transaction.rollback().await.map_err(&told)?;
            return Ok(false);
        }
        self.link(&mut transaction, clip, key).await?;
        transaction.commit().await.map_err(&told)?;
        Ok(true)
    }

    /// Frames in the order that the filter says.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn frames(
        &self,
        filter: &FrameFilter,
        limit: u32,
    ) -> Result<Vec<FrameRow>, ResultsError> {
        let after =
            filter.after.as_ref().map(|place| (place.captured_at.micros(), place.key.clone()));
        let select = match filter.state {
            None => Select::new(COLUMNS),
            Some(StateKind::Done) => Select::new(COLUMNS).text("AND done_us IS NOT NULL"),
            Some(StateKind::Awaiting) => {
                Select::new(COLUMNS).text("AND done_us IS NULL AND state = 'awaiting'")
            }
            Some(StateKind::Dead) => {
                Select::new(COLUMNS).text("AND done_us IS NULL AND state = 'dead'")
            }
        };
        let select = select
            .and("camera =", filter.camera.as_ref().map(ToString::to_string))
            .and("session =", filter.session.map(|session| session.to_string()))
            .and("captured_us >=", filter.from.map(UtcTime::micros))
            .and("captured_us <", filter.until.map(UtcTime::micros));
        let select = match filter.order {
            Order::Newest => select
                .and_pair("(captured_us, object_key) <", after)
                .last("ORDER BY captured_us DESC, object_key DESC", limit),
            Order::Oldest => select
                .and_pair("(captured_us, object_key) >", after)
                .last("ORDER BY captured_us, object_key", limit),
        };
        let rows = select.query().fetch_all(&self.pool).await.map_err(self.told("list frames"))?;
        rows.iter().map(|row| self.frame_row(row)).collect()
    }

    /// One frame.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn frame(&self, frame: &FrameId) -> Result<Option<FrameRow>, ResultsError> {
        let select = Select::new(COLUMNS).and("frame =", Some(frame.to_string())).last("", 1);
        let found = select.query().fetch_optional(&self.pool).await;
        let found = found.map_err(self.told("look for a frame"))?;
        found.map(|row| self.frame_row(&row)).transpose()
    }

    fn frame_row(&self, row: &AnyRow) -> Result<FrameRow, ResultsError> {
        let told = self.told("read a frame");
        let text = |name: &str| row.try_get::<String, _>(name).map_err(&told);
        let optional = |name: &str| row.try_get::<Option<String>, _>(name).map_err(&told);
        let number = |name: &str| row.try_get::<Option<i64>, _>(name).map_err(&told);
        let at = |name: &str| number(name)?.map(|at| time("time", at)).transpose();
        let tries = count("tries", number("tries")?.unwrap_or_default())?;
        let state = match text("state")?.as_str() {
            "awaiting" => FrameState::Awaiting { tries, tried_at: at("tried_us")? },
            "done" => FrameState::Done {
                result: Box::new(from_json("result", &optional("result")?.unwrap_or_default())?),
                at: at("done_us")?.unwrap_or_default(),
            },
            "dead" => FrameState::Dead { tries, reason: optional("reason")?.unwrap_or_default() },
            other => {
                return Err(ResultsError::Row { what: "state", why: format!("{other:?}") });
            }
        };
        let (about, tracks) = (optional("about")?, optional("tracks")?);
        let tracks = tracks.map(|json| from_json("tracks", &json)).transpose()?;
        Ok(FrameRow {
            tracks: tracks.unwrap_or_default(),
            key: text("object_key")?,
            frame: parsed("frame", &text("frame")?)?,
            captured_at: at("captured_us")?.unwrap_or_default(),
            about: about.map(|json| from_json("manifest", &json)).transpose()?,
            awaited_at: at("awaited_us")?.unwrap_or_default(),
            counts: match state.kind() {
                StateKind::Done => self.counts_by_model_of(row)?,
                StateKind::Awaiting | StateKind::Dead => CountsByModel::default(),
            },
            state,
        })
    }
}
