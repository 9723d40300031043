//! Owns bars: parts of a whole side by side, and a share with its interval. Drawn as SVG, since styles in attributes
//! are forbidden by the content security policy.

use results::{Counts, CountsByModel, Share};

use super::format;
use crate::texts::Texts;

/// One part of a bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    /// Its class in the style sheet: colour and pattern.
    pub(crate) class: &'static str,
    pub(crate) label: &'static str,
    pub(crate) number: String,
    /// Where it begins and how long it is, in hundredths of the whole.
    pub(crate) x: f64,
    pub(crate) width: f64,
}

/// Lays parts side by side.
pub(crate) fn parts(of: &[(&'static str, &'static str, u64)]) -> Vec<Part> {
    let whole: u64 = of.iter().map(|(_, _, n)| n).sum();
    let scale = if whole == 0 { 0.0 } else { 100.0 / format::float(whole) };
    let mut x = 0.0;
    let mut parts = Vec::with_capacity(of.len());
    for (class, label, n) in of {
        let width = format::float(*n) * scale;
        parts.push(Part { class, label, number: format::number(*n), x, width });
        x += width;
    }
    parts
}

/// The four classes of tracks.
pub(crate) fn classes(t: &'static Texts, counts: &Counts) -> Vec<Part> {
    parts(&[
        ("mask", t.mask, counts.mask),
        ("no-mask", t.no_mask, counts.no_mask),
        ("incorrect", t.incorrect, counts.incorrect),
        ("uncertain", t.uncertain, counts.uncertain),
    ])
}

/// A share and its interval, as text and as places on a bar of 100.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ShareView {
    pub(crate) share: String,
    pub(crate) interval: String,
    pub(crate) of: String,
    /// The share and its interval once the classifier's errors are taken off; empty when too little is known of them.
    pub(crate) corrected: String,
    pub(crate) at: f64,
    pub(crate) low: f64,
    pub(crate) length: f64,
}

pub(crate) fn share(t: &'static Texts, counts: &CountsByModel) -> Option<ShareView> {
    let share = counts.total().share_without_mask()?;
    let corrected = counts.corrected_share();
    Some(ShareView {
        share: format::percent(share.share),
        interval: interval(&share),
        of: t.of_tracks(&format::number(share.n)),
        corrected: corrected.map_or_else(String::new, |share| {
            format!("{} {}, {}", t.corrected, format::percent(share.share), interval(&share))
        }),
        at: share.share * 100.0,
        low: share.low * 100.0,
        length: (share.high - share.low) * 100.0,
    })
}

fn interval(share: &Share) -> String {
    format!("{} – {}", format::percent(share.low), format::percent(share.high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_bar_and_nothing_fills_none() {
        let bar = parts(&[("a", "A", 1), ("b", "B", 3)]);
        assert_eq!((bar[0].x, bar[0].width, bar[1].x, bar[1].width), (0.0, 25.0, 25.0, 75.0));
        assert!(parts(&[("a", "A", 0)]).iter().all(|part| part.width == 0.0));
    }
}
