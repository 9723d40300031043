//! Owns the certificates of a site on one machine: a root, an intermediate for devices and one for services, and the
//! leafs of its processes, as enrolment issues them. What is there and holds is kept; what nears its end is issued
//! again, and whatever hangs below a new authority with it.

use std::{fs, path::Path};

use proto::{Identity, Role, SiteId, UtcTime};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use x509_parser::{
    pem::Pem,
    prelude::{FromDer, GeneralName, X509Certificate},
};

use super::{SiteError, keep};

/// The DNS name in the certificate of every server, as `link::tls::SERVER_NAME`; the broker's clients ask for the
/// second.
const SERVER_NAMES: [&str; 2] = ["celosia", "localhost"];

const DAY_S: i64 = 86_400;
/// Ten years: longer than a machine is kept.
const AUTHORITY_S: i64 = 3650 * DAY_S;
/// A little over a year. A site that is started at least four times a year is never near the end.
const LEAF_S: i64 = 397 * DAY_S;
/// An authority with less than a leaf's life left would issue leafs that outlive it.
const AUTHORITY_LEFT_S: i64 = 2 * LEAF_S;
/// A leaf with less left than this is issued again at start.
const LEAF_LEFT_S: i64 = 90 * DAY_S;
/// A clock that is set back a little must not make a certificate one of the future.
const BEFORE_S: i64 = DAY_S;

/// Who the MQTT broker is: no process of ours, and with no role.
const BROKER_URI: &str = "urn:celosia:broker";

/// The authorities of a site, ready to issue.
pub(super) struct Authorities {
    now: UtcTime,
    root_pem: String,
    devices: Authority,
    services: Authority,
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What is asked of a leaf.
struct Wanted<'a> {
    uri: String,
    common_name: String,
    serves: bool,
    folder: &'a Path,
}

impl Authorities {
    /// Opens the authorities in a folder, or makes them.
    pub(super) fn open(folder: &Path, site: &SiteId, now: UtcTime) -> Result<Self, SiteError> {
        fs::create_dir_all(folder).map_err(|e| SiteError::file(folder, e))?;
        let name = |kind: &str| format!("{site} {kind}");
        let root = Authority::open(folder, "root", &name("root"), None, now)?;
        let below = |kind| Authority::open(folder, kind, &name(kind), Some(&root), now);
        let (devices, services) = (below("devices")?, below("services")?);
        Ok(Self { now, root_pem: root.pem, devices, services })
    }

    /// Makes or keeps the credentials folder of a process: `chain.pem`, `key.pem`, `roots.pem`.
    pub(super) fn enrol(&self, identity: &Identity, folder: &Path) -> Result<(), SiteError> {
        let serves = matches!(identity.role, Role::Fog | Role::Bridge | Role::Console);
        let (uri, common_name) = (identity.to_string(), identity.common_name());
        self.leaf(&Wanted { uri, common_name, serves, folder })
    }

    /// Makes or keeps the broker's.
    pub(super) fn enrol_broker(&self, folder: &Path) -> Result<(), SiteError> {
        let (uri, common_name) = (BROKER_URI.to_owned(), "broker".to_owned());
        self.leaf(&Wanted { uri, common_name, serves: true, folder })
    }

    fn leaf(&self, wanted: &Wanted<'_>) -> Result<(), SiteError> {
        let folder = wanted.folder;
        fs::create_dir_all(folder).map_err(|e| SiteError::file(folder, e))?;
        let issuer = if wanted.serves { &self.services } else { &self.devices };
        keep(&folder.join("roots.pem"), self.root_pem.as_bytes())?;
        let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
        let (have, have_key) = (fs::read_to_string(&chain), fs::read_to_string(&key));
        if let (Ok(have), Ok(have_key)) = (have, have_key)
            && have.ends_with(&issuer.pem)
            && holds(&have, &have_key, Some(&wanted.uri), self.now, LEAF_LEFT_S)
        {
            return Ok(());
        }
        let refused = |e: rcgen::Error| SiteError::Certificate(wanted.common_name.clone(), e);
        let params = leaf_params(wanted, self.now).map_err(refused)?;
        let fresh = KeyPair::generate().map_err(refused)?;
        let leaf = params.signed_by(&fresh, &issuer.issuer).map_err(refused)?.pem();
        // A crash between the two leaves a pair that does not fit, which the next start issues again.
        keep(&key, fresh.serialize_pem().as_bytes())?;
        keep(&chain, format!("{leaf}{}", issuer.pem).as_bytes())
    }
}

impl Authority {
    fn open(
        folder: &Path,
        file: &str,
        name: &str,
        above: Option<&Self>,
        now: UtcTime,
    ) -> Result<Self, SiteError> {
        let refused = |e: rcgen::Error| SiteError::Certificate(name.to_owned(), e);
        let path = folder.join(format!("{file}.pem"));
        let key_path = folder.join(format!("{file}.key"));
        let (have, have_key) = (fs::read_to_string(&path), fs::read_to_string(&key_path));
        if let (Ok(pem), Ok(key)) = (have, have_key)
            && holds(&pem, &key, None, now, AUTHORITY_LEFT_S)
            && above.is_none_or(|above| signed(&pem, &above.pem))
        {
            let key = KeyPair::from_pem(&key).map_err(refused)?;
            let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(refused)?;
            return Ok(Self { pem, issuer });
        }
        let mut params = valid_for(AUTHORITY_S, now);
        params.distinguished_name.push(DnType::CommonName, name);
        let below = u8::from(above.is_none());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(refused)?;
        let certificate = match above {
            None => params.self_signed(&key),
            Some(above) => params.signed_by(&key, &above.issuer),
        };
        let pem = certificate.map_err(refused)?.pem();
        keep(&key_path, key.serialize_pem().as_bytes())?;
        keep(&path, pem.as_bytes())?;
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }
}

fn leaf_params(wanted: &Wanted<'_>, now: UtcTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = valid_for(LEAF_S, now);
    params.distinguished_name.push(DnType::CommonName, wanted.common_name.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(wanted.uri.clone().try_into()?)];
    if wanted.serves {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        for name in SERVER_NAMES {
            params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
        }
    }
    Ok(params)
}

fn valid_for(length_s: i64, now: UtcTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = now.plus_ns(-BEFORE_S * 1_000_000_000).calendar();
    params.not_after = now.calendar() + time::Duration::seconds(length_s);
    params
}

/// Whether the first certificate in `pem` belongs to `key`, names `uri` where one is asked for, and lives for another
/// `left_s` seconds.
fn holds(pem: &str, key: &str, uri: Option<&str>, now: UtcTime, left_s: i64) -> bool {
    let Ok(key) = KeyPair::from_pem(key) else { return false };
    let check = |certificate: &X509Certificate<'_>| {
        let names = certificate.subject_alternative_name().ok().flatten();
        let named = |uri: &str| {
            let names = names.as_ref().map(|names| names.value.general_names.as_slice());
            names.unwrap_or_default().iter().any(|n| matches!(n, GeneralName::URI(u) if *u == uri))
        };
        certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
            && uri.is_none_or(named)
            && certificate.validity().not_after.timestamp() > now.micros() / 1_000_000 + left_s
    };
    first(pem, check).unwrap_or(false)
}

/// Whether the certificate in `pem` is signed by the authority in `above`.
fn signed(pem: &str, above: &str) -> bool {
    let names = first(above, |above| {
        let (subject, key) = (above.subject().as_raw().to_vec(), above.public_key().raw.to_vec());
        (subject, key)
    });
    let Some((subject, key)) = names else { return false };
    let Ok((_, key)) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&key) else {
        return false;
    };
    first(pem, |certificate| {
        certificate.issuer().as_raw() == subject && certificate.verify_signature(Some(&key)).is_ok()
    })
    .unwrap_or(false)
}

fn first<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
    let pem = Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    Some(look(&certificate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    fn enrol(folder: &Path, now: UtcTime) -> (String, String) {
        let site: SiteId = "town".parse().unwrap();
        let authorities = Authorities::open(&folder.join("authority"), &site, now).unwrap();
        let identity: Identity = "celosia://town/fog/fog-1".parse().unwrap();
        authorities.enrol(&identity, &folder.join("fog")).unwrap();
        let read = |name| fs::read_to_string(folder.join(name)).unwrap();
        (read("fog/chain.pem"), read("fog/roots.pem"))
    }

    #[test]
    fn credentials_are_what_our_own_processes_accept_and_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-11-24T12:00:00Z");
        let before = enrol(folder.path(), now);
        let credentials = link::Credentials::load(&folder.path().join("fog")).unwrap();
        assert_eq!(credentials.identity().to_string(), "celosia://town/fog/fog-1");
        credentials.server_config(&[b"x"]).unwrap();
        assert_eq!(enrol(folder.path(), now), before);
    }

    #[test]
    fn leafs_near_their_end_are_issued_again_and_everything_below_an_old_root() {
        let folder = tempfile::tempdir().unwrap();
        let (leaf, root) = enrol(folder.path(), at("2026-11-24T12:00:00Z"));
        assert_eq!(enrol(folder.path(), at("2027-06-24T12:00:00Z")).0, leaf, "is good for months");
        let (later, same) = enrol(folder.path(), at("2027-11-24T12:00:00Z"));
        assert!(later != leaf && same == root, "a leaf near its end was kept, or its root was not");
        let (_, other) = enrol(folder.path(), at("2036-01-24T12:00:00Z"));
        assert_ne!(other, root, "a root near its end was kept");
        link::Credentials::load(&folder.path().join("fog")).unwrap();
    }

    #[test]
    fn a_pair_that_a_crash_left_half_is_issued_again() {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-11-24T12:00:00Z");
        let (leaf, _) = enrol(folder.path(), now);
        let other = KeyPair::generate().unwrap().serialize_pem();
        fs::write(folder.path().join("fog/key.pem"), other).unwrap();
        assert_ne!(enrol(folder.path(), now).0, leaf);
        link::Credentials::load(&folder.path().join("fog")).unwrap();
        fs::remove_file(folder.path().join("authority/devices.key")).unwrap();
        fs::remove_file(folder.path().join("authority/services.key")).unwrap();
        enrol(folder.path(), now);
        link::Credentials::load(&folder.path().join("fog")).unwrap();
    }
}
