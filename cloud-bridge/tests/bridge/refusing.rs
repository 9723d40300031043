//! What is refused: clips that do not verify, talk that has no place, peers that are no fog nodes.

use cloud_bridge::bridge::count;
use proto::{
    ClipId, Digest, UtcTime,
    record::{ClipFailure, SlotOutcome},
    wire::CommitMessage,
};

use crate::world::{
    Clip, Site,
    parts::{Borders, Parts, Setup},
    until,
};

/// A way to spoil a clip, and the counter of its refusal.
type Spoil = (&'static str, fn(&Site, &mut Clip), &'static str);

const SPOILS: &[Spoil] = &[
    ("an altered byte", |_, clip| *clip.envelopes[0].last_mut().unwrap() ^= 1, count::UNSEALED),
    ("no envelope at all", |_, clip| clip.envelopes[0] = b"hello".to_vec(), count::UNSEALED),
    ("a grant that the fog node wrote", forged, count::UNSEALED),
    ("a policy that is not granted", ungranted, count::NOT_GRANTED),
    ("a grant that has ended", expired, count::NOT_GRANTED),
    ("another site", other_site, count::NOT_GRANTED),
    (
        "a record of another site",
        |_, clip| {
            clip.record.clip.site = "city".parse().unwrap();
            clip.envelopes.clear();
        },
        count::OTHER_SITE,
    ),
    ("a slot too few", |_, clip| clip.record.slots.truncate(2), count::RECORDS_REFUSED),
    ("a slot twice", |_, clip| clip.record.slots[1].slot = 0, count::RECORDS_REFUSED),
    (
        "a failed clip with frames",
        |_, clip| {
            clip.record.failure = Some(ClipFailure::NotVideo);
        },
        count::RECORDS_REFUSED,
    ),
    ("a frame missing", |_, clip| drop(clip.envelopes.pop()), count::MISMATCHED),
    ("a frame twice", |_, clip| clip.envelopes.push(clip.envelopes[0].clone()), count::MISMATCHED),
    (
        "a frame of another clip",
        |site, clip| {
            clip.envelopes[0] = site.clip(9, 3).envelopes[0].clone();
        },
        count::MISMATCHED,
    ),
    (
        "a frame that the record says was withheld",
        |site, clip| {
            clip.envelopes.push(site.seal(&site.manifest(&clip.record, 2)));
        },
        count::MISMATCHED,
    ),
    (
        "another digest",
        |_, clip| {
            clip.record.slots[0].outcome = SlotOutcome::Frame(Digest::of(b"other"));
        },
        count::MISMATCHED,
    ),
    (
        "a record of another policy",
        |_, clip| {
            clip.record.policy = Digest::of(b"none");
        },
        count::MISMATCHED,
    ),
    (
        "a record of another time",
        |_, clip| {
            clip.record.captured_at = UtcTime::EPOCH;
        },
        count::MISMATCHED,
    ),
    ("a frame of another time than its slot", shifted, count::MISMATCHED),
];

/// Replaces the first frame and says so in the record.
fn replace(clip: &mut Clip, envelope: Vec<u8>) {
    clip.record.slots[0].outcome = SlotOutcome::Frame(Digest::of(&envelope));
    clip.envelopes[0] = envelope;
}

fn forged(site: &Site, clip: &mut Clip) {
    let mut manifest = site.manifest(&clip.record, 0);
    manifest.policy.digest = Digest::of(b"no redaction at all");
    let envelope = site.seal_forged(&manifest);
    replace(clip, envelope);
}

fn ungranted(site: &Site, clip: &mut Clip) {
    let mut manifest = site.manifest(&clip.record, 0);
    manifest.policy.digest = Digest::of(b"no redaction at all");
    let envelope = site.seal_ungranted(&manifest);
    replace(clip, envelope);
}

fn expired(site: &Site, clip: &mut Clip) {
    let at = "2020-01-01T00:00:00Z".parse().unwrap();
    let envelope = site.seal_until(&site.manifest(&clip.record, 0), at);
    replace(clip, envelope);
}

fn other_site(site: &Site, clip: &mut Clip) {
    let mut manifest = site.manifest(&clip.record, 0);
    manifest.frame.clip.site = "city".parse().unwrap();
    let envelope = site.seal_ungranted(&manifest);
    replace(clip, envelope);
}

fn shifted(site: &Site, clip: &mut Clip) {
    let mut manifest = site.manifest(&clip.record, 0);
    manifest.captured_at = manifest.captured_at.plus_ns(3_000_000_000);
    let envelope = site.seal(&manifest);
    replace(clip, envelope);
}

#[tokio::test]
async fn what_does_not_verify_is_refused_counted_and_leaves_nothing() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    for (what, spoil, counter) in SPOILS {
        let before = parts.counted(counter);
        let mut clip = site.clip(0, 3);
        spoil(&site, &mut clip);
        let answer = fog.commit(&clip).await;
        assert!(matches!(answer, CommitMessage::Refuse { .. }), "{what}: {answer:?}");
        assert_eq!(parts.counted(counter), before + 1, "{what}: {:?}", parts.bridge.counters);
        assert_eq!(parts.waiting(), 0, "{what}");
    }
    // And the channel and the clip are as good as before.
    site.check_receipt(&fog.receipt(&site.clip(0, 3)).await, &site.clip(0, 3));
    parts.stop().await;
}

#[tokio::test]
async fn a_question_about_a_clip_of_another_site_is_refused() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let id: ClipId = site.clip(0, 1).id().to_string().replace("town", "city").parse().unwrap();
    assert!(matches!(fog.status(&id).await, CommitMessage::Refuse { .. }));
    assert_eq!(parts.counted(count::OTHER_SITE), 1);
    parts.stop().await;
}

#[tokio::test]
async fn what_has_no_place_in_the_protocol_ends_the_channel() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let fog = site.fog(&parts.listen(&site), "fog-1").await;
    let over = u32::try_from(proto::limits::ENVELOPE_BYTES_MAX).unwrap() + 1;
    for wrong in [CommitMessage::Unknown, CommitMessage::Frame { length: over }] {
        let mut channel = fog.0.open_channel().await.unwrap();
        channel.send(&wrong).await.unwrap();
        assert!(channel.recv::<CommitMessage>().await.is_err(), "{wrong:?}");
    }
    let mut many = site.clip(0, 2);
    many.envelopes = vec![many.envelopes[0].clone(); proto::limits::SLOTS_MAX + 1];
    assert!(fog.try_commit(&many).await.is_err());
    until("all are counted", async || parts.counted(count::PROTOCOL) == 3).await;
    assert_eq!(fog.status(many.id()).await, CommitMessage::Unknown, "the connection goes on");
    parts.stop().await;
}

#[tokio::test]
async fn a_process_that_is_no_fog_node_does_not_get_in() {
    let site = Site::new();
    let borders = Borders::new(&site);
    let parts = Parts::new(&site, &borders, Setup::default());
    let address = parts.listen(&site);
    let credentials = site.credentials(proto::Role::Edge, "gw-1");
    let connected =
        link::quic::connect(&address, &credentials, link::Protocol::Commit, proto::Role::Bridge)
            .await;
    if let Ok(peer) = connected {
        let mut channel = peer.open_channel().await.unwrap();
        let id = site.clip(0, 1).id().clone();
        let asked = channel.send(&CommitMessage::Status(id)).await;
        assert!(asked.is_err() || channel.recv::<CommitMessage>().await.is_err());
    }
    let refused = "peers_of_wrong_role_total";
    until("it is counted", async || parts.counted(refused) == 1).await;
    parts.stop().await;
}
