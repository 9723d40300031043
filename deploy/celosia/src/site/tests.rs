//! Tests of making a site: idempotent, private, mended after a crash.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

use proto::Digest;

use super::*;

fn plan() -> Plan {
    let policy = PolicyRef { name: "default".to_owned(), digest: Digest::of(b"policy") };
    let camera = Camera {
        id: "door".parse().unwrap(),
        source: "/videos/it's \"here\".mp4".to_owned(),
        user: None,
        password_file: None,
        clip: None,
        every: "5s".to_owned(),
        repeat: false,
        start: None,
    };
    Plan {
        site: "town".parse().unwrap(),
        cameras: vec![camera],
        policy: "default".to_owned(),
        static_regions: None,
        policies: vec![policy],
        pack: Packing::Frame,
        inference: Inference::Lambda,
        assets: "/assets".into(),
        function_program: std::env::current_exe().unwrap(),
        console: ConsoleAddress::loopback(),
        exit_when_done: false,
    }
}

fn make(state: &Path, plan: &Plan, now: &str) -> Site {
    Site::make(Layout::new(state.to_owned()), plan, now.parse().unwrap()).unwrap()
}

fn content(folder: &Path, found: &mut BTreeMap<PathBuf, (Vec<u8>, u32)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            content(&path, found);
        } else {
            found.insert(path.clone(), (fs::read(&path).unwrap(), mode));
        }
    }
}

#[test]
fn making_a_site_again_changes_nothing_and_everything_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let files = || {
        let mut found = BTreeMap::new();
        content(folder.path(), &mut found);
        found
    };
    make(folder.path(), &plan(), "2026-11-24T12:00:00Z");
    let first = files();
    make(folder.path(), &plan(), "2026-11-25T12:00:00Z");
    assert_eq!(files(), first);
    for (path, (_, mode)) in &first {
        assert_eq!(*mode, 0o600, "{}", path.display());
    }
    // A crash before the last files were written.
    fs::remove_file(folder.path().join("config/edge.toml")).unwrap();
    fs::remove_file(folder.path().join("pki/fog/grant.json")).unwrap();
    make(folder.path(), &plan(), "2026-11-24T12:00:00Z");
    assert_eq!(files(), first);
}

#[test]
fn the_seal_root_is_with_the_authorities_alone_and_its_grant_covers_the_policies() {
    let folder = tempfile::tempdir().unwrap();
    let site = make(folder.path(), &plan(), "2026-11-24T12:00:00Z");
    let seed = fs::read(folder.path().join("pki/authority/seal-root.key")).unwrap();
    let mut found = BTreeMap::new();
    content(folder.path(), &mut found);
    let holders = found
        .iter()
        .filter(|(_, (bytes, _))| bytes.windows(64).any(|window| window == seed.trim_ascii()));
    assert_eq!(holders.count(), 1, "the seal root's seed is in another file too");
    let read = || fs::read(folder.path().join("pki/fog/grant.json")).unwrap();
    let grant: SealGrant = serde_json::from_slice(&read()).unwrap();
    grant.verify(&site.seal_root).unwrap();
    assert_eq!(grant.policies, [Digest::of(b"policy")]);
    // A build that knows other policies gets another grant; an old one is renewed in time.
    let before = read();
    make(folder.path(), &plan(), "2027-11-01T12:00:00Z");
    assert_ne!(read(), before);
    let mut other = plan();
    other.policies.push(PolicyRef { name: "new".into(), digest: Digest::of(b"new") });
    let before = read();
    make(folder.path(), &other, "2027-11-01T12:00:00Z");
    assert_ne!(read(), before);
}

#[test]
fn configurations_are_what_the_services_of_this_crate_read() {
    let folder = tempfile::tempdir().unwrap();
    let site = make(folder.path(), &plan(), "2026-11-24T12:00:00Z");
    crate::object_store::Config::load(&site.layout.config("store.toml")).unwrap();
    crate::function::Config::load(&site.layout.config("function.toml")).unwrap();
    let edge = fs::read_to_string(site.layout.config("edge.toml")).unwrap();
    let edge: toml::Table = edge.parse().unwrap();
    let camera = edge.get("camera").and_then(|c| c.get(0)).unwrap();
    assert_eq!(camera.get("source").unwrap().as_str(), Some("/videos/it's \"here\".mp4"));
}

#[test]
fn beside_the_bridge_the_store_tells_nobody_and_the_bridge_asks() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan();
    for (inference, place, told) in
        [(Inference::Lambda, "lambda", true), (Inference::Fog, "fog", false)]
    {
        plan.inference = inference;
        let site = make(folder.path(), &plan, "2026-11-24T12:00:00Z");
        let table = |name: &str| -> toml::Table {
            fs::read_to_string(site.layout.config(name)).unwrap().parse().unwrap()
        };
        assert_eq!(table("store.toml").contains_key("notify"), told, "{place}");
        assert_eq!(table("bridge.toml")["inference"].as_str(), Some(place));
        let environment = &table("function.toml")["environment"];
        assert_eq!(environment["CELOSIA_PLACEMENT"].as_str(), Some(place));
    }
}

#[test]
fn a_policy_that_is_not_known_is_told_with_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = plan();
    wrong.policy = "none".to_owned();
    let layout = Layout::new(folder.path().to_owned());
    let error = Site::make(layout, &wrong, UtcTime::EPOCH).unwrap_err().to_string();
    assert!(error.contains("none") && error.contains("default"), "{error}");
}
