//! Owns where the faces were when each camera's newest clips ended, for the clip that comes next: tracks and what is
//! remembered of faces go on over the border. Plain boxes, in memory alone.
//!
//! What depends on it is how well a clip's first frame is covered, and which noise and cells its faces have. What a clip
//! was told once it is told again for as long as it is kept, so that it comes out the same. A clip whose neighbour went to
//! another fog node, or comes later than it does itself, begins as the first of a session does.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use privacy::Seen;
use proto::{CameraId, ClipId};
use tokio::sync::Notify;

/// Clips of a camera that are kept: what an edge that catches up gets through while one rests before its next attempt.
const CLIPS_KEPT: usize = 16;
/// Longest wait for the clip before: whoever waits has a seat that others may want, and an upload may take minutes.
const BEFORE_MAX: Duration = Duration::from_secs(10);

/// All cameras of a fog node; a gateway's cameras are configured, which bounds them.
#[derive(Debug, Default)]
pub struct Ends {
    cameras: Mutex<BTreeMap<CameraId, VecDeque<Kept>>>,
    /// Some clip is in hand no more.
    freed: Notify,
}

/// One clip.
#[derive(Debug)]
struct Kept {
    clip: ClipId,
    /// Attempts that are in hand: a clip may be offered again over a new connection before the old one is known to be gone.
    in_hand: u32,
    /// What it was told, once it was told anything.
    told: Option<Option<Seen>>,
    /// Where the faces were in its last frame, once its worker has said so.
    last: Option<Seen>,
}

/// A clip that is taken and not yet through its worker.
#[derive(Debug)]
pub struct InHand {
    ends: Arc<Ends>,
    clip: ClipId,
}

impl Ends {
    /// Takes a clip in hand, until what comes back is dropped: the clip right behind it waits for that.
    #[must_use]
    pub fn take(self: &Arc<Self>, clip: &ClipId) -> InHand {
        let mut cameras = self.lock();
        let clips = cameras.entry(clip.camera.clone()).or_default();
        let known = clips.iter().position(|kept| kept.clip == *clip);
        let known = known.and_then(|known| clips.remove(known));
        let new = Kept { clip: clip.clone(), in_hand: 0, told: None, last: None };
        let kept = known.unwrap_or(new);
        clips.push_back(Kept { in_hand: kept.in_hand + 1, ..kept });
        // The oldest that nobody has in hand; seats bound those that somebody has.
        while clips.len() > CLIPS_KEPT {
            let Some(oldest) = clips.iter().position(|kept| kept.in_hand == 0) else { break };
            clips.remove(oldest);
        }
        InHand { ends: Arc::clone(self), clip: clip.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CameraId, VecDeque<Kept>>> {
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, clip: &ClipId, of: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        let mut cameras = self.lock();
        cameras.get_mut(&clip.camera)?.iter_mut().find(|kept| kept.clip == *clip).map(of)
    }
}

impl InHand {
    /// Where the faces were in the last frame of the clip right before, when that one is known; waits while it is in hand,
    /// [`BEFORE_MAX`] at most. A clip waits for a lower number alone, so nobody waits for himself.
    pub async fn before(&self) -> Option<Seen> {
        self.before_within(BEFORE_MAX).await
    }

    async fn before_within(&self, longest: Duration) -> Option<Seen> {
        let told = self.ends.with(&self.clip, |kept| kept.told.clone()).flatten();
        if let Some(told) = told {
            return told;
        }
        let last = tokio::time::timeout(longest, self.last_before()).await.unwrap_or_default();
        // Another attempt may have been told something meanwhile.
        let told = self.ends.with(&self.clip, |kept| kept.told.get_or_insert(last.clone()).clone());
        told.unwrap_or(last)
    }

    async fn last_before(&self) -> Option<Seen> {
        let before = ClipId { seq: self.clip.seq.checked_sub(1)?, ..self.clip.clone() };
        loop {
            let mut freed = std::pin::pin!(self.ends.freed.notified());
            // From here on nothing that is freed is missed.
            freed.as_mut().enable();
            let last = |kept: &mut Kept| (kept.in_hand == 0).then(|| kept.last.clone());
            match self.ends.with(&before, last) {
                Some(None) => freed.await,
                Some(Some(last)) => return last,
                None => return None,
            }
        }
    }

    /// Keeps where the faces were in its last frame.
    pub fn keep(&self, last: Option<Seen>) {
        self.ends.with(&self.clip, |kept| kept.last = last);
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.ends.with(&self.clip, |kept| kept.in_hand = kept.in_hand.saturating_sub(1));
        self.ends.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::Poll,
    };

    use super::*;

    fn clip(camera: &str, session: u8, seq: u64) -> ClipId {
        format!("town/{camera}/{session:032x}/{seq}").parse().unwrap()
    }

    /// Whether a clip is told anything of the one before it.
    async fn is_told(ends: &Arc<Ends>, clip: &ClipId) -> bool {
        ends.take(clip).before().await.is_some()
    }

    fn ended(ends: &Arc<Ends>, clip: &ClipId) {
        ends.take(clip).keep(Some(Seen::default()));
    }

    #[tokio::test]
    async fn a_clip_finds_the_one_right_before_it_in_its_session() {
        let ends = Arc::new(Ends::default());
        assert!(!is_told(&ends, &clip("door", 1, 0)).await);
        ended(&ends, &clip("door", 1, 7));
        for (next, told) in [
            (clip("door", 1, 8), true),
            (clip("door", 1, 7), false),
            (clip("door", 1, 10), false),
            (clip("door", 2, 8), false),
            (clip("yard", 1, 8), false),
        ] {
            assert_eq!(is_told(&ends, &next).await, told, "{next}");
        }
    }

    #[tokio::test]
    async fn what_a_clip_was_told_once_it_is_told_again() {
        let ends = Arc::new(Ends::default());
        let (before, next) = (clip("door", 1, 7), clip("door", 1, 8));
        assert!(!is_told(&ends, &next).await);
        ended(&ends, &before);
        assert!(!is_told(&ends, &next).await, "it was told of nobody");
        let after = clip("door", 1, 9);
        ended(&ends, &next);
        assert!(is_told(&ends, &after).await);
        ends.take(&next).keep(None);
        assert!(is_told(&ends, &after).await, "it was told of somebody");
    }

    /// Whether it has no answer yet.
    async fn is_waiting(mut answer: Pin<&mut impl Future<Output = Option<Seen>>>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(answer.as_mut().poll(context).is_pending()))
            .await
    }

    #[tokio::test]
    async fn a_clip_waits_while_the_one_before_it_is_in_hand() {
        let ends = Arc::new(Ends::default());
        let (before, next) = (clip("door", 1, 7), clip("door", 1, 8));
        let (in_hand, again, next) = (ends.take(&before), ends.take(&before), ends.take(&next));
        let mut told = pin!(next.before());
        assert!(is_waiting(told.as_mut()).await);
        in_hand.keep(Some(Seen::default()));
        drop(in_hand);
        assert!(is_waiting(told.as_mut()).await, "its other attempt is in hand");
        drop(again);
        assert!(told.await.is_some());
    }

    #[tokio::test]
    async fn a_clip_whose_neighbour_fails_is_told_of_nobody() {
        let ends = Arc::new(Ends::default());
        let (in_hand, next) = (ends.take(&clip("door", 1, 7)), ends.take(&clip("door", 1, 8)));
        let mut told = pin!(next.before());
        assert!(is_waiting(told.as_mut()).await);
        drop(in_hand);
        assert!(told.await.is_none());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let ends = Arc::new(Ends::default());
        let (stalled, next) = (ends.take(&clip("door", 1, 7)), ends.take(&clip("door", 1, 8)));
        let again = ends.take(&clip("door", 1, 8));
        let mut told = pin!(again.before());
        assert!(is_waiting(told.as_mut()).await);
        assert!(next.before_within(Duration::ZERO).await.is_none());
        stalled.keep(Some(Seen::default()));
        drop(stalled);
        assert!(told.await.is_none(), "the other attempt was told of nobody");
    }

    #[tokio::test]
    async fn so_many_clips_of_a_camera_are_kept_and_no_more_but_for_those_in_hand() {
        let ends = Arc::new(Ends::default());
        let many: Vec<InHand> = (1000..1040).map(|seq| ends.take(&clip("door", 1, seq))).collect();
        let kept = || ends.lock()[&"door".parse().unwrap()].len();
        assert_eq!(kept(), 40);
        drop(many);
        (0..100).for_each(|seq| ended(&ends, &clip("door", 1, seq)));
        // Again does not count twice.
        (0..100).for_each(|_| ended(&ends, &clip("door", 1, 90)));
        assert_eq!(kept(), CLIPS_KEPT);
        assert!(is_told(&ends, &clip("door", 1, 91)).await);
    }
}
