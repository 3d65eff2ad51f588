//! CONNECT (3.1) and CONNACK (3.2).

use std::num::NonZeroU32;

use super::{Style, explanation, pairs, qos_bits};
use crate::packet::{ConnAck, Connect, QoS, Version, Will};
use crate::property::{Property, write_section};
use crate::reason::ReasonCode;
use crate::wire::writer::Sink;

/// Writes a CONNECT of its own version.
pub(super) fn connect(style: Style, connect: &Connect, sink: &mut impl Sink) {
    let (name, level): (&[u8], u8) = match connect.version {
        Version::V3_1 => (b"MQIsdp", 3),
        Version::V3_1_1 => (b"MQTT", 4),
        Version::V5 => (b"MQTT", 5),
    };
    sink.field(name);
    sink.u8(level);
    sink.u8(flags(connect));
    sink.u16(connect.keep_alive);
    if style.is_v5() {
        write_section(sink, |put| properties(connect, put));
    }
    sink.field(connect.client_id.as_bytes());
    if let Some(will) = &connect.will {
        if style.is_v5() {
            write_section(sink, |put| will_properties(will, put));
        }
        sink.field(will.message.topic.as_str().as_bytes());
        sink.field(&will.message.payload);
    }
    if let Some(username) = &connect.username {
        sink.field(username.as_bytes());
    }
    if let Some(password) = &connect.password {
        sink.field(&password.0);
    }
}

fn flags(connect: &Connect) -> u8 {
    let will = connect.will.as_ref().map_or(0, |will| 1 << 2 | qos_bits(will.qos) << 3 | u8::from(will.retain) << 5);
    u8::from(connect.clean_start) << 1
        | will
        | u8::from(connect.password.is_some()) << 6
        | u8::from(connect.username.is_some()) << 7
}

fn properties<'a>(connect: &'a Connect, put: &mut dyn FnMut(Property<'a>)) {
    let list = [
        connect.session_expiry.map(Property::SessionExpiryInterval),
        connect.receive_maximum.map(Property::ReceiveMaximum),
        connect.maximum_packet_size.and_then(NonZeroU32::new).map(Property::MaximumPacketSize),
        connect.topic_alias_maximum.map(Property::TopicAliasMaximum),
        connect.request_response_information.then_some(Property::RequestResponseInformation(true)),
        (!connect.request_problem_information).then_some(Property::RequestProblemInformation(false)),
        connect.authentication_method.as_deref().map(Property::AuthenticationMethod),
        connect.authentication_data.as_ref().map(|data| Property::AuthenticationData(&data.0)),
    ];
    list.into_iter().flatten().for_each(&mut *put);
    pairs(&connect.user_properties, put);
}

fn will_properties<'a>(will: &'a Will, put: &mut dyn FnMut(Property<'a>)) {
    if will.delay != 0 {
        put(Property::WillDelayInterval(will.delay));
    }
    super::publish::message_properties(&will.message, will.message.expiry, put);
}

/// Writes a CONNACK. Session Present is 0 in 3.1, which does not have it, and with every refusal
/// (MQTT-3.2.2-6).
pub(super) fn conn_ack(style: Style, ack: &ConnAck, sink: &mut impl Sink) {
    let has_session_present = style.version != Version::V3_1 && ack.reason == ReasonCode::SUCCESS;
    sink.u8(u8::from(has_session_present && ack.session_present));
    if !style.is_v5() {
        return sink.u8(ack.reason.v3_connack());
    }
    sink.u8(ack.reason.0);
    write_section(sink, |put| conn_ack_properties(style, ack, put));
}

fn conn_ack_properties<'a>(style: Style, ack: &'a ConnAck, put: &mut dyn FnMut(Property<'a>)) {
    let maximum_qos = match ack.maximum_qos {
        Some(QoS::AtMostOnce) => Some(false),
        Some(QoS::AtLeastOnce) => Some(true),
        // QoS 2 is said by saying nothing (3.2.2.3.4).
        Some(QoS::ExactlyOnce) | None => None,
    };
    // Their order is free (2.2.2.2). Suites that compare whole packets have this one.
    let list = [
        ack.session_expiry.map(Property::SessionExpiryInterval),
        ack.server_keep_alive.map(Property::ServerKeepAlive),
        ack.topic_alias_maximum.map(Property::TopicAliasMaximum),
        ack.assigned_client_id.as_deref().map(Property::AssignedClientIdentifier),
        ack.authentication_method.as_deref().map(Property::AuthenticationMethod),
        ack.authentication_data.as_ref().map(|data| Property::AuthenticationData(&data.0)),
        ack.maximum_packet_size.and_then(NonZeroU32::new).map(Property::MaximumPacketSize),
        ack.receive_maximum.map(Property::ReceiveMaximum),
        maximum_qos.map(Property::MaximumQoS),
        ack.retain_available.map(Property::RetainAvailable),
        ack.wildcard_subscription_available.map(Property::WildcardSubscriptionAvailable),
        ack.subscription_ids_available.map(Property::SubscriptionIdentifierAvailable),
        ack.shared_subscription_available.map(Property::SharedSubscriptionAvailable),
        ack.response_information.as_deref().map(Property::ResponseInformation),
        ack.server_reference.as_deref().map(Property::ServerReference),
    ];
    list.into_iter().flatten().for_each(&mut *put);
    explanation(style.keep, ack.reason_string.as_ref(), &ack.user_properties, put);
}
