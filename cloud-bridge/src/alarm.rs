//! Owns how a task of the bridge meets what fails: what may pass is tried again with the waits of `base::Tries`; what waiting does not
//! mend is an alarm, after which the task waits long, so that nothing is hammered and nothing is given up.

use std::time::Duration;

use base::{Fault, Faulty, Shutdown, Tries};

use crate::bridge::{Bridge, count};

/// After an alarm: a person takes minutes, and a line in the log each half minute is enough.
pub const ALARM_WAIT: Duration = Duration::from_secs(30);

/// Tries until it works, until a fault is not transient (an alarm), or until shutdown. Failures of each try are counted
/// under `failures`.
///
/// # Errors
/// The fault that waiting does not mend, or the last one before shutdown.
pub async fn persist<T, E: Faulty, F: Future<Output = Result<T, E>>>(
    bridge: &Bridge,
    shutdown: &Shutdown,
    what: &'static str,
    failures: &'static str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    let mut tries = Tries::default();
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        bridge.count(failures);
        raise(bridge, what, &error);
        tries.again(shutdown, what, error).await?;
    }
}

/// Counts and shows a fault that waiting does not mend. A transient one is none.
pub fn raise<E: Faulty>(bridge: &Bridge, what: &'static str, error: &E) {
    if error.fault() != Fault::Transient {
        bridge.count(count::ALARMS);
        tracing::error!(what, %error, "failed, and waiting does not mend it");
    }
}
