//! What a peer can do wrong on the wire, and the reason code that says so.

use crate::reason::ReasonCode;

/// A violation of the standard, or of a limit, by the other end. No variant carries text of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// MQTT-3.1.0-1
    #[error("the first packet is not CONNECT")]
    NotConnect,
    /// MQTT-3.1.0-2
    #[error("a second CONNECT")]
    SecondConnect,
    /// Table 2-1: type 0, and in 3.x type 15.
    #[error("packet type {0} is reserved")]
    ReservedType(u8),
    /// Table 2-1: the direction of flow.
    #[error("a packet type that this end never sends")]
    WrongDirection,
    /// MQTT-2.1.3-1, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1, MQTT-3.15.1-1
    #[error("reserved flags of the fixed header are not as they must be")]
    FixedHeaderFlags,
    /// 1.5.5
    #[error("a variable byte integer has more than four bytes")]
    VarIntTooLong,
    /// MQTT-1.5.5-1
    #[error("a variable byte integer is longer than its value needs")]
    VarIntNotMinimal,
    /// 3.2.2.3.6; before CONNACK [`crate::Limits::connect_packet_bytes`].
    #[error("the packet is larger than allowed")]
    PacketTooLarge,
    /// A field reaches beyond the end of its packet or of its property section.
    #[error("a field reaches beyond the end of its packet")]
    Truncated,
    /// Bytes after the last field.
    #[error("bytes are left over after the last field")]
    TrailingBytes,
    /// MQTT-1.5.4-1
    #[error("a string is not well-formed UTF-8")]
    NotUtf8,
    /// MQTT-1.5.4-2
    #[error("a string contains U+0000")]
    Nul,
    /// 1.5.4: a control character or a noncharacter of Unicode where something is named, which the standard lets a
    /// receiver refuse.
    #[error("a user name, topic or filter contains a control character or a noncharacter")]
    DisallowedCharacter,
    /// 3.1.3.1: the same in the client identifier.
    #[error("the client identifier contains a control character or a noncharacter")]
    ClientIdCharacter,
    /// MQTT-3.1.2-1
    #[error("the protocol name is not MQTT")]
    ProtocolName,
    /// MQTT-3.1.2-2
    #[error("protocol level {0} is not supported")]
    ProtocolLevel(u8),
    /// MQTT-3.1.2-3
    #[error("the reserved flag of CONNECT is set")]
    ConnectFlagReserved,
    /// MQTT-3.2.2-1, MQTT-3.2.2-6
    #[error("reserved flags of CONNACK are set, or a session is present with a refusal")]
    ConnAckFlags,
    /// MQTT-3.1.2-11 and -13
    #[error("will QoS or will retain without a will")]
    WillFlags,
    /// MQTT-3.1.2-12, MQTT-3.3.1-4
    #[error("QoS 3 does not exist")]
    QoS3,
    /// MQTT-3.1.2-22 of 3.1.1
    #[error("a password without a user name")]
    PasswordWithoutUsername,
    /// MQTT-3.1.3-8 of 3.1.1
    #[error("an empty client identifier without a clean session")]
    ClientIdMissing,
    /// [`crate::Limits::client_id_bytes`]
    #[error("the client identifier is longer than allowed")]
    ClientIdTooLong,
    /// 2.2.2.2
    #[error("a property identifier that does not exist")]
    PropertyUnknown,
    /// 2.2.2.2
    #[error("a property that does not belong in this packet")]
    PropertyMisplaced,
    /// 2.2.2.2
    #[error("a property is there twice")]
    PropertyRepeated,
    /// A value that its property does not have, such as a Receive Maximum of 0.
    #[error("a property has a value that is not allowed")]
    PropertyValue,
    /// [`crate::Limits::user_properties`], [`crate::Limits::user_property_bytes`]
    #[error("too many user properties, or too many bytes in them")]
    TooManyUserProperties,
    /// 3.1.2.11.10
    #[error("authentication data without an authentication method")]
    AuthenticationData,
    /// MQTT-4.12.0-1
    #[error("the authentication method is not offered")]
    AuthenticationMethod,
    /// MQTT-4.12.0-7
    #[error("AUTH without an authentication method in CONNECT")]
    UnexpectedAuth,
    /// MQTT-4.12.0-5, MQTT-4.12.1-1
    #[error("AUTH with another authentication method than CONNECT, or with none")]
    OtherAuthenticationMethod,
    /// MQTT-4.12.0-3, 4.12.1: it continues what nobody asked to be continued, or begins what is going on.
    #[error("AUTH where it is not the client's turn to say this")]
    AuthOutOfTurn,
    /// [`crate::exchange::AUTH_PACKETS_MAX`]
    #[error("too many AUTH packets in one exchange")]
    TooManyAuths,
    /// MQTT-3.1.2-30
    #[error("a packet other than AUTH and DISCONNECT before CONNACK")]
    BeforeConnAck,
    /// MQTT-2.2.1-2 to -4
    #[error("packet identifier 0")]
    PacketIdZero,
    /// MQTT-3.3.1-2
    #[error("DUP is set on a message of QoS 0")]
    DupQoS0,
    /// 3.3.2.1: nothing to publish to, as neither name nor known alias is given.
    #[error("no topic name, and no alias that stands for one")]
    TopicMissing,
    /// MQTT-3.3.2-2, MQTT-4.7.3-1, or beyond [`crate::Limits::topic_bytes`] or [`crate::Limits::topic_levels`].
    #[error("the topic name is not valid, or longer or deeper than allowed")]
    TopicInvalid,
    /// MQTT-3.3.2-14
    #[error("the response topic is not a valid topic name")]
    ResponseTopic,
    /// MQTT-3.3.2-8 and -9
    #[error("topic alias 0 or above the maximum")]
    TopicAlias,
    /// MQTT-3.3.4-6
    #[error("a subscription identifier from a client")]
    SubscriptionIdFromClient,
    /// MQTT-3.8.3-2, MQTT-3.10.3-2
    #[error("no topic filter")]
    NoFilter,
    /// [`crate::Limits::filters`]
    #[error("too many topic filters in one packet")]
    TooManyFilters,
    /// MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.7.3-1, MQTT-4.8.2-1, MQTT-4.8.2-2
    #[error("a topic filter is not well-formed")]
    FilterInvalid,
    /// MQTT-3.8.3-5
    #[error("reserved subscription options are set")]
    SubscriptionOptions,
    /// MQTT-3.8.3-4
    #[error("No Local on a shared subscription")]
    NoLocalShared,
    /// MQTT-3.4.2-1 and its like
    #[error("a reason code that this packet does not have")]
    ReasonUnknown,
    /// 3.14.2.2.2
    #[error("a session that ends with its connection was given an expiry at DISCONNECT")]
    SessionExpiryRaised,
    /// MQTT-3.1.4-6, MQTT-3.14.4-1 and -2
    #[error("bytes after the end of the conversation")]
    AfterEnd,
}

impl Fault {
    /// How 5.0 names it.
    pub fn reason(self) -> ReasonCode {
        match self {
            Self::FixedHeaderFlags
            | Self::VarIntTooLong
            | Self::VarIntNotMinimal
            | Self::Truncated
            | Self::TrailingBytes
            | Self::NotUtf8
            | Self::Nul
            | Self::DisallowedCharacter
            | Self::ConnectFlagReserved
            | Self::ConnAckFlags
            | Self::WillFlags
            | Self::QoS3
            | Self::PasswordWithoutUsername
            | Self::PropertyUnknown
            | Self::PropertyMisplaced
            | Self::DupQoS0
            | Self::SubscriptionOptions => ReasonCode::MALFORMED_PACKET,
            Self::NotConnect
            | Self::ReservedType(_)
            | Self::SecondConnect
            | Self::WrongDirection
            | Self::PropertyRepeated
            | Self::PropertyValue
            | Self::AuthenticationData
            | Self::UnexpectedAuth
            | Self::OtherAuthenticationMethod
            | Self::AuthOutOfTurn
            | Self::BeforeConnAck
            | Self::PacketIdZero
            | Self::TopicMissing
            | Self::ResponseTopic
            | Self::SubscriptionIdFromClient
            | Self::NoFilter
            | Self::NoLocalShared
            | Self::ReasonUnknown
            | Self::SessionExpiryRaised
            | Self::AfterEnd => ReasonCode::PROTOCOL_ERROR,
            Self::ProtocolName | Self::ProtocolLevel(_) => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            Self::PacketTooLarge => ReasonCode::PACKET_TOO_LARGE,
            Self::TooManyUserProperties | Self::TooManyFilters | Self::TooManyAuths => ReasonCode::QUOTA_EXCEEDED,
            Self::ClientIdMissing | Self::ClientIdTooLong | Self::ClientIdCharacter => {
                ReasonCode::CLIENT_IDENTIFIER_NOT_VALID
            }
            Self::AuthenticationMethod => ReasonCode::BAD_AUTHENTICATION_METHOD,
            Self::TopicInvalid => ReasonCode::TOPIC_NAME_INVALID,
            Self::FilterInvalid => ReasonCode::TOPIC_FILTER_INVALID,
            Self::TopicAlias => ReasonCode::TOPIC_ALIAS_INVALID,
        }
    }
}
