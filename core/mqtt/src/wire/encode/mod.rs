//! Packets into bytes.

mod acknowledge;
mod close;
mod connect;
mod publish;
mod subscribe;

use std::sync::Arc;

use bytes::BytesMut;

use super::Kind;
use super::writer::{Count, Sink, var_int_bytes};
use crate::alias::Naming;
use crate::packet::{Packet, QoS, UserProperties, Version};
use crate::property::Property;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// Its bytes were appended.
    Written,
    /// It is larger than the receiver takes (MQTT-3.1.2-24) or than the standard can say. Nothing was appended.
    TooLarge,
    /// It does not exist in the version of the connection, or has no place at this point of the conversation.
    /// Nothing was appended.
    NotInThisVersion,
}

/// Appends `packet` as it looks in `version`. What the version lacks is left out.
pub fn encode(version: Version, packet: &Packet, output: &mut BytesMut) -> Sent {
    encode_within(Style { version, keep: Keep::ALL, naming: Naming::Name, apart: false }, usize::MAX, packet, output)
}

/// What is said beyond the necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) reason_string: bool,
    pub(crate) user_properties: bool,
}

impl Keep {
    pub(crate) const ALL: Self = Self { reason_string: true, user_properties: true };
    pub(crate) const REASON_STRING: Self = Self { reason_string: true, user_properties: false };
    pub(crate) const NEITHER: Self = Self { reason_string: false, user_properties: false };
}

/// How a packet is to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) version: Version,
    pub(crate) keep: Keep,
    /// Of the topic of a PUBLISH; 3.x has the name alone.
    pub(crate) naming: Naming,
    /// The payload of a PUBLISH is counted and not written: it goes out behind the rest, from where it is.
    pub(crate) apart: bool,
}

impl Style {
    fn is_v5(self) -> bool {
        self.version == Version::V5
    }
}

/// As [`encode`], unless the packet would have more than `max_bytes`.
pub(crate) fn encode_within(style: Style, max_bytes: usize, packet: &Packet, output: &mut BytesMut) -> Sent {
    let Some(first) = first_byte(style, packet) else { return Sent::NotInThisVersion };
    let mut count = Count::default();
    body(style, packet, &mut count);
    let Some(length) = count.packet_body() else { return Sent::TooLarge };
    let total = 1 + var_int_bytes(length) + length;
    if total > max_bytes {
        return Sent::TooLarge;
    }
    let apart = if style.apart { payload_bytes(packet) } else { 0 };
    output.reserve(total - apart);
    output.u8(first);
    output.var_int(length);
    body(style, packet, output);
    Sent::Written
}

fn payload_bytes(packet: &Packet) -> usize {
    match packet {
        Packet::Publish(publish) => publish.message.payload.len(),
        _ => 0,
    }
}

/// Type and flags; none for a packet that cannot be said.
fn first_byte(style: Style, packet: &Packet) -> Option<u8> {
    let kind = match packet {
        Packet::Connect(_) => Kind::Connect,
        Packet::ConnAck(_) => Kind::ConnAck,
        Packet::Publish(publish) => return publish::first_byte(publish),
        Packet::PubAck(_) => Kind::PubAck,
        Packet::PubRec(_) => Kind::PubRec,
        Packet::PubRel(_) => Kind::PubRel,
        Packet::PubComp(_) => Kind::PubComp,
        Packet::Subscribe(_) => Kind::Subscribe,
        Packet::SubAck(_) => Kind::SubAck,
        Packet::Unsubscribe(_) => Kind::Unsubscribe,
        Packet::UnsubAck(_) => Kind::UnsubAck,
        Packet::PingReq => Kind::PingReq,
        Packet::PingResp => Kind::PingResp,
        Packet::Disconnect(_) => Kind::Disconnect,
        Packet::Auth(_) if !style.is_v5() => return None,
        Packet::Auth(_) => Kind::Auth,
    };
    Some(kind.first_byte())
}

fn body(style: Style, packet: &Packet, sink: &mut impl Sink) {
    match packet {
        Packet::Connect(packet) => connect::connect(style, packet, sink),
        Packet::ConnAck(packet) => connect::conn_ack(style, packet, sink),
        Packet::Publish(packet) => publish::publish(style, packet, sink),
        Packet::PubAck(packet) | Packet::PubRec(packet) | Packet::PubRel(packet) | Packet::PubComp(packet) => {
            acknowledge::ack(style, packet, sink);
        }
        Packet::Subscribe(packet) => subscribe::subscribe(style, packet, sink),
        Packet::SubAck(packet) => acknowledge::sub_ack(style, packet, sink),
        Packet::Unsubscribe(packet) => subscribe::unsubscribe(style, packet, sink),
        Packet::UnsubAck(packet) => acknowledge::unsub_ack(style, packet, sink),
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(packet) => close::disconnect(style, packet, sink),
        Packet::Auth(packet) => close::auth(style, packet, sink),
    }
}

/// The two properties that may be left out, of a packet that has both.
fn explanation<'a>(
    keep: Keep,
    reason_string: Option<&'a Arc<str>>,
    user_properties: &'a UserProperties,
    put: &mut dyn FnMut(Property<'a>),
) {
    if let Some(text) = reason_string.filter(|_| keep.reason_string) {
        put(Property::ReasonString(text));
    }
    if keep.user_properties {
        pairs(user_properties, put);
    }
}

/// User properties, in their order (MQTT-3.1.3-10, MQTT-3.3.2-18).
fn pairs<'a>(list: &'a UserProperties, put: &mut dyn FnMut(Property<'a>)) {
    for (name, value) in list {
        put(Property::User((name, value)));
    }
}

fn qos_bits(qos: QoS) -> u8 {
    match qos {
        QoS::AtMostOnce => 0,
        QoS::AtLeastOnce => 1,
        QoS::ExactlyOnce => 2,
    }
}
