//! The administrator's command as a library: a site on one machine, its supervisor, and the two services that stand in
//! for the cloud there. The binary of the same name is its command line.
//!
//! Where to start: [`site`] makes what stands in a state folder, [`services`] says which processes there are,
//! [`supervisor`] runs them. [`power`] measures what the function takes and costs.

pub mod demo;
pub mod function;
pub mod object_store;
pub mod power;
pub mod process;
pub mod programs;
pub mod run;
pub mod services;
pub mod site;
pub mod statics;
pub mod supervisor;
pub mod up;
