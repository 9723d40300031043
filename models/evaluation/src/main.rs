//! The measuring commands: coverage, utility, cells.

fn main() {}
