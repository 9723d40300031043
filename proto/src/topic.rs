//! Owns MQTT topics: `celosia/v1/{site}/{device}/...`, where a device is `{role}-{name}`.

use crate::{CameraId, Identity, SiteId};

/// Retained status of a process; the last will goes here.
#[must_use]
pub fn status(of: &Identity) -> String {
    format!("celosia/v1/{}/{}/status", of.site, of.device())
}

/// Commands to a process: QoS 1, never retained.
#[must_use]
pub fn command(to: &Identity) -> String {
    format!("celosia/v1/{}/{}/command", to.site, to.device())
}

/// Answers of a process to commands.
#[must_use]
pub fn reply(of: &Identity) -> String {
    format!("celosia/v1/{}/{}/reply", of.site, of.device())
}

/// Retained address and state of a fog node.
#[must_use]
pub fn endpoint(of: &Identity) -> String {
    format!("celosia/v1/{}/{}/endpoint", of.site, of.device())
}

/// Results of one camera, as they arrive.
#[must_use]
pub fn results(site: &SiteId, camera: &CameraId) -> String {
    format!("celosia/v1/{site}/results/{camera}")
}

/// Filter for the status of every process of a site.
#[must_use]
pub fn every_status(site: &SiteId) -> String {
    format!("celosia/v1/{site}/+/status")
}

/// Filter for the addresses of every fog node of a site.
#[must_use]
pub fn every_endpoint(site: &SiteId) -> String {
    format!("celosia/v1/{site}/+/endpoint")
}
