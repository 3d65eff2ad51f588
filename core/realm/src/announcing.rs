//! What the broker itself says under `$SYS`: figures of the realm, and events. Subscriptions to it, their rights and
//! limits are as any other's; what is retained of it is kept beside the clients' retained messages, and counts against
//! none of their limits.

use std::sync::Arc;

use bytes::Bytes;
use postern_mqtt::packet::{Message, QoS};
use postern_mqtt::{Filter, Topic};

use crate::limits::RealmLimits;
use crate::realm::Realm;
use crate::retained::Held;
use crate::routing::{Publication, SYSTEM, is_reserved};
use crate::turn::Effect;

/// Topics and bytes that are kept; a driver has a fixed set of topics, far fewer than these.
const MAX_TOPICS: usize = 1024;
const MAX_BYTES: usize = 1 << 20;

/// Whether it is announcements that a filter's retained messages are among: a leading wildcard matches none of them
/// (MQTT-4.7.2-1).
pub(crate) fn is_announced(filter: &Filter) -> bool {
    filter.levels().next() == Some(SYSTEM)
}

impl Realm {
    pub(crate) fn announce(&mut self, topic: Topic, payload: Bytes, retain: bool, effects: &mut Vec<Effect>) {
        if !is_reserved(&topic) {
            return;
        }
        // No client is called so: an identifier has no U+0000 [MQTT-1.5.4-2].
        let publisher: Arc<str> = "\0".into();
        let message = Arc::new(Message::new(topic, payload));
        let qos = QoS::AtMostOnce;
        let retain = retain && self.limits.retain_available;
        if retain {
            let limits =
                RealmLimits { retained_messages: MAX_TOPICS, retained_bytes: MAX_BYTES, ..RealmLimits::default() };
            let publisher = Arc::clone(&publisher);
            let held = Held { message: Arc::clone(&message), qos, expires_ms: None, publisher, number: 0 };
            // Where there is no room, the topic is told to who is there.
            let _ = self.announced.put(held, &limits);
        }
        self.route(&Publication { message, qos, retain, publisher, session: None, refusable: false }, None, effects);
    }
}
