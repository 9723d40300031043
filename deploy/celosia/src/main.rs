//! One-machine supervisor, batch processing, asset fetching.

fn main() {}
