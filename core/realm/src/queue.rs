//! Messages that wait for one session: for its window, or for its client to come back.
//!
//! Bounded by count and by bytes. A full queue gives up its oldest message for the new one, so that a
//! client which was away for long finds the newest state; every loss is counted. QoS 0 waits only where it is told to.
//! All queues of a realm, and what was sent from them and is not yet acknowledged, together have a bound of bytes too:
//! where that is reached, a session makes room from its own queue, and what then finds none is lost itself.

use std::collections::VecDeque;
use std::sync::Arc;

use postern_mqtt::packet::{Message, PacketId, Publish, QoS};

use crate::limits::RealmLimits;
use crate::size::held_bytes;
use crate::turn::{Dropped, Exhausted};

/// What the sessions of a realm hold together, what was lost, and what was used up: kept as it changes, so that it costs
/// nothing to ask.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Messages in queues.
    pub(crate) queued: usize,
    /// Bytes in queues and windows.
    pub(crate) bytes: usize,
    /// The number that the next delivery gets: in a queue, and again in a window.
    pub(crate) next_delivery: u64,
    pub(crate) in_flight: usize,
    pub(crate) unreleased: usize,
    pub(crate) connected_max: usize,
    pub(crate) expired: u64,
    pub(crate) dropped: Dropped,
    pub(crate) exhausted: Exhausted,
}

impl Books {
    /// A number for a delivery. None is given twice.
    pub(crate) fn number(&mut self) -> u64 {
        self.next_delivery += 1;
        self.next_delivery
    }
}

/// A message on its way to one subscriber.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// Where it stands among the realm's deliveries; 0 before it has a place.
    pub(crate) number: u64,
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

    pub(crate) fn bytes(&self) -> usize {
        held_bytes(&self.message) + self.subscription_ids.len() * size_of::<u32>()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Outgoing>,
    bytes: usize,
    /// How many of them are of QoS 0, which nobody keeps for longer than the process lives.
    of_qos_0: usize,
}

impl Queue {
    /// Takes a message, at the cost of older ones where there is no room. What is larger than all room is lost.
    pub(crate) fn push(&mut self, mut outgoing: Outgoing, limits: &RealmLimits, books: &mut Books) {
        while !self.has_room(&outgoing, limits, books) {
            books.dropped.queue_full += 1;
            if self.pop(books).is_none() {
                return;
            }
        }
        outgoing.number = books.number();
        self.put(outgoing, books);
    }

    /// Takes a message that had its place before the process began.
    pub(crate) fn put(&mut self, outgoing: Outgoing, books: &mut Books) {
        let bytes = outgoing.bytes();
        self.bytes += bytes;
        books.bytes += bytes;
        books.queued += 1;
        self.of_qos_0 += usize::from(outgoing.qos == QoS::AtMostOnce);
        self.waiting.push_back(outgoing);
    }

    /// What waits and outlives the process, oldest first.
    pub(crate) fn deliveries(&self) -> impl DoubleEndedIterator<Item = &Outgoing> {
        self.waiting.iter().filter(|outgoing| outgoing.qos != QoS::AtMostOnce)
    }

    /// How many these are.
    pub(crate) fn delivery_count(&self) -> usize {
        self.waiting.len() - self.of_qos_0
    }

    /// Whether one more costs no older one.
    fn has_room(&self, outgoing: &Outgoing, limits: &RealmLimits, books: &Books) -> bool {
        let bytes = outgoing.bytes();
        self.waiting.len() < limits.queue_messages
            && self.bytes + bytes <= limits.queue_bytes
            && books.bytes + bytes <= limits.queue_bytes_total
    }

    /// What is next.
    pub(crate) fn front(&self) -> Option<&Outgoing> {
        self.waiting.front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn pop(&mut self, books: &mut Books) -> Option<Outgoing> {
        let outgoing = self.waiting.pop_front()?;
        let bytes = outgoing.bytes();
        self.bytes -= bytes;
        books.bytes -= bytes;
        books.queued -= 1;
        self.of_qos_0 -= usize::from(outgoing.qos == QoS::AtMostOnce);
        if self.waiting.is_empty() {
            // A queue that was long once does not keep its memory.
            self.waiting = VecDeque::new();
        }
        Some(outgoing)
    }

    /// Takes out what is not `allowed`.
    pub(crate) fn revoke(&mut self, allowed: impl Fn(&Outgoing) -> bool, books: &mut Books) {
        self.waiting.retain(|outgoing| {
            let stays = allowed(outgoing);
            if !stays {
                let bytes = outgoing.bytes();
                self.bytes -= bytes;
                books.bytes -= bytes;
                books.queued -= 1;
                self.of_qos_0 -= usize::from(outgoing.qos == QoS::AtMostOnce);
                books.dropped.not_authorized += 1;
            }
            stays
        });
    }

    /// The session is over: what waited for it waits no more.
    pub(crate) fn strike_off(&self, books: &mut Books) {
        books.queued -= self.waiting.len();
        books.bytes -= self.bytes;
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
            number: 0,
            message: Arc::new(message),
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_ids: Vec::new(),
            expires_ms: None,
        }
    }

    fn payloads(queue: &mut Queue, books: &mut Books) -> Vec<Bytes> {
        std::iter::from_fn(|| queue.pop(books)).map(|o| o.message.payload.clone()).collect()
    }

    #[test]
    fn a_full_queue_gives_up_its_oldest_message() {
        let limits = RealmLimits { queue_messages: 2, ..RealmLimits::default() };
        let (mut queue, mut books) = (Queue::default(), Books::default());
        for (payload, lost) in [(b"1", 0), (b"2", 0), (b"3", 1)] {
            queue.push(outgoing(payload), &limits, &mut books);
            assert_eq!(books.dropped.queue_full, lost);
        }
        assert_eq!(payloads(&mut queue, &mut books), [&b"2"[..], b"3"]);
    }

    #[test]
    fn bytes_bound_a_queue_as_well_as_count() {
        let one = outgoing(&[0; 100]).bytes();
        let limits = RealmLimits { queue_bytes: 2 * one, ..RealmLimits::default() };
        let (mut queue, mut books) = (Queue::default(), Books::default());
        queue.push(outgoing(&[1; 100]), &limits, &mut books);
        queue.push(outgoing(&[2; 100]), &limits, &mut books);
        assert!(!queue.has_room(&outgoing(b""), &limits, &books));
        assert_eq!(books.dropped.queue_full, 0);
        queue.push(outgoing(&[3; 101]), &limits, &mut books);
        assert_eq!(books.dropped.queue_full, 2, "both are needed for the room of one larger");
        assert_eq!(payloads(&mut queue, &mut books), [&[3; 101][..]]);
        queue.push(outgoing(&vec![4; 2 * one]), &limits, &mut books);
        assert_eq!(books.dropped.queue_full, 3, "larger than the queue: lost itself");
        assert_eq!((queue.waiting.len(), queue.bytes, books.queued, books.bytes), (0, 0, 0, 0));
    }

    #[test]
    fn bytes_bound_all_queues_together() {
        let one = outgoing(b"1").bytes();
        let limits = RealmLimits { queue_bytes_total: 2 * one, ..RealmLimits::default() };
        let (mut first, mut second, mut books) = (Queue::default(), Queue::default(), Books::default());
        first.push(outgoing(b"1"), &limits, &mut books);
        second.push(outgoing(b"2"), &limits, &mut books);
        second.push(outgoing(b"3"), &limits, &mut books);
        assert_eq!((books.dropped.queue_full, books.queued), (1, 2), "room is made in the own queue");
        assert_eq!(payloads(&mut second, &mut books), [&b"3"[..]]);
        first.strike_off(&mut books);
        assert_eq!((books.queued, books.bytes), (0, 0));
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
