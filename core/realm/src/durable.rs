//! What of a turn must survive the process, and what is refused while there is no room for it.
//!
//! Whoever drives a realm takes the writes after each turn, makes them durable as one, and releases the turn's effects
//! only then: so no acknowledgement overtakes what it acknowledges.

use postern_mqtt::packet::{Ack, Connect, Packet, Publish, QoS};
use postern_mqtt::reason::ReasonCode;

use crate::realm::Realm;
use crate::records::{Key, RetainedRecord};
use crate::session::{Session, SessionId, granted_expiry_s};
use crate::turn::Effect;

impl Realm {
    /// Hands over what must be kept of the turns since the last time: table, key and value of each record that is new,
    /// and no value for one that is gone. The wall clock shows `wall_ms` milliseconds since 1970.
    pub fn take_writes(&mut self, wall_ms: u64, mut take: impl FnMut(u8, Vec<u8>, Option<Vec<u8>>)) {
        if !self.journal.kept.anything() {
            return;
        }
        self.journal.tell_time(self.now_ms, wall_ms);
        self.write();
        for (key, value) in self.journal.drain() {
            let (table, key) = key.encode();
            take(table, key, value);
        }
    }

    /// Whether there is room for what must be kept. While there is none, what would need it is refused with 0x97, and
    /// all else goes on.
    pub fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    pub(crate) fn write(&mut self) {
        let Self { sessions, topics, journal, retained, .. } = self;
        sessions.write(topics, journal);
        for (topic, former) in retained.take_changes() {
            match retained.get(&topic) {
                Some(held) => {
                    let record = RetainedRecord {
                        message: journal.hold(&held.message),
                        qos: held.qos,
                        expires: held.expires_ms.map(|at| journal.to_wall(at)),
                        publisher: held.publisher.clone(),
                    };
                    journal.put(Key::Retained(topic), record.encode());
                }
                None if former.is_some() => journal.cut(Key::Retained(topic)),
                None => {}
            }
            if let Some(former) = former {
                journal.release(&former);
            }
        }
    }

    /// Whether a CONNECT makes or changes what must be kept.
    pub(crate) fn must_keep(&self, connect: &Connect, former: Option<&Session>) -> bool {
        let wants = connect.will.is_some() || granted_expiry_s(connect, &self.limits) > 0;
        self.journal.kept.sessions && (wants || former.is_some_and(|session| session.image.is_some()))
    }

    /// Refuses a PUBLISH of QoS 1 or 2 for want of room. What was taken before is acknowledged again; a client that
    /// cannot be told is closed rather than acknowledged. Whether it was refused.
    pub(crate) fn refuse_for_want_of_room(
        &mut self,
        id: SessionId,
        publish: &Publish,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(packet_id) = publish.packet_id.filter(|_| self.is_full && publish.qos != QoS::AtMostOnce) else {
            return false;
        };
        let Some(session) = self.sessions.get(&id) else { return false };
        if publish.qos == QoS::ExactlyOnce && session.unreleased.taken_ms(packet_id).is_some() {
            return false;
        }
        if !session.attachment.is_some_and(|attachment| attachment.speaks_v5) {
            self.expel(id, ReasonCode::QUOTA_EXCEEDED, effects);
            return true;
        }
        let ack = Ack::new(packet_id, ReasonCode::QUOTA_EXCEEDED);
        let packet = if publish.qos == QoS::ExactlyOnce { Packet::PubRec(ack) } else { Packet::PubAck(ack) };
        self.reply(id, packet, effects);
        true
    }
}
