//! What a fog node leaves at a real broker: its address while it serves, and its own last words after an orderly end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod world;

use std::{
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use base::Shutdown;
use fog_node::{config::Config, node::count, service};
use link::mqtt::{Bus, Message, MqttConfig};
use proto::{
    Role,
    control::{DeviceStatus, FogEndpoint, Presence},
    topic,
};
use tokio::sync::mpsc::Receiver;
use world::{LONG, World, counted};

/// A broker of our own, killed with the value.
struct Mosquitto(Child);

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Nothing when Mosquitto is not installed.
fn mosquitto(folder: &Path, certificates: &Path, port: u16) -> Option<Mosquitto> {
    let (file, certificates) = (folder.join("mosquitto.conf"), certificates.display());
    let config = format!(
        "listener {port} 127.0.0.1\ncafile {certificates}/roots.pem\n\
         certfile {certificates}/chain.pem\nkeyfile {certificates}/key.pem\n\
         require_certificate true\nuse_identity_as_username true\nuser root\npersistence false\n"
    );
    std::fs::write(&file, config).unwrap();
    let found = ["mosquitto", "/usr/sbin/mosquitto"].into_iter().find_map(|program| {
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
    });
    if found.is_none() {
        let line = b"SKIPPED: mosquitto is not installed; no fog node was tried with a broker\n";
        std::io::stderr().write_all(line).ok();
    }
    found.map(Mosquitto)
}

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
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let broker = mosquitto(world.folder.path(), &world.site.broker(), port);
    let Some(_broker) = broker else { return };
    let stop = Shutdown::default();
    let watching = console(&world, "one", port, &stop);
    let identity = world.site.identity(Role::Fog, "fog-1");
    let mut endpoints = watching.subscribe(&topic::endpoint(&identity)).unwrap();
    let mut statuses = watching.subscribe(&topic::status(&identity)).unwrap();

    let broker = format!("workers = 1\nbroker = {{ host = 'localhost', port = {port} }}");
    let path = world.config("127.0.0.1:1", Path::new("none"), &broker);
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
