//! Inference beside the bridge: it is asked for each object once that is awaited, and an outage of it holds up nothing.

use std::{sync::Arc, time::Duration};

use cloud_bridge::{
    bridge::count,
    clip::SealedClip,
    committer::Answer,
    forwarder::Packing,
    inference::MemoryInference,
    overdue::{Overdue, Patience},
};

use crate::world::{
    Clip, Site,
    parts::{Borders, Parts, Setup},
    until,
};

async fn commit(parts: &Parts, site: &Site, clip: &Clip) {
    let site_id = "town".parse().unwrap();
    let sealed = SealedClip::assemble(clip.record.clone(), site.frames(clip), &site_id).unwrap();
    let fog = "celosia://town/fog/fog-1".parse().unwrap();
    assert!(matches!(parts.committer.commit(sealed, &fog).await, Answer::Committed(_)));
}

fn beside(inference: &Arc<MemoryInference>, packing: Packing) -> Setup {
    let inference: Arc<dyn cloud_bridge::inference::Inference> = inference.clone();
    Setup { inference: Some(inference), packing, ..Setup::default() }
}

#[tokio::test]
async fn each_object_is_asked_for_once_and_in_the_cloud_none() {
    let site = Site::new();
    let clips = [site.clip(0, 3), site.clip(1, 2)];
    let pack = store::Pack::of(&site.frames(&clips[0])).unwrap();
    let [lone] = site.keys(&clips[1..]).try_into().unwrap();
    let packed = vec![pack.key().to_owned(), lone];
    let expected = [(Packing::Frame, site.keys(&clips)), (Packing::Clip, packed)];
    for (packing, mut objects) in expected {
        let (borders, inference) = (Borders::new(&site), Arc::<MemoryInference>::default());
        let parts = Parts::new(&site, &borders, beside(&inference, packing));
        for clip in &clips {
            commit(&parts, &site, clip).await;
        }
        parts.forward();
        until("all is forwarded", async || parts.waiting() == 0).await;
        let mut asked = inference.asked();
        asked.sort();
        objects.sort();
        assert_eq!(asked, objects, "{packing:?}");
        assert!(asked.iter().all(|key| borders.frames.keys().contains(key)), "{packing:?}");
        assert_eq!(parts.counted(count::ASKED), asked.len() as u64);
        parts.stop().await;
    }
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    commit(&parts, &site, &clips[0]).await;
    parts.forward();
    until("all is forwarded", async || parts.waiting() == 0).await;
    assert_eq!(parts.counted(count::ASKED), 0, "the object store tells the function");
    parts.stop().await;
}

#[tokio::test]
async fn an_outage_of_inference_holds_up_no_clip_and_what_was_not_asked_is_asked_when_overdue() {
    let site = Site::new();
    let (borders, inference) = (Borders::new(&site), Arc::<MemoryInference>::default());
    inference.set_away(true);
    let parts = Parts::new(&site, &borders, beside(&inference, Packing::Frame));
    let clip = site.clip(0, 4);
    commit(&parts, &site, &clip).await;
    parts.forward();
    until("it is forwarded", async || parts.waiting() == 0).await;
    assert_eq!((parts.counted(count::INVOKE_FAILED), parts.counted(count::ALARMS)), (1, 0));
    assert_eq!(borders.book.clips(), [clip.id().clone()]);
    inference.set_away(false);
    borders.clock.advance(Duration::from_secs(61));
    let overdue = Overdue {
        bridge: parts.bridge.clone(),
        book: Arc::new(parts.book.clone()),
        results: borders.results.clone(),
        inference: inference.clone(),
        patience: Patience { overdue: Duration::from_secs(60), tries_max: 2 },
        shutdown: parts.shutdown.clone(),
    };
    overdue.round().await.unwrap();
    let mut asked = inference.asked();
    asked.sort();
    assert_eq!(asked, site.keys(&[clip]));
    parts.stop().await;
}
