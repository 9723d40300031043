//! The generated access list over a real Mosquitto: what a device may say and hear, and what it may not.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::{
    io::Write,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use base::Shutdown;
use celosia::site::{Camera, ConsoleAddress, Inference, Layout, Packing, Plan, Site, loopback};
use link::mqtt::{Bus, Message, MqttConfig};
use proto::{Digest, Identity, Role, manifest::PolicyRef, topic};
use tokio::sync::mpsc::Receiver;

/// Longest wait for what should happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker, killed with the value.
struct Mosquitto(Child);

impl Drop for Mosquitto {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn site(folder: &Path) -> Site {
    let camera = Camera {
        id: "door".parse().unwrap(),
        source: "test:ball".to_owned(),
        user: None,
        password_file: None,
        clip: None,
        every: "5s".to_owned(),
        repeat: false,
        start: None,
    };
    let plan = Plan {
        site: "town".parse().unwrap(),
        cameras: vec![camera],
        policy: "default".to_owned(),
        static_regions: None,
        policies: vec![PolicyRef { name: "default".to_owned(), digest: Digest::of(b"policy") }],
        pack: Packing::Frame,
        inference: Inference::Lambda,
        assets: "/assets".into(),
        function_program: "/mask-lambda".into(),
        console: ConsoleAddress::loopback(),
        exit_when_done: false,
    };
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    Site::make(Layout::new(folder.to_owned()), &plan, now).unwrap()
}

/// `None` when Mosquitto is not installed.
async fn mosquitto(site: &Site) -> Option<Mosquitto> {
    let config = site.layout.config("broker.conf");
    let found = ["mosquitto", "/usr/sbin/mosquitto"].into_iter().find_map(|program| {
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).current_dir(config.parent().unwrap());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
    });
    if found.is_none() {
        // Straight to standard error: the test harness would keep a passed test's `eprintln!` to itself.
        let line = b"SKIPPED: mosquitto is not installed, the access list was not tried\n";
        std::io::stderr().write_all(line).unwrap();
        return None;
    }
    let looked = Shutdown::default();
    let answers = async {
        while TcpStream::connect(loopback(site.ports.broker)).is_err() {
            looked.sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answers).await.expect("mosquitto does not serve");
    found.map(Mosquitto)
}

fn connect(site: &Site, role: Role, stop: &Shutdown) -> (Bus, Identity) {
    let credentials = link::Credentials::load(&site.layout.credentials(role.as_str())).unwrap();
    let identity = credentials.identity().clone();
    let last_will = Message::json(&topic::status(&identity), &"gone", true).unwrap();
    let config = MqttConfig {
        host: "localhost".into(),
        port: site.ports.broker,
        credentials,
        client_id: identity.common_name(),
        last_will: Some(last_will),
    };
    (Bus::connect(config, stop).unwrap(), identity)
}

async fn next(inbox: &mut Receiver<Message>) -> Message {
    tokio::time::timeout(PATIENCE, inbox.recv()).await.expect("a message").unwrap()
}

#[tokio::test]
async fn a_device_that_writes_the_topic_of_another_is_not_heard() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let Some(_broker) = mosquitto(&site).await else { return };
    let stop = Shutdown::default();
    let (edge, edge_is) = connect(&site, Role::Edge, &stop);
    let (fog, fog_is) = connect(&site, Role::Fog, &stop);
    let (console, _) = connect(&site, Role::Console, &stop);
    let mut statuses = console.subscribe(&topic::every_status(&site.id)).unwrap();
    let mut results = console.subscribe("celosia/v1/town/results/+").unwrap();
    let mut commands = fog.subscribe(&topic::command(&fog_is)).unwrap();

    // The gateway speaks for the fog node, orders it about and makes results up; then it speaks for itself. Messages of
    // one connection keep their order, so what was let through would come first. Everything is retained, since nobody
    // knows when the others' subscriptions have reached the broker.
    edge.publish_retained(&topic::status(&fog_is), &"forged").unwrap();
    edge.publish_retained(&topic::command(&fog_is), &"forged").unwrap();
    let door = topic::results(&site.id, &"door".parse().unwrap());
    edge.publish_retained(&door, &"forged").unwrap();
    edge.publish_retained(&topic::endpoint(&fog_is), &"forged").unwrap();
    edge.publish_retained(&topic::status(&edge_is), &"mine").unwrap();
    let first = next(&mut statuses).await;
    assert_eq!((first.topic, first.payload), (topic::status(&edge_is), b"\"mine\"".to_vec()));
    assert!(results.try_recv().is_err(), "a gateway made up a result");

    console.publish_retained(&topic::command(&fog_is), &"start").unwrap();
    assert_eq!(next(&mut commands).await.payload, b"\"start\"");
}

#[tokio::test]
async fn a_device_that_listens_to_everything_hears_its_own_orders_and_where_fogs_are() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let Some(_broker) = mosquitto(&site).await else { return };
    let stop = Shutdown::default();
    let (edge, edge_is) = connect(&site, Role::Edge, &stop);
    let (fog, fog_is) = connect(&site, Role::Fog, &stop);
    let (bridge, _) = connect(&site, Role::Bridge, &stop);
    let (admin, _) = connect(&site, Role::Admin, &stop);
    let mut heard = edge.subscribe("#").unwrap();
    let mut results = admin.subscribe("celosia/v1/town/results/+").unwrap();

    fog.publish_retained(&topic::endpoint(&fog_is), &"127.0.0.1:1").unwrap();
    assert_eq!(next(&mut heard).await.topic, topic::endpoint(&fog_is));
    fog.publish_retained(&topic::status(&fog_is), &"of another").unwrap();
    // Retained, since nobody knows when the administrator's subscription has reached the broker.
    let door = topic::results(&site.id, &"door".parse().unwrap());
    bridge.publish_retained(&door, &"a result").unwrap();
    assert_eq!(next(&mut results).await.payload, b"\"a result\"");
    admin.publish(&topic::command(&fog_is), &"of another").unwrap();
    admin.publish(&topic::command(&edge_is), &"mine").unwrap();
    let message = next(&mut heard).await;
    assert_eq!((message.topic, message.payload), (topic::command(&edge_is), b"\"mine\"".to_vec()));
}
