//! Owns the judgement of an offer before any byte of it is taken. Pure.

use std::collections::{BTreeMap, BTreeSet};

use proto::{
    CameraId, DeviceName, Identity,
    limits::{CLIP_BYTES_MAX, CLIP_NS_MAX, SLOTS_MAX},
    wire::Offer,
};

/// The cameras of each gateway: nobody else may offer their clips.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gateways(BTreeMap<DeviceName, BTreeSet<CameraId>>);

impl Gateways {
    /// Takes the table of a configuration; a camera belongs to one gateway only.
    ///
    /// # Errors
    /// One line for each camera that stands twice.
    pub fn new(table: BTreeMap<DeviceName, Vec<CameraId>>) -> Result<Self, Vec<String>> {
        let (mut owners, mut problems) = (BTreeMap::new(), Vec::new());
        for (gateway, camera) in table.iter().flat_map(|(g, all)| all.iter().map(move |c| (g, c))) {
            if let Some(other) = owners.insert(camera, gateway) {
                problems.push(format!("gateways: camera {camera} stands at {other} and {gateway}"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self(table.into_iter().map(|(g, cameras)| (g, cameras.into_iter().collect())).collect()))
    }

    /// Whether a camera is any gateway's.
    #[must_use]
    pub fn know(&self, camera: &CameraId) -> bool {
        self.0.values().any(|cameras| cameras.contains(camera))
    }

    fn owns(&self, gateway: &DeviceName, camera: &CameraId) -> bool {
        self.0.get(gateway).is_some_and(|cameras| cameras.contains(camera))
    }
}

/// Why an offer is refused for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The camera is not one of this gateway's.
    #[error("camera {0} is not one of this gateway's: see [gateways] of the configuration")]
    Camera(CameraId),
    /// No clip has this length.
    #[error("{0} bytes are outside 1 to {CLIP_BYTES_MAX}")]
    Length(u64),
    /// No clip covers this stretch.
    #[error("interval of {length_ns} ns from {start_ns} ns is outside 1 to {CLIP_NS_MAX} ns")]
    Interval {
        /// Where it starts.
        start_ns: i64,
        /// How long it is.
        length_ns: i64,
    },
    /// No sampling interval, or one with too many slots in the clip.
    #[error("a slot each {every_ns} ns is {slots} slots, the limit is {SLOTS_MAX}")]
    Slots {
        /// The sampling interval.
        every_ns: i64,
        /// How many slots that makes.
        slots: u64,
    },
    /// Attempts count from 1.
    #[error("attempt 0 does not exist")]
    Attempt,
}

/// Whether this gateway may offer this clip, and whether it is one that a worker can hold. That the site is the
/// peer's is checked by `link`.
///
/// # Errors
/// What is wrong with it; the same offer will be wrong again.
pub fn judge(offer: &Offer, from: &Identity, gateways: &Gateways) -> Result<(), Wrong> {
    let camera = &offer.clip.camera;
    if !gateways.owns(&from.name, camera) {
        return Err(Wrong::Camera(camera.clone()));
    }
    if !(1..=CLIP_BYTES_MAX).contains(&offer.length) {
        return Err(Wrong::Length(offer.length));
    }
    let (start_ns, length_ns) = (offer.interval.start_ns, offer.interval.length_ns());
    if start_ns < 0 || !(1..=CLIP_NS_MAX).contains(&length_ns) {
        return Err(Wrong::Interval { start_ns, length_ns });
    }
    let slots = offer.interval.slots(offer.every_ns);
    let slots = slots.end.saturating_sub(slots.start);
    if offer.every_ns <= 0 || slots > SLOTS_MAX as u64 {
        return Err(Wrong::Slots { every_ns: offer.every_ns, slots });
    }
    if offer.attempt == 0 { Err(Wrong::Attempt) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proto::{Clock, Digest, Interval, UtcTime, time::ClockSource, wire::NoiseKey};

    use super::*;

    fn offer() -> Offer {
        Offer {
            clip: "town/cam-1/000102030405060708090a0b0c0d0e0f/1".parse().unwrap(),
            digest: Digest::of(b"clip"),
            length: 1000,
            attempt: 1,
            noise_key: NoiseKey([9; 32]),
            noise_epoch: 2,
            interval: Interval { start_ns: 0, end_ns: CLIP_NS_MAX },
            every_ns: 1_000_000_000,
            captured_at: UtcTime::EPOCH,
            clock: Clock { source: ClockSource::File, uncertainty_ms: None },
        }
    }

    fn gateways(table: &[(&str, &[&str])]) -> Result<Gateways, Vec<String>> {
        let parsed = table.iter().map(|(gateway, cameras)| {
            let cameras = cameras.iter().map(|camera| camera.parse().unwrap()).collect();
            (gateway.parse().unwrap(), cameras)
        });
        Gateways::new(parsed.collect())
    }

    fn check(spoil: impl FnOnce(&mut Offer), expected: Option<fn(&Wrong) -> bool>) {
        let mut offer = offer();
        spoil(&mut offer);
        let from = "celosia://town/edge/gw-1".parse().unwrap();
        let table = gateways(&[("gw-1", &["cam-1"]), ("gw-2", &["cam-2"])]).unwrap();
        let judged = judge(&offer, &from, &table);
        match expected {
            None => assert_eq!(judged, Ok(())),
            Some(expected) => assert!(judged.as_ref().is_err_and(expected), "{judged:?}"),
        }
    }

    #[test]
    fn a_gateway_offers_its_own_cameras_only() {
        check(|_| {}, None);
        for other in ["cam-2", "cam-3"] {
            let spoil = |o: &mut Offer| o.clip.camera = other.parse().unwrap();
            check(spoil, Some(|wrong| matches!(wrong, Wrong::Camera(_))));
        }
    }

    #[test]
    fn numbers_that_no_clip_has_are_refused() {
        let length: fn(&Wrong) -> bool = |wrong| matches!(wrong, Wrong::Length(_));
        check(|o| o.length = 0, Some(length));
        check(|o| o.length = CLIP_BYTES_MAX + 1, Some(length));
        let interval: fn(&Wrong) -> bool = |wrong| matches!(wrong, Wrong::Interval { .. });
        check(|o| o.interval.end_ns = CLIP_NS_MAX + 1, Some(interval));
        check(|o| o.interval.end_ns = 0, Some(interval));
        check(|o| o.interval = Interval { start_ns: -1, end_ns: 5 }, Some(interval));
        check(|o| o.interval = Interval { start_ns: i64::MIN, end_ns: i64::MAX }, Some(interval));
        let slots: fn(&Wrong) -> bool = |wrong| matches!(wrong, Wrong::Slots { .. });
        check(|o| o.every_ns = 0, Some(slots));
        check(|o| o.every_ns = -5, Some(slots));
        check(|o| o.every_ns = 1, Some(slots));
        check(|o| o.attempt = 0, Some(|wrong| matches!(wrong, Wrong::Attempt)));
    }

    #[test]
    fn a_clip_without_a_slot_is_a_clip() {
        check(|o| o.interval = Interval { start_ns: 1, end_ns: 2 }, None);
    }

    #[test]
    fn a_camera_belongs_to_one_gateway() {
        let problems = gateways(&[("a", &["x", "y"]), ("b", &["y"])]).unwrap_err();
        assert_eq!(problems, ["gateways: camera y stands at a and b"]);
    }
}
