//! SUBSCRIBE (3.8) and UNSUBSCRIBE (3.10).

use super::{Style, pairs, qos_bits};
use crate::packet::{InvalidFilter, RetainHandling, Subscribe, Subscription, Unsubscribe};
use crate::property::{Property, VarInt, write_section};
use crate::topic::{Filter, MAX_LEVELS};
use crate::wire::writer::Sink;

/// Writes a SUBSCRIBE.
pub(super) fn subscribe(style: Style, subscribe: &Subscribe, sink: &mut impl Sink) {
    sink.u16(subscribe.packet_id.get());
    if style.is_v5() {
        write_section(sink, |put| {
            if let Some(id) = subscribe.subscription_id.filter(|&id| id != 0) {
                put(Property::SubscriptionIdentifier(VarInt(id)));
            }
            pairs(&subscribe.user_properties, put);
        });
    }
    for subscription in &subscribe.subscriptions {
        filter(&subscription.filter, sink);
        sink.u8(options(style, subscription));
    }
}

fn options(style: Style, subscription: &Subscription) -> u8 {
    let qos = qos_bits(subscription.qos);
    if !style.is_v5() {
        return qos;
    }
    let retain_handling = match subscription.retain_handling {
        RetainHandling::Always => 0,
        RetainHandling::IfNew => 1,
        RetainHandling::Never => 2,
    };
    qos | u8::from(subscription.no_local) << 2 | u8::from(subscription.retain_as_published) << 3 | retain_handling << 4
}

/// Writes an UNSUBSCRIBE.
pub(super) fn unsubscribe(style: Style, unsubscribe: &Unsubscribe, sink: &mut impl Sink) {
    sink.u16(unsubscribe.packet_id.get());
    if style.is_v5() {
        write_section(sink, |put| pairs(&unsubscribe.user_properties, put));
    }
    unsubscribe.filters.iter().for_each(|entry| filter(entry, sink));
}

/// A filter that is refused by itself is written as one that is too deep, which is refused by itself too.
fn filter(filter: &Result<Filter, InvalidFilter>, sink: &mut impl Sink) {
    let Ok(filter) = filter else { return sink.field(&[b'/'; MAX_LEVELS]) };
    let Some(share) = filter.share() else { return sink.field(filter.as_str().as_bytes()) };
    sink.length(b"$share//".len() + share.len() + filter.as_str().len());
    for part in ["$share/", share, "/", filter.as_str()] {
        sink.put(part.as_bytes());
    }
}
