//! The fog node: takes clips from gateways, has worker processes decode and redact them, commits what is left to the
//! bridge and relays its receipt. A worker can open no socket; the parent contains no codec and touches no pixel.
//!
//! Where to start: `receiver` is the way of one clip, `ends` what one tells the next, `pool` and `parent` hold the
//! workers, `worker` and `pipeline` are one of them, `bridge` is the way out, `service` starts them all.

pub mod bridge;
pub mod canary;
pub mod config;
pub mod ends;
pub mod framing;
pub mod node;
pub mod offer;
pub mod parent;
pub mod pipeline;
pub mod pool;
pub mod receiver;
pub mod sandbox;
pub mod service;
pub mod silence;
pub mod swap;
pub mod watch;
pub mod worker;
