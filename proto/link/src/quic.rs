//! Owns QUIC between processes: listeners, connections between two identities, channels of messages and raw bytes.
//!
//! A channel is one bidirectional stream. A message is a big-endian `u32` length, at most
//! [`MESSAGE_BYTES_MAX`](proto::limits::MESSAGE_BYTES_MAX) and checked before anything is allocated, and that many
//! bytes of `proto::wire`. Bulk bytes stand raw between messages; their length was agreed in a message.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use base::{Fault, Faulty, counters::Counters};
use proto::{
    Identity, Role,
    limits::MESSAGE_BYTES_MAX,
    wire::{self, WireError, WireMessage},
};
use quinn::{
    ConnectionError, Endpoint, ReadError, ReadExactError, VarInt, WriteError,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls_pki_types::CertificateDer;
use tokio::task::JoinSet;

use crate::tls::{Credentials, Refusal, SERVER_NAME, TlsError};

/// A peer that says nothing for so long is gone: short enough that its clip's credit comes back soon.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// A third of it: two keep-alives may be lost.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Channels of one connection at a time: clips in flight of one gateway, with room to spare.
pub const CHANNELS_MAX: u32 = 16;
/// Unread bytes per channel: fills 100 Mbit/s at 80 ms. Times [`CHANNELS_MAX`] it bounds a connection.
const CHANNEL_WINDOW: u32 = 1024 * 1024;
/// Handshakes at a time; more wait in the endpoint's own bounded queue.
const HANDSHAKES_MAX: usize = 64;
/// Close code of an orderly end.
const DONE: VarInt = VarInt::from_u32(0);
/// Close code towards a peer that may not connect.
const REFUSED: VarInt = VarInt::from_u32(1);
/// Close and reset code for bytes that are no message of the protocol.
const BROKEN: VarInt = VarInt::from_u32(2);
/// QUIC error codes from here on are TLS alerts (RFC 9001, section 4.8).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// The two protocols, each with its ALPN name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Edge to fog: clips.
    Clip,
    /// Fog to bridge: commits.
    Commit,
}

impl Protocol {
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Clip => wire::ALPN_CLIP,
            Self::Commit => wire::ALPN_COMMIT,
        }
    }
}

/// Why a connection or a channel cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Our own credentials.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket cannot be had, or an address has no meaning.
    #[error("address {address}: {source}")]
    Address {
        /// The address as given.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// TLS failed: unknown certificate authority, wrong name, other protocol.
    #[error("handshake with {peer} failed: {why}; compare roots.pem and chain.pem of both sides")]
    Handshake {
        /// The other side.
        peer: SocketAddr,
        /// What TLS says.
        why: String,
    },
    /// We refused the peer, whose chain verified.
    #[error("refused {peer}: {refusal}")]
    Refused {
        /// The other side.
        peer: SocketAddr,
        /// Why.
        refusal: Refusal,
    },
    /// The peer refused us.
    #[error("{peer} refused us: {why}")]
    RefusedByPeer {
        /// The other side.
        peer: SocketAddr,
        /// What it says.
        why: String,
    },
    /// The connection or channel ended, was lost, or never came to be.
    #[error("connection with {peer} ended: {why}")]
    Lost {
        /// The other side.
        peer: SocketAddr,
        /// What happened.
        why: String,
    },
    /// The peer sent nothing for too long in the middle of bulk bytes.
    #[error("{peer} stalled for {} s", .after.as_secs())]
    Stalled {
        /// The other side.
        peer: SocketAddr,
        /// How long we waited.
        after: Duration,
    },
    /// A message that is over its cap or does not decode.
    #[error("message from or to {peer}: {source}")]
    Message {
        /// The other side.
        peer: SocketAddr,
        /// Why.
        source: WireError,
    },
    /// A message that has no place here.
    #[error("{peer} broke the protocol: {why}")]
    Protocol {
        /// The other side.
        peer: SocketAddr,
        /// What it did.
        why: String,
    },
    /// Bulk bytes over the limit that the caller set.
    #[error("{length} bytes from {peer} are over the limit of {limit}")]
    TooLong {
        /// The other side.
        peer: SocketAddr,
        /// What was announced.
        length: u64,
        /// The limit.
        limit: u64,
    },
}

impl Faulty for LinkError {
    fn fault(&self) -> Fault {
        match self {
            Self::Tls(error) => error.fault(),
            Self::Address { .. } | Self::Lost { .. } | Self::Stalled { .. } => Fault::Transient,
            Self::Handshake { .. } | Self::Refused { .. } | Self::RefusedByPeer { .. } => {
                Fault::Permanent
            }
            Self::Message { .. } | Self::Protocol { .. } | Self::TooLong { .. } => Fault::Corrupt,
        }
    }
}

fn lost(peer: SocketAddr, error: &ConnectionError) -> LinkError {
    let why = error.to_string();
    match error {
        ConnectionError::TransportError(e) if TLS_ALERTS.contains(&u64::from(e.code)) => {
            LinkError::Handshake { peer, why }
        }
        ConnectionError::ConnectionClosed(e) if TLS_ALERTS.contains(&u64::from(e.error_code)) => {
            LinkError::Handshake { peer, why }
        }
        ConnectionError::ApplicationClosed(e) if e.error_code == REFUSED => {
            let why = String::from_utf8_lossy(&e.reason).chars().take(200).collect();
            LinkError::RefusedByPeer { peer, why }
        }
        ConnectionError::VersionMismatch => LinkError::Handshake { peer, why },
        ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => LinkError::Lost { peer, why },
    }
}

fn transport() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(CHANNELS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(CHANNEL_WINDOW))
        .receive_window(VarInt::from_u32(CHANNEL_WINDOW * CHANNELS_MAX))
        .send_window(u64::from(CHANNEL_WINDOW) * 4)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(IDLE_TIMEOUT.try_into().ok());
    Arc::new(transport)
}

/// A rustls configuration that quinn cannot use has no TLS 1.3 suite; ours has.
fn unusable(error: &quinn::crypto::rustls::NoInitialCipherSuite, address: &str) -> LinkError {
    let source = std::io::Error::other(error.to_string());
    LinkError::Address { address: address.to_owned(), source }
}

/// Waits for connections of one protocol from some roles.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    local: SocketAddr,
    protocol: Protocol,
    accept: Arc<[Role]>,
    credentials: Credentials,
    counters: Arc<Counters>,
    /// Handshakes under way: bounded, and aborted with the listener, so that no task outlives it.
    handshakes: JoinSet<Result<Peer, LinkError>>,
}

impl Listener {
    /// Binds a UDP address (port 0: any) for `protocol` and the roles in `accept`. Refused peers are counted in
    /// `counters` and never seen by the caller.
    ///
    /// # Errors
    /// When credentials or address cannot be used.
    pub fn bind(
        address: SocketAddr,
        credentials: &Credentials,
        protocol: Protocol,
        accept: &[Role],
        counters: Arc<Counters>,
    ) -> Result<Self, LinkError> {
        let failed = |source| LinkError::Address { address: address.to_string(), source };
        let config = server_config(credentials, protocol)?;
        let endpoint = Endpoint::server(config, address).map_err(failed)?;
        let local = endpoint.local_addr().map_err(failed)?;
        Ok(Self {
            endpoint,
            local,
            protocol,
            accept: accept.into(),
            credentials: credentials.clone(),
            counters,
            handshakes: JoinSet::new(),
        })
    }

    /// The bound address.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next peer that was let in; `None` when the endpoint is closed. A slow handshake holds up nobody. May be
    /// dropped and called again without losing a peer.
    pub async fn accept(&mut self) -> Option<Peer> {
        loop {
            tokio::select! {
                biased;
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Ok(peer)) => return Some(peer),
                    Ok(Err(error)) => self.count(&error),
                    Err(error) => tracing::error!(%error, "a handshake panicked"),
                },
                incoming = self.endpoint.accept(), if self.handshakes.len() < HANDSHAKES_MAX => {
                    self.begin(incoming?);
                }
            }
        }
    }

    fn begin(&mut self, incoming: quinn::Incoming) {
        self.refresh();
        let (credentials, accept) = (self.credentials.clone(), self.accept.clone());
        drop(self.handshakes.spawn(async move {
            let peer = incoming.remote_address();
            let connecting = incoming.accept().map_err(|e| lost(peer, &e))?;
            let connection = connecting.await.map_err(|e| lost(peer, &e))?;
            admit(connection, None, &credentials, &accept)
        }));
    }

    /// New certificates and revocations count from the next connection on. Files that cannot be used leave the old
    /// ones in force: a half-written enrolment must not stop a fog node.
    fn refresh(&mut self) {
        let fresh = match self.credentials.reload() {
            Ok(None) => return,
            Ok(Some(fresh)) => fresh,
            Err(error) => return self.stale(&error.into()),
        };
        match server_config(&fresh, self.protocol) {
            Ok(config) => self.endpoint.set_server_config(Some(config)),
            Err(error) => return self.stale(&error),
        }
        tracing::info!(credentials = ?fresh, "credentials were read again");
        self.credentials = fresh;
    }

    fn stale(&self, error: &LinkError) {
        self.counters.add("credentials_unusable_total", 1);
        tracing::error!(%error, "credentials changed and cannot be used, the old ones stay");
    }

    fn count(&self, error: &LinkError) {
        let name = match error {
            LinkError::Refused { refusal, .. } => refusal.counter(),
            LinkError::Handshake { .. } => "peers_untrusted_total",
            LinkError::Tls(_)
            | LinkError::Address { .. }
            | LinkError::RefusedByPeer { .. }
            | LinkError::Lost { .. }
            | LinkError::Stalled { .. }
            | LinkError::Message { .. }
            | LinkError::Protocol { .. }
            | LinkError::TooLong { .. } => "handshakes_lost_total",
        };
        self.counters.add(name, 1);
        tracing::warn!(%error, "a peer did not get in");
    }

    /// Ends all connections and waits until the peers know.
    pub async fn close(self) {
        self.endpoint.close(DONE, b"stopping");
        self.endpoint.wait_idle().await;
    }
}

fn server_config(
    credentials: &Credentials,
    protocol: Protocol,
) -> Result<quinn::ServerConfig, LinkError> {
    let tls = credentials.server_config(&[protocol.alpn()])?;
    let tls = QuicServerConfig::try_from(tls).map_err(|e| unusable(&e, "listener"))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport());
    Ok(config)
}

/// Connects to `address` (host and port), where a process of role `expect` must be. The peer may still refuse us: TLS
/// 1.3 lets a client go ahead before the server has seen its certificate, so that [`LinkError::RefusedByPeer`] or
/// [`LinkError::Handshake`] may come from the first use of a channel.
///
/// # Errors
/// When nobody answers within [`IDLE_TIMEOUT`], trust fails in either direction, or credentials cannot be used.
pub async fn connect(
    address: &str,
    credentials: &Credentials,
    protocol: Protocol,
    expect: Role,
) -> Result<Peer, LinkError> {
    let failed = |source| LinkError::Address { address: address.to_owned(), source };
    let nobody = || failed(std::io::Error::other("the name has no address"));
    let peer = tokio::net::lookup_host(address).await.map_err(failed)?.next().ok_or_else(nobody)?;
    let tls = credentials.client_config(&[protocol.alpn()])?;
    let tls = QuicClientConfig::try_from(tls).map_err(|e| unusable(&e, address))?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(transport());
    let any: std::net::IpAddr = match peer {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let endpoint = Endpoint::client((any, 0).into()).map_err(failed)?;
    let connecting = endpoint
        .connect_with(config, peer, SERVER_NAME)
        .map_err(|e| failed(std::io::Error::other(e.to_string())))?;
    let connection = connecting.await.map_err(|e| lost(peer, &e))?;
    admit(connection, Some(endpoint), credentials, &[expect])
}

/// Both directions end here: the certificate that TLS verified becomes an identity, or the connection is closed.
fn admit(
    connection: quinn::Connection,
    endpoint: Option<Endpoint>,
    credentials: &Credentials,
    accept: &[Role],
) -> Result<Peer, LinkError> {
    let shown = connection.peer_identity().and_then(|any| any.downcast().ok());
    let chain: Vec<CertificateDer<'static>> = shown.map(|chain| *chain).unwrap_or_default();
    match credentials.admit(&chain, accept) {
        Ok(identity) => Ok(Peer { identity, connection, endpoint }),
        Err(refusal) => {
            let peer = connection.remote_address();
            connection.close(REFUSED, refusal.to_string().as_bytes());
            Err(LinkError::Refused { peer, refusal })
        }
    }
}

/// A connection with a process whose identity is known. Clones share it.
#[derive(Debug, Clone)]
pub struct Peer {
    identity: Identity,
    connection: quinn::Connection,
    /// A connection that we made has its own endpoint.
    endpoint: Option<Endpoint>,
}

impl Peer {
    /// Who is there.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// From where it talks at the moment.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Opens a channel; waits while [`CHANNELS_MAX`] are open. The peer sees it with the first message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn open_channel(&self) -> Result<Channel, LinkError> {
        let opened = self.connection.open_bi().await;
        opened.map(|halves| self.channel(halves)).map_err(|e| lost(self.address(), &e))
    }

    /// Waits for a channel that the peer opens.
    ///
    /// # Errors
    /// When the connection is gone, which is also how it ends in good order.
    pub async fn accept_channel(&self) -> Result<Channel, LinkError> {
        let opened = self.connection.accept_bi().await;
        opened.map(|halves| self.channel(halves)).map_err(|e| lost(self.address(), &e))
    }

    fn channel(&self, (send, recv): (quinn::SendStream, quinn::RecvStream)) -> Channel {
        let (identity, peer) = (self.identity.clone(), self.address());
        Channel { identity, peer, send, recv }
    }

    /// Ends the connection now. What was sent and not yet acknowledged may be lost: read the answer first.
    pub fn close(&self, reason: &str) {
        self.connection.close(DONE, reason.as_bytes());
    }

    /// Ends a connection that we made and waits until the peer knows, which a process that exits next should do.
    pub async fn finish(self, reason: &str) {
        self.close(reason);
        if let Some(endpoint) = self.endpoint {
            endpoint.wait_idle().await;
        }
    }

    /// Resolves when the connection has ended, with the reason.
    pub async fn closed(&self) -> LinkError {
        lost(self.address(), &self.connection.closed().await)
    }
}

/// Messages and raw bytes with one peer, in order.
#[derive(Debug)]
pub struct Channel {
    identity: Identity,
    peer: SocketAddr,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
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
