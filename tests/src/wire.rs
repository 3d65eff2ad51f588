//! MQTT as bytes: enough to write any packet, right or wrong, and to read what comes back. It has no
//! state and checks nothing, so that a test can say exactly what it means.

use std::io::{self, Read};

/// CONNECT's protocol level for 3.1.
pub const V3_1: u8 = 3;
/// CONNECT's protocol level for 3.1.1.
pub const V3_1_1: u8 = 4;
/// CONNECT's protocol level for 5.0.
pub const V5: u8 = 5;

/// The packet types, as the upper half of the first byte.
#[allow(missing_docs)]
pub mod kind {
    pub const CONNACK: u8 = 2;
    pub const PUBLISH: u8 = 3;
    pub const PUBACK: u8 = 4;
    pub const PUBREC: u8 = 5;
    pub const PUBREL: u8 = 6;
    pub const PUBCOMP: u8 = 7;
    pub const SUBACK: u8 = 9;
    pub const UNSUBACK: u8 = 11;
    pub const PINGRESP: u8 = 13;
    pub const DISCONNECT: u8 = 14;
    pub const AUTH: u8 = 15;
}

/// PINGREQ.
pub const PINGREQ: [u8; 2] = [0xC0, 0];
/// DISCONNECT without a reason, the same in all versions.
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// A Variable Byte Integer (section 1.5.5).
pub fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value % 128).unwrap();
        value /= 128;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// Two bytes of length, then the bytes: a string or binary data (sections 1.5.4 and 1.5.6).
pub fn text(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A packet with the right length in front of the body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first][..], &varint(body.len()), body].concat()
}

/// A property list with its length in front, for 5.0; nothing before.
pub fn properties(version: u8, list: &[u8]) -> Vec<u8> {
    if version == V5 { [&varint(list.len()), list].concat() } else { Vec::new() }
}

/// A will as bytes.
#[derive(Clone)]
pub struct Will {
    /// Its topic.
    pub topic: Vec<u8>,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Its QoS.
    pub qos: u8,
    /// Whether it is retained.
    pub retain: bool,
}

/// A CONNECT in the making.
#[derive(Clone)]
pub struct Connect {
    /// The protocol level.
    pub version: u8,
    /// Clean Session or Clean Start.
    pub clean: bool,
    /// In seconds.
    pub keep_alive: u16,
    /// The client identifier.
    pub client_id: Vec<u8>,
    /// The user name.
    pub username: Option<Vec<u8>>,
    /// The password.
    pub password: Option<Vec<u8>>,
    /// The will.
    pub will: Option<Will>,
    /// Properties without their length; 5.0 only.
    pub properties: Vec<u8>,
    /// Those of the will, in the same way.
    pub will_properties: Vec<u8>,
    /// Exclusive-or on the connect flags, to make them wrong.
    pub flip_flags: u8,
}

impl Connect {
    /// A clean session with a keep-alive of a minute.
    pub fn new(version: u8, client_id: impl AsRef<[u8]>) -> Self {
        Self {
            version,
            clean: true,
            keep_alive: 60,
            client_id: client_id.as_ref().to_vec(),
            username: None,
            password: None,
            will: None,
            properties: Vec::new(),
            will_properties: Vec::new(),
            flip_flags: 0,
        }
    }

    /// Keeps the session: Clean Session 0, or Clean Start 0 with an expiry of ten minutes.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.clean = false;
        if self.version == V5 { self.expiry(600) } else { self }
    }

    /// Sets the Session Expiry Interval, in seconds.
    #[must_use]
    pub fn expiry(self, seconds: u32) -> Self {
        self.property(&[&[0x11][..], &seconds.to_be_bytes()].concat())
    }

    /// Sets the user name.
    #[must_use]
    pub fn username(mut self, name: &str) -> Self {
        self.username = Some(name.into());
        self
    }

    /// Sets the will: QoS 0, not retained.
    #[must_use]
    pub fn will(mut self, topic: &str, payload: &str) -> Self {
        self.will = Some(Will { topic: topic.into(), payload: payload.into(), qos: 0, retain: false });
        self
    }

    /// Sets the Will Delay Interval, in seconds; 5.0 only.
    #[must_use]
    pub fn will_delay(mut self, seconds: u32) -> Self {
        self.will_properties.extend([&[0x18][..], &seconds.to_be_bytes()].concat());
        self
    }

    /// Sets the password.
    #[must_use]
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.password = Some(password.as_ref().to_vec());
        self
    }

    /// Sets the keep-alive, in seconds.
    #[must_use]
    pub fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    /// Adds properties.
    #[must_use]
    pub fn property(mut self, bytes: &[u8]) -> Self {
        self.properties.extend(bytes);
        self
    }

    /// The packet.
    pub fn bytes(&self) -> Vec<u8> {
        let name = if self.version == V3_1 { "MQIsdp" } else { "MQTT" };
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | will.qos << 3 | u8::from(will.retain) << 5;
        }
        flags |= u8::from(self.password.is_some()) << 6 | u8::from(self.username.is_some()) << 7;
        let mut body = text(name);
        body.extend([self.version, flags ^ self.flip_flags]);
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(properties(self.version, &self.properties));
        body.extend(text(&self.client_id));
        if let Some(will) = &self.will {
            body.extend(properties(self.version, &self.will_properties));
            body.extend([text(&will.topic), text(&will.payload)].concat());
        }
        for field in [&self.username, &self.password].into_iter().flatten() {
            body.extend(text(field));
        }
        packet(0x10, &body)
    }
}

/// A PUBLISH. `qos` over 0 takes the packet identifier `id`.
pub fn publish(version: u8, topic: impl AsRef<[u8]>, qos: u8, id: u16, payload: impl AsRef<[u8]>) -> Vec<u8> {
    publish_with(version, qos << 1, topic, id, &[], payload)
}

/// A PUBLISH with the retain flag.
pub fn retain(version: u8, topic: &str, qos: u8, id: u16, payload: &str) -> Vec<u8> {
    publish_with(version, qos << 1 | 1, topic, id, &[], payload)
}

/// A PUBLISH with its flags as given (DUP, QoS, RETAIN) and properties without their length.
pub fn publish_with(
    version: u8,
    flags: u8,
    topic: impl AsRef<[u8]>,
    id: u16,
    list: &[u8],
    payload: impl AsRef<[u8]>,
) -> Vec<u8> {
    let mut body = text(topic);
    if flags & 0b110 != 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(properties(version, list));
    body.extend(payload.as_ref());
    packet(0x30 | flags, &body)
}

/// A SUBSCRIBE for one filter.
pub fn subscribe(version: u8, id: u16, filter: impl AsRef<[u8]>, options: u8) -> Vec<u8> {
    subscribe_with(version, id, &[], &[(filter, options)])
}

/// A SUBSCRIBE for filters with their options, and properties without their length.
pub fn subscribe_with(version: u8, id: u16, list: &[u8], filters: &[(impl AsRef<[u8]>, u8)]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes()[..], &properties(version, list)].concat();
    for (filter, options) in filters {
        body.extend(text(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// An UNSUBSCRIBE for one filter.
pub fn unsubscribe(version: u8, id: u16, filter: &str) -> Vec<u8> {
    unsubscribe_all(version, id, &[filter])
}

/// An UNSUBSCRIBE for filters.
pub fn unsubscribe_all(version: u8, id: u16, filters: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes()[..], &properties(version, &[])].concat();
    body.extend(filters.iter().flat_map(text));
    packet(0xA2, &body)
}

/// A DISCONNECT of 5.0 with a reason, and properties without their length.
pub fn disconnect(reason: u8, list: &[u8]) -> Vec<u8> {
    packet(0xE0, &[&[reason][..], &properties(V5, list)].concat())
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP for success.
pub fn acknowledge(kind: u8, id: u16) -> Vec<u8> {
    let first = kind << 4 | if kind == kind::PUBREL { 2 } else { 0 };
    packet(first, &id.to_be_bytes())
}

/// The properties of enhanced authentication: the method, and data if there are some.
pub fn authentication(method: &str, data: Option<&[u8]>) -> Vec<u8> {
    let data = data.map(|data| [&[0x16][..], &text(data)].concat());
    [&[0x15][..], &text(method), &data.unwrap_or_default()].concat()
}

/// An AUTH with properties without their length.
pub fn auth(reason: u8, list: &[u8]) -> Vec<u8> {
    packet(0xF0, &[&[reason][..], &properties(V5, list)].concat())
}

/// A packet that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Type and flags.
    pub first: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl Packet {
    /// The type, as in [`kind`].
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The QoS of a PUBLISH.
    pub fn qos(&self) -> u8 {
        self.first >> 1 & 3
    }

    /// The retain flag of a PUBLISH.
    pub fn retained(&self) -> bool {
        self.first & 1 == 1
    }

    /// CONNACK's return or reason code.
    pub fn connack_code(&self) -> Option<u8> {
        (self.kind() == kind::CONNACK).then(|| self.body[1])
    }

    /// Session Present in a CONNACK.
    pub fn session_present(&self) -> bool {
        self.body[0] & 1 == 1
    }

    /// The bytes of a property in a CONNACK of 5.0, as in [`take_properties`].
    pub fn connack_property(&self, wanted: u8) -> Option<Vec<u8>> {
        property(&self.body[2..], wanted)
    }

    /// The properties of a PUBLISH of 5.0 in their order, as in [`take_properties`].
    pub fn publish_properties(&self) -> Vec<(u8, Vec<u8>)> {
        assert_eq!(self.kind(), kind::PUBLISH, "{self:?}");
        let (_, rest) = take_text(&self.body);
        take_properties(&rest[if self.qos() > 0 { 2 } else { 0 }..]).0
    }

    /// The Message Expiry Interval in a PUBLISH of 5.0.
    pub fn message_expiry(&self) -> Option<u32> {
        let value = self.publish_properties().into_iter().find(|(id, _)| *id == 0x02)?.1;
        Some(u32::from_be_bytes(value.try_into().unwrap()))
    }

    /// The Subscription Identifiers in a PUBLISH of 5.0, lowest first.
    pub fn subscription_ids(&self) -> Vec<usize> {
        let of = |(id, value): (u8, Vec<u8>)| (id == 0x0B).then(|| take_varint(&value).0);
        let mut ids = self.publish_properties().into_iter().filter_map(of).collect::<Vec<_>>();
        ids.sort_unstable();
        ids
    }

    /// DUP of a PUBLISH.
    pub fn is_dup(&self) -> bool {
        self.first & 8 != 0
    }

    /// The reason of an acknowledgement; 0 where it is left out, as in 3.x.
    pub fn acknowledgement_code(&self) -> u8 {
        self.body.get(2).copied().unwrap_or(0)
    }

    /// The codes of a SUBACK or UNSUBACK, one for each filter; none in an UNSUBACK of 3.x.
    pub fn codes(&self, version: u8) -> Vec<u8> {
        let rest = &self.body[2..];
        if version == V5 { take_properties(rest).1.to_vec() } else { rest.to_vec() }
    }

    /// The bytes of a property in an AUTH.
    pub fn auth_property(&self, wanted: u8) -> Option<Vec<u8>> {
        property(&self.body[1..], wanted)
    }

    /// AUTH's reason code.
    pub fn auth_code(&self) -> Option<u8> {
        (self.kind() == kind::AUTH).then(|| self.body[0])
    }

    /// DISCONNECT's reason code; 0 where it is left out.
    pub fn disconnect_code(&self) -> Option<u8> {
        (self.kind() == kind::DISCONNECT).then(|| self.body.first().copied().unwrap_or(0))
    }

    /// Topic, packet identifier (0 for QoS 0) and payload of a PUBLISH.
    pub fn published(&self, version: u8) -> (String, u16, Vec<u8>) {
        assert_eq!(self.kind(), kind::PUBLISH, "{self:?}");
        let (topic, mut rest) = take_text(&self.body);
        let mut id = 0;
        if self.qos() > 0 {
            id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        if version == V5 {
            rest = take_properties(rest).1;
        }
        (String::from_utf8(topic.to_vec()).unwrap(), id, rest.to_vec())
    }

    /// The packet identifier of an acknowledgement.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }
}

/// The bytes of a property in a list with its length in front, as in [`take_properties`].
fn property(section: &[u8], wanted: u8) -> Option<Vec<u8>> {
    take_properties(section).0.into_iter().find(|(id, _)| *id == wanted).map(|(_, value)| value)
}

/// Splits a length-prefixed text off.
pub fn take_text(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    bytes[2..].split_at(length)
}

/// Splits a Variable Byte Integer off.
pub fn take_varint(bytes: &[u8]) -> (usize, &[u8]) {
    let mut value = 0;
    for (index, &byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return (value, &bytes[index + 1..]);
        }
    }
    panic!("not a variable byte integer: {bytes:?}");
}

/// Splits a property list of 5.0 off: each property's identifier and value, that of a text without its length.
pub fn take_properties(bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, &[u8]) {
    let (length, rest) = take_varint(bytes);
    let (mut list, after) = rest.split_at(length);
    let mut properties = Vec::new();
    while let Some((&id, rest)) = list.split_first() {
        let (value, rest) = match id {
            0x01 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => rest.split_at(1),
            0x13 | 0x21 | 0x22 | 0x23 => rest.split_at(2),
            0x02 | 0x11 | 0x27 => rest.split_at(4),
            0x0B => rest.split_at(rest.len() - take_varint(rest).1.len()),
            // A pair is its two texts, with their lengths.
            0x26 => rest.split_at(rest.len() - take_text(take_text(rest).1).1.len()),
            _ => take_text(rest),
        };
        properties.push((id, value.to_vec()));
        list = rest;
    }
    (properties, after)
}

/// Reads one packet; `None` where the stream ends before its first byte.
pub fn read_packet(stream: &mut impl Read) -> io::Result<Option<Packet>> {
    let mut byte = [0];
    if stream.read(&mut byte)? == 0 {
        return Ok(None);
    }
    let first = byte[0];
    let mut length = 0;
    for index in 0..4 {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7F) << (7 * index);
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(Packet { first, body }))
}
