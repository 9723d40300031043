//! The administrator's command as a library: a site on one machine, its supervisor, and the two services that stand in
//! for the cloud there. The binary of the same name is its command line.

pub mod function;
pub mod object_store;
