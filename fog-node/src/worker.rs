//! Owns the worker process: clips from standard input, envelopes and records to standard output, nothing else.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use models::weights::BEFORE_COVERING;
use onnx::{Detectors, MaskCells, Runtime};
use privacy::{Classifier, Policy, StaticRegions};
use proto::{envelope::SealGrant, limits::CLIP_BYTES_MAX, signing::SigningKey};
use zeroize::Zeroizing;

use crate::{
    framing::{self, WorkerMessage},
    pipeline::Pipeline,
    sandbox,
    silence::Silence,
    swap,
};

/// Where a worker finds what it needs.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Folder with the assets that `celosia fetch` brought.
    #[arg(long, default_value = ".celosia/assets", env = "CELOSIA_ASSETS")]
    pub assets: PathBuf,
    /// Redaction policy: solid (the default), or strict or cells, which release a few noisy cells of each face: for places that
    /// few people pass, since who collects many faces of one place takes the noise off.
    #[arg(long, default_value = "default")]
    pub policy: String,
    /// File with what is always filled: polygons of each camera, TOML.
    #[arg(long)]
    pub static_regions: Option<PathBuf>,
    /// File with the sealing key: 64 hexadecimal digits.
    #[arg(long)]
    pub seal_key: PathBuf,
    /// File with the site's grant for that key, as JSON.
    #[arg(long)]
    pub grant: PathBuf,
    /// Start although memory may be swapped out: raw pictures may then rest on a disk.
    #[arg(long)]
    pub allow_swap: bool,
}

impl Options {
    /// The command that starts a worker with these options: `program` is this binary.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg("worker").arg("--assets").arg(&self.assets).args(["--policy", &self.policy]);
        if let Some(file) = &self.static_regions {
            command.arg("--static-regions").arg(file);
        }
        command.arg("--seal-key").arg(&self.seal_key).arg("--grant").arg(&self.grant);
        if self.allow_swap {
            command.arg("--allow-swap");
        }
        command
    }
}

/// What to do about a grant of other policies.
const POLICIES: &str = "issue one for what `fog-node policies --static-regions FILE` prints";

/// The policy of this name, with the static regions of a file.
///
/// # Errors
/// When there is none of this name, or the file has a polygon that is none.
pub fn policy(name: &str, static_regions: Option<&Path>) -> anyhow::Result<Policy> {
    let policy = Policy::named(name)?;
    let Some(file) = static_regions else { return Ok(policy) };
    Ok(policy.with_static_regions(base::config::load::<StaticRegions>(file)?))
}

/// Closes the sandbox and loads what a worker needs. What fails here is a person's to mend.
///
/// # Errors
/// When the sandbox cannot be closed, there is swap, or a model or key cannot be used; the message has the file.
pub fn open(options: &Options) -> anyhow::Result<Pipeline> {
    sandbox::close()?;
    // Unsure is yes: a kernel that does not say may swap.
    if swap::is_available().unwrap_or(true) {
        if !options.allow_swap {
            bail!("memory may be swapped out, and raw pictures with it: {}", swap::REMEDY);
        }
        tracing::warn!("memory may be swapped out, and raw pictures with it");
    }
    let policy = policy(&options.policy, options.static_regions.as_deref())?;
    let text = Zeroizing::new(read(&options.seal_key)?);
    let key =
        SigningKey::from_hex(&text).with_context(|| options.seal_key.display().to_string())?;
    let grant: SealGrant = serde_json::from_str(&read(&options.grant)?)
        .with_context(|| options.grant.display().to_string())?;
    if !grant.policies.contains(&policy.reference().digest) {
        let (file, name) = (options.grant.display(), &options.policy);
        bail!("{file} does not name policy {name} with these static regions: {POLICIES}");
    }
    let runtime = Runtime::load(&options.assets.join("libonnxruntime.so"))?;
    let Detectors { detector, auditor } = Detectors::open(&runtime, &options.assets)?;
    let (detector, auditor) = (Box::new(detector), Box::new(auditor));
    let silence = Silence::default();
    // Where cells are released their reader classifies them, and nothing is loaded for it here.
    let classifier = if policy.releases_cells() {
        None
    } else {
        Some(Classifier::new(Box::new(MaskCells::shipped(&runtime, &BEFORE_COVERING)?))?)
    };
    Ok(Pipeline { detector, auditor, policy, classifier, key, grant, silence })
}

/// Serves until standard input ends.
///
/// # Errors
/// When the parent speaks nonsense or is gone.
pub fn serve(pipeline: Pipeline) -> anyhow::Result<()> {
    serve_over(pipeline, &mut io::stdin().lock(), &mut io::stdout().lock())
}

/// [`serve`] over any two pipes.
///
/// # Errors
/// As [`serve`].
pub fn serve_over(
    mut pipeline: Pipeline,
    from: &mut impl Read,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    framing::write(out, &WorkerMessage::Ready)?;
    out.flush()?;
    while let Some(message) = framing::read(from)? {
        let WorkerMessage::Clip { offer, known } = message else {
            bail!("the parent sent something else than a clip");
        };
        let bytes = framing::read_bytes(from, offer.length, CLIP_BYTES_MAX)?;
        let output = pipeline.process(&offer, *known, &Zeroizing::new(bytes));
        for envelope in &output.envelopes {
            let length = u32::try_from(envelope.len()).context("an envelope over its limit")?;
            framing::write(out, &WorkerMessage::Frame { length })?;
            out.write_all(envelope)?;
        }
        framing::write(out, &WorkerMessage::Notes(output.notes))?;
        if let Some(last) = output.last {
            framing::write(out, &WorkerMessage::Last(last))?;
        }
        framing::write(out, &WorkerMessage::Record(Box::new(output.record)))?;
        out.flush()?;
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}
