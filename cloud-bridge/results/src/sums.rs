//! Owns the sums by camera and by hour: what is shown at a glance, without counting millions of rows.

use proto::{CameraId, UtcTime, record::Tally};
use sqlx::AnyConnection;

use crate::counts::HOUR_US;

/// The start of the hour, in microseconds.
pub(crate) const fn hour_of(at: UtcTime) -> i64 {
    at.micros().div_euclid(HOUR_US) * HOUR_US
}

/// What is added to the sums.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    tally: Tally,
    /// Frames, mask, no mask, incorrect, uncertain: less where a late frame makes two tracks one.
    counts: [i64; 5],
}

impl Sums {
    pub(crate) fn of_tally(tally: Tally) -> Self {
        Self { tally, ..Self::default() }
    }

    /// What was counted, as it differs from before.
    pub(crate) fn of_change(counts: [i64; 5]) -> Self {
        Self { counts, ..Self::default() }
    }
}

const BY_CAMERA: &str = "INSERT INTO cameras (camera, delivered, withheld, undecodable, frames, \
    mask, no_mask, incorrect, uncertain) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
    ON CONFLICT (camera) DO UPDATE SET delivered = cameras.delivered + excluded.delivered, \
    withheld = cameras.withheld + excluded.withheld, \
    undecodable = cameras.undecodable + excluded.undecodable, \
    frames = cameras.frames + excluded.frames, mask = cameras.mask + excluded.mask, \
    no_mask = cameras.no_mask + excluded.no_mask, \
    incorrect = cameras.incorrect + excluded.incorrect, \
    uncertain = cameras.uncertain + excluded.uncertain";
const BY_HOUR: &str = "INSERT INTO hours (camera, delivered, withheld, undecodable, frames, \
    mask, no_mask, incorrect, uncertain, hour_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
    ON CONFLICT (camera, hour_us) DO UPDATE SET delivered = hours.delivered + excluded.delivered, \
    withheld = hours.withheld + excluded.withheld, \
    undecodable = hours.undecodable + excluded.undecodable, \
    frames = hours.frames + excluded.frames, mask = hours.mask + excluded.mask, \
    no_mask = hours.no_mask + excluded.no_mask, \
    incorrect = hours.incorrect + excluded.incorrect, \
    uncertain = hours.uncertain + excluded.uncertain";

/// Adds to the camera and to its hour. In the transaction that adds what is summed, so that it is added once.
pub(crate) async fn add(
    connection: &mut AnyConnection,
    camera: &CameraId,
    hour_us: i64,
    sums: &Sums,
) -> Result<(), sqlx::Error> {
    let Tally { delivered, withheld, undecodable } = sums.tally;
    let tally = [delivered, withheld, undecodable].map(i64::from);
    for sql in [BY_CAMERA, BY_HOUR] {
        let mut query = sqlx::query(sql).bind(camera.to_string());
        for n in tally.into_iter().chain(sums.counts) {
            query = query.bind(n);
        }
        if sql == BY_HOUR {
            query = query.bind(hour_us);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
