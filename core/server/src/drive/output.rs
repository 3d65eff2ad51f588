//! What is on its way to a client's socket: packets in the bytes of its version. A large payload is not copied: it goes
//! out from where the realm holds it, so that a thousand clients that are slow to take it cost its memory once.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use postern_mqtt::Packet;
use postern_mqtt::link::{Link, Sent};

/// Smallest payload that is not copied, in bytes. Below it, a write of its own costs more than the copy.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// See the module. Read through [`Buf`].
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Whole, in their order; none is empty.
    pieces: VecDeque<Bytes>,
    piece_bytes: usize,
    /// Behind them; more is appended here.
    tail: BytesMut,
}

impl Output {
    /// Appends a packet as the link writes it. What the client's version has no word for stays unsaid.
    pub(crate) fn say(&mut self, link: &mut Link, packet: &Packet) -> Sent {
        let shared = match packet {
            Packet::Publish(publish) if publish.message.payload.len() >= SHARED_BYTES_MIN => &publish.message.payload,
            _ => return link.send(packet, &mut self.tail),
        };
        let sent = link.send_without_payload(packet, &mut self.tail);
        if sent == Sent::Written {
            for piece in [std::mem::take(&mut self.tail).freeze(), shared.clone()] {
                self.piece_bytes += piece.len();
                self.pieces.push_back(piece);
            }
        }
        sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.has_remaining()
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.piece_bytes + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&self.tail, |piece| piece)
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            let taken = count.min(piece.len());
            piece.advance(taken);
            self.piece_bytes -= taken;
            count -= taken;
            if piece.has_remaining() {
                return;
            }
            self.pieces.pop_front();
        }
        self.tail.advance(count);
        if self.tail.is_empty() {
            // An idle connection holds no buffer.
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postern_mqtt::packet::{Message, Publish, QoS};
    use postern_mqtt::{Limits, Topic};

    use super::*;

    fn link() -> Link {
        let mut link = Link::new(Limits::default(), 0);
        let mut connect = BytesMut::from(&b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a"[..]);
        assert!(matches!(link.receive(0, &mut connect), Ok(Some(Packet::Connect(_)))));
        let _: Sent = link.send(&Packet::ConnAck(Box::default()), &mut BytesMut::new());
        link
    }

    fn publish(bytes: usize) -> Packet {
        let payload: Vec<u8> = (0..bytes).map(|n| u8::try_from(n % 251).unwrap()).collect();
        Packet::Publish(Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            packet_id: None,
            message: Arc::new(Message::new(Topic::new("a/b").unwrap(), payload.into())),
            expiry_left: None,
            subscription_ids: Vec::new(),
        })
    }

    #[test]
    fn the_bytes_are_those_of_the_link_however_they_are_taken() {
        let packets = [10, SHARED_BYTES_MIN, 0, SHARED_BYTES_MIN - 1, 3 * SHARED_BYTES_MIN, 5].map(publish);
        let (mut plain, mut whole) = (link(), BytesMut::new());
        for packet in &packets {
            let _: Sent = plain.send(packet, &mut whole);
        }
        for step in [1, 7, 1000, usize::MAX] {
            let (mut link, mut output, mut taken) = (link(), Output::default(), Vec::new());
            assert!(packets.iter().all(|packet| output.say(&mut link, packet) == Sent::Written));
            assert_eq!(output.remaining(), whole.len());
            while !output.is_empty() {
                let chunk = output.chunk();
                let part = chunk.len().min(step);
                assert!(part > 0, "something is left, and the next chunk is empty");
                taken.extend_from_slice(&chunk[..part]);
                output.advance(part);
            }
            assert!(taken == whole, "in steps of {step}");
        }
    }

    #[test]
    fn a_large_payload_is_not_copied() {
        let (mut link, mut output, packet) = (link(), Output::default(), publish(SHARED_BYTES_MIN));
        assert_eq!(output.say(&mut link, &packet), Sent::Written);
        output.advance(output.chunk().len());
        let Packet::Publish(publish) = &packet else { unreachable!() };
        assert_eq!(output.chunk().as_ptr(), publish.message.payload.as_ptr());
    }
}
