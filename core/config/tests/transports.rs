//! What a listener's connections come by.

mod support;

use std::time::Duration;

use postern_config::{KeepAlive, Listener, ListenerKind, Origins, ProxyTls, Rate, TcpOptions};
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

/// A listener with this beside its address.
fn tcp(more: &str) -> String {
    format!("listeners.tcp.a {{ bind = 1883\n{more} }}")
}

#[test]
fn access_rules_are_read_in_their_order() {
    let rules = |text: &str| {
        let rules = listener(&tcp(&format!("access_rules = {text}"))).access_rules;
        rules.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(rules("[\"allow 192.168.0.0/24\", \"deny all\"]"), ["allow 192.168.0.0/24", "deny all"]);
    assert_eq!(rules("\"deny 10.0.0.1, allow all\""), ["deny 10.0.0.1/32", "allow all"]);
    assert_eq!(rules("[\"allow ::1\", \"deny  2001:db8::/32\"]"), ["allow ::1/128", "deny 2001:db8::/32"]);
    assert!(listener(&tcp("")).access_rules.is_empty());
    for (text, expect) in [
        ("[\"allow all\", \"permit all\"]", "access_rules[1]: `permit all` is no access rule"),
        ("[\"deny\"]", "is no access rule"),
        ("[\"deny 10.0.0.0 8\"]", "is no access rule"),
        ("[\"deny 10.0.0.0/33\"]", "access_rules[0]: `10.0.0.0/33` is no address and no network"),
        ("[\"deny 10.0.0.1/8\"]", "the network is 10.0.0.0/8"),
        ("[\"deny example.org\"]", "it is no IP address"),
        ("\"\"", "is no access rule"),
    ] {
        refused(&tcp(&format!("access_rules = {text}")), expect);
    }
    let said = lines(&good(&tcp("access_rules = [\"allow 10.0.0.0/8\"]")).warnings);
    assert!(said.contains("every address may connect; end the list with `deny all`"), "{said}");
}

#[test]
fn the_proxy_protocol_needs_somebody_to_trust() {
    let proxy = |more: &str| listener(&tcp(more)).proxy_protocol;
    let on = proxy("proxy_protocol = true, proxy_protocol_trusted = [\"10.0.0.0/8\", \"::1\"]").unwrap();
    assert_eq!((on.timeout, on.trusted.len()), (Duration::from_secs(3), 2));
    let slow = "proxy_protocol = true, proxy_protocol_timeout = 5s, proxy_protocol_trusted = \"10.0.0.5\"";
    assert_eq!(proxy(slow).unwrap().timeout, Duration::from_secs(5));
    assert_eq!(proxy("proxy_protocol = false, proxy_protocol_timeout = 3s"), None);
    for (more, expect) in [
        ("proxy_protocol = true", "proxy_protocol: `proxy_protocol_trusted` is missing: who can reach the listener"),
        ("proxy_protocol = true, proxy_protocol_trusted = []", "nobody is trusted"),
        ("proxy_protocol = true, proxy_protocol_trusted = [\"lb.example\"]", "is no address and no network"),
        ("proxy_protocol = true, proxy_protocol_timeout = 0s", "is not from 100ms to 60s"),
    ] {
        refused(&tcp(more), expect);
    }
}

#[test]
fn what_a_proxy_says_of_tls_counts_only_where_tls_ended_there() {
    let trusted = "proxy_protocol = true, proxy_protocol_trusted = \"::1\"";
    let word = |more: &str| listener(&tcp(&format!("{trusted}{more}"))).proxy_protocol.unwrap().tls;
    assert_eq!(word(""), ProxyTls::Inform);
    assert_eq!(word(", proxy_protocol_tls = trust, peer_cert_as_username = cn"), ProxyTls::Trust);
    assert_eq!(word(", proxy_protocol_tls = require"), ProxyTls::Require);
    let dn = format!("{trusted}, proxy_protocol_tls = trust, peer_cert_as_username = dn");
    refused(&tcp(&dn), "peer_cert_as_username: `dn` cannot be had from a proxy, which says the common name alone");
    refused(&tcp(&format!("{trusted}, proxy_protocol_tls = yes")), "proxy_protocol_tls");
    let tls = "ssl_options { certfile = a, keyfile = b }";
    let ssl = |word: &str| format!("listeners.ssl.a {{ bind = 1, {tls}, {trusted}, proxy_protocol_tls = {word} }}");
    refused(&ssl("trust"), "TLS ends at this `ssl` listener, which verifies certificates itself");
    good(&ssl("inform"));
    let said = lines(&good(&tcp("proxy_protocol_tls = trust")).warnings);
    assert!(said.contains("proxy_protocol_tls: has no effect without `proxy_protocol = true`"), "{said}");
}

#[test]
fn rates_are_numbers_in_a_time() {
    let rate = |text: &str| listener(&tcp(&format!("max_conn_rate = {text}"))).max_conn_rate;
    let of = |count, ms| Some(Rate { count, per: Duration::from_millis(ms) });
    for (text, expect) in [
        ("\"1000/s\"", of(1000, 1000)),
        ("\"50/10s\"", of(50, 10_000)),
        ("\"1/500ms\"", of(1, 500)),
        ("\"60 / m\"", of(60, 60_000)),
        ("infinity", None),
    ] {
        assert_eq!(rate(text), expect, "{text}");
    }
    for text in
        ["1000", "\"0/s\"", "\"-1/s\"", "\"1/0s\"", "\"1/\"", "\"1/10\"", "\"1/y\"", "\"4294967296/s\"", "\"1/2d\""]
    {
        refused(&tcp(&format!("max_conn_rate = {text}")), "is no rate; write `1000/s`");
    }
    let both = listener(&tcp("max_conn_rate = \"10/s\", max_conn_burst = \"100/1m\""));
    assert_eq!(both.max_conn_burst, of(100, 60_000));
    let said = lines(&good(&tcp("max_conn_burst = \"100/m\"")).warnings);
    assert!(said.contains("max_conn_burst: has no effect without `max_conn_rate`"), "{said}");
}

#[test]
fn socket_options_are_those_of_the_operating_system() {
    let options = |text: &str| listener(&tcp(&format!("tcp_options {{ {text} }}"))).tcp_options;
    assert_eq!(listener(&tcp("")).tcp_options, TcpOptions::default());
    let all = "nodelay = false, backlog = 64, keepalive = \"240, 30,5\", recbuf = 2KB, sndbuf = 4KB, send_timeout = 2s, \
               reuseaddr = false";
    let [idle, interval] = [240, 30].map(Duration::from_secs);
    assert_eq!(
        options(all),
        TcpOptions {
            nodelay: false,
            backlog: 64,
            keepalive: Some(KeepAlive { idle, interval, probes: 5 }),
            recbuf: Some(2048),
            sndbuf: Some(4096),
            send_timeout: Duration::from_secs(2),
            reuseaddr: false,
        }
    );
    assert_eq!(options("keepalive = none").keepalive, None);
    for (text, expect) in [
        ("keepalive = \"240,30\"", "is no keep-alive; write `none`"),
        ("keepalive = \"0,30,5\"", "is no keep-alive"),
        ("keepalive = \"240,30,128\"", "is no keep-alive"),
        ("backlog = 0", "is not a whole number from 1 to 65535"),
        ("recbuf = 1", "is not from 1024"),
        ("send_timeout = 0s", "is not from 100ms to 3600s"),
        ("send_timeout = infinity", "is not a duration"),
        ("nodelai = true", "did you mean `nodelay`?"),
    ] {
        refused(&tcp(&format!("tcp_options {{ {text} }}")), expect);
    }
}
