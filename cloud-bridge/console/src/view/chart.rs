//! Owns the timeline of counts: stacked columns with axes, as SVG made on the server.

use proto::UtcTime;
use results::{Bucket, BucketWidth, Counts};

use super::format;
use crate::texts::Texts;

/// Size of the drawing, in its own units; the page scales it.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 240.0;
/// Room for the axes.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
/// Columns of one drawing: more are no longer seen.
const COLUMNS_MAX: usize = 192;
/// Labels along the time axis.
const LABELS_MAX: usize = 8;

/// One part of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Segment {
    pub(crate) class: &'static str,
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) w: f64,
    pub(crate) h: f64,
}

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    /// Shown on hovering.
    pub(crate) title: String,
    pub(crate) segments: Vec<Segment>,
}

/// A label of an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Label {
    pub(crate) at: f64,
    pub(crate) text: String,
}

/// A row of the table beneath.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) time: String,
    pub(crate) frames: String,
    pub(crate) mask: String,
    pub(crate) no_mask: String,
    pub(crate) incorrect: String,
    pub(crate) uncertain: String,
    pub(crate) share: String,
}

/// A timeline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chart {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
    pub(crate) columns: Vec<Column>,
    pub(crate) times: Vec<Label>,
    pub(crate) heights: Vec<Label>,
    pub(crate) rows: Vec<Row>,
}

/// Draws the buckets of one camera that begin in `[from, until)`; nothing when there is none with a track.
pub(crate) fn chart(
    t: &'static Texts,
    buckets: &[Bucket],
    width: BucketWidth,
    from: UtcTime,
    until: UtcTime,
) -> Option<Chart> {
    let most =
        buckets.iter().map(|bucket| bucket.counts.total().all()).max().filter(|most| *most > 0)?;
    let first = from.micros().div_euclid(width.micros());
    let last = until.micros().div_euclid(width.micros()).max(first);
    let slots = usize::try_from(last - first + 1).unwrap_or(1).clamp(1, COLUMNS_MAX);
    let top = nice(most);
    let step = (WIDTH - LEFT - RIGHT) / format::float(slots as u64);
    let scale = (HEIGHT - TOP - BOTTOM) / format::float(top);
    let place = |at: UtcTime| {
        let index = at.micros().div_euclid(width.micros()) - first;
        LEFT + format::float(u64::try_from(index).unwrap_or(0)) * step
    };
    let column = |bucket: &Bucket| {
        let x = place(bucket.at) + step * 0.1;
        let mut y = HEIGHT - BOTTOM;
        let segments = stack(&bucket.counts.total()).into_iter().map(|(class, n)| {
            let h = format::float(n) * scale;
            y -= h;
            Segment { class, x, y, w: step * 0.8, h }
        });
        Column { title: title(t, bucket), segments: segments.collect() }
    };
    let inside: Vec<&Bucket> =
        buckets.iter().filter(|b| b.at.micros().div_euclid(width.micros()) >= first).collect();
    Some(Chart {
        width: WIDTH,
        height: HEIGHT,
        left: LEFT,
        right: WIDTH - RIGHT,
        bottom: HEIGHT - BOTTOM,
        columns: inside.iter().map(|bucket| column(bucket)).collect(),
        times: times(first, slots, width, step),
        heights: (0..=2).map(|n| height(top * n / 2, scale)).collect(),
        rows: inside.iter().rev().map(|bucket| row(bucket)).collect(),
    })
}

/// From the ground up.
const fn stack(counts: &Counts) -> [(&'static str, u64); 4] {
    [
        ("mask", counts.mask),
        ("incorrect", counts.incorrect),
        ("no-mask", counts.no_mask),
        ("uncertain", counts.uncertain),
    ]
}

fn title(t: &'static Texts, bucket: &Bucket) -> String {
    let Counts { mask, no_mask, incorrect, uncertain, .. } = bucket.counts.total();
    format!(
        "{}: {} {mask}, {} {no_mask}, {} {incorrect}, {} {uncertain}",
        format::time(bucket.at),
        t.mask,
        t.no_mask,
        t.incorrect,
        t.uncertain
    )
}

/// The even number above `most` that reads well on an axis: 2, 4, 10, 20, 40, 100, ...
fn nice(most: u64) -> u64 {
    let mut power = 1u64;
    loop {
        for digit in [2, 4, 10] {
            let top = power.saturating_mul(digit);
            if top >= most {
                return top;
            }
        }
        power = power.saturating_mul(10);
    }
}

fn height(tracks: u64, scale: f64) -> Label {
    let at = HEIGHT - BOTTOM - format::float(tracks) * scale;
    Label { at, text: format::number(tracks) }
}

/// Labels at round times, as many as fit.
fn times(first: i64, slots: usize, width: BucketWidth, step: f64) -> Vec<Label> {
    let rounds = match width {
        BucketWidth::Minute => [1, 2, 5, 10, 15, 30, 60],
        BucketWidth::Hour => [1, 2, 3, 6, 12, 24, 48],
    };
    let fits = |every: &i64| slots.div_ceil(usize::try_from(*every).unwrap_or(1)) <= LABELS_MAX;
    let every = rounds.into_iter().find(fits).unwrap_or(48);
    let days = width == BucketWidth::Hour && slots > 48;
    let count = i64::try_from(slots).unwrap_or(0);
    let label = |index: i64| {
        let bucket = first.saturating_add(index);
        let at = UtcTime::from_micros(bucket.saturating_mul(width.micros())).unwrap_or_default();
        let text = match days {
            true => format!("{} {}", format::day(at), format::clock(at)),
            false => format::clock(at),
        };
        Label { at: LEFT + format::float(index.unsigned_abs()) * step, text }
    };
    (0..count).filter(|index| (first + index).rem_euclid(every) == 0).map(label).collect()
}

fn row(bucket: &Bucket) -> Row {
    let counts = bucket.counts.total();
    let share = counts.share_without_mask();
    Row {
        time: format::time(bucket.at),
        frames: format::number(counts.frames),
        mask: format::number(counts.mask),
        no_mask: format::number(counts.no_mask),
        incorrect: format::number(counts.incorrect),
        uncertain: format::number(counts.uncertain),
        share: share.map_or_else(|| "–".to_owned(), |share| format::percent(share.share)),
    }
}

#[cfg(test)]
mod tests {
    use results::CountsByModel;

    use super::*;
    use crate::texts::EN;

    fn bucket(at: &str, mask: u64, no_mask: u64) -> Bucket {
        let counts = Counts { frames: 1, mask, no_mask, incorrect: 0, uncertain: 0 };
        let counts = CountsByModel::of(None, counts);
        Bucket { camera: "door".parse().unwrap(), at: at.parse().unwrap(), counts }
    }

    #[test]
    fn columns_stand_on_the_ground_in_their_place_and_fit_the_drawing() {
        let buckets = [bucket("2026-11-24T12:00:00Z", 3, 1), bucket("2026-11-24T12:59:00Z", 0, 8)];
        let (from, until) = ("2026-11-24T12:00:30Z", "2026-11-24T12:59:59Z");
        let (from, until) = (from.parse().unwrap(), until.parse().unwrap());
        let chart = chart(&EN, &buckets, BucketWidth::Minute, from, until).unwrap();
        assert_eq!(chart.columns.len(), 2);
        let ground = &chart.columns[0].segments[0];
        assert!((ground.y + ground.h - chart.bottom).abs() < 1e-9);
        let last = &chart.columns[1].segments[2];
        assert!(last.x + last.w <= chart.right && last.y >= TOP, "{last:?}");
        assert_eq!(chart.heights.last().unwrap().text, "10");
        let times: Vec<&str> = chart.times.iter().map(|label| label.text.as_str()).collect();
        assert_eq!(times, ["12:00", "12:10", "12:20", "12:30", "12:40", "12:50"]);
        assert_eq!(chart.rows[0].time, "2026-11-24 12:59:00", "the newest row comes first");
    }

    #[test]
    fn an_axis_ends_on_a_number_that_reads_well() {
        for (most, top) in [(1, 2), (3, 4), (5, 10), (11, 20), (39, 40), (41, 100), (101, 200)] {
            assert_eq!(nice(most), top);
        }
        let now = UtcTime::EPOCH;
        assert_eq!(chart(&EN, &[], BucketWidth::Hour, now, now), None);
    }
}
