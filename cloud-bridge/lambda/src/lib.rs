//! The mask function: for each face of a sealed frame, says how it wears a mask.
//!
//! Where to start: [`event`] reads what arrives, [`handler`] turns each arrival into an outcome, [`classify`] turns a
//! manifest into a result. The function reads the first bytes of an object, and a picture only when somebody asks for
//! an annotated one ([`annotate`]); it writes each result once; everything that it is not sure of is tried again or set aside with the reason, and nothing is lost silently.

pub mod annotate;
pub mod classify;
pub mod config;
pub mod event;
pub mod handler;
pub mod measure;
pub mod picture;

pub use config::Config;
pub use handler::Handler;
