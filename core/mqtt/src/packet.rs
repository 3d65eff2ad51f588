//! One packet model for MQTT 3.1, 3.1.1 and 5.0. What a version lacks is empty here; only the wire
//! format ([`crate::link`]) knows which version a connection speaks.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;

use crate::reason::ReasonCode;
use crate::topic::{Filter, Topic};

/// The number that ties an acknowledgement to its packet (MQTT-2.2.1).
pub type PacketId = NonZeroU16;

/// Quality of service (section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum QoS {
    /// 0
    #[default]
    AtMostOnce,
    /// 1
    AtLeastOnce,
    /// 2
    ExactlyOnce,
}

/// Name and value of a user property, in the order of the packet (MQTT-3.3.2-18).
pub type UserProperties = Vec<(Arc<str>, Arc<str>)>;

/// Any control packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// 3.1
    Connect(Box<Connect>),
    /// 3.2
    ConnAck(Box<ConnAck>),
    /// 3.3
    Publish(Publish),
    /// 3.4
    PubAck(Ack),
    /// 3.5
    PubRec(Ack),
    /// 3.6
    PubRel(Ack),
    /// 3.7
    PubComp(Ack),
    /// 3.8
    Subscribe(Subscribe),
    /// 3.9
    SubAck(SubAck),
    /// 3.10
    Unsubscribe(Unsubscribe),
    /// 3.11
    UnsubAck(SubAck),
    /// 3.12
    PingReq,
    /// 3.13
    PingResp,
    /// 3.14
    Disconnect(Disconnect),
    /// 3.15
    Auth(Auth),
}

/// The version that a connection speaks; chosen by its CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// 3.1 (`MQIsdp`, level 3)
    V3_1,
    /// 3.1.1 (level 4)
    V3_1_1,
    /// 5.0 (level 5)
    V5,
}

impl Version {
    /// The protocol level in its CONNECT (3.1.2.2).
    pub fn level(self) -> u8 {
        match self {
            Self::V3_1 => 3,
            Self::V3_1_1 => 4,
            Self::V5 => 5,
        }
    }

    /// Whether its packets carry properties, so that a peer can be told limits and reasons.
    pub fn has_properties(self) -> bool {
        self == Self::V5
    }
}

/// How long a session is to outlive its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionLifetime {
    /// So many seconds; 0 ends it with the connection.
    Seconds(u32),
    /// Clean Session 0 of 3.x, which has no interval: until the server discards it.
    UntilFurtherNotice,
}

impl Connect {
    /// What the client asks for (3.1.2.11.2; 3.1.2.4 of 3.1.1).
    pub fn session_lifetime(&self) -> SessionLifetime {
        match self.version {
            Version::V5 => SessionLifetime::Seconds(self.session_expiry.unwrap_or(0)),
            Version::V3_1 | Version::V3_1_1 if self.clean_start => SessionLifetime::Seconds(0),
            Version::V3_1 | Version::V3_1_1 => SessionLifetime::UntilFurtherNotice,
        }
    }
}

impl std::fmt::Display for Version {
    /// As the standards are called: `3.1`, `3.1.1`, `5.0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V3_1 => "3.1",
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// 3.1 CONNECT
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Protocol level.
    pub version: Version,
    /// Clean Start, or Clean Session in 3.x.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 is none.
    pub keep_alive: u16,
    /// Client Identifier; may be empty.
    pub client_id: Arc<str>,
    /// The will, if there is one.
    pub will: Option<Will>,
    /// User Name.
    pub username: Option<Arc<str>>,
    /// Password.
    pub password: Option<Password>,
    /// Session Expiry Interval in seconds; absent is 0 in 5.0. 3.x has none: Clean Session 0 means until further notice.
    pub session_expiry: Option<u32>,
    /// Receive Maximum; absent is 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum Packet Size in bytes; absent is no limit.
    pub maximum_packet_size: Option<u32>,
    /// Topic Alias Maximum; absent is 0.
    pub topic_alias_maximum: Option<u16>,
    /// Request Response Information.
    pub request_response_information: bool,
    /// Request Problem Information; absent is true.
    pub request_problem_information: bool,
    /// User Properties.
    pub user_properties: UserProperties,
    /// Authentication Method.
    pub authentication_method: Option<Arc<str>>,
    /// Authentication Data.
    pub authentication_data: Option<AuthenticationData>,
}

impl Connect {
    /// The plainest: Clean Start, no keep alive, and nothing that may be left out.
    pub fn new(version: Version, client_id: impl Into<Arc<str>>) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive: 0,
            client_id: client_id.into(),
            will: None,
            username: None,
            password: None,
            session_expiry: None,
            receive_maximum: None,
            maximum_packet_size: None,
            topic_alias_maximum: None,
            request_response_information: false,
            request_problem_information: true,
            user_properties: Vec::new(),
            authentication_method: None,
            authentication_data: None,
        }
    }
}

/// A password. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Bytes);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(password)")
    }
}

/// What an authentication method has to say (4.12). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthenticationData(pub Bytes);

impl std::fmt::Debug for AuthenticationData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(authentication data)")
    }
}

/// The will in a CONNECT (3.1.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will Delay Interval in seconds.
    pub delay: u32,
    /// What is published.
    pub message: Arc<Message>,
}

/// What is published: the part of a PUBLISH that goes unchanged from publisher to subscriber, held once
/// however many receive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic Name.
    pub topic: Topic,
    /// Application Message.
    pub payload: Bytes,
    /// Payload Format Indicator: true is UTF-8.
    pub payload_is_utf8: Option<bool>,
    /// Message Expiry Interval in seconds, as the publisher gave it.
    pub expiry: Option<u32>,
    /// Response Topic.
    pub response_topic: Option<Topic>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// Content Type.
    pub content_type: Option<Arc<str>>,
    /// User Properties.
    pub user_properties: UserProperties,
}

impl Message {
    /// A message without properties.
    pub fn new(topic: Topic, payload: Bytes) -> Self {
        Self {
            topic,
            payload,
            payload_is_utf8: None,
            expiry: None,
            response_topic: None,
            correlation_data: None,
            content_type: None,
            user_properties: Vec::new(),
        }
    }
}

/// 3.3 PUBLISH. Topic aliases never show here: the link resolves and assigns them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Sent again.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Present exactly for QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// What is published.
    pub message: Arc<Message>,
    /// To a subscriber: Message Expiry Interval that is left, instead of [`Message::expiry`]. From a client: none.
    pub expiry_left: Option<u32>,
    /// To a subscriber: Subscription Identifiers that matched. From a client: always empty (MQTT-3.3.4-6).
    pub subscription_ids: Vec<u32>,
}

/// 3.4 to 3.7: PUBACK, PUBREC, PUBREL, PUBCOMP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Of the PUBLISH.
    pub packet_id: PacketId,
    /// Success in 3.x.
    pub reason: ReasonCode,
    /// Reason String.
    pub reason_string: Option<Arc<str>>,
    /// User Properties.
    pub user_properties: UserProperties,
}

impl Ack {
    /// An acknowledgement with no more than a reason.
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, reason_string: None, user_properties: Vec::new() }
    }
}

/// Retain Handling (3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetainHandling {
    /// 0: send retained messages at every SUBSCRIBE.
    #[default]
    Always,
    /// 1: only where the subscription is new.
    IfNew,
    /// 2: never.
    Never,
}

/// One filter of a SUBSCRIBE with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Topic Filter; `Err` keeps what was refused, so that only this one gets a failure code.
    pub filter: Result<Filter, InvalidFilter>,
    /// Maximum QoS.
    pub qos: QoS,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling.
    pub retain_handling: RetainHandling,
}

/// A filter that cannot be subscribed to, though its packet is well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidFilter {
    /// What to answer in 5.0; 0x80 in 3.x.
    pub reason: ReasonCode,
}

/// 3.8 SUBSCRIBE
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// To be echoed.
    pub packet_id: PacketId,
    /// Subscription Identifier, 1 to 268,435,455.
    pub subscription_id: Option<u32>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// At least one.
    pub subscriptions: Vec<Subscription>,
}

/// 3.9 SUBACK and 3.11 UNSUBACK
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// Of the request.
    pub packet_id: PacketId,
    /// One for each filter, in its order. 3.x UNSUBACK carries none on the wire.
    pub reasons: Vec<ReasonCode>,
    /// Reason String.
    pub reason_string: Option<Arc<str>>,
}

/// 3.10 UNSUBSCRIBE
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// To be echoed.
    pub packet_id: PacketId,
    /// User Properties.
    pub user_properties: UserProperties,
    /// At least one.
    pub filters: Vec<Result<Filter, InvalidFilter>>,
}

/// 3.2 CONNACK
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnAck {
    /// Session Present.
    pub session_present: bool,
    /// The 5.0 code; 3.x gets its nearest return code.
    pub reason: ReasonCode,
    /// Session Expiry Interval, where the server uses another one.
    pub session_expiry: Option<u32>,
    /// Receive Maximum of the server.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum QoS, where it is below 2.
    pub maximum_qos: Option<QoS>,
    /// Retain Available, where it is false.
    pub retain_available: Option<bool>,
    /// Maximum Packet Size of the server in bytes.
    pub maximum_packet_size: Option<u32>,
    /// Assigned Client Identifier.
    pub assigned_client_id: Option<Arc<str>>,
    /// Topic Alias Maximum of the server.
    pub topic_alias_maximum: Option<u16>,
    /// Reason String.
    pub reason_string: Option<Arc<str>>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// Wildcard Subscription Available, where it is false.
    pub wildcard_subscription_available: Option<bool>,
    /// Subscription Identifiers Available, where it is false.
    pub subscription_ids_available: Option<bool>,
    /// Shared Subscription Available, where it is false.
    pub shared_subscription_available: Option<bool>,
    /// Server Keep Alive in seconds.
    pub server_keep_alive: Option<u16>,
    /// Response Information.
    pub response_information: Option<Arc<str>>,
    /// Server Reference.
    pub server_reference: Option<Arc<str>>,
    /// Authentication Method.
    pub authentication_method: Option<Arc<str>>,
    /// Authentication Data.
    pub authentication_data: Option<AuthenticationData>,
}

/// 3.14 DISCONNECT
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disconnect {
    /// Normal disconnection in 3.x.
    pub reason: ReasonCode,
    /// Session Expiry Interval in seconds.
    pub session_expiry: Option<u32>,
    /// Reason String.
    pub reason_string: Option<Arc<str>>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// Server Reference.
    pub server_reference: Option<Arc<str>>,
}

impl Disconnect {
    /// With no more than a reason.
    pub fn new(reason: ReasonCode) -> Self {
        Self { reason, ..Self::default() }
    }

    /// The same, with a Reason String where it is for an error and has none. paho-mqtt looks at the code of a
    /// DISCONNECT only where something follows it. Nothing follows 0x81 and 0x82: what a library in use can cause has
    /// another code, and who writes one compares bytes.
    #[must_use]
    pub fn in_words(self) -> Self {
        if matches!(self.reason, ReasonCode::MALFORMED_PACKET | ReasonCode::PROTOCOL_ERROR) {
            return self;
        }
        Self { reason_string: self.reason_string.or_else(|| self.reason.in_words()), ..self }
    }
}

/// 3.15 AUTH
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Auth {
    /// Success, continue or re-authenticate.
    pub reason: ReasonCode,
    /// Authentication Method.
    pub method: Option<Arc<str>>,
    /// Authentication Data.
    pub data: Option<AuthenticationData>,
    /// Reason String.
    pub reason_string: Option<Arc<str>>,
    /// User Properties.
    pub user_properties: UserProperties,
}
