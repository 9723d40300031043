//! What the real bridge says on the bus, through a real Mosquitto: its status, the notice of a result, and what the broker
//! says for it when it is killed.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use base::Shutdown;
use cloud_bridge::bridge::count;
use link::mqtt::{Bus, Message, MqttConfig};
use proto::{
    Role,
    control::{DeviceStatus, Presence, ResultNotice},
    topic,
};
use tokio::sync::mpsc::Receiver;

use crate::world::{process::Around, put_results, result_of};

/// A broker of our own, killed with the value.
struct Mosquitto(Child);

impl Drop for Mosquitto {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `None` when Mosquitto is not installed.
fn mosquitto(folder: &Path, certificates: &Path, port: u16) -> Option<Mosquitto> {
    let file = folder.join("mosquitto.conf");
    let certificates = certificates.display();
    let config = format!(
        "listener {port} 127.0.0.1\ncafile {certificates}/roots.pem\n\
         certfile {certificates}/chain.pem\nkeyfile {certificates}/key.pem\n\
         require_certificate true\nuse_identity_as_username true\ntls_version tlsv1.3\n\
         user root\npersistence false\n"
    );
    std::fs::write(&file, config).unwrap();
    let found = ["mosquitto", "/usr/sbin/mosquitto"].into_iter().find_map(|program| {
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
    });
    if found.is_none() {
        eprintln!(
            "SKIPPED: mosquitto is not installed, the bridge's words on the bus were not read"
        );
    }
    found.map(Mosquitto)
}

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
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let broker = format!("broker = {{ host = 'localhost', port = {port} }}");
    let around = Around::new(&broker, "overdue = '1h'").await;
    let site = &around.site;
    let Some(_broker) = mosquitto(site.folder.path(), &site.pki.broker(), port) else { return };
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
