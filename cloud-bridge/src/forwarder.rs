//! Owns the way out of the outbox: each clip's frames to the object store, then its frames and itself to the database,
//! then out of the outbox. In this order, so that a crash anywhere repeats a step and loses none. Where inference runs
//! beside the bridge, it is asked for each object then; elsewhere the object store tells the function.
//!
//! An outage of store or database makes the outbox grow and nothing else. A record that does not verify is set aside
//! with an alarm: its receipt was given and its frames will not arrive.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::{Fault, Faulty, Shutdown};
use proto::{key, pack::Within, signing::PublicKey};
use spool::{RecordName, SpoolError};
use store::{FrameWriter, Pack, Put};

use crate::{
    alarm::{ALARM_WAIT, persist, raise},
    book::Book,
    bridge::{Bridge, count},
    clip::SealedClip,
    inference::Inference,
    outbox::{OutboxError, Waiting},
};

/// Clips on their way at a time: what a WAN of some 100 ms a request needs to keep up with a site of 40 frames a second.
const CLIPS_AT_ONCE: usize = 4;
/// How often to look for work that nobody rang for: a record whose wait is over.
const ROUND: Duration = Duration::from_secs(2);
/// Names that are taken from the outbox at a time.
const NAMES_MAX: usize = 1000;
/// Longest wait for inference beside us to take a question: what it does not take is asked for again when it is overdue.
const ASK_MAX: Duration = Duration::from_secs(2);

/// How the frames of a clip lie in the object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Each as an object, each with an invocation and a result of its own.
    Frame,
    /// All as one object, with one invocation and one result; one by one where a pack would gain nothing or not hold
    /// them.
    Clip,
}

/// Where the clips go.
pub struct Way {
    /// The object store.
    pub frames: Arc<dyn FrameWriter>,
    /// The database.
    pub book: Arc<dyn Book>,
    /// What is asked for each stored object; nothing where the object store tells the function.
    pub inference: Option<Arc<dyn Inference>>,
    /// As how many objects a clip travels.
    pub packing: Packing,
}

/// Carries the clips.
pub struct Forwarder {
    bridge: Arc<Bridge>,
    way: Way,
    root: PublicKey,
    shutdown: Shutdown,
    queue: Mutex<Queue>,
}

/// Which records are next, which are under way, and which wait after a failure.
#[derive(Default)]
struct Queue {
    next: VecDeque<RecordName>,
    under_way: BTreeSet<RecordName>,
    /// Until when, by the monotonic clock.
    resting: BTreeMap<RecordName, Duration>,
}

/// How the way of a clip ended.
enum Outcome {
    Done,
    /// Again later.
    Rest,
}

impl Forwarder {
    /// A forwarder of a bridge's outbox.
    #[must_use]
    pub fn new(bridge: Arc<Bridge>, way: Way, root: PublicKey, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self { bridge, way, root, shutdown, queue: Mutex::default() })
    }

    /// Starts forwarding, until shutdown.
    pub fn start(self: &Arc<Self>) {
        for _ in 0..CLIPS_AT_ONCE {
            self.shutdown.spawn(Arc::clone(self).run());
        }
    }

    /// Until shutdown, which may come in the middle of any step: each is found done or is done again.
    async fn run(self: Arc<Self>) {
        tokio::select! {
            biased;
            () = self.shutdown.requested() => {}
            () = self.work() => {}
        }
    }

    async fn work(&self) {
        loop {
            let Some(name) = self.next().await else {
                tokio::select! {
                    () = self.bridge.committed.notified() => {}
                    _ = self.shutdown.sleep(ROUND) => {}
                }
                continue;
            };
            let outcome = self.forward(&name).await;
            let now = self.bridge.clock.now();
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.under_way.remove(&name);
            if matches!(outcome, Outcome::Rest) {
                queue.resting.insert(name, now + ALARM_WAIT);
            }
        }
    }

    /// The oldest record that is neither under way nor resting.
    async fn next(&self) -> Option<RecordName> {
        let now = self.bridge.clock.now();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.resting.retain(|_, until| *until > now);
        if queue.next.is_empty() {
            let mut names = self.bridge.outbox.names();
            names.retain(|n| !queue.under_way.contains(n) && !queue.resting.contains_key(n));
            names.truncate(NAMES_MAX);
            queue.next = names.into();
        }
        let name = queue.next.pop_front()?;
        queue.under_way.insert(name.clone());
        Some(name)
    }

    /// Carries one record as far as it goes.
    async fn forward(&self, name: &RecordName) -> Outcome {
        let (named, root, site) = (name.clone(), self.root, self.bridge.site().clone());
        let read = self.bridge.with_outbox(move |o| o.read(&named, &root, &site)).await;
        let waiting = match read {
            Ok(waiting) => waiting,
            Err(error) => return self.unreadable(name, &error).await,
        };
        if self.carry(&waiting).await.is_none() {
            // Nothing is hammered: the worker waits, and the next in the queue has its turn then.
            self.shutdown.sleep(ALARM_WAIT).await;
            return Outcome::Rest;
        }
        let named = name.clone();
        let removed = self.bridge.with_outbox(move |outbox| outbox.remove(&named)).await;
        if let Err(error) = removed {
            // It is not listed any more; after a restart it may come again, and every step finds its work done.
            tracing::warn!(record = %name, %error, "a forwarded record could not be removed yet");
        }
        self.bridge.count(count::FORWARDED);
        self.bridge.left.notify_waiters();
        self.bridge.awaited.notify_one();
        Outcome::Done
    }

    /// Frames to the store, then frames and clip to the database; nothing at a fault that waiting does not mend, and at
    /// shutdown.
    async fn carry(&self, waiting: &Waiting) -> Option<()> {
        let (bridge, stop) = (&*self.bridge, &self.shutdown);
        let Waiting { clip, receipt } = waiting;
        let pack = match self.way.packing {
            Packing::Frame => None,
            Packing::Clip => Pack::of(clip.frames()),
        };
        match &pack {
            Some(pack) => self.put_pack(pack).await?,
            None => self.put_frames(clip).await?,
        }
        let failed = count::DATABASE_FAILED;
        for (at, frame) in clip.frames().iter().enumerate() {
            let within: Option<Within> = pack.as_ref().and_then(|p| p.places().get(at).copied());
            let now = bridge.utc();
            let wait = || self.way.book.await_frame(frame.manifest(), within, now);
            persist(bridge, stop, "await a frame", failed, wait).await.ok()?;
        }
        let record = || self.way.book.record_clip(clip.record(), receipt);
        persist(bridge, stop, "record a clip", failed, record).await.ok()?;
        match &pack {
            Some(pack) => self.ask(&[pack.key().to_owned()]).await,
            None => {
                let keys = clip.frames().iter().map(|frame| key::frame_key(frame.manifest()));
                self.ask(&keys.collect::<Vec<_>>()).await;
            }
        }
        Some(())
    }

    /// Asks for the results of objects that are awaited by now. A question that is not taken holds nothing up: the
    /// object will be overdue, and is asked for again then.
    async fn ask(&self, objects: &[String]) {
        let Some(inference) = &self.way.inference else { return };
        for object in objects {
            match tokio::time::timeout(ASK_MAX, inference.ask(object, 1)).await {
                Ok(Ok(())) => self.bridge.count(count::ASKED),
                Ok(Err(error)) => {
                    self.bridge.count(count::INVOKE_FAILED);
                    raise(&self.bridge, "ask for a result", &error);
                    tracing::warn!(object, %error, "inference was not asked, will be when overdue");
                    return;
                }
                Err(_) => {
                    self.bridge.count(count::INVOKE_FAILED);
                    tracing::warn!(object, "inference did not answer, will be asked when overdue");
                    return;
                }
            }
        }
    }

    async fn put_frames(&self, clip: &SealedClip) -> Option<()> {
        let (bridge, stop) = (&*self.bridge, &self.shutdown);
        for frame in clip.frames() {
            let put = || self.way.frames.put_frame(frame);
            let put = persist(bridge, stop, "put a frame", count::STORE_FAILED, put).await.ok()?;
            bridge.count(match put {
                Put::Created => count::FRAMES_PUT,
                Put::AlreadyThere => count::FRAMES_THERE,
            });
            tracing::debug!(key = key::frame_key(frame.manifest()), ?put, "frame stored");
        }
        Some(())
    }

    async fn put_pack(&self, pack: &Pack) -> Option<()> {
        let (bridge, stop) = (&*self.bridge, &self.shutdown);
        let put = || self.way.frames.put_pack(pack);
        let put = persist(bridge, stop, "put a pack", count::STORE_FAILED, put).await.ok()?;
        bridge.count(match put {
            Put::Created => count::PACKS_PUT,
            Put::AlreadyThere => count::PACKS_THERE,
        });
        tracing::debug!(key = pack.key(), ?put, "pack stored");
        Some(())
    }

    async fn unreadable(&self, name: &RecordName, error: &OutboxError) -> Outcome {
        match (error, error.fault()) {
            // Another worker was faster.
            (OutboxError::Spool(SpoolError::NotFound { .. }), _) => Outcome::Done,
            // The spool has set it aside.
            (OutboxError::Spool(SpoolError::Corrupt { .. }), _) => {
                self.alarm_set_aside(name, error);
                Outcome::Done
            }
            (_, Fault::Corrupt) => {
                let named = name.clone();
                match self.bridge.with_outbox(move |outbox| outbox.set_aside(&named)).await {
                    Ok(()) => {
                        self.alarm_set_aside(name, error);
                        Outcome::Done
                    }
                    Err(failed) => {
                        tracing::error!(record = %name, %error, %failed, "cannot be set aside");
                        self.bridge.count(count::ALARMS);
                        Outcome::Rest
                    }
                }
            }
            (_, Fault::Transient | Fault::Permanent | Fault::Misuse) => {
                raise(&self.bridge, "read an outbox record", error);
                tracing::warn!(record = %name, %error, "a record cannot be read, will try again");
                Outcome::Rest
            }
        }
    }

    fn alarm_set_aside(&self, name: &RecordName, error: &OutboxError) {
        self.bridge.count(count::SET_ASIDE);
        self.bridge.count(count::ALARMS);
        tracing::error!(record = %name, %error, "a committed clip was set aside: its frames are missing");
        self.bridge.left.notify_waiters();
    }
}
