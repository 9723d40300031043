//! What the real detector finds of canaries on real pictures: every photo of a folder and every video is a camera that sets
//! its own contrast on its first day; then the detector gets worse in three ways. Prints tables, no picture.
//!
//! `cargo run --release -p fog-node --example canaries -- --photos images --from 1 --each 12 --video street.mp4`

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Parser;
use fog_node::canary::{self, Canary, drift::Drift};
use models::{
    Detection, FaceDetector, Finding, PixelView, centerface,
    pixels::{Norm, Window},
};
use onnx::{CenterFace, Runtime};
use privacy::{FrameMeta, RawClip, RawFrame};
use proto::{Clock, FrameId, UtcTime, time::ClockSource, watch::CANARY_SIZES};

#[derive(Parser)]
struct Options {
    /// Folder of photos, each of which is a camera.
    #[arg(long)]
    photos: Option<PathBuf>,
    /// The first photo by name, and each some-th from there on.
    #[arg(long, default_value_t = 0)]
    from: usize,
    #[arg(long, default_value_t = 1)]
    each: usize,
    /// A video: a camera too.
    #[arg(long)]
    video: Vec<PathBuf>,
    /// Looks that set the contrast, on the first day. A camera with a frame each 5 s has 576.
    #[arg(long, default_value_t = 576)]
    setting: u64,
    /// Looks that are measured, of the healthy detector; half as many of each worse one.
    #[arg(long, default_value_t = 144)]
    looks: u64,
    /// Folder with the assets that `celosia fetch` brought.
    #[arg(long, default_value = ".celosia/assets", env = "CELOSIA_ASSETS")]
    assets: PathBuf,
}

/// Frames of a video that are looked at.
const FRAMES: i64 = 12;
/// From one of them to the next.
const FRAME_NS: i64 = 300_000_000;
/// Standard deviation of the lens's blur, as a share of the picture's longer side: 3 pixels of 960.
const BLUR: f32 = 1.0 / 320.0;
/// Canaries of each size on a day with a frame each 5 s, and seconds between them.
const A_DAY: u64 = 576;
const EVERY_S: u64 = 150;
const DAY_S: u64 = 86_400;

/// Healthy, and worse in three ways.
const STATES: [&str; 4] = ["healthy", "thresholds doubled", "largest scale lost", "lens blurred"];

/// Looks at canaries, each by size.
type Bank = Vec<[Option<Canary>; 3]>;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime = Runtime::load(&options.assets.join("libonnxruntime.so"))?;
    let open = |finding| {
        let model = options.assets.join("centerface.onnx");
        CenterFace::finding(&runtime, &model, finding).context("run `celosia fetch` first")
    };
    let usual = centerface::finding();
    let doubled = Finding {
        seen: usual.seen * 2.0,
        alone: usual.alone * 2.0,
        together: usual.together * 2.0,
        ..usual.clone()
    };
    let scales = usual.long_sides.iter().skip(1).copied().collect();
    let lost = Finding { long_sides: scales, ..usual.clone() };
    let mut detectors = [open(usual)?, open(doubled)?, open(lost)?];
    let mut out = std::io::stdout();
    writeln!(out, "| camera | contrast | {} | hours to the alarm |", STATES.join(" | "))?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    let mut all: [Bank; 4] = Default::default();
    for (number, (name, frames)) in cameras(&options)?.into_iter().enumerate() {
        let camera = Camera::of(frames, number)?;
        let (row, banks) = measured(&camera, &mut detectors, &options)?;
        writeln!(out, "| {name}, {} | {row} |", camera.described())?;
        out.flush()?;
        all.iter_mut().zip(banks).for_each(|(all, bank)| all.extend(bank));
    }
    tables(&mut out, &all)
}

/// Every camera's name and frames.
fn cameras(options: &Options) -> anyhow::Result<Vec<(String, Vec<RawFrame>)>> {
    let mut cameras = Vec::new();
    for video in &options.video {
        let bytes = std::fs::read(video).with_context(|| video.display().to_string())?;
        let clip = RawClip::open(&bytes)?;
        let frames =
            (0..FRAMES).map(|number| clip.frame_at(number * FRAME_NS, meta()?).context("a frame"));
        cameras.push((name(video), frames.collect::<anyhow::Result<_>>()?));
    }
    if let Some(folder) = &options.photos {
        let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        let mut paths =
            entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
        paths.sort();
        for path in paths.iter().skip(options.from).step_by(options.each.max(1)) {
            cameras.push((name(path), vec![RawFrame::from_still(&std::fs::read(path)?, meta()?)?]));
        }
    }
    Ok(cameras)
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn meta() -> anyhow::Result<FrameMeta> {
    let clock = Clock { source: ClockSource::Unknown, uncertainty_ms: None };
    let (captured_at, clip_captured_at) = (UtcTime::EPOCH, UtcTime::EPOCH);
    Ok(FrameMeta { frame: frame(0, 0)?, captured_at, clip_captured_at, clock })
}

fn frame(camera: usize, slot: u64) -> anyhow::Result<FrameId> {
    let clip = format!("town/cam-{camera}/000102030405060708090a0b0c0d0e0f/7").parse()?;
    Ok(FrameId { clip, slot })
}

/// Frames of one camera, sharp and blurred.
struct Camera {
    number: usize,
    sharp: Vec<RawFrame>,
    blurred: Vec<RawFrame>,
}

impl Camera {
    fn of(sharp: Vec<RawFrame>, number: usize) -> anyhow::Result<Self> {
        let blurred = sharp.iter().map(|frame| blurred(view(frame)?)).collect::<Result<_, _>>()?;
        Ok(Self { number, sharp, blurred })
    }

    fn described(&self) -> String {
        let view = self.sharp.first().and_then(RawFrame::view);
        view.map_or_else(String::new, |view| {
            let lens = canary::Lens::of(view);
            let (width, height) = (view.width(), view.height());
            format!("{width}x{height}, blur {:.1}, noise {:.1}", lens.blur, lens.noise)
        })
    }
}

fn view(frame: &RawFrame) -> anyhow::Result<PixelView<'_>> {
    frame.view().context("a frame without pixels")
}

/// The picture through a lens out of focus: three means in a row are about a normal.
fn blurred(view: PixelView<'_>) -> anyhow::Result<RawFrame> {
    let (width, height) = (view.width(), view.height());
    let whole = Window { x: 0, y: 0, w: width, h: height };
    let planes = view.planes(whole, width, height, Norm { mean: 0.0, scale: 1.0 });
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "picture sides are under 2^16"
    )]
    // A mean over 2n + 1 pixels has a variance of n (n + 1) / 3.
    let reach = (width.max(height) as f32 * BLUR).round() as usize;
    let planes = (0..3).fold(planes, |planes, _| {
        let rows = planes.chunks_exact(width).flat_map(|row| meaned(row, reach));
        let rows: Vec<f32> = rows.collect();
        let mut done = vec![0.0; rows.len()];
        for (plane, done) in
            rows.chunks_exact(width * height).zip(done.chunks_exact_mut(width * height))
        {
            for x in 0..width {
                let column: Vec<f32> = plane.iter().skip(x).step_by(width).copied().collect();
                let places = done.iter_mut().skip(x).step_by(width);
                places.zip(meaned(&column, reach)).for_each(|(place, value)| *place = value);
            }
        }
        done
    });
    let mut file = format!("P6\n{width} {height}\n255\n").into_bytes();
    let (red, rest) = planes.split_at(width * height);
    let (green, blue) = rest.split_at(width * height);
    for ((r, g), b) in red.iter().zip(green).zip(blue) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        file.extend([r, g, b].map(|v| v.round().clamp(0.0, 255.0) as u8));
    }
    Ok(RawFrame::from_still(&file, meta()?)?)
}

/// Each value's mean with those up to `reach` away.
fn meaned(line: &[f32], reach: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64];
    sums.extend(line.iter().scan(0.0, |sum, value| {
        *sum += f64::from(*value);
        Some(*sum)
    }));
    let at = |i: usize| sums.get(i).copied().unwrap_or_default();
    let mean = |i: usize| {
        let (from, to) = (i.saturating_sub(reach), (i + reach + 1).min(line.len()));
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a level")]
        let mean = ((at(to) - at(from)) / (to - from) as f64) as f32;
        mean
    };
    (0..line.len()).map(mean).collect()
}

/// A camera's days: one that sets the contrast, six that are usual and a healthy one more, then worse ones of each kind.
fn measured(
    camera: &Camera,
    detectors: &mut [CenterFace; 3],
    options: &Options,
) -> anyhow::Result<(String, [Bank; 4])> {
    let [usual, doubled, lost] = detectors;
    let mut drift = Drift::default();
    let mut set = Looks::of(camera, &camera.sharp, usual)?;
    for number in 0..options.setting {
        let drawn = set.look(number, &drift)?;
        drift.note(at(number * DAY_S / options.setting), &canary::counted(drawn));
    }
    let (first, half) = (options.setting, options.looks / 2);
    let healthy = set.bank(first..first + options.looks, &drift)?;
    let worse = |frames, detector: &mut CenterFace| {
        Looks::of(camera, frames, detector)?.bank(first..first + half, &drift)
    };
    let doubled = worse(&camera.sharp, doubled)?;
    let lost = worse(&camera.sharp, lost)?;
    let blurred = worse(&camera.blurred, usual)?;
    for number in A_DAY..8 * A_DAY {
        note(&mut drift, number, &healthy);
    }
    let banks = [healthy, doubled, lost, blurred];
    let shares = banks.each_ref().map(by_size);
    let hours = banks.each_ref().map(|bank| {
        let mut drift = drift.clone();
        let after = (0..A_DAY).find(|number| {
            note(&mut drift, 8 * A_DAY + number, bank);
            drift.is_drifting()
        });
        after.map_or_else(|| "none".to_owned(), |n| (n * EVERY_S).div_ceil(3600).to_string())
    });
    let contrasts =
        drift.contrasts().0.map(|milli| format!("{:.3}", f32::from(milli) / 1000.0)).join(" ");
    let hours = hours.join(" / ");
    Ok((format!("{contrasts} | {} | {hours}", shares.join(" | ")), banks))
}

fn at(seconds: u64) -> UtcTime {
    UtcTime::EPOCH.plus_ns(i64::try_from(seconds).unwrap_or(0) * 1_000_000_000)
}

/// One look of a day. The step has no factor in common with a bank, so that each part of the day has its share of it.
fn note(drift: &mut Drift, number: u64, bank: &Bank) {
    let turn = usize::try_from(number * 7).unwrap_or(0) % bank.len().max(1);
    let drawn = bank.get(turn).copied().unwrap_or_default();
    drift.note(at(number * EVERY_S), &canary::counted(drawn));
}

/// A detector on a camera's frames, with what it finds in each without canaries.
struct Looks<'a> {
    camera: usize,
    frames: &'a [RawFrame],
    found: Vec<Vec<Detection>>,
    detector: &'a mut CenterFace,
}

impl<'a> Looks<'a> {
    fn of(
        camera: &Camera,
        frames: &'a [RawFrame],
        detector: &'a mut CenterFace,
    ) -> anyhow::Result<Self> {
        let found = frames.iter().map(|frame| Ok(detector.detect(view(frame)?)?));
        let found = found.collect::<anyhow::Result<_>>()?;
        Ok(Self { camera: camera.number, frames, found, detector })
    }

    fn look(&mut self, slot: u64, drift: &Drift) -> anyhow::Result<[Option<Canary>; 3]> {
        let turn = usize::try_from(slot)? % self.frames.len().max(1);
        let (Some(raw), Some(found)) = (self.frames.get(turn), self.found.get(turn)) else {
            anyhow::bail!("a camera without frames");
        };
        let (id, contrasts) = (frame(self.camera, slot)?, drift.contrasts());
        Ok(canary::look(raw.for_canaries(), &id, found, contrasts, self.detector))
    }

    fn bank(&mut self, slots: std::ops::Range<u64>, drift: &Drift) -> anyhow::Result<Bank> {
        slots.map(|slot| self.look(slot, drift)).collect()
    }
}

fn by_size(bank: &Bank) -> String {
    let of = |size: usize| {
        share(bank.iter().filter_map(|drawn| drawn.get(size).copied().flatten()), false)
    };
    (0..CANARY_SIZES.len()).map(of).collect::<Vec<_>>().join(" ")
}

fn share(canaries: impl Iterator<Item = Canary>, of: bool) -> String {
    let (drawn, found) =
        canaries.fold((0u32, 0u32), |(n, found), c| (n + 1, found + u32::from(c.found)));
    let share = f64::from(found) / f64::from(drawn.max(1));
    let of = if of { format!(" of {drawn}") } else { String::new() };
    if drawn == 0 { "-".to_owned() } else { format!("{share:.2}{of}") }
}

/// All cameras together: by size, mask and turn.
fn tables(out: &mut impl Write, all: &[Bank; 4]) -> anyhow::Result<()> {
    writeln!(out, "\n| canaries | {} |\n|---|---|---|---|---|", STATES.join(" | "))?;
    let mut kinds: BTreeMap<String, [Vec<Canary>; 4]> = BTreeMap::new();
    for (state, bank) in all.iter().enumerate() {
        for drawn in bank {
            for (canary, size) in drawn.iter().zip(CANARY_SIZES) {
                let Some(canary) = *canary else { continue };
                let mask = if canary.face.masked { "masked" } else { "not masked" };
                let turn = match canary.face.yaw.abs() {
                    yaw if yaw < 15.0 => "0-15",
                    yaw if yaw < 30.0 => "15-30",
                    _ => "30-45",
                };
                let kinds_of = [
                    "all".to_owned(),
                    format!("{size} px"),
                    format!("{size} px, {mask}"),
                    mask.to_owned(),
                    format!("turned by {turn} degrees"),
                ];
                for kind in kinds_of {
                    if let Some(list) = kinds.entry(kind).or_default().get_mut(state) {
                        list.push(canary);
                    }
                }
            }
        }
    }
    for (kind, states) in kinds {
        let shares = states.map(|canaries| share(canaries.into_iter(), true)).join(" | ");
        writeln!(out, "| {kind} | {shares} |")?;
    }
    Ok(())
}
