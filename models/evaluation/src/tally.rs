//! Owns the counts of a coverage run and what follows from them: recall with intervals, misses, price.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    area::{Area, BINS, bin},
    score::CLASSES,
    voc::Face,
};

/// Faces of one size and how many of them are covered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Covered {
    pub faces: u32,
    pub covered: u32,
    pub covered_box: u32,
    /// Faces of withheld frames: shown to nobody, and in none of the other counts.
    pub withheld: u32,
}

/// A share with its Wilson interval of 95%.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Share {
    pub share: f64,
    pub interval: [f64; 2],
}

impl Share {
    /// `hits` of `n`; the widest interval when `n` is 0.
    pub(crate) fn of(hits: u32, n: u32) -> Self {
        if n == 0 {
            return Self { share: 0.0, interval: [0.0, 1.0] };
        }
        const Z: f64 = 1.959_964;
        let (n, p) = (f64::from(n), f64::from(hits) / f64::from(n));
        let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        Self { share: p, interval: [(middle - half).max(0.0), (middle + half).min(1.0)] }
    }
}

/// A row of the table: the counts as the design names them, and what follows from them.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub counts: Covered,
    pub recall: Share,
    pub recall_box: Share,
}

/// A run over photos.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By class, then by size.
    counts: [[Covered; 3]; 3],
    shares: Vec<f64>,
    outside: Vec<f64>,
    pictures: u32,
    withheld: u32,
    with_a_miss: u32,
    ms: f64,
}

/// What a run found, in the form of the command's JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What covered the faces: a policy of ours, or the file with another's boxes.
    pub by: String,
    pub bins: BTreeMap<&'static str, Row>,
    /// Faces of 32 px and more together.
    pub faces_32: Row,
    pub classes: BTreeMap<&'static str, BTreeMap<&'static str, Row>>,
    /// Mean over delivered pictures.
    pub redacted_share: f64,
    /// Redacted outside annotated boxes grown 1.6 times, over delivered pictures.
    pub outside_median: f64,
    pub outside_p95: f64,
    pub pictures: u32,
    /// Pictures that were withheld: their faces are counted apart.
    pub withheld: u32,
    pub pictures_with_a_miss: Share,
    /// Faces of 16 px and more.
    pub misses_per_1000: f64,
    pub ms_per_picture: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Self>,
}

impl Tally {
    /// Counts a picture; no area: it was withheld.
    pub(crate) fn add(&mut self, faces: &[Face], area: Option<&Area>, ms: f64) {
        self.pictures += 1;
        self.ms += ms;
        let mut missed = false;
        for face in faces {
            let of_class = self.counts.get_mut(face.class as usize);
            let Some(count) = bin(face).zip(of_class).and_then(|(b, c)| c.get_mut(b)) else {
                continue;
            };
            let Some(area) = area else {
                count.withheld += 1;
                continue;
            };
            let (covered, covered_box) = area.covers(face);
            count.faces += 1;
            count.covered += u32::from(covered);
            count.covered_box += u32::from(covered_box);
            missed |= !covered;
        }
        self.with_a_miss += u32::from(missed);
        match area {
            Some(area) => {
                self.shares.push(area.share());
                self.outside.push(area.share_outside(faces));
            }
            None => self.withheld += 1,
        }
    }

    pub(crate) fn report(mut self, by: String) -> Report {
        let bins = BINS.iter().enumerate().map(|(b, name)| {
            (*name, Covered::sum(self.counts.iter().filter_map(|class| class.get(b))).row())
        });
        let classes = CLASSES.iter().zip(&self.counts).map(|(name, counts)| {
            let mut rows: BTreeMap<_, _> =
                BINS.iter().zip(counts).map(|(bin, count)| (*bin, count.row())).collect();
            rows.insert("32+", Covered::sum(counts.iter().skip(1)).row());
            (*name, rows)
        });
        let all = Covered::sum(self.counts.iter().flatten());
        let large = Covered::sum(self.counts.iter().flat_map(|class| class.iter().skip(1)));
        self.outside.sort_by(f64::total_cmp);
        let n = f64::from(self.pictures.max(1));
        let delivered = f64::from((self.pictures - self.withheld).max(1));
        Report {
            by,
            bins: bins.collect(),
            faces_32: large.row(),
            classes: classes.collect(),
            redacted_share: self.shares.iter().sum::<f64>() / delivered,
            outside_median: quantile(&self.outside, 50),
            outside_p95: quantile(&self.outside, 95),
            pictures: self.pictures,
            withheld: self.withheld,
            pictures_with_a_miss: Share::of(self.with_a_miss, self.pictures - self.withheld),
            misses_per_1000: 1000.0 * f64::from(all.faces - all.covered)
                / f64::from(all.faces.max(1)),
            ms_per_picture: self.ms / n,
            peers: Vec::new(),
        }
    }
}

impl Covered {
    fn sum<'a>(counts: impl Iterator<Item = &'a Self>) -> Self {
        counts.fold(Self::default(), |sum, count| Self {
            faces: sum.faces + count.faces,
            covered: sum.covered + count.covered,
            covered_box: sum.covered_box + count.covered_box,
            withheld: sum.withheld + count.withheld,
        })
    }

    fn row(&self) -> Row {
        let recall = Share::of(self.covered, self.faces);
        Row { counts: *self, recall, recall_box: Share::of(self.covered_box, self.faces) }
    }
}

/// The value below which so many hundredths of the sorted values lie.
pub(crate) fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voc::Class;

    #[test]
    fn a_withheld_frame_covers_nobody_and_is_counted_apart() {
        let face = Face { class: Class::NoMask, corners: [0.0, 0.0, 20.0, 40.0] };
        let mut tally = Tally::default();
        tally.add(&[face], None, 1.0);
        tally.add(&[face, face], Some(&Area::of_boxes((100, 100), &[[0.0, 0.0, 20.0, 40.0]])), 3.0);
        tally.add(&[face], Some(&Area::new((100, 100))), 2.0);
        let report = tally.report("test".to_owned());
        let counts = Covered { faces: 3, covered: 2, covered_box: 2, withheld: 1 };
        assert_eq!(report.bins["16-32"].counts, counts);
        assert_eq!(report.classes["no_mask"]["16-32"].counts, counts);
        assert_eq!((report.pictures, report.withheld), (3, 1));
        assert!((report.redacted_share - 0.04).abs() < 1e-9, "{}", report.redacted_share);
        assert!((report.misses_per_1000 - 1000.0 / 3.0).abs() < 1e-9);
        assert!((report.pictures_with_a_miss.share - 0.5).abs() < 1e-9);
        assert!((report.ms_per_picture - 2.0).abs() < 1e-9);
    }

    #[test]
    fn wilsons_interval_is_the_known_one() {
        // 9 of 10: .596 to .982 (Wilson 1927, two sides, 95%).
        let Share { interval: [low, high], .. } = Share::of(9, 10);
        assert!((low - 0.596).abs() < 1e-3 && (high - 0.982).abs() < 1e-3, "{low} {high}");
        assert_eq!(Share::of(0, 0).interval, [0.0, 1.0]);
    }
}
