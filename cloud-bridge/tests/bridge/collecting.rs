//! How results come into the database, what is not taken for one, and what becomes of frames that get none.

use std::{sync::Arc, time::Duration};

use cloud_bridge::{
    book::{self, Book as _},
    bridge::count,
    collector::{Collector, Pace},
    inference::MemoryInference,
    overdue::{Overdue, Patience},
};
use link::{Bus, mqtt::MemoryBroker};
use proto::{
    control::ResultNotice,
    key,
    result::{DeadLetter, RESULT_SCHEMA},
};
use store::{
    ResultWriter as _,
    faulty::{Faulty, Plan},
    memory::MemoryResults,
};

use crate::world::{
    Clip, Site,
    parts::{Borders, Parts, Setup},
    put_results, result_of, until,
};

const PACE: Pace = Pace {
    poll: Duration::from_millis(5),
    poll_max: Duration::from_millis(20),
    list_each: Duration::from_millis(20),
};

/// Looks have their times: the clock must go.
fn ticking() -> Setup {
    Setup { clock: Some(Arc::new(base::SystemClock::default())), ..Setup::default() }
}

/// Frames of a clip as the forwarder leaves them: in the store and awaited.
async fn arrive(site: &Site, borders: &Borders, clip: &Clip) {
    for frame in site.frames(clip) {
        borders.book.await_frame(frame.manifest(), None, proto::UtcTime::EPOCH).await.unwrap();
    }
}

fn collect(parts: &Parts, results: Faulty<MemoryResults>, bus: Option<Bus>) {
    let (bridge, book) = (parts.bridge.clone(), Arc::new(parts.book.clone()));
    let (results, stop) = (Arc::new(results), parts.shutdown.clone());
    let collector = Collector::new(bridge, book, results, bus, PACE, stop);
    parts.shutdown.spawn(collector.run());
}

fn done(borders: &Borders) -> usize {
    borders.book.frames().values().filter(|frame| frame.result.is_some()).count()
}

#[tokio::test]
async fn a_result_of_an_awaited_frame_is_stored_and_told_on_the_bus() {
    let (site, broker) = (Site::new(), MemoryBroker::default());
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, ticking());
    let mut inbox = broker.bus().subscribe("celosia/v1/town/results/cam-1").unwrap();
    let clip = site.clip(0, 3);
    arrive(&site, &borders, &clip).await;
    collect(&parts, Faulty::new(borders.results.clone(), Plan::Sound), Some(broker.bus()));
    put_results(&site, std::slice::from_ref(&clip), &*borders.results).await;
    until("both are done", async || done(&borders) == 2).await;
    for frame in site.frames(&clip) {
        let notice = inbox.recv().await.unwrap();
        let notice: ResultNotice = serde_json::from_slice(&notice.payload).unwrap();
        assert_eq!(notice, ResultNotice::of(&result_of(frame.manifest())));
    }
    assert_eq!(parts.counted(count::RESULTS), 2);
    parts.stop().await;
}

#[tokio::test]
async fn what_nobody_awaits_and_what_is_no_result_is_not_stored() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, ticking());
    let (awaited, stranger) = (site.clip(0, 3), site.clip(1, 3));
    arrive(&site, &borders, &awaited).await;
    let frames = site.frames(&awaited);
    let [first, second] = frames.as_slice() else { panic!("two frames") };
    // A result of a frame nobody awaits, in an hour that is listed.
    put_results(&site, &[stranger], &*borders.results).await;
    // At an awaited frame's place: no JSON; and the result of another frame.
    let model = result_of(first.manifest()).model.digest;
    borders.results.plant(&key::result_key(first.manifest(), &model), b"hello".to_vec());
    let moved = serde_json::to_vec(&result_of(second.manifest())).unwrap();
    let other = proto::Digest::of(b"another model");
    borders.results.plant(&key::result_key(first.manifest(), &other), moved);
    collect(&parts, Faulty::new(borders.results.clone(), Plan::Sound), None);
    until("both were seen", async || parts.counted(count::RESULTS_INVALID) == 2).await;
    let lists = parts.counted(count::LISTS);
    until("it went on", async || parts.counted(count::LISTS) > lists + 3).await;
    assert_eq!((done(&borders), parts.counted(count::RESULTS)), (0, 0));
    assert_eq!(parts.counted(count::RESULTS_INVALID), 2, "what is invalid is not read again");
    assert_eq!(borders.book.frames().len(), 2, "no frame came out of nothing");
    // And the genuine one is found all the same.
    borders.results.put_result(&result_of(second.manifest())).await.map(drop).unwrap();
    until("it is done", async || done(&borders) == 1).await;
    parts.stop().await;
}

#[tokio::test]
async fn nothing_is_listed_when_nothing_is_awaited_and_an_hour_takes_one_page_a_round() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, ticking());
    let results = Faulty::new(borders.results.clone(), Plan::Sound);
    collect(&parts, results.clone(), None);
    until("it looked", async || parts.book.calls() >= 2).await;
    assert_eq!(results.calls(), 0);
    // Thirty frames of one hour.
    let clips: Vec<Clip> = (0..10).map(|seq| site.clip(seq, 4)).collect();
    for clip in &clips {
        arrive(&site, &borders, clip).await;
    }
    put_results(&site, &clips, &*borders.results).await;
    parts.bridge.awaited.notify_one();
    until("all are done", async || done(&borders) == 30).await;
    assert_eq!((parts.counted(count::LISTS), results.calls()), (1, 31));
    parts.stop().await;
}

#[tokio::test]
async fn once_a_model_is_known_its_results_are_read_by_key_and_nothing_is_listed() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, ticking());
    let results = Faulty::new(borders.results.clone(), Plan::Sound);
    let clips: Vec<Clip> = (0..10).map(|seq| site.clip(seq, 4)).collect();
    let (first, others) = clips.split_first().unwrap();
    arrive(&site, &borders, first).await;
    put_results(&site, std::slice::from_ref(first), &*borders.results).await;
    collect(&parts, results.clone(), None);
    until("the first are done", async || done(&borders) == 3).await;
    assert_eq!((parts.counted(count::LISTS), parts.counted(count::LOOKS)), (1, 0));
    results.set_plan(Plan::Sound);
    for clip in others {
        arrive(&site, &borders, clip).await;
    }
    put_results(&site, others, &*borders.results).await;
    parts.bridge.awaited.notify_one();
    until("all are done", async || done(&borders) == 30).await;
    assert_eq!((parts.counted(count::LISTS), parts.counted(count::LOOKS)), (1, 27));
    assert_eq!(results.calls(), 27, "a read for each result and nothing else");
    parts.stop().await;
}

#[tokio::test]
async fn the_result_of_a_new_model_is_found_by_a_listing_and_later_ones_by_their_key() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, ticking());
    let clips: Vec<Clip> = (0..3).map(|seq| site.clip(seq, 1)).collect();
    let [before, change, after] = clips.as_slice() else { panic!("three clips") };
    let put = async |clip: &Clip, model: &[u8]| {
        for frame in site.frames(clip) {
            let mut result = result_of(frame.manifest());
            result.model.digest = proto::Digest::of(model);
            borders.results.put_result(&result).await.map(drop).unwrap();
        }
        arrive(&site, &borders, clip).await;
        parts.bridge.awaited.notify_one();
    };
    put(before, b"model").await;
    collect(&parts, Faulty::new(borders.results.clone(), Plan::Sound), None);
    until("the first is done", async || done(&borders) == 1).await;
    put(change, b"new model").await;
    until("the second is done", async || done(&borders) == 2).await;
    let lists = parts.counted(count::LISTS);
    assert!(lists >= 2 && parts.counted(count::LOOKS) >= 3, "after some looks in vain");
    put(after, b"new model").await;
    until("the third is done", async || done(&borders) == 3).await;
    assert_eq!(parts.counted(count::LISTS), lists);
    parts.stop().await;
}

#[tokio::test]
async fn results_come_in_when_store_and_database_are_back() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, ticking());
    let clip = site.clip(0, 3);
    arrive(&site, &borders, &clip).await;
    put_results(&site, std::slice::from_ref(&clip), &*borders.results).await;
    let results = Faulty::new(borders.results.clone(), Plan::Away);
    collect(&parts, results.clone(), None);
    until("the store is away", async || parts.counted(count::STORE_FAILED) > 2).await;
    parts.book.set_plan(book::Plan::Away);
    results.set_plan(Plan::Sound);
    until("the database is away", async || parts.counted(count::DATABASE_FAILED) > 0).await;
    assert_eq!(done(&borders), 0);
    parts.book.set_plan(book::Plan::Sound);
    until("both are done", async || done(&borders) == 2).await;
    assert_eq!(parts.counted(count::ALARMS), 0);
    parts.stop().await;
}

fn overdue(parts: &Parts, borders: &Borders, inference: &Arc<MemoryInference>) -> Overdue {
    Overdue {
        bridge: parts.bridge.clone(),
        book: Arc::new(parts.book.clone()),
        results: borders.results.clone(),
        inference: inference.clone(),
        patience: Patience { overdue: Duration::from_secs(60), tries_max: 2 },
        shutdown: parts.shutdown.clone(),
    }
}

/// A frame that has been awaited since now, by a clock that stands until the test moves it.
struct Waiting {
    site: Site,
    borders: Borders,
    clip: Clip,
    inference: Arc<MemoryInference>,
}

impl Waiting {
    async fn new() -> Self {
        let site = Site::new();
        let borders = Borders::new(&site);
        let clip = site.clip(0, 1);
        for frame in site.frames(&clip) {
            let now = proto::UtcTime::from_micros(base::Clock::utc_micros(&borders.clock)).unwrap();
            borders.book.await_frame(frame.manifest(), None, now).await.unwrap();
        }
        Self { site, borders, clip, inference: Arc::default() }
    }

    fn dead(&self) -> Option<String> {
        self.borders.book.frames().into_values().find_map(|frame| frame.dead)
    }
}

#[tokio::test]
async fn an_overdue_frame_is_asked_for_again_a_bounded_number_of_times_and_then_given_up() {
    let waiting = Waiting::new().await;
    let Waiting { site, borders, clip, inference } = &waiting;
    let parts = Parts::new(site, borders, Setup::default());
    let overdue = overdue(&parts, borders, inference);
    overdue.round().await.unwrap();
    assert!(inference.asked().is_empty(), "it is not overdue yet");
    for tries in 1..=2 {
        borders.clock.advance(Duration::from_secs(61));
        for _ in 0..3 {
            overdue.round().await.unwrap();
            assert_eq!(inference.asked().len(), tries, "once for each time that it is overdue");
        }
    }
    let twice = site.keys(&[clip.clone(), clip.clone()]);
    assert_eq!((inference.asked(), waiting.dead()), (twice, None));
    assert_eq!(inference.tries(), [2, 3], "the function is told which try it is");
    borders.clock.advance(Duration::from_secs(61));
    overdue.round().await.unwrap();
    assert!(waiting.dead().unwrap().contains("2 more invocations"), "{:?}", waiting.dead());
    assert_eq!((parts.counted(count::INVOKED), parts.counted(count::DEAD)), (2, 1));
    borders.clock.advance(Duration::from_secs(600));
    overdue.round().await.unwrap();
    assert_eq!(inference.asked().len(), 2, "it stays given up");
    parts.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_function_is_no_try_and_kills_no_frame() {
    let waiting = Waiting::new().await;
    let Waiting { site, borders, inference, .. } = &waiting;
    let parts = Parts::new(site, borders, Setup::default());
    let overdue = overdue(&parts, borders, inference);
    inference.set_away(true);
    for _ in 0..10 {
        borders.clock.advance(Duration::from_secs(61));
        overdue.round().await.unwrap_err();
    }
    assert_eq!((parts.counted(count::INVOKE_FAILED), waiting.dead()), (10, None));
    inference.set_away(false);
    overdue.round().await.unwrap();
    assert_eq!(inference.asked().len(), 1);
    parts.stop().await;
}

#[tokio::test]
async fn a_dead_letter_of_the_function_is_the_reason_and_nothing_is_asked_again() {
    let waiting = Waiting::new().await;
    let Waiting { site, borders, clip, inference } = &waiting;
    let parts = Parts::new(site, borders, Setup::default());
    let [frame_key] = site.keys(std::slice::from_ref(clip)).try_into().unwrap();
    let reason = format!("not sealed: {}", "x".repeat(1000));
    let letter = DeadLetter { schema: RESULT_SCHEMA, key: frame_key, reason };
    borders.results.put_dead_letter(&letter).await.map(drop).unwrap();
    borders.clock.advance(Duration::from_secs(61));
    overdue(&parts, borders, inference).round().await.unwrap();
    let told = waiting.dead().unwrap();
    assert!(told.starts_with("not sealed") && told.len() == 300, "{told}");
    assert!(inference.asked().is_empty());
    parts.stop().await;
}

#[tokio::test]
async fn a_result_that_comes_after_all_brings_a_dead_frame_back() {
    let waiting = Waiting::new().await;
    let Waiting { site, borders, clip, .. } = &waiting;
    let parts = Parts::new(site, borders, ticking());
    for key in site.keys(std::slice::from_ref(clip)) {
        borders.book.mark_dead(&key, "given up").await.unwrap();
    }
    put_results(site, std::slice::from_ref(clip), &*borders.results).await;
    collect(&parts, Faulty::new(borders.results.clone(), Plan::Sound), None);
    until("it is done", async || done(borders) == 1).await;
    assert_eq!(waiting.dead(), None);
    parts.stop().await;
}
