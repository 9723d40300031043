//! Owns the stopping of a process: one request, a grace period, tasks that end by themselves.

use std::{future::Future, io::Read, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::exit;

/// Set to `stdin` by a supervisor that stops its children by closing their standard input.
const PARENT_PIPE: &str = "CELOSIA_PARENT_PIPE";

/// Shared by all tasks of a process.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// A shutdown that SIGTERM, SIGINT and, where the supervisor says so, the end of standard input
    /// request. A signal after the request exits at once with [`exit::STOPPED`].
    ///
    /// # Errors
    /// When signal handlers cannot be installed.
    #[expect(clippy::disallowed_methods, reason = "draining must not wait for the signal task")]
    pub fn listen() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let asked = shutdown.clone();
        drop(tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = term.recv() => {},
                    _ = int.recv() => {},
                }
                if asked.is_requested() {
                    std::process::exit(exit::STOPPED.into());
                }
                tracing::info!("asked to stop, draining; another signal exits at once");
                asked.request();
            }
        }));
        if std::env::var_os(PARENT_PIPE).is_some_and(|v| v == "stdin") {
            let asked = shutdown.clone();
            // A thread of its own: a blocked read of standard input must not hold up the runtime's
            // end.
            std::thread::Builder::new().name("parent".into()).spawn(move || {
                let mut byte = [0];
                while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
                asked.request();
            })?;
        }
        Ok(shutdown)
    }

    /// Asks every task to end.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Resolves when the end is asked for.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Starts a task. The only way to start one, so that [`Self::drain`] knows all of them.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.tasks.spawn(task));
    }

    /// Sleeps; false when the end was asked for before or meanwhile.
    #[expect(clippy::disallowed_methods, reason = "the one owner of sleep, which watches shutdown")]
    pub async fn sleep(&self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.requested() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// Waits for the end to be asked for, then for tasks to end; false when some did not within the
    /// grace period.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.requested().await;
        self.tasks.close();
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_does_not_end_is_reported_after_the_grace() {
        let shutdown = Shutdown::default();
        shutdown.spawn(std::future::pending());
        shutdown.request();
        assert!(!shutdown.drain(Duration::from_millis(20)).await);
    }

    #[tokio::test]
    async fn tasks_that_watch_shutdown_end_within_the_grace() {
        let shutdown = Shutdown::default();
        let watching = shutdown.clone();
        shutdown.spawn(async move { assert!(!watching.sleep(Duration::from_secs(3600)).await) });
        shutdown.request();
        assert!(shutdown.drain(Duration::from_secs(3)).await);
    }
}
