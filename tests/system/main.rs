//! One binary, a module per story.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod anonymise;
mod structure;
