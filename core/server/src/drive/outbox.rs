//! What a realm has for one connection and the connection has not taken yet.
//!
//! A realm never waits for a connection: it puts packets here and goes on. The bound: QoS 0 messages are
//! dropped, and counted, above [`QOS_0_BYTES_MAX`]; QoS 1 and 2 messages are bounded by the client's
//! window, which the realm keeps; answers are bounded because the connection stops reading requests
//! while its own output is stuck.

use std::mem;
use std::sync::Mutex;

use futures_util::task::AtomicWaker;
use postern_mqtt::Packet;
use postern_mqtt::packet::{Disconnect, QoS};

/// Bytes of packets waiting, above which QoS 0 messages are dropped.
const QOS_0_BYTES_MAX: usize = 1024 * 1024;

/// Estimated cost of a packet beside its topic and payload, in bytes.
const PACKET_OVERHEAD_BYTES: usize = 64;

/// Between a realm, which puts, and a connection, which takes.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Waiting {
    packets: Vec<Packet>,
    bytes: usize,
    dropped: u64,
    close: Option<Close>,
}

/// The connection must end once the packets before it are written.
#[derive(Debug)]
pub(crate) struct Close {
    /// What to say last.
    pub(crate) farewell: Option<Disconnect>,
}

/// What a connection took.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) packets: Vec<Packet>,
    pub(crate) close: Option<Close>,
    /// QoS 0 messages dropped since the last time.
    pub(crate) dropped: u64,
}

impl Outbox {
    /// Adds a packet. The connection learns of it by the next [`Outbox::wake`].
    pub(crate) fn put(&self, packet: Packet) {
        let cost = cost(&packet);
        let Ok(mut waiting) = self.waiting.lock() else { return };
        let droppable = matches!(&packet, Packet::Publish(publish) if publish.qos == QoS::AtMostOnce);
        if droppable && waiting.bytes + cost > QOS_0_BYTES_MAX {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes += cost;
        waiting.packets.push(packet);
    }

    /// Ends the connection after what was put before. The first call counts.
    pub(crate) fn close(&self, farewell: Option<Disconnect>) {
        let Ok(mut waiting) = self.waiting.lock() else { return };
        if waiting.close.is_none() {
            waiting.close = Some(Close { farewell });
        }
    }

    /// Tells the connection to look.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Registers the connection's task for the next wake.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// Whether there is something to take.
    pub(crate) fn has_something(&self) -> bool {
        self.waiting.lock().is_ok_and(|waiting| !waiting.packets.is_empty() || waiting.close.is_some())
    }

    /// Takes all there is.
    pub(crate) fn take(&self) -> Taken {
        let Ok(mut waiting) = self.waiting.lock() else { return Taken::default() };
        waiting.bytes = 0;
        Taken {
            packets: mem::take(&mut waiting.packets),
            close: waiting.close.take(),
            dropped: mem::take(&mut waiting.dropped),
        }
    }
}

fn cost(packet: &Packet) -> usize {
    match packet {
        Packet::Publish(publish) => {
            publish.message.payload.len() + publish.message.topic.as_str().len() + PACKET_OVERHEAD_BYTES
        }
        _ => PACKET_OVERHEAD_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use postern_mqtt::Topic;
    use postern_mqtt::packet::{Message, Publish};

    use super::*;

    fn publish(qos: QoS) -> Packet {
        let message = Message::new(Topic::new("t").unwrap(), Bytes::from(vec![0; 100 * 1024]));
        Packet::Publish(Publish {
            dup: false,
            qos,
            retain: false,
            packet_id: None,
            message: Arc::new(message),
            expiry_left: None,
            subscription_ids: Vec::new(),
        })
    }

    #[test]
    fn qos_0_is_dropped_and_counted_above_the_bound_and_qos_1_is_not() {
        let outbox = Outbox::default();
        for _ in 0..20 {
            outbox.put(publish(QoS::AtMostOnce));
        }
        outbox.put(publish(QoS::AtLeastOnce));
        let taken = outbox.take();
        assert_eq!(taken.packets.len(), 11);
        assert_eq!(taken.dropped, 10);
        outbox.put(publish(QoS::AtMostOnce));
        assert_eq!(outbox.take().packets.len(), 1, "room again after the connection took what there was");
    }

    #[test]
    fn the_first_close_counts() {
        let outbox = Outbox::default();
        outbox.close(Some(Disconnect::new(postern_mqtt::ReasonCode::SESSION_TAKEN_OVER)));
        outbox.close(None);
        assert!(outbox.take().close.is_some_and(|close| close.farewell.is_some()));
    }
}
