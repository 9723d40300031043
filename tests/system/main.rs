//! One binary, a module per story.

mod anonymise;
mod structure;
