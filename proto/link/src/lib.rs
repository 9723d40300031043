//! How Celosia processes talk: mutual TLS identities, QUIC channels, the upload of clips, the MQTT bus.
//!
//! A peer is its certificate and nothing else; `tls` decides in one place who may connect. Nothing here decides what
//! happens to a clip: services do, with these parts.

pub mod mqtt;
pub mod quic;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tls;
pub mod transfer;

pub use mqtt::Bus;
pub use quic::{Channel, Listener, Peer, Protocol};
pub use tls::Credentials;
