//! The protocol machine of one connection, server side: what a connection must remember, and what it may say
//! when.
//!
//! ```text
//!   Fresh --CONNECT--> Greeted --CONNACK 0x00--> Live --DISCONNECT, either way--> Ended
//!     |                  | ^                       | ^                              ^
//!     |                 AUTH, to and fro          AUTH, to and fro                  |
//!     +------ fault ------+----- CONNACK 0x8X -----+------------- fault ------------+
//! ```

use bytes::BytesMut;

use crate::alias::{Aliases, Naming};
use crate::exchange::{Exchange, name_in_conn_ack};
use crate::fault::Fault;
use crate::limits::Limits;
use crate::packet::{ConnAck, Connect, Disconnect, Packet, Version};
use crate::reason::ReasonCode;
use crate::topic::Topic;
use crate::wire::{Decoder, Keep, Sender, Style, encode_within};

pub use crate::wire::Sent;

/// One connection: bytes in, packets out ([`Link::receive`]); packets in, bytes out ([`Link::send`]).
///
/// The order of calls: `receive` until it returns the CONNECT; then `send` a CONNACK that
/// went through [`Link::announce`]; if it was a success, `receive` and `send` as they come. Nothing is received
/// between CONNECT and CONNACK, so that nothing of a refused client is ever acted upon (MQTT-3.1.4-6): the
/// driver should not read from the socket meanwhile either. The exception is an exchange of AUTH packets (4.12), if
/// the CONNECT has an Authentication Method, which is one of [`Limits::authentication_methods`]: each AUTH that was
/// sent with 0x18 lets one AUTH be received. Later the client may begin another exchange, answered by AUTH 0x18 and
/// 0x00. The link names the method in what is sent; the data are the driver's. After an error: send [`LinkError::farewell`] if
/// there is one, and close. All times are milliseconds of one monotonic clock.
#[derive(Debug)]
pub struct Link {
    decoder: Decoder,
    limits: Limits,
    state: State,
    /// When the last whole packet of the client was taken.
    heard_ms: u64,
    /// From here to the client. Those of the other direction are the decoder's: the two have nothing to do with
    /// each other (3.3.2.3.4).
    aliases: Aliases,
    /// None where the CONNECT had no Authentication Method.
    exchange: Option<Exchange>,
}

#[derive(Debug)]
enum State {
    /// Nothing was said.
    Fresh,
    /// The CONNECT waits for its CONNACK.
    Greeted(Client),
    /// Both may speak.
    Live(Client),
    /// Nothing is received any more; `farewell` says what may still be sent, within the client's Maximum Packet
    /// Size.
    Ended { farewell: Farewell, packet_bytes: usize },
}

impl State {
    /// All was said.
    const OVER: Self = Self::Ended { farewell: Farewell::None, packet_bytes: 0 };
}

/// What the CONNECT said about the packets to come.
#[derive(Debug, Clone, Copy)]
struct Client {
    version: Version,
    /// Maximum Packet Size of the client (MQTT-3.1.2-24).
    packet_bytes: usize,
    /// Request Problem Information (MQTT-3.1.2-29).
    wants_problems: bool,
    /// Whether the session ends with the connection, so that DISCONNECT cannot give it an expiry (3.14.2.2.2).
    session_ends: bool,
    requested_keep_alive_s: u16,
    keep_alive_s: u16,
}

/// The last packet of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    None,
    ConnAck,
    Disconnect,
}

/// Why the connection must end: the peer's [`Fault`] and what is to be said about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct LinkError {
    fault: Fault,
    farewell: Farewell,
}

impl LinkError {
    /// What the client did.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// How 5.0 names it.
    pub fn reason(&self) -> ReasonCode {
        self.fault.reason()
    }

    /// What to [`Link::send`] before the connection is closed (MQTT-4.13.1-1): a CONNACK before the client was
    /// let in, a DISCONNECT after that, nothing where the version has no word for it or is not known.
    pub fn farewell(&self) -> Option<Packet> {
        match self.farewell {
            Farewell::None => None,
            Farewell::ConnAck => {
                Some(Packet::ConnAck(Box::new(ConnAck { reason: self.reason(), ..ConnAck::default() })))
            }
            Farewell::Disconnect => Some(Packet::Disconnect(Disconnect::new(self.reason()))),
        }
    }
}

impl Link {
    /// A connection that awaits its CONNECT.
    pub fn new(limits: Limits, now_ms: u64) -> Self {
        let decoder = Decoder::new(Sender::Client, None, limits);
        Self { decoder, limits, state: State::Fresh, heard_ms: now_ms, aliases: Aliases::new(0), exchange: None }
    }

    /// Takes the next whole packet out of `input`; `None`: more bytes are needed, or the CONNECT was not yet
    /// answered. A PINGREQ is handed out and waits for its PINGRESP (MQTT-3.12.4-1), an AUTH for an AUTH or CONNACK.
    ///
    /// Type and flags are checked when their byte is there, the size when the length is there, so `input` need
    /// not hold more than [`Limits::packet_bytes`], and [`Limits::connect_packet_bytes`] before CONNACK.
    pub fn receive(&mut self, now_ms: u64, input: &mut BytesMut) -> Result<Option<Packet>, LinkError> {
        match self.state {
            State::Greeted(_) if !self.exchange.as_ref().is_some_and(Exchange::awaits_client) => return Ok(None),
            State::Ended { .. } if input.is_empty() => return Ok(None),
            State::Ended { .. } => return Err(LinkError { fault: Fault::AfterEnd, farewell: Farewell::None }),
            State::Fresh | State::Greeted(_) | State::Live(_) => {}
        }
        let received = self.decoder.next(input).and_then(|packet| {
            let Some(packet) = packet else { return Ok(None) };
            self.check(&packet)?;
            Ok(Some(packet))
        });
        let packet = match received {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(None),
            Err(fault) => return Err(self.end(fault)),
        };
        self.heard_ms = now_ms;
        match &packet {
            Packet::Connect(connect) => {
                // MQTT-3.1.2-26, MQTT-3.1.2-27
                let maximum = connect.topic_alias_maximum.unwrap_or(0).min(self.limits.outbound_topic_aliases);
                self.aliases = Aliases::new(maximum);
                self.exchange = connect.authentication_method.clone().map(Exchange::new);
                self.state = State::Greeted(Client::new(connect, &self.limits));
            }
            Packet::Auth(auth) => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.hear(auth);
                }
            }
            Packet::Disconnect(_) => self.state = State::OVER,
            _ => {}
        }
        Ok(Some(packet))
    }

    /// What only the conversation tells of a well-formed packet.
    fn check(&self, packet: &Packet) -> Result<(), Fault> {
        match (packet, &self.state) {
            (Packet::Connect(connect), _) => self.check_method(connect),
            (Packet::Auth(auth), state) => match &self.exchange {
                Some(exchange) => exchange.check(auth, matches!(state, State::Live(_))),
                None => Err(Fault::UnexpectedAuth),
            },
            (Packet::Disconnect(disconnect), State::Greeted(client) | State::Live(client))
                if client.session_ends && disconnect.session_expiry.is_some_and(|seconds| seconds != 0) =>
            {
                Err(Fault::SessionExpiryRaised)
            }
            (Packet::Disconnect(_), _) => Ok(()),
            (_, State::Greeted(_)) => Err(Fault::BeforeConnAck),
            _ => Ok(()),
        }
    }

    /// MQTT-4.12.0-1
    fn check_method(&self, connect: &Connect) -> Result<(), Fault> {
        let is_offered = |method: &str| self.limits.authentication_methods.contains(&method);
        let fits = connect.authentication_method.as_deref().is_none_or(is_offered);
        if fits { Ok(()) } else { Err(Fault::AuthenticationMethod) }
    }

    fn end(&mut self, fault: Fault) -> LinkError {
        let has_return_code = matches!(
            fault,
            Fault::ProtocolLevel(_) | Fault::ClientIdMissing | Fault::ClientIdTooLong | Fault::ClientIdCharacter
        );
        let farewell = match (&self.state, self.decoder.version()) {
            (State::Fresh | State::Greeted(_), Some(Version::V5)) => Farewell::ConnAck,
            (State::Fresh, Some(_)) if has_return_code => Farewell::ConnAck,
            (State::Live(_), Some(Version::V5)) => Farewell::Disconnect,
            _ => Farewell::None,
        };
        self.state = State::Ended { farewell, packet_bytes: self.packet_bytes() };
        LinkError { fault, farewell }
    }

    /// Appends the packet in the version of the connection. A CONNACK decides whether the connection goes on;
    /// a DISCONNECT ends it, even where 3.x has none to write.
    ///
    /// 5.0: where the client's Maximum Packet Size is too small, user properties and reason string of anything
    /// but a PUBLISH are left out, in this order (MQTT-3.2.2-19, MQTT-3.4.2-2 and their like); what then is still
    /// too large is not written (MQTT-3.1.2-24). If the client wants no problem information, these two go into
    /// PUBLISH, CONNACK and DISCONNECT only (MQTT-3.1.2-29). A topic that repeats is given an alias if the client
    /// takes one, so what was written must be sent. 3.x: failures become what the version can say.
    pub fn send(&mut self, packet: &Packet, output: &mut BytesMut) -> Sent {
        self.send_in_style(packet, false, output)
    }

    /// As [`Link::send`], without the payload of a PUBLISH: where one was written, its payload must follow at once. So
    /// a large payload goes to many clients from the one place where it is.
    pub fn send_without_payload(&mut self, packet: &Packet, output: &mut BytesMut) -> Sent {
        self.send_in_style(packet, true, output)
    }

    fn send_in_style(&mut self, packet: &Packet, apart: bool, output: &mut BytesMut) -> Sent {
        let Some(style) = self.style(packet).map(|style| Style { apart, ..style }) else {
            return Sent::NotInThisVersion;
        };
        let sent = match packet {
            Packet::Publish(publish) => self.publish(style, packet, &publish.message.topic, output),
            // MQTT-3.14.2-2: that word is the client's.
            Packet::Disconnect(disconnect) if disconnect.session_expiry.is_some() => {
                let disconnect = Disconnect { session_expiry: None, ..disconnect.clone() };
                write(style, self.packet_bytes(), &Packet::Disconnect(disconnect), output)
            }
            Packet::ConnAck(ack) => {
                let ack = Box::new(name_in_conn_ack(self.exchange.as_ref(), ack));
                write(style, self.packet_bytes(), &Packet::ConnAck(ack), output)
            }
            Packet::Auth(auth) => match &self.exchange {
                Some(exchange) => write(style, self.packet_bytes(), &Packet::Auth(exchange.name_in_auth(auth)), output),
                None => return Sent::NotInThisVersion,
            },
            _ => write(style, self.packet_bytes(), packet, output),
        };
        self.go_on(packet, sent);
        sent
    }

    /// What follows from a packet that was, or could not be, written.
    fn go_on(&mut self, packet: &Packet, sent: Sent) {
        match (packet, &self.state) {
            (Packet::ConnAck(ack), State::Greeted(client)) if sent == Sent::Written && !ack.reason.is_error() => {
                self.state = State::Live(*client);
                self.decoder.admit();
                self.exchange.iter_mut().for_each(|exchange| exchange.said(ack.reason));
            }
            (Packet::ConnAck(_) | Packet::Disconnect(_), _) => {
                self.state = State::OVER;
            }
            (Packet::Auth(auth), _) if sent == Sent::Written => {
                self.exchange.iter_mut().for_each(|exchange| exchange.said(auth.reason));
            }
            _ => {}
        }
    }

    /// Writes a PUBLISH, shorter where an alias stands for its topic.
    fn publish(&mut self, style: Style, packet: &Packet, topic: &Topic, output: &mut BytesMut) -> Sent {
        let naming = self.aliases.naming(topic);
        let sent = encode_within(Style { naming, ..style }, self.packet_bytes(), packet, output);
        match naming {
            Naming::Introduce(alias) if sent == Sent::Written => self.aliases.introduced(topic, alias),
            // What introduces an alias is longer than the plain packet, which may just fit.
            Naming::Introduce(_) if sent == Sent::TooLarge => {
                return encode_within(style, self.packet_bytes(), packet, output);
            }
            _ => {}
        }
        sent
    }

    /// How to write `packet`; none if it cannot be said now.
    fn style(&mut self, packet: &Packet) -> Option<Style> {
        let version = self.decoder.version()?;
        if version != Version::V5 && matches!((packet, &self.state), (Packet::Disconnect(_), State::Live(_))) {
            self.state = State::OVER;
            return None;
        }
        let keep = match (packet, &self.state) {
            (Packet::ConnAck(_), State::Greeted(_) | State::Ended { farewell: Farewell::ConnAck, .. })
            | (Packet::Disconnect(_), State::Live(_) | State::Ended { farewell: Farewell::Disconnect, .. })
            | (Packet::Publish(_), State::Live(_)) => Keep::ALL,
            (packet, State::Greeted(client) | State::Live(client)) if self.may_explain(packet) => {
                if client.wants_problems { Keep::ALL } else { Keep::NEITHER }
            }
            _ => return None,
        };
        Some(Style { version, keep, naming: Naming::Name, apart: false })
    }

    /// Whether it is one of the packets that carry an explanation only where the client wants it, and its turn.
    fn may_explain(&self, packet: &Packet) -> bool {
        let is_live = matches!(self.state, State::Live(_));
        match (packet, &self.exchange) {
            (Packet::Auth(auth), Some(exchange)) => exchange.may_say(auth.reason, is_live),
            _ => is_live && is_of_server(packet),
        }
    }

    fn packet_bytes(&self) -> usize {
        match &self.state {
            State::Greeted(client) | State::Live(client) => client.packet_bytes,
            State::Ended { packet_bytes, .. } => *packet_bytes,
            State::Fresh => usize::MAX,
        }
    }

    /// The client is not to blame for its silence before this time: nobody read what it sent.
    pub fn excuse(&mut self, now_ms: u64) {
        self.heard_ms = self.heard_ms.max(now_ms);
    }

    /// When the client must be given up: [`Limits::keep_alive_percent`] of the keep alive after its last whole packet
    /// (MQTT-3.1.2-22). `None`: there is no limit, or no CONNECT yet.
    pub fn keep_alive_deadline_ms(&self) -> Option<u64> {
        let (State::Greeted(client) | State::Live(client)) = &self.state else { return None };
        let silence_ms = self.limits.silence_ms(client.keep_alive_s);
        (silence_ms != 0).then(|| self.heard_ms.saturating_add(silence_ms))
    }

    /// Adds to a CONNACK what this link holds the client to: Maximum Packet Size, Topic Alias Maximum and Server Keep
    /// Alive.
    pub fn announce(&self, conn_ack: ConnAck) -> ConnAck {
        ConnAck {
            maximum_packet_size: Some(self.limits.packet_bytes),
            topic_alias_maximum: Some(self.limits.topic_alias_maximum),
            server_keep_alive: self.server_keep_alive(),
            ..conn_ack
        }
    }

    /// The Server Keep Alive that CONNACK must carry, in seconds (MQTT-3.2.2-21): present where 5.0 is spoken
    /// and the client is held to another keep alive than it asked for.
    pub fn server_keep_alive(&self) -> Option<u16> {
        let (State::Greeted(client) | State::Live(client)) = &self.state else { return None };
        let differs = client.keep_alive_s != client.requested_keep_alive_s;
        (client.version == Version::V5 && differs).then_some(client.keep_alive_s)
    }

    /// The version that is spoken; none before CONNECT.
    pub fn version(&self) -> Option<Version> {
        self.decoder.version()
    }
}

impl Client {
    fn new(connect: &Connect, limits: &Limits) -> Self {
        let packet_bytes = connect.maximum_packet_size.map_or(usize::MAX, |bytes| bytes as usize);
        Self {
            version: connect.version,
            packet_bytes,
            wants_problems: connect.request_problem_information,
            session_ends: connect.session_expiry.unwrap_or(0) == 0,
            requested_keep_alive_s: connect.keep_alive,
            keep_alive_s: limits.keep_alive_s(connect.version, connect.keep_alive),
        }
    }
}

/// What a server may say between CONNACK and DISCONNECT, apart from PUBLISH and AUTH (table 2-1).
fn is_of_server(packet: &Packet) -> bool {
    matches!(
        packet,
        Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp
    )
}

/// Writes a packet that is no PUBLISH, explaining less and less until it fits.
fn write(style: Style, packet_bytes: usize, packet: &Packet, output: &mut BytesMut) -> Sent {
    let sent = encode_within(style, packet_bytes, packet, output);
    if sent != Sent::TooLarge || style.keep == Keep::NEITHER {
        return sent;
    }
    for keep in [Keep::REASON_STRING, Keep::NEITHER] {
        let sent = encode_within(Style { keep, ..style }, packet_bytes, packet, output);
        if sent != Sent::TooLarge {
            return sent;
        }
    }
    Sent::TooLarge
}
