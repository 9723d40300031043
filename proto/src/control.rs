//! Owns MQTT payloads: JSON with a schema version, so that others can read them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    CameraId, FrameId, Identity, UtcTime, ledger::Ledger, result::FrameResult, watch::CameraWatch,
};

/// Version of all payloads here.
pub const SCHEMA: u16 = 1;

/// Whether a process is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Connected and serving.
    Online,
    /// Stopped, or gone: also the last will.
    Offline,
}

/// What a camera does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CameraState {
    /// Pictures arrive and are kept.
    Recording,
    /// Told to stop, or between two stretches of its schedule.
    Paused,
    /// The source is away; it is tried again.
    Reconnecting,
    /// A file that was read to its end.
    Finished,
    /// The source cannot be used; a person must act.
    Failed,
}

/// A camera in the status of its gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraStatus {
    /// What it does.
    pub state: CameraState,
    /// One line on why, when it is not recording.
    pub reason: Option<String>,
    /// Slots accounted for since the gateway's spool was made.
    pub ledger: Ledger,
}

/// Retained status of any process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// [`SCHEMA`].
    pub schema: u16,
    /// Who says so.
    pub identity: Identity,
    /// Whether it is there.
    pub presence: Presence,
    /// When it said so; absent in a last will, which is written long before it is sent.
    pub at: Option<UtcTime>,
    /// Version of its software.
    pub software: String,
    /// Its cameras; empty for everything but a gateway.
    #[serde(default)]
    pub cameras: BTreeMap<CameraId, CameraStatus>,
    /// Its counters by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// How the detector does on each camera; empty for everything but a fog node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub watched: BTreeMap<CameraId, CameraWatch>,
}

/// What a gateway is told to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Record.
    Start,
    /// Pause; what is captured stays.
    Stop,
    /// Record one clip now, whatever the schedule.
    CaptureNow,
    /// Record for a while in each period, or always when both are equal.
    SetSchedule {
        /// Seconds of recording in each period.
        record_s: u32,
        /// Length of the period in seconds.
        each_s: u32,
    },
}

/// A command. Applied once by id, never after it has expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// [`SCHEMA`].
    pub schema: u16,
    /// Drawn by the sender; 1 to 64 characters.
    pub id: String,
    /// After this instant the command is answered and not applied.
    pub expires_at: UtcTime,
    /// The camera.
    pub camera: CameraId,
    /// What to do.
    #[serde(flatten)]
    pub action: Action,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// [`SCHEMA`].
    pub schema: u16,
    /// Id of the command.
    pub id: String,
    /// Whether it was applied (also when it had been before).
    pub applied: bool,
    /// One line on why not.
    pub reason: Option<String>,
}

/// Retained address of a fog node; edges choose among these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FogEndpoint {
    /// [`SCHEMA`].
    pub schema: u16,
    /// Host and UDP port.
    pub address: String,
    /// Whether it takes clips.
    pub presence: Presence,
    /// Clip bytes for which it would give credit now.
    pub free_bytes: u64,
}

/// That a frame has its result, as it arrives. A hint: who misses it finds the result in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultNotice {
    /// [`SCHEMA`].
    pub schema: u16,
    /// The frame.
    pub frame: FrameId,
    /// Key of the frame's object.
    pub image: String,
    /// When it was captured.
    pub captured_at: UtcTime,
    /// Counted faces with a mask.
    pub mask: u32,
    /// Counted faces without.
    pub no_mask: u32,
    /// Counted faces with a mask worn incorrectly.
    pub incorrect: u32,
    /// Counted faces too small to say.
    pub uncertain: u32,
}

impl ResultNotice {
    /// The notice of a result.
    #[must_use]
    pub fn of(result: &FrameResult) -> Self {
        Self {
            schema: SCHEMA,
            frame: result.frame.clone(),
            image: result.image.clone(),
            captured_at: result.captured_at,
            mask: result.mask,
            no_mask: result.no_mask,
            incorrect: result.incorrect,
            uncertain: result.uncertain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_as_documented() {
        let json = r#"{"schema":1,"id":"a1","expires_at":"2026-11-24T12:00:00Z","camera":"cam-1",
            "action":"set_schedule","record_s":10,"each_s":60}"#;
        let command: Command = serde_json::from_str(json).unwrap();
        assert_eq!(command.action, Action::SetSchedule { record_s: 10, each_s: 60 });
        let json = r#"{"schema":1,"id":"a1","expires_at":"2026-11-24T12:00:00Z","camera":"cam-1","action":"reboot"}"#;
        assert!(serde_json::from_str::<Command>(json).is_err());
    }
}
