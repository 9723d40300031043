//! The bridge between fog and cloud: takes whole clips of sealed frames into a durable outbox, carries them to the
//! object store and the database, collects their results, and asks the function again for what is overdue.
//!
//! Where to start: `clip` says what may be committed, `committer` gives the one answer to each clip, `forwarder` empties
//! the outbox, `collector` and `overdue` wait for results, `service` starts them all.
//!
//! It refuses whatever it cannot verify, sees redacted frames alone, and answers nothing before it is durable.

pub mod alarm;
pub mod book;
pub mod bridge;
pub mod clip;
pub mod collector;
pub mod committer;
pub mod config;
pub mod forwarder;
pub mod inference;
pub mod outbox;
pub mod overdue;
pub mod peers;
pub mod service;
mod unknowns;
