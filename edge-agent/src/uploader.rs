//! Owns the way of clips to the fog: which clip, which node, and what follows from the answer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::Shutdown;
use link::transfer::UploadOutcome;
use proto::wire::RefuseReason;

use crate::{
    courier::{Courier, CourierError},
    fogs::Fogs,
    gateway::{Gateway, count},
    held::{Failure, Job},
};

/// Uploads at the same time: one on the wire while the fog works on the other.
const PARALLEL: usize = 2;
/// How often an idle uploader looks again, should a wake-up be missed.
const LOOK_EACH: Duration = Duration::from_millis(500);
/// How long an upload under way may still take when the process is asked to stop.
const LAST_UPLOAD: Duration = Duration::from_secs(3);

/// The fog nodes, shared with the task that hears their announcements.
pub type SharedFogs = Arc<Mutex<Fogs>>;

/// Starts the uploaders.
pub fn start(
    gateway: &Arc<Gateway>,
    courier: &Arc<dyn Courier>,
    fogs: &SharedFogs,
    shutdown: &Shutdown,
) {
    for _ in 0..PARALLEL {
        let uploader = Uploader {
            gateway: Arc::clone(gateway),
            courier: Arc::clone(courier),
            fogs: Arc::clone(fogs),
            shutdown: shutdown.clone(),
        };
        shutdown.spawn(async move { uploader.run().await });
    }
}

struct Uploader {
    gateway: Arc<Gateway>,
    courier: Arc<dyn Courier>,
    fogs: SharedFogs,
    shutdown: Shutdown,
}

impl Uploader {
    async fn run(&self) {
        while !self.shutdown.is_requested() {
            let now = self.gateway.clock.now();
            let chosen = self.with_fogs(|fogs| fogs.choose(now).map(str::to_owned));
            let job = match &chosen {
                Some(_) => self.gateway.with_keeper(move |keeper| keeper.next(now)).await,
                None => Ok(None),
            };
            match (chosen, job) {
                (Some(address), Ok(Some(job))) => self.upload(&address, job).await,
                (_, Err(error)) => {
                    self.gateway.counters.add(count::UNREADABLE, 1);
                    tracing::error!(%error, "a held clip cannot be read");
                    self.rest().await;
                }
                (_, Ok(_)) => self.rest().await,
            }
        }
    }

    fn with_fogs<T>(&self, act: impl FnOnce(&mut Fogs) -> T) -> T {
        act(&mut self.fogs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn rest(&self) {
        tokio::select! {
            biased;
            _ = self.shutdown.sleep(LOOK_EACH) => {}
            () = self.gateway.kept.notified() => {}
        }
    }

    async fn upload(&self, address: &str, job: Job) {
        self.gateway.counters.add(count::UPLOADS, 1);
        let clip = job.offer.clip.clone();
        let upload = self.courier.upload(address, &job.offer, &job.bytes);
        let outcome = tokio::select! {
            outcome = upload => Some(outcome),
            () = self.last_moment() => None,
        };
        let failure = match outcome {
            Some(Ok(UploadOutcome::Receipt(receipt))) => {
                self.with_fogs(|fogs| fogs.worked(address));
                let (name, now) = (job.name.clone(), self.gateway.utc());
                let id = clip.clone();
                let settled = self
                    .gateway
                    .with_keeper(move |keeper| keeper.settle(&name, &id, &receipt, now))
                    .await;
                let Err(error) = settled else {
                    self.gateway.counters.add(count::RECEIPTS, 1);
                    tracing::debug!(%clip, "receipt verified, clip removed");
                    return;
                };
                self.gateway.counters.add(count::RECEIPTS_INVALID, 1);
                tracing::error!(%clip, fog = address, %error, "receipt not taken");
                Failure::Attempt
            }
            Some(Ok(UploadOutcome::Refused { reason, retry_after_ms })) => {
                self.refused(address, &job, reason, Duration::from_millis(retry_after_ms))
            }
            Some(Err(error)) => self.failed(address, &job, &error),
            None => Failure::NotTried,
        };
        let (name, now) = (job.name, self.gateway.clock.now());
        let back = self.gateway.with_keeper(move |keeper| keeper.give_back(&name, failure, now));
        if let Err(error) = back.await {
            tracing::error!(%clip, %error, "the attempt of a clip was not written");
        }
    }

    /// Resolves a while after shutdown was asked for.
    async fn last_moment(&self) {
        self.shutdown.requested().await;
        // `Shutdown::sleep` ends at once after the request; this is the time that is left for what is under way.
        drop(tokio::time::timeout(LAST_UPLOAD, std::future::pending::<()>()).await);
    }

    fn refused(
        &self,
        address: &str,
        job: &Job,
        reason: RefuseReason,
        retry_after: Duration,
    ) -> Failure {
        let (clip, now) = (&job.offer.clip, self.gateway.clock.now());
        match reason {
            RefuseReason::Busy | RefuseReason::BridgeUnavailable => {
                self.gateway.counters.add(count::BUSY, 1);
                tracing::debug!(%clip, fog = address, ?reason, "no room, will retry");
                self.with_fogs(|fogs| fogs.busy(address, now, retry_after));
                Failure::NotTried
            }
            RefuseReason::Corrupt | RefuseReason::Failed | RefuseReason::Invalid => {
                self.gateway.counters.add(count::ATTEMPTS_FAILED, 1);
                let attempt = job.offer.attempt;
                tracing::warn!(%clip, fog = address, ?reason, attempt, "the attempt failed");
                Failure::Attempt
            }
        }
    }

    fn failed(&self, address: &str, job: &Job, error: &CourierError) -> Failure {
        let (clip, now) = (&job.offer.clip, self.gateway.clock.now());
        self.with_fogs(|fogs| fogs.failed(address, now));
        if error.is_attempt() {
            self.gateway.counters.add(count::ATTEMPTS_FAILED, 1);
            tracing::warn!(%clip, %error, attempt = job.offer.attempt, "no answer in time");
            return Failure::Attempt;
        }
        self.gateway.counters.add(count::LINK_FAILED, 1);
        tracing::warn!(%clip, %error, "upload failed, will retry");
        Failure::NotTried
    }
}
