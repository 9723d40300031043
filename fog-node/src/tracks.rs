//! Owns where the faces were in the last frame of each camera's newest clips, for the clip that comes next: tracks and what
//! is remembered of faces go on over the border. Plain boxes, in memory alone.
//!
//! Nothing depends on it but how well a clip's first frame is covered, and which noise its faces have. What a clip was told
//! once it is told whenever it comes again, so that it comes out the same. A clip whose neighbour went to another fog
//! node begins as the first of a session does.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use privacy::Seen;
use proto::{CameraId, ClipId};
use tokio::sync::Notify;

/// Clips of a camera that are kept: one comes again within so many, or is processed by another fog node.
const CLIPS_KEPT: usize = 4;

/// All cameras of a fog node; a gateway's cameras are configured, which bounds them.
#[derive(Debug, Default)]
pub struct Tracks {
    cameras: Mutex<BTreeMap<CameraId, VecDeque<Kept>>>,
    /// Some clip is in hand no more.
    ended: Notify,
}

/// One clip.
#[derive(Debug)]
struct Kept {
    clip: ClipId,
    /// Attempts that are in hand: a clip may be offered again over a new connection before the old one is known to be gone.
    in_hand: u32,
    /// What it was told, once it was told anything.
    told: Option<Option<Seen>>,
    last: Option<Seen>,
}

/// A clip that is in hand.
#[derive(Debug)]
pub struct InHand<'a> {
    tracks: &'a Tracks,
    clip: &'a ClipId,
}

impl Tracks {
    /// Takes a clip in hand, until what comes back is dropped: the clip right behind it waits for that.
    #[must_use]
    pub fn take<'a>(&'a self, clip: &'a ClipId) -> InHand<'a> {
        let mut cameras = self.lock();
        let clips = cameras.entry(clip.camera.clone()).or_default();
        if let Some(kept) = clips.iter_mut().find(|kept| kept.clip == *clip) {
            kept.in_hand += 1;
        } else {
            clips.push_back(Kept { clip: clip.clone(), in_hand: 1, told: None, last: None });
            // The oldest that nobody has in hand; seats bound those that somebody has.
            let oldest = clips.iter().position(|kept| kept.in_hand == 0);
            oldest.filter(|_| clips.len() > CLIPS_KEPT).map(|oldest| clips.remove(oldest));
        }
        InHand { tracks: self, clip }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CameraId, VecDeque<Kept>>> {
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, clip: &ClipId, of: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        let mut cameras = self.lock();
        cameras.get_mut(&clip.camera)?.iter_mut().find(|kept| kept.clip == *clip).map(of)
    }
}

impl InHand<'_> {
    /// Where the faces were in the last frame of the clip right before, when that one is known; waits while it is in hand.
    /// A clip has one neighbour before it, so nobody waits for himself.
    pub async fn before(&self) -> Option<Seen> {
        let before = self.clip.seq.checked_sub(1).map(|seq| ClipId { seq, ..self.clip.clone() })?;
        loop {
            let ended = self.tracks.ended.notified();
            let mut ended = std::pin::pin!(ended);
            // From here on no end is missed.
            ended.as_mut().enable();
            let told = self.tracks.with(self.clip, |kept| kept.told.clone()).flatten();
            if let Some(told) = told {
                return told;
            }
            let last =
                self.tracks.with(&before, |kept| (kept.in_hand == 0).then(|| kept.last.clone()));
            if let Some(last) = last.unwrap_or(Some(None)) {
                self.tracks.with(self.clip, |kept| kept.told = Some(last.clone()));
                return last;
            }
            ended.await;
        }
    }

    /// Keeps where the faces were in its last frame.
    pub fn keep(&self, last: Option<Seen>) {
        self.tracks.with(self.clip, |kept| kept.last = last);
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.tracks.with(self.clip, |kept| kept.in_hand = kept.in_hand.saturating_sub(1));
        self.tracks.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(camera: &str, session: u8, seq: u64) -> ClipId {
        format!("town/{camera}/{session:032x}/{seq}").parse().unwrap()
    }

    /// Whether a clip is told anything of the one before it.
    async fn is_told(tracks: &Tracks, clip: &ClipId) -> bool {
        tracks.take(clip).before().await.is_some()
    }

    fn ended(tracks: &Tracks, clip: &ClipId) {
        tracks.take(clip).keep(Some(Seen::default()));
    }

    #[tokio::test]
    async fn a_clip_finds_the_one_right_before_it_in_its_session() {
        let tracks = Tracks::default();
        assert!(!is_told(&tracks, &clip("door", 1, 0)).await);
        ended(&tracks, &clip("door", 1, 7));
        for (next, told) in [
            (clip("door", 1, 8), true),
            (clip("door", 1, 7), false),
            (clip("door", 1, 10), false),
            (clip("door", 2, 8), false),
            (clip("yard", 1, 8), false),
        ] {
            assert_eq!(is_told(&tracks, &next).await, told, "{next}");
        }
    }

    #[tokio::test]
    async fn what_a_clip_was_told_once_it_is_told_again() {
        let tracks = Tracks::default();
        let (before, next) = (clip("door", 1, 7), clip("door", 1, 8));
        assert!(!is_told(&tracks, &next).await);
        ended(&tracks, &before);
        assert!(!is_told(&tracks, &next).await, "it was told of nobody");
        let after = clip("door", 1, 9);
        ended(&tracks, &next);
        assert!(is_told(&tracks, &after).await);
        tracks.take(&next).keep(None);
        assert!(is_told(&tracks, &after).await, "it was told of somebody");
    }

    #[tokio::test]
    async fn a_clip_waits_while_the_one_before_it_is_in_hand() {
        let tracks = Tracks::default();
        let (before, next) = (clip("door", 1, 7), clip("door", 1, 8));
        let in_hand = tracks.take(&before);
        let again = tracks.take(&before);
        let waits = tracks.take(&next);
        let waits = waits.before();
        let mut waits = std::pin::pin!(waits);
        assert!(is_waiting(waits.as_mut()).await);
        in_hand.keep(Some(Seen::default()));
        drop(in_hand);
        assert!(is_waiting(waits.as_mut()).await, "its other attempt is in hand");
        drop(again);
        assert!(waits.await.is_some());
    }

    /// Whether it has no answer when it is asked once.
    async fn is_waiting<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(future.as_mut().poll(context).is_pending())
        })
        .await
    }

    #[tokio::test]
    async fn so_many_clips_of_a_camera_are_kept_and_no_more_but_for_those_in_hand() {
        let tracks = Tracks::default();
        let first = clip("door", 1, 1000);
        let in_hand = tracks.take(&first);
        in_hand.keep(Some(Seen::default()));
        (0..100).for_each(|seq| ended(&tracks, &clip("door", 1, seq)));
        let kept = || tracks.lock()[&first.camera].iter().map(|kept| kept.clip.seq).collect();
        let (with, without): (Vec<u64>, Vec<u64>) = (kept(), vec![1000, 97, 98, 99]);
        assert_eq!(with, without);
        drop(in_hand);
        ended(&tracks, &clip("door", 1, 100));
        let kept: Vec<u64> = kept();
        assert_eq!(kept, [97, 98, 99, 100]);
    }
}
