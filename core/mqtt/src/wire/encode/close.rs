//! DISCONNECT (3.14) and AUTH (3.15).

use super::{Style, explanation};
use crate::packet::{Auth, Disconnect};
use crate::property::{Property, write_section};
use crate::reason::ReasonCode;
use crate::wire::writer::Sink;

/// Writes a DISCONNECT, empty in 3.x. In 5.0 what can be left out is left out.
pub(super) fn disconnect(style: Style, disconnect: &Disconnect, sink: &mut impl Sink) {
    if !style.is_v5() {
        return;
    }
    let has_properties = disconnect.session_expiry.is_some()
        || disconnect.server_reference.is_some()
        || (style.keep.reason_string && disconnect.reason_string.is_some())
        || (style.keep.user_properties && !disconnect.user_properties.is_empty());
    if has_properties || disconnect.reason != ReasonCode::SUCCESS {
        sink.u8(disconnect.reason.0);
    }
    if has_properties {
        write_section(sink, |put| {
            let list = [
                disconnect.session_expiry.map(Property::SessionExpiryInterval),
                disconnect.server_reference.as_deref().map(Property::ServerReference),
            ];
            list.into_iter().flatten().for_each(&mut *put);
            explanation(style.keep, disconnect.reason_string.as_ref(), &disconnect.user_properties, put);
        });
    }
}

/// Writes an AUTH.
pub(super) fn auth(style: Style, auth: &Auth, sink: &mut impl Sink) {
    sink.u8(auth.reason.0);
    write_section(sink, |put| {
        let list = [
            auth.method.as_deref().map(Property::AuthenticationMethod),
            auth.data.as_ref().map(|data| Property::AuthenticationData(&data.0)),
        ];
        list.into_iter().flatten().for_each(&mut *put);
        explanation(style.keep, auth.reason_string.as_ref(), &auth.user_properties, put);
    });
}
