//! Owns the talk with fog nodes over QUIC: what may come when, how much of it, and what is answered.
//!
//! A channel is any number of `Status` questions and commits; a commit is some `Frame`s and then `Commit`. Whatever is
//! wrong with a clip is answered at its `Commit`, so that the fog node reads the answer; what has no place in the
//! protocol ends the channel. Limits: 256 peers, 64 frames a clip, 320 MiB of frames in all that are not committed yet.

use std::{sync::Arc, time::Duration};

use base::{Faulty, Shutdown};
use link::{Channel, Listener, Peer, quic::LinkError};
use proto::{
    envelope::SealedFrame,
    limits::{ENVELOPE_BYTES_MAX, SLOTS_MAX},
    record::ClipRecord,
    signing::PublicKey,
    wire::CommitMessage,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    bridge::{Bridge, count},
    clip::{Refusal, SealedClip, open_frame},
    committer::{Answer, Committer},
};

/// Connected fog nodes at a time: a site has dozens.
const PEERS_MAX: u32 = 256;
/// Frames in memory that are not committed yet, in KiB: the largest clip (64 frames of 4 MiB) and a quarter more. One
/// more finds no room and is told to ask again, so that half clips can never wait for one another.
const HELD_KIB_MAX: usize = 320 * 1024;
/// Longest silence of a peer in the middle of a clip.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Longest time that talks may take to end after shutdown was asked for: a commit that is under way is finished.
const CLOSING: Duration = Duration::from_secs(5);

/// What every talk needs.
pub struct Desk {
    /// The bridge.
    pub bridge: Arc<Bridge>,
    /// Gives the answers.
    pub committer: Arc<Committer>,
    /// The site's seal root.
    pub root: PublicKey,
    held: Arc<Semaphore>,
}

impl Desk {
    /// A desk at which clips are committed.
    #[must_use]
    pub fn new(bridge: Arc<Bridge>, committer: Arc<Committer>, root: PublicKey) -> Arc<Self> {
        let held = Arc::new(Semaphore::new(HELD_KIB_MAX));
        Arc::new(Self { bridge, committer, root, held })
    }

    /// KiB of frames in memory that are not committed yet.
    #[must_use]
    pub fn held_kib(&self) -> usize {
        HELD_KIB_MAX.saturating_sub(self.held.available_permits())
    }
}

/// Talks with every fog node until shutdown; what is under way then is finished within [`CLOSING`].
pub async fn serve(mut listener: Listener, desk: Arc<Desk>, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(usize::try_from(PEERS_MAX).unwrap_or(usize::MAX)));
    loop {
        let peer = tokio::select! {
            biased;
            () = shutdown.requested() => break,
            peer = listener.accept() => peer,
        };
        let Some(peer) = peer else { break };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let (desk, stop) = (Arc::clone(&desk), shutdown.clone());
                shutdown.spawn(meet(peer, desk, Arc::new(place), stop));
            }
            Err(_) => {
                desk.bridge.count(count::PEERS_MANY);
                tracing::warn!(peer = %peer.identity(), "too many peers, one is turned away");
                peer.close("too many peers");
            }
        }
    }
    if tokio::time::timeout(CLOSING, places.acquire_many(PEERS_MAX)).await.is_err() {
        tracing::warn!("some talks did not end in time; their clips come again");
    }
    listener.close().await;
}

async fn meet(peer: Peer, desk: Arc<Desk>, place: Arc<OwnedSemaphorePermit>, shutdown: Shutdown) {
    tracing::info!(peer = %peer.identity(), address = %peer.address(), "fog node connected");
    loop {
        let channel = tokio::select! {
            biased;
            () = shutdown.requested() => return,
            channel = peer.accept_channel() => channel,
        };
        match channel {
            Ok(channel) => {
                let (desk, place, stop) = (Arc::clone(&desk), Arc::clone(&place), shutdown.clone());
                shutdown.spawn(async move {
                    talk(channel, &desk, &stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::info!(peer = %peer.identity(), reason = %error, "fog node left");
                return;
            }
        }
    }
}

async fn talk(mut channel: Channel, desk: &Desk, shutdown: &Shutdown) {
    let peer = channel.identity().clone();
    match turns(&mut channel, desk, shutdown).await {
        Ok(()) => {
            if let Err(error) = channel.finish().await {
                tracing::debug!(%peer, %error, "the last answer may not have arrived");
            }
        }
        Err(error) if error.fault() == base::Fault::Transient => {
            tracing::debug!(%peer, reason = %error, "channel ended");
        }
        Err(error) => {
            desk.bridge.count(count::PROTOCOL);
            tracing::warn!(%peer, %error, "channel ended by us");
            channel.abort();
        }
    }
}

/// Question and answer until the peer ends the channel (an error of the link) or shutdown between two clips.
async fn turns(channel: &mut Channel, desk: &Desk, shutdown: &Shutdown) -> Result<(), LinkError> {
    let mut incoming = Incoming::default();
    loop {
        let message = if incoming.frames_seen == 0 {
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                message = channel.recv() => message?,
            }
        } else {
            let peer = channel.peer();
            let stalled = |_| LinkError::Stalled { peer, after: STALL_MAX };
            tokio::time::timeout(STALL_MAX, channel.recv()).await.map_err(stalled)??
        };
        match message {
            CommitMessage::Status(clip) => {
                let answer = if clip.site == *desk.bridge.site() {
                    desk.committer.status(&clip).await.into()
                } else {
                    refuse(desk, channel, &Refusal::Site { clip })
                };
                channel.send(&answer).await?;
            }
            CommitMessage::Frame { length } => incoming.take(channel, desk, length).await?,
            CommitMessage::Commit(record) => {
                let incoming = std::mem::take(&mut incoming);
                let answer = match incoming.commit(*record, channel, desk).await {
                    Ok(answer) => answer.into(),
                    Err(refusal) => refuse(desk, channel, &refusal),
                };
                channel.send(&answer).await?;
            }
            CommitMessage::Unknown
            | CommitMessage::Full { .. }
            | CommitMessage::Committed(_)
            | CommitMessage::Refuse { .. } => {
                let why = "an answer where a question belongs".to_owned();
                return Err(LinkError::Protocol { peer: channel.peer(), why });
            }
        }
    }
}

fn refuse(desk: &Desk, channel: &Channel, refusal: &Refusal) -> CommitMessage {
    desk.bridge.count(refusal.counter());
    tracing::error!(peer = %channel.identity(), %refusal, "a clip was refused");
    CommitMessage::Refuse { why: refusal.to_string() }
}

/// The frames of a clip that is being sent.
#[derive(Default)]
struct Incoming {
    frames: Vec<SealedFrame>,
    frames_seen: usize,
    held: Vec<OwnedSemaphorePermit>,
    /// The first thing that is wrong; what follows is read and dropped.
    refused: Option<Refusal>,
    no_room: bool,
}

impl Incoming {
    /// Receives the bytes of a frame and opens them.
    async fn take(
        &mut self,
        channel: &mut Channel,
        desk: &Desk,
        length: u32,
    ) -> Result<(), LinkError> {
        let peer = channel.peer();
        self.frames_seen += 1;
        if self.frames_seen > SLOTS_MAX {
            let why = format!("over {SLOTS_MAX} frames in a clip");
            return Err(LinkError::Protocol { peer, why });
        }
        let kib = length.div_ceil(1024);
        let room = Arc::clone(&desk.held).try_acquire_many_owned(kib).ok();
        let receiving = channel.recv_bytes(length.into(), ENVELOPE_BYTES_MAX);
        let stalled = |_| LinkError::Stalled { peer, after: STALL_MAX };
        let bytes = tokio::time::timeout(STALL_MAX, receiving).await.map_err(stalled)??;
        let Some(room) = room else {
            self.no_room = true;
            return Ok(());
        };
        if self.no_room || self.refused.is_some() {
            return Ok(());
        }
        let (root, now) = (desk.root, desk.bridge.utc());
        let opened = tokio::task::spawn_blocking(move || open_frame(bytes, &root, now)).await;
        match opened {
            Ok(Ok(frame)) => {
                self.frames.push(frame);
                self.held.push(room);
            }
            Ok(Err(refusal)) => self.refused = Some(refusal),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
        Ok(())
    }

    async fn commit(
        self,
        record: ClipRecord,
        channel: &Channel,
        desk: &Desk,
    ) -> Result<Answer, Refusal> {
        if let Some(refusal) = self.refused {
            return Err(refusal);
        }
        if self.no_room {
            desk.bridge.count(count::FULL);
            return Ok(Answer::NotNow);
        }
        let clip = SealedClip::assemble(record, self.frames, desk.bridge.site())?;
        let answer = desk.committer.commit(clip, channel.identity()).await;
        // Held until the clip is on disk or dropped.
        drop(self.held);
        Ok(answer)
    }
}
