//! Every key of EMQX's listeners that Postern does not act on: accepted where it says what Postern does anyway,
//! refused in words of its own otherwise. No key is ignored in silence.

mod support;

use support::{lines, load_text};

const NOT_YET: &str = "known in EMQX, not supported yet by this version of Postern";

/// Key, a value that is accepted in silence, one that is accepted with a warning, one that is refused; "" for none.
type Row = (&'static str, &'static str, &'static str, &'static str);

const LISTENER: &[Row] = &[
    ("acceptors", "", "16", ""),
    ("zone", "default", "", "edge"),
    ("allow_log_packet_data_from", "\"\"", "", "\"10.0.0.0/8\""),
    ("parse_unit", "", "frame", ""),
    ("tcp_backend", "", "socket", ""),
    ("delivery_messages_rate", "infinity", "", "\"1/s\""),
    ("delivery_messages_burst", "infinity", "", "\"1/s\""),
    ("delivery_bytes_rate", "infinity", "", "\"1KB/s\""),
    ("delivery_bytes_burst", "infinity", "", "\"1KB/s\""),
    ("subscribes_rate", "infinity", "", "\"1/s\""),
    ("subscribes_burst", "infinity", "", "\"1/s\""),
    ("tcp_options.active_n", "", "10", ""),
    ("tcp_options.send_timeout_close", "true", "", "false"),
    ("tcp_options.buffer", "", "4KB", ""),
    ("tcp_options.high_watermark", "", "1MB", ""),
    ("tcp_options.nolinger", "false", "", "true"),
];

const WEBSOCKET: &[Row] = &[
    ("mqtt_piggyback", "multiple", "", "single"),
    ("compress", "false", "", "true"),
    ("deflate_opts", "", "{ level = default }", ""),
    ("validate_utf8", "", "true", ""),
    ("proxy_address_header", "\"\"", "", "x-forwarded-for"),
    ("proxy_port_header", "\"\"", "", "x-forwarded-port"),
];

const SSL_OPTIONS: &[Row] =
    &[("hibernate_after", "", "5s", ""), ("gc_after_handshake", "false", "", "true"), ("log_level", "", "notice", "")];

const DASHBOARD: &[Row] = &[
    ("default_username", "", "", "admin"),
    ("default_password", "", "", "public"),
    ("token_expired_time", "", "", "60m"),
    ("cors", "false", "", "true"),
    ("swagger_support", "false", "", "true"),
    ("listeners.https", "", "", "{ bind = 18084 }"),
    ("listeners.http.num_acceptors", "", "4", ""),
    ("listeners.http.backlog", "", "", "1024"),
    ("listeners.http.send_timeout", "", "", "10s"),
    ("listeners.http.inet6", "false", "", "true"),
    ("listeners.http.ipv6_v6only", "false", "", "true"),
    ("listeners.http.proxy_header", "false", "", "true"),
];

const SYS_TOPICS: &[Row] = &[
    ("sys_event_messages.client_subscribed", "false", "", "true"),
    ("sys_event_messages.client_unsubscribed", "false", "", "true"),
];

#[track_caller]
fn check(rows: &[Row], text: impl Fn(&str, &str) -> String) {
    for (key, silent, warned, refused) in rows {
        let last = key.rsplit_once('.').map_or(*key, |(_, last)| last);
        if !silent.is_empty() {
            let loaded = load_text(&text(key, silent)).unwrap_or_else(|p| panic!("{key}: {}", lines(&p)));
            assert!(!lines(&loaded.warnings).contains(last), "{key}: {}", lines(&loaded.warnings));
        }
        if !warned.is_empty() {
            let loaded = load_text(&text(key, warned)).unwrap_or_else(|p| panic!("{key}: {}", lines(&p)));
            assert!(lines(&loaded.warnings).contains(&format!("{key}: accepted, but without effect: ")), "{key}");
        }
        if !refused.is_empty() {
            let said = lines(&load_text(&text(key, refused)).expect_err(key));
            assert!(said.contains(&format!("{key}: {NOT_YET}; remove it")), "{key}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}

#[test]
fn keys_of_listeners() {
    check(LISTENER, |key, value| format!("listeners.tcp.a {{ bind = 1, {key} = {value} }}"));
    check(LISTENER, |key, value| {
        format!("listeners.ssl.a {{ bind = 1, ssl_options.managed_certs {{ bundle_name = x }}, {key} = {value} }}")
    });
}

#[test]
fn keys_of_ssl_options() {
    check(SSL_OPTIONS, |key, value| {
        format!("listeners.ssl.a {{ bind = 1, ssl_options {{ certfile = a, keyfile = b, {key} = {value} }} }}")
    });
}

#[test]
fn what_tls_never_will_be_is_told_with_what_to_do_instead() {
    for (key, same, other, words) in [
        ("cacerts", "false", "true", "never trusted for clients; write `cacertfile`"),
        (
            "client_renegotiation",
            "false",
            "true",
            "no TLS session is ever renegotiated; TLS 1.3 has nothing of the kind",
        ),
        ("secure_renegotiate", "true", "false", "(RFC 5746) is always answered; write `true`"),
        ("dhfile", "", "\"dh.pem\"", "is not spoken: key exchange is by elliptic curves and ML-KEM; remove it"),
        ("user_lookup_fun", "", "\"emqx_tls_psk:lookup\"", "TLS with pre-shared keys is not spoken; remove it"),
    ] {
        for kind in ["ssl", "wss"] {
            let text = |value: &str| {
                format!(
                    "listeners.{kind}.a {{ bind = 1, ssl_options {{ certfile = a, keyfile = b, {key} = {value} }} }}"
                )
            };
            if !same.is_empty() {
                let loaded = load_text(&text(same)).unwrap_or_else(|p| panic!("{key}: {}", lines(&p)));
                assert!(!lines(&loaded.warnings).contains(key), "{}", lines(&loaded.warnings));
            }
            let said = lines(&load_text(&text(other)).expect_err(key));
            assert!(said.contains(words) && said.lines().count() == 1, "{said}");
        }
    }
}

#[test]
fn keys_of_websocket() {
    check(WEBSOCKET, |key, value| format!("listeners.ws.a {{ bind = 1, websocket {{ {key} = {value} }} }}"));
}

#[test]
fn keys_of_dashboard_and_sys_topics() {
    check(DASHBOARD, |key, value| format!("listeners.tcp.a.bind = 1\ndashboard {{ {key} = {value} }}"));
    check(SYS_TOPICS, |key, value| format!("listeners.tcp.a.bind = 1\nsys_topics {{ {key} = {value} }}"));
}

#[test]
fn keys_that_postern_acts_on_are_accepted() {
    let text = "listeners.ssl.a { enabled = true, bind = 8883, max_connections = infinity, mountpoint = \"\", authentication = []\n\
                ssl_options { cacertfile = ca, certfile = a, keyfile = b, password = c, verify = verify_peer, \
                fail_if_no_peer_cert = true, versions = [tlsv1.3], handshake_timeout = 15s } }\n\
                mqtt { peer_cert_as_username = cn, retain_available = true }\nnode { cookie = x, role = core }";
    let loaded = load_text(text).unwrap_or_else(|p| panic!("{}", lines(&p)));
    assert_eq!(loaded.warnings.len(), 1, "the Erlang cookie:\n{}", lines(&loaded.warnings));
}

#[test]
fn other_sections_of_emqx_are_refused_by_name() {
    for key in ["cluster", "flapping_detect", "rule_engine", "zones", "psk_authentication"] {
        let said = lines(&load_text(&format!("listeners.tcp.a.bind = 1\n{key} {{ a = 1 }}")).expect_err(key));
        assert_eq!(said, format!("etc/postern.conf:2:1: {key}: {NOT_YET}; remove it\n"));
    }
    for key in [
        "mqtt.exclusive_subscription = true",
        "mqtt.shared_subscription_strategy = sticky",
        "retainer.delivery_rate = \"1000/s\"",
        "log.console { enable = true }",
        "node.db_backend = x",
    ] {
        let said = lines(&load_text(&format!("listeners.tcp.a.bind = 1\n{key}")).expect_err(key));
        assert!(said.contains(NOT_YET), "{said}");
    }
}
