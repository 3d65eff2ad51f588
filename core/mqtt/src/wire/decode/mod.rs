//! Bytes into packets.

mod acknowledge;
mod close;
mod connect;
mod publish;
mod subscribe;

use bytes::{Buf, BytesMut};

use self::publish::Aliases;
use super::reader::{self, Reader};
use super::{Kind, Sender};
use crate::fault::Fault;
use crate::limits::Limits;
use crate::packet::{Packet, PacketId, UserProperties, Version};

/// Takes packets off a stream of one connection and remembers what the stream makes necessary: the version
/// and the topic aliases. After a [`Fault`] the stream means nothing any more.
#[derive(Debug)]
pub struct Decoder {
    sender: Sender,
    version: Option<Version>,
    /// Nobody has let it in yet.
    is_stranger: bool,
    limits: Limits,
    aliases: Aliases,
}

impl Decoder {
    /// For packets of `sender`. Without a version the first packet must be a CONNECT, which sets it, and until
    /// [`Decoder::admit`] packets may be as large as [`Limits::connect_packet_bytes`].
    pub fn new(sender: Sender, version: Option<Version>, limits: Limits) -> Self {
        let aliases = Aliases::new(limits.topic_alias_maximum);
        Self { sender, version, is_stranger: version.is_none(), limits, aliases }
    }

    /// CONNACK lets the client in: from now on packets may be as large as [`Limits::packet_bytes`].
    pub fn admit(&mut self) {
        self.is_stranger = false;
    }

    /// The version; none before the protocol level of a CONNECT was read.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Takes the next whole packet out of `input`; `None`: it is not there yet.
    ///
    /// The type is checked when its byte is there, the size when its length is there: `input` never needs to
    /// hold more than one packet within the limits.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Packet>, Fault> {
        let Some((&first, rest)) = input.split_first() else { return Ok(None) };
        let kind = self.check_first(first)?;
        let Some((body, length_bytes)) = reader::var_int(rest)? else { return Ok(None) };
        let header = 1 + length_bytes;
        let total = header + body as usize;
        let limit = if self.is_stranger { self.limits.connect_packet_bytes } else { self.limits.packet_bytes };
        if total > limit as usize {
            return Err(Fault::PacketTooLarge);
        }
        if input.len() < total {
            return Ok(None);
        }
        let packet = self.body(kind, first, Reader::new(&input[header..total]))?;
        input.advance(total);
        Ok(Some(packet))
    }

    /// What one byte tells: type, direction, flags (MQTT-3.1.0-1, MQTT-3.1.0-2, MQTT-2.1.3-1).
    fn check_first(&self, first: u8) -> Result<Kind, Fault> {
        let kind = Kind::of(first)?;
        match (kind, self.version, self.sender) {
            (Kind::Connect, Some(_), Sender::Client) => return Err(Fault::SecondConnect),
            (Kind::Connect, None, Sender::Client) => {}
            (_, None, Sender::Client) => return Err(Fault::NotConnect),
            (Kind::Auth, Some(Version::V3_1 | Version::V3_1_1), _) => return Err(Fault::ReservedType(first >> 4)),
            _ => {}
        }
        if !kind.is_sent_by(self.sender) {
            return Err(Fault::WrongDirection);
        }
        kind.check_flags(first, self.version)?;
        Ok(kind)
    }

    fn body(&mut self, kind: Kind, first: u8, mut reader: Reader<'_>) -> Result<Packet, Fault> {
        if kind == Kind::Connect {
            return connect::connect(&mut reader, &self.limits, &mut self.version)
                .map(|c| Packet::Connect(Box::new(c)));
        }
        let dialect =
            Dialect { version: self.version.ok_or(Fault::NotConnect)?, sender: self.sender, limits: &self.limits };
        let packet = match kind {
            Kind::Connect => return Err(Fault::SecondConnect),
            Kind::ConnAck => Packet::ConnAck(Box::new(connect::conn_ack(&mut reader, &dialect)?)),
            Kind::Publish => Packet::Publish(publish::publish(first, &mut reader, &dialect, &mut self.aliases)?),
            Kind::PubAck => Packet::PubAck(acknowledge::ack(kind, &mut reader, &dialect)?),
            Kind::PubRec => Packet::PubRec(acknowledge::ack(kind, &mut reader, &dialect)?),
            Kind::PubRel => Packet::PubRel(acknowledge::ack(kind, &mut reader, &dialect)?),
            Kind::PubComp => Packet::PubComp(acknowledge::ack(kind, &mut reader, &dialect)?),
            Kind::Subscribe => Packet::Subscribe(subscribe::subscribe(&mut reader, &dialect)?),
            Kind::SubAck => Packet::SubAck(acknowledge::sub_ack(&mut reader, &dialect)?),
            Kind::Unsubscribe => Packet::Unsubscribe(subscribe::unsubscribe(&mut reader, &dialect)?),
            Kind::UnsubAck => Packet::UnsubAck(acknowledge::unsub_ack(&mut reader, &dialect)?),
            Kind::PingReq => Packet::PingReq,
            Kind::PingResp => Packet::PingResp,
            Kind::Disconnect => Packet::Disconnect(close::disconnect(&mut reader, &dialect)?),
            Kind::Auth => Packet::Auth(close::auth(&mut reader, &dialect)?),
        };
        reader.finish()?;
        Ok(packet)
    }
}

/// What the body of a packet depends on.
struct Dialect<'l> {
    version: Version,
    sender: Sender,
    limits: &'l Limits,
}

impl Dialect<'_> {
    fn is_v5(&self) -> bool {
        self.version == Version::V5
    }
}

fn packet_id(reader: &mut Reader<'_>) -> Result<PacketId, Fault> {
    PacketId::new(reader.u16()?).ok_or(Fault::PacketIdZero)
}

fn keep_pair(list: &mut UserProperties, (name, value): (&str, &str)) {
    list.push((name.into(), value.into()));
}
