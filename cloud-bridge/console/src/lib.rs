//! The operators' console: what the cameras see, what was counted, what was not let out and why.
//!
//! It reads the results database, the object store (frames, verified) and the bus (status). It writes sessions and the
//! audit log, and its own status; never a frame, never a result. Pages are made on the server; the browser gets
//! nothing from anywhere else. Each page answers when the store or the broker is away, and says so.
//!
//! Where to start: `web` has the routes, `view` makes what a page shows out of what is known, `texts` has every word.

pub mod app;
pub mod config;
pub mod limits;
pub mod live;
pub mod operators;
pub mod pictures;
pub mod service;
pub mod texts;
mod view;
pub mod web;
