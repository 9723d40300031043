//! Owns commands: read, checked, applied once. Pure: takes bytes and `now`.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use proto::{
    CameraId, UtcTime,
    control::{Action, Command, Reply, SCHEMA},
};

use crate::schedule::{Plan, Schedule};

/// Commands whose ids are remembered; a sender repeats within seconds, and a person sends a few in a minute.
const REMEMBERED_MAX: usize = 256;
/// Longest id of a command.
const ID_CHARS_MAX: usize = 64;

/// A camera as commands see it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is told to do.
    pub plan: Plan,
    /// Length of its clips: `capture now` records one.
    pub clip: Duration,
    /// A file that is read once has no schedule.
    pub run_once: bool,
}

/// The commands that were applied.
#[derive(Debug, Default)]
pub struct Commands {
    answered: VecDeque<Reply>,
}

impl Commands {
    /// Takes a payload; gives the answer, and the camera's new plan when there is one. `None`: not even an id.
    pub fn take(
        &mut self,
        payload: &[u8],
        targets: &BTreeMap<CameraId, Target>,
        utc: UtcTime,
        now: Duration,
    ) -> Option<(Reply, Option<(CameraId, Plan)>)> {
        let command: Command = match serde_json::from_slice(payload) {
            Ok(command) => command,
            Err(error) => {
                let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
                let id = value.get("id")?.as_str()?.chars().take(ID_CHARS_MAX).collect();
                return Some((refused(id, format!("not a command: {error}")), None));
            }
        };
        let id = command.id.clone();
        if id.is_empty() || id.chars().count() > ID_CHARS_MAX {
            let cut = id.chars().take(ID_CHARS_MAX).collect();
            return Some((refused(cut, format!("id: use 1 to {ID_CHARS_MAX} characters")), None));
        }
        if let Some(before) = self.answered.iter().find(|reply| reply.id == id) {
            return Some((before.clone(), None));
        }
        let (reply, plan) = match decide(&command, targets, utc, now) {
            Ok(plan) => {
                let reply = Reply { schema: SCHEMA, id, applied: true, reason: None };
                (reply, Some((command.camera, plan)))
            }
            Err(reason) => (refused(id, reason), None),
        };
        if self.answered.len() >= REMEMBERED_MAX {
            self.answered.pop_front();
        }
        self.answered.push_back(reply.clone());
        Some((reply, plan))
    }
}

const fn refused(id: String, reason: String) -> Reply {
    Reply { schema: SCHEMA, id, applied: false, reason: Some(reason) }
}

fn decide(
    command: &Command,
    targets: &BTreeMap<CameraId, Target>,
    utc: UtcTime,
    now: Duration,
) -> Result<Plan, String> {
    if command.schema != SCHEMA {
        return Err(format!("schema {} is not {SCHEMA}", command.schema));
    }
    if command.expires_at <= utc {
        return Err(format!("expired at {}; it is {utc}", command.expires_at));
    }
    let target = targets.get(&command.camera);
    let target = target.ok_or_else(|| format!("camera {} is not here", command.camera))?;
    let plan = target.plan;
    match command.action {
        Action::Start => Ok(Plan { started: true, ..plan }),
        Action::Stop => Ok(Plan { started: false, now_until: None, ..plan }),
        _ if target.run_once => Err("a file that is read once has no schedule".to_owned()),
        Action::CaptureNow => Ok(Plan { now_until: Some(now + target.clip), ..plan }),
        Action::SetSchedule { record_s, each_s } => {
            let [record, each] = [record_s, each_s].map(|s| Duration::from_secs(s.into()));
            Ok(Plan { schedule: Schedule::periodic(record, each)?, ..plan })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> BTreeMap<CameraId, Target> {
        let plan = Plan { schedule: Schedule::Continuous, started: true, now_until: None };
        let target = Target { plan, clip: Duration::from_secs(10), run_once: false };
        BTreeMap::from([("cam-1".parse().unwrap(), target)])
    }

    fn json(id: &str, rest: &str) -> Vec<u8> {
        format!(
            r#"{{"schema":1,"id":"{id}","expires_at":"2026-11-24T12:00:00Z","camera":"cam-1",{rest}}}"#
        )
        .into_bytes()
    }

    fn take(
        commands: &mut Commands,
        payload: &[u8],
        utc: &str,
    ) -> Option<(Reply, Option<(CameraId, Plan)>)> {
        commands.take(payload, &targets(), utc.parse().unwrap(), Duration::from_secs(100))
    }

    const IN_TIME: &str = "2026-11-24T11:59:00Z";

    #[test]
    fn a_command_is_applied_once_and_answered_each_time() {
        let mut commands = Commands::default();
        let stop = json("a", r#""action":"stop""#);
        let (reply, plan) = take(&mut commands, &stop, IN_TIME).unwrap();
        assert!(reply.applied && !plan.unwrap().1.started);
        let (again, plan) = take(&mut commands, &stop, IN_TIME).unwrap();
        assert_eq!((again, plan), (reply, None));
    }

    #[test]
    fn each_action_makes_its_plan() {
        let mut commands = Commands::default();
        let now = json("a", r#""action":"capture_now""#);
        let plan = take(&mut commands, &now, IN_TIME).unwrap().1.unwrap().1;
        assert_eq!(plan.now_until, Some(Duration::from_secs(110)));
        let set = json("b", r#""action":"set_schedule","record_s":10,"each_s":60"#);
        let plan = take(&mut commands, &set, IN_TIME).unwrap().1.unwrap().1;
        assert!(matches!(plan.schedule, Schedule::Periodic { .. }));
    }

    #[test]
    fn what_cannot_be_applied_is_answered_with_the_reason() {
        let mut commands = Commands::default();
        let stop = json("late", r#""action":"stop""#);
        let later = String::from_utf8(json("d", r#""action":"stop""#)).unwrap();
        let later = later.replace(r#""schema":1"#, r#""schema":2"#);
        let cases = [
            (take(&mut commands, later.as_bytes(), IN_TIME), "schema 2 is not 1"),
            (take(&mut commands, &stop, "2026-11-24T12:00:00Z"), "expired"),
            (take(&mut commands, &json("b", r#""action":"reboot""#), IN_TIME), "not a command"),
            (
                take(
                    &mut commands,
                    &json("c", r#""action":"set_schedule","record_s":0,"each_s":60"#),
                    IN_TIME,
                ),
                "a schedule records",
            ),
        ];
        for (answer, part) in cases {
            let (reply, plan) = answer.unwrap();
            assert!(!reply.applied && plan.is_none());
            assert!(reply.reason.clone().unwrap().contains(part), "{reply:?}");
        }
        assert!(take(&mut commands, b"\xff not json", IN_TIME).is_none());
    }
}
