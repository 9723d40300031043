//! Owns the drivers of both state machines over QUIC channels.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::Clock;
use proto::{
    limits::FOG_INFLIGHT_BYTES_MAX,
    record::Receipt,
    wire::{ClipMessage, Offer, RefuseReason},
};

use super::{
    BUSY_RETRY_MS, PrefixKey, ReceiveState, Reception, TransferError, UploadOutcome, UploadState,
    UploadStep,
};
use crate::quic::{Channel, LinkError, Peer};

/// A connected peer that sends no clip byte for so long loses its place, since it holds credit.
const STALL_MAX: Duration = Duration::from_secs(20);
/// Bytes taken from a channel at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Uploads a clip on a channel of its own and waits for the bridge's word, which takes as long as the fog node needs:
/// the caller sets a time limit, and dropping the future ends the upload. The fog keeps the prefix.
///
/// # Errors
/// When the connection is lost or the fog node breaks the protocol. The clip must then be kept, whatever was sent.
pub async fn upload_clip(
    peer: &Peer,
    offer: &Offer,
    bytes: &[u8],
) -> Result<UploadOutcome, LinkError> {
    let mut channel = peer.open_channel().await?;
    let broke = |why| LinkError::Protocol { peer: peer.address(), why };
    channel.send(&ClipMessage::Offer(Box::new(offer.clone()))).await?;
    let mut state = UploadState::new(offer);
    loop {
        match state.on_message(channel.recv().await?).map_err(broke)? {
            UploadStep::Send { offset } => {
                let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
                let rest = rest.ok_or_else(|| broke("an offset beyond the clip".into()))?;
                channel.send_bytes(rest).await?;
            }
            UploadStep::Wait => {}
            UploadStep::Done(outcome) => return Ok(outcome),
        }
    }
}

/// Credit and prefixes of a fog node, shared by all its channels.
#[derive(Clone)]
pub struct Receiver {
    state: Arc<Mutex<ReceiveState>>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receiver({} bytes free)", self.free_bytes())
    }
}

impl Receiver {
    /// With credit for [`FOG_INFLIGHT_BYTES_MAX`].
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_credit(clock, FOG_INFLIGHT_BYTES_MAX)
    }

    /// With credit for `bytes_max`.
    #[must_use]
    pub fn with_credit(clock: Arc<dyn Clock>, bytes_max: u64) -> Self {
        Self { state: Arc::new(Mutex::new(ReceiveState::new(bytes_max))), clock }
    }

    /// Bytes for which a new clip would get credit now; for the fog's `FogEndpoint`.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.with(|state, _| state.free_bytes())
    }

    /// Drops prefixes whose time is over; call it now and then, so that an idle fog holds none.
    pub fn expire(&self) {
        self.with(|state, now| state.expire(now));
    }

    /// A clip that is being received elsewhere.
    #[cfg(test)]
    pub(super) fn hold_for_test(&self, key: &PrefixKey) -> Reception {
        self.with(|state, now| state.begin(now, key)).unwrap()
    }

    fn with<T>(&self, act: impl FnOnce(&mut ReceiveState, Duration) -> T) -> T {
        let now = self.clock.now();
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

/// What the fog node says to an offer, before any byte is sent.
#[derive(Debug)]
pub enum Decision {
    /// The bridge does not know the clip and has room.
    Take,
    /// The bridge committed it before.
    Known(Receipt),
    /// Not now, or never.
    Refuse {
        /// Why.
        reason: RefuseReason,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
}

/// What became of an offer on this channel.
#[derive(Debug)]
#[must_use]
pub enum ReceiveOutcome {
    /// The clip is here and the edge knows. The caller answers on the same channel with `Receipt` or `Refuse`.
    Clip(Box<ReceivedClip>),
    /// The bridge knew the clip, and the edge has its receipt.
    Known,
    /// The edge was told to come back, or not to.
    Refused(RefuseReason),
}

/// A whole, verified clip. Its credit is given back when it is dropped: keep it until the worker is done with it.
#[derive(Debug)]
pub struct ReceivedClip {
    /// As the edge offered it.
    pub offer: Offer,
    /// All bytes.
    pub bytes: Vec<u8>,
    #[expect(dead_code, reason = "held for its Drop")]
    credit: Credit,
}

/// Credit for one clip. Dropped with a reception in it, the prefix is kept; dropped without, the credit is free.
#[derive(Debug)]
struct Credit {
    receiver: Receiver,
    key: PrefixKey,
    reception: Option<Reception>,
}

impl Drop for Credit {
    fn drop(&mut self) {
        let reception = self.reception.take();
        self.receiver.with(|state, now| match reception {
            Some(reception) => state.suspend(now, reception),
            None => state.release(&self.key),
        });
    }
}

/// Receives what the edge offers on this channel. `decide` asks the bridge and judges whether the camera is this
/// gateway's; that the site is the peer's is checked here. Whatever happens, also when the future is dropped, credit
/// is given back and a prefix of an upload that broke off is kept.
///
/// # Errors
/// When the connection is lost, the edge stalls or breaks the protocol.
pub async fn receive_clip(
    channel: &mut Channel,
    receiver: &Receiver,
    decide: impl AsyncFnOnce(&Offer) -> Decision,
) -> Result<ReceiveOutcome, LinkError> {
    let ClipMessage::Offer(offer) = channel.recv().await? else {
        let why = "the first message is no offer".into();
        return Err(LinkError::Protocol { peer: channel.peer(), why });
    };
    if offer.clip.site != channel.identity().site {
        return refuse(channel, RefuseReason::Invalid, 0).await;
    }
    match decide(&offer).await {
        Decision::Take => {}
        Decision::Known(receipt) => {
            channel.send(&ClipMessage::Receipt(receipt)).await?;
            return Ok(ReceiveOutcome::Known);
        }
        Decision::Refuse { reason, retry_after_ms } => {
            return refuse(channel, reason, retry_after_ms).await;
        }
    }
    let key = PrefixKey::new(channel.identity(), &offer);
    let reception = match receiver.with(|state, now| state.begin(now, &key)) {
        Ok(reception) => reception,
        Err(reason) => return refuse(channel, reason, BUSY_RETRY_MS).await,
    };
    let mut credit = Credit { receiver: receiver.clone(), key, reception: Some(reception) };
    receive_bytes(channel, &mut credit).await?;
    let Some(reception) = credit.reception.take() else {
        return refuse(channel, RefuseReason::Failed, BUSY_RETRY_MS).await;
    };
    match reception.verify() {
        Ok(bytes) => {
            channel.send(&ClipMessage::Received).await?;
            let clip = ReceivedClip { offer: *offer, bytes, credit };
            Ok(ReceiveOutcome::Clip(Box::new(clip)))
        }
        Err(error) => {
            tracing::warn!(peer = %channel.identity(), %error, "received bytes are refused");
            refuse(channel, RefuseReason::Corrupt, BUSY_RETRY_MS).await
        }
    }
}

async fn receive_bytes(channel: &mut Channel, credit: &mut Credit) -> Result<(), LinkError> {
    let Some(reception) = credit.reception.as_mut() else { return Ok(()) };
    let peer = channel.peer();
    channel.send(&ClipMessage::Accept { offset: reception.offset() }).await?;
    while reception.missing() > 0 {
        let most = usize::try_from(reception.missing()).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let chunk = tokio::time::timeout(STALL_MAX, channel.recv_some(most)).await;
        let chunk = chunk.map_err(|_| LinkError::Stalled { peer, after: STALL_MAX })??;
        let broke = |e: TransferError| LinkError::Protocol { peer, why: e.to_string() };
        reception.push(&chunk.bytes).map_err(broke)?;
    }
    Ok(())
}

async fn refuse(
    channel: &mut Channel,
    reason: RefuseReason,
    retry_after_ms: u64,
) -> Result<ReceiveOutcome, LinkError> {
    channel.send(&ClipMessage::Refuse { reason, retry_after_ms }).await?;
    Ok(ReceiveOutcome::Refused(reason))
}
