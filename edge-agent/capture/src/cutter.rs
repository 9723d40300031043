//! Owns the cutting of a stream of encoded pictures into clips. Pure: no GStreamer, no clock.
//!
//! Clips are half-open stretches of session time that touch. A clip is closed at the first key frame that is far
//! enough from its start; over a limit it is cut at its last key frame, or, when a group of pictures is longer than a
//! clip may be, in the middle of the group, which is marked because what follows cannot be decoded by itself.

use proto::{
    Interval,
    limits::{CLIP_BYTES_MAX, CLIP_NS_MAX},
};

/// A jump of picture times over this (10 s) ends the session: the clip would claim time of which nothing was seen.
const JUMP_NS_MAX: i64 = 10_000_000_000;
/// Pictures are reordered by far less than this (2 s); times further back are a jump.
const REORDER_NS_MAX: i64 = 2_000_000_000;
/// Length of the last picture of a stream that states neither durations nor a second picture: 25 a second.
const PICTURE_NS_DEFAULT: i64 = 40_000_000;
/// Room for the container around the pictures: headers, index, 32 bytes a picture at 120 pictures a second for 60 s.
const CONTAINER_BYTES: u64 = 1024 * 1024;

/// One encoded picture, in decoding order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Presentation time, any origin.
    pub(crate) pts_ns: i64,
    /// Duration, where stated.
    pub(crate) duration_ns: Option<i64>,
    /// Decodable without earlier pictures.
    pub(crate) key: bool,
    /// The encoded picture.
    pub(crate) bytes: Vec<u8>,
}

/// What is unusual about a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// It does not start with a key frame: the group of pictures before it was over the limit.
    pub starts_inside_group: bool,
    /// It ends inside a group of pictures for the same reason.
    pub ends_inside_group: bool,
    /// Pictures left out because they show before the clip's start and need pictures of the clip before.
    pub leading_dropped: u32,
}

/// Sums of marks, for counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MarksCount {
    /// Clips that end inside a group of pictures.
    pub cut_inside_group: u64,
    /// Leading pictures left out.
    pub leading_dropped: u64,
}

impl MarksCount {
    /// Counts one clip more.
    pub fn add(&mut self, marks: Marks) {
        self.cut_inside_group += u64::from(marks.ends_inside_group);
        self.leading_dropped += u64::from(marks.leading_dropped);
    }
}

/// A closed clip that is not muxed yet. Times of its units count from `interval.start_ns`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) units: Vec<Unit>,
    pub(crate) interval: Interval,
    pub(crate) marks: Marks,
}

/// Picture times jumped by this many nanoseconds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Jump(pub(crate) i64);

#[derive(Debug)]
struct Open {
    start_ns: i64,
    /// Session times.
    units: Vec<Unit>,
    bytes: u64,
    end_ns: i64,
    last_ns: i64,
    marks: Marks,
}

impl Open {
    fn new(start_ns: i64, marks: Marks) -> Self {
        Self { start_ns, units: Vec::new(), bytes: 0, end_ns: start_ns, last_ns: start_ns, marks }
    }

    fn take(&mut self, unit: Unit) {
        if unit.pts_ns < self.start_ns {
            self.marks.leading_dropped += 1;
            return;
        }
        let step = unit.pts_ns - self.last_ns;
        let length = unit.duration_ns.filter(|d| *d > 0).or((step > 0).then_some(step));
        let length = length.unwrap_or(PICTURE_NS_DEFAULT);
        self.end_ns = self.end_ns.max(unit.pts_ns.saturating_add(length.min(JUMP_NS_MAX)));
        self.last_ns = self.last_ns.max(unit.pts_ns);
        self.bytes += unit.bytes.len() as u64;
        self.units.push(unit);
    }

    fn close(mut self, end_ns: i64, ends_inside_group: bool) -> Draft {
        self.marks.ends_inside_group = ends_inside_group;
        for unit in &mut self.units {
            unit.pts_ns -= self.start_ns;
        }
        let interval = Interval { start_ns: self.start_ns, end_ns };
        Draft { units: self.units, interval, marks: self.marks }
    }
}

/// Cuts one session.
#[derive(Debug)]
pub(crate) struct Cutter {
    length_ns: i64,
    bytes_max: u64,
    ns_max: i64,
    /// Presentation time of the session's first picture.
    origin_ns: Option<i64>,
    open: Option<Open>,
}

impl Cutter {
    /// Clips of about this length.
    pub(crate) fn new(length_ns: i64) -> Self {
        let bytes_max = CLIP_BYTES_MAX - CONTAINER_BYTES;
        Self { length_ns, bytes_max, ns_max: CLIP_NS_MAX, origin_ns: None, open: None }
    }

    /// Session time at which the open clip ends so far.
    pub(crate) fn end_ns(&self) -> i64 {
        self.open.as_ref().map_or(0, |open| open.end_ns)
    }

    /// Takes the next picture; gives the clip that it closes. `renewed`: the stream's format changed with this picture,
    /// so it starts a clip whatever the length.
    pub(crate) fn push(&mut self, unit: Unit, renewed: bool) -> Result<Option<Draft>, Jump> {
        if self.origin_ns.is_none() && !unit.key {
            // Nothing before the first key frame can be decoded; the session starts with that frame.
            return Ok(None);
        }
        let origin = *self.origin_ns.get_or_insert(unit.pts_ns);
        let unit = Unit { pts_ns: unit.pts_ns.saturating_sub(origin), ..unit };
        let Some(open) = self.open.take() else {
            let mut open = Open::new(unit.pts_ns.max(0), Marks::default());
            open.take(unit);
            self.open = Some(open);
            return Ok(None);
        };
        let step = unit.pts_ns - open.last_ns;
        if !(-REORDER_NS_MAX..=JUMP_NS_MAX).contains(&step) {
            self.open = Some(open);
            return Err(Jump(step));
        }
        let (draft, mut open) = self.split(open, &unit, renewed);
        open.take(unit);
        self.open = Some(open);
        Ok(draft)
    }

    /// Gives the open clip at the end of the stream.
    pub(crate) fn finish(&mut self) -> Option<Draft> {
        let open = self.open.take().filter(|open| !open.units.is_empty())?;
        let end_ns = open.end_ns.min(open.start_ns.saturating_add(self.ns_max));
        Some(open.close(end_ns, false))
    }

    /// Decides whether `unit` starts another clip; gives the closed one, if any, and the one that `unit` goes into.
    fn split(&self, mut open: Open, unit: &Unit, renewed: bool) -> (Option<Draft>, Open) {
        let so_far = unit.pts_ns - open.start_ns;
        let latest_end = open.start_ns.saturating_add(self.ns_max);
        if (unit.key && so_far >= self.length_ns) || renewed {
            let end = unit.pts_ns.clamp(open.start_ns + 1, latest_end);
            let marks = Marks { starts_inside_group: !unit.key, ..Marks::default() };
            return (Some(open.close(end, false)), Open::new(end, marks));
        }
        let fits = open.bytes.saturating_add(unit.bytes.len() as u64) <= self.bytes_max;
        if so_far < self.ns_max && fits {
            return (None, open);
        }
        let last_key = open.units.iter().rposition(|u| u.key).filter(|at| *at > 0);
        if let (Some(at), false) = (last_key, unit.key) {
            let rest = open.units.split_off(at);
            let start = rest.first().map_or(latest_end, |u| u.pts_ns).min(latest_end);
            let mut next = Open::new(start, Marks::default());
            rest.into_iter().for_each(|u| next.take(u));
            return (Some(open.close(start, false)), next);
        }
        let end = unit.pts_ns.clamp(open.start_ns + 1, latest_end);
        let marks = Marks { starts_inside_group: !unit.key, ..Marks::default() };
        (Some(open.close(end, !unit.key)), Open::new(end, marks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn unit(pts_ns: i64, key: bool) -> Unit {
        Unit { pts_ns, duration_ns: Some(40_000_000), key, bytes: vec![0; 100] }
    }

    /// All clips of a stream of 25 pictures a second with a key frame each `group` pictures.
    fn cut(cutter: &mut Cutter, pictures: i64, group: i64, first_ns: i64) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for n in 0..pictures {
            let unit = unit(first_ns + n * 40_000_000, n % group == 0);
            drafts.extend(cutter.push(unit, false).unwrap());
        }
        drafts.extend(cutter.finish());
        drafts
    }

    fn assert_touching(drafts: &[Draft]) {
        assert_eq!(drafts.first().map(|d| d.interval.start_ns), Some(0));
        for pair in drafts.windows(2) {
            assert_eq!(pair[0].interval.end_ns, pair[1].interval.start_ns);
        }
        for draft in drafts {
            assert!(draft.interval.length_ns() > 0 && draft.interval.length_ns() <= CLIP_NS_MAX);
            let length = draft.interval.length_ns();
            assert!(draft.units.iter().all(|u| (0..length).contains(&u.pts_ns)), "{draft:?}");
        }
    }

    #[test]
    fn clips_are_cut_at_key_frames_and_touch() {
        // A stream that starts at 0.08 s, as MP4 with B-frames does: session time starts at 0 all the same.
        let drafts = cut(&mut Cutter::new(10 * SECOND), 25 * 35, 50, 80_000_000);
        assert_touching(&drafts);
        let ends: Vec<i64> = drafts.iter().map(|d| d.interval.end_ns / SECOND).collect();
        assert_eq!(ends, [10, 20, 30, 35]);
        assert!(drafts.iter().all(|d| d.units[0].key && d.marks == Marks::default()));
        assert_eq!(drafts.iter().map(|d| d.units.len()).sum::<usize>(), 25 * 35);
    }

    #[test]
    fn a_stream_shorter_than_the_clip_length_is_one_clip() {
        let drafts = cut(&mut Cutter::new(10 * SECOND), 25, 5, 0);
        assert_eq!(drafts.len(), 1);
        assert_eq!(drafts[0].interval, Interval { start_ns: 0, end_ns: SECOND });
    }

    #[test]
    fn three_minutes_of_one_group_are_cut_and_marked() {
        let drafts = cut(&mut Cutter::new(10 * SECOND), 25 * 180, i64::MAX, 0);
        assert_touching(&drafts);
        assert_eq!(drafts.len(), 3);
        assert!(!drafts[0].marks.starts_inside_group && drafts[0].marks.ends_inside_group);
        assert!(drafts[1].marks.starts_inside_group && drafts[2].marks.starts_inside_group);
        let mut count = MarksCount::default();
        drafts.iter().for_each(|d| count.add(d.marks));
        assert_eq!(count.cut_inside_group, 2);
    }

    #[test]
    fn a_clip_over_the_limit_is_cut_at_its_last_key_frame() {
        let mut cutter = Cutter::new(60 * SECOND);
        // Key frames each 7 s never fall on 60 s.
        let drafts = cut(&mut cutter, 25 * 130, 175, 0);
        assert_touching(&drafts);
        assert!(drafts.iter().all(|d| d.units[0].key && !d.marks.ends_inside_group));
        assert_eq!(drafts[0].interval.end_ns, 56 * SECOND);
    }

    #[test]
    fn a_clip_over_the_byte_limit_is_cut() {
        let mut cutter = Cutter { bytes_max: 1000, ..Cutter::new(10 * SECOND) };
        let drafts = cut(&mut cutter, 100, 4, 0);
        assert_touching(&drafts);
        assert!(drafts.iter().all(|d| d.units.len() <= 10 && d.units[0].key));
    }

    #[test]
    fn leading_pictures_of_an_open_group_are_left_out_and_counted() {
        let mut cutter = Cutter::new(SECOND);
        for n in 0..25 {
            assert_eq!(cutter.push(unit(n * 40_000_000, n == 0), false), Ok(None));
        }
        // In decoding order: the key frame at 1.08 s, then two pictures that show before it.
        assert!(cutter.push(unit(1_080_000_000, true), false).unwrap().is_some());
        for pts in [SECOND, 1_040_000_000, 1_120_000_000] {
            assert_eq!(cutter.push(unit(pts, false), false), Ok(None));
        }
        let last = cutter.finish().unwrap();
        assert_eq!((last.units.len(), last.marks.leading_dropped), (2, 2));
    }

    #[test]
    fn nothing_is_taken_before_the_first_key_frame() {
        let mut cutter = Cutter::new(SECOND);
        assert_eq!(cutter.push(unit(0, false), false), Ok(None));
        assert_eq!(cutter.finish(), None);
        assert_eq!(cutter.push(unit(5 * SECOND, true), false), Ok(None));
        assert_eq!(cutter.finish().unwrap().interval.start_ns, 0);
    }

    #[test]
    fn a_jump_of_picture_times_ends_the_session_and_keeps_what_was_taken() {
        for by in [60 * SECOND, -5 * SECOND, i64::MAX / 2, i64::MIN / 2] {
            let mut cutter = Cutter::new(10 * SECOND);
            for n in 0..200 {
                cutter.push(unit(n * 40_000_000, n == 0), false).unwrap();
            }
            assert!(cutter.push(unit(8 * SECOND + by, true), false).is_err());
            assert_eq!(cutter.finish().unwrap().units.len(), 200);
        }
    }
}
