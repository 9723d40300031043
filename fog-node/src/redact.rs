//! Owns `fog-node redact`: one file through a real worker, for people who want to see what leaves the building. The site is
//! made up for the run, so its frames are nobody's evidence.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use fog_node::{parent::Worker, pipeline::Known, worker};
use privacy::{Policy, StaticRegions};
use proto::{
    CameraId, ClipId, Clock, Digest, Interval, SessionId, UtcTime,
    envelope::{SealGrant, SealedFrame},
    limits::{CLIP_BYTES_MAX, CLIP_NS_MAX},
    signing::SigningKey,
    time::ClockSource,
    wire::{NoiseKey, Offer},
};
use ring::rand::{SecureRandom, SystemRandom};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The video.
    video: PathBuf,
    /// Folder for the frames; made if need be.
    #[arg(long)]
    out: PathBuf,
    /// Sampling interval, such as 5s or 500ms.
    #[arg(long, default_value = "5s", value_parser = interval)]
    every: Duration,
    /// How much of the video is sampled, at most 60s.
    #[arg(long, default_value = "60s", value_parser = interval)]
    length: Duration,
    /// Redaction policy: solid (the default), or strict or cells, which release a few noisy cells of each face: for places that
    /// few people pass, since who collects many faces of one place takes the noise off.
    #[arg(long, default_value = "default")]
    policy: String,
    /// A polygon that is always filled: corners as fractions of width and height, such as '0,0 0.3,0 0.3,0.25'. May be
    /// given several times.
    #[arg(long, value_name = "CORNERS")]
    static_region: Vec<String>,
    /// Folder with the assets that `celosia fetch` brought.
    #[arg(long, default_value = ".celosia/assets", env = "CELOSIA_ASSETS")]
    assets: PathBuf,
}

/// The camera that a file stands for.
const CAMERA: &str = "file";
/// Longest wait for a worker: sixty frames of 4K on a slow machine.
const DEADLINE: Duration = Duration::from_secs(300);

fn interval(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is not like 5s or 500ms"))?;
    match unit {
        "s" if number > 0 => Ok(Duration::from_secs(number)),
        "ms" if number > 0 => Ok(Duration::from_millis(number)),
        _ => Err(format!("{text:?} is not like 5s or 500ms")),
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let bytes =
        std::fs::read(&options.video).with_context(|| options.video.display().to_string())?;
    if bytes.len() as u64 > CLIP_BYTES_MAX {
        bail!("{} is over the limit of {CLIP_BYTES_MAX} bytes", options.video.display());
    }
    std::fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    let table = BTreeMap::from([(CAMERA.parse::<CameraId>()?, options.static_region.clone())]);
    let regions = StaticRegions::try_from(table.clone())?;
    let policy = Policy::named(&options.policy)?.with_static_regions(regions).reference();
    let site = Site::make_up(policy.digest)?;
    let keys = options.out.join("site");
    std::fs::create_dir_all(&keys).with_context(|| keys.display().to_string())?;
    let static_regions = keys.join("static-regions.toml");
    std::fs::write(&static_regions, toml::to_string(&table)?)?;
    base::files::write_durable(&keys.join("seal.key"), site.seed_hex.as_bytes())?;
    base::files::write_durable(&keys.join("grant.json"), &serde_json::to_vec(&site.grant)?)?;
    let worker = worker::Options {
        assets: options.assets.clone(),
        policy: options.policy.clone(),
        static_regions: Some(static_regions),
        seal_key: keys.join("seal.key"),
        grant: keys.join("grant.json"),
        // Whoever runs this has the video in a file already.
        allow_swap: true,
    };
    let worker = Worker::start(worker.command(&std::env::current_exe()?), DEADLINE)?;
    let offer = site.offer(options, &bytes)?;
    let (_worker, output) = worker.process(offer, Known::default(), bytes.into(), DEADLINE)?;
    // The throw-away sealing key has done its work.
    std::fs::remove_dir_all(&keys).with_context(|| keys.display().to_string())?;
    for envelope in output.envelopes {
        let frame = SealedFrame::open(envelope, &site.root.public())?;
        let name = format!("{:04}.jpg", frame.manifest().frame.slot);
        std::fs::write(options.out.join(&name), frame.bytes()).with_context(|| name.clone())?;
        let said = frame.manifest().regions.iter().filter(|region| region.said.is_some());
        eprintln!(
            "{name}: {} regions, {} with cells, {} classified before they were covered",
            frame.manifest().regions.len(),
            frame.manifest().grids().count(),
            said.count()
        );
    }
    let tally = output.record.tally();
    eprintln!(
        "{} delivered, {} withheld, {} undecodable",
        tally.delivered, tally.withheld, tally.undecodable
    );
    match output.record.failure {
        Some(failure) => bail!("{}: {failure:?}", options.video.display()),
        None => Ok(()),
    }
}

struct Site {
    root: SigningKey,
    seed_hex: String,
    noise: [u8; 32],
    grant: SealGrant,
}

impl Site {
    fn make_up(policy: Digest) -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let draw = || {
            let mut bytes = [0; 32];
            random.fill(&mut bytes).map(|()| bytes).map_err(|_| anyhow::anyhow!("no randomness"))
        };
        let (root, seed) = (SigningKey::from_seed(&draw()?)?, draw()?);
        let key = SigningKey::from_seed(&seed)?;
        let until = UtcTime::from_micros(i64::from(u32::MAX) * 1_000_000)?;
        let site = "trial".parse()?;
        let grant =
            SealGrant::issue(&root, key.public(), site, UtcTime::EPOCH, until, vec![policy]);
        let seed_hex = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { root, seed_hex, noise: draw()?, grant })
    }

    fn offer(&self, options: &Options, bytes: &[u8]) -> anyhow::Result<Offer> {
        let length_ns = i64::try_from(options.length.as_nanos()).unwrap_or(i64::MAX);
        Ok(Offer {
            clip: ClipId {
                site: "trial".parse()?,
                camera: CAMERA.parse()?,
                session: SessionId::new([0; 16]),
                seq: 0,
            },
            digest: Digest::of(bytes),
            length: bytes.len() as u64,
            attempt: 1,
            noise_key: NoiseKey(self.noise),
            noise_epoch: 0,
            interval: Interval { start_ns: 0, end_ns: length_ns.min(CLIP_NS_MAX) },
            every_ns: i64::try_from(options.every.as_nanos()).context("sampling interval")?,
            captured_at: UtcTime::EPOCH,
            clock: Clock { source: ClockSource::Unknown, uncertainty_ms: None },
        })
    }
}
