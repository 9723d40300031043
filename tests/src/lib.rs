//! Whole-system tests; nothing imports it.
