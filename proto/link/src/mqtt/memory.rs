//! Owns the bus without a broker: in memory, and broken, for tests of services.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc;

use super::{Bus, BusError, Carrier, INBOX_MESSAGES_MAX, Inboxes, Message, OUTBOX_MESSAGES_MAX};

/// A broker in memory, with retained documents. Clones share it, as clients would.
#[derive(Debug, Clone, Default)]
pub struct MemoryBroker(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    inboxes: Inboxes,
    retained: BTreeMap<String, Message>,
}

impl MemoryBroker {
    /// One more client.
    #[must_use]
    pub fn bus(&self) -> Bus {
        Bus::over(Arc::new(self.clone()))
    }

    /// The retained document of a topic.
    #[must_use]
    pub fn retained(&self, topic: &str) -> Option<Message> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retained.get(topic).cloned()
    }
}

impl Carrier for MemoryBroker {
    fn publish(&self, message: Message) -> Result<(), BusError> {
        message.check()?;
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.inboxes.deliver(&Message { retain: false, ..message.clone() });
        if message.retain {
            if message.payload.is_empty() {
                memory.retained.remove(&message.topic);
            } else {
                memory.retained.insert(message.topic.clone(), message);
            }
        }
        Ok(())
    }

    fn subscribe(&self, filter: &str) -> Result<mpsc::Receiver<Message>, BusError> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inbox = memory.inboxes.open(filter)?;
        let fits = |m: &&Message| rumqttc::v5::mqttbytes::matches(&m.topic, filter);
        if let Some((_, sender)) = memory.inboxes.0.last() {
            for message in memory.retained.values().filter(fits).take(INBOX_MESSAGES_MAX) {
                // The inbox is new, has this much room, and its receiver is in our hand.
                drop(sender.try_send(message.clone()));
            }
        }
        Ok(inbox)
    }
}

/// A bus whose broker never comes: every message is refused as when too many wait, and inboxes stay empty.
#[derive(Debug, Default)]
pub struct Broken(Mutex<Inboxes>);

impl Broken {
    /// A client of it.
    #[must_use]
    pub fn bus() -> Bus {
        Bus::over(Arc::new(Self::default()))
    }
}

impl Carrier for Broken {
    fn publish(&self, message: Message) -> Result<(), BusError> {
        Err(BusError::Full { topic: message.topic, limit: OUTBOX_MESSAGES_MAX })
    }

    fn subscribe(&self, filter: &str) -> Result<mpsc::Receiver<Message>, BusError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).open(filter)
    }
}
