//! PUBLISH (3.3), the properties that a will shares with it, and inbound topic aliases.

use std::sync::Arc;

use bytes::Bytes;

use super::{Dialect, keep_pair, packet_id};
use crate::fault::Fault;
use crate::limits::Limits;
use crate::packet::{Message, Publish, QoS, UserProperties, Version};
use crate::property::{Place, Property, VarInt, read_section};
use crate::topic::{Topic, TopicError};
use crate::wire::Sender;
use crate::wire::qos;
use crate::wire::reader::{Reader, keep};

/// The bits of the first byte (3.3.1).
const RETAIN: u8 = 1;
const DUP: u8 = 1 << 3;

/// Reads a PUBLISH; `first` is the first byte of its fixed header.
///
/// A payload that is declared to be UTF-8 is not looked at: the standard leaves that to the receiver of the
/// message (3.3.2.3.2).
pub(super) fn publish(
    first: u8,
    reader: &mut Reader<'_>,
    dialect: &Dialect<'_>,
    aliases: &mut Aliases,
) -> Result<Publish, Fault> {
    let qos = qos(first >> 1)?;
    let dup = first & DUP != 0;
    if dup && qos == QoS::AtMostOnce {
        return Err(Fault::DupQoS0);
    }
    let name = match reader.text()? {
        "" if dialect.version == Version::V5 => None,
        "" => return Err(Fault::TopicMissing),
        name => Some(topic(name, dialect.limits)?),
    };
    let packet_id = if qos == QoS::AtMostOnce { None } else { Some(packet_id(reader)?) };
    let mut extras = Extras::default();
    if dialect.is_v5() {
        extras.read(reader, Place::Publish, dialect.limits)?;
    }
    if dialect.sender == Sender::Client && !extras.subscription_ids.is_empty() {
        return Err(Fault::SubscriptionIdFromClient);
    }
    let topic = match extras.topic_alias {
        Some(alias) => aliases.resolve(alias, name)?,
        None => name.ok_or(Fault::TopicMissing)?,
    };
    let payload = keep(reader.take_rest());
    let subscription_ids = std::mem::take(&mut extras.subscription_ids);
    let message = Arc::new(extras.into_message(topic, payload));
    Ok(Publish { dup, qos, retain: first & RETAIN != 0, packet_id, message, expiry_left: None, subscription_ids })
}

/// A topic name within the limits.
pub(super) fn topic(name: &str, limits: &Limits) -> Result<Topic, Fault> {
    if !limits.admits_topic(name) {
        return Err(Fault::TopicInvalid);
    }
    Topic::new(name).map_err(|error| match error {
        TopicError::DisallowedCharacter => Fault::DisallowedCharacter,
        _ => Fault::TopicInvalid,
    })
}

/// What the property section of a PUBLISH or of a will holds.
#[derive(Default)]
pub(super) struct Extras {
    payload_is_utf8: Option<bool>,
    expiry: Option<u32>,
    response_topic: Option<Topic>,
    correlation_data: Option<Bytes>,
    content_type: Option<Arc<str>>,
    user_properties: UserProperties,
    topic_alias: Option<u16>,
    subscription_ids: Vec<u32>,
    pub(super) will_delay: Option<u32>,
}

impl Extras {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, place: Place, limits: &Limits) -> Result<(), Fault> {
        read_section(reader, place, limits, |property| {
            match property {
                Property::PayloadFormatIndicator(is_utf8) => self.payload_is_utf8 = Some(is_utf8),
                Property::MessageExpiryInterval(seconds) => self.expiry = Some(seconds),
                Property::ContentType(text) => self.content_type = Some(text.into()),
                Property::ResponseTopic(name) => {
                    self.response_topic = Some(topic(name, limits).map_err(|_| Fault::ResponseTopic)?);
                }
                Property::CorrelationData(data) => self.correlation_data = Some(keep(data)),
                Property::User(pair) => keep_pair(&mut self.user_properties, pair),
                Property::TopicAlias(alias) => self.topic_alias = Some(alias),
                // Bounded by the filters of one session that may overlap, as many as one SUBSCRIBE may hold.
                Property::SubscriptionIdentifier(_) if self.subscription_ids.len() >= limits.filters => {
                    return Err(Fault::TooManyFilters);
                }
                Property::SubscriptionIdentifier(VarInt(id)) => self.subscription_ids.push(id),
                Property::WillDelayInterval(seconds) => self.will_delay = Some(seconds),
                _ => return Err(Fault::PropertyMisplaced),
            }
            Ok(())
        })
    }

    pub(super) fn into_message(self, topic: Topic, payload: Bytes) -> Message {
        Message {
            topic,
            payload,
            payload_is_utf8: self.payload_is_utf8,
            expiry: self.expiry,
            response_topic: self.response_topic,
            correlation_data: self.correlation_data,
            content_type: self.content_type,
            user_properties: self.user_properties,
        }
    }
}

/// What the topic aliases of one direction of one connection stand for (3.3.2.3.4).
#[derive(Debug)]
pub(super) struct Aliases {
    /// At index alias - 1; never longer than `maximum`.
    topics: Vec<Option<Topic>>,
    maximum: u16,
}

impl Aliases {
    pub(super) fn new(maximum: u16) -> Self {
        Self { topics: Vec::new(), maximum }
    }

    /// Sets the alias if a name is given, looks it up if not (MQTT-3.3.2-7 to -12).
    fn resolve(&mut self, alias: u16, name: Option<Topic>) -> Result<Topic, Fault> {
        if alias == 0 || alias > self.maximum {
            return Err(Fault::TopicAlias);
        }
        let index = usize::from(alias) - 1;
        let Some(name) = name else {
            return self.topics.get(index).cloned().flatten().ok_or(Fault::TopicMissing);
        };
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        self.topics[index] = Some(name.clone());
        Ok(name)
    }
}
