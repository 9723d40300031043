//! What every service needs and nothing about video: clock, shutdown, faults and retry,
//! command line, configuration, durable files, counters, telemetry, the ready line.

pub mod cli;
pub mod clock;
pub mod config;
pub mod counters;
pub mod duration;
pub mod fault;
pub mod files;
pub mod shutdown;
pub mod telemetry;

pub use clock::{Clock, ManualClock, SystemClock};
pub use fault::{Fault, Faulty, Tries, retry};
pub use shutdown::Shutdown;

/// Exit codes from `sysexits.h`, so that a supervisor can tell a bad configuration from a crash.
pub mod exit {
    /// The command line or the configuration is wrong: a person must act before a restart helps.
    pub const CONFIG: u8 = 64;
    /// Something that was asked for is missing or failed.
    pub const FAILED: u8 = 1;
    /// A signal came while the process was draining already: it did not wait for its tasks.
    pub const STOPPED: u8 = 130;
}
