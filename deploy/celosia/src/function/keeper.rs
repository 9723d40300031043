//! Owns the life of a process: started, served, killed when an invocation takes too long, started again when it ends,
//! with longer and longer waits while it answers nothing.

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use axum::{body::Bytes, serve::ListenerExt};
use base::{Shutdown, counters::Counters};
use tokio::net::TcpListener;

use super::{
    child::Process,
    config::Config,
    count,
    queue::Outcome,
    runtime_api::{Runtime, Shared},
};

/// First and longest wait before a process that ended is started again.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Why a process is no longer served.
enum End {
    /// The host ends.
    Stopped,
    /// It ended by itself.
    Exited(String),
    /// Its start or an invocation took too long.
    Overdue,
    /// It could not be started.
    NotStarted(io::Error),
}

/// Keeps one process until `stop`.
pub(super) async fn keep(
    number: usize,
    config: Arc<Config>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    stop: Shutdown,
) {
    let mut wait = WAIT_MIN;
    loop {
        let runtime = Runtime::new(Arc::clone(&shared));
        let end = serve(number, &config, &runtime, &stop).await;
        let remains = runtime.close();
        // A process that does not come to work fails the invocation that it was to take, as on AWS: what waits must not
        // wait for a program that cannot start.
        let job =
            remains.job.or_else(|| if remains.was_ready { None } else { shared.queue.try_next() });
        if let Some(job) = job {
            let outcome = outcome(&job.id, &end, &config, remains.init_error);
            shared.queue.end(job, outcome);
        }
        match &end {
            End::Stopped => return,
            End::Exited(status) => tracing::error!(number, status, "the function ended"),
            End::Overdue => tracing::error!(number, "the function took too long and was killed"),
            End::NotStarted(error) => {
                let program = config.program.display();
                tracing::error!(number, %program, %error, "the function cannot be started");
            }
        }
        counters.add(count::RESTARTS, 1);
        if remains.answered > 0 {
            wait = WAIT_MIN;
        }
        if !stop.sleep(wait).await {
            return;
        }
        wait = (wait * 2).min(WAIT_MAX);
    }
}

async fn serve(number: usize, config: &Config, runtime: &Arc<Runtime>, stop: &Shutdown) -> End {
    let started = async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let api = listener.local_addr()?;
        Ok((listener, Process::start(config, number, api)?))
    };
    let (listener, mut process) = match started.await {
        Ok(started) => started,
        Err(error) => return End::NotStarted(error),
    };
    // Small messages go back and forth here: with Nagle's algorithm each would wait 40 ms.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "invocations may be late by Nagle's algorithm");
        }
    });
    let server = axum::serve(listener, runtime.router());
    let end = tokio::select! {
        biased;
        () = stop.requested() => End::Stopped,
        status = process.ended() => End::Exited(status),
        () = runtime.overdue() => End::Overdue,
        Err(error) = async { server.await } => End::NotStarted(error),
    };
    match end {
        End::Stopped => process.stop().await,
        End::Exited(_) | End::Overdue | End::NotStarted(_) => process.kill().await,
    }
    end
}

/// What an invocation is told of a process that ended under it, in the words of AWS.
fn outcome(id: &str, end: &End, config: &Config, init_error: Option<Bytes>) -> Outcome {
    if let Some(said) = init_error {
        return Outcome::Failed(said);
    }
    let (kind, why) = match end {
        End::Stopped => ("Sandbox.Stopped", "the host ends".to_owned()),
        End::Exited(status) => {
            ("Runtime.ExitError", format!("Runtime exited with error: {status}"))
        }
        End::Overdue => {
            let seconds = config.timeout.as_secs_f64();
            ("Sandbox.Timedout", format!("Task timed out after {seconds:.2} seconds"))
        }
        End::NotStarted(error) => ("Runtime.InvalidEntrypoint", error.to_string()),
    };
    Outcome::failed(kind, &format!("RequestId: {id} Error: {why}"))
}
