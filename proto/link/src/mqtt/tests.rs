//! Tests of the bus: in memory, broken, and through a real Mosquitto with mutual TLS.

use std::time::Duration;

use base::Shutdown;
use proto::Role;
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::{
    Credentials,
    testing::{TestBroker, TestSite},
};

async fn next(inbox: &mut Receiver<Message>) -> Message {
    tokio::time::timeout(Duration::from_secs(20), inbox.recv()).await.expect("a message").unwrap()
}

#[tokio::test]
async fn retained_documents_come_first_and_filters_hold_in_memory() {
    let broker = MemoryBroker::default();
    let (one, two) = (broker.bus(), broker.bus());
    one.publish_retained("celosia/v1/town/edge-a/status", &"online").unwrap();
    one.publish("celosia/v1/town/edge-a/reply", &"lost, nobody listens").unwrap();
    let mut inbox = two.subscribe("celosia/v1/town/+/status").unwrap();
    one.publish("celosia/v1/town/edge-a/reply", &"another topic").unwrap();
    one.publish_retained("celosia/v1/town/edge-b/status", &"online").unwrap();
    let (first, second) = (next(&mut inbox).await, next(&mut inbox).await);
    assert_eq!((first.topic.as_str(), first.retain), ("celosia/v1/town/edge-a/status", true));
    assert_eq!((second.topic.as_str(), second.retain), ("celosia/v1/town/edge-b/status", false));
    assert!(inbox.try_recv().is_err());
}

#[test]
fn payloads_over_their_limit_and_wildcard_topics_are_refused() {
    let bus = MemoryBroker::default().bus();
    let long = "x".repeat(PAYLOAD_BYTES_MAX);
    assert!(matches!(bus.publish("a", &long), Err(BusError::TooLong { .. })));
    assert!(matches!(bus.publish("a/+", &1), Err(BusError::Topic(_))));
    assert!(matches!(bus.subscribe("a/#/b"), Err(BusError::Topic(_))));
}

#[test]
fn an_inbox_that_nobody_reads_stays_bounded() {
    let bus = MemoryBroker::default().bus();
    let mut inbox = bus.subscribe("a").unwrap();
    for n in 0..INBOX_MESSAGES_MAX + 10 {
        bus.publish("a", &n).unwrap();
    }
    assert_eq!(std::iter::from_fn(|| inbox.try_recv().ok()).count(), INBOX_MESSAGES_MAX);
}

#[test]
fn a_broken_bus_refuses_with_a_transient_fault() {
    let error = Broken::bus().publish("a", &1).unwrap_err();
    assert_eq!(error.fault(), Fault::Transient);
    assert!(Broken::bus().subscribe("a").is_ok());
}

fn config(site: &TestSite, role: Role, name: &str, port: u16) -> MqttConfig {
    let identity = site.identity(role, name);
    let topic = proto::topic::status(&identity);
    MqttConfig {
        host: "localhost".into(),
        port,
        credentials: site.credentials(role, name),
        client_id: identity.common_name(),
        last_will: Some(Message::json(&topic, &"gone", true).unwrap()),
    }
}

#[tokio::test]
async fn two_processes_talk_through_mosquitto_and_survive_its_restart() {
    let folder = tempfile::tempdir().unwrap();
    let site = TestSite::new(folder.path(), "town");
    let port = TestBroker::free_port();
    let (edge_stop, console_stop) = (Shutdown::default(), Shutdown::default());
    // The edge is there before its broker.
    let edge = Bus::connect(config(&site, Role::Edge, "gw-1", port), &edge_stop).unwrap();
    let status = proto::topic::status(&site.identity(Role::Edge, "gw-1"));
    edge.publish_retained(&status, &"online").unwrap();
    let mut commands = edge.subscribe("celosia/v1/town/edge-gw-1/command").unwrap();
    let Some(broker) = TestBroker::start_at(&site, port) else { return };
    let console = Bus::connect(config(&site, Role::Console, "c", port), &console_stop).unwrap();
    let mut statuses = console.subscribe("celosia/v1/town/+/status").unwrap();
    assert_eq!(next(&mut statuses).await.payload, b"\"online\"");
    console.publish("celosia/v1/town/edge-gw-1/command", &"start").unwrap();
    let command = next(&mut commands).await;
    assert_eq!((command.payload.as_slice(), command.retain), (&b"\"start\""[..], false));

    // A broker that has forgotten everything.
    drop(broker);
    let Some(_broker) = TestBroker::start_at(&site, port) else { return };
    assert_eq!(next(&mut statuses).await.payload, b"\"online\"", "was not said again");
    console.publish("celosia/v1/town/edge-gw-1/command", &"stop").unwrap();
    assert_eq!(next(&mut commands).await.payload, b"\"stop\"");

    // A process that stops without a word is spoken for by the broker.
    edge_stop.request();
    loop {
        if next(&mut statuses).await.payload == b"\"gone\"" {
            break;
        }
    }
    assert!(edge_stop.drain(Duration::from_secs(5)).await);

    // One that says its last words keeps them.
    let topic = proto::topic::status(&site.identity(Role::Console, "c"));
    console_stop.request();
    console.publish_retained(&topic, &"stopped in order").unwrap();
    assert!(console_stop.drain(Duration::from_secs(5)).await);
    let stop = Shutdown::default();
    let late = Bus::connect(config(&site, Role::Admin, "a", port), &stop).unwrap();
    let mut inbox = late.subscribe(&topic).unwrap();
    assert_eq!(next(&mut inbox).await.payload, b"\"stopped in order\"");
}

/// The goodbye must not overtake the last words: the broker would then publish neither them nor the will.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_words_come_before_the_goodbye_however_the_threads_run() {
    let folder = tempfile::tempdir().unwrap();
    let site = TestSite::new(folder.path(), "town");
    let Some(broker) = TestBroker::start(&site) else { return };
    let stop = Shutdown::default();
    let console = config(&site, Role::Console, "c", broker.port());
    let console = Bus::connect(console, &stop).unwrap();
    let topic = proto::topic::status(&site.identity(Role::Edge, "gw-1"));
    let mut statuses = console.subscribe(&topic).unwrap();
    for round in 0..ROUNDS {
        let shutdown = Shutdown::default();
        let edge = config(&site, Role::Edge, "gw-1", broker.port());
        let edge = Bus::connect(edge, &shutdown).unwrap();
        edge.publish_retained(&topic, &round).unwrap();
        let (online, stopped) = (round.to_string(), format!("\"stopped {round}\""));
        while next(&mut statuses).await.payload != online.as_bytes() {}
        shutdown.request();
        edge.publish_retained(&topic, &format!("stopped {round}")).unwrap();
        assert!(shutdown.drain(Duration::from_secs(5)).await);
        let heard = next(&mut statuses).await.payload;
        assert_eq!(String::from_utf8(heard).unwrap(), stopped);
    }
}

/// Where the goodbye could overtake, the first thirty went wrong.
const ROUNDS: u32 = 100;

#[tokio::test]
async fn a_certificate_of_another_site_gets_nothing_from_mosquitto() {
    let folder = tempfile::tempdir().unwrap();
    let (site, other) = (TestSite::new(folder.path(), "town"), TestSite::new(folder.path(), "sea"));
    let Some(broker) = TestBroker::start(&site) else { return };
    let port = broker.port();
    let stop = Shutdown::default();
    let good = Bus::connect(config(&site, Role::Edge, "gw-1", port), &stop).unwrap();
    // It trusts our broker, so that only the broker can refuse.
    let folder = other.enrol(Role::Edge, "gw-1");
    std::fs::copy(site.broker().join("roots.pem"), folder.join("roots.pem")).unwrap();
    let credentials = Credentials::load(&folder).unwrap();
    let bad = MqttConfig { credentials, ..config(&other, Role::Edge, "gw-2", port) };
    let bad = Bus::connect(bad, &stop).unwrap();
    let mut stolen = bad.subscribe("#").unwrap();
    let mut own = good.subscribe("#").unwrap();
    for n in 0..20 {
        good.publish("celosia/v1/town/edge-gw-1/reply", &n).unwrap();
        next(&mut own).await;
    }
    assert!(stolen.try_recv().is_err());
}
