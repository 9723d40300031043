//! Owns what the bus says: the last status of every process, how old it is, and whether the broker is there at all.
//! Pure: takes messages and `now`.

use std::{collections::BTreeMap, time::Duration};

use proto::{
    CameraId, Identity, UtcTime,
    control::{CameraStatus, DeviceStatus, Presence, SCHEMA},
    topic,
    watch::CameraWatch,
};

/// Processes that are remembered: a site has a handful of gateways and fog nodes; more are refused and counted.
const DEVICES_MAX: usize = 512;
/// A status that is older is shown as stale: processes say theirs every few seconds.
pub const STALE: Duration = Duration::from_secs(30);
/// How often the console says its own status, which it hears again through the broker.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// Without hearing itself for this long, it takes the broker for away.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Why a message is no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotStatus {
    /// Not the JSON of a status.
    #[error("not a status: {0}")]
    Json(String),
    /// Of another version.
    #[error("schema {0} is not {SCHEMA}: upgrade the reader")]
    Schema(u16),
    /// It speaks for somebody else.
    #[error("a status of {0} at another's topic")]
    Topic(String),
    /// Too many processes.
    #[error("over {DEVICES_MAX} processes")]
    Full,
}

/// A process as it was last heard.
#[derive(Debug, Clone)]
struct Device {
    status: DeviceStatus,
    /// Its cameras when it last named them: a last will names none.
    cameras: BTreeMap<CameraId, CameraStatus>,
    heard: Duration,
    /// How old the message was when it was heard.
    age: Duration,
}

/// Whether the broker is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// None is configured.
    None,
    /// It carries our messages.
    There,
    /// It does not.
    Away,
}

/// A camera as its gateway last told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveCamera {
    /// Its gateway.
    pub gateway: Identity,
    /// Whether the gateway is there.
    pub presence: Presence,
    /// What it told.
    pub status: CameraStatus,
    /// How old that is.
    pub age: Duration,
}

/// A process as it was last heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveDevice {
    /// Which.
    pub identity: Identity,
    /// Whether it is there.
    pub presence: Presence,
    /// How old that is.
    pub age: Duration,
    /// Version of its software.
    pub software: String,
}

/// Everything heard.
#[derive(Debug)]
pub struct Board {
    own: Option<Identity>,
    devices: BTreeMap<String, Device>,
    /// When we began to listen, and when we last heard ourselves.
    began: Duration,
    echo: Option<Duration>,
}

impl Board {
    /// Hears nothing: for a console without a broker.
    #[must_use]
    pub const fn without_broker() -> Self {
        Self { own: None, devices: BTreeMap::new(), began: Duration::ZERO, echo: None }
    }

    /// Hears processes; `own` is the console's identity.
    #[must_use]
    pub const fn new(own: Identity, now: Duration) -> Self {
        Self { own: Some(own), devices: BTreeMap::new(), began: now, echo: None }
    }

    /// Takes a status. `retained` says that it was said before and kept by the broker.
    ///
    /// # Errors
    /// When it is none.
    pub fn hear(
        &mut self,
        at: &str,
        payload: &[u8],
        retained: bool,
        now: Duration,
        utc: UtcTime,
    ) -> Result<(), NotStatus> {
        let status: DeviceStatus =
            serde_json::from_slice(payload).map_err(|e| NotStatus::Json(e.to_string()))?;
        if status.schema != SCHEMA {
            return Err(NotStatus::Schema(status.schema));
        }
        if topic::status(&status.identity) != at {
            return Err(NotStatus::Topic(status.identity.to_string()));
        }
        if self.own.as_ref() == Some(&status.identity) {
            // What the broker kept from an earlier run does not show that it is there now.
            if !retained {
                self.echo = Some(now);
            }
            return Ok(());
        }
        let device = status.identity.device();
        if self.devices.len() >= DEVICES_MAX && !self.devices.contains_key(&device) {
            return Err(NotStatus::Full);
        }
        let said = status.at.filter(|_| retained);
        let age = said.map_or(Duration::ZERO, |said| {
            let micros = utc.micros().saturating_sub(said.micros());
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        });
        let known = self.devices.get(&device).map(|known| known.cameras.clone());
        let gone = status.presence == Presence::Offline && status.cameras.is_empty();
        let cameras = if gone { known.unwrap_or_default() } else { status.cameras.clone() };
        self.devices.insert(device, Device { status, cameras, heard: now, age });
        Ok(())
    }

    /// Every camera that a gateway told of. Two gateways with one camera: the one heard last.
    #[must_use]
    pub fn cameras(&self, now: Duration) -> BTreeMap<CameraId, LiveCamera> {
        let mut cameras: BTreeMap<CameraId, LiveCamera> = BTreeMap::new();
        for device in self.devices.values() {
            let age = device.age_at(now);
            for (id, status) in &device.cameras {
                if cameras.get(id).is_some_and(|other| other.age <= age) {
                    continue;
                }
                let camera = LiveCamera {
                    gateway: device.status.identity.clone(),
                    presence: device.status.presence,
                    status: status.clone(),
                    age,
                };
                cameras.insert(id.clone(), camera);
            }
        }
        cameras
    }

    /// How the detector does on each camera. Of several fog nodes with one camera the worst is told.
    #[must_use]
    pub fn watched(&self) -> BTreeMap<CameraId, CameraWatch> {
        let mut watched: BTreeMap<CameraId, CameraWatch> = BTreeMap::new();
        for (id, watch) in self.devices.values().flat_map(|device| &device.status.watched) {
            let worse = |known: &CameraWatch| badness(watch) > badness(known);
            if watched.get(id).is_none_or(worse) {
                watched.insert(id.clone(), watch.clone());
            }
        }
        watched
    }

    /// Every process, by name.
    #[must_use]
    pub fn devices(&self, now: Duration) -> Vec<LiveDevice> {
        let shown = |device: &Device| LiveDevice {
            identity: device.status.identity.clone(),
            presence: device.status.presence,
            age: device.age_at(now),
            software: device.status.software.clone(),
        };
        self.devices.values().map(shown).collect()
    }

    /// Whether the broker is there.
    #[must_use]
    pub fn broker(&self, now: Duration) -> Broker {
        if self.own.is_none() {
            return Broker::None;
        }
        let silent = now.saturating_sub(self.echo.unwrap_or(self.began));
        if silent > SILENCE_MAX { Broker::Away } else { Broker::There }
    }
}

/// Drifting sizes, a silence that is strange, frames that were doubted, hours that are not watched: in this order.
fn badness(watch: &CameraWatch) -> (usize, bool, u64, u32) {
    let drifting = watch.canary_recall.values().filter(|size| size.drifting).count();
    let low = watch.canary_recall.values().map(|size| u32::from(size.low_hours)).sum();
    (drifting, watch.fell_silent, watch.doubted, low)
}

impl Device {
    fn age_at(&self, now: Duration) -> Duration {
        self.age + now.saturating_sub(self.heard)
    }
}

#[cfg(test)]
mod tests {
    use proto::{control::CameraState, ledger::Ledger};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn own() -> Identity {
        "celosia://town/console/console".parse().unwrap()
    }

    fn status(identity: &str, presence: Presence, cameras: &[&str]) -> DeviceStatus {
        let camera =
            CameraStatus { state: CameraState::Recording, reason: None, ledger: Ledger::default() };
        DeviceStatus {
            schema: SCHEMA,
            identity: identity.parse().unwrap(),
            presence,
            at: Some(UtcTime::EPOCH),
            software: "0.1.0".into(),
            cameras: cameras.iter().map(|id| (id.parse().unwrap(), camera.clone())).collect(),
            counters: BTreeMap::new(),
            watched: BTreeMap::new(),
        }
    }

    fn hear(board: &mut Board, status: &DeviceStatus, retained: bool, second: u32) {
        let json = serde_json::to_vec(status).unwrap();
        let utc = UtcTime::EPOCH.plus_ns(i64::from(second) * 1_000_000_000);
        let at = topic::status(&status.identity);
        board.hear(&at, &json, retained, SECOND * second, utc).unwrap();
    }

    #[test]
    fn a_camera_ages_and_stays_known_when_its_gateway_goes() {
        let mut board = Board::new(own(), Duration::ZERO);
        hear(&mut board, &status("celosia://town/edge/gw", Presence::Online, &["door"]), false, 5);
        let camera = &board.cameras(SECOND * 8)[&"door".parse().unwrap()];
        assert_eq!((camera.presence, camera.age), (Presence::Online, SECOND * 3));
        let mut gone = status("celosia://town/edge/gw", Presence::Offline, &[]);
        gone.at = None;
        hear(&mut board, &gone, false, 10);
        let camera = &board.cameras(SECOND * 11)[&"door".parse().unwrap()];
        assert_eq!((camera.presence, camera.age), (Presence::Offline, SECOND));
        assert_eq!(camera.status.state, CameraState::Recording);
    }

    #[test]
    fn what_the_broker_kept_is_as_old_as_it_says() {
        let mut board = Board::new(own(), Duration::ZERO);
        hear(&mut board, &status("celosia://town/edge/gw", Presence::Online, &["door"]), true, 90);
        assert_eq!(board.devices(SECOND * 91)[0].age, SECOND * 91);
    }

    #[test]
    fn the_broker_is_there_while_we_hear_ourselves() {
        assert_eq!(Board::without_broker().broker(SECOND), Broker::None);
        let mut board = Board::new(own(), Duration::ZERO);
        assert_eq!(board.broker(SECOND), Broker::There);
        assert_eq!(board.broker(SECOND * 21), Broker::Away);
        let me = status("celosia://town/console/console", Presence::Online, &[]);
        hear(&mut board, &me, true, 22);
        assert_eq!(board.broker(SECOND * 22), Broker::Away, "kept from an earlier run");
        hear(&mut board, &me, false, 22);
        assert_eq!(board.broker(SECOND * 30), Broker::There);
        assert_eq!(board.broker(SECOND * 43), Broker::Away);
        assert!(board.devices(SECOND).is_empty(), "we do not list ourselves");
    }

    #[test]
    fn who_speaks_for_another_or_says_nonsense_is_not_heard() {
        let mut board = Board::new(own(), Duration::ZERO);
        let forged = status("celosia://town/edge/gw", Presence::Offline, &[]);
        let json = serde_json::to_vec(&forged).unwrap();
        let other = "celosia/v1/town/edge-other/status";
        let heard = board.hear(other, &json, false, SECOND, UtcTime::EPOCH);
        assert!(matches!(heard, Err(NotStatus::Topic(_))));
        let heard = board.hear(other, b"\xff", false, SECOND, UtcTime::EPOCH);
        assert!(matches!(heard, Err(NotStatus::Json(_))));
        assert!(board.devices(SECOND).is_empty());
    }
}
