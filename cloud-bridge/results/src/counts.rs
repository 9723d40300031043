//! Owns counts: what they are, their uncertainty, and their sums by time.

use proto::{CameraId, UtcTime, result::FrameResult};
use serde::Serialize;
use sqlx::Row;

use crate::{
    CountsByModel, Results, ResultsError,
    database::{count, parsed, time},
    select::Select,
};

/// Microseconds of an hour.
pub(crate) const HOUR_US: i64 = 3_600_000_000;
/// Microseconds of a minute; stands in the query as well.
const MINUTE_US: i64 = 60_000_000;
/// Quantile of the standard normal distribution for 95%.
pub(crate) const Z95: f64 = 1.959_963_984_540_054;

/// What was counted, by what is said of it: tracks in every sum, faces in [`Counts::of`] one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames with a result.
    pub frames: u64,
    /// Those with a mask.
    pub mask: u64,
    /// Those without.
    pub no_mask: u64,
    /// Those with a mask worn incorrectly.
    pub incorrect: u64,
    /// Those too small to say.
    pub uncertain: u64,
}

/// A share with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// The share, 0 to 1.
    pub share: f64,
    /// Lower end of its 95% interval: Wilson's of what was counted, Lang and Reiczigel's of what was corrected.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Of how many tracks.
    pub n: u64,
}

impl Counts {
    /// The faces of one result.
    #[must_use]
    pub fn of(result: &FrameResult) -> Self {
        let [mask, no_mask, incorrect, uncertain] =
            [result.mask, result.no_mask, result.incorrect, result.uncertain].map(u64::from);
        Self { frames: 1, mask, no_mask, incorrect, uncertain }
    }

    /// Frames, mask, no mask, incorrect, uncertain.
    pub(crate) const fn numbers(&self) -> [u64; 5] {
        [self.frames, self.mask, self.no_mask, self.incorrect, self.uncertain]
    }

    /// All that was counted.
    #[must_use]
    pub const fn all(&self) -> u64 {
        self.answered() + self.uncertain
    }

    /// Those of which something was said.
    #[must_use]
    pub const fn answered(&self) -> u64 {
        self.mask + self.no_mask + self.incorrect
    }

    /// Adds others.
    pub const fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.mask += other.mask;
        self.no_mask += other.no_mask;
        self.incorrect += other.incorrect;
        self.uncertain += other.uncertain;
    }

    /// The share without mask among the tracks of which something was said; nothing when there is none. The interval
    /// takes tracks for independent, which those of one person in several clips are not, and the classifier for
    /// infallible: it is the least uncertainty. [`CountsByModel::corrected_share`] counts the classifier's errors too.
    #[must_use]
    pub fn share_without_mask(&self) -> Option<Share> {
        wilson(self.no_mask, self.answered())
    }
}

/// Wilson's interval: holds for small n and for shares near 0 and 1, where the usual one does not.
fn wilson(k: u64, n: u64) -> Option<Share> {
    if n == 0 {
        return None;
    }
    let (kf, nf, z2) = (float(k), float(n), Z95 * Z95);
    let share = kf / nf;
    let centre = share + z2 / (2.0 * nf);
    let half = Z95 * (share * (1.0 - share) / nf + z2 / (4.0 * nf * nf)).sqrt();
    let scale = 1.0 + z2 / nf;
    let low = ((centre - half) / scale).clamp(0.0, 1.0);
    let high = ((centre + half) / scale).clamp(0.0, 1.0);
    Some(Share { share, low, high, n })
}

/// Exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "nobody counts 2^53 faces")]
pub(crate) const fn float(n: u64) -> f64 {
    n as f64
}

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketWidth {
    /// A minute: summed from frames, for windows of hours.
    Minute,
    /// An hour: kept as a sum, for windows of any length.
    Hour,
}

impl BucketWidth {
    /// Its length in microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        match self {
            Self::Minute => MINUTE_US,
            Self::Hour => HOUR_US,
        }
    }
}

/// Counts of one camera in one minute or hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// The camera.
    pub camera: CameraId,
    /// Start of the minute or hour.
    pub at: UtcTime,
    /// What was counted.
    pub counts: CountsByModel,
}

const MINUTES: &str = "SELECT camera, captured_us - (captured_us % 60000000) AS at_us, model, \
    COUNT(*) AS frames, CAST(SUM(mask) AS BIGINT) AS mask, \
    CAST(SUM(no_mask) AS BIGINT) AS no_mask, CAST(SUM(incorrect) AS BIGINT) AS incorrect, \
    CAST(SUM(uncertain) AS BIGINT) AS uncertain FROM frames WHERE done_us IS NOT NULL";
const HOURS: &str = "SELECT camera, hour_us AS at_us, model, frames, mask, no_mask, incorrect, \
    uncertain FROM counts_by_hour WHERE frames > 0";

impl Results {
    /// Counts by camera and minute or hour, in order, for buckets that begin in `[from, until)`; `from` is brought down
    /// to the start of its bucket. Buckets without a frame are left out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn counts_over_time(
        &self,
        camera: Option<&CameraId>,
        width: BucketWidth,
        from: UtcTime,
        until: UtcTime,
    ) -> Result<Vec<Bucket>, ResultsError> {
        let from = from.micros().div_euclid(width.micros()) * width.micros();
        let window = (from, until.micros());
        match (width, camera) {
            (BucketWidth::Hour, camera) => {
                let select = Select::new(HOURS)
                    .and("camera =", camera.map(ToString::to_string))
                    .and("hour_us >=", Some(window.0))
                    .and("hour_us <", Some(window.1))
                    .text("ORDER BY camera, hour_us, model");
                self.buckets(select).await
            }
            (BucketWidth::Minute, Some(camera)) => self.buckets(minutes(camera, window)).await,
            (BucketWidth::Minute, None) => {
                // Camera by camera, since there is an index for that; over all of them at once the planner walks
                // through everything that was ever counted.
                let told = self.told("list cameras");
                let names: Vec<String> =
                    sqlx::query_scalar("SELECT camera FROM cameras ORDER BY camera")
                        .fetch_all(&self.pool)
                        .await
                        .map_err(told)?;
                let mut all = Vec::new();
                for name in names {
                    let camera: CameraId = parsed("camera", &name)?;
                    all.extend(self.buckets(minutes(&camera, window)).await?);
                }
                Ok(all)
            }
        }
    }

    async fn buckets(&self, select: Select) -> Result<Vec<Bucket>, ResultsError> {
        let told = self.told("count over time");
        let rows = select.query().fetch_all(&self.pool).await.map_err(&told)?;
        let mut buckets: Vec<Bucket> = Vec::with_capacity(rows.len());
        for row in &rows {
            let camera: String = row.try_get("camera").map_err(&told)?;
            let at: i64 = row.try_get("at_us").map_err(&told)?;
            let (camera, at) = (parsed("camera", &camera)?, time("time", at)?);
            let counts = self.counts_by_model_of(row)?;
            match buckets.last_mut().filter(|last| last.camera == camera && last.at == at) {
                Some(last) => last.counts.add(&counts),
                None => buckets.push(Bucket { camera, at, counts }),
            }
        }
        Ok(buckets)
    }

    /// The five columns of counts of a row.
    pub(crate) fn counts_of(&self, row: &sqlx::any::AnyRow) -> Result<Counts, ResultsError> {
        let told = self.told("read counts");
        let column = |name: &str| row.try_get::<i64, _>(name).map_err(&told);
        Ok(Counts {
            frames: count("frames", column("frames")?)?,
            mask: count("mask", column("mask")?)?,
            no_mask: count("no_mask", column("no_mask")?)?,
            incorrect: count("incorrect", column("incorrect")?)?,
            uncertain: count("uncertain", column("uncertain")?)?,
        })
    }

    /// The same, with the column of the classifier that said them.
    pub(crate) fn counts_by_model_of(
        &self,
        row: &sqlx::any::AnyRow,
    ) -> Result<CountsByModel, ResultsError> {
        let model: String = row.try_get("model").map_err(self.told("read counts"))?;
        let model = (!model.is_empty()).then(|| parsed("model", &model)).transpose()?;
        Ok(CountsByModel::of(model, self.counts_of(row)?))
    }
}

fn minutes(camera: &CameraId, (from, until): (i64, i64)) -> Select {
    Select::new(MINUTES)
        .and("camera =", Some(camera.to_string()))
        .and("captured_us >=", Some(from))
        .and("captured_us <", Some(until))
        .text("GROUP BY camera, captured_us - (captured_us % 60000000), model ORDER BY 1, 2, 3")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_one_of_the_textbook() {
        // Wilson's 95% interval of 8 out of 10, and of 0 out of 10, to four digits.
        let close = |a: f64, b: f64| (a - b).abs() < 5e-5;
        let share = wilson(8, 10).unwrap();
        assert!(close(share.low, 0.4902) && close(share.high, 0.9433), "{share:?}");
        let none = wilson(0, 10).unwrap();
        assert!(close(none.low, 0.0) && close(none.high, 0.2775), "{none:?}");
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn what_is_uncertain_is_in_no_share() {
        let counts = Counts { frames: 2, mask: 3, no_mask: 1, incorrect: 0, uncertain: 6 };
        let share = counts.share_without_mask().unwrap();
        assert_eq!((share.share, share.n, counts.all()), (0.25, 4, 10));
    }
}
