//! What a fog node leaves at a real broker: its address while it serves, and its own last words after an orderly end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod world;

use std::path::Path;

use base::Shutdown;
use fog_node::{config::Config, node::count, service};
use link::{
    mqtt::{Bus, Message, MqttConfig},
    testing::TestBroker,
};
use proto::{
    Role,
    control::{DeviceStatus, FogEndpoint, Presence},
    topic,
};
use tokio::sync::mpsc::Receiver;
use world::{LONG, World, counted};

/// The next document that this inbox gets and `wanted` takes.
async fn until<T: serde::de::DeserializeOwned>(
    inbox: &mut Receiver<Message>,
    wanted: impl Fn(&T) -> bool,
) -> T {
    loop {
        let message = tokio::time::timeout(LONG, inbox.recv()).await.unwrap().unwrap();
        let document = serde_json::from_slice(&message.payload).unwrap();
        if wanted(&document) {
            return document;
        }
    }
}

fn console(world: &World, name: &str, port: u16, stop: &Shutdown) -> Bus {
    let credentials = world.site.credentials(Role::Console, name);
    let client_id = credentials.identity().common_name();
    let host = "localhost".to_owned();
    let config = MqttConfig { host, port, credentials, client_id, last_will: None };
    Bus::connect(config, stop).unwrap()
}

#[tokio::test]
async fn a_fog_node_announces_itself_and_keeps_its_own_last_words_at_a_real_broker() {
    let world = World::new();
    let Some(broker) = TestBroker::start(&world.site) else { return };
    let port = broker.port();
    let stop = Shutdown::default();
    let watching = console(&world, "one", port, &stop);
    let identity = world.site.identity(Role::Fog, "fog-1");
    let mut endpoints = watching.subscribe(&topic::endpoint(&identity)).unwrap();
    let mut statuses = watching.subscribe(&topic::status(&identity)).unwrap();

    let top = format!("workers = 1\nbroker = {{ host = 'localhost', port = {port} }}");
    let path = world.config("127.0.0.1:1", Path::new("none"), &top);
    let (config, script) = (Config::load(&path).unwrap(), world.script());
    let shutdown = Shutdown::default();
    let running = service::run(config, move || script.command(), shutdown.clone());
    let stopping = async {
        let online = |e: &FogEndpoint| e.presence == Presence::Online && e.free_bytes > 0;
        let endpoint = until(&mut endpoints, online).await;
        assert!(endpoint.address.starts_with("127.0.0.1:"), "{endpoint:?}");
        until(&mut statuses, |s: &DeviceStatus| s.presence == Presence::Online).await;
        shutdown.request();
        until(&mut endpoints, |e: &FogEndpoint| e.presence == Presence::Offline).await;
    };
    let (ended, ()) = tokio::join!(running, stopping);
    ended.unwrap();

    // Whoever comes later finds the last status and not the last will, which has neither time nor counters.
    let late = console(&world, "two", port, &stop);
    let mut statuses = late.subscribe(&topic::status(&identity)).unwrap();
    let last: DeviceStatus = until(&mut statuses, |_| true).await;
    assert_eq!(last.presence, Presence::Offline);
    assert!(last.at.is_some() && counted(&last, count::WORKERS_STARTED) == 1, "{last:?}");
}
