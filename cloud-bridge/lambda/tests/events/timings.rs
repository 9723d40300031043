//! How long a result took stands in it, last, outside of what a replay gives again.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base::Clock;
use models::ShadeClassifier;
use proto::result::{ClipResult, FrameResult, Timings};
use store::ResultReader;

use crate::{World, created, root, s3};

/// A clock that goes on by this much each time somebody looks at it.
struct StepClock(Duration, Mutex<Duration>);

impl Clock for StepClock {
    fn now(&self) -> Duration {
        let mut now = self.1.lock().unwrap();
        *now += self.0;
        *now
    }

    fn utc_micros(&self) -> i64 {
        0
    }
}

/// A frame and a pack, classified by a function whose every step takes this long.
pub(crate) async fn results_with_steps_of(step: Duration) -> (FrameResult, ClipResult) {
    let clock = Arc::new(StepClock(step, Mutex::default()));
    let world = World::timed(root().public(), Box::new(ShadeClassifier::new(8, 2)), clock);
    let (key, pack) = (world.put(9).await, world.put_pack(1..4).await);
    assert_eq!(world.outcomes(s3(vec![created(&key), created(&pack)])).await, ["written"; 2]);
    let keys = world.results.keys();
    let [frame, clip] = keys.as_slice() else { panic!("{keys:?}") };
    (world.results.result(frame).await.unwrap(), world.results.clip_result(clip).await.unwrap())
}

#[tokio::test]
async fn a_result_tells_how_long_it_took_and_a_replay_differs_in_nothing_else() {
    let (first, first_clip) = results_with_steps_of(Duration::from_micros(30)).await;
    let (again, again_clip) = results_with_steps_of(Duration::from_micros(70)).await;
    assert_eq!(first.timings, Some(Timings { read_us: 30, classify_us: 30 }));
    assert_eq!(again.timings, Some(Timings { read_us: 70, classify_us: 70 }));
    assert!(first_clip.frames.iter().all(|frame| frame.timings == first.timings));
    let bytes = |result: &FrameResult| serde_json::to_string(result).unwrap();
    assert_ne!(bytes(&first), bytes(&again));
    assert_eq!(bytes(&first.compared()), bytes(&again.compared()));
    let bytes = |result: &ClipResult| serde_json::to_string(result).unwrap();
    assert_ne!(bytes(&first_clip), bytes(&again_clip));
    assert_eq!(bytes(&first_clip.compared()), bytes(&again_clip.compared()));
}

#[tokio::test]
async fn an_answer_tells_the_times_of_each_object_and_the_memory() {
    let world = World::new();
    let key = world.put(1).await;
    let answer = world.handler.handle(&s3(vec![created(&key)])).await.unwrap();
    for time in ["read_us", "classify_us", "write_us"] {
        assert!(answer["frames"][0][time].is_u64(), "{answer}");
    }
    assert!(answer["memory_max_kib"].is_u64(), "{answer}");
}
