//! A realm with scripted clients and a clock. Each step checks what must hold of any effect: it goes to a
//! connection that is open, and none is closed twice.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use postern_mqtt::packet::{
    Ack, ConnAck, Connect, Disconnect, Message, PacketId, Publish, QoS, RetainHandling, SubAck, Subscribe,
    Subscription, Unsubscribe, Version, Will,
};
use postern_mqtt::{Filter, Packet, ReasonCode, Topic};
use postern_realm::{ConnId, Departure, Effect, Input, Owner, Realm, RealmLimits, Refused, Rights};

pub(crate) use QoS::{AtLeastOnce as Q1, AtMostOnce as Q0, ExactlyOnce as Q2};

#[derive(Debug, Default)]
struct Inbox {
    packets: Vec<Packet>,
    is_closed: bool,
    farewell: Option<Disconnect>,
    refused: Vec<(Refused, ReasonCode)>,
}

#[derive(Debug)]
pub(crate) struct Sim {
    pub(crate) realm: Realm,
    now_ms: u64,
    inboxes: BTreeMap<ConnId, Inbox>,
}

/// A 5.0 client with a session that lasts 100 s.
pub(crate) fn client(id: &str) -> Connect {
    Connect { clean_start: false, session_expiry: Some(100), ..Connect::new(Version::V5, id) }
}

pub(crate) fn v3_client(id: &str, clean_start: bool) -> Connect {
    Connect { version: Version::V3_1_1, clean_start, session_expiry: None, ..client(id) }
}

pub(crate) fn will(topic: &str, delay: u32) -> Will {
    Will { qos: Q1, retain: false, delay, message: Arc::new(message(topic, "will")) }
}

pub(crate) fn message(topic: &str, payload: &str) -> Message {
    Message::new(Topic::new(topic).unwrap(), Bytes::copy_from_slice(payload.as_bytes()))
}

pub(crate) fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub(crate) fn max(n: u16) -> Option<NonZeroU16> {
    NonZeroU16::new(n)
}

pub(crate) fn publish(qos: QoS, packet_id: u16, message: Message) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        packet_id: PacketId::new(packet_id),
        message: Arc::new(message),
        expiry_left: None,
        subscription_ids: Vec::new(),
    }
}

pub(crate) fn subscription(filter: &str, qos: QoS) -> Subscription {
    Subscription {
        filter: Ok(Filter::new(filter).unwrap()),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Always,
    }
}

pub(crate) fn subscribe(subscription_id: Option<u32>, subscriptions: Vec<Subscription>) -> Packet {
    Packet::Subscribe(Subscribe { packet_id: id(9), subscription_id, user_properties: Vec::new(), subscriptions })
}

pub(crate) fn unsubscribe(filters: &[&str]) -> Packet {
    let filters = filters.iter().map(|filter| Ok(Filter::new(filter).unwrap())).collect();
    Packet::Unsubscribe(Unsubscribe { packet_id: id(8), user_properties: Vec::new(), filters })
}

pub(crate) fn ack(id: u16) -> Ack {
    Ack::new(PacketId::new(id).unwrap(), ReasonCode::SUCCESS)
}

/// The publishes among some packets.
pub(crate) fn publishes(packets: Vec<Packet>) -> Vec<Publish> {
    let publish = |packet| match packet {
        Packet::Publish(publish) => Some(publish),
        _ => None,
    };
    packets.into_iter().filter_map(publish).collect()
}

pub(crate) fn payload(publish: &Publish) -> &str {
    std::str::from_utf8(&publish.message.payload).unwrap()
}

impl Sim {
    pub(crate) fn new() -> Self {
        Self::with(RealmLimits::default())
    }

    pub(crate) fn with(limits: RealmLimits) -> Self {
        Self { realm: Realm::new(limits), now_ms: 1_000_000, inboxes: BTreeMap::new() }
    }

    /// A turn with these inputs, and as many as the realm wants after it.
    pub(crate) fn step(&mut self, inputs: Vec<Input>) {
        self.turn(inputs);
        while self.realm.has_more() {
            self.turn(Vec::new());
        }
    }

    /// One turn.
    pub(crate) fn turn(&mut self, inputs: Vec<Input>) {
        let (mut inputs, mut effects) = (inputs, Vec::new());
        self.realm.turn(self.now_ms, &mut inputs, &mut effects);
        assert!(inputs.is_empty());
        assert!(self.realm.next_deadline_ms().is_none_or(|at| at > self.now_ms), "nothing due is left");
        for effect in effects {
            let (Effect::Send { conn, .. } | Effect::Close { conn, .. } | Effect::Refused { conn, .. }) = &effect;
            let inbox = self.inboxes.get_mut(conn).expect("effects are for connections that there are");
            assert!(!inbox.is_closed, "nothing goes to a closed connection: {effect:?}");
            match effect {
                Effect::Send { packet, .. } => inbox.packets.push(packet),
                Effect::Refused { request, reason, .. } => inbox.refused.push((request, reason)),
                Effect::Close { farewell, .. } => {
                    inbox.is_closed = true;
                    inbox.farewell = farewell;
                }
            }
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Lets time pass, in seconds.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now_ms += seconds * 1000;
        self.step(Vec::new());
    }

    /// Seconds until the realm wants to be woken.
    pub(crate) fn wakes_in_ms(&self) -> Option<u64> {
        self.realm.next_deadline_ms().map(|at| at - self.now_ms)
    }

    pub(crate) fn connect(&mut self, connect: Connect) -> ConnId {
        self.connect_as(connect, None)
    }

    pub(crate) fn connect_as(&mut self, connect: Connect, owner: Owner) -> ConnId {
        self.connect_with(connect, owner, None)
    }

    pub(crate) fn connect_with(&mut self, connect: Connect, owner: Owner, rights: Rights) -> ConnId {
        let greeting = ConnAck { server_keep_alive: Some(60), ..ConnAck::default() };
        self.arrive(connect, owner, rights, greeting)
    }

    pub(crate) fn connect_greeted(&mut self, connect: Connect, greeting: ConnAck) -> ConnId {
        self.arrive(connect, None, None, greeting)
    }

    fn arrive(&mut self, connect: Connect, owner: Owner, rights: Rights, greeting: ConnAck) -> ConnId {
        let conn = ConnId(self.inboxes.len() as u64);
        self.inboxes.insert(conn, Inbox::default());
        let (connect, greeting) = (Box::new(connect), Box::new(greeting));
        self.step(vec![Input::Connect { conn, connect, owner, rights, greeting }]);
        conn
    }

    /// Connects, and reads the CONNACK away.
    pub(crate) fn enter(&mut self, connect: Connect) -> ConnId {
        let conn = self.connect(connect);
        assert_eq!(self.conn_ack(conn).reason, ReasonCode::SUCCESS);
        conn
    }

    pub(crate) fn conn_ack(&mut self, conn: ConnId) -> ConnAck {
        match self.inboxes.get_mut(&conn).unwrap().packets.remove(0) {
            Packet::ConnAck(conn_ack) => *conn_ack,
            other => panic!("CONNACK must be first [MQTT-3.2.0-1], not {other:?}"),
        }
    }

    pub(crate) fn send(&mut self, conn: ConnId, packet: Packet) {
        self.step(vec![Input::Packet { conn, packet }]);
    }

    /// Sends, and takes all that came since.
    pub(crate) fn ask(&mut self, conn: ConnId, packet: Packet) -> Vec<Packet> {
        self.send(conn, packet);
        self.take(conn)
    }

    pub(crate) fn lost(&mut self, conn: ConnId) {
        self.closed(conn, Departure::Lost);
    }

    pub(crate) fn goodbye(&mut self, conn: ConnId) {
        self.closed(conn, Departure::Goodbye(Disconnect::default()));
    }

    pub(crate) fn closed(&mut self, conn: ConnId, departure: Departure) {
        self.step(vec![Input::Closed { conn, departure }]);
        self.inboxes.get_mut(&conn).unwrap().is_closed = true;
    }

    /// What came for a connection.
    pub(crate) fn take(&mut self, conn: ConnId) -> Vec<Packet> {
        std::mem::take(&mut self.inboxes.get_mut(&conn).unwrap().packets)
    }

    /// What the operator was told of this connection's requests.
    pub(crate) fn refused(&mut self, conn: ConnId) -> Vec<(Refused, ReasonCode)> {
        std::mem::take(&mut self.inboxes.get_mut(&conn).unwrap().refused)
    }

    /// The broker says something itself.
    pub(crate) fn announce(&mut self, topic: &str, payload: &'static str, retain: bool) {
        let (topic, payload) = (Topic::new(topic).unwrap(), Bytes::from_static(payload.as_bytes()));
        self.step(vec![Input::Announce { topic, payload, retain }]);
    }

    /// The reason with which the realm closed a connection; none if it did not, or without one.
    pub(crate) fn farewell(&self, conn: ConnId) -> Option<ReasonCode> {
        self.inboxes[&conn].farewell.as_ref().map(|disconnect| disconnect.reason)
    }

    pub(crate) fn is_open(&self, conn: ConnId) -> bool {
        !self.inboxes[&conn].is_closed
    }

    pub(crate) fn subscribe_with(
        &mut self,
        conn: ConnId,
        subscription_id: u32,
        s: Vec<Subscription>,
    ) -> Vec<ReasonCode> {
        self.send(conn, subscribe((subscription_id != 0).then_some(subscription_id), s));
        let packets = &mut self.inboxes.get_mut(&conn).unwrap().packets;
        let at = packets.iter().position(|p| matches!(p, Packet::SubAck(_))).expect("a SUBACK");
        let Packet::SubAck(SubAck { packet_id, reasons, .. }) = packets.remove(at) else { unreachable!() };
        assert_eq!(packet_id, id(9));
        reasons
    }

    pub(crate) fn subscribe(&mut self, conn: ConnId, filter: &str, qos: QoS) {
        let reasons = self.subscribe_with(conn, 0, vec![subscription(filter, qos)]);
        assert!(!reasons[0].is_error(), "{reasons:?}");
    }

    pub(crate) fn unsubscribe(&mut self, conn: ConnId, filter: &str) -> ReasonCode {
        match &self.ask(conn, unsubscribe(&[filter]))[..] {
            [Packet::UnsubAck(unsub_ack)] => unsub_ack.reasons[0],
            other => panic!("an UNSUBACK, not {other:?}"),
        }
    }

    /// Publishes at QoS 0.
    pub(crate) fn tell(&mut self, conn: ConnId, topic: &str, payload: &str) {
        self.send(conn, Packet::Publish(publish(Q0, 0, message(topic, payload))));
    }

    /// Publishes at QoS 1 and returns the reason of its PUBACK.
    pub(crate) fn tell_surely(&mut self, conn: ConnId, topic: &str, payload: &str) -> ReasonCode {
        self.send_publish(conn, publish(Q1, 77, message(topic, payload)))
    }

    /// Sends a QoS 1 or 2 PUBLISH and returns the reason of its PUBACK or PUBREC, leaving other packets.
    pub(crate) fn send_publish(&mut self, conn: ConnId, publish: Publish) -> ReasonCode {
        let expected = publish.packet_id.unwrap();
        self.send(conn, Packet::Publish(publish));
        match self.inboxes.get_mut(&conn).unwrap().packets.pop() {
            Some(Packet::PubAck(ack) | Packet::PubRec(ack)) if ack.packet_id == expected => ack.reason,
            other => panic!("an acknowledgement, not {other:?}"),
        }
    }

    pub(crate) fn retain(&mut self, conn: ConnId, topic: &str, payload: &str, qos: QoS) {
        let packet_id = if qos == Q0 { 0 } else { 78 };
        self.send(conn, Packet::Publish(Publish { retain: true, ..publish(qos, packet_id, message(topic, payload)) }));
        if qos == Q2 {
            self.send(conn, Packet::PubRel(ack(78)));
        }
        self.take(conn);
    }

    /// Payloads of the publishes that came, acknowledging nothing.
    pub(crate) fn payloads(&mut self, conn: ConnId) -> Vec<String> {
        publishes(self.take(conn)).iter().map(|p| payload(p).to_owned()).collect()
    }
}
