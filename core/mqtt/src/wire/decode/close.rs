//! DISCONNECT (3.14) and AUTH (3.15).

use super::{Dialect, keep_pair};
use crate::fault::Fault;
use crate::packet::{Auth, AuthenticationData, Disconnect};
use crate::property::{Place, Property, read_section};
use crate::reason::ReasonCode;
use crate::wire::Sender;
use crate::wire::reader::{Reader, keep};

/// Reads a DISCONNECT. In 5.0 the reason may be left out, and the properties too (3.14.2.1, 3.14.2.2.1).
pub(super) fn disconnect(reader: &mut Reader<'_>, dialect: &Dialect<'_>) -> Result<Disconnect, Fault> {
    let mut disconnect = Disconnect::new(ReasonCode::SUCCESS);
    if !dialect.is_v5() || reader.is_empty() {
        return Ok(disconnect);
    }
    disconnect.reason = ReasonCode(reader.u8()?);
    if dialect.sender == Sender::Client && !may_client_say(disconnect.reason) {
        return Err(Fault::ReasonUnknown);
    }
    if reader.is_empty() {
        return Ok(disconnect);
    }
    read_section(reader, Place::Disconnect, dialect.limits, |property| {
        match property {
            Property::SessionExpiryInterval(seconds) => disconnect.session_expiry = Some(seconds),
            Property::ReasonString(text) => disconnect.reason_string = Some(text.into()),
            Property::User(pair) => keep_pair(&mut disconnect.user_properties, pair),
            Property::ServerReference(text) => disconnect.server_reference = Some(text.into()),
            _ => return Err(Fault::PropertyMisplaced),
        }
        Ok(())
    })?;
    Ok(disconnect)
}

/// Table 3-10, the rows that a client may use (MQTT-3.14.2-1).
fn may_client_say(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::SUCCESS
            | ReasonCode::DISCONNECT_WITH_WILL
            | ReasonCode::UNSPECIFIED
            | ReasonCode::MALFORMED_PACKET
            | ReasonCode::PROTOCOL_ERROR
            | ReasonCode::IMPLEMENTATION_SPECIFIC
            | ReasonCode::TOPIC_NAME_INVALID
            | ReasonCode::RECEIVE_MAXIMUM_EXCEEDED
            | ReasonCode::TOPIC_ALIAS_INVALID
            | ReasonCode::PACKET_TOO_LARGE
            | ReasonCode::MESSAGE_RATE_TOO_HIGH
            | ReasonCode::QUOTA_EXCEEDED
            | ReasonCode::ADMINISTRATIVE_ACTION
            | ReasonCode::PAYLOAD_FORMAT_INVALID
    )
}

/// Reads an AUTH. All may be left out where the reason is success (3.15.2.1).
pub(super) fn auth(reader: &mut Reader<'_>, dialect: &Dialect<'_>) -> Result<Auth, Fault> {
    let mut auth = Auth::default();
    if reader.is_empty() {
        return Ok(auth);
    }
    auth.reason = ReasonCode(reader.u8()?);
    if !matches!(auth.reason, ReasonCode::SUCCESS | ReasonCode::CONTINUE_AUTHENTICATION | ReasonCode::RE_AUTHENTICATE) {
        return Err(Fault::ReasonUnknown);
    }
    read_section(reader, Place::Auth, dialect.limits, |property| {
        match property {
            Property::AuthenticationMethod(name) => auth.method = Some(name.into()),
            Property::AuthenticationData(data) => auth.data = Some(AuthenticationData(keep(data))),
            Property::ReasonString(text) => auth.reason_string = Some(text.into()),
            Property::User(pair) => keep_pair(&mut auth.user_properties, pair),
            _ => return Err(Fault::PropertyMisplaced),
        }
        Ok(())
    })?;
    Ok(auth)
}
