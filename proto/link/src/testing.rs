//! Owns the small certificate authority of tests: a root, an intermediate for devices and one for services, and leafs
//! with SAN URI and DNS names as enrolment issues them; and a real MQTT broker for one test. Never part of a product
//! binary.

use std::{
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use proto::{Identity, Role};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::{Credentials, tls::SERVER_NAME};

/// A site that exists for one test.
pub struct TestSite {
    folder: PathBuf,
    site: String,
    root_pem: String,
    devices: (String, Issuer<'static, KeyPair>),
    services: (String, Issuer<'static, KeyPair>),
}

/// Tests have no one to give an error to.
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        #[expect(clippy::panic, reason = "test support")]
        Err(error) => panic!("test site: {error}"),
    }
}

fn authority(name: &str, below: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn intermediate(name: &str, root: &Issuer<'_, KeyPair>) -> (String, Issuer<'static, KeyPair>) {
    let (params, key) = (authority(name, 0), must(KeyPair::generate()));
    let pem = must(params.signed_by(&key, root)).pem();
    (pem, Issuer::new(params, key))
}

impl TestSite {
    /// A new root and its two intermediates for `site`. Credentials folders are made below `folder`.
    #[must_use]
    pub fn new(folder: &Path, site: &str) -> Self {
        let (params, key) = (authority(&format!("{site} root"), 1), must(KeyPair::generate()));
        let root_pem = must(params.self_signed(&key)).pem();
        let root = Issuer::new(params, key);
        Self {
            folder: folder.to_owned(),
            site: site.to_owned(),
            root_pem,
            devices: intermediate(&format!("{site} devices"), &root),
            services: intermediate(&format!("{site} services"), &root),
        }
    }

    /// The identity of a process of this site.
    #[must_use]
    pub fn identity(&self, role: Role, name: &str) -> Identity {
        must(format!("celosia://{}/{role}/{name}", self.site).parse())
    }

    /// Issues a certificate and writes a credentials folder: `{folder}/{site}/{role}-{name}`.
    #[must_use]
    pub fn enrol(&self, role: Role, name: &str) -> PathBuf {
        let identity = self.identity(role, name);
        let folder = self.folder.join(&self.site).join(identity.device());
        let uri = SanType::URI(must(identity.to_string().try_into()));
        self.issue(&folder, role, &identity.common_name(), uri);
        folder
    }

    /// [`Self::enrol`] and [`Credentials::load`].
    #[must_use]
    pub fn credentials(&self, role: Role, name: &str) -> Credentials {
        must(Credentials::load(&self.enrol(role, name)))
    }

    /// A certificate for the MQTT broker: `chain.pem`, `key.pem`, `roots.pem` with the DNS names `celosia` and
    /// `localhost`. The broker is no process of ours and has no role.
    #[must_use]
    pub fn broker(&self) -> PathBuf {
        let folder = self.folder.join(&self.site).join("broker");
        let uri = SanType::URI(must("urn:celosia:broker".try_into()));
        self.issue(&folder, Role::Bridge, "broker", uri);
        folder
    }

    fn issue(&self, folder: &Path, role: Role, common_name: &str, uri: SanType) {
        let serves = matches!(role, Role::Fog | Role::Bridge | Role::Console);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![uri];
        if serves {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            for name in [SERVER_NAME, "localhost"] {
                params.subject_alt_names.push(SanType::DnsName(must(name.try_into())));
            }
        }
        let (issuer_pem, issuer) = if serves { &self.services } else { &self.devices };
        let key = must(KeyPair::generate());
        let leaf = must(params.signed_by(&key, issuer)).pem();
        must(std::fs::create_dir_all(folder));
        must(std::fs::write(folder.join("chain.pem"), format!("{leaf}{issuer_pem}")));
        must(std::fs::write(folder.join("key.pem"), key.serialize_pem()));
        must(std::fs::write(folder.join("roots.pem"), &self.root_pem));
    }
}

/// A real Mosquitto on loopback that lets in every certificate of a site; it has no access lists. Killed with the value.
#[derive(Debug)]
pub struct TestBroker {
    port: u16,
    process: Child,
}

impl TestBroker {
    /// Starts it on a free port; clients may come before it listens. `None`, and a line that says so, when Mosquitto is
    /// not installed.
    #[must_use]
    pub fn start(site: &TestSite) -> Option<Self> {
        Self::start_at(site, Self::free_port())
    }

    /// A port for [`Self::start_at`], where others must know it before the broker is there.
    #[must_use]
    pub fn free_port() -> u16 {
        must(must(TcpListener::bind("127.0.0.1:0")).local_addr()).port()
    }

    /// The same on this port, as after a restart; it has forgotten everything.
    #[must_use]
    pub fn start_at(site: &TestSite, port: u16) -> Option<Self> {
        let folder = site.broker();
        let shown = folder.display();
        let config = format!(
            "listener {port} 127.0.0.1\ncafile {shown}/roots.pem\ncertfile {shown}/chain.pem\n\
             keyfile {shown}/key.pem\nrequire_certificate true\nuse_identity_as_username true\n\
             user root\npersistence false\n"
        );
        let file = folder.join("mosquitto.conf");
        must(std::fs::write(&file, config));
        for program in ["mosquitto", "/usr/sbin/mosquitto"] {
            let mut command = Command::new(program);
            command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
            if let Ok(process) = command.spawn() {
                return Some(Self { port, process });
            }
        }
        // Straight to standard error: the test harness would keep a passed test's `eprintln!` to itself.
        let line = b"SKIPPED: mosquitto is not installed, nothing was tried with a real broker\n";
        must(std::io::stderr().write_all(line));
        None
    }

    /// Its TCP port, for clients of `localhost`.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
