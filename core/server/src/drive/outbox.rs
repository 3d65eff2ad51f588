//! What a realm has for one connection and the connection has not taken yet.
//!
//! A realm never waits for a connection: it puts packets here and goes on. Where more than [`PARK_BYTES`] wait, the
//! connection is parked: the realm gives it no message more until there are less than [`RESUME_BYTES`]. So what waits
//! here is bounded by that, by what one turn gives ([`postern_realm::TURN_BYTES`]), and by the answers to what the client
//! asked for, which it cannot do while its own output is stuck.

use std::collections::VecDeque;
use std::mem;
use std::sync::Mutex;

use futures_util::task::AtomicWaker;
use postern_mqtt::Packet;
use postern_mqtt::packet::Disconnect;
use postern_realm::held_bytes;

/// Bytes waiting, above which the connection is parked.
pub(crate) const PARK_BYTES: usize = 1024 * 1024;

/// Bytes waiting, below which a parked connection goes on.
pub(crate) const RESUME_BYTES: usize = 256 * 1024;

/// Between a realm, which puts, and a connection, which takes.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Waiting {
    packets: VecDeque<Packet>,
    bytes: usize,
    parked: bool,
    close: Option<Close>,
}

/// The connection must end once the packets before it are written.
#[derive(Debug)]
pub(crate) struct Close {
    /// What to say last.
    pub(crate) farewell: Option<Disconnect>,
    pub(crate) will: Will,
}

/// What becomes of the will of a client whose connection the broker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Will {
    /// MQTT-3.1.2-8
    #[default]
    Publish,
    Discard,
}

/// What there is for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    Nothing,
    Packets,
    /// The connection is to end, whether or not it can take what is before.
    Close,
}

/// What a connection took.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) packets: VecDeque<Packet>,
    pub(crate) close: Option<Close>,
    /// The connection was parked, and the realm must learn that it goes on.
    pub(crate) resumed: bool,
}

impl Outbox {
    /// Adds a packet. The connection learns of it by the next [`Outbox::wake`].
    pub(crate) fn put(&self, packet: Packet) {
        let Ok(mut waiting) = self.waiting.lock() else { return };
        waiting.bytes += cost(&packet);
        waiting.packets.push_back(packet);
    }

    /// Ends the connection after what was put before. The first call counts.
    pub(crate) fn close(&self, farewell: Option<Disconnect>) {
        self.close_with(farewell, Will::Publish);
    }

    /// The same, and this is what becomes of the client's will.
    pub(crate) fn close_with(&self, farewell: Option<Disconnect>, will: Will) {
        let Ok(mut waiting) = self.waiting.lock() else { return };
        if waiting.close.is_none() {
            waiting.close = Some(Close { farewell, will });
        }
    }

    /// Parks the connection if too much waits for it; whether it did.
    pub(crate) fn park(&self) -> bool {
        let Ok(mut waiting) = self.waiting.lock() else { return false };
        let parks = !waiting.parked && waiting.bytes > PARK_BYTES;
        waiting.parked |= parks;
        parks
    }

    /// Tells the connection to look.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Registers the connection's task for the next wake.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// What there is to take.
    pub(crate) fn contents(&self) -> Contents {
        match self.waiting.lock() {
            Ok(waiting) if waiting.close.is_some() => Contents::Close,
            Ok(waiting) if !waiting.packets.is_empty() => Contents::Packets,
            _ => Contents::Nothing,
        }
    }

    /// Takes packets of about `room` bytes, one more at most. Where the connection is to end, what is left then never
    /// goes out: its client was too slow for it.
    pub(crate) fn take(&self, room: usize) -> Taken {
        let Ok(mut waiting) = self.waiting.lock() else { return Taken::default() };
        let packets = waiting.take(room);
        let resumed = waiting.parked && waiting.bytes < RESUME_BYTES;
        waiting.parked &= !resumed;
        Taken { packets, close: waiting.close.take(), resumed }
    }
}

impl Waiting {
    fn take(&mut self, room: usize) -> VecDeque<Packet> {
        if self.bytes <= room {
            self.bytes = 0;
            return mem::take(&mut self.packets);
        }
        let left = self.bytes.saturating_sub(room);
        let mut taken = VecDeque::new();
        while self.bytes > left {
            let Some(packet) = self.packets.pop_front() else { break };
            self.bytes -= cost(&packet);
            taken.push_back(packet);
        }
        taken
    }
}

/// What a waiting packet is charged with, in bytes.
fn cost(packet: &Packet) -> usize {
    let own = match packet {
        Packet::Publish(publish) => held_bytes(&publish.message) + publish.subscription_ids.len() * size_of::<u32>(),
        Packet::SubAck(ack) | Packet::UnsubAck(ack) => ack.reasons.len(),
        _ => 0,
    };
    size_of::<Packet>() + own
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postern_mqtt::packet::{Message, Publish, QoS};
    use postern_mqtt::{ReasonCode, Topic};

    use super::*;

    fn publish(payload: usize) -> Packet {
        let message = Message::new(Topic::new("t").unwrap(), vec![0; payload].into());
        Packet::Publish(Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            packet_id: None,
            message: Arc::new(message),
            expiry_left: None,
            subscription_ids: Vec::new(),
        })
    }

    #[test]
    fn it_is_parked_once_above_the_high_mark_and_resumed_once_below_the_low_one() {
        let outbox = Outbox::default();
        let one = 64 * 1024;
        let mut put = 0;
        while !outbox.park() {
            outbox.put(publish(one));
            put += 1;
        }
        assert_eq!(put, PARK_BYTES / one, "the charge beside the payload makes the last one too many");
        outbox.put(publish(one));
        assert!(!outbox.park(), "told once");
        let mut resumed_after = 0;
        while !outbox.take(one).resumed {
            resumed_after += 1;
        }
        assert!(resumed_after >= (PARK_BYTES - RESUME_BYTES) / one, "{resumed_after}");
        assert!(!outbox.take(one).resumed, "told once");
        assert!(!outbox.park());
    }

    #[test]
    fn packets_are_taken_in_their_order_as_far_as_there_is_room() {
        let outbox = Outbox::default();
        for n in 0..10 {
            outbox.put(publish(1000 + n));
        }
        let mut lengths = Vec::new();
        let mut parts = 0;
        while outbox.contents() == Contents::Packets {
            let packets = outbox.take(2500).packets;
            assert!(!packets.is_empty() && packets.len() <= 3, "{}", packets.len());
            parts += 1;
            for packet in packets {
                let Packet::Publish(publish) = packet else { unreachable!() };
                lengths.push(publish.message.payload.len());
            }
        }
        assert!(parts > 3);
        assert_eq!(lengths, (1000..1010).collect::<Vec<_>>());
        outbox.put(publish(0));
        assert_eq!(outbox.take(usize::MAX).packets.len(), 1);
        assert_eq!(outbox.waiting.lock().unwrap().bytes, 0);
    }

    #[test]
    fn the_first_close_counts_and_is_seen_whatever_waits_before_it() {
        let outbox = Outbox::default();
        outbox.put(publish(1000));
        outbox.close(Some(Disconnect::new(ReasonCode::SESSION_TAKEN_OVER)));
        outbox.close(None);
        assert_eq!(outbox.contents(), Contents::Close);
        assert!(outbox.take(1).close.is_some_and(|close| close.farewell.is_some()));
    }
}
