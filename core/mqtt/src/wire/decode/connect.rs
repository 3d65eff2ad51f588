//! CONNECT (3.1) and CONNACK (3.2).

use std::sync::Arc;

use super::publish::{Extras, topic};
use super::{Dialect, keep_pair};
use crate::fault::Fault;
use crate::limits::Limits;
use crate::packet::{AuthenticationData, ConnAck, Connect, Password, QoS, Version, Will};
use crate::property::{Place, Property, read_section};
use crate::reason::ReasonCode;
use crate::topic::is_plain;
use crate::wire::qos;
use crate::wire::reader::{Reader, keep};

/// The bits of the Connect Flags (3.1.2.3).
mod flag {
    pub(super) const RESERVED: u8 = 1;
    pub(super) const CLEAN_START: u8 = 1 << 1;
    pub(super) const WILL: u8 = 1 << 2;
    pub(super) const WILL_QOS: u8 = 0b11 << 3;
    pub(super) const WILL_RETAIN: u8 = 1 << 5;
    pub(super) const PASSWORD: u8 = 1 << 6;
    pub(super) const USERNAME: u8 = 1 << 7;
}

/// Reads a CONNECT. `version` is set as soon as it is known, so that a refusal can be said in it.
pub(super) fn connect(
    reader: &mut Reader<'_>,
    limits: &Limits,
    version: &mut Option<Version>,
) -> Result<Connect, Fault> {
    let spoken = protocol(reader, version)?;
    let flags = reader.u8()?;
    check_flags(flags, spoken)?;
    let is_v5 = spoken == Version::V5;
    let keep_alive = reader.u16()?;
    let mut connect = Connect { clean_start: flags & flag::CLEAN_START != 0, keep_alive, ..Connect::new(spoken, "") };
    if is_v5 {
        properties(reader, limits, &mut connect)?;
    }
    connect.client_id = reader.text()?.into();
    if flags & flag::WILL != 0 {
        connect.will = Some(will(reader, limits, is_v5, flags)?);
    }
    // 3.1 lets a client set these two flags and yet end the packet before the field: then it gave none.
    let may_be_missing = spoken == Version::V3_1;
    if flags & flag::USERNAME != 0 && !(may_be_missing && reader.is_empty()) {
        connect.username = Some(reader.text()?.into());
    }
    if flags & flag::PASSWORD != 0 && !(may_be_missing && reader.is_empty()) {
        connect.password = Some(Password(keep(reader.binary()?)));
    }
    reader.finish()?;
    check_client_id(&connect, limits)?;
    if !connect.username.as_deref().is_none_or(is_plain) {
        return Err(Fault::DisallowedCharacter);
    }
    Ok(connect)
}

/// Protocol Name and Level (3.1.2.1, 3.1.2.2).
fn protocol(reader: &mut Reader<'_>, version: &mut Option<Version>) -> Result<Version, Fault> {
    let name = reader.binary()?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(Fault::ProtocolName);
    }
    let level = reader.u8()?;
    let spoken = match (name, level) {
        (b"MQIsdp", 3) => Version::V3_1,
        (b"MQTT", 4) => Version::V3_1_1,
        (b"MQTT", 5) => Version::V5,
        _ => {
            // The refusal is said in the nearest version that the client may understand.
            *version = Some(if level > 5 && name == b"MQTT" { Version::V5 } else { Version::V3_1_1 });
            return Err(Fault::ProtocolLevel(level));
        }
    };
    *version = Some(spoken);
    Ok(spoken)
}

fn check_flags(flags: u8, version: Version) -> Result<(), Fault> {
    if flags & flag::RESERVED != 0 {
        return Err(Fault::ConnectFlagReserved);
    }
    if flags & flag::WILL == 0 && flags & (flag::WILL_QOS | flag::WILL_RETAIN) != 0 {
        return Err(Fault::WillFlags);
    }
    if version != Version::V5 && flags & flag::PASSWORD != 0 && flags & flag::USERNAME == 0 {
        return Err(Fault::PasswordWithoutUsername);
    }
    Ok(())
}

/// A client identifier of plain characters. An empty one: 5.0 gets one assigned, 3.1.1 needs a clean session
/// (MQTT-3.1.3-7), 3.1 knows no such thing.
fn check_client_id(connect: &Connect, limits: &Limits) -> Result<(), Fault> {
    if connect.client_id.len() > limits.client_id_bytes {
        return Err(Fault::ClientIdTooLong);
    }
    if !is_plain(&connect.client_id) {
        return Err(Fault::ClientIdCharacter);
    }
    let may_be_empty = match connect.version {
        Version::V3_1 => false,
        Version::V3_1_1 => connect.clean_start,
        Version::V5 => true,
    };
    if connect.client_id.is_empty() && !may_be_empty { Err(Fault::ClientIdMissing) } else { Ok(()) }
}

fn properties<'a>(reader: &mut Reader<'a>, limits: &Limits, connect: &mut Connect) -> Result<(), Fault> {
    read_section(reader, Place::Connect, limits, |property: Property<'a>| {
        match property {
            Property::SessionExpiryInterval(seconds) => connect.session_expiry = Some(seconds),
            Property::ReceiveMaximum(count) => connect.receive_maximum = Some(count),
            Property::MaximumPacketSize(bytes) => connect.maximum_packet_size = Some(bytes.get()),
            Property::TopicAliasMaximum(highest) => connect.topic_alias_maximum = Some(highest),
            Property::RequestResponseInformation(wanted) => connect.request_response_information = wanted,
            Property::RequestProblemInformation(wanted) => connect.request_problem_information = wanted,
            Property::AuthenticationMethod(name) => connect.authentication_method = Some(name.into()),
            Property::AuthenticationData(data) => connect.authentication_data = Some(AuthenticationData(keep(data))),
            Property::User(pair) => keep_pair(&mut connect.user_properties, pair),
            _ => return Err(Fault::PropertyMisplaced),
        }
        Ok(())
    })?;
    if connect.authentication_data.is_some() && connect.authentication_method.is_none() {
        return Err(Fault::AuthenticationData);
    }
    Ok(())
}

fn will(reader: &mut Reader<'_>, limits: &Limits, is_v5: bool, flags: u8) -> Result<Will, Fault> {
    let qos: QoS = qos((flags & flag::WILL_QOS) >> 3)?;
    let mut extras = Extras::default();
    if is_v5 {
        extras.read(reader, Place::Will, limits)?;
    }
    let topic = topic(reader.text()?, limits)?;
    let payload = reader.binary()?;
    let delay = extras.will_delay.unwrap_or(0);
    let message = Arc::new(extras.into_message(topic, keep(payload)));
    Ok(Will { qos, retain: flags & flag::WILL_RETAIN != 0, delay, message })
}

/// Reads a CONNACK.
pub(super) fn conn_ack(reader: &mut Reader<'_>, dialect: &Dialect<'_>) -> Result<ConnAck, Fault> {
    let (flags, code) = (reader.u8()?, reader.u8()?);
    // 3.1 does not use the flags; later a refusal has no session (MQTT-3.2.2-6).
    let has_session_present = dialect.version != Version::V3_1;
    if has_session_present && (flags > 1 || (flags == 1 && code != 0)) {
        return Err(Fault::ConnAckFlags);
    }
    let session_present = has_session_present && flags == 1;
    let mut ack = ConnAck { session_present, reason: ReasonCode(code), ..ConnAck::default() };
    if dialect.is_v5() {
        conn_ack_properties(reader, dialect, &mut ack)?;
    } else {
        ack.reason = ReasonCode::from_v3_connack(ack.reason.0).ok_or(Fault::ReasonUnknown)?;
    }
    Ok(ack)
}

fn conn_ack_properties<'a>(reader: &mut Reader<'a>, dialect: &Dialect<'_>, ack: &mut ConnAck) -> Result<(), Fault> {
    read_section(reader, Place::ConnAck, dialect.limits, |property: Property<'a>| {
        match property {
            Property::SessionExpiryInterval(seconds) => ack.session_expiry = Some(seconds),
            Property::ReceiveMaximum(count) => ack.receive_maximum = Some(count),
            Property::MaximumQoS(one) => ack.maximum_qos = Some(if one { QoS::AtLeastOnce } else { QoS::AtMostOnce }),
            Property::RetainAvailable(is) => ack.retain_available = Some(is),
            Property::MaximumPacketSize(bytes) => ack.maximum_packet_size = Some(bytes.get()),
            Property::AssignedClientIdentifier(id) => ack.assigned_client_id = Some(id.into()),
            Property::TopicAliasMaximum(highest) => ack.topic_alias_maximum = Some(highest),
            Property::ReasonString(text) => ack.reason_string = Some(text.into()),
            Property::User(pair) => keep_pair(&mut ack.user_properties, pair),
            Property::WildcardSubscriptionAvailable(is) => ack.wildcard_subscription_available = Some(is),
            Property::SubscriptionIdentifierAvailable(is) => ack.subscription_ids_available = Some(is),
            Property::SharedSubscriptionAvailable(is) => ack.shared_subscription_available = Some(is),
            Property::ServerKeepAlive(seconds) => ack.server_keep_alive = Some(seconds),
            Property::ResponseInformation(text) => ack.response_information = Some(text.into()),
            Property::ServerReference(text) => ack.server_reference = Some(text.into()),
            Property::AuthenticationMethod(name) => ack.authentication_method = Some(name.into()),
            Property::AuthenticationData(data) => ack.authentication_data = Some(AuthenticationData(keep(data))),
            _ => return Err(Fault::PropertyMisplaced),
        }
        Ok(())
    })
}
