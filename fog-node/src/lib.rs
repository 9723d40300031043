//! The fog node: a worker process that decodes and redacts clips and can open no socket, and its parent's handle on it.
//! The parent contains no codec; the worker holds pixels and the sealing key.

pub mod framing;
pub mod parent;
pub mod pipeline;
pub mod sandbox;
pub mod worker;
