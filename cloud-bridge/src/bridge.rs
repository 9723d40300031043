//! Owns what the tasks of a bridge share: who it is, time, counters, and the bells that wake one task for another.

use std::{collections::BTreeMap, sync::Arc};

use base::{Clock, counters::Counters};
use proto::{Identity, SiteId, UtcTime, control::DeviceStatus, control::Presence, control::SCHEMA};
use tokio::sync::Notify;

use crate::outbox::Outbox;

/// Counters of a bridge: name and meaning.
pub mod count {
    /// Clips committed to the outbox.
    pub const COMMITTED: &str = "clips_committed_total";
    /// Commits and questions about clips that were committed before.
    pub const KNOWN: &str = "clips_known_before_total";
    /// Clips that reached object store and database.
    pub const FORWARDED: &str = "clips_forwarded_total";
    /// Refusals for want of room in the outbox or in memory.
    pub const FULL: &str = "refused_full_total";
    /// Refusals since the database could not say whether the clip is known.
    pub const UNSURE: &str = "refused_database_away_total";
    /// Commits that the disk did not take.
    pub const DISK_FAILED: &str = "outbox_writes_failed_total";
    /// Envelopes that are not sealed, or were changed.
    pub const UNSEALED: &str = "frames_unsealed_total";
    /// Envelopes whose grant does not cover their site, policy or time.
    pub const NOT_GRANTED: &str = "frames_not_granted_total";
    /// Clips of another site.
    pub const OTHER_SITE: &str = "clips_of_other_site_total";
    /// Records that do not account for their slots.
    pub const RECORDS_REFUSED: &str = "records_refused_total";
    /// Frames that are not those of their record.
    pub const MISMATCHED: &str = "frames_not_of_record_total";
    /// Peers that sent what has no place in the protocol.
    pub const PROTOCOL: &str = "peers_broke_protocol_total";
    /// Peers turned away since too many are connected.
    pub const PEERS_MANY: &str = "peers_too_many_total";
    /// Packs put into the object store, each with the frames of a clip.
    pub const PACKS_PUT: &str = "packs_put_total";
    /// Packs that were in the object store before: a crash or a lost answer.
    pub const PACKS_THERE: &str = "packs_already_there_total";
    /// Frames put into the object store.
    pub const FRAMES_PUT: &str = "frames_put_total";
    /// Frames that were in the object store before: a crash or a lost answer.
    pub const FRAMES_THERE: &str = "frames_already_there_total";
    /// Calls that the object store did not answer or refused.
    pub const STORE_FAILED: &str = "store_failures_total";
    /// Calls that the database did not answer or refused.
    pub const DATABASE_FAILED: &str = "database_failures_total";
    /// Failures that waiting does not mend: a person must act.
    pub const ALARMS: &str = "alarms_total";
    /// Outbox records that did not verify and were set aside: committed frames that did not arrive.
    pub const SET_ASIDE: &str = "records_set_aside_total";
    /// Results asked for by their key, those included that were not there.
    pub const LOOKS: &str = "result_looks_total";
    /// Pages of keys asked for.
    pub const LISTS: &str = "result_lists_total";
    /// Results stored.
    pub const RESULTS: &str = "results_total";
    /// Objects where a result belongs that are none.
    pub const RESULTS_INVALID: &str = "results_invalid_total";
    /// Frames and packs for which inference beside the bridge was asked when they were stored.
    pub const ASKED: &str = "function_asked_total";
    /// Overdue frames and packs for which the function was invoked again.
    pub const INVOKED: &str = "function_invoked_total";
    /// Invocations that the function did not take.
    pub const INVOKE_FAILED: &str = "function_failures_total";
    /// Frames given up.
    pub const DEAD: &str = "frames_dead_total";

    /// In the status beside the counters: bytes in the outbox.
    pub const OUTBOX_BYTES: &str = "outbox_bytes";
    /// In the status beside the counters: its quota.
    pub const OUTBOX_BYTES_MAX: &str = "outbox_bytes_max";
    /// In the status beside the counters: clips in the outbox.
    pub const OUTBOX_CLIPS: &str = "outbox_clips";
    /// In the status beside the counters: records that a person has to look at.
    pub const OUTBOX_ASIDE: &str = "outbox_set_aside";
}

/// Shared by all tasks of a bridge.
pub struct Bridge {
    /// Who this is.
    pub identity: Identity,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub counters: Arc<Counters>,
    /// Committed clips that wait.
    pub outbox: Outbox,
    /// Rung once for each clip that is committed.
    pub committed: Notify,
    /// Rung for everybody who waits when a clip has left the outbox.
    pub left: Notify,
    /// Rung when frames are awaited anew.
    pub awaited: Notify,
}

impl Bridge {
    /// A bridge over an outbox.
    #[must_use]
    pub fn new(identity: Identity, clock: Arc<dyn Clock>, outbox: Outbox) -> Arc<Self> {
        Arc::new(Self {
            identity,
            clock,
            counters: Arc::default(),
            outbox,
            committed: Notify::new(),
            left: Notify::new(),
            awaited: Notify::new(),
        })
    }

    /// Its site: it takes clips of no other.
    #[must_use]
    pub fn site(&self) -> &SiteId {
        &self.identity.site
    }

    /// The wall clock.
    #[must_use]
    pub fn utc(&self) -> UtcTime {
        UtcTime::from_micros(self.clock.utc_micros()).unwrap_or(UtcTime::EPOCH)
    }

    /// Counts one.
    pub fn count(&self, name: &'static str) {
        self.counters.add(name, 1);
    }

    /// Does blocking work on the outbox, off the runtime's threads.
    pub async fn with_outbox<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Outbox) -> T + Send + 'static,
    ) -> T {
        let bridge = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&bridge.outbox)).await {
            Ok(done) => done,
            // The outbox asserts its invariants: a broken one must be seen, not passed over.
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// The retained status.
    #[must_use]
    pub fn status(&self, presence: Presence) -> DeviceStatus {
        let mut counters = self.counters.snapshot();
        let usage = self.outbox.usage();
        for (name, value) in [
            (count::OUTBOX_BYTES, usage.bytes),
            (count::OUTBOX_BYTES_MAX, usage.bytes_max),
            (count::OUTBOX_CLIPS, usage.records),
            (count::OUTBOX_ASIDE, self.outbox.set_aside_records()),
        ] {
            counters.insert(name.to_owned(), value);
        }
        DeviceStatus {
            schema: SCHEMA,
            identity: self.identity.clone(),
            presence,
            at: Some(self.utc()),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            cameras: std::collections::BTreeMap::new(),
            counters,
            watched: BTreeMap::new(),
        }
    }
}
