//! Owns the names of things: sites, cameras, devices, sessions, clips, frames, and the identity of a process.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::limits::NAME_BYTES_MAX;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty, too long, or has a character outside `[a-z0-9-]`.
    #[error(
        "{what} {text:?}: use 1 to {NAME_BYTES_MAX} of a-z, 0-9 and -, starting with a letter or digit"
    )]
    Name {
        /// Which kind of name.
        what: &'static str,
        /// The offending text, cut to a printable length.
        text: String,
    },
    /// The text is not 32 lowercase hexadecimal digits.
    #[error("session {0:?} is not 32 lowercase hexadecimal digits")]
    Session(String),
    /// The text does not have the parts of the id it should be.
    #[error("{what} {text:?} is not of the form {form}")]
    Form {
        /// Which kind of id.
        what: &'static str,
        /// The offending text, cut to a printable length.
        text: String,
        /// The form that was expected.
        form: &'static str,
    },
}

/// Keeps an error line short however long the outside text was.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

fn check_name(what: &'static str, text: &str) -> Result<String, IdError> {
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if fits { Ok(text.to_owned()) } else { Err(IdError::Name { what, text: cut(text) }) }
}

/// A checked name: parsed from text, shown as text, compared as text. No macro: three plain newtypes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteId(String);

/// One camera of a site.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CameraId(String);

/// One enrolled process of a site: a gateway, a fog node, a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName(String);

impl SiteId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CameraId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DeviceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SiteId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        check_name("site", &text).map(Self)
    }
}

impl TryFrom<String> for CameraId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        check_name("camera", &text).map(Self)
    }
}

impl TryFrom<String> for DeviceName {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        check_name("device", &text).map(Self)
    }
}

impl FromStr for SiteId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        check_name("site", text).map(Self)
    }
}

impl FromStr for CameraId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        check_name("camera", text).map(Self)
    }
}

impl FromStr for DeviceName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        check_name("device", text).map(Self)
    }
}

impl From<SiteId> for String {
    fn from(id: SiteId) -> Self {
        id.0
    }
}

impl From<CameraId> for String {
    fn from(id: CameraId) -> Self {
        id.0
    }
}

impl From<DeviceName> for String {
    fn from(id: DeviceName) -> Self {
        id.0
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One run of one camera: 128 bits, drawn at each start of capture (for a file: derived from its content and a run id).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A session of these 128 bits. The caller draws them.
    #[must_use]
    pub const fn new(bits: [u8; 16]) -> Self {
        Self(bits)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        crate::digest::from_hex(text).map(Self).ok_or_else(|| IdError::Session(cut(text)))
    }
}

impl TryFrom<String> for SessionId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

/// Names a clip for good: `site/camera/session/seq`. `seq` is contiguous within a session, so a missing number is a
/// gap. The clip's digest is an attribute, never its id: a black picture has equal clips.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipId {
    /// The site that the camera belongs to.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub site: SiteId,
    /// The camera.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub camera: CameraId,
    /// The run of the camera.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub session: SessionId,
    /// Position in the session, from 0, contiguous.
    pub seq: u64,
}

impl fmt::Display for ClipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.site, self.camera, self.session, self.seq)
    }
}

impl FromStr for ClipId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let form =
            || IdError::Form { what: "clip", text: cut(text), form: "site/camera/session/seq" };
        let parts: Vec<&str> = text.split('/').collect();
        let [site, camera, session, seq] = parts.as_slice() else { return Err(form()) };
        Ok(Self {
            site: site.parse()?,
            camera: camera.parse()?,
            session: session.parse()?,
            seq: plain_number(seq).ok_or_else(form)?,
        })
    }
}

/// A decimal number without sign or leading zeros, so that one id has one spelling.
pub(crate) fn plain_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Names a frame for good: a clip and a slot on the session's sampling grid (`slot` x sampling interval).
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameId {
    /// The clip that the frame comes from.
    pub clip: ClipId,
    /// Slot on the session's grid, from 0.
    pub slot: u64,
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.clip, self.slot)
    }
}

impl FromStr for FrameId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let form = || IdError::Form {
            what: "frame",
            text: cut(text),
            form: "site/camera/session/seq/slot",
        };
        let (clip, slot) = text.rsplit_once('/').ok_or_else(form)?;
        Ok(Self { clip: clip.parse()?, slot: plain_number(slot).ok_or_else(form)? })
    }
}

/// What a process may do, as its certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A camera gateway.
    Edge,
    /// A fog node.
    Fog,
    /// The cloud bridge.
    Bridge,
    /// The operators' console.
    Console,
    /// An administrator.
    Admin,
}

impl Role {
    /// All roles, for tables and tests.
    pub const ALL: [Self; 5] = [Self::Edge, Self::Fog, Self::Bridge, Self::Console, Self::Admin];

    /// The role as it stands in a certificate.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Fog => "fog",
            Self::Bridge => "bridge",
            Self::Console => "console",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who a process is: the SAN URI `celosia://{site}/{role}/{name}` of its certificate, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity {
    /// The site.
    pub site: SiteId,
    /// What it may do.
    pub role: Role,
    /// Its name within site and role.
    pub name: DeviceName,
}

impl Identity {
    /// Common name of the certificate and user name at the MQTT broker, which can match nothing finer:
    /// `{site}.{role}.{name}`.
    #[must_use]
    pub fn common_name(&self) -> String {
        format!("{}.{}.{}", self.site, self.role, self.name)
    }

    /// The level of MQTT topics that this process owns: `{role}-{name}`.
    #[must_use]
    pub fn device(&self) -> String {
        format!("{}-{}", self.role, self.name)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "celosia://{}/{}/{}", self.site, self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let form = || IdError::Form {
            what: "identity",
            text: cut(text),
            form: "celosia://site/role/name",
        };
        let parts: Vec<&str> =
            text.strip_prefix("celosia://").ok_or_else(form)?.split('/').collect();
        let [site, role, name] = parts.as_slice() else { return Err(form()) };
        let role = Role::ALL.into_iter().find(|r| r.as_str() == *role).ok_or_else(form)?;
        Ok(Self { site: site.parse()?, role, name: name.parse()? })
    }
}

impl TryFrom<String> for Identity {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(id: Identity) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_they_were_written() {
        let frame = "town/cam-1/000102030405060708090a0b0c0d0e0f/7/12";
        assert_eq!(frame.parse::<FrameId>().unwrap().to_string(), frame);
        let identity = "celosia://town/edge/gw-1";
        assert_eq!(identity.parse::<Identity>().unwrap().to_string(), identity);
        assert_eq!(identity.parse::<Identity>().unwrap().common_name(), "town.edge.gw-1");
    }

    #[test]
    fn a_name_that_could_escape_a_path_or_a_topic_is_refused() {
        for text in ["", "-a", "A", "a/b", "..", "a.b", "a+", "a#", "é", &"a".repeat(64)] {
            assert!(text.parse::<CameraId>().is_err(), "{text:?} was taken");
        }
        assert!("a".repeat(63).parse::<CameraId>().is_ok());
    }

    #[test]
    fn one_clip_has_one_spelling() {
        let session = "000102030405060708090a0b0c0d0e0f";
        for seq in ["+1", "01", "", "-1", "1/2", "1 "] {
            assert!(format!("town/cam/{session}/{seq}").parse::<ClipId>().is_err(), "{seq:?}");
        }
        assert!(session.to_uppercase().parse::<SessionId>().is_err());
    }

    #[test]
    fn an_identity_with_another_scheme_or_role_is_refused() {
        for text in [
            "https://town/edge/a",
            "celosia://town/root/a",
            "celosia://town/edge",
            "celosia://town/edge/a/b",
        ] {
            assert!(text.parse::<Identity>().is_err(), "{text:?} was taken");
        }
    }
}
