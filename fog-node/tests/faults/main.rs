//! What goes wrong inside a fog node, one module a fault: whatever it is, nothing unredacted leaves, no frame is taken for
//! safe that is not, and a clip that could not be processed stays the edge's.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod detector;
mod disk;
mod encoder;
mod killed;
mod memory;
mod model;
mod twin;
#[path = "../world/mod.rs"]
mod world;
