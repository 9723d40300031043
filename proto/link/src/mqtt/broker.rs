//! Owns the connection with the MQTT broker: mutual TLS, last will, reconnects, and what is sent again after each.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::Shutdown;
use proto::limits::PAYLOAD_BYTES_MAX;
use rumqttc::{
    TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, EventLoop, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{ConnectProperties, LastWill, Packet, Publish},
        },
    },
};
use tokio::sync::mpsc;

use super::{BusError, Carrier, Inboxes, Message, OUTBOX_MESSAGES_MAX, TOPICS_MAX};
use crate::tls::Credentials;

/// The broker finds out within one and a half of it that a process is gone, and publishes its last will.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long the broker keeps the session of a process that is away, in seconds: commands expire sooner.
const SESSION_S: u32 = 3600;
/// Messages under way without acknowledgement, in each direction.
const INFLIGHT_MAX: u16 = 64;
/// What a packet may have beyond its payload: topic and properties.
const PACKET_EXTRA_BYTES: u32 = 4096;
/// First and longest waits between tries to connect: a broker that restarts is back within seconds.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Requests on their way to the event loop: everything that [`Broker::restate`] may say at once.
const QUEUE_MAX: usize = OUTBOX_MESSAGES_MAX + 2 * TOPICS_MAX;
/// How long the last messages may take after shutdown was asked for.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often to look whether a service has said them.
const LAST_WORDS_TICK: Duration = Duration::from_millis(50);

/// Where the broker is, as configurations say it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerAddress {
    /// Host name or address, as in its certificate.
    pub host: String,
    /// TCP port, TLS.
    pub port: u16,
}

/// How to reach the broker.
#[derive(Debug, Clone)]
pub struct MqttConfig {
    /// DNS name of the broker, which its certificate must carry: `localhost` on one machine (not `127.0.0.1`).
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Our certificate; the broker takes the user name from its common name.
    pub credentials: Credentials,
    /// Unique among the broker's clients, and the same after a restart.
    pub client_id: String,
    /// Published by the broker when we are gone without a word.
    pub last_will: Option<Message>,
}

/// What the handle and the task share.
struct Broker {
    client: AsyncClient,
    shared: Mutex<Shared>,
    shutdown: Shutdown,
    will_topic: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    connected: bool,
    /// The newest retained document per topic; what is here and not on the broker is sent at the next connect.
    retained: BTreeMap<String, Message>,
    /// Other messages that were published without a connection.
    waiting: VecDeque<Message>,
    /// Messages that this connection has taken and the broker has not acknowledged.
    unacknowledged: usize,
    inboxes: Inboxes,
    /// After shutdown was asked for we said ourselves what the will would say.
    last_words: bool,
}

impl Shared {
    /// Remembers what must be said at the next connect.
    fn keep(&mut self, message: &Message) -> Result<(), BusError> {
        let full = |limit| BusError::Full { topic: message.topic.clone(), limit };
        if message.retain {
            let known = self.retained.contains_key(&message.topic);
            if !known && self.retained.len() >= TOPICS_MAX {
                return Err(full(TOPICS_MAX));
            }
            self.retained.insert(message.topic.clone(), message.clone());
        } else if !self.connected {
            if self.waiting.len() >= OUTBOX_MESSAGES_MAX {
                return Err(full(OUTBOX_MESSAGES_MAX));
            }
            self.waiting.push_back(message.clone());
        }
        Ok(())
    }
}

pub(super) fn start(config: MqttConfig, shutdown: &Shutdown) -> Result<Arc<dyn Carrier>, BusError> {
    let mut options = MqttOptions::new(config.client_id, config.host, config.port);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(SESSION_S);
    properties.receive_maximum = Some(INFLIGHT_MAX);
    let payload = u32::try_from(PAYLOAD_BYTES_MAX).unwrap_or(u32::MAX);
    properties.max_packet_size = Some(payload.saturating_add(PACKET_EXTRA_BYTES));
    options.set_connect_properties(properties);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_clean_start(false);
    options.set_outgoing_inflight_upper_limit(INFLIGHT_MAX);
    options.set_transport(transport(&config.credentials)?);
    if let Some(will) = &config.last_will {
        will.check()?;
        let payload = will.payload.clone();
        options.set_last_will(LastWill::new(
            &will.topic,
            payload,
            QoS::AtLeastOnce,
            will.retain,
            None,
        ));
    }
    let (client, events) = AsyncClient::new(options, QUEUE_MAX);
    let broker = Arc::new(Broker {
        client,
        shared: Mutex::new(Shared { last_words: config.last_will.is_none(), ..Shared::default() }),
        shutdown: shutdown.clone(),
        will_topic: config.last_will.map(|will| will.topic),
    });
    shutdown.spawn(run(broker.clone(), events, config.credentials));
    Ok(broker)
}

fn transport(credentials: &Credentials) -> Result<Transport, BusError> {
    let tls = Arc::new(credentials.client_config(&[])?);
    Ok(Transport::tls_with_config(TlsConfiguration::Rustls(tls)))
}

impl Broker {
    fn with<T>(&self, act: impl FnOnce(&mut Shared) -> T) -> T {
        act(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn queue(&self, message: Message) -> Result<(), BusError> {
        let Message { topic, payload, retain } = message;
        // Counted first: once it is queued its acknowledgement may come at any time.
        self.with(|shared| shared.unacknowledged += 1);
        let queued = self.client.try_publish(topic.as_str(), QoS::AtLeastOnce, retain, payload);
        queued.map_err(|_| {
            self.with(|shared| shared.unacknowledged = shared.unacknowledged.saturating_sub(1));
            BusError::Full { topic, limit: OUTBOX_MESSAGES_MAX }
        })
    }

    /// After each connect: filters, whatever the broker remembers, then retained documents, then what has waited. In
    /// this order, so that nobody misses the answer to a question.
    fn restate(&self) {
        let (filters, messages) = self.with(|shared| {
            shared.connected = true;
            shared.unacknowledged = 0;
            let retained = shared.retained.values().cloned();
            let messages: Vec<_> = retained.chain(shared.waiting.drain(..)).collect();
            (shared.inboxes.filters(), messages)
        });
        for filter in filters {
            if self.client.try_subscribe(filter.as_str(), QoS::AtLeastOnce).is_err() {
                tracing::error!(filter, "no room to subscribe again");
            }
        }
        for message in messages {
            if let Err(error) = self.queue(message) {
                tracing::error!(%error, "no room for a message that waited");
            }
        }
    }

    fn receive(&self, publish: &Publish) {
        let Ok(topic) = std::str::from_utf8(&publish.topic) else { return };
        if publish.payload.len() > PAYLOAD_BYTES_MAX {
            tracing::warn!(topic, "payload over its limit, dropped");
            return;
        }
        let (topic, payload) = (topic.to_owned(), publish.payload.to_vec());
        let message = Message { topic, payload, retain: publish.retain };
        self.with(|shared| shared.inboxes.deliver(&message));
    }
}

impl Carrier for Broker {
    fn publish(&self, message: Message) -> Result<(), BusError> {
        message.check()?;
        let is_will = self.will_topic.as_deref() == Some(message.topic.as_str());
        let is_last = is_will && self.shutdown.is_requested();
        let connected = self.with(|shared| shared.keep(&message).map(|()| shared.connected))?;
        if connected {
            self.queue(message)?;
        }
        // Only now: a goodbye that overtook them would leave neither last words nor a will.
        self.with(|shared| shared.last_words |= is_last);
        Ok(())
    }

    fn subscribe(&self, filter: &str) -> Result<mpsc::Receiver<Message>, BusError> {
        let (inbox, connected) =
            self.with(|shared| shared.inboxes.open(filter).map(|inbox| (inbox, shared.connected)))?;
        if connected && self.client.try_subscribe(filter, QoS::AtLeastOnce).is_err() {
            return Err(BusError::Full { topic: filter.to_owned(), limit: OUTBOX_MESSAGES_MAX });
        }
        Ok(inbox)
    }
}

async fn run(broker: Arc<Broker>, mut events: EventLoop, mut credentials: Credentials) {
    let shutdown = broker.shutdown.clone();
    let mut wait = FIRST_WAIT;
    loop {
        let event = tokio::select! {
            biased;
            () = shutdown.requested() => break,
            event = events.poll() => event,
        };
        match event {
            Ok(event) => {
                wait = FIRST_WAIT;
                on_event(&broker, event);
            }
            Err(error) => {
                broker.with(|shared| shared.connected = false);
                tracing::warn!(%error, "no connection with the broker, will try again");
                if !shutdown.sleep(wait).await {
                    break;
                }
                wait = (wait * 2).min(LONGEST_WAIT);
                refresh(&mut events, &mut credentials);
            }
        }
    }
    // Without an orderly end the broker publishes our last will, which is right when we did not say it ourselves.
    if tokio::time::timeout(LAST_WORDS, say_last_words(&broker, &mut events)).await.is_err() {
        tracing::debug!("the broker publishes the last will");
    }
    broker.with(|shared| shared.inboxes = Inboxes::default());
}

fn on_event(broker: &Broker, event: Event) {
    match event {
        Event::Incoming(Packet::ConnAck(_)) => {
            tracing::info!("connected with the broker");
            broker.restate();
        }
        Event::Incoming(Packet::Publish(publish)) => broker.receive(&publish),
        Event::Incoming(Packet::PubAck(_)) => broker.with(|shared| {
            // Saturating: what an earlier connection took is acknowledged to this one.
            shared.unacknowledged = shared.unacknowledged.saturating_sub(1);
        }),
        Event::Incoming(Packet::Disconnect(why)) => {
            tracing::warn!(reason = ?why.reason_code, "the broker ends the connection");
        }
        Event::Incoming(_) | Event::Outgoing(_) => {}
    }
}

/// Certificates may have been renewed while we were away.
fn refresh(events: &mut EventLoop, credentials: &mut Credentials) {
    let fresh = match credentials.reload() {
        Ok(None) => return,
        Ok(Some(fresh)) => fresh,
        Err(error) => {
            tracing::error!(%error, "credentials changed and cannot be used, the old ones stay");
            return;
        }
    };
    if let Ok(transport) = transport(&fresh) {
        events.options.set_transport(transport);
        *credentials = fresh;
    }
}

/// Sends what waits, and says goodbye once the service has published what the will would say and the broker has it.
/// Only the broker closes: one that fails to write an acknowledgement to a closed socket forgets the goodbye behind it
/// and publishes the will (Mosquitto before 2.0.22).
async fn say_last_words(broker: &Broker, events: &mut EventLoop) {
    let mut said = false;
    loop {
        let may_go = |shared: &mut Shared| {
            shared.connected && shared.last_words && shared.unacknowledged == 0
        };
        if !said && broker.with(may_go) {
            said = broker.client.try_disconnect().is_ok();
        }
        match tokio::time::timeout(LAST_WORDS_TICK, events.poll()).await {
            Ok(Ok(event)) => on_event(broker, event),
            Ok(Err(_)) => return,
            // A service may speak only now.
            Err(_) => {}
        }
    }
}
