//! Owns how a program that knows nothing of its supervisor ends with it: `celosia child` asks the kernel for SIGTERM at
//! its parent's death and then becomes the program. The request survives `exec`; no code of ours runs between fork and
//! exec, which could only be unsafe.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{self, Command},
};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Arguments of `celosia` that make it this program, bound to the calling process.
#[must_use]
pub fn arguments(program: &Path, arguments: &[OsString]) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["child".into(), "--parent".into()];
    all.push(process::id().to_string().into());
    all.push("--".into());
    all.push(program.into());
    all.extend_from_slice(arguments);
    all
}

/// Becomes the program. Returns only when that failed.
#[must_use]
pub fn become_bound(parent: u32, program: &OsString, arguments: &[OsString]) -> io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        return error.into();
    }
    // The parent may have died before the request; nobody would tell us then.
    let now = getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    if now != Some(parent) {
        return io::Error::other("the supervisor is gone");
    }
    Command::new(program).args(arguments).exec()
}
