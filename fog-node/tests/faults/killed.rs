//! A worker that is killed at each step of a frame's way: what it has written by then is nothing, or a part of an answer
//! that is thrown away.

use fog_node::{
    node::count,
    parent::{Worker, WorkerError},
    pipeline::Known,
};
use proto::{envelope::SealedFrame, wire::RefuseReason};

use crate::{
    twin::{Step, X264, command, offer, ready, small, video, written},
    world::{self, LONG, Mood, World, counted, reason, root},
};

#[test]
fn killed_while_it_decodes_detects_redacts_audits_or_draws_a_worker_has_written_nothing() {
    for step in [Step::Decode, Step::Detect, Step::Redact, Step::Audit, Step::Draw] {
        let folder = tempfile::tempdir().unwrap();
        let offered = offer(1, small(), 2);
        assert_eq!(written(command(step, folder.path()), &offered, small()), ready(), "{step:?}");
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 0, "{step:?} left files");
    }
}

#[test]
fn killed_while_it_answers_a_worker_has_written_a_part_of_a_sealed_frame_and_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let offered = offer(1, small(), 2);
    let run = |step| written(command(step, folder.path()), &offered, small());
    let whole = run(Step::Never);
    let sealed = run(Step::Seal);
    assert_eq!(sealed.len(), ready().len() + 1, "one byte of a length");
    let part = run(Step::Answer);
    assert!(part.len() > 1000 && part.len() < whole.len() && whole.starts_with(&part));
    // And the whole answer is two sealed frames, which is all that there is to be seen of the clip.
    let starts: Vec<usize> =
        (0..whole.len() - 3).filter(|at| whole[*at..].starts_with(&[0xff, 0xd8, 0xff])).collect();
    assert_eq!(starts.len(), 2);
    let first = whole[starts[0]..].to_vec();
    let end = (0..first.len())
        .rev()
        .find(|at| SealedFrame::open(first[..*at].to_vec(), &root().public()).is_ok());
    assert!(end.is_some_and(|end| end < first.len()));
}

#[test]
fn killed_at_any_step_a_worker_is_one_crash_with_nothing_to_commit() {
    for step in Step::DEATHS {
        let folder = tempfile::tempdir().unwrap();
        let worker = Worker::start(command(step, folder.path()), LONG).unwrap();
        let ended =
            worker.process(offer(1, small(), 2), Known::default(), small().to_vec().into(), LONG);
        let killed = |error: &WorkerError| matches!(error, WorkerError::Crashed { status, .. } if status.contains("SIGKILL"));
        assert!(ended.as_ref().is_err_and(killed), "{step:?}: {ended:?}");
    }
}

/// A fog node whose workers die one after the other, at these steps; the last one's successors do as it did.
async fn mortal(world: &World, bridge: &str, steps: &'static [Step]) -> world::Fog {
    let config = world.config(bridge, &world.path("none"), "workers = 1");
    let config = fog_node::config::Config::load(&config).unwrap();
    let (folder, next) = (world.folder.path().to_owned(), std::sync::Mutex::new(0));
    let start = move || {
        let mut next = next.lock().unwrap();
        *next += 1;
        command(steps[(*next - 1).min(steps.len() - 1)], &folder)
    };
    world::Fog::start(config, start).await.unwrap()
}

#[tokio::test]
async fn a_clip_whose_worker_is_killed_stays_the_edges_and_its_next_attempt_is_committed_once() {
    let world = World::new();
    let bridge = world.bridge(Mood::Takes);
    let fog = mortal(&world, &bridge.address, &[Step::Audit, Step::Answer, Step::Never]).await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let offered = offer(1, small(), 2);
    for _ in 0..2 {
        let outcome = gateway.upload_at_last(&offered, small()).await;
        assert_eq!(reason(&outcome), Some(RefuseReason::Failed));
        assert!(bridge.books().committed.is_empty());
    }
    assert_eq!(reason(&gateway.upload_at_last(&offered, small()).await), None);
    let envelopes = bridge.books().committed[&offered.clip].envelopes.clone();
    assert_eq!(envelopes.len(), 2);
    for envelope in envelopes {
        let frame = SealedFrame::open(envelope, &root().public()).unwrap();
        assert_eq!(frame.manifest().regions.len(), 1);
    }
    let status = fog.stop().await;
    assert_eq!((counted(&status, count::WORKER_CRASHES), counted(&status, count::FAILED)), (2, 2));
}

#[tokio::test]
async fn what_is_committed_after_kills_is_what_would_have_been_without_them() {
    let mut committed = Vec::new();
    // The face goes on over a border of the lattice of places: alone, the clip would have other noise.
    let dark = video((320, 240), 20, "black", X264);
    for (steps, kills, alone) in [
        (&[Step::DetectLater, Step::Audit, Step::Answer, Step::Never][..], 3, false),
        (&[Step::Never][..], 0, false),
        (&[Step::Never][..], 0, true),
    ] {
        let world = World::new();
        let bridge = world.bridge(Mood::Takes);
        let fog = mortal(&world, &bridge.address, steps).await;
        let gateway = world.gateway("gw-1", &fog.address).await;
        let (before, offered) = (offer(1, small(), 2), offer(2, &dark, 2));
        if !alone {
            assert_eq!(reason(&gateway.upload_at_last(&before, small()).await), None);
        }
        for _ in 0..kills {
            let outcome = gateway.upload_at_last(&offered, &dark).await;
            assert_eq!(reason(&outcome), Some(RefuseReason::Failed));
        }
        assert_eq!(reason(&gateway.upload_at_last(&offered, &dark).await), None);
        committed.push(bridge.books().committed[&offered.clip].envelopes.clone());
        let status = fog.stop().await;
        assert_eq!(counted(&status, count::WORKER_CRASHES), kills);
    }
    assert_eq!(committed[0].len(), 2);
    assert!(committed[0] == committed[1], "kills changed what leaves");
    assert!(committed[0] != committed[2], "the clip before changed nothing");
}
