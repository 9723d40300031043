//! Outbox, forwarder, collector.

fn main() {}
