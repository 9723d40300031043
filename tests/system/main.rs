//! One binary, a module per story.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod anonymise;
mod bad_input;
#[path = "../../cloud-bridge/console/tests/console/browser.rs"]
mod browser;
mod console;
mod crash;
mod disk_full;
mod happy;
mod inference;
mod live;
mod onlooker;
mod partition;
mod privacy;
mod shutdown;
mod site;
mod strangers;
mod structure;
mod videos;
