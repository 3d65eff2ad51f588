//! What a listener's connections come by.

mod support;

use std::time::Duration;

use postern_config::{Listener, ListenerKind, Origins};
use support::{bad, good, lines};

#[track_caller]
fn listener(text: &str) -> Listener {
    good(text).config.listeners.remove(0)
}

#[track_caller]
fn refused(text: &str, expect: &str) {
    let said = lines(&bad(text));
    assert!(said.contains(expect), "{said}");
}

/// A listener with these settings of `websocket`.
fn ws(options: &str) -> String {
    format!("listeners.ws.a {{ bind = 8083, websocket {{ {options} }} }}")
}

#[test]
fn listeners_are_of_four_types() {
    let tls = "ssl_options.managed_certs { bundle_name = x }";
    let text = format!(
        "listeners {{ wss.a {{ bind = 4, {tls} }}, ws.a.bind = 3, ssl.a {{ bind = 2, {tls} }}, tcp.a.bind = 1 }}"
    );
    let config = good(&text).config;
    let found: Vec<_> =
        config.listeners.iter().map(|l| (l.kind, l.id.to_string(), l.tls.is_some(), l.websocket.is_some())).collect();
    assert_eq!(
        found,
        [
            (ListenerKind::Tcp, "tcp:a".to_owned(), false, false),
            (ListenerKind::Ssl, "ssl:a".to_owned(), true, false),
            (ListenerKind::Ws, "ws:a".to_owned(), false, true),
            (ListenerKind::Wss, "wss:a".to_owned(), true, true),
        ]
    );
    refused("listeners.wss.a.bind = 1", "listeners.wss.a: there is no certificate");
    refused(
        "listeners.ws.a { bind = 1, ssl_options { certfile = a } }",
        "a `ws` listener has no TLS; remove it, or make it `listeners.wss",
    );
    refused("listeners.ws.a { bind = 1, peer_cert_as_username = cn }", "a `ws` listener has no TLS handshake");
    refused(
        "listeners.tcp.a { bind = 1, websocket { } }",
        "listeners.tcp.a.websocket: a `tcp` listener speaks no WebSocket",
    );
    refused("listeners.quic.a.bind = 1", "listeners of type `quic` are not supported yet");
    refused("listeners.wsss.a.bind = 1", "did you mean `wss`?");
}

#[test]
fn websocket_has_emqx_defaults_where_they_are_bounded() {
    let websocket = listener("listeners.ws.a.bind = 1").websocket.unwrap();
    assert_eq!(websocket.mqtt_path, "/mqtt");
    assert_eq!(websocket.subprotocols, ["mqtt", "mqtt-v3", "mqtt-v3.1.1", "mqtt-v5"]);
    assert!(websocket.subprotocol_required);
    assert_eq!((websocket.idle_timeout, websocket.origins), (Duration::from_hours(2), None));
    assert_eq!(websocket.max_frame_bytes, (1 << 20) + 65_536);
    let wide = listener("mqtt.max_packet_size = 256MB\nlisteners.ws.a.bind = 1").websocket.unwrap();
    assert_eq!(wide.max_frame_bytes, (256 << 20) + 65_536);
}

#[test]
fn websocket_settings_are_read() {
    let text = ws("mqtt_path = \"/a/b\", fail_if_no_subprotocol = false, supported_subprotocols = \"mqtt,x\", \
                   max_frame_size = 64KB, idle_timeout = 5m, check_origin_enable = true, \
                   allow_origin_absence = false, check_origins = \"http://A.example, https://b.example:8443\"");
    let websocket = listener(&text).websocket.unwrap();
    assert_eq!((websocket.mqtt_path.as_str(), websocket.subprotocol_required), ("/a/b", false));
    assert_eq!((websocket.subprotocols.join(" ").as_str(), websocket.max_frame_bytes), ("mqtt x", 65_536));
    assert_eq!(websocket.idle_timeout, Duration::from_mins(5));
    let allowed = ["http://a.example", "https://b.example:8443"].map(str::to_owned).to_vec();
    assert_eq!(websocket.origins, Some(Origins { allowed, absence_allowed: false }));
    let list = listener(&ws("supported_subprotocols = [mqtt, mqtt-v5]")).websocket.unwrap();
    assert_eq!(list.subprotocols, ["mqtt", "mqtt-v5"]);
    let off = listener(&ws("check_origins = \"http://a.example\"")).websocket.unwrap();
    assert_eq!(off.origins, None, "not enabled");
}

#[test]
fn websocket_settings_that_cannot_be_are_refused() {
    for (options, expect) in [
        ("mqtt_path = mqtt", "`mqtt` is no path of a URL"),
        ("mqtt_path = \"/a b\"", "is no path of a URL"),
        ("mqtt_path = \"/a?b\"", "is no path of a URL"),
        ("supported_subprotocols = \"\"", "no sub-protocol is left"),
        ("supported_subprotocols = \"a b\"", "`a b` is no name of a sub-protocol"),
        ("max_frame_size = infinity", "must have a bound"),
        ("max_frame_size = 1", "is not from 1024"),
        ("idle_timeout = 0", "is not from 1s"),
        ("check_origin_enable = true", "check_origins: is missing"),
        ("check_origins = \"a.example\"", "`a.example` is no origin of a web page"),
        ("check_origins = \"http://a.example/\"", "is no origin of a web page"),
        ("mqtt_pth = \"/a\"", "did you mean `mqtt_path`?"),
    ] {
        refused(&ws(options), expect);
    }
}
