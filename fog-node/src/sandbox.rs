//! Owns what a worker gives up before it sees a byte of video: sockets, core dumps, being looked into, memory without
//! end, outliving its parent. The parent, which holds clips too, gives up core dumps and being looked into.

use std::collections::BTreeMap;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

/// Most private memory of a worker, in bytes: two models, one 4K picture and its copies, and the decoder's frames.
const DATA_BYTES_MAX: u64 = 3 * 1024 * 1024 * 1024;

/// System calls that reach other processes or the network. `socketpair` stays: GStreamer wakes its threads with it, and
/// it reaches nobody.
const REFUSED: [libc::c_long; 9] = [
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_io_uring_setup,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
];

/// The sandbox could not be closed; a process without it does not start.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox could not be closed: {0}")]
pub struct SandboxError(String);

/// No core dump of this process is written and no other process of its user can read its memory, for good.
///
/// # Errors
/// When the kernel refuses.
pub fn shield() -> Result<(), SandboxError> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|e| wrong(&e))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|e| wrong(&e))
}

/// Closes the worker's sandbox for every thread of this process, for good.
///
/// # Errors
/// When the kernel refuses any part of it.
pub fn close() -> Result<(), SandboxError> {
    shield()?;
    // Whatever native code it hangs in: it holds pictures, and nobody is left to end it at a deadline.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| wrong(&e))?;
    let data = Rlimit { current: Some(DATA_BYTES_MAX), maximum: Some(DATA_BYTES_MAX) };
    setrlimit(Resource::Data, data).map_err(|e| wrong(&e))?;
    let program = filter().map_err(|e| wrong(&e))?;
    apply_filter_all_threads(&program).map_err(|e| wrong(&e))
}

fn wrong(error: &dyn std::error::Error) -> SandboxError {
    SandboxError(error.to_string())
}

fn filter() -> Result<BpfProgram, seccompiler::Error> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let rules: BTreeMap<_, _> = REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    let refused = u32::try_from(libc::EPERM).unwrap_or(1);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(refused),
        architecture,
    )?;
    Ok(filter.try_into()?)
}
