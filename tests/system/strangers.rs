//! What strangers bring to a running site: certificates of an authority that nobody knows, and an object in the bucket
//! that nobody sealed. Each gets one line that names it and its place, and a count; nothing else is disturbed.

use std::{fs, path::Path};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    primitives::ByteStream,
};
use link::{
    Protocol,
    mqtt::{Bus, MqttConfig},
    testing::TestSite,
};
use proto::{Role, key, result::DeadLetter};
use results::StateKind;
use system_tests::assets;

use crate::{
    happy::Folders,
    live::everything_is_accounted_for,
    onlooker::{self, Onlooker},
    site::{self, Run, eventually, port},
};

/// A key as a frame of this site could have it.
const PLANTED: &str =
    "frames/v1/site/camera/2026/11/24/12/000102030405060708090a0b0c0d0e0f-7-9.jpg";
/// A picture that a viewer opens, and no envelope.
const PICTURE: &[u8] = &[0xFF, 0xD8, 0xFF, 0xDB, 0, 3, 1, 9, 9, 9, 0xFF, 0xD9];

/// Whoever has the bridge's key of the object store may write frames; the seal is what tells.
fn bucket(state: &Path) -> Client {
    let secret = fs::read_to_string(state.join("pki/store/bridge.secret")).unwrap();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(format!("http://127.0.0.1:{}", port(state, "store")))
        .force_path_style(true)
        .credentials_provider(Credentials::new("bridge", secret.trim(), None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

async fn plant(client: &Client) {
    let body = ByteStream::from_static(PICTURE);
    client.put_object().bucket("frames").key(PLANTED).body(body).send().await.unwrap();
}

async fn letter(client: &Client) -> Option<DeadLetter> {
    let place = key::dead_letter_key(PLANTED);
    let found = client.get_object().bucket("results").key(place).send().await.ok()?;
    let bytes = found.body.collect().await.ok()?.to_vec();
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// Lines of a process's log that have all of these in them.
fn lines(state: &Path, log: &str, parts: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(state.join("logs").join(format!("{log}.log"))).unwrap();
    let said = text.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
    said.map(str::to_owned).collect()
}

/// Connects as a gateway and as a fog node of a site of the same name that another authority made.
async fn intrude(state: &Path, forged: &TestSite) {
    for (role, name, to, protocol, expect) in [
        (Role::Edge, "gw-1", "fog", Protocol::Clip, Role::Fog),
        (Role::Fog, "fog-1", "bridge", Protocol::Commit, Role::Bridge),
    ] {
        let address = format!("127.0.0.1:{}", port(state, to));
        let credentials = forged.enrol(role, name);
        // It trusts the site, so that it is the site that has to refuse.
        fs::copy(state.join("pki/admin/roots.pem"), credentials.join("roots.pem")).unwrap();
        let own = link::Credentials::load(&credentials).unwrap();
        let refused = match link::quic::connect(&address, &own, protocol, expect).await {
            Err(error) => error,
            // TLS 1.3: the client learns of it when it uses the connection.
            Ok(peer) => peer.closed().await,
        };
        assert!(refused.to_string().contains("certificate"), "{to}: {refused}");
    }
}

#[test]
fn what_strangers_bring_is_named_and_counted_and_disturbs_nobody() {
    let Some(_) = assets() else { return };
    let folders = Folders::new();
    let arguments = ["--camera", "test:ball", "--every", "1s", "--clip", "2s"];
    let mut run = Run::up(&folders.state, &arguments);
    let site = Onlooker::at(&mut run, &folders.state);
    let done = || site.frames(StateKind::Done).len();
    eventually("the first result", || run.has_ended() || done() > 0);
    assert!(!run.has_ended(), "it ended by itself");

    let state = folders.state.as_path();
    let forged = TestSite::new(&folders.root.path().join("forged"), "site");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(intrude(state, &forged));
    let client = bucket(state);
    runtime.block_on(plant(&client));
    let mut letter_found = None;
    eventually("the dead letter", || {
        letter_found = runtime.block_on(letter(&client));
        run.has_ended() || letter_found.is_some()
    });
    let found = letter_found.unwrap();
    assert_eq!(found.key, PLANTED);
    assert!(found.reason.contains("not sealed") && found.reason.contains(PLANTED), "{found:?}");

    // One line for each, with the thing and the place.
    let set_aside = lines(state, "function", &["set aside", PLANTED, "not sealed"]);
    assert_eq!(set_aside.len(), 1, "{set_aside:?}");
    for (log, device) in [("fog", "/fog-"), ("bridge", "/bridge-")] {
        let said = lines(state, log, &["a peer did not get in", "127.0.0.1:", "certificate"]);
        assert_eq!(said.len(), 1, "{log}: {said:?}");
        eventually("its count", || {
            let heard = site.heard();
            let of_device = heard.iter().filter(|message| message.topic.contains(device));
            let mut statuses = onlooker::all_statuses(of_device);
            statuses.any(|(_, status)| status.counters.get("peers_untrusted_total") == Some(&1))
        });
    }
    at_the_broker(&runtime, state, &forged);

    // Everybody else goes on as if nothing had been.
    let before = done();
    eventually("results after it", || run.has_ended() || done() >= before + 2);
    assert!(!run.has_ended(), "it ended by itself");
    assert_eq!(everything_is_accounted_for(&site, &folders, 1), 0, "a gap");
    drop(site);
    run.interrupt();
    site::succeeded(&run.end());
    let counted = lines(state, "function", &["ended", "\"objects_set_aside_total\": 1"]);
    assert_eq!(counted.len(), 1, "{:?}", lines(state, "function", &["ended"]));
}

/// The broker's own words; it counts nothing of this itself.
fn at_the_broker(runtime: &tokio::runtime::Runtime, state: &Path, forged: &TestSite) {
    let folder = forged.enrol(Role::Admin, "admin");
    fs::copy(state.join("pki/admin/roots.pem"), folder.join("roots.pem")).unwrap();
    let stop = base::Shutdown::default();
    let config = MqttConfig {
        host: "localhost".to_owned(),
        port: port(state, "broker"),
        credentials: link::Credentials::load(&folder).unwrap(),
        client_id: "stranger".to_owned(),
        last_will: None,
    };
    let mut inbox = runtime.block_on(async {
        let bus = Bus::connect(config, &stop).unwrap();
        bus.subscribe("celosia/#").unwrap()
    });
    eventually("the broker's line", || {
        !lines(state, "broker", &["127.0.0.1", "certificate"]).is_empty()
            || !lines(state, "broker", &["verify failed"]).is_empty()
    });
    stop.request();
    assert!(inbox.try_recv().is_err(), "a stranger heard something");
}
