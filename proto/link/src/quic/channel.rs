//! Owns a channel: messages and raw bytes with one peer, in order, over one bidirectional stream.

use std::net::SocketAddr;

use proto::{
    Identity,
    limits::MESSAGE_BYTES_MAX,
    wire::{self, WireError, WireMessage},
};
use quinn::{ReadError, ReadExactError, VarInt, WriteError};

use super::{LinkError, lost};

/// Reset code for bytes that are no message of the protocol.
const BROKEN: VarInt = VarInt::from_u32(2);

/// Messages and raw bytes with one peer, in order.
#[derive(Debug)]
pub struct Channel {
    pub(super) identity: Identity,
    pub(super) peer: SocketAddr,
    pub(super) send: quinn::SendStream,
    pub(super) recv: quinn::RecvStream,
}

impl Channel {
    /// Who is there.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// From where the peer talked when the channel was opened.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Sends a message; returns when QUIC has taken it.
    ///
    /// # Errors
    /// When the message is over its cap or the channel is gone.
    pub async fn send(&mut self, message: &impl WireMessage) -> Result<(), LinkError> {
        let peer = self.peer;
        let body = wire::encode(message).map_err(|source| LinkError::Message { peer, source })?;
        let length = u32::try_from(body.len()).map_err(|_| self.too_long(body.len()))?;
        self.send_bytes(&length.to_be_bytes()).await?;
        self.send_bytes(&body).await
    }

    /// Receives a message. Dropped half way, the channel is of no more use.
    ///
    /// # Errors
    /// When the channel ends or the bytes are no message.
    pub async fn recv<M: WireMessage>(&mut self) -> Result<M, LinkError> {
        let mut length = [0; 4];
        self.fill(&mut length).await?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MESSAGE_BYTES_MAX {
            return Err(self.too_long(length));
        }
        let mut body = vec![0; length];
        self.fill(&mut body).await?;
        wire::decode(&body).map_err(|source| LinkError::Message { peer: self.peer, source })
    }

    /// Sends raw bytes whose length the peer knows.
    ///
    /// # Errors
    /// When the channel is gone.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.send.write_all(bytes).await.map_err(|error| match error {
            WriteError::ConnectionLost(error) => lost(self.peer, &error),
            WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => {
                LinkError::Lost { peer: self.peer, why: error.to_string() }
            }
        })
    }

    /// Receives exactly `length` raw bytes, if `length` is within `limit`.
    ///
    /// # Errors
    /// [`LinkError::TooLong`] before anything is allocated; or the channel is gone.
    pub async fn recv_bytes(&mut self, length: u64, limit: usize) -> Result<Vec<u8>, LinkError> {
        let fits = usize::try_from(length).ok().filter(|length| *length <= limit);
        let too_long = || {
            let limit = u64::try_from(limit).unwrap_or(u64::MAX);
            LinkError::TooLong { peer: self.peer, length, limit }
        };
        let mut bytes = vec![0; fits.ok_or_else(too_long)?];
        self.fill(&mut bytes).await?;
        Ok(bytes)
    }

    /// Receives up to `most` raw bytes, at least one.
    pub(crate) async fn recv_some(&mut self, most: usize) -> Result<quinn::Chunk, LinkError> {
        match self.recv.read_chunk(most, true).await {
            Ok(Some(chunk)) => Ok(chunk),
            Ok(None) => Err(self.ended()),
            Err(error) => Err(self.read_failed(error)),
        }
    }

    /// Says that nothing more will be sent, and waits until the peer has everything or is gone.
    ///
    /// # Errors
    /// When the connection is gone before.
    pub async fn finish(mut self) -> Result<(), LinkError> {
        // An error means that it is finished already.
        drop(self.send.finish());
        match self.send.stopped().await {
            Ok(_) | Err(quinn::StoppedError::ZeroRttRejected) => Ok(()),
            Err(quinn::StoppedError::ConnectionLost(error)) => Err(lost(self.peer, &error)),
        }
    }

    /// Resets both directions, for a peer that broke the protocol. Errors mean that they are closed already.
    pub fn abort(mut self) {
        drop(self.send.reset(BROKEN));
        drop(self.recv.stop(BROKEN));
    }

    async fn fill(&mut self, bytes: &mut [u8]) -> Result<(), LinkError> {
        match self.recv.read_exact(bytes).await {
            Ok(()) => Ok(()),
            Err(ReadExactError::FinishedEarly(_)) => Err(self.ended()),
            Err(ReadExactError::ReadError(error)) => Err(self.read_failed(error)),
        }
    }

    fn ended(&self) -> LinkError {
        LinkError::Lost { peer: self.peer, why: "the channel was finished".into() }
    }

    fn read_failed(&self, error: ReadError) -> LinkError {
        match error {
            ReadError::ConnectionLost(error) => lost(self.peer, &error),
            ReadError::Reset(_)
            | ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => {
                LinkError::Lost { peer: self.peer, why: error.to_string() }
            }
        }
    }

    fn too_long(&self, length: usize) -> LinkError {
        LinkError::Message { peer: self.peer, source: WireError::TooLong(length) }
    }
}
