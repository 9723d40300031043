//! The bridge with real QUIC, a real outbox, S3 and SQLite, and with twins that fail when they are told to.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod asking;
mod bus;
mod collecting;
mod committing;
mod forwarding;
mod packing;
mod process;
mod refusing;
mod world;
