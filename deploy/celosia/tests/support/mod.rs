//! Owns what the tests of the two services share: starting the real command, waiting for it, killing it, speaking S3.
#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests, each test file uses some")]

pub(crate) mod site;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};
use proto::{
    Manifest, UtcTime,
    envelope::{SealGrant, SealedFrame, seal},
    signing::{PublicKey, SigningKey},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longest wait for anything in a test; all of it takes well under a second on a quiet machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Prints past the test harness, which keeps a passed test's output to itself.
pub(crate) fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).ok();
}

/// Asks again and again until there is an answer.
#[expect(clippy::disallowed_methods, reason = "a real process is waited for, within a deadline")]
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A service of the real command, in its own process.
pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) ready: serde_json::Value,
}

impl Service {
    /// Starts `celosia NAME --config FILE` and waits until it serves.
    pub(crate) fn start(name: &str, config: &Path) -> Self {
        Self::start_logging(name, config, Stdio::inherit())
    }

    /// As [`Self::start`], with its log going elsewhere.
    pub(crate) fn start_logging(name: &str, config: &Path, log: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_celosia"));
        command.args([name, "--config"]).arg(config).env("CELOSIA_PARENT_PIPE", "stdin");
        command.stderr(log);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = line.strip_prefix("ready ").unwrap_or_else(|| panic!("{name}: {line:?}"));
        Self { ready: serde_json::from_str(ready).unwrap(), child }
    }

    pub(crate) fn address(&self) -> String {
        self.ready["address"].as_str().unwrap().to_owned()
    }

    /// Asks it to end and waits; its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.child.wait().unwrap().code()
    }

    /// As a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A client of an S3 server, which tries once.
pub(crate) fn s3(address: &str, id: &str, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-south-2"))
        .endpoint_url(format!("http://{address}"))
        .force_path_style(true)
        .credentials_provider(Credentials::new(id, secret, None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// The secret of a key in tests: as long as it must be.
pub(crate) fn secret(id: &str) -> String {
    format!("{id}-0123456789abcdef0123456789abcdef")
}

/// Writes a key's secret and gives its section of the configuration.
pub(crate) fn key(folder: &Path, id: &str, allow: &str) -> String {
    std::fs::write(folder.join(format!("{id}.secret")), secret(id)).unwrap();
    format!("[[key]]\nid = '{id}'\nsecret_file = '{id}.secret'\nallow = [{allow}]\n")
}

/// A frame of this slot and one face as a granted fog node seals it, its key, and the public half of the seal root.
pub(crate) fn sealed(slot: u64) -> (SealedFrame, String, PublicKey) {
    sealed_crowd(slot, 1)
}

/// A frame with as many faces as wanted.
pub(crate) fn sealed_crowd(slot: u64, faces: usize) -> (SealedFrame, String, PublicKey) {
    sealed_with(slot, |manifest| {
        let face = manifest.regions[0].clone();
        manifest.regions.splice(0..1, std::iter::repeat_n(face, faces));
    })
}

/// A frame whose manifest is changed before it is sealed.
pub(crate) fn sealed_with(
    slot: u64,
    change: impl FnOnce(&mut Manifest),
) -> (SealedFrame, String, PublicKey) {
    let mut manifest = proto::manifest::example();
    manifest.frame.slot = slot;
    change(&mut manifest);
    let seed = |byte| SigningKey::from_seed(&[byte; 32]).unwrap();
    let (root, fog) = (seed(1), seed(2));
    let until = "2100-01-01T00:00:00Z".parse().unwrap();
    let (site, policies) = (manifest.frame.clip.site.clone(), vec![manifest.policy.digest]);
    let grant = SealGrant::issue(&root, fog.public(), site, UtcTime::EPOCH, until, policies);
    // Begins and ends like a JPEG: nothing on this path decodes pictures. As large as a 720p frame.
    let mut picture = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 3, 1];
    picture.extend(std::iter::repeat_n(9, 100_000));
    picture.extend([0xFF, 0xD9]);
    let bytes = seal(&manifest, &picture, &fog, &grant).unwrap();
    let frame = SealedFrame::open(bytes, &root.public()).unwrap();
    (frame, proto::key::frame_key(&manifest), root.public())
}

/// A port that was free a moment ago: two services that must know one another cannot both choose theirs at the start.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Posts to an Invoke API; the head of the answer in small letters, and its body.
pub(crate) async fn invoke(url: &str, kind: &str, body: &str) -> std::io::Result<(String, String)> {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let length = body.len();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         x-amz-invocation-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.to_lowercase(), body.to_owned()))
}

/// An event of S3 for one object, as the bridge sends it when a frame is overdue.
pub(crate) fn event(bucket: &str, key: &str) -> String {
    serde_json::json!({ "Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-south-2",
        "eventTime": "2026-11-24T12:01:11.123Z", "eventName": "ObjectCreated:Put",
        "userIdentity": { "principalId": "bridge" },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "responseElements": {},
        "s3": { "s3SchemaVersion": "1.0", "bucket": { "name": bucket },
            "object": { "key": key, "size": 1 } },
    }] })
    .to_string()
}

/// The function's own program, built beside the command.
pub(crate) fn mask_lambda() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_celosia")).with_file_name("mask-lambda");
    assert!(program.exists(), "build it first: cargo build --release -p mask-lambda");
    program
}

/// The processes that a process has started.
pub(crate) fn children(pid: u32) -> Vec<i32> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let list = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(list.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()));
    }
    found
}

pub(crate) fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
}

/// Whether a process is there and is no zombie.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// The assets that `celosia fetch` brought.
pub(crate) fn assets() -> PathBuf {
    let stated = std::env::var_os("CELOSIA_ASSETS").map(PathBuf::from);
    stated.unwrap_or_else(|| project().join(".celosia/assets"))
}

/// An asset, or a line that says what is not tested. Where the folder of assets is stated, as `deploy/test` does, all of
/// them must be there.
pub(crate) fn asset(name: &str, group: &str) -> Option<PathBuf> {
    let path = assets().join(name);
    if path.exists() {
        return Some(path);
    }
    let stated = std::env::var_os("CELOSIA_ASSETS").is_some();
    assert!(!stated, "{} is not there: run `celosia fetch{group}`", path.display());
    say(&format!("SKIPPED: {} is not there; run `celosia fetch{group}`", path.display()));
    None
}

pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
