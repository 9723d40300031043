//! Owns QUIC between processes: listeners, connections between two identities, channels of messages and raw bytes.
//!
//! A channel is one bidirectional stream. A message is a big-endian `u32` length, at most
//! [`MESSAGE_BYTES_MAX`](proto::limits::MESSAGE_BYTES_MAX) and checked before anything is allocated, and that many
//! bytes of `proto::wire`. Bulk bytes stand raw between messages; their length was agreed in a message.

mod channel;
mod error;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use base::counters::Counters;
use proto::{Identity, Role, wire};
use quinn::{
    Endpoint, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls_pki_types::CertificateDer;
use tokio::task::JoinSet;

use crate::tls::{Credentials, SERVER_NAME};

pub use channel::Channel;
pub use error::LinkError;
use error::lost;

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
