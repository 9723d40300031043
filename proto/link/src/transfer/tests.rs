//! Tests of uploads: the state machines alone, against a simple twin, and over loopback.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base::{Clock, ManualClock, counters::Counters};
use proptest::prelude::*;
use proto::{
    ClipId, Clock as ClockQuality, Digest, Interval, Role, UtcTime,
    record::{ClipRecord, Receipt, SlotOutcome, SlotRecord},
    signing::SigningKey,
    time::ClockSource,
    wire::{ClipMessage, NoiseKey, Offer, RefuseReason},
};

use super::*;
use crate::{
    quic::{self, LinkError, Listener, Peer, Protocol},
    testing::TestSite,
};

fn clip_id(seq: u64) -> ClipId {
    format!("town/cam-1/000102030405060708090a0b0c0d0e0f/{seq}").parse().unwrap()
}

fn clock_quality() -> ClockQuality {
    ClockQuality { source: ClockSource::System, uncertainty_ms: None }
}

const INTERVAL: Interval = Interval { start_ns: 0, end_ns: 5_000_000_000 };
const EVERY_NS: i64 = 5_000_000_000;

fn offer(seq: u64, bytes: &[u8]) -> Offer {
    Offer {
        clip: clip_id(seq),
        digest: Digest::of(bytes),
        length: bytes.len() as u64,
        attempt: 1,
        noise_key: NoiseKey([1; 32]),
        noise_epoch: 0,
        interval: INTERVAL,
        every_ns: EVERY_NS,
        captured_at: UtcTime::EPOCH,
        clock: clock_quality(),
    }
}

fn receipt(seq: u64) -> Receipt {
    let record = ClipRecord {
        clip: clip_id(seq),
        interval: INTERVAL,
        every_ns: EVERY_NS,
        captured_at: UtcTime::EPOCH,
        clock: clock_quality(),
        attempt: 1,
        policy: Digest::of(b"policy"),
        slots: vec![SlotRecord { slot: 0, outcome: SlotOutcome::Undecodable }],
        failure: None,
    };
    Receipt::sign(&SigningKey::from_seed(&[3; 32]).unwrap(), &record, UtcTime::EPOCH)
}

/// Bytes that differ along the clip, so that a wrong offset shows.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

fn key(seq: u64, bytes: &[u8]) -> PrefixKey {
    PrefixKey::new(&"celosia://town/edge/gw-1".parse().unwrap(), &offer(seq, bytes))
}

const NOW: Duration = Duration::from_secs(1000);

#[test]
fn a_prefix_is_kept_for_its_time_and_no_longer() {
    let bytes = content(1000);
    let mut state = ReceiveState::new(4000);
    for (after_ms, expected) in [(59_999, 600), (60_000, 0)] {
        let mut reception = state.begin(NOW, &key(1, &bytes)).unwrap();
        reception.push(&bytes[..600]).unwrap();
        state.suspend(NOW, reception);
        let later = NOW + Duration::from_millis(after_ms);
        assert_eq!(state.begin(later, &key(1, &bytes)).unwrap().offset(), expected);
        state.release(&key(1, &bytes));
        assert_eq!(state.held_bytes(), 0);
    }
}

#[test]
fn nobody_continues_the_upload_of_another() {
    let bytes = content(1000);
    let mut state = ReceiveState::new(4000);
    let mut reception = state.begin(NOW, &key(1, &bytes)).unwrap();
    reception.push(&bytes[..600]).unwrap();
    state.suspend(NOW, reception);
    let other = "celosia://town/edge/gw-2".parse().unwrap();
    let other = PrefixKey::new(&other, &offer(1, &bytes));
    assert_eq!(state.begin(NOW, &other).unwrap().offset(), 0);
}

#[test]
fn credit_is_for_whole_clips_and_prefixes_give_way() {
    let bytes = content(1000);
    let mut state = ReceiveState::new(2500);
    let first = state.begin(NOW, &key(1, &bytes)).unwrap();
    let mut second = state.begin(NOW, &key(2, &bytes)).unwrap();
    assert_eq!(state.begin(NOW, &key(3, &bytes)).unwrap_err(), RefuseReason::Busy);
    assert_eq!(state.begin(NOW, &key(2, &bytes)).unwrap_err(), RefuseReason::Busy);
    second.push(&bytes[..10]).unwrap();
    state.suspend(NOW, second);
    assert_eq!((state.held_bytes(), state.free_bytes()), (2000, 1500));
    assert!(state.begin(NOW, &key(3, &bytes)).is_ok());
    assert_eq!(state.held_bytes(), 2000, "the prefix gave way");
    drop(first);
    for length in [0, 2501, proto::limits::CLIP_BYTES_MAX + 1] {
        let key = PrefixKey { length, ..key(4, &bytes) };
        assert_eq!(state.begin(NOW, &key).unwrap_err(), RefuseReason::Invalid);
    }
}

#[test]
fn bytes_beyond_the_offer_missing_bytes_and_other_bytes_are_refused() {
    let bytes = content(100);
    let mut state = ReceiveState::new(4000);
    let mut reception = state.begin(NOW, &key(1, &bytes)).unwrap();
    reception.push(&bytes[..99]).unwrap();
    assert!(matches!(reception.push(&[0, 0]), Err(TransferError::TooMany { .. })));
    assert!(matches!(reception.verify(), Err(TransferError::Incomplete { have: 99, .. })));
    let mut reception = state.begin(NOW, &key(2, &bytes)).unwrap();
    reception.push(&bytes[..99]).unwrap();
    reception.push(&[bytes[99] ^ 1]).unwrap();
    assert!(matches!(reception.verify(), Err(TransferError::Digest { .. })));
}

#[test]
fn an_edge_takes_messages_only_where_they_have_a_place() {
    let accept = |offset| ClipMessage::Accept { offset };
    let after = |messages: &[ClipMessage]| {
        let mut state = UploadState::new(&offer(1, &content(100)));
        let mut last = Err("no message".to_owned());
        for message in messages {
            last = state.on_message(message.clone());
        }
        last
    };
    let given = ClipMessage::Receipt(receipt(1));
    let done = Ok(UploadStep::Done(UploadOutcome::Receipt(Box::new(receipt(1)))));
    assert_eq!(after(&[accept(100)]), Ok(UploadStep::Send { offset: 100 }));
    assert_eq!(after(std::slice::from_ref(&given)), done);
    assert_eq!(after(&[accept(0), ClipMessage::Received, given.clone()]), done);
    for wrong in [
        vec![accept(101)],
        vec![accept(0), accept(0)],
        vec![ClipMessage::Received],
        vec![accept(0), given.clone()],
        vec![ClipMessage::Receipt(receipt(2))],
        vec![given.clone(), given],
    ] {
        assert!(after(&wrong).is_err(), "{wrong:?}");
    }
}

/// What may happen to one of three clips.
#[derive(Debug, Clone)]
enum Act {
    Begin(usize),
    Push(usize, usize),
    Suspend(usize),
    Verify(usize),
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..3usize).prop_map(Act::Begin),
        4 => (0..3usize, 0..200usize).prop_map(|(k, n)| Act::Push(k, n)),
        2 => (0..3usize).prop_map(Act::Suspend),
        1 => (0..3usize).prop_map(Act::Verify),
        1 => (0..40u64).prop_map(Act::Wait),
    ]
}

/// The simple twin: per clip, bytes so far and until when they are kept (`None`: in use).
type Twin = BTreeMap<usize, (usize, Option<Duration>)>;

const LENGTHS: [usize; 3] = [100, 250, 400];
const CREDIT: usize = 500;

fn twin_begin(twin: &mut Twin, now: Duration, k: usize) -> Option<usize> {
    twin.retain(|_, (_, until)| until.is_none_or(|until| until > now));
    match twin.get(&k) {
        Some((_, None)) => return None,
        Some((have, Some(_))) => {
            let have = *have;
            twin.insert(k, (have, None));
            return Some(have);
        }
        None => {}
    }
    let used = |twin: &Twin| twin.keys().map(|k| LENGTHS[*k]).sum::<usize>();
    let in_use = twin.iter().filter(|(_, (_, until))| until.is_none());
    if in_use.map(|(k, _)| LENGTHS[*k]).sum::<usize>() + LENGTHS[k] > CREDIT {
        return None;
    }
    while used(twin) + LENGTHS[k] > CREDIT {
        let oldest = twin.iter().filter_map(|(k, (_, until))| until.map(|until| (until, *k)));
        let oldest = oldest.min().unwrap().1;
        twin.remove(&oldest);
    }
    twin.insert(k, (0, None));
    Some(0)
}

proptest! {
    #[test]
    fn the_receive_state_agrees_with_a_simple_twin(
        acts in proptest::collection::vec(act(), 1..120),
    ) {
        let bytes: Vec<Vec<u8>> = LENGTHS.iter().map(|length| content(*length)).collect();
        let keys: Vec<PrefixKey> = bytes.iter().zip(1..).map(|(b, seq)| key(seq, b)).collect();
        let mut state = ReceiveState::new(CREDIT as u64);
        let (mut twin, mut open) = (Twin::new(), BTreeMap::<usize, Reception>::new());
        let mut now = NOW;
        for act in acts {
            match act {
                Act::Begin(k) => {
                    let begun = state.begin(now, &keys[k]);
                    let expected = twin_begin(&mut twin, now, k);
                    let offset = begun.as_ref().ok().map(|r| r.offset() as usize);
                    prop_assert_eq!(offset, expected);
                    if let Ok(reception) = begun {
                        open.insert(k, reception);
                    }
                }
                Act::Push(k, n) => {
                    let Some(reception) = open.get_mut(&k) else { continue };
                    let have = twin[&k].0;
                    let end = (have + n).min(LENGTHS[k]);
                    prop_assert!(reception.push(&bytes[k][have..end]).is_ok());
                    twin.insert(k, (end, None));
                }
                Act::Suspend(k) => {
                    let Some(reception) = open.remove(&k) else { continue };
                    state.suspend(now, reception);
                    match twin[&k].0 {
                        0 => twin.remove(&k),
                        have => twin.insert(k, (have, Some(now + Duration::from_secs(60)))),
                    };
                }
                Act::Verify(k) => {
                    let Some(reception) = open.remove(&k) else { continue };
                    let whole = twin.remove(&k).unwrap().0 == LENGTHS[k];
                    state.release(&keys[k]);
                    let verified = reception.verify();
                    prop_assert_eq!(verified.is_ok(), whole);
                    if let Ok(verified) = verified {
                        prop_assert_eq!(&verified, &bytes[k]);
                    }
                }
                Act::Wait(seconds) => now += Duration::from_secs(seconds),
            }
            state.expire(now);
            twin.retain(|_, (_, until)| until.is_none_or(|until| until > now));
            let held: usize = twin.keys().map(|k| LENGTHS[*k]).sum();
            prop_assert_eq!(state.held_bytes(), held as u64);
            prop_assert!(held <= CREDIT);
        }
    }
}

/// A fog that listens and an edge that may connect to it.
struct Bench {
    _folder: tempfile::TempDir,
    listener: Listener,
    edge: crate::Credentials,
    clock: ManualClock,
    receiver: Receiver,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = TestSite::new(folder.path(), "town");
        let fog = site.credentials(Role::Fog, "fog-1");
        let (any, counters) = ("127.0.0.1:0".parse().unwrap(), Arc::<Counters>::default());
        let listener = Listener::bind(any, &fog, Protocol::Clip, &[Role::Edge], counters).unwrap();
        let clock = ManualClock::default();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let receiver = Receiver::with_credit(shared, 1_000_000);
        let edge = site.credentials(Role::Edge, "gw-1");
        Self { _folder: folder, listener, edge, clock, receiver }
    }

    /// Edge's and fog's ends of a new connection.
    async fn connect(&mut self) -> (Peer, Peer) {
        let address = self.listener.local_addr().to_string();
        let dialling = quic::connect(&address, &self.edge, Protocol::Clip, Role::Fog);
        let (edge, fog) = tokio::join!(dialling, self.listener.accept());
        (edge.unwrap(), fog.unwrap())
    }
}

/// The fog's side of one channel: takes what comes and answers with a receipt.
async fn serve(fog: &Peer, receiver: &Receiver) -> Result<Option<Vec<u8>>, LinkError> {
    let mut channel = fog.accept_channel().await?;
    let outcome = receive_clip(&mut channel, receiver, async |_: &Offer| Decision::Take).await?;
    let ReceiveOutcome::Clip(clip) = outcome else {
        channel.finish().await?;
        return Ok(None);
    };
    channel.send(&ClipMessage::Receipt(receipt(clip.offer.clip.seq))).await?;
    channel.finish().await?;
    Ok(Some(clip.bytes.clone()))
}

#[tokio::test]
async fn a_clip_is_uploaded_and_its_credit_given_back() {
    let mut bench = Bench::new();
    let (edge, fog) = bench.connect().await;
    let bytes = content(700_000);
    let offer = offer(1, &bytes);
    let (up, down) = tokio::join!(upload_clip(&edge, &offer, &bytes), serve(&fog, &bench.receiver));
    assert_eq!(up.unwrap(), UploadOutcome::Receipt(Box::new(receipt(1))));
    assert_eq!(down.unwrap().unwrap(), bytes);
    assert_eq!(bench.receiver.free_bytes(), 1_000_000);
}

#[tokio::test]
async fn an_upload_goes_on_from_its_prefix_after_the_connection_breaks() {
    let mut bench = Bench::new();
    let bytes = content(700_000);
    let offer = offer(1, &bytes);

    let (edge, fog) = bench.connect().await;
    let half = async {
        let mut channel = edge.open_channel().await.unwrap();
        channel.send(&ClipMessage::Offer(Box::new(offer.clone()))).await.unwrap();
        assert_eq!(channel.recv::<ClipMessage>().await.unwrap(), ClipMessage::Accept { offset: 0 });
        channel.send_bytes(&bytes[..300_000]).await.unwrap();
        drop(channel.finish().await);
    };
    let (down, ()) = tokio::join!(serve(&fog, &bench.receiver), half);
    assert!(matches!(down, Err(LinkError::Lost { .. })), "{down:?}");
    edge.close("cable pulled");
    assert_eq!(bench.receiver.free_bytes(), 1_000_000, "a prefix gives way to fresh clips");

    bench.clock.advance(Duration::from_secs(59));
    let (edge, fog) = bench.connect().await;
    let rest = async {
        let mut channel = edge.open_channel().await.unwrap();
        channel.send(&ClipMessage::Offer(Box::new(offer.clone()))).await.unwrap();
        let accept = channel.recv::<ClipMessage>().await.unwrap();
        assert_eq!(accept, ClipMessage::Accept { offset: 300_000 });
        channel.send_bytes(&bytes[300_000..]).await.unwrap();
        assert_eq!(channel.recv::<ClipMessage>().await.unwrap(), ClipMessage::Received);
        channel.recv::<ClipMessage>().await.unwrap()
    };
    let (down, last) = tokio::join!(serve(&fog, &bench.receiver), rest);
    assert_eq!(down.unwrap().unwrap(), bytes);
    assert_eq!(last, ClipMessage::Receipt(receipt(1)));
}

#[tokio::test]
async fn other_bytes_than_those_of_the_digest_are_refused() {
    let mut bench = Bench::new();
    let (edge, fog) = bench.connect().await;
    let bytes = content(1000);
    let offer = offer(1, &content(1001)[1..]);
    let (up, down) = tokio::join!(upload_clip(&edge, &offer, &bytes), serve(&fog, &bench.receiver));
    assert!(down.unwrap().is_none());
    let refused = up.unwrap();
    assert!(
        matches!(refused, UploadOutcome::Refused { reason: RefuseReason::Corrupt, .. }),
        "{refused:?}"
    );
    assert_eq!(bench.receiver.free_bytes(), 1_000_000);
}

#[tokio::test]
async fn a_clip_without_credit_or_of_another_site_is_refused_before_its_bytes() {
    let mut bench = Bench::new();
    let (edge, fog) = bench.connect().await;
    let bytes = content(600_000);
    let held = bench.receiver.hold_for_test(&key(9, &bytes));
    let offer_1 = offer(1, &bytes);
    let (up, down) =
        tokio::join!(upload_clip(&edge, &offer_1, &bytes), serve(&fog, &bench.receiver));
    assert!(down.unwrap().is_none());
    let expected =
        UploadOutcome::Refused { reason: RefuseReason::Busy, retry_after_ms: BUSY_RETRY_MS };
    assert_eq!(up.unwrap(), expected);
    drop(held);

    let mut foreign = offer(1, &bytes);
    foreign.clip.site = "village".parse().unwrap();
    let (up, down) =
        tokio::join!(upload_clip(&edge, &foreign, &bytes), serve(&fog, &bench.receiver));
    assert!(down.unwrap().is_none());
    let expected = UploadOutcome::Refused { reason: RefuseReason::Invalid, retry_after_ms: 0 };
    assert_eq!(up.unwrap(), expected);
}
