//! SUBSCRIBE (3.8) and UNSUBSCRIBE (3.10).

use super::{Dialect, keep_pair, packet_id};
use crate::fault::Fault;
use crate::packet::{InvalidFilter, RetainHandling, Subscribe, Subscription, Unsubscribe};
use crate::property::{Place, Property, VarInt, read_section};
use crate::reason::ReasonCode;
use crate::topic::{Filter, TopicError};
use crate::wire::qos;
use crate::wire::reader::Reader;

/// The bits of the Subscription Options (3.8.3.1).
mod option {
    pub(super) const NO_LOCAL: u8 = 1 << 2;
    pub(super) const RETAIN_AS_PUBLISHED: u8 = 1 << 3;
    pub(super) const RETAIN_HANDLING: u8 = 0b11 << 4;
    /// In 5.0.
    pub(super) const RESERVED: u8 = 0b11 << 6;
    /// In 3.x all but the QoS.
    pub(super) const RESERVED_V3: u8 = !0b11;
}

/// Reads a SUBSCRIBE. A filter that is well-formed but more than we take stays as an error of its own (0x8F in SUBACK is
/// for those alone); one that is not well-formed is a violation of the standard as any other.
pub(super) fn subscribe(reader: &mut Reader<'_>, dialect: &Dialect<'_>) -> Result<Subscribe, Fault> {
    let mut subscribe = Subscribe {
        packet_id: packet_id(reader)?,
        subscription_id: None,
        user_properties: Vec::new(),
        subscriptions: Vec::new(),
    };
    if dialect.is_v5() {
        read_section(reader, Place::Subscribe, dialect.limits, |property| {
            match property {
                Property::SubscriptionIdentifier(VarInt(id)) => subscribe.subscription_id = Some(id),
                Property::User(pair) => keep_pair(&mut subscribe.user_properties, pair),
                _ => return Err(Fault::PropertyMisplaced),
            }
            Ok(())
        })?;
    }
    while !reader.is_empty() {
        if subscribe.subscriptions.len() >= dialect.limits.filters {
            return Err(Fault::TooManyFilters);
        }
        subscribe.subscriptions.push(subscription(reader, dialect)?);
    }
    if subscribe.subscriptions.is_empty() {
        return Err(Fault::NoFilter);
    }
    Ok(subscribe)
}

fn subscription(reader: &mut Reader<'_>, dialect: &Dialect<'_>) -> Result<Subscription, Fault> {
    let filter = filter(reader, dialect)?;
    let options = reader.u8()?;
    let reserved = if dialect.is_v5() { option::RESERVED } else { option::RESERVED_V3 };
    if options & reserved != 0 {
        return Err(Fault::SubscriptionOptions);
    }
    let no_local = options & option::NO_LOCAL != 0;
    if no_local && filter.as_ref().is_ok_and(|filter| filter.share().is_some()) {
        return Err(Fault::NoLocalShared);
    }
    let retain_handling = match (options & option::RETAIN_HANDLING) >> 4 {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        2 => RetainHandling::Never,
        _ => return Err(Fault::SubscriptionOptions),
    };
    let retain_as_published = options & option::RETAIN_AS_PUBLISHED != 0;
    Ok(Subscription { filter, qos: qos(options)?, no_local, retain_as_published, retain_handling })
}

/// Reads an UNSUBSCRIBE.
pub(super) fn unsubscribe(reader: &mut Reader<'_>, dialect: &Dialect<'_>) -> Result<Unsubscribe, Fault> {
    let mut unsubscribe =
        Unsubscribe { packet_id: packet_id(reader)?, user_properties: Vec::new(), filters: Vec::new() };
    if dialect.is_v5() {
        read_section(reader, Place::Unsubscribe, dialect.limits, |property| {
            if let Property::User(pair) = property {
                keep_pair(&mut unsubscribe.user_properties, pair);
            }
            Ok(())
        })?;
    }
    while !reader.is_empty() {
        if unsubscribe.filters.len() >= dialect.limits.filters {
            return Err(Fault::TooManyFilters);
        }
        unsubscribe.filters.push(filter(reader, dialect)?);
    }
    if unsubscribe.filters.is_empty() {
        return Err(Fault::NoFilter);
    }
    Ok(unsubscribe)
}

/// A filter beyond the limits is refused by itself; one that is not well-formed is a fault.
fn filter(reader: &mut Reader<'_>, dialect: &Dialect<'_>) -> Result<Result<Filter, InvalidFilter>, Fault> {
    let beyond = || Ok(Err(InvalidFilter { reason: ReasonCode::TOPIC_FILTER_INVALID }));
    let text = reader.text()?;
    if !dialect.limits.admits_topic(text) {
        return beyond();
    }
    match Filter::new(text) {
        Ok(filter) => Ok(Ok(filter)),
        Err(TopicError::TooDeep) => beyond(),
        Err(TopicError::DisallowedCharacter) => Err(Fault::DisallowedCharacter),
        Err(_) => Err(Fault::FilterInvalid),
    }
}
