//! Owns the MQTT 5 bus: small JSON documents between processes, through the site's broker or in memory.
//!
//! Publishing never waits. A retained document is remembered and sent again after each reconnect, so that the broker
//! ends with the newest state and not with a last will. Other messages are at-least-once while the session lasts
//! (an hour without connection) and must be made so that losing one is not losing data: data travels over QUIC.

mod broker;
mod memory;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base::{Fault, Faulty, Shutdown};
use proto::limits::PAYLOAD_BYTES_MAX;
use serde::Serialize;
use tokio::sync::mpsc;

pub use broker::{BrokerAddress, MqttConfig};
pub use memory::{Broken, MemoryBroker};

/// Messages that wait in one inbox; one more is dropped and counted in the log. A person sends a few in a minute.
pub const INBOX_MESSAGES_MAX: usize = 256;
/// Messages that wait for the broker; one more is refused.
pub const OUTBOX_MESSAGES_MAX: usize = 256;
/// Filters of one process, and retained documents of one process: each has a handful per camera.
pub const TOPICS_MAX: usize = 256;

/// Why the bus does not take something.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Our own credentials.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// The payload is over its limit.
    #[error("{topic}: payload of {bytes} bytes is over the limit of {PAYLOAD_BYTES_MAX}")]
    TooLong {
        /// The topic.
        topic: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The payload cannot be written as JSON.
    #[error("{topic}: {why}")]
    Payload {
        /// The topic.
        topic: String,
        /// Why.
        why: String,
    },
    /// Not a topic or filter of MQTT.
    #[error("{0:?} is not an MQTT topic or filter")]
    Topic(String),
    /// Too many messages wait, or too many topics are in use. Try again when the broker is back.
    #[error("{topic}: {limit} are waiting or in use already")]
    Full {
        /// The topic.
        topic: String,
        /// The limit.
        limit: usize,
    },
    /// The bus has stopped.
    #[error("{0}: the bus has stopped")]
    Stopped(String),
}

impl Faulty for BusError {
    fn fault(&self) -> Fault {
        match self {
            Self::Tls(error) => error.fault(),
            Self::TooLong { .. } | Self::Payload { .. } | Self::Topic(_) => Fault::Misuse,
            Self::Full { .. } => Fault::Transient,
            Self::Stopped(_) => Fault::Permanent,
        }
    }
}

/// A message of the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// At most [`PAYLOAD_BYTES_MAX`] bytes, JSON by convention and unchecked.
    pub payload: Vec<u8>,
    /// Whether it is, or is to be, the topic's retained document.
    pub retain: bool,
}

impl Message {
    /// A message of a checked topic with `payload` as JSON.
    ///
    /// # Errors
    /// When the topic has wildcards or the payload is over its limit.
    pub fn json(topic: &str, payload: &impl Serialize, retain: bool) -> Result<Self, BusError> {
        let payload = serde_json::to_vec(payload)
            .map_err(|e| BusError::Payload { topic: topic.to_owned(), why: e.to_string() })?;
        let message = Self { topic: topic.to_owned(), payload, retain };
        message.check().map(|()| message)
    }

    fn check(&self) -> Result<(), BusError> {
        if self.topic.is_empty() || !rumqttc::v5::mqttbytes::valid_topic(&self.topic) {
            return Err(BusError::Topic(self.topic.clone()));
        }
        if self.payload.len() > PAYLOAD_BYTES_MAX {
            let (topic, bytes) = (self.topic.clone(), self.payload.len());
            return Err(BusError::TooLong { topic, bytes });
        }
        Ok(())
    }
}

/// What carries the bus: a broker, memory, or a broken one for tests.
pub trait Carrier: Send + Sync {
    /// Takes a message without waiting.
    ///
    /// # Errors
    /// When it cannot be taken.
    fn publish(&self, message: Message) -> Result<(), BusError>;

    /// Opens an inbox for a filter; retained documents come first.
    ///
    /// # Errors
    /// When the filter is none or there are too many.
    fn subscribe(&self, filter: &str) -> Result<mpsc::Receiver<Message>, BusError>;
}

/// A handle on the bus. Clones share it.
#[derive(Clone)]
pub struct Bus(Arc<dyn Carrier>);

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bus")
    }
}

impl Bus {
    /// A bus through the broker. Returns at once; connecting, and connecting again, goes on until shutdown.
    ///
    /// # Errors
    /// When credentials or topics cannot be used; never because the broker is away.
    pub fn connect(config: MqttConfig, shutdown: &Shutdown) -> Result<Self, BusError> {
        Ok(Self(broker::start(config, shutdown)?))
    }

    /// A bus over this carrier.
    #[must_use]
    pub fn over(carrier: Arc<dyn Carrier>) -> Self {
        Self(carrier)
    }

    /// Publishes a message once.
    ///
    /// # Errors
    /// When it cannot be taken.
    pub fn publish(&self, topic: &str, payload: &impl Serialize) -> Result<(), BusError> {
        self.0.publish(Message::json(topic, payload, false)?)
    }

    /// Publishes the retained document of a topic.
    ///
    /// # Errors
    /// When it cannot be taken.
    pub fn publish_retained(&self, topic: &str, payload: &impl Serialize) -> Result<(), BusError> {
        self.0.publish(Message::json(topic, payload, true)?)
    }

    /// Messages of the topics that `filter` fits, at most [`INBOX_MESSAGES_MAX`] unread. A retained document may come
    /// again after a reconnect. The inbox ends with the bus.
    ///
    /// # Errors
    /// When the filter is none or there are too many.
    pub fn subscribe(&self, filter: &str) -> Result<mpsc::Receiver<Message>, BusError> {
        self.0.subscribe(filter)
    }
}

/// Inboxes by filter: what the broker's and the memory carrier share.
#[derive(Debug, Default)]
struct Inboxes(Vec<(String, mpsc::Sender<Message>)>);

impl Inboxes {
    fn open(&mut self, filter: &str) -> Result<mpsc::Receiver<Message>, BusError> {
        if filter.is_empty() || !rumqttc::v5::mqttbytes::valid_filter(filter) {
            return Err(BusError::Topic(filter.to_owned()));
        }
        self.0.retain(|(_, inbox)| !inbox.is_closed());
        if self.0.len() >= TOPICS_MAX {
            return Err(BusError::Full { topic: filter.to_owned(), limit: TOPICS_MAX });
        }
        let (sender, receiver) = mpsc::channel(INBOX_MESSAGES_MAX);
        self.0.push((filter.to_owned(), sender));
        Ok(receiver)
    }

    fn filters(&self) -> Vec<String> {
        self.0.iter().map(|(filter, _)| filter.clone()).collect()
    }

    fn deliver(&self, message: &Message) {
        for (filter, inbox) in &self.0 {
            let fits = rumqttc::v5::mqttbytes::matches(&message.topic, filter);
            if fits && inbox.try_send(message.clone()).is_err() && !inbox.is_closed() {
                tracing::warn!(topic = %message.topic, filter, "inbox is full, message dropped");
            }
        }
    }
}
