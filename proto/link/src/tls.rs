//! Owns who a process is on the wire: its credentials folder, TLS 1.3 with mutual certificates, and the one place
//! where a peer is let in or refused.
//!
//! Chains are verified by rustls' own WebPKI verifiers, unmodified, against the roots of the site only. A server's
//! certificate carries the DNS name [`SERVER_NAME`], so that addresses may change; who the server is, its SAN URI says.
//! Sessions are never resumed and 0-RTT is off: each connection shows its certificate again.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use base::{Fault, Faulty};
use proto::{Identity, Role};
use rustls::{ClientConfig, RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The DNS name in the certificate of every server of a site; there is no other name to verify, since servers are
/// found by address.
pub const SERVER_NAME: &str = "celosia";

/// Leaf first, then intermediates.
const CHAIN: &str = "chain.pem";
/// The leaf's private key.
const KEY: &str = "key.pem";
/// What the site trusts.
const ROOTS: &str = "roots.pem";
/// Serials that are refused, one in hexadecimal per line; may be absent.
const REVOKED: &str = "revoked.txt";
/// Longest of these files, in bytes: a site has few roots, and ten thousand revoked serials fit.
const FILE_BYTES_MAX: u64 = 512 * 1024;

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the folder cannot be read.
    #[error("credentials file {path}: {source}; enrol this process again")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("credentials file {path}: {why}; enrol this process again")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// rustls refuses certificate, key and roots together.
    #[error("credentials in {folder}: {source}; enrol this process again")]
    Rejected {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// They are another process's.
    #[error(
        "certificate is for {certificate}, configuration is for {configured}: use the right one"
    )]
    Identity {
        /// In the certificate.
        certificate: Identity,
        /// In the configuration.
        configured: Identity,
    },
}

impl Faulty for TlsError {
    fn fault(&self) -> Fault {
        match self {
            Self::Read { .. }
            | Self::Content { .. }
            | Self::Rejected { .. }
            | Self::Identity { .. } => Fault::Misuse,
        }
    }
}

/// Why a peer with a chain that verifies is refused all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It showed no certificate, or one that cannot be read.
    #[error("certificate cannot be read: {0}")]
    Certificate(String),
    /// Not exactly one SAN URI of the form `celosia://site/role/name`.
    #[error("certificate names no identity: {0}")]
    Identity(String),
    /// Of another site.
    #[error("{0} is of another site")]
    Site(Identity),
    /// Its role may not do this.
    #[error("{identity} is not one of {accepted:?}")]
    Role {
        /// Who it is.
        identity: Identity,
        /// Who may.
        accepted: Vec<Role>,
    },
    /// Its certificate, or the one that issued it, is revoked.
    #[error("certificate serial {0} is revoked")]
    Revoked(Serial),
}

impl Refusal {
    /// The counter of this refusal.
    #[must_use]
    pub const fn counter(&self) -> &'static str {
        match self {
            Self::Certificate(_) | Self::Identity(_) => "peers_without_identity_total",
            Self::Site(_) => "peers_of_other_site_total",
            Self::Role { .. } => "peers_of_wrong_role_total",
            Self::Revoked(_) => "peers_revoked_total",
        }
    }
}

/// Serial of a certificate: lowercase hexadecimal without leading zeros, so that one serial has one spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(String);

impl Serial {
    /// Reads hexadecimal digits with or without colons, as certificate tools print them.
    fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let fits = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
        fits.then(|| Self(digits.to_ascii_lowercase().trim_start_matches('0').to_owned()))
    }

    fn of(bytes: &[u8]) -> Self {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(digits.trim_start_matches('0').to_owned())
    }
}

impl std::fmt::Display for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// When and how long each file of the folder was: a change means that it must be read again.
type Stamp = [Option<(SystemTime, u64)>; 4];

/// Certificate chain, private key, roots and revoked serials of one process.
#[derive(Clone)]
pub struct Credentials {
    folder: PathBuf,
    stamp: Stamp,
    identity: Identity,
    serial: Serial,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    roots: Arc<RootCertStore>,
    revoked: Arc<BTreeSet<Serial>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}, serial {})", self.identity, self.serial)
    }
}

impl Credentials {
    /// Reads a folder that must be this process's.
    ///
    /// # Errors
    /// As [`Self::load`]; and when the leaf names another process.
    pub fn load_as(folder: &Path, configured: &Identity) -> Result<Self, TlsError> {
        let credentials = Self::load(folder)?;
        let certificate = credentials.identity();
        if certificate == configured {
            return Ok(credentials);
        }
        Err(TlsError::Identity { certificate: certificate.clone(), configured: configured.clone() })
    }

    /// Reads `chain.pem` (leaf, then intermediates), `key.pem`, `roots.pem` and, if there, `revoked.txt`. Blocking, and
    /// short: small files.
    ///
    /// # Errors
    /// When a file is missing, is not PEM of the right kind, or the leaf names no identity.
    pub fn load(folder: &Path) -> Result<Self, TlsError> {
        let stamp = stamp(folder);
        let chain = certificates(&folder.join(CHAIN))?;
        let leaf = chain.first().map(CertificateDer::as_ref).unwrap_or_default();
        let (identity, serial) = read_leaf(leaf).map_err(|refusal| TlsError::Content {
            path: folder.join(CHAIN),
            why: refusal.to_string(),
        })?;
        let key_path = folder.join(KEY);
        let key = PrivateKeyDer::from_pem_slice(&read(&key_path)?)
            .map_err(|e| TlsError::Content { path: key_path, why: e.to_string() })?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&folder.join(ROOTS))? {
            roots
                .add(root)
                .map_err(|e| TlsError::Content { path: folder.join(ROOTS), why: e.to_string() })?;
        }
        let credentials = Self {
            folder: folder.to_owned(),
            stamp,
            identity,
            serial,
            chain,
            key: Arc::new(key),
            roots: Arc::new(roots),
            revoked: Arc::new(revoked(&folder.join(REVOKED))?),
        };
        // Key and certificate that do not fit are found here, at start, and not at the first connection.
        credentials.client_config(&[]).map(|_| credentials)
    }

    /// The same folder read again, when a file of it has changed since.
    ///
    /// # Errors
    /// As [`Self::load`]; the old credentials stay usable.
    pub fn reload(&self) -> Result<Option<Self>, TlsError> {
        if stamp(&self.folder) == self.stamp {
            Ok(None)
        } else {
            Self::load(&self.folder).map(Some)
        }
    }

    /// Who we are.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Serial of our certificate, as `revoked.txt` would hold it.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// TLS for connecting, with our certificate.
    ///
    /// # Errors
    /// When rustls refuses certificate or key.
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<ClientConfig, TlsError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| self.rejected(e))?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| self.rejected(e))?;
        config.resumption = rustls::client::Resumption::disabled();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }

    /// TLS for listening: every client must show a certificate of the site.
    ///
    /// # Errors
    /// When rustls refuses certificate, key or roots.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<ServerConfig, TlsError> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider()).build();
        let verifier =
            verifier.map_err(|e| self.rejected(rustls::Error::General(e.to_string())))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| self.rejected(e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| self.rejected(e))?;
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }

    /// The one place where a peer is let in: after the handshake has verified its chain, its certificates must not be
    /// revoked, it must be of our site, and its role one of `accept`.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn admit(
        &self,
        chain: &[CertificateDer<'_>],
        accept: &[Role],
    ) -> Result<Identity, Refusal> {
        let leaf = chain.first().ok_or_else(|| Refusal::Certificate("there is none".into()))?;
        for certificate in chain {
            let (_, parsed) = X509Certificate::from_der(certificate)
                .map_err(|e| Refusal::Certificate(e.to_string()))?;
            let serial = Serial::of(parsed.raw_serial());
            if self.revoked.contains(&serial) {
                return Err(Refusal::Revoked(serial));
            }
        }
        let (identity, _) = read_leaf(leaf)?;
        if identity.site != self.identity.site {
            return Err(Refusal::Site(identity));
        }
        if !accept.contains(&identity.role) {
            return Err(Refusal::Role { identity, accepted: accept.to_vec() });
        }
        Ok(identity)
    }

    fn rejected(&self, source: rustls::Error) -> TlsError {
        TlsError::Rejected { folder: self.folder.clone(), source }
    }
}

/// `ring`, named here so that no other provider can slip in by a feature of some dependency.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn stamp(folder: &Path) -> Stamp {
    [CHAIN, KEY, ROOTS, REVOKED].map(|name| {
        let metadata = std::fs::metadata(folder.join(name)).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read;
    let read = |path: &Path| {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        if file.metadata()?.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!("over {FILE_BYTES_MAX} bytes")));
        }
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = |why: String| TlsError::Content { path: path.to_owned(), why };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|e| content(e.to_string()))?;
    if found.is_empty() { Err(content("no certificate in it".into())) } else { Ok(found) }
}

/// Absent means that nothing is revoked; a line that is no serial fails closed.
fn revoked(path: &Path) -> Result<BTreeSet<Serial>, TlsError> {
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    let content = |why: String| TlsError::Content { path: path.to_owned(), why };
    let text = String::from_utf8(read(path)?).map_err(|e| content(e.to_string()))?;
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| Serial::parse(line).ok_or_else(|| content("a line is no serial".into())))
        .collect()
}

/// Identity and serial of a leaf. Exactly one SAN URI: a certificate with two would be two processes.
fn read_leaf(der: &[u8]) -> Result<(Identity, Serial), Refusal> {
    let (_, leaf) =
        X509Certificate::from_der(der).map_err(|e| Refusal::Certificate(e.to_string()))?;
    let names = leaf.subject_alternative_name().map_err(|e| Refusal::Certificate(e.to_string()))?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(Refusal::Identity("not exactly one SAN URI".into()));
    };
    let identity =
        uri.parse().map_err(|e: proto::ids::IdError| Refusal::Identity(e.to_string()))?;
    Ok((identity, Serial::of(leaf.raw_serial())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestSite;

    #[test]
    fn an_identity_is_read_from_the_certificate_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let site = TestSite::new(folder.path(), "town");
        let fog = site.credentials(Role::Fog, "fog-1");
        assert_eq!(fog.identity(), &site.identity(Role::Fog, "fog-1"));
        assert!(!format!("{fog:?}").contains("PRIVATE"));
        assert!(matches!(Credentials::load(&site.broker()), Err(TlsError::Content { .. })));
    }

    #[test]
    fn credentials_with_the_key_of_another_are_refused_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let site = TestSite::new(folder.path(), "town");
        let (a, b) = (site.enrol(Role::Edge, "a"), site.enrol(Role::Edge, "b"));
        std::fs::copy(b.join(KEY), a.join(KEY)).unwrap();
        assert!(matches!(Credentials::load(&a), Err(TlsError::Rejected { .. })));
    }

    #[test]
    fn credentials_are_read_again_only_when_a_file_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let site = TestSite::new(folder.path(), "town");
        let enrolled = site.enrol(Role::Edge, "a");
        let credentials = Credentials::load(&enrolled).unwrap();
        assert!(credentials.reload().unwrap().is_none());
        std::fs::write(enrolled.join(REVOKED), "# none yet\n0A:0b\n").unwrap();
        let fresh = credentials.reload().unwrap().unwrap();
        assert!(fresh.revoked.contains(&Serial("a0b".into())));
        std::fs::write(enrolled.join(REVOKED), "not a serial\n").unwrap();
        assert!(fresh.reload().is_err(), "an unreadable revocation list must not mean: nobody");
    }

    #[test]
    fn one_serial_has_one_spelling() {
        assert_eq!(Serial::parse("00:0A:Bc"), Some(Serial::of(&[0, 0x0a, 0xbc])));
        assert_eq!(Serial::parse("xyz"), None);
        assert_eq!(Serial::parse(""), None);
    }
}
