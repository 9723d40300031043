//! The console as a browser meets it: real HTTP on a loopback port, over example data.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests stop at the first surprise"
)]

mod browser;
mod example;
mod login;
mod pages;
mod parts_away;
mod process;
mod rules;
mod running;
