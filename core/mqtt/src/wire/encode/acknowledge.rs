//! PUBACK, PUBREC, PUBREL, PUBCOMP (3.4 to 3.7), SUBACK (3.9), UNSUBACK (3.11).

use super::{Style, explanation};
use crate::packet::{Ack, SubAck};
use crate::property::{Property, write_section};
use crate::reason::ReasonCode;
use crate::wire::writer::Sink;

/// Writes one of the four. 3.x knows no failure here: a message that is refused is acknowledged all the same
/// (MQTT-3.3.5-2 of 3.1.1). In 5.0 what can be left out is left out.
pub(super) fn ack(style: Style, ack: &Ack, sink: &mut impl Sink) {
    sink.u16(ack.packet_id.get());
    if !style.is_v5() {
        return;
    }
    let explains = (style.keep.reason_string && ack.reason_string.is_some())
        || (style.keep.user_properties && !ack.user_properties.is_empty());
    if explains || ack.reason != ReasonCode::SUCCESS {
        sink.u8(ack.reason.0);
    }
    if explains {
        write_section(sink, |put| explanation(style.keep, ack.reason_string.as_ref(), &ack.user_properties, put));
    }
}

/// Writes a SUBACK. 3.x has one code for every failure.
pub(super) fn sub_ack(style: Style, ack: &SubAck, sink: &mut impl Sink) {
    sink.u16(ack.packet_id.get());
    if style.is_v5() {
        reasons(style, ack, sink);
    } else {
        ack.reasons.iter().for_each(|reason| sink.u8(reason.v3_sub_ack()));
    }
}

/// Writes an UNSUBACK, which in 3.x has no more than the identifier.
pub(super) fn unsub_ack(style: Style, ack: &SubAck, sink: &mut impl Sink) {
    sink.u16(ack.packet_id.get());
    if style.is_v5() {
        reasons(style, ack, sink);
    }
}

fn reasons(style: Style, ack: &SubAck, sink: &mut impl Sink) {
    write_section(sink, |put| {
        if let Some(text) = ack.reason_string.as_ref().filter(|_| style.keep.reason_string) {
            put(Property::ReasonString(text));
        }
    });
    ack.reasons.iter().for_each(|reason| sink.u8(reason.0));
}
