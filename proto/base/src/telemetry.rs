//! Owns logging set-up and the ready line.

use std::io::{IsTerminal, Write};

use tracing_subscriber::EnvFilter;

/// Logs to standard error: text, or JSON with `CELOSIA_LOG_FORMAT=json`; filter in `CELOSIA_LOG`,
/// `info` by default.
pub fn init() {
    let filter = EnvFilter::try_from_env("CELOSIA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour);
    let builder = builder.with_writer(std::io::stderr);
    if std::env::var_os("CELOSIA_LOG_FORMAT").is_some_and(|v| v == "json") {
        builder.json().init();
    } else {
        builder.init();
    }
}

/// Tells the supervisor, on standard output and once, that the process serves: `ready {json}`.
///
/// # Errors
/// When standard output is closed.
pub fn announce_ready(what: &serde_json::Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready {what}")?;
    out.flush()
}
