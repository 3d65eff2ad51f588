//! Who may come back with a shorter TLS handshake: keys of `ssl_options`, and of `node`.

use std::time::Duration;

use crate::model::{SessionResumption, SessionTickets, Versions};
use crate::reader::{Reader, Section};

/// Longest life of a ticket, in seconds: the keys that seal tickets are replaced that often.
const MAX_LIFETIME_S: u64 = 6 * 60 * 60;
/// Most tickets after one handshake.
const MAX_TICKETS: u64 = 16;

/// `session_tickets` and `reuse_sessions`.
pub(super) fn of_listener(reader: &mut Reader<'_>, section: &mut Section<'_>, versions: Versions) -> SessionResumption {
    // A client's certificate is in every ticket, or it could not be judged again.
    const WORDS: [(&str, bool); 3] = [("disabled", false), ("stateless", true), ("stateless_with_cert", true)];
    let tickets = section.take("session_tickets").and_then(|item| reader.word(&item, &WORDS));
    let reuse = section.take("reuse_sessions");
    let session_ids = reuse.as_ref().and_then(|item| reader.boolean(item)).unwrap_or(false);
    if let Some(item) = reuse.filter(|_| session_ids && !versions.tls12) {
        let text = "has no effect without tlsv1.2 in `versions`: TLS 1.3 resumes by tickets alone";
        reader.warn(item.node.at, &item.path, text, Some("write `session_tickets = stateless`"));
    }
    SessionResumption { tickets: tickets.unwrap_or(false), session_ids }
}

/// `tls_server_session_tickets_amount` and `tls_server_session_ticket_lifetime`.
pub(super) fn of_node(reader: &mut Reader<'_>, section: &mut Section<'_>) -> SessionTickets {
    let mut tickets = SessionTickets::default();
    let amount = section.take("tls_server_session_tickets_amount");
    if let Some(amount) = amount.and_then(|item| reader.integer(&item, 1, MAX_TICKETS)) {
        tickets.amount = u8::try_from(amount).expect("the range ends within 8 bits");
    }
    let lifetime = section.take("tls_server_session_ticket_lifetime");
    if let Some(lifetime_s) = lifetime.and_then(|item| reader.integer(&item, 1, MAX_LIFETIME_S)) {
        tickets.lifetime = Duration::from_secs(lifetime_s);
    }
    tickets
}
