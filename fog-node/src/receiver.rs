//! Owns the way of clips in: connections of gateways, one channel for each clip, and the answer at its end.
//!
//! A clip is taken when it is its gateway's to offer, the bridge does not know it and has room, and there is a seat. From
//! then on it ends in exactly one answer: the bridge's receipt, or a refusal that says whether this was an attempt.

use std::{future::Future, pin::Pin, sync::Arc};

use base::{Fault, Faulty, Shutdown};
use link::{
    Channel, Listener, Peer,
    quic::LinkError,
    transfer::{BUSY_RETRY_MS, Decision, ReceiveOutcome, ReceivedClip, receive_clip},
};
use proto::{
    ClipId, Identity, UtcTime,
    record::Receipt,
    time::ClockSource,
    wire::{ClipMessage, Offer, RefuseReason},
};
use tokio::sync::Semaphore;

use crate::{
    bridge::{BridgeError, Standing},
    ends::InHand,
    node::{Node, count},
    offer::{self, Wrong},
    pipeline::{ClipOutput, Known},
    pool::{PoolError, Seat},
};

/// Connections at a time: gateways of a large site with two each, which bounds channels and their buffers.
const PEERS_MAX: usize = 256;
/// How soon an edge comes back when the bridge is away, in milliseconds: a restart of the bridge takes longer.
const BRIDGE_RETRY_MS: u64 = 2_000;

/// Takes connections until `tasks` end, then closes the listener. While the node drains, clips in hand go on and new
/// offers are refused.
pub async fn run(mut listener: Listener, node: Arc<Node>, tasks: Shutdown) {
    let places = Arc::new(Semaphore::new(PEERS_MAX));
    loop {
        let peer = tokio::select! {
            biased;
            () = tasks.requested() => break,
            peer = listener.accept() => peer,
        };
        let Some(peer) = peer else { break };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            node.counters.add(count::PEERS_TOO_MANY, 1);
            tracing::warn!(peer = %peer.identity(), PEERS_MAX, "too many connections, refused");
            peer.close("too many connections");
            continue;
        };
        let (node, inner) = (Arc::clone(&node), tasks.clone());
        tasks.spawn(async move {
            channels(&peer, &node, &inner).await;
            drop(place);
        });
    }
    listener.close().await;
}

async fn channels(peer: &Peer, node: &Arc<Node>, tasks: &Shutdown) {
    tracing::debug!(peer = %peer.identity(), address = %peer.address(), "connected");
    loop {
        let channel = tokio::select! {
            biased;
            () = tasks.requested() => return,
            channel = peer.accept_channel() => channel,
        };
        match channel {
            Ok(channel) => {
                let (node, stop) = (Arc::clone(node), tasks.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        biased;
                        () = stop.requested() => {}
                        () = node.serve(channel) => {}
                    }
                });
            }
            Err(error) => return tracing::debug!(%error, "connection ended"),
        }
    }
}

/// What a clip holds that was taken.
struct Taken {
    /// Until its answer is out.
    seat: Seat,
    /// Until its worker has answered.
    in_hand: Option<InHand>,
}

impl Taken {
    fn begin(&mut self) -> Option<(&Seat, InHand)> {
        Some((&self.seat, self.in_hand.take()?))
    }
}

impl Node {
    /// One clip, from the offer to the answer.
    async fn serve(&self, mut channel: Channel) {
        let from = channel.identity().clone();
        let mut taken = None;
        let ended = match self.receive(&mut channel, &from, &mut taken).await {
            Ok(ReceiveOutcome::Clip(clip)) => {
                self.counters.add(count::RECEIVED, 1);
                let answer = self.answer(clip, &mut taken).await;
                if let ClipMessage::Refuse { reason, .. } = answer {
                    self.count_refusal(reason);
                }
                channel.send(&answer).await
            }
            Ok(ReceiveOutcome::Known) => {
                self.counters.add(count::KNOWN, 1);
                Ok(())
            }
            Ok(ReceiveOutcome::Refused(reason)) => {
                self.count_refusal(reason);
                Ok(())
            }
            Err(error) => Err(error),
        };
        let ended = match ended {
            Ok(()) => channel.finish().await,
            Err(error) => {
                channel.abort();
                Err(error)
            }
        };
        if let Err(error) = ended {
            self.count_broken(&from, &error);
        }
        // Only now: an orderly end waits for every seat, and the answer is out.
        drop(taken);
    }

    /// Boxed here, where the compiler still sees that it may go between threads.
    fn receive<'a>(
        &'a self,
        channel: &'a mut Channel,
        from: &'a Identity,
        taken: &'a mut Option<Taken>,
    ) -> Pin<Box<dyn Future<Output = Result<ReceiveOutcome, LinkError>> + Send + 'a>> {
        let decide = async move |offer: &Offer| self.decide(offer, from, taken).await;
        Box::pin(receive_clip(channel, &self.receiver, decide))
    }

    async fn decide(&self, offer: &Offer, from: &Identity, taken: &mut Option<Taken>) -> Decision {
        self.counters.add(count::OFFERS, 1);
        let refuse = |reason, retry_after_ms| Decision::Refuse { reason, retry_after_ms };
        if let Err(wrong) = offer::judge(offer, from, &self.gateways) {
            if let Wrong::Camera(_) = wrong {
                self.counters.add(count::FOREIGN_CAMERAS, 1);
            }
            tracing::warn!(clip = %offer.clip, gateway = %from, error = %wrong, "offer refused");
            return refuse(RefuseReason::Invalid, 0);
        }
        if self.draining.is_requested() {
            return refuse(RefuseReason::Busy, BUSY_RETRY_MS);
        }
        match self.bridge.status(&offer.clip).await {
            Ok(Standing::Known(receipt)) => return Decision::Known(receipt),
            Ok(Standing::Unknown) => {}
            Err(error) => {
                let answer = self.without_bridge(&offer.clip, &error, RefuseReason::Invalid);
                return refuse(answer.0, answer.1);
            }
        }
        // In hand from here on, so that the clip behind it waits also where that one is sent sooner.
        *taken =
            self.pool.seat().map(|seat| Taken { seat, in_hand: Some(self.ends.take(&offer.clip)) });
        if taken.is_some() { Decision::Take } else { refuse(RefuseReason::Busy, BUSY_RETRY_MS) }
    }

    /// What an edge is told when the bridge gives no receipt, and when to come back. A clip that the bridge will not
    /// have must not stand in front of others: `refused` says what it is then.
    fn without_bridge(
        &self,
        clip: &ClipId,
        error: &BridgeError,
        refused: RefuseReason,
    ) -> (RefuseReason, u64) {
        match error {
            BridgeError::Full { retry_after_ms } => {
                tracing::warn!(%clip, "the bridge is full, clip refused");
                (RefuseReason::BridgeUnavailable, *retry_after_ms)
            }
            BridgeError::Away
            | BridgeError::Silent(_)
            | BridgeError::Link(_)
            | BridgeError::Credentials(_) => {
                tracing::warn!(%clip, %error, "no bridge, clip refused");
                (RefuseReason::BridgeUnavailable, BRIDGE_RETRY_MS)
            }
            BridgeError::Refused(_) | BridgeError::Protocol | BridgeError::Message(_) => {
                self.counters.add(count::COMMITS_REFUSED, 1);
                tracing::error!(%clip, %error, "the bridge will not have this clip");
                (refused, BUSY_RETRY_MS)
            }
        }
    }

    /// Has a clip processed and committed. The credit is held until the end of this, the bytes are not.
    async fn answer(&self, mut clip: Box<ReceivedClip>, taken: &mut Option<Taken>) -> ClipMessage {
        let busy = |reason| ClipMessage::Refuse { reason, retry_after_ms: BUSY_RETRY_MS };
        let Some((seat, in_hand)) = taken.as_mut().and_then(Taken::begin) else {
            return busy(RefuseReason::Busy);
        };
        let bytes = std::mem::take(&mut clip.bytes).into();
        let offer = clip.offer.clone();
        let before = in_hand.before().await;
        let contrasts = self.watches.contrasts(&offer.clip.camera);
        let known = Known { contrasts, before };
        let output = match self.pool.process(seat, offer, known, bytes).await {
            Ok(output) => Arc::new(output),
            Err(PoolError::NoWorker) => return busy(RefuseReason::Busy),
            // Logged and counted where the worker was lost.
            Err(PoolError::Worker(_)) => return busy(RefuseReason::Failed),
        };
        in_hand.keep(output.last.clone());
        // The clip behind it need not wait for the bridge.
        drop(in_hand);
        self.note(&output);
        match self.bridge.commit(Arc::clone(&output)).await {
            Ok(receipt) => {
                self.count_committed(&output, &receipt);
                ClipMessage::Receipt(receipt)
            }
            Err(error) => {
                let clip = &clip.offer.clip;
                let (reason, retry_after_ms) =
                    self.without_bridge(clip, &error, RefuseReason::Failed);
                ClipMessage::Refuse { reason, retry_after_ms }
            }
        }
    }

    /// What was noticed stands, whether or not the clip is committed.
    fn note(&self, output: &ClipOutput) {
        let notes = &output.notes;
        let camera = &output.record.clip.camera;
        // A file says when it was made, or nothing: its camera's days are those of this machine.
        let at = match output.record.clock.source {
            ClockSource::Rtcp | ClockSource::System => Some(output.record.captured_at),
            ClockSource::File | ClockSource::Unknown => None,
        };
        let here = || UtcTime::from_micros(self.clock.utc_micros()).unwrap_or(UtcTime::EPOCH);
        let began = self.watches.note(camera, at.unwrap_or_else(here), notes);
        if began.drift {
            self.counters.add(count::DRIFTED, 1);
            tracing::warn!(%camera, "the detector finds fewer canaries than in this camera's first week");
        }
        if began.low {
            self.counters.add(count::CANARIES_LOW, 1);
            tracing::warn!(%camera, "canary recall is too low to watch this camera by: no drift will show");
        }
        if began.silence {
            self.counters.add(count::FELL_SILENT, 1);
            tracing::warn!(%camera, "a busy camera shows nobody any more");
        }
        self.counters.add(count::SILENT, notes.looked.saturating_sub(notes.with_boxes).into());
        self.counters.add(count::DOUBTED, notes.doubted.into());
    }

    /// The receipt may be of an earlier attempt; what it says is what counts.
    fn count_committed(&self, output: &ClipOutput, receipt: &Receipt) {
        let tally = receipt.tally;
        self.counters.add(count::COMMITTED, 1);
        self.counters.add(count::FRAMES, tally.delivered.into());
        self.counters.add(count::WITHHELD, tally.withheld.into());
        self.counters.add(count::UNDECODABLE, tally.undecodable.into());
        if let Some(failure) = receipt.failure {
            self.counters.add(count::UNREADABLE, 1);
            tracing::warn!(clip = %output.record.clip, ?failure, "the clip could not be read");
        }
    }

    fn count_refusal(&self, reason: RefuseReason) {
        let name = match reason {
            RefuseReason::Busy => count::BUSY,
            RefuseReason::BridgeUnavailable => count::BRIDGE_UNAVAILABLE,
            RefuseReason::Corrupt => count::CORRUPT,
            RefuseReason::Failed => count::FAILED,
            RefuseReason::Invalid => count::INVALID,
        };
        self.counters.add(name, 1);
    }

    fn count_broken(&self, from: &Identity, error: &LinkError) {
        if error.fault() == Fault::Corrupt {
            self.counters.add(count::PROTOCOL_BROKEN, 1);
            tracing::warn!(gateway = %from, %error, "a gateway broke the protocol");
        } else {
            self.counters.add(count::UPLOADS_LOST, 1);
            tracing::debug!(gateway = %from, %error, "an upload ended early");
        }
    }
}
