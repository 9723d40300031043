//! Owns the tracks of a clip in the database: linked anew with each result of it, so that they are what they would be if
//! its results had come in any other order.
//!
//! A frame's four numbers count the tracks that begin in it. Results that were stored before there were tracks count face
//! by face, as they did then, until another result of their clip comes.

use std::collections::BTreeMap;

use proto::{ClipId, UtcTime, result::FrameResult};
use sqlx::{AnyConnection, Row, any::AnyRow};

use crate::{
    Counts, Results, ResultsError,
    database::{from_json, time, to_json},
    sums::{self, hour_of},
    tracks::{Tracked, tracks},
};

/// What a frame had before, and where it is counted.
struct Had {
    /// Hour, in microseconds, and the classifier's digest as the frame has it: empty where it was not noted.
    place: (i64, String),
    counts: Counts,
    tracks: Option<String>,
}

impl Results {
    /// Whoever adds a result to a clip comes here first: on PostgreSQL two of them would not see one another's frame.
    pub(crate) async fn queue_at(
        &self,
        connection: &mut AnyConnection,
        clip: &ClipId,
    ) -> Result<(), ResultsError> {
        sqlx::query(
            "INSERT INTO linked (clip, results) VALUES ($1, 1) \
             ON CONFLICT (clip) DO UPDATE SET results = linked.results + 1",
        )
        .bind(clip.to_string())
        .execute(connection)
        .await
        .map(drop)
        .map_err(self.told("queue at a clip"))
    }

    /// Links the clip of a frame that has just got its result, and brings the sums to what they are then.
    pub(crate) async fn link(
        &self,
        connection: &mut AnyConnection,
        clip: &ClipId,
        new_key: &str,
    ) -> Result<(), ResultsError> {
        let told = self.told("link a clip");
        let rows = sqlx::query(
            "SELECT captured_us, result, tracks, model, CAST(1 AS BIGINT) AS frames, mask, no_mask, incorrect, \
             uncertain FROM frames WHERE clip = $1 AND done_us IS NOT NULL",
        )
        .bind(clip.to_string())
        .fetch_all(&mut *connection)
        .await
        .map_err(&told)?;
        let (mut had, mut results) = (BTreeMap::new(), Vec::new());
        for row in &rows {
            let (result, before) = self.done(row)?;
            had.insert(result.image.clone(), before);
            results.push(result);
        }
        let mut changes: BTreeMap<(i64, String), [i64; 5]> = BTreeMap::new();
        for tracked in tracks(results) {
            let Some(had) = had.get(&tracked.key) else { continue };
            let json = to_json("tracks", &tracked.faces)?;
            if had.tracks.as_ref() == Some(&json) && had.counts == tracked.begin {
                continue;
            }
            write(connection, &tracked, json).await.map_err(&told)?;
            let change = changes.entry(had.place.clone()).or_default();
            let (now, then) = (tracked.begin.numbers(), had.counts.numbers());
            for (change, (now, then)) in change.iter_mut().zip(now.into_iter().zip(then)) {
                *change += now.cast_signed() - then.cast_signed();
            }
        }
        if let Some(had) = had.get(new_key) {
            let [frames, ..] = changes.entry(had.place.clone()).or_default();
            *frames += 1;
        }
        for ((hour, model), change) in changes {
            sums::add_counts(connection, &clip.camera, (hour, &model), change)
                .await
                .map_err(&told)?;
        }
        Ok(())
    }

    fn done(&self, row: &AnyRow) -> Result<(FrameResult, Had), ResultsError> {
        let told = self.told("read a result");
        let json: String = row.try_get("result").map_err(&told)?;
        let captured: UtcTime = time("time", row.try_get("captured_us").map_err(&told)?)?;
        let result: FrameResult = from_json("result", &json)?;
        let had = Had {
            place: (hour_of(captured), row.try_get("model").map_err(&told)?),
            counts: self.counts_of(row)?,
            tracks: row.try_get("tracks").map_err(&told)?,
        };
        Ok((result, had))
    }
}

async fn write(
    connection: &mut AnyConnection,
    tracked: &Tracked,
    tracks: String,
) -> Result<(), sqlx::Error> {
    let [_, mask, no_mask, incorrect, uncertain] = tracked.begin.numbers().map(u64::cast_signed);
    sqlx::query(
        "UPDATE frames SET tracks = $2, mask = $3, no_mask = $4, incorrect = $5, uncertain = $6 \
         WHERE object_key = $1",
    )
    .bind(tracked.key.as_str())
    .bind(tracks)
    .bind(mask)
    .bind(no_mask)
    .bind(incorrect)
    .bind(uncertain)
    .execute(connection)
    .await
    .map(drop)
}
