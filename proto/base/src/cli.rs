//! Owns the reading of a service's command line, so that all of them end with the same codes.

use std::process::ExitCode;

/// Reads the command line.
///
/// # Errors
/// With the code to end with, after help, version or the problem has been printed: [`exit::CONFIG`](crate::exit::CONFIG)
/// for a problem, success for what was asked for.
pub fn arguments<T: clap::Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        // Nobody reads what a closed terminal does not take.
        drop(error.print());
        if error.use_stderr() { ExitCode::from(crate::exit::CONFIG) } else { ExitCode::SUCCESS }
    })
}
