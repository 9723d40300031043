//! Stories of the real binary: configuration, operators, the ready line, stopping.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use base::Shutdown;
use hyper::StatusCode;
use link::{
    mqtt::{Bus, Message, MqttConfig},
    testing::{TestBroker, TestSite},
};
use proto::{
    Role,
    control::{CameraState, CameraStatus, DeviceStatus, Presence, SCHEMA},
    ledger::Ledger,
    topic,
};
use tokio::sync::mpsc;

use crate::browser::Browser;

const CONFIG: &str = "site = 'town'\nname = 'console'\ncredentials = 'pki'\nlisten = '127.0.0.1:0'\n\
    database = 'sqlite:results.db'\nseal_root = 'seal-root.pub'\n[store]\nregion = 'us-east-1'\n\
    endpoint = 'http://127.0.0.1:1'\nframes_bucket = 'frames'\nresults_bucket = 'results'\n";

fn console() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_console"));
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command
}

fn configured() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("console.toml"), CONFIG).unwrap();
    fs::write(folder.path().join("seal-root.pub"), "0f".repeat(32)).unwrap();
    folder
}

fn add_user(folder: &Path, more: &[&str], input: &str) -> Output {
    let mut command = console();
    command.arg("add-user").arg("--config").arg(folder.join("console.toml")).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_configuration_with_a_mistake_ends_with_64_and_names_it() {
    let folder = configured();
    let path = folder.path().join("console.toml");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        let output = console().arg("--config").arg(&path).arg("--check").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(CONFIG).0, Some(0));
    let (code, told) = check(&format!("colour = 'blue'\n{CONFIG}"));
    assert_eq!(code, Some(64));
    assert!(told.contains("console.toml") && told.contains("colour"), "{told}");
    fs::write(folder.path().join("seal-root.pub"), "not a key").unwrap();
    fs::write(&path, CONFIG).unwrap();
    let output = console().arg("--config").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("seal-root.pub"), "{told}");
}

#[test]
fn an_operator_is_made_once_with_a_password_that_is_drawn_or_read() {
    let folder = configured();
    let drawn = add_user(folder.path(), &["ana"], "");
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    let password = String::from_utf8(drawn.stdout).unwrap();
    assert!(password.trim().len() >= 20 && password.lines().count() == 1, "{password:?}");
    assert!(!String::from_utf8_lossy(&drawn.stderr).contains(password.trim()));
    let again = add_user(folder.path(), &["ana"], "");
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stdout.is_empty(), "a password that is none was printed");
    assert!(String::from_utf8_lossy(&again.stderr).contains("--replace"));
    let read = add_user(folder.path(), &["ben", "--password-stdin"], "correct horse\n");
    assert!(read.status.success() && read.stdout.is_empty());
    let short = add_user(folder.path(), &["eve", "--password-stdin"], "short\n");
    assert!(String::from_utf8_lossy(&short.stderr).contains("at least 10 characters"));
    let replaced = add_user(folder.path(), &["ana", "--replace"], "");
    assert!(replaced.status.success() && replaced.stdout != password.into_bytes());
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts the console of a folder; its host and port, once it serves.
fn serve(folder: &Path) -> (Process, String) {
    let mut command = console();
    command.arg("--config").arg(folder.join("console.toml"));
    command.env("CELOSIA_PARENT_PIPE", "stdin").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Process(command.spawn().unwrap());
    let mut ready = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let ready: serde_json::Value =
        serde_json::from_str(ready.strip_prefix("ready ").expect(&ready)).unwrap();
    assert_eq!(ready["identity"], "celosia://town/console/console");
    let url = ready["url"].as_str().unwrap();
    (process, url.trim_start_matches("http://").trim_end_matches('/').to_owned())
}

#[tokio::test]
async fn it_says_when_it_serves_lets_its_operator_in_and_stops_with_its_parent() {
    let folder = configured();
    let password = add_user(folder.path(), &["ana"], "").stdout;
    let password = String::from_utf8(password).unwrap();
    let (mut process, host) = serve(folder.path());
    let browser = Browser::new(&host);
    assert_eq!(browser.get("/health").await.status, StatusCode::OK);
    let answer = browser.sign_in("ana", password.trim()).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    drop(process.0.stdin.take());
    assert!(process.0.wait().unwrap().success());
}

/// The next status of a process with this presence.
async fn presence(inbox: &mut mpsc::Receiver<Message>, presence: Presence) -> DeviceStatus {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let message = inbox.recv().await.unwrap();
            let status: DeviceStatus = serde_json::from_slice(&message.payload).unwrap();
            if status.presence == presence {
                return status;
            }
        }
    });
    waited.await.unwrap()
}

#[tokio::test]
async fn it_hears_gateways_through_a_real_broker_and_its_broker_speaks_for_it_when_it_is_killed() {
    let folder = configured();
    let site = TestSite::new(folder.path(), "town");
    let Some(broker) = TestBroker::start(&site) else { return };
    let port = broker.port();
    let pki = site.enrol(Role::Console, "console");
    let broker = format!("broker = {{ host = 'localhost', port = {port} }}\n[store]");
    let config = CONFIG.replace("'pki'", &format!("'{}'", pki.display()));
    fs::write(folder.path().join("console.toml"), config.replace("[store]", &broker)).unwrap();

    let stop = Shutdown::default();
    let identity = site.identity(Role::Edge, "gw-1");
    let gateway = MqttConfig {
        host: "localhost".into(),
        port,
        credentials: site.credentials(Role::Edge, "gw-1"),
        client_id: identity.common_name(),
        last_will: None,
    };
    let gateway = Bus::connect(gateway, &stop).unwrap();
    let camera =
        CameraStatus { state: CameraState::Paused, reason: None, ledger: Ledger::default() };
    let status = DeviceStatus {
        schema: SCHEMA,
        identity: identity.clone(),
        presence: Presence::Online,
        at: None,
        software: "0.1.0".into(),
        cameras: BTreeMap::from([("door".parse().unwrap(), camera)]),
        counters: BTreeMap::new(),
        watched: BTreeMap::new(),
    };
    gateway.publish_retained(&topic::status(&identity), &status).unwrap();
    let own = topic::status(&site.identity(Role::Console, "console"));
    let mut said = gateway.subscribe(&own).unwrap();

    let password = add_user(folder.path(), &["ana"], "").stdout;
    let (mut process, host) = serve(folder.path());
    drop(presence(&mut said, Presence::Online).await);
    let browser = Browser::new(&host);
    let signed_in = browser.sign_in("ana", String::from_utf8(password).unwrap().trim()).await;
    assert_eq!(signed_in.status, StatusCode::SEE_OTHER);
    // When it has said this, it has heard what was retained before.
    while presence(&mut said, Presence::Online).await.counters.get("logins_total") != Some(&1) {}
    let page = browser.get("/cameras/door").await.text();
    assert!(page.contains("Paused") && page.contains("gw-1"), "{page}");

    process.0.kill().unwrap();
    drop(presence(&mut said, Presence::Offline).await);
    stop.request();
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    let folder = configured();
    let site = TestSite::new(folder.path(), "town");
    let pki = site.enrol(Role::Console, "other");
    let broker = "broker = { host = 'localhost', port = 1 }\n[store]";
    let config = CONFIG.replace("'pki'", &format!("'{}'", pki.display()));
    let path = folder.path().join("console.toml");
    fs::write(&path, config.replace("[store]", broker)).unwrap();
    let output = console().arg("--config").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("console/other") && told.contains("console/console"), "{told}");
}
