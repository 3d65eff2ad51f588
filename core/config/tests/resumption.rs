//! Session resumption: keys of `ssl_options` and of `node`.

mod support;

use std::time::Duration;

use postern_config::{SessionResumption, SessionTickets};
use support::{bad, good, lines};

/// On each kind of listener that has TLS.
fn listeners(options: &str) -> [String; 2] {
    ["ssl", "wss"].map(|kind| {
        format!("listeners.{kind}.a {{ bind = 8883, ssl_options {{ certfile = c.pem, keyfile = k.pem\n{options}\n}} }}")
    })
}

#[test]
fn nothing_is_resumed_unless_it_is_asked_for() {
    for (options, tickets, session_ids) in [
        ("", false, false),
        ("session_tickets = disabled, reuse_sessions = false", false, false),
        ("session_tickets = stateless", true, false),
        ("session_tickets = stateless_with_cert", true, false),
        ("reuse_sessions = true", false, true),
        ("session_tickets = stateless, reuse_sessions = true", true, true),
    ] {
        for text in listeners(options) {
            let loaded = good(&text);
            let found = loaded.config.listeners[0].tls.as_ref().unwrap().resumption;
            assert_eq!(found, SessionResumption { tickets, session_ids }, "{text}");
            assert!(!lines(&loaded.warnings).contains("session"), "{}", lines(&loaded.warnings));
        }
    }
}

#[test]
fn what_cannot_be_is_said() {
    for (options, words) in [
        ("session_tickets = stateful", "`stateful` is not one of `disabled`, `stateless`, `stateless_with_cert`"),
        ("session_tickets = true", "`true` is not one of"),
        ("reuse_sessions = sometimes", "must be true or false"),
    ] {
        for text in listeners(options) {
            let said = lines(&bad(&text));
            assert!(said.contains(words), "{said}");
        }
    }
    for text in listeners("versions = [tlsv1.3], reuse_sessions = true") {
        let said = lines(&good(&text).warnings);
        assert!(said.contains("reuse_sessions: has no effect without tlsv1.2"), "{said}");
    }
}

#[test]
fn the_node_says_how_many_tickets_and_for_how_long() {
    let with = |node: &str| format!("{}\nnode {{ {node} }}", listeners("")[0]);
    assert_eq!(good(&with("name = n")).config.node.session_tickets, SessionTickets::default());
    let text = with("tls_server_session_tickets_amount = 4, tls_server_session_ticket_lifetime = 600");
    let wanted = SessionTickets { amount: 4, lifetime: Duration::from_mins(10) };
    assert_eq!(good(&text).config.node.session_tickets, wanted);
    for (node, words) in [
        ("tls_server_session_tickets_amount = 0", "`0` is not a whole number from 1 to 16"),
        ("tls_server_session_tickets_amount = 17", "`17` is not a whole number from 1 to 16"),
        ("tls_server_session_ticket_lifetime = 0", "`0` is not a whole number from 1 to 21600"),
        ("tls_server_session_ticket_lifetime = 604800", "`604800` is not a whole number from 1 to 21600"),
    ] {
        let said = lines(&bad(&with(node)));
        assert!(said.contains(words), "{said}");
    }
    let loaded = good(&with("tls_stateless_tickets_seed = \"sixteen bytes or more\""));
    let said = lines(&loaded.warnings);
    assert!(said.contains("tls_stateless_tickets_seed: accepted, but without effect: each process"), "{said}");
    assert!(!said.contains("sixteen"), "{said}");
}
