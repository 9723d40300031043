//! Owns how long results take: from the end of a clip, which is when its last picture was there, to the result in the
//! database, from where the console shows it.

use std::{collections::BTreeMap, time::Duration};

use proto::{ClipId, UtcTime};
use results::{
    ClipFilter, FrameFilter, FrameState, Order, ROWS_MAX, Results, ResultsError, StateKind,
};

/// How far back results are looked for: what took longer is behind an outage, and no measure of pace.
const BACK_NS: i64 = 600 * 1_000_000_000;

/// Times of some results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// How many.
    pub(super) results: usize,
    /// Half of them took less.
    pub(super) median: Duration,
    /// The longest.
    pub(super) worst: Duration,
}

/// Times of the results that arrived since an instant; nothing when there are none.
pub(super) async fn since(
    results: &Results,
    since: UtcTime,
    now: UtcTime,
) -> Result<Option<Pace>, ResultsError> {
    let from = Some(now.plus_ns(-BACK_NS));
    let clips = ClipFilter { from, ..ClipFilter::default() };
    let ends: BTreeMap<ClipId, UtcTime> = results
        .clips(&clips, ROWS_MAX)
        .await?
        .into_iter()
        .map(|clip| {
            let length = clip.record.interval.length_ns();
            let end = clip.record.captured_at.plus_ns(length);
            (clip.record.clip, end)
        })
        .collect();
    let state = Some(StateKind::Done);
    let frames = FrameFilter { state, from, order: Order::Newest, ..FrameFilter::default() };
    let mut took = Vec::new();
    for row in results.frames(&frames, ROWS_MAX).await? {
        if let (FrameState::Done { at, .. }, Some(end)) = (&row.state, ends.get(&row.frame.clip))
            && *at >= since
        {
            let us = at.micros().saturating_sub(end.micros());
            took.push(Duration::from_micros(u64::try_from(us).unwrap_or(0)));
        }
    }
    Ok(pace(took))
}

fn pace(mut took: Vec<Duration>) -> Option<Pace> {
    took.sort_unstable();
    let results = took.len();
    let (median, worst) = (*took.get(results / 2)?, *took.last()?);
    Some(Pace { results, median, worst })
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (median, worst) = (self.median.as_secs_f64(), self.worst.as_secs_f64());
        let results = self.results;
        write!(f, "end of a clip to result {median:.1} s (worst {worst:.1} s, {results} results)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_the_worst_at_the_end() {
        let s = Duration::from_secs;
        let of = |seconds: &[u64]| pace(seconds.iter().map(|n| s(*n)).collect());
        assert_eq!(of(&[9, 1, 2]), Some(Pace { results: 3, median: s(2), worst: s(9) }));
        assert_eq!(of(&[]), None);
        let shown = of(&[9, 1, 2]).unwrap().to_string();
        assert_eq!(shown, "end of a clip to result 2.0 s (worst 9.0 s, 3 results)");
    }
}
