//! Owns what is held at the edge: clips and noise keys in the spool, their notes, and the ledger over them.
//!
//! One owner for all of it, so that a clip's slots are counted exactly where its bytes come and go. Blocking; takes
//! times as arguments. Raw video leaves only by a verified receipt or by a quota that is counted.

mod gaps;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use proto::{
    CameraId, ClipId, SessionId, UtcTime,
    ledger::Ledger,
    limits::{ATTEMPTS_MAX, UNDECODABLE_KEPT_S},
    record::Receipt,
    signing::PublicKey,
    wire::NoiseKey,
};

use crate::{
    books::{Books, BooksError, Leaving},
    held::{Failure, Fresh, Header, Job, Retention},
    names::{self, ClipName},
    queue::{Entry, Note},
    store::{Store, StoreError},
};

/// Why a clip could not be kept, read or settled.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The spool. For a new clip: it is lost and counted as such by the caller.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// A receipt that the bridge did not sign, or for another clip: nothing is deleted.
    #[error("receipt for clip {clip} is not valid: {reason}; the clip is kept")]
    Receipt {
        /// The clip.
        clip: String,
        /// Why.
        reason: String,
    },
    /// The header of a record is not what was written.
    #[error("record {name} is damaged: {reason}")]
    Damaged {
        /// The record.
        name: String,
        /// Why.
        reason: String,
    },
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl KeepError {
    /// Whether the bytes of a held clip are gone for good.
    const fn is_loss(&self) -> bool {
        match self {
            Self::Store(StoreError::Missing(_) | StoreError::Corrupt { .. })
            | Self::Damaged { .. } => true,
            Self::Store(_) | Self::Books(_) | Self::Receipt { .. } | Self::Random => false,
        }
    }
}

/// Everything that is held.
pub struct Keeper {
    store: Box<dyn Store>,
    books: Books,
    entries: Vec<Entry>,
    retention: Retention,
    receipt_key: PublicKey,
    /// Cameras that capture no more, whose last epoch may end with its last receipt.
    ended: BTreeSet<CameraId>,
    /// Latest epoch of each camera, which may get further clips.
    latest: BTreeMap<CameraId, u64>,
    /// Up to when each live camera is accounted for; none of those that need not record now.
    marks: BTreeMap<CameraId, UtcTime>,
}

impl Keeper {
    /// Takes over a spool and a ledger; finishes what a crash left half way. `lost`: records that the spool found
    /// damaged; their slots count as dropped.
    ///
    /// # Errors
    /// When either cannot be read.
    pub fn open(
        store: Box<dyn Store>,
        state: &Path,
        retention: Retention,
        receipt_key: PublicKey,
        lost: &[String],
        now: UtcTime,
    ) -> Result<Self, KeepError> {
        let books = Books::open(state)?;
        let (ended, latest) = (BTreeSet::new(), BTreeMap::new());
        let (entries, marks) = (Vec::new(), BTreeMap::new());
        let mut keeper =
            Self { store, books, entries, retention, receipt_key, ended, latest, marks };
        if let Some(leaving) = keeper.books.leaving().cloned()
            && keeper.store.names().contains(&leaving.name)
        {
            if !leaving.keep {
                keeper.store.remove(&leaving.name)?;
            } else if keeper.note(&leaving.name)?.is_none_or(|n| n.settled_at.is_none()) {
                keeper.mark_settled(&leaving.name, now)?;
            }
        }
        for name in lost.iter().filter_map(|text| ClipName::parse(text)) {
            let leaving = Leaving { name: name.to_string(), keep: false };
            keeper.books.count(&name.camera, leaving, |s| s.dropped += name.slots)?;
        }
        for text in keeper.store.names() {
            let Some(name) = ClipName::parse(&text) else { continue };
            let none = Note { kept_at: now, attempts: 0, settled_at: None, until: None };
            let note = keeper.note(&text)?.unwrap_or(none);
            keeper.entries.push(Entry::new(name, note));
        }
        keeper.marks = gaps::open(&keeper.books, &keeper.entries);
        Ok(keeper)
    }

    /// Keeps a clip: durable on return. Over quota, others are dropped first, and counted. True unless it was there.
    ///
    /// # Errors
    /// When it cannot be made durable; nothing of it stays then.
    pub fn keep(&mut self, fresh: &Fresh<'_>, now: UtcTime) -> Result<bool, KeepError> {
        let (name, header) = fresh.describe();
        self.noise_key(&name.camera, name.epoch)?;
        let text = name.to_string();
        let header = serde_json::to_vec(&header).map_err(|e| damaged(&text, &e))?;
        if self.books.leaving().is_some_and(|leaving| leaving.name == text) {
            // Counted and on its way out: a file that is read again must not bring it back.
            return Ok(false);
        }
        loop {
            match self.store.append(&text, &header, fresh.bytes) {
                Ok(()) => break,
                Err(StoreError::AlreadyPresent(_)) => return Ok(false),
                Err(StoreError::Full) if self.drop_one()? => {}
                Err(error) => return Err(error.into()),
            }
        }
        let until = fresh.captured_at.plus_ns(fresh.interval.length_ns());
        if let Some(mark) = self.marks.get_mut(&name.camera) {
            *mark = until;
        }
        let note = Note { kept_at: now, attempts: 0, settled_at: None, until: Some(until) };
        self.latest.insert(name.camera.clone(), name.epoch);
        self.entries.push(Entry::new(name, note.clone()));
        // The clip is captured already; a note that cannot be written only makes it look younger after a restart.
        if let Err(error) = self.write_note(&text, &note) {
            tracing::warn!(%error, "the note of a clip was not written");
        }
        Ok(true)
    }

    /// Reads the clip that is next in line, and raises its attempt durably. `None` when nothing is due.
    ///
    /// # Errors
    /// When it cannot be read, or the attempt not be made durable.
    pub fn next(&mut self, now: Duration) -> Result<Option<Job>, KeepError> {
        let Some(at) = crate::queue::next(&self.entries, now) else { return Ok(None) };
        let Some(entry) = self.entries.get(at) else { return Ok(None) };
        let (name, text) = (entry.name.clone(), entry.name.to_string());
        let note = Note { attempts: entry.note.attempts.saturating_add(1), ..entry.note.clone() };
        self.write_note(&text, &note)?;
        if let Some(entry) = self.entries.get_mut(at) {
            entry.note = note.clone();
            entry.in_flight = true;
        }
        match self.job(name.clone(), note.attempts) {
            Err(error) if error.is_loss() => {
                // The spool set the record aside; its slots are accounted for and a person is told.
                tracing::error!(camera = %name.camera, %error, "a held clip is damaged");
                self.drop_clip(&name)?;
                Err(error)
            }
            Err(error) => {
                // It stays counted as an attempt: what cannot be read must not block the queue.
                self.give_back(&name, Failure::Attempt, now)?;
                Err(error)
            }
            Ok(job) => Ok(Some(job)),
        }
    }

    fn job(&mut self, name: ClipName, attempt: u32) -> Result<Job, KeepError> {
        let text = name.to_string();
        let stored = self.store.read(&text)?;
        let header: Header =
            serde_json::from_slice(&stored.header).map_err(|e| damaged(&text, &e))?;
        let noise_key = self.noise_key(&name.camera, name.epoch)?;
        let offer = header.offer(attempt, stored.body.len() as u64, noise_key);
        Ok(Job { name, offer, bytes: stored.body })
    }

    /// An upload brought no receipt.
    ///
    /// # Errors
    /// When the note cannot be written; the attempt then stays counted.
    pub fn give_back(
        &mut self,
        name: &ClipName,
        failure: Failure,
        now: Duration,
    ) -> Result<(), KeepError> {
        let Some(entry) = self.entries.iter_mut().find(|e| e.name == *name) else { return Ok(()) };
        entry.in_flight = false;
        entry.tried_at = Some(now);
        match failure {
            Failure::Attempt => Ok(()),
            Failure::NotTried => {
                entry.note.attempts = entry.note.attempts.saturating_sub(1);
                let note = entry.note.clone();
                self.write_note(&name.to_string(), &note)
            }
        }
    }

    /// A receipt came: verified here, counted, and only then is the clip destroyed.
    ///
    /// # Errors
    /// When the receipt is not the bridge's word on this very clip, or the disk fails.
    pub fn settle(
        &mut self,
        name: &ClipName,
        clip: &ClipId,
        receipt: &Receipt,
        now: UtcTime,
    ) -> Result<(), KeepError> {
        let wrong = |reason: String| KeepError::Receipt { clip: clip.to_string(), reason };
        receipt.verify(&self.receipt_key).map_err(|e| wrong(e.to_string()))?;
        if receipt.clip != *clip {
            return Err(wrong(format!("it is for {}", receipt.clip)));
        }
        let tally = receipt.tally;
        let answered: u64 =
            [tally.delivered, tally.withheld, tally.undecodable].map(u64::from).iter().sum();
        if answered != name.slots {
            return Err(wrong(format!("it answers {answered} of {} slots", name.slots)));
        }
        let keep = receipt.failure.is_some();
        let leaving = Leaving { name: name.to_string(), keep };
        let until = self.entries.iter().find(|e| e.name == *name).and_then(|e| e.note.until);
        self.books.count(&name.camera, leaving, |s| {
            s.receive(tally);
            s.pass(until);
        })?;
        if keep {
            self.mark_settled(&name.to_string(), now)?;
            if let Some(entry) = self.entries.iter_mut().find(|e| e.name == *name) {
                entry.in_flight = false;
                entry.note.settled_at = Some(now);
            }
            return Ok(());
        }
        self.forget(name)
    }

    /// Drops what is over age: undecodable clips after a day, held ones after the retention. Gives the dropped slots.
    ///
    /// # Errors
    /// What the disk says.
    pub fn purge(&mut self, now: UtcTime) -> Result<u64, KeepError> {
        let age = |since: UtcTime| now.micros().saturating_sub(since.micros()) / 1_000_000;
        let held_max = i64::try_from(self.retention.age_max.as_secs()).unwrap_or(i64::MAX);
        let undecodable_max = UNDECODABLE_KEPT_S.cast_signed();
        let over = |entry: &Entry| match entry.note.settled_at {
            Some(at) => age(at) > undecodable_max,
            None => !entry.in_flight && age(entry.note.kept_at) > held_max,
        };
        let old: Vec<ClipName> =
            self.entries.iter().filter(|e| over(e)).map(|e| e.name.clone()).collect();
        let mut slots = 0;
        for name in old {
            slots += self.drop_clip(&name)?;
        }
        Ok(slots)
    }

    /// The ledger of a camera. It balances by construction: captured is what left and what is held.
    #[must_use]
    pub fn ledger(&self, camera: &CameraId) -> Ledger {
        let s = self.books.settled(camera);
        let held = self.entries.iter().filter(|e| e.is_held() && e.name.camera == *camera);
        let held = held.map(|e| e.name.slots).sum();
        Ledger {
            captured: s.delivered + s.withheld + s.undecodable + s.dropped + held,
            delivered: s.delivered,
            withheld: s.withheld,
            undecodable: s.undecodable,
            held,
            dropped: s.dropped,
            gaps: s.gaps,
        }
    }

    /// Clips that wait for a receipt, and how many of them are quarantined.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        let held = self.entries.iter().filter(|e| e.is_held());
        let quarantined = held.clone().filter(|e| e.note.attempts >= ATTEMPTS_MAX && !e.in_flight);
        (held.clone().count(), quarantined.count())
    }

    /// Bytes in the spool.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// The first number of a session that is not in the spool.
    #[must_use]
    pub fn next_seq(&self, session: SessionId) -> u64 {
        let of_session = self.entries.iter().filter(|e| e.name.session == session);
        of_session.map(|e| e.name.seq.saturating_add(1)).max().unwrap_or(0)
    }

    /// A camera captures no more: the key of its last epoch goes with its last receipt.
    ///
    /// # Errors
    /// What the disk says.
    pub fn end(&mut self, camera: &CameraId) -> Result<(), KeepError> {
        self.ended.insert(camera.clone());
        self.sweep_keys()
    }

    fn mark_settled(&mut self, name: &str, now: UtcTime) -> Result<(), KeepError> {
        let note = Note { kept_at: now, attempts: 0, settled_at: Some(now), until: None };
        self.write_note(name, &note)
    }

    fn note(&self, name: &str) -> Result<Option<Note>, KeepError> {
        Ok(self.store.note(name)?.and_then(|n| serde_json::from_slice(&n).ok()))
    }

    fn write_note(&mut self, name: &str, note: &Note) -> Result<(), KeepError> {
        let bytes = serde_json::to_vec(note).map_err(|e| damaged(name, &e))?;
        Ok(self.store.set_note(name, &bytes)?)
    }

    /// Drops one clip by the stated order; false when there is none.
    fn drop_one(&mut self) -> Result<bool, KeepError> {
        let Some(at) = crate::queue::first_to_drop(&self.entries) else { return Ok(false) };
        let Some(name) = self.entries.get(at).map(|e| e.name.clone()) else { return Ok(false) };
        let slots = self.drop_clip(&name)?;
        tracing::error!(camera = %name.camera, slots, "the spool's quota dropped a clip");
        Ok(true)
    }

    fn drop_clip(&mut self, name: &ClipName) -> Result<u64, KeepError> {
        let held = self.entries.iter().any(|e| e.name == *name && e.is_held());
        let slots = if held { name.slots } else { 0 };
        let until = self.entries.iter().find(|e| e.name == *name).and_then(|e| e.note.until);
        let leaving = Leaving { name: name.to_string(), keep: false };
        self.books.count(&name.camera, leaving, |s| {
            s.dropped += slots;
            s.pass(until);
        })?;
        self.forget(name)?;
        Ok(slots)
    }

    fn forget(&mut self, name: &ClipName) -> Result<(), KeepError> {
        // Counted already: the entry goes even when the disk fails; the next start removes the bytes.
        self.entries.retain(|e| e.name != *name);
        self.store.remove(&name.to_string())?;
        self.sweep_keys()
    }

    /// Destroys the noise keys of epochs that hold no clip and get none any more.
    fn sweep_keys(&mut self) -> Result<(), KeepError> {
        for text in self.store.names() {
            let Some((camera, epoch)) = names::parse_noise(&text) else { continue };
            let open = self.latest.get(&camera).is_none_or(|latest| *latest <= epoch)
                && !self.ended.contains(&camera);
            let used =
                self.entries.iter().any(|e| e.name.camera == camera && e.name.epoch == epoch);
            if !open && !used {
                self.store.remove(&text)?;
            }
        }
        Ok(())
    }

    /// The key of an epoch, drawn and made durable when it is first asked for.
    fn noise_key(&mut self, camera: &CameraId, epoch: u64) -> Result<NoiseKey, KeepError> {
        let text = names::noise(camera, epoch);
        match self.store.read(&text) {
            Ok(stored) => {
                let bytes = zeroize::Zeroizing::new(stored.body);
                let key = <[u8; 32]>::try_from(bytes.as_slice());
                return key.map(NoiseKey).map_err(|e| damaged(&text, &e));
            }
            Err(StoreError::Missing(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let key = NoiseKey(crate::random()?);
        loop {
            match self.store.append(&text, b"{\"version\":1}", &key.0) {
                Ok(()) => return Ok(key),
                Err(StoreError::Full) if self.drop_one()? => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn damaged(name: &str, reason: &dyn std::error::Error) -> KeepError {
    KeepError::Damaged { name: name.to_owned(), reason: reason.to_string() }
}
