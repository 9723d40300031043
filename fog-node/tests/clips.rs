//! Clips through a whole fog node: real gateways and a real bridge socket around it, workers that do as they are told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod world;

use fog_node::{framing::WorkerMessage, node::count};
use link::{quic::LinkError, transfer::UploadOutcome};
use proto::{
    Role,
    control::Presence,
    wire::{ClipMessage, Offer, RefuseReason},
};
use world::{CLIP_BYTES, Mood, Step, TwinBridge, World, counted, eventually, last, offer, reason};

const ONE_WORKER: &str = "workers = 1";

#[tokio::test]
async fn a_clip_ends_with_the_receipt_of_the_bridge_and_a_known_clip_costs_no_work() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, ONE_WORKER).await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    let offered = offer(1, &clip);
    script.then(Step::Answer(&offered));

    let UploadOutcome::Receipt(receipt) = gateway.upload(&offered, &clip).await else {
        panic!("no receipt")
    };
    receipt.verify(&TwinBridge::key().public()).unwrap();
    assert_eq!((receipt.clip.clone(), receipt.tally.delivered), (offered.clip.clone(), 2));
    {
        let books = bridge.books();
        let committed = &books.committed[&offered.clip];
        assert_eq!(committed.record.attempt, 1);
        assert_eq!(committed.envelopes[1], format!("envelope of {} 1", offered.clip).as_bytes());
    }

    // Another gateway process, the same clip: the bridge's first answer, and no worker has anything to do.
    let again = world.gateway("gw-1", &fog.address).await;
    assert_eq!(again.upload(&offered, &clip).await, UploadOutcome::Receipt(receipt));
    assert_eq!(script.taken(), 1);
    let status = fog.stop().await;
    for (name, expected) in [
        (count::RECEIVED, 1),
        (count::KNOWN, 1),
        (count::COMMITTED, 1),
        (count::FRAMES, 2),
        (count::OFFERS, 2),
    ] {
        assert_eq!(counted(&status, name), expected, "{name}");
    }
}

#[tokio::test]
async fn a_worker_is_told_where_faces_were_when_the_clip_before_ended_and_the_same_again() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, ONE_WORKER).await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    let send = async |seq, attempt| {
        bridge.books().committed.clear();
        let offered = Offer { attempt, ..offer(seq, &clip) };
        script.then(Step::Answer(&offered));
        assert_eq!(reason(&gateway.upload(&offered, &clip).await), None);
    };
    // Later attempts come as after commits that failed. The fourth clip ends otherwise in its second, which the fifth, that
    // was told of the first, is not told.
    let told_in_turn = [
        ((1, 1), None),
        ((2, 1), Some((1, 1))),
        ((4, 1), None),
        ((5, 1), Some((4, 1))),
        ((4, 2), None),
        ((5, 2), Some((4, 1))),
        ((6, 1), Some((5, 2))),
    ];
    for ((seq, attempt), _) in told_in_turn {
        send(seq, attempt).await;
    }
    for (told, ((seq, attempt), before)) in script.told().into_iter().zip(told_in_turn) {
        let WorkerMessage::Clip { offer, known } = told else { panic!("{told:?}") };
        assert_eq!((offer.clip.seq, offer.attempt), (seq, attempt));
        assert_eq!(
            known.before,
            before.map(|(seq, attempt)| last(seq, attempt)),
            "{seq} {attempt}"
        );
    }
    assert_eq!(script.told().len(), told_in_turn.len());
    fog.stop().await;
}

#[tokio::test]
async fn a_clip_that_comes_beside_the_one_before_it_waits_for_its_end_and_not_for_others() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, "workers = 2").await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    let [first, next, far] = [1, 2, 9].map(|seq| offer(seq, &clip));
    script.then(Step::AnswerLater(&first));
    script.then(Step::Answer(&far));
    script.then(Step::Answer(&next));
    let upload = async |offered| reason(&gateway.upload(offered, &clip).await);
    let in_order = async {
        assert!(eventually(|| script.taken() == 1).await);
        // Another clip is not held up by the first; the next one is.
        assert_eq!(upload(&far).await, None);
        let released = async {
            assert!(eventually(|| script.told().len() == 2).await);
            script.go();
        };
        tokio::join!(upload(&next), released).0
    };
    assert_eq!(tokio::join!(upload(&first), in_order), (None, None));
    let told = script.told().into_iter().filter_map(|told| match told {
        WorkerMessage::Clip { offer, known } => Some((offer.clip.seq, known.before)),
        _ => None,
    });
    assert!(told.eq([(1, None), (9, None), (2, Some(last(1, 1)))]));
    fog.stop().await;
}

#[tokio::test]
async fn while_the_bridge_is_away_or_full_nothing_is_processed() {
    let world = World::new();
    // A port that was free a moment ago, and where the bridge will be later.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    drop(socket);
    let script = world.script();
    let fog = world.fog(&address, &script, ONE_WORKER).await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    let offered = offer(1, &clip);
    script.then(Step::Answer(&offered));
    let outcome = gateway.upload(&offered, &clip).await;
    assert_eq!(reason(&outcome), Some(RefuseReason::BridgeUnavailable));

    let bridge = world.bridge_at(&address, Mood::Full);
    let full =
        UploadOutcome::Refused { reason: RefuseReason::BridgeUnavailable, retry_after_ms: 1234 };
    while gateway.upload(&offered, &clip).await != full {
        tokio::task::yield_now().await;
    }
    assert_eq!((script.taken(), bridge.books().committed.len()), (0, 0));

    bridge.books().mood = Mood::Takes;
    assert_eq!(reason(&gateway.upload(&offered, &clip).await), None);
    let status = fog.stop().await;
    assert_eq!(counted(&status, count::RECEIVED), 1, "bytes were taken for nothing");
    assert!(counted(&status, count::BRIDGE_UNAVAILABLE) >= 2);
}

#[tokio::test]
async fn a_commit_that_breaks_off_is_sent_again_and_the_work_is_not_done_twice() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::BreaksOnce), world.script());
    let fog = world.fog(&bridge.address, &script, ONE_WORKER).await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    script.then(Step::Answer(&offer(1, &clip)));
    assert_eq!(reason(&gateway.upload_at_last(&offer(1, &clip), &clip).await), None);
    assert_eq!(script.taken(), 1);
    let status = fog.stop().await;
    assert!(counted(&status, count::COMMITS) >= 2 && counted(&status, count::COMMITTED) == 1);
}

#[tokio::test]
async fn a_clip_that_the_bridge_will_not_have_is_a_failed_attempt_and_others_go_on() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Refuses), world.script());
    let fog = world.fog(&bridge.address, &script, ONE_WORKER).await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    script.then(Step::Answer(&offer(1, &clip)));
    let outcome = gateway.upload_at_last(&offer(1, &clip), &clip).await;
    assert_eq!(reason(&outcome), Some(RefuseReason::Failed));
    bridge.books().mood = Mood::Takes;
    script.then(Step::Answer(&offer(2, &clip)));
    assert_eq!(reason(&gateway.upload(&offer(2, &clip), &clip).await), None);
    assert_eq!(counted(&fog.stop().await, count::COMMITS_REFUSED), 1);
}

#[tokio::test]
async fn a_camera_of_another_gateway_or_an_offer_out_of_bounds_is_refused_before_the_bridge_is_asked()
 {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, ONE_WORKER).await;
    let clip = [7; CLIP_BYTES];
    for stranger in ["gw-2", "gw-3"] {
        let gateway = world.gateway(stranger, &fog.address).await;
        let outcome = gateway.upload(&offer(1, &clip), &clip).await;
        assert_eq!(reason(&outcome), Some(RefuseReason::Invalid), "{stranger}");
    }
    let gateway = world.gateway("gw-1", &fog.address).await;
    // Nothing at all is no clip, and neither is one of another site.
    assert_eq!(reason(&gateway.upload(&offer(1, b""), b"").await), Some(RefuseReason::Invalid));
    let mut elsewhere = offer(1, &clip);
    elsewhere.clip.site = "village".parse().unwrap();
    assert_eq!(reason(&gateway.upload(&elsewhere, &clip).await), Some(RefuseReason::Invalid));
    assert_eq!(bridge.books().asked, 0);
    let status = fog.stop().await;
    assert_eq!(counted(&status, count::FOREIGN_CAMERAS), 2);
    assert_eq!(counted(&status, count::INVALID), 4);
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_digest_are_refused_as_corrupt() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, ONE_WORKER).await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let (clip, other) = ([7; CLIP_BYTES], [8; CLIP_BYTES]);
    let outcome = gateway.upload_at_last(&offer(1, &clip), &other).await;
    assert_eq!(reason(&outcome), Some(RefuseReason::Corrupt));
    assert_eq!(script.taken(), 0);
    script.then(Step::Answer(&offer(1, &clip)));
    assert_eq!(reason(&gateway.upload(&offer(1, &clip), &clip).await), None);
    assert_eq!(counted(&fog.stop().await, count::CORRUPT), 1);
}

#[tokio::test]
async fn a_peer_of_another_role_is_not_let_in() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, ONE_WORKER).await;
    for role in [Role::Fog, Role::Console, Role::Admin] {
        let stranger = world.site.credentials(role, "stranger");
        let peer = world::dial(&fog.address, &stranger).await;
        let offered = offer(1, &[7; CLIP_BYTES]);
        let error = link::transfer::upload_clip(&peer, &offered, &[7; CLIP_BYTES]).await;
        assert!(matches!(error, Err(LinkError::RefusedByPeer { .. })), "{role}: {error:?}");
    }
    assert_eq!(bridge.books().asked, 0);
    assert_eq!(counted(&fog.stop().await, "peers_of_wrong_role_total"), 3);
}

#[tokio::test]
async fn a_message_over_its_cap_ends_its_channel_and_disturbs_nobody() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, ONE_WORKER).await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    let offered = offer(1, &clip);
    script.then(Step::AnswerLater(&offered));
    let upload = gateway.upload_at_last(&offered, &clip);
    let disturb = async {
        assert!(eventually(|| script.taken() == 1).await, "no worker took the clip");
        // On the same connection, in the middle of that clip: a length over the cap, then bytes that are no message.
        for bytes in [&u32::MAX.to_be_bytes()[..], &[0, 0, 0, 2, 99, 99]] {
            let mut channel = gateway.0.open_channel().await.unwrap();
            channel.send_bytes(bytes).await.unwrap();
            let answer = channel.recv::<ClipMessage>().await;
            assert!(matches!(answer, Err(LinkError::Lost { .. })), "{answer:?}");
        }
        script.go();
    };
    let (outcome, ()) = tokio::join!(upload, disturb);
    assert_eq!(reason(&outcome), None);
    assert_eq!(counted(&fog.stop().await, count::PROTOCOL_BROKEN), 2);
}

#[tokio::test]
async fn more_clips_than_seats_are_told_to_come_back() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let fog = world.fog(&bridge.address, &script, ONE_WORKER).await;
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    let offers: Vec<_> = (0..4).map(|seq| offer(seq, &clip)).collect();
    for offered in &offers[..3] {
        script.then(Step::AnswerLater(offered));
    }
    // One after the other, so that they reach the worker in the script's order.
    let first = gateway.upload_at_last(&offers[0], &clip);
    let second = async {
        assert!(eventually(|| script.taken() == 1).await);
        gateway.upload(&offers[1], &clip).await
    };
    let third = async {
        assert!(eventually(|| bridge.books().asked >= 2).await);
        gateway.upload(&offers[2], &clip).await
    };
    let fourth = async {
        assert!(eventually(|| bridge.books().asked >= 3).await);
        let outcome = gateway.upload(&offers[3], &clip).await;
        script.go();
        outcome
    };
    let (first, second, third, fourth) = tokio::join!(first, second, third, fourth);
    assert_eq!([&first, &second, &third].map(reason), [None; 3]);
    assert_eq!(reason(&fourth), Some(RefuseReason::Busy));
    assert_eq!(counted(&fog.stop().await, count::BUSY), 1);
}

#[tokio::test]
async fn an_orderly_end_finishes_the_clip_in_hand_and_takes_no_other() {
    let world = World::new();
    let (bridge, script) = (world.bridge(Mood::Takes), world.script());
    let mut fog = world.fog(&bridge.address, &script, ONE_WORKER).await;
    assert_eq!(fog.endpoint().presence, Presence::Online);
    assert!(fog.endpoint().free_bytes > 0);
    assert_eq!(fog.status().await.presence, Presence::Online);
    let gateway = world.gateway("gw-1", &fog.address).await;
    let clip = [7; CLIP_BYTES];
    let offered = offer(1, &clip);
    script.then(Step::AnswerLater(&offered));
    let upload = gateway.upload_at_last(&offered, &clip);
    let stopping = async {
        assert!(eventually(|| script.taken() == 1).await, "no worker took the clip");
        fog.shutdown.request();
        assert!(eventually(|| fog.endpoint().presence == Presence::Offline).await);
        let outcome = gateway.upload(&offer(2, &clip), &clip).await;
        assert_eq!(reason(&outcome), Some(RefuseReason::Busy));
        script.go();
    };
    let (outcome, ()) = tokio::join!(upload, stopping);
    assert_eq!(reason(&outcome), None);
    let status = fog.stop().await;
    assert_eq!((status.presence, counted(&status, count::COMMITTED)), (Presence::Offline, 1));
    assert!(bridge.books().committed.contains_key(&offered.clip));
    let gone = |pid: &u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(script.pids().iter().all(gone), "a worker is left");
}
