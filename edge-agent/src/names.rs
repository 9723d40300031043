//! Owns the names of records in the spool. A name says all that the ledger and the queue need, so that a start reads
//! no video.

use proto::{CameraId, SessionId};

/// The record of a clip: `clip.{camera}.{session}.{seq}.{slots}.{epoch}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClipName {
    /// The camera.
    pub camera: CameraId,
    /// Its session.
    pub session: SessionId,
    /// Position in the session.
    pub seq: u64,
    /// Slots in the clip's interval.
    pub slots: u64,
    /// Noise epoch.
    pub epoch: u64,
}

impl ClipName {
    /// Reads a name; `None` for records of other kinds.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let ["clip", camera, session, seq, slots, epoch] = parts.as_slice() else { return None };
        Some(Self {
            camera: camera.parse().ok()?,
            session: session.parse().ok()?,
            seq: seq.parse().ok()?,
            slots: slots.parse().ok()?,
            epoch: epoch.parse().ok()?,
        })
    }
}

impl std::fmt::Display for ClipName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { camera, session, seq, slots, epoch } = self;
        write!(f, "clip.{camera}.{session}.{seq}.{slots}.{epoch}")
    }
}

/// The record of a noise key.
#[must_use]
pub fn noise(camera: &CameraId, epoch: u64) -> String {
    format!("noise.{camera}.{epoch}")
}

/// Reads the name of a noise key's record.
#[must_use]
pub fn parse_noise(text: &str) -> Option<(CameraId, u64)> {
    let (camera, epoch) = text.strip_prefix("noise.")?.split_once('.')?;
    Some((camera.parse().ok()?, epoch.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_they_were_written() {
        let text = "clip.cam-1.000102030405060708090a0b0c0d0e0f.7.2.123";
        assert_eq!(ClipName::parse(text).unwrap().to_string(), text);
        let camera: CameraId = "cam-1".parse().unwrap();
        assert_eq!(parse_noise(&noise(&camera, 9)), Some((camera, 9)));
        assert_eq!(ClipName::parse("noise.cam-1.9"), None);
        assert_eq!(parse_noise(text), None);
    }
}
