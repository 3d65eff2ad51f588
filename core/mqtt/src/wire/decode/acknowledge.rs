//! PUBACK, PUBREC, PUBREL, PUBCOMP (3.4 to 3.7), SUBACK (3.9), UNSUBACK (3.11).

use super::{Dialect, keep_pair, packet_id};
use crate::fault::Fault;
use crate::packet::{Ack, SubAck};
use crate::property::{Place, Property, read_section};
use crate::reason::ReasonCode;
use crate::wire::reader::Reader;
use crate::wire::{Kind, Sender};

/// Reads one of the four. In 5.0 the reason may be left out, and the properties too (3.4.2.1, 3.4.2.2.1).
pub(super) fn ack(kind: Kind, reader: &mut Reader<'_>, dialect: &Dialect<'_>) -> Result<Ack, Fault> {
    let mut ack = Ack::new(packet_id(reader)?, ReasonCode::SUCCESS);
    if !dialect.is_v5() || reader.is_empty() {
        return Ok(ack);
    }
    ack.reason = ReasonCode(reader.u8()?);
    if dialect.sender == Sender::Client && !is_reason_of(kind, ack.reason) {
        return Err(Fault::ReasonUnknown);
    }
    if reader.is_empty() {
        return Ok(ack);
    }
    read_section(reader, Place::Ack, dialect.limits, |property| {
        match property {
            Property::ReasonString(text) => ack.reason_string = Some(text.into()),
            Property::User(pair) => keep_pair(&mut ack.user_properties, pair),
            _ => return Err(Fault::PropertyMisplaced),
        }
        Ok(())
    })?;
    Ok(ack)
}

/// Tables 3-4 to 3-7 (MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1).
fn is_reason_of(kind: Kind, reason: ReasonCode) -> bool {
    match kind {
        Kind::PubRel | Kind::PubComp => matches!(reason, ReasonCode::SUCCESS | ReasonCode::PACKET_ID_NOT_FOUND),
        _ => matches!(
            reason,
            ReasonCode::SUCCESS
                | ReasonCode::NO_MATCHING_SUBSCRIBERS
                | ReasonCode::UNSPECIFIED
                | ReasonCode::IMPLEMENTATION_SPECIFIC
                | ReasonCode::NOT_AUTHORIZED
                | ReasonCode::TOPIC_NAME_INVALID
                | ReasonCode::PACKET_ID_IN_USE
                | ReasonCode::QUOTA_EXCEEDED
                | ReasonCode::PAYLOAD_FORMAT_INVALID
        ),
    }
}

/// Reads a SUBACK.
pub(super) fn sub_ack(reader: &mut Reader<'_>, dialect: &Dialect<'_>) -> Result<SubAck, Fault> {
    let mut ack = SubAck { packet_id: packet_id(reader)?, reasons: Vec::new(), reason_string: None };
    if dialect.is_v5() {
        sub_ack_properties(reader, dialect, &mut ack)?;
    }
    let codes = reader.take_rest();
    // MQTT-3.9.3-2 of 3.1.1
    if !dialect.is_v5() && codes.iter().any(|&code| code > 2 && code != 0x80) {
        return Err(Fault::ReasonUnknown);
    }
    ack.reasons = codes.iter().map(|&code| ReasonCode(code)).collect();
    Ok(ack)
}

/// Reads an UNSUBACK, which in 3.x says no more than that it is one.
pub(super) fn unsub_ack(reader: &mut Reader<'_>, dialect: &Dialect<'_>) -> Result<SubAck, Fault> {
    if dialect.is_v5() {
        return sub_ack(reader, dialect);
    }
    Ok(SubAck { packet_id: packet_id(reader)?, reasons: Vec::new(), reason_string: None })
}

/// The model has no place for user properties here, as no server of ours writes them; they are skipped.
fn sub_ack_properties(reader: &mut Reader<'_>, dialect: &Dialect<'_>, ack: &mut SubAck) -> Result<(), Fault> {
    read_section(reader, Place::SubAck, dialect.limits, |property| {
        if let Property::ReasonString(text) = property {
            ack.reason_string = Some(text.into());
        }
        Ok(())
    })
}
