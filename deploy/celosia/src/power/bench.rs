//! Owns the measuring: the emulator under a quota, a store that is under none, and what the function tells of itself.

use std::{
    io,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{body::Bytes, http::Request};
use base::{Clock, Shutdown, SystemClock};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use proto::key;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{FrameWriter, Pack, Settings, s3::S3};

use super::{
    Options, PACK_FRAMES,
    frames::{FrameError, Sealer},
    quota::Quota,
};
use crate::{
    object_store::{self, Created, event},
    site::{Ports, loopback},
};

/// Longest wait for the emulator and for one invocation: seconds at the smallest share on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const TICK: Duration = Duration::from_millis(5);
/// Packs for each memory size.
const PACKS: u64 = 10;
/// Invocations after a start that are not counted.
const NOT_COUNTED: usize = 3;
/// Most of an answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const REGION: &str = "eu-west-1";
const FRAMES: &str = "frames";
const RESULTS: &str = "results";
/// Secret of the bench's own keys: its store lives as long as it does, on loopback.
const SECRET: &str = "of-a-store-that-lives-for-a-minute";

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The processor cannot be held back.
    #[error("no control group can be made for a share of the processor: {0}: run it as root")]
    Quota(io::Error),
    /// A process or file.
    #[error("{what}: {source}")]
    File {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Ports.
    #[error(transparent)]
    Site(#[from] crate::site::SiteError),
    /// The bench's own store.
    #[error("the store of the bench: {0}")]
    Config(#[from] base::config::ConfigError),
    /// A frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The function failed, or did not answer.
    #[error("the function at {memory_mb} MB: {why}")]
    Function {
        /// With how much memory.
        memory_mb: u32,
        /// What happened.
        why: String,
    },
}

/// What was measured at one memory size: medians, in milliseconds unless they say otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The memory that is bought.
    pub memory_mb: u32,
    /// The share of one processor that goes with it.
    pub share: f64,
    /// From the start of the process to its first line.
    pub process_ms: f64,
    /// Loading of ONNX Runtime.
    pub library_ms: f64,
    /// Opening of the model.
    pub session_ms: f64,
    /// The first run of the network.
    pub first_run_ms: f64,
    /// Configuration and the client of S3.
    pub rest_ms: f64,
    /// The first invocation as whoever invokes sees it, everything above included.
    pub cold_ms: f64,
    /// A frame of five faces within the function: read, classify, write.
    pub warm_ms: f64,
    /// The same that 95% stay below.
    pub warm_95_ms: f64,
    /// A frame as whoever invokes sees it, with the emulator.
    pub invocation_ms: f64,
    /// A pack of [`PACK_FRAMES`] such frames within the function.
    pub pack_ms: f64,
    /// The most memory that the process has had, in MiB.
    pub memory_mib: f64,
    /// For how long the last of the starts was held back, with all frames and packs behind it.
    pub held_back_ms: f64,
}

impl Row {
    /// The whole start.
    #[must_use]
    pub fn init_ms(&self) -> f64 {
        self.process_ms + self.library_ms + self.session_ms + self.first_run_ms + self.rest_ms
    }
}

/// What the function tells of its start.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Init {
    started_ms: Option<f64>,
    config_us: f64,
    library_us: f64,
    session_us: f64,
    first_run_us: f64,
    store_us: f64,
}

/// A store and the means to start the function.
pub(super) struct Bench<'a> {
    options: &'a Options,
    vcpu_mb: u32,
    shutdown: &'a Shutdown,
    folder: tempfile::TempDir,
    sealer: Sealer,
    ports: Ports,
    writer: store::s3::S3Frames,
    client: Client<HttpConnector, Full<Bytes>>,
    clock: SystemClock,
}

/// The emulator with the function; ends with this.
struct Function {
    child: Child,
    quota: Quota,
    /// What its group had been held back before: a group may be used again.
    before_ms: f64,
}

impl Function {
    fn held_back_ms(&self) -> io::Result<f64> {
        Ok(self.quota.held_back_ms()? - self.before_ms)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // They may have ended by themselves; what has left the process group is in the control group.
        group.map(|group| kill_process_group(group, Signal::KILL).ok());
        self.quota.end();
        self.child.wait().ok();
    }
}

impl<'a> Bench<'a> {
    /// Starts the store.
    pub(super) async fn open(
        options: &'a Options,
        vcpu_mb: u32,
        shutdown: &'a Shutdown,
    ) -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(|e| file("a temporary folder", e))?;
        let ports = Ports::open(&folder.path().join("ports.json"))?;
        let path = folder.path().join("store.toml");
        let key = "secret_file = 'secret'\nallow = ['put:frames', 'get:frames', 'put:results']";
        let text = format!(
            "listen = '{}'\nfolder = 'objects'\nbuckets = ['{FRAMES}', '{RESULTS}']\n\
             [[key]]\nid = 'bench'\n{key}\n",
            loopback(ports.store)
        );
        for (path, text) in [(&path, text.as_str()), (&folder.path().join("secret"), SECRET)] {
            std::fs::write(path, text).map_err(|e| file(&path.display().to_string(), e))?;
        }
        let config = object_store::Config::load(&path)?;
        let stop = shutdown.clone();
        shutdown.spawn(async move {
            if let Err(error) = object_store::serve(config, stop, |_| ()).await {
                tracing::error!(%error, "the store of the bench ended");
            }
        });
        let sealer = Sealer::new()?;
        let settings = Settings {
            endpoint: Some(format!("http://{}", loopback(ports.store))),
            region: REGION.to_owned(),
            frames_bucket: FRAMES.to_owned(),
            results_bucket: RESULTS.to_owned(),
        };
        let writer = S3::with_keys(&settings, "bench", SECRET).await.frames(sealer.root());
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let clock = SystemClock::default();
        Ok(Self { options, vcpu_mb, shutdown, folder, sealer, ports, writer, client, clock })
    }

    /// Starts the function some times, then sends it frames and packs.
    pub(super) async fn measure(&self, memory_mb: u32) -> Result<Row, BenchError> {
        let mut starts: Vec<(f64, Init)> = Vec::new();
        let mut function = None;
        for _ in 0..self.options.starts {
            // The one before has to be gone: its ports and its share are wanted.
            drop(function.take());
            function = Some(self.start(memory_mb)?);
            starts.push(self.first(memory_mb).await?);
        }
        let (mut within, mut outside, mut memory_kib) = (Vec::new(), Vec::new(), 0.0_f64);
        for slot in 0..self.options.frames {
            // Clips of a number of their own for each memory size: what is written is written once.
            let frame = self.sealer.frame(u64::from(memory_mb), slot)?;
            self.put(async || self.writer.put_frame(&frame).await).await?;
            let seen = self.invoke(memory_mb, &key::frame_key(frame.manifest())).await?;
            within.push(seen.within_ms);
            outside.push(seen.outside_ms);
            memory_kib = memory_kib.max(seen.memory_kib);
        }
        let mut packs = Vec::new();
        for number in 0..PACKS {
            let clip = 1_000_000 + u64::from(memory_mb) * PACKS + number;
            let frames: Result<Vec<_>, _> =
                (0..PACK_FRAMES).map(|slot| self.sealer.frame(clip, slot)).collect();
            let Some(pack) = Pack::of(&frames?) else { continue };
            self.put(async || self.writer.put_pack(&pack).await).await?;
            let seen = self.invoke(memory_mb, pack.key()).await?;
            packs.push(seen.within_ms);
            memory_kib = memory_kib.max(seen.memory_kib);
        }
        let held_back = function.as_ref().map(|function| function.held_back_ms());
        drop(function);
        within.drain(..NOT_COUNTED.min(within.len()));
        let of = |read: fn(&Init) -> f64| median(starts.iter().map(|(_, init)| read(init)));
        let row = Row {
            memory_mb,
            share: self.share(memory_mb),
            process_ms: of(|init| init.started_ms.unwrap_or(0.0)),
            library_ms: of(|init| init.library_us / 1000.0),
            session_ms: of(|init| init.session_us / 1000.0),
            first_run_ms: of(|init| init.first_run_us / 1000.0),
            rest_ms: of(|init| (init.config_us + init.store_us) / 1000.0),
            cold_ms: median(starts.iter().map(|(cold, _)| *cold)),
            warm_ms: median(within.iter().copied()),
            warm_95_ms: at(0.95, within.iter().copied()),
            invocation_ms: median(outside.iter().copied()),
            pack_ms: median(packs.into_iter()),
            memory_mib: memory_kib / 1024.0,
            held_back_ms: held_back.transpose().map_err(BenchError::Quota)?.unwrap_or(0.0),
        };
        tracing::info!(memory_mb, init_ms = row.init_ms(), warm_ms = row.warm_ms, "measured");
        Ok(row)
    }

    fn share(&self, memory_mb: u32) -> f64 {
        f64::from(memory_mb) / f64::from(self.vcpu_mb)
    }

    /// The emulator joins the group before it starts anything.
    fn start(&self, memory_mb: u32) -> Result<Function, BenchError> {
        let quota = Quota::new(self.share(memory_mb)).map_err(BenchError::Quota)?;
        let task = self.options.task.canonicalize();
        let task = task.map_err(|e| file(&self.options.task.display().to_string(), e))?;
        let emulator = self.options.emulator.canonicalize();
        let emulator =
            emulator.map_err(|e| file(&self.options.emulator.display().to_string(), e))?;
        let log = self.folder.path().join("function.log");
        let log = std::fs::File::create(&log).map_err(|e| file("the function's log", e))?;
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(quota.members());
        command.arg(emulator);
        let (invoke, api) = (loopback(self.ports.function), loopback(self.ports.console));
        command.args(["--runtime-interface-emulator-address", &invoke.to_string()]);
        command.args(["--runtime-api-address", &api.to_string()]);
        command.arg(task.join("bootstrap")).envs(self.environment(memory_mb));
        let out = log.try_clone().map_err(|e| file("the function's log", e))?;
        command.stdin(Stdio::null()).stdout(out).stderr(log);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|e| file("the emulator", e))?;
        let before_ms = quota.held_back_ms().map_err(BenchError::Quota)?;
        Ok(Function { child, quota, before_ms })
    }

    fn environment(&self, memory_mb: u32) -> [(&'static str, String); 10] {
        [
            ("CELOSIA_FRAMES_BUCKET", FRAMES.to_owned()),
            ("CELOSIA_RESULTS_BUCKET", RESULTS.to_owned()),
            ("CELOSIA_SEAL_ROOT", self.sealer.root().to_string()),
            ("CELOSIA_S3_ENDPOINT", format!("http://{}", loopback(self.ports.store))),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", "bench".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mb.to_string()),
            ("AWS_LAMBDA_FUNCTION_TIMEOUT", PATIENCE.as_secs().to_string()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// The first invocation: how long it took from outside, and what the function says of its start.
    async fn first(&self, memory_mb: u32) -> Result<(f64, Init), BenchError> {
        let event = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": FRAMES });
        let began = self.clock.now();
        loop {
            let before = self.clock.now();
            match self.post(&event).await {
                Ok(answer) => {
                    let cold_ms = self.since_ms(before);
                    let init = serde_json::from_value(answer["init"].clone());
                    let why = |e| format!("no times of the start: {e}; it said {answer}");
                    let init = init.map_err(|e| BenchError::Function { memory_mb, why: why(e) })?;
                    return Ok((cold_ms, init));
                }
                Err(why) if self.clock.now().saturating_sub(began) > PATIENCE => {
                    let log = std::fs::read_to_string(self.folder.path().join("function.log"));
                    let why = format!("{why}; its log: {}", log.unwrap_or_default());
                    return Err(BenchError::Function { memory_mb, why });
                }
                Err(_) if self.shutdown.sleep(TICK).await => {}
                Err(why) => return Err(BenchError::Function { memory_mb, why }),
            }
        }
    }

    async fn invoke(&self, memory_mb: u32, key: &str) -> Result<Seen, BenchError> {
        // The function reads neither length nor digest from the event.
        let created = Created {
            bucket: FRAMES,
            key,
            bytes: 0,
            e_tag: "",
            principal: "bench",
            region: REGION,
        };
        let event = event(&created, self.clock.utc_micros());
        let before = self.clock.now();
        let answer = self.post(&event).await;
        let outside_ms = self.since_ms(before);
        let failed = |why: String| BenchError::Function { memory_mb, why };
        let answer = answer.map_err(failed)?;
        let frame = &answer["frames"][0];
        if frame["outcome"] != "written" {
            return Err(failed(format!("{key}: {answer}")));
        }
        let us = |name: &str| frame[name].as_f64().unwrap_or(0.0);
        let within_ms = (us("read_us") + us("classify_us") + us("write_us")) / 1000.0;
        let memory_kib = answer["memory_max_kib"].as_f64().unwrap_or(0.0);
        Ok(Seen { within_ms, outside_ms, memory_kib })
    }

    async fn post(&self, event: &Value) -> Result<Value, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let address = loopback(self.ports.function);
        let url = format!("http://{address}/2015-03-31/functions/function/invocations");
        let body = Full::new(Bytes::from(event.to_string()));
        let request = Request::post(url).body(body).map_err(|e| told(&e))?;
        let answer = async {
            let answer = self.client.request(request).await.map_err(|e| told(&e))?;
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            body.map(|body| body.to_bytes()).map_err(|e| told(&e))
        };
        let bytes = tokio::time::timeout(PATIENCE, answer).await.map_err(|e| told(&e))??;
        let answer: Value = serde_json::from_slice(&bytes).map_err(|e| told(&e))?;
        match answer.get("errorMessage") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer),
        }
    }

    /// The store starts beside us: the first calls may come too early.
    async fn put(
        &self,
        put: impl AsyncFnMut() -> Result<store::Put, store::StoreError>,
    ) -> Result<(), BenchError> {
        Ok(base::retry(self.shutdown, "put a frame", put).await.map(|_| ())?)
    }

    fn since_ms(&self, before: Duration) -> f64 {
        self.clock.now().saturating_sub(before).as_secs_f64() * 1000.0
    }
}

struct Seen {
    within_ms: f64,
    outside_ms: f64,
    memory_kib: f64,
}

fn file(what: &str, source: io::Error) -> BenchError {
    BenchError::File { what: what.to_owned(), source }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    at(0.5, values)
}

/// The value that this share of all stays at or below; 0 of none.
fn at(share: f64, values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let place = (last as f64 * share).round();
    values.into_iter().enumerate().find(|(n, _)| *n as f64 >= place).map_or(0.0, |(_, v)| v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_shares_of_sorted_values() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!(median(values.into_iter()), 3.0);
        assert_eq!(at(0.95, values.into_iter()), 5.0);
        assert_eq!(median(std::iter::empty()), 0.0);
    }
}
