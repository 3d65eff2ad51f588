//! PUBLISH (3.3) and the properties that a will shares with it.
//!
//! Nothing of the receiver goes into these bytes but the version, the flags, the packet identifier, the topic alias,
//! the subscription identifiers and the expiry: where those agree, two receivers get the same bytes.

use super::{Style, pairs, qos_bits};
use crate::alias::Naming;
use crate::packet::{Message, Publish, QoS};
use crate::property::{Property, VarInt, write_section};
use crate::wire::Kind;
use crate::wire::writer::Sink;

/// None where QoS and packet identifier do not fit together (MQTT-2.2.1-2, -3).
pub(super) fn first_byte(publish: &Publish) -> Option<u8> {
    let is_acknowledged = publish.qos != QoS::AtMostOnce;
    if is_acknowledged != publish.packet_id.is_some() {
        return None;
    }
    // MQTT-3.3.1-2: a message of QoS 0 is never sent again.
    let dup = publish.dup && is_acknowledged;
    Some(Kind::Publish.first_byte() | u8::from(dup) << 3 | qos_bits(publish.qos) << 1 | u8::from(publish.retain))
}

/// Writes the body of a PUBLISH.
pub(super) fn publish(style: Style, publish: &Publish, sink: &mut impl Sink) {
    let message = &*publish.message;
    let (name, alias) = match style.naming {
        Naming::Name => (message.topic.as_str(), None),
        Naming::Introduce(alias) => (message.topic.as_str(), Some(alias)),
        Naming::Alias(alias) => ("", Some(alias)),
    };
    sink.field(name.as_bytes());
    if let Some(id) = publish.packet_id {
        sink.u16(id.get());
    }
    if style.is_v5() {
        let expiry = publish.expiry_left.or(message.expiry);
        write_section(sink, |put| {
            if let Some(alias) = alias {
                put(Property::TopicAlias(alias.get()));
            }
            for &id in publish.subscription_ids.iter().filter(|&&id| id != 0) {
                put(Property::SubscriptionIdentifier(VarInt(id)));
            }
            message_properties(message, expiry, put);
        });
    }
    if style.apart { sink.skip(message.payload.len()) } else { sink.put(&message.payload) }
}

/// The properties of a message, with the expiry that holds for this receiver.
pub(super) fn message_properties<'a>(message: &'a Message, expiry: Option<u32>, put: &mut dyn FnMut(Property<'a>)) {
    let list = [
        message.payload_is_utf8.map(Property::PayloadFormatIndicator),
        expiry.map(Property::MessageExpiryInterval),
        message.content_type.as_deref().map(Property::ContentType),
        message.response_topic.as_ref().map(|topic| Property::ResponseTopic(topic.as_str())),
        message.correlation_data.as_deref().map(Property::CorrelationData),
    ];
    list.into_iter().flatten().for_each(&mut *put);
    pairs(&message.user_properties, put);
}
