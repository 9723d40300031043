//! Owns the configuration of the function's host: what its file may say, and the checked form that everything else uses.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use base::config::ConfigError;
use serde::Deserialize;

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: SocketAddr,
    #[serde(default = "name_default")]
    name: String,
    program: PathBuf,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default = "region_default")]
    region: String,
    #[serde(default = "timeout_default")]
    timeout_ms: u64,
    #[serde(default = "memory_default")]
    memory_mb: u32,
    #[serde(default = "children_default")]
    children: usize,
    #[serde(default = "queue_default")]
    queue_max: usize,
    #[serde(default = "retry_default")]
    retry_after_ms: u64,
}

fn name_default() -> String {
    "mask".to_owned()
}

fn region_default() -> String {
    "us-east-1".to_owned()
}

/// 30 s: a frame takes milliseconds, a cold start under a second; what takes longer hangs.
const fn timeout_default() -> u64 {
    30_000
}

/// What the program is told; nothing holds it to that here.
const fn memory_default() -> u32 {
    256
}

/// One process answers some hundred frames a second; it is started again within a second when it crashes.
const fn children_default() -> usize {
    1
}

/// An hour of one camera each second, some 4 MB.
const fn queue_default() -> usize {
    4_000
}

/// AWS waits a minute before the first retry, and twice that before the second.
const fn retry_default() -> u64 {
    60_000
}

/// Longest time-out of a function on AWS.
const TIMEOUT_MS_MAX: u64 = 900_000;
/// Most processes: each holds some 100 MB.
const CHILDREN_MAX: usize = 64;
/// Largest queue: 100,000 events of 1 KB.
const QUEUE_MAX: usize = 100_000;
/// Sizes of memory on AWS, in MB.
const MEMORY_MB: std::ops::RangeInclusive<u32> = 128..=10_240;

/// The function's host.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the Invoke API listens: loopback, since whoever reaches it may invoke.
    pub listen: SocketAddr,
    /// The function's name, as in its Invoke URL.
    pub name: String,
    /// The program, `mask-lambda`.
    pub program: PathBuf,
    /// Its environment, beside what AWS sets; nothing else is passed on. Paths in it are absolute.
    pub environment: BTreeMap<String, String>,
    /// The region that it is told.
    pub region: String,
    /// Longest time for one invocation; then the process is killed.
    pub timeout: Duration,
    /// The memory that it is told, in MB.
    pub memory_mb: u32,
    /// How many processes; each has one invocation at a time.
    pub children: usize,
    /// Most invocations that wait or run; further ones are refused.
    pub queue_max: usize,
    /// Wait before the first retry of an event; twice that before the second.
    pub retry_after: Duration,
}

impl Config {
    /// Reads and checks a file. Relative paths count from its folder.
    ///
    /// # Errors
    /// With all problems at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: File = base::config::load(path)?;
        let program = path.parent().unwrap_or(Path::new(".")).join(file.program);
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        let loopback = file.listen.ip().is_loopback();
        check(loopback, format!("listen {}: use a loopback address", file.listen));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let named = (1..=64).contains(&file.name.len()) && file.name.bytes().all(plain);
        check(named, format!("name {:?}: use 1 to 64 letters, digits, - and _", file.name));
        check(program.is_file(), format!("program {}: is no file", program.display()));
        for variable in file.environment.keys() {
            let ours = RESERVED.contains(&variable.as_str());
            check(!ours, format!("environment: {variable} is set by the host"));
        }
        let timeout = (1..=TIMEOUT_MS_MAX).contains(&file.timeout_ms);
        check(timeout, format!("timeout_ms: is outside 1 to {TIMEOUT_MS_MAX}"));
        check(MEMORY_MB.contains(&file.memory_mb), format!("memory_mb: is outside {MEMORY_MB:?}"));
        let children = (1..=CHILDREN_MAX).contains(&file.children);
        check(children, format!("children: is outside 1 to {CHILDREN_MAX}"));
        let queue = (1..=QUEUE_MAX).contains(&file.queue_max);
        check(queue, format!("queue_max: is outside 1 to {QUEUE_MAX}"));
        if !problems.is_empty() {
            return Err(ConfigError::Values { path: path.to_owned(), problems });
        }
        Ok(Self {
            listen: file.listen,
            name: file.name,
            program,
            environment: file.environment,
            region: file.region,
            timeout: Duration::from_millis(file.timeout_ms),
            memory_mb: file.memory_mb,
            children: file.children,
            queue_max: file.queue_max,
            retry_after: Duration::from_millis(file.retry_after_ms),
        })
    }
}

/// What the host sets, as AWS does.
const RESERVED: &[&str] = &[
    "_HANDLER",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "CELOSIA_PARENT_PIPE",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bootstrap"), "").unwrap();
        let path = folder.path().join("function.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn a_short_file_is_enough() {
        let config = load("listen = '127.0.0.1:0'\nprogram = 'bootstrap'\n").unwrap();
        assert!(config.program.is_absolute());
        assert_eq!((config.name.as_str(), config.children), ("mask", 1));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error = load(
            "listen = '0.0.0.0:1'\nprogram = 'none'\nname = 'a b'\ntimeout_ms = 0\n\
             memory_mb = 64\nchildren = 0\nqueue_max = 0\n[environment]\nAWS_REGION = 'x'\n",
        )
        .unwrap_err()
        .to_string();
        let keys = ["loopback", "none", "a b", "timeout_ms", "memory_mb", "children", "queue_max"];
        for part in keys.into_iter().chain(["AWS_REGION"]) {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
        let error = load("listen = '127.0.0.1:0'\nprogram = 'bootstrap'\nspeed = 3\n");
        assert!(error.unwrap_err().to_string().contains("speed"));
    }
}
