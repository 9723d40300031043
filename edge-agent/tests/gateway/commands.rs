//! Commands over a real broker: each is answered, and the camera does it.

use std::{collections::BTreeMap, time::Duration};

use base::{Clock, Shutdown, SystemClock};
use edge_agent::{
    config::Config,
    service::{self, End},
};
use link::{Bus, mqtt::Message, testing::TestBroker};
use proto::{
    CameraId, Identity, Role, UtcTime,
    control::{Action, CameraState, Command, DeviceStatus, Reply, SCHEMA},
    topic,
};
use tokio::sync::mpsc::Receiver;

use crate::world::{Mood, World, video};

/// Whoever gives commands.
struct Commander {
    bus: Bus,
    gateway: Identity,
    replies: Receiver<Message>,
    statuses: Receiver<Message>,
    sent: u32,
}

impl Commander {
    fn new(bus: Bus, gateway: Identity) -> Self {
        let replies = bus.subscribe(&topic::reply(&gateway)).unwrap();
        let statuses = bus.subscribe(&topic::status(&gateway)).unwrap();
        Self { bus, gateway, replies, statuses, sent: 0 }
    }

    /// Sends a command and gives its answer.
    async fn command(&mut self, camera: &CameraId, action: Action) -> Reply {
        self.sent += 1;
        let now = UtcTime::from_micros(SystemClock::default().utc_micros()).unwrap();
        let (id, expires_at) = (format!("c-{}", self.sent), now.plus_ns(60_000_000_000));
        let camera = camera.clone();
        let command = Command { schema: SCHEMA, id: id.clone(), expires_at, camera, action };
        self.bus.publish(&topic::command(&self.gateway), &command).unwrap();
        let next = tokio::time::timeout(Duration::from_secs(60), self.replies.recv()).await;
        let reply: Reply = serde_json::from_slice(&next.unwrap().unwrap().payload).unwrap();
        assert_eq!(reply.id, id);
        reply
    }

    /// The next status in which the camera does this.
    async fn until(&mut self, camera: &CameraId, state: CameraState) -> DeviceStatus {
        loop {
            let status = World::next_status(&mut self.statuses).await;
            if status.cameras.get(camera).is_some_and(|camera| camera.state == state) {
                return status;
            }
        }
    }
}

#[tokio::test]
async fn a_camera_starts_stops_captures_now_and_keeps_a_schedule_as_it_is_told() {
    let mut world = World::start(Mood::Takes).await;
    let Some(broker) = TestBroker::start(&world.site) else { return };
    video(&world.folder.path().join("video.mkv"), 1);
    let port = broker.port();
    let cameras = "[[camera]]\nid = 'door'\nsource = 'test:black'\nclip = '1s'\nevery = '1s'\n\
        [[camera]]\nid = 'timed'\nsource = 'test:black'\nclip = '1s'\nevery = '1s'\n\
        schedule = { record = '2s', each = '5s' }\n\
        [[camera]]\nid = 'archive'\nsource = 'video.mkv'\n";
    let path = world.config(&format!("broker = {{ host = 'localhost', port = {port} }}"), cameras);
    let [door, timed, archive]: [CameraId; 3] =
        ["door", "timed", "archive"].map(|id| id.parse().unwrap());
    let (stop, shutdown) = (Shutdown::default(), Shutdown::default());
    let bus = world.console("one", port, &stop);
    let mut commander = Commander::new(bus, world.site.identity(Role::Edge, "gw"));

    let story = async {
        commander.until(&door, CameraState::Recording).await;
        assert!(commander.command(&door, Action::Stop).await.applied);
        commander.until(&door, CameraState::Paused).await;
        drain(&mut world).await;

        assert!(commander.command(&door, Action::CaptureNow).await.applied);
        let sessions = sessions_of(&mut world, &door, 1).await;
        assert_eq!(sessions.len(), 1, "one stretch: {sessions:?}");
        commander.until(&door, CameraState::Paused).await;

        assert!(commander.command(&door, Action::Start).await.applied);
        commander.until(&door, CameraState::Recording).await;
        let rarely = Action::SetSchedule { record_s: 1, each_s: 3600 };
        assert!(commander.command(&door, rarely).await.applied);
        commander.until(&door, CameraState::Paused).await;
        let always = Action::SetSchedule { record_s: 60, each_s: 60 };
        assert!(commander.command(&door, always).await.applied);
        commander.until(&door, CameraState::Recording).await;

        // What makes no sense is answered, with the reason.
        let never = Action::SetSchedule { record_s: 0, each_s: 60 };
        for (camera, action) in [(&door, never), (&archive, Action::CaptureNow)] {
            let reply = commander.command(camera, action).await;
            assert!(!reply.applied && reply.reason.is_some(), "{reply:?}");
        }

        // Two stretches of the schedule in the configuration: 2 s each 5 s.
        let begins = sessions_of(&mut world, &timed, 2).await;
        let [first, second] = begins.as_slice() else { panic!("{begins:?}") };
        let apart = second.micros() - first.micros();
        // A stretch begins up to its 2 s late on a busy machine, or is missed; never does one follow another at once.
        assert!((3_000_000..30_000_000).contains(&apart), "{apart} us apart");
        let status = commander.until(&timed, CameraState::Paused).await;
        assert_eq!(status.cameras[&timed].ledger.gaps, 0, "waiting is no gap");
        shutdown.request();
    };
    let running = service::run(Config::load(&path).unwrap(), shutdown.clone());
    let (end, ()) = tokio::join!(running, story);
    assert_eq!(end.unwrap(), End::Done);
}

/// Forgets the clips that came so far.
async fn drain(world: &mut World) {
    while tokio::time::timeout(Duration::from_millis(500), world.next()).await.is_ok() {}
}

/// When the next sessions of a camera began, by their first clips.
async fn sessions_of(world: &mut World, camera: &CameraId, count: usize) -> Vec<UtcTime> {
    let mut begins = BTreeMap::new();
    while begins.len() < count {
        let (offer, _) = world.next_clip().await;
        if offer.clip.camera == *camera && offer.clip.seq == 0 {
            begins.insert(offer.clip.session.to_string(), offer.captured_at);
        }
    }
    let mut begins: Vec<UtcTime> = begins.into_values().collect();
    begins.sort();
    begins
}
