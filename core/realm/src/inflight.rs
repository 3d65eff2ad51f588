//! QoS 1 and 2 between one client and the realm, in both directions (section 4.3).
//!
//! Outgoing, for each packet id what is [`Awaiting`]:
//!
//! ```text
//!   QoS 1   PUBLISH -> Acknowledged -- PUBACK -> free
//!   QoS 2   PUBLISH -> Received -- PUBREC < 0x80 / PUBREL -> Completed -- PUBCOMP -> free
//!                         |                                   ^     |
//!                         +-- PUBREC >= 0x80 -> free          +-----+ PUBREC again / PUBREL again
//! ```
//!
//! A state holds its message only while a PUBLISH may still be repeated: after PUBREL there is none to
//! send [MQTT-4.3.3-6]. What a connection leaves behind is sent again on the next, with the same packet
//! ids, in the same order, the PUBLISH with DUP [MQTT-4.4.0-1], and never without a new connection.
//!
//! An acknowledgement that the exchange of its packet id has no place for is [`OutOfOrder`]. One that belongs to no
//! exchange may be left from a session that is over: it changes nothing.
//!
//! Incoming QoS 1 is acknowledged in the turn that takes it. Incoming QoS 2 leaves its packet id in
//! [`Unreleased`] until PUBREL, one entry however often the PUBLISH comes [MQTT-4.3.3-10].

use std::collections::{BTreeMap, VecDeque};

use postern_mqtt::packet::{Ack, Packet, PacketId};
use postern_mqtt::reason::ReasonCode;

use crate::limits::MAX_WINDOW;
use crate::queue::{Books, Outgoing};
use crate::records::Stage;

/// See the picture above.
#[derive(Debug)]
enum Awaiting {
    /// PUBACK
    Acknowledged(Outgoing),
    /// PUBREC
    Received(Outgoing),
    /// PUBCOMP
    Completed,
    /// PUBACK, on this connection, for a message that may not be sent again
    Withdrawn,
}

#[derive(Debug)]
struct Slot {
    /// In the order of sending.
    number: u64,
    packet_id: PacketId,
    awaiting: Awaiting,
    /// Its packet went out on the present connection.
    sent: bool,
}

/// A PUBACK, PUBREC or PUBCOMP for an exchange that awaits another one: a protocol error (4.3.2, 4.3.3, 4.13.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfOrder;

/// What was sent to one client and is not finished, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Window {
    slots: VecDeque<Slot>,
    /// The packet id that was given last; 0 before the first.
    last_id: u16,
    /// How many slots are not `sent`.
    unsent: usize,
    /// Of the messages that are held.
    bytes: usize,
}

impl Awaiting {
    /// The message that is held until it is acknowledged.
    fn outgoing(&self) -> Option<&Outgoing> {
        match self {
            Self::Acknowledged(outgoing) | Self::Received(outgoing) => Some(outgoing),
            Self::Completed | Self::Withdrawn => None,
        }
    }
}

impl Window {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a new message may go out under `limit`, and under a limit of bytes, which one message alone may pass.
    /// What is still to be repeated has its place already.
    pub(crate) fn has_room(&self, outgoing: &Outgoing, limit: usize, bytes: usize) -> bool {
        self.slots.len() < limit && (self.bytes == 0 || self.bytes + outgoing.bytes() <= bytes)
    }

    /// Takes a QoS 1 or 2 message into a free slot and returns its first PUBLISH.
    pub(crate) fn send(&mut self, outgoing: Outgoing, now_ms: u64, books: &mut Books) -> Packet {
        self.bytes += outgoing.bytes();
        books.bytes += outgoing.bytes();
        // Anew: what is sent stands in the order of sending, wherever it waited before.
        let (number, packet_id) = (books.number(), self.free_id());
        let publish = outgoing.publish(Some(packet_id), false, now_ms);
        let awaiting = match outgoing.qos {
            postern_mqtt::packet::QoS::ExactlyOnce => Awaiting::Received(outgoing),
            _ => Awaiting::Acknowledged(outgoing),
        };
        self.slots.push_back(Slot { number, packet_id, awaiting, sent: true });
        Packet::Publish(publish)
    }

    /// What outlives the process: all but what may not be sent again.
    pub(crate) fn deliveries(&self) -> impl Iterator<Item = (u64, Stage, Option<&Outgoing>)> {
        self.slots.iter().filter_map(|slot| {
            let (stage, outgoing) = match &slot.awaiting {
                Awaiting::Acknowledged(outgoing) => (Stage::Acknowledged(slot.packet_id), Some(outgoing)),
                Awaiting::Received(outgoing) => (Stage::Received(slot.packet_id), Some(outgoing)),
                Awaiting::Completed => (Stage::Completed(slot.packet_id), None),
                Awaiting::Withdrawn => return None,
            };
            Some((slot.number, stage, outgoing))
        })
    }

    /// Takes what was sent before the process began. False where it cannot have been.
    pub(crate) fn restore(&mut self, number: u64, stage: Stage, outgoing: Option<Outgoing>, books: &mut Books) -> bool {
        let (packet_id, awaiting) = match (stage, outgoing) {
            (Stage::Acknowledged(id), Some(outgoing)) => (id, Awaiting::Acknowledged(outgoing)),
            (Stage::Received(id), Some(outgoing)) => (id, Awaiting::Received(outgoing)),
            (Stage::Completed(id), None) => (id, Awaiting::Completed),
            _ => return false,
        };
        if self.slots.len() >= usize::from(MAX_WINDOW) || self.slots.iter().any(|slot| slot.packet_id == packet_id) {
            return false;
        }
        self.last_id = packet_id.get();
        let bytes = awaiting.outgoing().map_or(0, Outgoing::bytes);
        self.bytes += bytes;
        books.bytes += bytes;
        self.slots.push_back(Slot { number, packet_id, awaiting, sent: false });
        self.unsent += 1;
        true
    }

    /// The connection is gone: on the next one all has to be sent again.
    pub(crate) fn connection_lost(&mut self) {
        self.slots.retain(|slot| !matches!(slot.awaiting, Awaiting::Withdrawn));
        for slot in &mut self.slots {
            slot.sent = false;
        }
        self.unsent = self.slots.len();
    }

    /// Whether there is something to repeat.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// The next packet to repeat on a new connection, if `limit` allows it. A PUBREL is not counted by
    /// the Receive Maximum and always goes; a PUBLISH that has to wait makes all younger ones wait.
    pub(crate) fn resend(&mut self, limit: usize, now_ms: u64) -> Option<Packet> {
        if self.unsent == 0 {
            return None;
        }
        let sent = self.slots.len() - self.unsent;
        let slot = self.slots.iter_mut().find(|slot| !slot.sent)?;
        let packet = match &slot.awaiting {
            Awaiting::Acknowledged(outgoing) | Awaiting::Received(outgoing) => {
                if sent >= limit {
                    return None;
                }
                Packet::Publish(outgoing.publish(Some(slot.packet_id), true, now_ms))
            }
            Awaiting::Completed => Packet::PubRel(Ack::new(slot.packet_id, ReasonCode::SUCCESS)),
            // Went with the connection that it was sent on.
            Awaiting::Withdrawn => return None,
        };
        slot.sent = true;
        self.unsent -= 1;
        Some(packet)
    }

    /// Takes back the messages that are not `allowed` and might be sent again. A packet id that the client may still
    /// answer on this connection stays taken. Of QoS 2 the exchange goes on without the message: the client may
    /// have got it on an earlier connection and hold its packet id, which PUBREL sets free either way.
    pub(crate) fn revoke(&mut self, allowed: impl Fn(&Outgoing) -> bool, books: &mut Books) {
        for slot in &mut self.slots {
            let (bytes, awaiting) = match &slot.awaiting {
                Awaiting::Received(outgoing) if !allowed(outgoing) => (outgoing.bytes(), Awaiting::Completed),
                Awaiting::Acknowledged(outgoing) if !allowed(outgoing) => (outgoing.bytes(), Awaiting::Withdrawn),
                _ => continue,
            };
            slot.awaiting = awaiting;
            self.bytes -= bytes;
            books.bytes -= bytes;
            books.dropped.not_authorized += 1;
        }
        self.slots.retain(|slot| slot.sent || !matches!(slot.awaiting, Awaiting::Withdrawn));
        self.unsent = self.slots.iter().filter(|slot| !slot.sent).count();
    }

    /// PUBACK. What nobody waits for is ignored.
    pub(crate) fn pub_ack(&mut self, packet_id: PacketId, books: &mut Books) -> Result<(), OutOfOrder> {
        self.end(packet_id, books, |awaiting| matches!(awaiting, Awaiting::Acknowledged(_) | Awaiting::Withdrawn))
    }

    /// PUBREC: the PUBREL that answers it, if any. A packet id that is not in use gets one too, with 0x92, so that a
    /// client that still holds it lets it go (3.6.2.1).
    pub(crate) fn pub_rec(&mut self, ack: &Ack, books: &mut Books) -> Result<Option<Packet>, OutOfOrder> {
        let release = |reason| Packet::PubRel(Ack::new(ack.packet_id, reason));
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.packet_id == ack.packet_id) else {
            return Ok((!ack.reason.is_error()).then(|| release(ReasonCode::PACKET_ID_NOT_FOUND)));
        };
        match &slot.awaiting {
            Awaiting::Acknowledged(_) | Awaiting::Withdrawn => return Err(OutOfOrder),
            Awaiting::Received(_) if ack.reason.is_error() => {
                // MQTT-4.3.3-4: no PUBREL, and the packet id is free again.
                return self.end(ack.packet_id, books, |_| true).map(|()| None);
            }
            Awaiting::Received(outgoing) => {
                let bytes = outgoing.bytes();
                slot.awaiting = Awaiting::Completed;
                self.bytes -= bytes;
                books.bytes -= bytes;
            }
            Awaiting::Completed => {}
        }
        if !slot.sent {
            slot.sent = true;
            self.unsent -= 1;
        }
        Ok(Some(release(ReasonCode::SUCCESS)))
    }

    /// PUBCOMP. What nobody waits for is ignored.
    pub(crate) fn pub_comp(&mut self, packet_id: PacketId, books: &mut Books) -> Result<(), OutOfOrder> {
        self.end(packet_id, books, |awaiting| matches!(awaiting, Awaiting::Completed))
    }

    /// The session is over: what it holds is taken off the books.
    pub(crate) fn strike_off(&self, books: &mut Books) {
        books.bytes -= self.bytes;
    }

    fn end(
        &mut self,
        packet_id: PacketId,
        books: &mut Books,
        is_right: impl Fn(&Awaiting) -> bool,
    ) -> Result<(), OutOfOrder> {
        let Some(index) = self.slots.iter().position(|slot| slot.packet_id == packet_id) else { return Ok(()) };
        if !is_right(&self.slots[index].awaiting) {
            return Err(OutOfOrder);
        }
        let Some(slot) = self.slots.remove(index) else { return Ok(()) };
        let bytes = slot.awaiting.outgoing().map_or(0, Outgoing::bytes);
        self.bytes -= bytes;
        books.bytes -= bytes;
        if !slot.sent {
            self.unsent -= 1;
        }
        Ok(())
    }

    /// The next id after the last that no slot uses. There is one: a window is far below 65,535.
    fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last_id)
                && self.slots.iter().all(|slot| slot.packet_id != id)
            {
                return id;
            }
        }
    }
}

/// QoS 2 packet ids that a client has sent and not released.
#[derive(Debug, Default)]
pub(crate) struct Unreleased {
    /// With the time at which the message was taken.
    ids: BTreeMap<PacketId, u64>,
}

/// What an incoming QoS 2 PUBLISH is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Its id is free.
    New,
    /// It was taken before: acknowledge, deliver nothing.
    Repeated,
    /// One more than the server's Receive Maximum.
    TooMany,
}

impl Unreleased {
    /// Where there is no place for one more, those taken before `given_up_ms` give theirs.
    pub(crate) fn arrival(&mut self, packet_id: PacketId, receive_maximum: u16, given_up_ms: u64) -> Arrival {
        if self.ids.contains_key(&packet_id) {
            return Arrival::Repeated;
        }
        let is_full = |ids: &BTreeMap<_, _>| ids.len() >= usize::from(receive_maximum);
        if is_full(&self.ids) {
            self.ids.retain(|_, taken_ms| *taken_ms >= given_up_ms);
        }
        if is_full(&self.ids) { Arrival::TooMany } else { Arrival::New }
    }

    pub(crate) fn hold(&mut self, packet_id: PacketId, now_ms: u64) {
        self.ids.insert(packet_id, now_ms);
    }

    /// PUBREL: the PUBCOMP that answers it.
    pub(crate) fn release(&mut self, packet_id: PacketId) -> Packet {
        let known = self.ids.remove(&packet_id).is_some();
        let reason = if known { ReasonCode::SUCCESS } else { ReasonCode::PACKET_ID_NOT_FOUND };
        Packet::PubComp(Ack::new(packet_id, reason))
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// When the message of this id was taken, if it was.
    pub(crate) fn taken_ms(&self, packet_id: PacketId) -> Option<u64> {
        self.ids.get(&packet_id).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PacketId, u64)> {
        self.ids.iter().map(|(&packet_id, &taken_ms)| (packet_id, taken_ms))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use postern_mqtt::Topic;
    use postern_mqtt::packet::{Message, QoS};

    use super::*;

    fn outgoing(qos: QoS) -> Outgoing {
        let message = Arc::new(Message::new(Topic::new("t").unwrap(), Bytes::new()));
        Outgoing { number: 0, message, qos, retain: false, subscription_ids: Vec::new(), expires_ms: None }
    }

    fn id(id: u16) -> PacketId {
        PacketId::new(id).unwrap()
    }

    #[test]
    fn packet_ids_in_use_are_skipped_when_the_numbers_come_round() {
        let (mut window, mut books) = (Window::default(), Books::default());
        window.send(outgoing(QoS::AtLeastOnce), 0, &mut books);
        window.last_id = u16::MAX - 1;
        for expected in [u16::MAX, 2] {
            let Packet::Publish(publish) = window.send(outgoing(QoS::AtLeastOnce), 0, &mut books) else { panic!() };
            assert_eq!(publish.packet_id, Some(id(expected)));
        }
    }

    #[test]
    fn an_acknowledgement_of_the_wrong_kind_ends_nothing() {
        let (mut window, mut books) = (Window::default(), Books::default());
        window.send(outgoing(QoS::AtLeastOnce), 0, &mut books);
        window.send(outgoing(QoS::ExactlyOnce), 0, &mut books);
        assert_eq!(window.pub_comp(id(1), &mut books), Err(OutOfOrder));
        assert_eq!(window.pub_ack(id(2), &mut books), Err(OutOfOrder));
        assert_eq!(window.pub_comp(id(2), &mut books), Err(OutOfOrder));
        assert_eq!(window.pub_rec(&Ack::new(id(1), ReasonCode::SUCCESS), &mut books), Err(OutOfOrder));
        assert!(window.pub_rec(&Ack::new(id(2), ReasonCode::SUCCESS), &mut books).is_ok());
        assert_eq!(window.pub_ack(id(2), &mut books), Err(OutOfOrder));
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn an_acknowledgement_of_no_exchange_changes_nothing_and_pubrec_is_answered() {
        let (mut window, mut books) = (Window::default(), Books::default());
        assert_eq!((window.pub_ack(id(7), &mut books), window.pub_comp(id(7), &mut books)), (Ok(()), Ok(())));
        let release = Packet::PubRel(Ack::new(id(7), ReasonCode::PACKET_ID_NOT_FOUND));
        assert_eq!(window.pub_rec(&Ack::new(id(7), ReasonCode::SUCCESS), &mut books), Ok(Some(release)));
        assert_eq!(window.pub_rec(&Ack::new(id(7), ReasonCode::UNSPECIFIED), &mut books), Ok(None));
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn a_resumed_window_waits_under_a_lower_limit_but_pubrel_goes() {
        let (mut window, mut books) = (Window::default(), Books::default());
        for qos in [QoS::AtLeastOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            window.send(outgoing(qos), 0, &mut books);
        }
        assert!(window.pub_rec(&Ack::new(id(3), ReasonCode::SUCCESS), &mut books).is_ok());
        window.connection_lost();
        assert!(matches!(window.resend(1, 0), Some(Packet::Publish(p)) if p.dup && p.packet_id == Some(id(1))));
        assert_eq!(window.resend(1, 0), None);
        assert_eq!(window.pub_ack(id(1), &mut books), Ok(()));
        assert!(matches!(window.resend(1, 0), Some(Packet::Publish(p)) if p.dup && p.packet_id == Some(id(2))));
        assert!(matches!(window.resend(1, 0), Some(Packet::PubRel(a)) if a.packet_id == id(3)));
        assert_eq!(window.resend(1, 0), None);
        assert_eq!(window.unsent, 0);
    }

    #[test]
    fn an_acknowledgement_may_come_before_the_repetition_it_makes_needless() {
        let (mut window, mut books) = (Window::default(), Books::default());
        for qos in [QoS::AtLeastOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
            window.send(outgoing(qos), 0, &mut books);
        }
        window.connection_lost();
        assert_eq!(window.pub_ack(id(2), &mut books), Ok(()));
        assert_eq!(
            window.pub_rec(&Ack::new(id(3), ReasonCode::SUCCESS), &mut books),
            Ok(Some(Packet::PubRel(Ack::new(id(3), ReasonCode::SUCCESS))))
        );
        let mut repeated = Vec::new();
        while let Some(Packet::Publish(publish)) = window.resend(4, 0) {
            repeated.extend(publish.packet_id);
        }
        assert_eq!(repeated, [id(1), id(4)]);
        assert_eq!((window.len(), window.unsent), (3, 0));
    }
}
