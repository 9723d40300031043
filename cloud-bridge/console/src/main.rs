//! Web console for city operators.

fn main() {}
