//! Owns committed clips: their records, their receipts, and the slots that gave no frame.

use proto::{
    CameraId, ClipId, SessionId, UtcTime,
    record::{ClipRecord, Receipt, SlotOutcome, SlotRecord, Tally},
};
use sqlx::{AnyConnection, Row, any::AnyRow};

use crate::{
    Results, ResultsError,
    database::{from_json, to_json},
    select::Select,
    sums,
};

/// Which clips.
#[derive(Debug, Clone, Default)]
pub struct ClipFilter {
    /// Of one camera.
    pub camera: Option<CameraId>,
    /// Of one run of a camera.
    pub session: Option<SessionId>,
    /// Captured at this time or later.
    pub from: Option<UtcTime>,
    /// Captured before this time.
    pub until: Option<UtcTime>,
    /// Only those after this one in the answer's order: the last of the page before.
    pub after: Option<(UtcTime, ClipId)>,
}

/// A committed clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipRow {
    /// What became of each slot.
    pub record: ClipRecord,
    /// The bridge's word for it, with the tally.
    pub receipt: Receipt,
}

impl Results {
    /// Records a clip; false when it was there before, and then nothing changes: the first commit wins whole.
    ///
    /// # Errors
    /// When the receipt is another clip's, or the database does not take it. Then nothing is written.
    pub async fn record_clip(
        &self,
        record: &ClipRecord,
        receipt: &Receipt,
    ) -> Result<bool, ResultsError> {
        let told = self.told("record a clip");
        let refuse = |why| Err(ResultsError::Mismatch { key: record.clip.to_string(), why });
        if receipt.clip != record.clip || receipt.tally != record.tally() {
            return refuse("the receipt is not for this record");
        }
        let mut transaction = self.begin("record a clip").await?;
        let Tally { delivered, withheld, undecodable } = receipt.tally;
        let inserted = sqlx::query(
            "INSERT INTO clips (clip, camera, session, captured_us, committed_us, every_ns, \
             delivered, withheld, undecodable, record, receipt) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (clip) DO NOTHING",
        )
        .bind(record.clip.to_string())
        .bind(record.clip.camera.to_string())
        .bind(record.clip.session.to_string())
        .bind(record.captured_at.micros())
        .bind(receipt.committed_at.micros())
        .bind(record.every_ns)
        .bind(i64::from(delivered))
        .bind(i64::from(withheld))
        .bind(i64::from(undecodable))
        .bind(to_json("record", record)?)
        .bind(to_json("receipt", receipt)?)
        .execute(&mut *transaction)
        .await
        .map_err(&told)?;
        if inserted.rows_affected() == 0 {
            return Ok(false);
        }
        let mut tally = Tally::default();
        for slot in &record.slots {
            let at = slot_at(record, slot);
            match slot.outcome {
                SlotOutcome::Frame(_) => tally.delivered += 1,
                SlotOutcome::Withheld(_) => tally.withheld += 1,
                SlotOutcome::Undecodable => tally.undecodable += 1,
            }
            insert_slot(&mut transaction, record, slot, at).await.map_err(&told)?;
        }
        sums::add_slots(&mut transaction, &record.clip.camera, tally).await.map_err(&told)?;
        transaction.commit().await.map_err(&told)?;
        Ok(true)
    }

    /// The receipt that this clip earned: how the bridge knows it once it has left the outbox.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn receipt(&self, clip: &ClipId) -> Result<Option<Receipt>, ResultsError> {
        let found: Option<String> = sqlx::query_scalar("SELECT receipt FROM clips WHERE clip = $1")
            .bind(clip.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(self.told("look for a receipt"))?;
        found.map(|json| from_json("receipt", &json)).transpose()
    }

    /// Committed clips, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn clips(
        &self,
        filter: &ClipFilter,
        limit: u32,
    ) -> Result<Vec<ClipRow>, ResultsError> {
        let after = filter.after.as_ref().map(|(at, clip)| (at.micros(), clip.to_string()));
        let rows = Select::new("SELECT record, receipt FROM clips WHERE 1 = 1")
            .and("camera =", filter.camera.as_ref().map(ToString::to_string))
            .and("session =", filter.session.map(|session| session.to_string()))
            .and("captured_us >=", filter.from.map(UtcTime::micros))
            .and("captured_us <", filter.until.map(UtcTime::micros))
            .and_pair("(captured_us, clip) >", after)
            .last("ORDER BY captured_us, clip", limit)
            .query()
            .fetch_all(&self.pool)
            .await
            .map_err(self.told("list clips"))?;
        rows.iter().map(|row| self.clip_row(row)).collect()
    }

    fn clip_row(&self, row: &AnyRow) -> Result<ClipRow, ResultsError> {
        let told = self.told("read a clip");
        let record: String = row.try_get(0).map_err(&told)?;
        let receipt: String = row.try_get(1).map_err(&told)?;
        Ok(ClipRow {
            record: from_json("record", &record)?,
            receipt: from_json("receipt", &receipt)?,
        })
    }
}

/// When a slot is, by its place on the session's grid.
fn slot_at(record: &ClipRecord, slot: &SlotRecord) -> UtcTime {
    let since = i64::try_from(slot.slot).unwrap_or(i64::MAX).saturating_mul(record.every_ns);
    record.captured_at.plus_ns(since.saturating_sub(record.interval.start_ns))
}

/// Stores why a slot gave no frame. A slot that gave one is in the record alone.
async fn insert_slot(
    connection: &mut AnyConnection,
    record: &ClipRecord,
    slot: &SlotRecord,
    at: UtcTime,
) -> Result<(), sqlx::Error> {
    let (outcome, reason) = match slot.outcome {
        SlotOutcome::Frame(_) => return Ok(()),
        SlotOutcome::Withheld(reason) => ("withheld", word(&reason)),
        SlotOutcome::Undecodable => {
            ("undecodable", record.failure.map_or_else(|| "picture".to_owned(), |f| word(&f)))
        }
    };
    sqlx::query(
        "INSERT INTO slots (clip, slot, camera, at_us, outcome, reason) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(record.clip.to_string())
    .bind(i64::try_from(slot.slot).unwrap_or(i64::MAX))
    .bind(record.clip.camera.to_string())
    .bind(at.micros())
    .bind(outcome)
    .bind(reason)
    .execute(connection)
    .await
    .map(drop)
}

/// The word that stands for a reason in JSON.
fn word(reason: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(reason).unwrap_or_default();
    value.as_str().unwrap_or("unknown").to_owned()
}
