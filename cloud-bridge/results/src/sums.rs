//! Owns the sums by camera and by hour: what is shown at a glance, without counting millions of rows. They are changed
//! in the transaction that adds what is summed, so that it is added once.

use proto::{CameraId, UtcTime, record::Tally};
use sqlx::AnyConnection;

use crate::counts::HOUR_US;

/// The start of the hour, in microseconds.
pub(crate) const fn hour_of(at: UtcTime) -> i64 {
    at.micros().div_euclid(HOUR_US) * HOUR_US
}

/// Every camera has a row of slots, also one of which only counts are known.
const SLOTS: &str = "INSERT INTO cameras (camera, delivered, withheld, undecodable) \
    VALUES ($1, $2, $3, $4) \
    ON CONFLICT (camera) DO UPDATE SET delivered = cameras.delivered + excluded.delivered, \
    withheld = cameras.withheld + excluded.withheld, \
    undecodable = cameras.undecodable + excluded.undecodable";
const BY_CAMERA: &str = "INSERT INTO counts_by_camera (camera, model, frames, mask, no_mask, incorrect, uncertain) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) \
    ON CONFLICT (camera, model) DO UPDATE SET frames = counts_by_camera.frames + excluded.frames, \
    mask = counts_by_camera.mask + excluded.mask, no_mask = counts_by_camera.no_mask + excluded.no_mask, \
    incorrect = counts_by_camera.incorrect + excluded.incorrect, \
    uncertain = counts_by_camera.uncertain + excluded.uncertain";
const BY_HOUR: &str = "INSERT INTO counts_by_hour (camera, model, frames, mask, no_mask, incorrect, uncertain, hour_us) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
    ON CONFLICT (camera, hour_us, model) DO UPDATE SET frames = counts_by_hour.frames + excluded.frames, \
    mask = counts_by_hour.mask + excluded.mask, no_mask = counts_by_hour.no_mask + excluded.no_mask, \
    incorrect = counts_by_hour.incorrect + excluded.incorrect, \
    uncertain = counts_by_hour.uncertain + excluded.uncertain";

/// Adds slots to their camera.
pub(crate) async fn add_slots(
    connection: &mut AnyConnection,
    camera: &CameraId,
    Tally { delivered, withheld, undecodable }: Tally,
) -> Result<(), sqlx::Error> {
    let mut query = sqlx::query(SLOTS).bind(camera.to_string());
    for n in [delivered, withheld, undecodable] {
        query = query.bind(i64::from(n));
    }
    query.execute(connection).await.map(drop)
}

/// Adds what a classifier said to its camera and to its hour: frames, mask, no mask, incorrect, uncertain; less where a
/// late frame makes two tracks one.
pub(crate) async fn add_counts(
    connection: &mut AnyConnection,
    camera: &CameraId,
    (hour_us, model): (i64, &str),
    change: [i64; 5],
) -> Result<(), sqlx::Error> {
    add_slots(connection, camera, Tally::default()).await?;
    for sql in [BY_CAMERA, BY_HOUR] {
        let mut query = sqlx::query(sql).bind(camera.to_string()).bind(model);
        for n in change {
            query = query.bind(n);
        }
        if sql == BY_HOUR {
            query = query.bind(hour_us);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
