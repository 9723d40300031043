//! Owns the worker process: clips from standard input, envelopes and records to standard output, nothing else.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use onnx::{Detectors, Runtime};
use privacy::Policy;
use proto::{
    envelope::SealGrant, limits::CLIP_BYTES_MAX, signing::SigningKey, wire::WorkerMessage,
};

use crate::{framing, pipeline::Pipeline, sandbox};

/// Where a worker finds what it needs.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Folder with the assets that `celosia fetch` brought.
    #[arg(long, default_value = ".celosia/assets", env = "CELOSIA_ASSETS")]
    pub assets: PathBuf,
    /// Redaction policy: default, strict or solid.
    #[arg(long, default_value = "default")]
    pub policy: String,
    /// File with the sealing key: 64 hexadecimal digits.
    #[arg(long)]
    pub seal_key: PathBuf,
    /// File with the site's grant for that key, as JSON.
    #[arg(long)]
    pub grant: PathBuf,
}

/// Runs until standard input ends.
///
/// # Errors
/// When the sandbox cannot be closed, a model or key cannot be used, or the parent speaks nonsense.
pub fn run(options: &Options) -> anyhow::Result<()> {
    sandbox::close()?;
    let mut pipeline = open(options)?;
    let (mut from, mut out) = (io::stdin().lock(), io::stdout().lock());
    framing::write(&mut out, &WorkerMessage::Ready)?;
    out.flush()?;
    while let Some(message) = framing::read(&mut from)? {
        let WorkerMessage::Clip(offer) = message else {
            anyhow::bail!("the parent sent something else than a clip");
        };
        let bytes = framing::read_bytes(&mut from, offer.length, CLIP_BYTES_MAX)?;
        let output = pipeline.process(&offer, &bytes);
        for envelope in &output.envelopes {
            let length = u32::try_from(envelope.len()).context("an envelope over its limit")?;
            framing::write(&mut out, &WorkerMessage::Frame { length })?;
            out.write_all(envelope)?;
        }
        framing::write(&mut out, &WorkerMessage::Record(Box::new(output.record)))?;
        out.flush()?;
    }
    Ok(())
}

fn open(options: &Options) -> anyhow::Result<Pipeline> {
    let policy = Policy::named(&options.policy)?;
    let text = read(&options.seal_key)?;
    let key =
        SigningKey::from_hex(&text).with_context(|| options.seal_key.display().to_string())?;
    let grant: SealGrant = serde_json::from_str(&read(&options.grant)?)
        .with_context(|| options.grant.display().to_string())?;
    let runtime = Runtime::load(&options.assets.join("libonnxruntime.so"))?;
    let Detectors { detector, auditor } = Detectors::open(&runtime, &options.assets)?;
    let (detector, auditor) = (Box::new(detector), Box::new(auditor));
    Ok(Pipeline { detector, auditor, policy, key, grant })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}
