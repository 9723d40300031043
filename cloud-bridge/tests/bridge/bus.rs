//! What the real bridge says on the bus, through a real Mosquitto: its status, the notice of a result, and what the broker
//! says for it when it is killed.

use std::time::Duration;

use base::Shutdown;
use cloud_bridge::bridge::count;
use link::{
    mqtt::{Bus, Message, MqttConfig},
    testing::TestBroker,
};
use proto::{
    Role,
    control::{DeviceStatus, Presence, ResultNotice},
    topic,
};
use tokio::sync::mpsc::Receiver;

use crate::world::{process::Around, put_results, result_of};

async fn next(inbox: &mut Receiver<Message>) -> Message {
    tokio::time::timeout(Duration::from_secs(60), inbox.recv()).await.expect("in time").unwrap()
}

/// The first status that fits.
async fn status(
    inbox: &mut Receiver<Message>,
    fits: impl Fn(&DeviceStatus) -> bool,
) -> DeviceStatus {
    loop {
        let status: DeviceStatus = serde_json::from_slice(&next(inbox).await.payload).unwrap();
        if fits(&status) {
            return status;
        }
    }
}

#[tokio::test]
async fn the_bus_hears_status_results_and_the_end_whether_it_was_orderly_or_not() {
    let port = TestBroker::free_port();
    let broker = format!("broker = {{ host = 'localhost', port = {port} }}");
    let around = Around::new(&broker, "overdue = '1h'").await;
    let site = &around.site;
    let Some(_broker) = TestBroker::start_at(&site.pki, port) else { return };
    let listener = MqttConfig {
        host: "localhost".into(),
        port,
        credentials: site.credentials(Role::Console, "console-1"),
        client_id: "console-1".into(),
        last_will: None,
    };
    let bus_shutdown = Shutdown::default();
    let bus = Bus::connect(listener, &bus_shutdown).unwrap();
    let identity = site.pki.identity(Role::Bridge, "bridge-1");
    let mut statuses = bus.subscribe(&topic::status(&identity)).unwrap();
    let clips = [site.clip(0, 1)];
    let camera = &clips[0].id().camera;
    let mut results = bus.subscribe(&topic::results(&identity.site, camera)).unwrap();

    let process = around.start().await;
    let first = status(&mut statuses, |s| s.presence == Presence::Online).await;
    assert_eq!((first.identity, first.counters[count::OUTBOX_CLIPS]), (identity, 0));
    let fog = site.fog(&process.address, "fog-1").await;
    site.check_receipt(&fog.receipt(&clips[0]).await, &clips[0]);
    put_results(site, &clips, &around.s3().await.results()).await;
    let notice: ResultNotice = serde_json::from_slice(&next(&mut results).await.payload).unwrap();
    assert_eq!(notice, ResultNotice::of(&result_of(site.frames(&clips[0])[0].manifest())));
    let counted = |s: &DeviceStatus| s.counters.get(count::RESULTS) == Some(&1);
    let told = status(&mut statuses, counted).await;
    assert_eq!((told.counters[count::COMMITTED], told.counters[count::FORWARDED]), (1, 1));

    process.kill().await;
    let gone = status(&mut statuses, |s| s.presence == Presence::Offline).await;
    assert_eq!(gone.at, None, "the last will was written long before");

    let process = around.start().await;
    status(&mut statuses, |s| s.presence == Presence::Online).await;
    assert_eq!(process.stop().await, Some(0));
    let gone = status(&mut statuses, |s| s.presence == Presence::Offline).await;
    assert!(gone.at.is_some(), "it said so itself");
    bus_shutdown.request();
}
