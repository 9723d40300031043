//! The camera gateway: records cameras into an encrypted spool, uploads clips to a fog node, removes a clip only when
//! its signed receipt is verified, and obeys commands over MQTT.
//!
//! Where to start: `keeper` holds what must not be lost, `recorder` fills it, `uploader` empties it, `service` starts
//! them all.

pub mod books;
pub mod config;
pub mod control;
pub mod courier;
pub mod due;
pub mod fogs;
pub mod gateway;
pub mod held;
pub mod keeper;
pub mod names;
pub mod queue;
pub mod recorder;
pub mod schedule;
pub mod service;
pub mod sessions;
pub mod store;
pub mod uploader;

/// Random bytes of the operating system.
///
/// # Errors
/// When there are none.
pub fn random<const N: usize>() -> Result<[u8; N], keeper::KeepError> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| keeper::KeepError::Random)?;
    Ok(bytes)
}
