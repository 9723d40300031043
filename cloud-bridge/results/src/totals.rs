//! Owns what is shown of each camera at a glance: sums over all time, what waits, what was not let out and why.

use std::collections::BTreeMap;

use proto::{CameraId, UtcTime};
use sqlx::Row;

use crate::{
    CountsByModel, Results, ResultsError,
    database::{count, parsed, time},
    select::Select,
};

/// A camera as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraTotals {
    /// The camera.
    pub camera: CameraId,
    /// Slots that gave a frame.
    pub delivered: u64,
    /// Slots that privacy did not let out.
    pub withheld: u64,
    /// Slots that could not be decoded.
    pub undecodable: u64,
    /// What was counted, in all frames with a result.
    pub counts: CountsByModel,
    /// Frames without a result yet.
    pub awaiting: u64,
    /// Frames that were given up.
    pub dead: u64,
    /// Sampling interval of its newest clip, in nanoseconds.
    pub every_ns: Option<i64>,
    /// When its newest frame was captured.
    pub newest: Option<UtcTime>,
}

/// Slots that gave no frame, by why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// The camera.
    pub camera: CameraId,
    /// `withheld` or `undecodable`.
    pub outcome: String,
    /// The word for the reason.
    pub reason: String,
    /// How many.
    pub slots: u64,
}

const SUMS: &str = "SELECT camera, delivered, withheld, undecodable, \
    (SELECT every_ns FROM clips WHERE clips.camera = cameras.camera \
     ORDER BY captured_us DESC LIMIT 1) AS every_ns, \
    (SELECT captured_us FROM frames WHERE frames.camera = cameras.camera \
     ORDER BY captured_us DESC LIMIT 1) AS newest_us \
    FROM cameras ORDER BY camera";
const COUNTS: &str = "SELECT camera, model, frames, mask, no_mask, incorrect, uncertain \
    FROM counts_by_camera";
const WAITING: &str = "SELECT camera, state, COUNT(*) AS frames FROM frames \
    WHERE done_us IS NULL GROUP BY camera, state";

impl Results {
    /// Every camera that ever had a clip or frame, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cameras(&self) -> Result<Vec<CameraTotals>, ResultsError> {
        let told = self.told("sum up cameras");
        let mut cameras: BTreeMap<CameraId, CameraTotals> = BTreeMap::new();
        for row in &sqlx::query(SUMS).fetch_all(&self.pool).await.map_err(&told)? {
            let name: String = row.try_get("camera").map_err(&told)?;
            let number = |name: &str| row.try_get::<i64, _>(name).map_err(&told);
            let newest: Option<i64> = row.try_get("newest_us").map_err(&told)?;
            let camera: CameraId = parsed("camera", &name)?;
            let totals = CameraTotals {
                delivered: count("delivered", number("delivered")?)?,
                withheld: count("withheld", number("withheld")?)?,
                undecodable: count("undecodable", number("undecodable")?)?,
                every_ns: row.try_get("every_ns").map_err(&told)?,
                newest: newest.map(|at| time("time", at)).transpose()?,
                ..empty(camera.clone())
            };
            cameras.insert(camera, totals);
        }
        for row in &sqlx::query(COUNTS).fetch_all(&self.pool).await.map_err(&told)? {
            let name: String = row.try_get("camera").map_err(&told)?;
            let camera: CameraId = parsed("camera", &name)?;
            let totals = cameras.entry(camera.clone()).or_insert_with(|| empty(camera));
            totals.counts.add(&self.counts_by_model_of(row)?);
        }
        for row in &sqlx::query(WAITING).fetch_all(&self.pool).await.map_err(&told)? {
            let name: String = row.try_get("camera").map_err(&told)?;
            let state: String = row.try_get("state").map_err(&told)?;
            let frames = count("frames", row.try_get("frames").map_err(&told)?)?;
            let camera: CameraId = parsed("camera", &name)?;
            let totals = cameras.entry(camera.clone()).or_insert_with(|| empty(camera));
            match state.as_str() {
                "dead" => totals.dead = frames,
                _ => totals.awaiting = frames,
            }
        }
        Ok(cameras.into_values().collect())
    }

    /// Slots that gave no frame, captured in `[from, until)`, by camera and reason, most first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unseen(
        &self,
        camera: Option<&CameraId>,
        from: UtcTime,
        until: UtcTime,
    ) -> Result<Vec<Unseen>, ResultsError> {
        let told = self.told("sum up slots without a frame");
        let rows =
            Select::new("SELECT camera, outcome, reason, COUNT(*) AS slots FROM slots WHERE 1 = 1")
                .and("camera =", camera.map(ToString::to_string))
                .and("at_us >=", Some(from.micros()))
                .and("at_us <", Some(until.micros()))
                .text("GROUP BY camera, outcome, reason ORDER BY 4 DESC, 1, 2, 3")
                .query()
                .fetch_all(&self.pool)
                .await
                .map_err(&told)?;
        let read = |row: &sqlx::any::AnyRow| {
            let name: String = row.try_get("camera").map_err(&told)?;
            Ok(Unseen {
                camera: parsed("camera", &name)?,
                outcome: row.try_get("outcome").map_err(&told)?,
                reason: row.try_get("reason").map_err(&told)?,
                slots: count("slots", row.try_get("slots").map_err(&told)?)?,
            })
        };
        rows.iter().map(read).collect()
    }
}

fn empty(camera: CameraId) -> CameraTotals {
    CameraTotals {
        camera,
        delivered: 0,
        withheld: 0,
        undecodable: 0,
        counts: CountsByModel::default(),
        awaiting: 0,
        dead: 0,
        every_ns: None,
        newest: None,
    }
}
