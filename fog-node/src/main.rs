//! Receiver, worker pool, committer; the worker that decodes and redacts.

fn main() {}
