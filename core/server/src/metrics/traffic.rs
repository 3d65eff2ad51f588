//! Packets and bytes of one namespace.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use postern_mqtt::Packet;

/// Packet types by their number on the wire (section 2.1.2); the first is none.
pub(crate) const TYPES: [&str; 16] = [
    "",
    "connect",
    "connack",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "subscribe",
    "suback",
    "unsubscribe",
    "unsuback",
    "pingreq",
    "pingresp",
    "disconnect",
    "auth",
];

const PUBLISH: usize = 3;

/// One direction, since the start.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// By type; those of PUBLISH are counted by QoS alone.
    packets: [AtomicU64; 16],
    publishes: [AtomicU64; 3],
    payload_bytes: AtomicU64,
    bytes: AtomicU64,
}

/// A look at one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FlowFigures {
    /// By type, in the order of [`TYPES`].
    pub(crate) packets: [u64; 16],
    /// PUBLISH packets by QoS.
    pub(crate) publishes: [u64; 3],
    /// Bytes of their payloads.
    pub(crate) payload_bytes: u64,
    /// Bytes of all packets.
    pub(crate) bytes: u64,
}

impl Flow {
    /// Counts what a batch was made of.
    pub(crate) fn add(&self, tally: &Tally) {
        let counters = self.packets.iter().chain(&self.publishes).chain([&self.payload_bytes, &self.bytes]);
        let FlowFigures { packets, publishes, payload_bytes, bytes } = &tally.0;
        let counts = packets.iter().chain(publishes).chain([payload_bytes, bytes]);
        for (counter, &count) in counters.zip(counts).filter(|(_, count)| **count > 0) {
            counter.fetch_add(count, Relaxed);
        }
    }

    pub(crate) fn read(&self) -> FlowFigures {
        let mut packets = self.packets.each_ref().map(|count| count.load(Relaxed));
        let publishes = self.publishes.each_ref().map(|count| count.load(Relaxed));
        packets[PUBLISH] = publishes.iter().sum();
        let [payload_bytes, bytes] = [&self.payload_bytes, &self.bytes].map(|count| count.load(Relaxed));
        FlowFigures { packets, publishes, payload_bytes, bytes }
    }
}

impl FlowFigures {
    /// All packets.
    pub(crate) fn all_packets(&self) -> u64 {
        self.packets.iter().sum()
    }

    /// All PUBLISH packets.
    pub(crate) fn all_publishes(&self) -> u64 {
        self.publishes.iter().sum()
    }
}

/// What one batch of packets is made of, so that many of a kind cost one addition to what all connections share.
#[derive(Debug, Default)]
pub(crate) struct Tally(FlowFigures);

impl Tally {
    pub(crate) fn packet(&mut self, packet: &Packet) {
        let place = match packet {
            Packet::Publish(publish) => {
                self.0.publishes[publish.qos as usize] += 1;
                self.0.payload_bytes += publish.message.payload.len() as u64;
                return;
            }
            Packet::Connect(_) => 1,
            Packet::ConnAck(_) => 2,
            Packet::PubAck(_) => 4,
            Packet::PubRec(_) => 5,
            Packet::PubRel(_) => 6,
            Packet::PubComp(_) => 7,
            Packet::Subscribe(_) => 8,
            Packet::SubAck(_) => 9,
            Packet::Unsubscribe(_) => 10,
            Packet::UnsubAck(_) => 11,
            Packet::PingReq => 12,
            Packet::PingResp => 13,
            Packet::Disconnect(_) => 14,
            Packet::Auth(_) => 15,
        };
        self.0.packets[place] += 1;
    }

    pub(crate) fn bytes(&mut self, count: usize) {
        self.0.bytes += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use postern_mqtt::Topic;
    use postern_mqtt::packet::{Message, Publish, QoS};

    use super::*;

    fn publish(qos: QoS, payload: &'static str) -> Packet {
        let message = Arc::new(Message::new(Topic::new("t").unwrap(), Bytes::from_static(payload.as_bytes())));
        let (packet_id, expiry_left) = (None, None);
        Packet::Publish(Publish {
            dup: false,
            qos,
            retain: false,
            packet_id,
            message,
            expiry_left,
            subscription_ids: vec![],
        })
    }

    #[test]
    fn batches_add_up_by_type_and_qos() {
        let flow = Flow::default();
        for _ in 0..2 {
            let mut tally = Tally::default();
            tally.packet(&publish(QoS::AtMostOnce, "abc"));
            tally.packet(&publish(QoS::ExactlyOnce, ""));
            tally.packet(&publish(QoS::ExactlyOnce, "d"));
            tally.packet(&Packet::PingReq);
            tally.bytes(40);
            flow.add(&tally);
        }
        let figures = flow.read();
        assert_eq!(figures.publishes, [2, 0, 4]);
        assert_eq!((figures.packets[PUBLISH], figures.packets[12]), (6, 2));
        assert_eq!((figures.all_packets(), figures.all_publishes()), (8, 6));
        assert_eq!((figures.payload_bytes, figures.bytes), (8, 80));
    }
}
