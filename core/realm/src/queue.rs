//! Messages that wait for one session: for its window, or for its client to come back.
//!
//! Bounded by count and by bytes. A full queue gives up its oldest message for the new one, so that a
//! client which was away for long finds the newest state; every loss is counted. QoS 0 never waits.

use std::collections::VecDeque;
use std::sync::Arc;

use postern_mqtt::packet::{Message, PacketId, Publish, QoS};

use crate::limits::RealmLimits;
use crate::size::held_bytes;

/// A message on its way to one subscriber.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) subscription_ids: Vec<u32>,
    /// When its Message Expiry Interval has passed.
    pub(crate) expires_ms: Option<u64>,
}

impl Outgoing {
    pub(crate) fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| now_ms > at)
    }

    /// The packet, with the expiry interval that is left (MQTT-3.3.2-6).
    pub(crate) fn publish(&self, packet_id: Option<PacketId>, dup: bool, now_ms: u64) -> Publish {
        let left = |at: u64| u32::try_from(at.saturating_sub(now_ms).div_ceil(1000)).unwrap_or(u32::MAX);
        Publish {
            dup,
            qos: self.qos,
            retain: self.retain,
            packet_id,
            message: Arc::clone(&self.message),
            expiry_left: self.expires_ms.map(left),
            subscription_ids: self.subscription_ids.clone(),
        }
    }

    fn bytes(&self) -> usize {
        held_bytes(&self.message) + self.subscription_ids.len() * size_of::<u32>()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Outgoing>,
    bytes: usize,
}

impl Queue {
    /// Takes a message; returns how many were lost for it. What is larger than the whole queue is lost itself.
    pub(crate) fn push(&mut self, outgoing: Outgoing, limits: &RealmLimits) -> u64 {
        let bytes = outgoing.bytes();
        if bytes > limits.queue_bytes || limits.queue_messages == 0 {
            return 1;
        }
        let mut lost = 0;
        while self.waiting.len() >= limits.queue_messages || self.bytes + bytes > limits.queue_bytes {
            if self.pop().is_none() {
                break;
            }
            lost += 1;
        }
        self.bytes += bytes;
        self.waiting.push_back(outgoing);
        lost
    }

    /// Whether one more of this size would cost an older one.
    pub(crate) fn has_room(&self, outgoing: &Outgoing, limits: &RealmLimits) -> bool {
        self.waiting.len() < limits.queue_messages && self.bytes + outgoing.bytes() <= limits.queue_bytes
    }

    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let outgoing = self.waiting.pop_front()?;
        self.bytes -= outgoing.bytes();
        if self.waiting.is_empty() {
            // A queue that was long once does not keep its memory.
            self.waiting = VecDeque::new();
        }
        Some(outgoing)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postern_mqtt::Topic;

    use super::*;

    fn outgoing(payload: &[u8]) -> Outgoing {
        let message = Message::new(Topic::new("t").unwrap(), Bytes::copy_from_slice(payload));
        Outgoing {
            message: Arc::new(message),
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_ids: Vec::new(),
            expires_ms: None,
        }
    }

    fn payloads(queue: &mut Queue) -> Vec<Bytes> {
        std::iter::from_fn(|| queue.pop()).map(|o| o.message.payload.clone()).collect()
    }

    #[test]
    fn a_full_queue_gives_up_its_oldest_message() {
        let limits = RealmLimits { queue_messages: 2, ..RealmLimits::default() };
        let mut queue = Queue::default();
        assert_eq!(queue.push(outgoing(b"1"), &limits), 0);
        assert_eq!(queue.push(outgoing(b"2"), &limits), 0);
        assert_eq!(queue.push(outgoing(b"3"), &limits), 1);
        assert_eq!(payloads(&mut queue), [&b"2"[..], b"3"]);
    }

    #[test]
    fn bytes_bound_a_queue_as_well_as_count() {
        let one = outgoing(&[0; 100]).bytes();
        let limits = RealmLimits { queue_bytes: 2 * one, ..RealmLimits::default() };
        let mut queue = Queue::default();
        assert_eq!(queue.push(outgoing(&[1; 100]), &limits), 0);
        assert_eq!(queue.push(outgoing(&[2; 100]), &limits), 0);
        assert!(!queue.has_room(&outgoing(b""), &limits));
        assert_eq!(queue.push(outgoing(&[3; 101]), &limits), 2, "both are needed for the room of one larger");
        assert_eq!(queue.push(outgoing(&vec![4; 2 * one]), &limits), 1, "larger than the queue: lost itself");
        assert_eq!(payloads(&mut queue), [&[3; 101][..]]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn mqtt_3_3_2_6_the_expiry_left_is_the_interval_less_the_wait() {
        let outgoing = Outgoing { expires_ms: Some(10_000), ..outgoing(b"") };
        assert_eq!(outgoing.publish(None, false, 0).expiry_left, Some(10));
        assert_eq!(outgoing.publish(None, false, 2_999).expiry_left, Some(8));
        assert_eq!(outgoing.publish(None, false, 3_000).expiry_left, Some(7));
        assert!(!outgoing.is_expired(10_000));
        assert!(outgoing.is_expired(10_001));
    }
}
