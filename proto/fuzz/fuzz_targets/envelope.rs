//! Fuzz target: sealed frames and their heads from any bytes.

#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::envelope(bytes));
