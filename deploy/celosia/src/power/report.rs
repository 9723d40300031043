//! Owns the table: what was measured and what follows from it, as Markdown.

use std::path::Path;

use super::{INIT_GOAL_MS, Power, PowerError, WARM_GOAL_MS, cost::Month};

const HEAD: &str = "\
| memory MB | share of a processor | process ms | runtime ms | session ms | first run ms | rest ms | init ms | cold, seen from outside ms \
| warm frame ms | 95% ms | seen from outside ms | pack of 12 ms | most memory MiB | $ a million frames |\n\
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

const MONTHS: &str = "\
| frames an object | seen later by s | requests | duration | PUT | GET | LIST | transfer | path | storage | path for the video of 2021 | times less than low | than high |\n\
|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

/// Writes `power.md` into a folder.
pub(super) fn write(folder: &Path, power: &Power) -> Result<(), PowerError> {
    let failed = |path: &Path, source| PowerError::File { path: path.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    let path = folder.join("power.md");
    let text = format!("{}\n![Time and cost by memory](power.svg)\n", text(power));
    std::fs::write(&path, text).map_err(|e| failed(&path, e))
}

/// Everything as Markdown.
pub(super) fn text(power: &Power) -> String {
    let prices = &power.prices;
    let mut text = format!(
        "# What the function takes and costs\n\n`celosia function-power`, {}, {}; the program of the zip under AWS's runtime \
         interface emulator. The processor is held back by {}; the emulator shares the quota, so that starts are upper \
         bounds. Medians. Frames of five faces. Goals: init {INIT_GOAL_MS} ms, warm frame {WARM_GOAL_MS} ms.\n\n{HEAD}",
        power.measured_at, power.machine, power.quota
    );
    for (row, dollars) in power.rows.iter().zip(&power.frame_dollars) {
        let chosen = if row.memory_mb == power.choice_mb { "**" } else { "" };
        text.push_str(&format!(
            "| {chosen}{}{chosen} | {:.3} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} \
             | {:.1} | {:.3} |\n",
            row.memory_mb,
            row.share,
            row.process_ms,
            row.library_ms,
            row.session_ms,
            row.first_run_ms,
            row.rest_ms,
            row.init_ms(),
            row.cold_ms,
            row.warm_ms,
            row.warm_95_ms,
            row.invocation_ms,
            row.pack_ms,
            row.memory_mib,
            dollars * 1e6,
        ));
    }
    text.push_str(&format!(
        "\nDollars by the prices of {}, {}, {} ({}). The time of S3 is assumed: {} ms to read, {} ms to write, billed with \
         the function's own. Bold: the cheapest that keeps both goals. The start of the process is told in steps of 10 ms \
         by the kernel.\n\n# One camera for 30 days\n\nIn dollars, at {} MB, one frame each {} s, of {} kB, kept for {} days. A clip of 30 s, the default, is 6 frames an object, one of 60 s \
         is 12; *1* is `pack = \"frame\"`, the default of a store of one's own. The bridge asks for the result of each \
         object {} times by its key, the last time with success, and lists each {} s. The last columns hold everything but \
         storage, for whole objects, against the function alone in 2021: ${} to ${} for {} s of video.\n\n{MONTHS}",
        prices.region,
        prices.architecture,
        prices.date,
        prices.source,
        prices.wait_ms.get,
        prices.wait_ms.put,
        power.choice_mb,
        prices.camera.every_s,
        prices.camera.frame_kb,
        prices.camera.kept_days,
        prices.camera.looks,
        prices.camera.list_s,
        prices.before.low,
        prices.before.high,
        prices.before.video_s,
    ));
    power.months.iter().for_each(|month| text.push_str(&line(month, power)));
    text
}

fn line(month: &Month, power: &Power) -> String {
    let before = &power.prices.before;
    format!(
        "| {} | {:.0} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | **{:.3}** | {:.2} | {:.6} | {:.1} | {:.1} |\n",
        month.frames_per_object,
        month.later_s,
        month.requests,
        month.duration,
        month.puts,
        month.gets,
        month.lists,
        month.transfer,
        month.path(),
        month.storage,
        month.video,
        before.low / month.video,
        before.high / month.video,
    )
}
