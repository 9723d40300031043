//! Owns one process of the function: its environment as on AWS, its process group, its end with the host's.
//!
//! The process has a pipe from the host as its standard input, whose end means "stop": the kernel closes it also when
//! the host is killed. Its standard output goes where its standard error goes, to the host's log.

use std::{io, net::SocketAddr, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};

use super::config::Config;

/// Longest time from the end of the pipe to the end of the process; then it is killed.
const STOP_MAX: Duration = Duration::from_secs(2);

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
    pipe: Option<ChildStdin>,
}

impl Process {
    /// Starts the program.
    pub(super) fn start(config: &Config, number: usize, api: SocketAddr) -> io::Result<Self> {
        let mut command = Command::new(&config.program);
        command.env_clear().envs(environment(config, number, api)).envs(&config.environment);
        command.stdin(Stdio::piped()).stdout(Stdio::from(io::stderr()));
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pipe = child.stdin.take();
        Ok(Self { child, group, pipe })
    }

    /// Resolves when it has ended, with how.
    pub(super) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Asks it to stop, and kills it when it does not.
    pub(super) async fn stop(mut self) {
        drop(self.pipe.take());
        if tokio::time::timeout(STOP_MAX, self.child.wait()).await.is_err() {
            tracing::warn!("the function did not stop in time and is killed");
        }
        self.kill().await;
    }

    /// Kills it with everything that it started.
    pub(super) async fn kill(mut self) {
        if let Some(group) = self.group
            && let Err(error) = kill_process_group(group, Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(%error, "the function's processes could not be killed");
        }
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, "the function's process was not seen to end");
        }
    }
}

/// What AWS sets in the environment of a function.
fn environment(config: &Config, number: usize, api: SocketAddr) -> Vec<(&'static str, String)> {
    let root = config.program.parent().unwrap_or(std::path::Path::new("/"));
    let root = root.to_string_lossy().into_owned();
    vec![
        ("AWS_LAMBDA_RUNTIME_API", api.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", config.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", super::VERSION.to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", config.memory_mb.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", config.name)),
        ("AWS_LAMBDA_LOG_STREAM_NAME", format!("process-{number}")),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023".to_owned()),
        ("AWS_REGION", config.region.clone()),
        ("AWS_DEFAULT_REGION", config.region.clone()),
        ("LAMBDA_RUNTIME_DIR", root.clone()),
        ("LAMBDA_TASK_ROOT", root),
        ("_HANDLER", "bootstrap".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("CELOSIA_PARENT_PIPE", "stdin".to_owned()),
    ]
}
