//! Owns what the tasks of a gateway share: the keeper, counters, what each camera does, and the wake-up of uploaders.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use base::counters::Counters;
use proto::{
    CameraId, Identity, UtcTime,
    control::{CameraState, CameraStatus, DeviceStatus, Presence, SCHEMA},
};
use tokio::sync::Notify;

use crate::keeper::{KeepError, Keeper};

/// Counters of a gateway: name and meaning.
pub mod count {
    /// Clips that were made durable.
    pub const CAPTURED: &str = "clips_captured_total";
    /// Clips that could not be made durable: lost.
    pub const LOST: &str = "clips_lost_total";
    /// Times that a clip could not be made durable yet and was tried again.
    pub const NOT_KEPT_YET: &str = "clips_not_kept_yet_total";
    /// Times that the wall clock was set by more than a second while a camera recorded.
    pub const CLOCK_SET: &str = "clock_set_total";
    /// Sampling slots of live cameras in which nothing was recorded although it should have been.
    pub const GAP_SLOTS: &str = "gap_slots_total";
    /// Clips cut inside a group of pictures.
    pub const CUT_INSIDE_GROUP: &str = "clips_cut_inside_group_total";
    /// Pictures left out at the start of a clip, since they need the clip before.
    pub const LEADING: &str = "pictures_leading_dropped_total";
    /// Times that a live camera was connected again.
    pub const RECONNECTS: &str = "camera_reconnects_total";
    /// Sources that cannot be used.
    pub const SOURCES_FAILED: &str = "sources_failed_total";
    /// Uploads that were begun.
    pub const UPLOADS: &str = "uploads_total";
    /// Uploads refused for want of room.
    pub const BUSY: &str = "uploads_refused_busy_total";
    /// Uploads that ended in a crash or a time-out beyond the edge.
    pub const ATTEMPTS_FAILED: &str = "uploads_failed_total";
    /// Uploads that the network ended.
    pub const LINK_FAILED: &str = "uploads_link_failed_total";
    /// Receipts that were verified.
    pub const RECEIPTS: &str = "receipts_total";
    /// Receipts that were not the bridge's word.
    pub const RECEIPTS_INVALID: &str = "receipts_invalid_total";
    /// Held clips that could not be read again.
    pub const UNREADABLE: &str = "clips_unreadable_total";
    /// Slots dropped for their age.
    pub const AGED: &str = "slots_dropped_by_age_total";
    /// Commands that were answered.
    pub const COMMANDS: &str = "commands_total";
}

/// What a camera does, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doing {
    /// State.
    pub state: CameraState,
    /// One line on why, when it is not recording.
    pub reason: Option<String>,
}

/// Shared by all tasks of a gateway.
pub struct Gateway {
    /// Who this is.
    pub identity: Identity,
    /// Time.
    pub clock: Arc<dyn base::Clock>,
    /// Counters.
    pub counters: Counters,
    /// Rung when a clip is kept.
    pub kept: Notify,
    keeper: Mutex<Keeper>,
    cameras: Mutex<BTreeMap<CameraId, Doing>>,
}

impl Gateway {
    /// A gateway over a keeper.
    #[must_use]
    pub fn new(identity: Identity, clock: Arc<dyn base::Clock>, keeper: Keeper) -> Arc<Self> {
        Arc::new(Self {
            identity,
            clock,
            counters: Counters::default(),
            kept: Notify::new(),
            keeper: Mutex::new(keeper),
            cameras: Mutex::default(),
        })
    }

    /// The wall clock.
    #[must_use]
    pub fn utc(&self) -> UtcTime {
        UtcTime::from_micros(self.clock.utc_micros()).unwrap_or(UtcTime::EPOCH)
    }

    /// Does blocking work on the keeper, off the runtime's threads.
    ///
    /// # Errors
    /// What the work gives.
    pub async fn with_keeper<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Keeper) -> Result<T, KeepError> + Send + 'static,
    ) -> Result<T, KeepError> {
        let gateway = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut gateway.keeper.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match done.await {
            Ok(done) => done,
            // The keeper's invariants are asserted: after a panic in it nothing more may be written.
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Says what a camera does.
    pub fn tell(&self, camera: &CameraId, state: CameraState, reason: Option<String>) {
        let mut cameras = self.cameras.lock().unwrap_or_else(PoisonError::into_inner);
        cameras.insert(camera.clone(), Doing { state, reason });
    }

    /// What each camera does.
    #[must_use]
    pub fn doing(&self) -> BTreeMap<CameraId, Doing> {
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether every camera has ended for good.
    #[must_use]
    pub fn all_ended(&self) -> bool {
        let over = |d: &Doing| matches!(d.state, CameraState::Finished | CameraState::Failed);
        self.doing().values().all(over)
    }

    /// The retained status.
    ///
    /// # Errors
    /// None; the keeper is asked.
    pub async fn status(self: &Arc<Self>, presence: Presence) -> Result<DeviceStatus, KeepError> {
        let doing = self.doing();
        let cameras = self
            .with_keeper(move |keeper| {
                let with_ledger = doing.into_iter().map(|(id, Doing { state, reason })| {
                    let ledger = keeper.ledger(&id);
                    (id, CameraStatus { state, reason, ledger })
                });
                Ok(with_ledger.collect())
            })
            .await?;
        Ok(DeviceStatus {
            schema: SCHEMA,
            identity: self.identity.clone(),
            presence,
            at: Some(self.utc()),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            cameras,
            counters: self.counters.snapshot(),
            watched: BTreeMap::new(),
        })
    }
}
