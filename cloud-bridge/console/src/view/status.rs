//! Owns what is said of a camera's state, and what is told above everything else when a part is away.

use proto::control::{CameraState, Presence};

use super::{page::Notice, tile::Chip};
use crate::{
    live::{Broker, LiveCamera, STALE},
    pictures::Sight,
    texts::Texts,
};

/// The state of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusView {
    pub(crate) chip: Chip,
    /// How old that is; absent when nothing was heard.
    pub(crate) age: Option<String>,
    /// Whether it is so old that it may no longer hold.
    pub(crate) stale: bool,
    pub(crate) gateway: Option<String>,
    /// Why it is not recording.
    pub(crate) reason: Option<String>,
}

pub(crate) fn of_camera(t: &'static Texts, live: Option<&LiveCamera>) -> StatusView {
    let Some(live) = live else {
        let chip = Chip { class: "unknown", text: t.not_heard().to_owned() };
        return StatusView { chip, age: None, stale: false, gateway: None, reason: None };
    };
    let state = live.status.state;
    let offline = live.presence == Presence::Offline && state != CameraState::Finished;
    let chip = if offline {
        Chip { class: "bad", text: t.gateway_offline().to_owned() }
    } else {
        let class = match state {
            CameraState::Recording => "good",
            CameraState::Paused | CameraState::Finished => "quiet",
            CameraState::Reconnecting => "waiting",
            CameraState::Failed => "bad",
        };
        Chip { class, text: t.of_camera(state).to_owned() }
    };
    StatusView {
        chip,
        age: Some(t.ago(live.age)),
        stale: live.age > STALE && live.presence == Presence::Online,
        gateway: Some(live.gateway.name.to_string()),
        reason: live.status.reason.clone(),
    }
}

/// What must be told before anything else is believed.
pub(crate) fn notices(t: &'static Texts, broker: Broker, sight: &Sight) -> Vec<Notice> {
    let mut notices = Vec::new();
    match broker {
        Broker::There => {}
        Broker::Away => notices.push(Notice { text: t.broker_away.to_owned(), detail: None }),
        Broker::None => notices.push(Notice { text: t.broker_none.to_owned(), detail: None }),
    }
    if let Sight::Away(why) = sight {
        notices.push(Notice { text: t.store_away.to_owned(), detail: Some(why.clone()) });
    }
    notices
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{control::CameraStatus, ledger::Ledger};

    use super::*;
    use crate::texts::EN;

    fn live(state: CameraState, presence: Presence, age_s: u64) -> LiveCamera {
        LiveCamera {
            gateway: "celosia://town/edge/gw".parse().unwrap(),
            presence,
            status: CameraStatus { state, reason: None, ledger: Ledger::default() },
            age: Duration::from_secs(age_s),
        }
    }

    #[test]
    fn an_offline_gateway_hides_what_its_camera_did_last_and_an_old_status_is_marked() {
        let shown = |state, presence, age| of_camera(&EN, Some(&live(state, presence, age)));
        assert_eq!(shown(CameraState::Recording, Presence::Online, 1).chip.class, "good");
        assert_eq!(shown(CameraState::Recording, Presence::Offline, 1).chip.class, "bad");
        assert_eq!(shown(CameraState::Finished, Presence::Offline, 1).chip.class, "quiet");
        assert!(shown(CameraState::Recording, Presence::Online, 31).stale);
        assert!(!shown(CameraState::Recording, Presence::Online, 29).stale);
        assert_eq!(of_camera(&EN, None).chip.class, "unknown");
    }
}
