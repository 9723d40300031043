//! Bounded crash-safe queue of records on disk.
