//! Owns what the tasks of a fog node share: who it is, whose cameras it takes, credit, workers, the bridge, counters.

use std::{collections::BTreeMap, sync::Arc};

use base::{Clock, Shutdown, counters::Counters};
use link::transfer::Receiver;
use proto::{
    Identity, UtcTime,
    control::{DeviceStatus, FogEndpoint, Presence, SCHEMA},
};

use crate::{bridge::Bridge, ends::Ends, offer::Gateways, pool::Pool, watch::Watches};

/// Counters of a fog node: name and meaning. Those of refused peers are `link`'s.
pub mod count {
    /// Offers that were judged.
    pub const OFFERS: &str = "offers_total";
    /// Offers of a camera that is not the gateway's.
    pub const FOREIGN_CAMERAS: &str = "offers_of_foreign_cameras_total";
    /// Offers of clips that the bridge had committed before.
    pub const KNOWN: &str = "clips_known_total";
    /// Clips that arrived whole and verified.
    pub const RECEIVED: &str = "clips_received_total";
    /// Clips that were processed and committed.
    pub const COMMITTED: &str = "clips_committed_total";
    /// Committed clips that could not be read as video.
    pub const UNREADABLE: &str = "clips_unreadable_total";
    /// Refused for want of credit, seats or workers, or while stopping.
    pub const BUSY: &str = "clips_refused_busy_total";
    /// Refused since the bridge was away or full.
    pub const BRIDGE_UNAVAILABLE: &str = "clips_refused_bridge_total";
    /// Bytes that were not those of the digest.
    pub const CORRUPT: &str = "clips_corrupt_total";
    /// Clips whose worker crashed or missed the deadline, or that the bridge would not have.
    pub const FAILED: &str = "clips_failed_total";
    /// Offers that break a limit or are not the peer's to make.
    pub const INVALID: &str = "offers_invalid_total";
    /// Uploads that the network or the edge ended.
    pub const UPLOADS_LOST: &str = "uploads_lost_total";
    /// Channels with bytes that are no message, over a cap, or out of place.
    pub const PROTOCOL_BROKEN: &str = "protocol_broken_total";
    /// Connections refused since there are too many.
    pub const PEERS_TOO_MANY: &str = "peers_too_many_total";
    /// Frames that were sealed and committed.
    pub const FRAMES: &str = "frames_delivered_total";
    /// Frames that privacy did not let out.
    pub const WITHHELD: &str = "frames_withheld_total";
    /// Frames in which the detector found nothing.
    pub const SILENT: &str = "frames_silent_total";
    /// Frames that were withheld since the auditor contradicted the detector's silence.
    pub const DOUBTED: &str = "frames_doubted_total";
    /// Times that a camera's canary recall turned out to be too low to watch, at some size and hour of the day.
    pub const CANARIES_LOW: &str = "cameras_canaries_low_total";
    /// Times that a camera's canary recall began to drift.
    pub const DRIFTED: &str = "cameras_drifted_total";
    /// Times that a busy camera began to show nobody.
    pub const FELL_SILENT: &str = "cameras_fell_silent_total";
    /// Slots whose picture could not be decoded.
    pub const UNDECODABLE: &str = "slots_undecodable_total";
    /// Times that the file of what is usual on each camera could not be read or written.
    pub const WATCHES_NOT_KEPT: &str = "watches_not_kept_total";
    /// Workers that became ready.
    pub const WORKERS_STARTED: &str = "workers_started_total";
    /// Times that a worker could not be started again.
    pub const WORKERS_NOT_STARTED: &str = "workers_not_started_total";
    /// Workers that crashed or spoke nonsense.
    pub const WORKER_CRASHES: &str = "worker_crashes_total";
    /// Workers that were killed at the deadline.
    pub const WORKER_DEADLINES: &str = "worker_deadlines_total";
    /// Commits that were tried.
    pub const COMMITS: &str = "commits_total";
    /// Commits that the bridge refused for good.
    pub const COMMITS_REFUSED: &str = "commits_refused_total";
    /// Times that the bridge was connected.
    pub const BRIDGE_CONNECTS: &str = "bridge_connects_total";
}

/// Shared by all tasks of a fog node.
pub struct Node {
    /// Who this is.
    pub identity: Identity,
    /// Where edges reach it.
    pub address: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub counters: Arc<Counters>,
    /// Whose cameras it takes.
    pub gateways: Gateways,
    /// Credit and prefixes.
    pub receiver: Receiver,
    /// Workers.
    pub pool: Pool,
    /// How the detector does on each camera.
    pub watches: Watches,
    /// Where faces were when clips ended.
    pub ends: Arc<Ends>,
    /// The bridge.
    pub bridge: Bridge,
    /// Requested when no new clip is taken any more.
    pub draining: Shutdown,
}

impl Node {
    /// The retained status.
    #[must_use]
    pub fn status(&self, presence: Presence) -> DeviceStatus {
        let at = UtcTime::from_micros(self.clock.utc_micros()).ok();
        let (counters, watched) = (self.counters.snapshot(), self.watches.status());
        DeviceStatus { at, counters, watched, ..status(&self.identity, presence) }
    }

    /// The retained address. Without a seat there is no credit either.
    #[must_use]
    pub fn endpoint(&self, presence: Presence) -> FogEndpoint {
        let free_bytes = if self.pool.has_room() { self.receiver.free_bytes() } else { 0 };
        FogEndpoint { schema: SCHEMA, address: self.address.clone(), presence, free_bytes }
    }
}

/// A status without counters and time, as a last will has it.
#[must_use]
pub fn status(identity: &Identity, presence: Presence) -> DeviceStatus {
    DeviceStatus {
        schema: SCHEMA,
        identity: identity.clone(),
        presence,
        at: None,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        cameras: BTreeMap::new(),
        counters: BTreeMap::new(),
        watched: BTreeMap::new(),
    }
}
