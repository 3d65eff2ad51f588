//! A-19, A-20 and the ways in beside plain TCP and TLS: WebSocket, the PROXY protocol, access rules, rates.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup};
use postern_tests::clients::matrix::{Library, Version};
use postern_tests::clients::scenarios::ALL;
use postern_tests::clients::stage::Stage;
use postern_tests::hello::{self, Answer};
use postern_tests::journal::Line;
use postern_tests::raw::{self, ANSWER_WITHIN, Duplex, RawClient};
use postern_tests::shared::Shared;
use postern_tests::tls;
use postern_tests::wire::{self, Connect, V3_1_1, V5, kind};
use rustls::AlertDescription;
use serde_json::json;

use crate::fixture::{Certificates, REQUIRED, entry, listener, mtls_identity, name, namespace_lookup};
use crate::frames::{BINARY, Frames, ask, frame, request};

const WS: &str = "listeners.ws.web { bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 1000 }\n\
                  listeners.ws.small { bind = \"127.0.0.1:0\", websocket { max_frame_size = 64KB } }\n\
                  listeners.ws.pages { bind = \"127.0.0.1:0\", websocket { check_origin_enable = true, \
                  allow_origin_absence = false, check_origins = \"https://console.example.org\" } }";

static WEB: Shared<Broker> = Shared::new(|| Setup::new(WS).start());

fn dial(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.read_deadline(ANSWER_WITHIN);
    stream
}

/// A client over WebSocket.
fn web(broker: &Broker, listener: &str) -> RawClient<Frames<TcpStream>> {
    RawClient::over(Frames::upgrade(dial(broker.address(listener)), "127.0.0.1"))
}

/// v5: MQTT-6.0.0-2
/// v3.1.1: MQTT-6.0.0-2
#[test]
fn frames_need_not_be_packets() {
    let broker = WEB.get();
    for version in [V3_1_1, V5] {
        let topic = unique("ws");
        let mut client = web(&broker, "ws:web").speaking(version);
        let connect = Connect::new(version, &topic).bytes();
        let (first, rest) = connect.split_at(3);
        let (second, third) = rest.split_at(5);
        // Three frames, of which the last two are one message.
        for part in [frame(BINARY, first), frame(0x02, second), frame(0x80, third)] {
            client.stream.stream.write_all(&part).unwrap();
        }
        assert_eq!(client.next("CONNACK").connack_code(), Some(0));
        let both = [wire::subscribe(version, 7, &topic, 1), wire::publish(version, &topic, 1, 8, "joined")].concat();
        client.send(&both);
        client.expect(kind::SUBACK);
        let mut kinds = [client.next("PUBACK or PUBLISH"), client.next("PUBACK or PUBLISH")].map(|p| p.kind());
        kinds.sort_unstable();
        assert_eq!(kinds, [kind::PUBLISH, kind::PUBACK]);
        client.ping();
        client.leave();
    }
    let line = broker.journal.expect(0, "admitted", |line| line.says("admitted") && line.text("listener") == "ws:web");
    assert!(line.has("client_id"), "{line:?}");
    assert_alive(&broker);
}

#[test]
fn ws_and_tcp_clients_meet() {
    let broker = WEB.get();
    let topic = unique("meet");
    let mut here = web(&broker, "ws:web");
    here.enter(&Connect::new(V5, unique("ws")));
    here.subscribe(&topic, 1);
    let mut there = raw::enter(broker.control(), &Connect::new(V5, unique("tcp")));
    let long = "x".repeat(200_000);
    there.publish(&topic, &long);
    assert_eq!(here.message(), (topic.clone(), long));
    there.subscribe(&topic, 0);
    here.publish(&topic, "back");
    assert_eq!(there.message().1, "back");
    here.leave();
    there.leave();
}

#[test]
fn a_websocket_ping_is_answered_and_a_close_frame_is_too() {
    let broker = WEB.get();
    let mut client = web(&broker, "ws:web");
    client.enter(&Connect::new(V5, unique("ping")));
    let frames = &mut client.stream;
    frames.stream.write_all(&frame(0x89, b"hello")).unwrap();
    assert_eq!(frames.next().unwrap(), (0x8A, b"hello".to_vec()));
    frames.stream.write_all(&frame(0x88, &1000_u16.to_be_bytes())).unwrap();
    assert_eq!(frames.next().unwrap(), (0x88, 1000_u16.to_be_bytes().to_vec()));
    assert_eq!(frames.stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_goodbye_in_mqtt_is_followed_by_one_of_websocket() {
    let broker = WEB.get();
    let mut client = web(&broker, "ws:web");
    client.enter(&Connect::new(V5, unique("goodbye")));
    client.send(&wire::DISCONNECT);
    assert!(client.closed().packets.is_empty());
    assert_eq!(client.stream.closed, Some(1000));
}

/// v5: MQTT-6.0.0-1
/// v3.1.1: MQTT-6.0.0-1
#[test]
fn a_19_broken_frames_close_the_connection_and_wills_go_out() {
    let broker = WEB.get();
    let topic = unique("will");
    let mut witness = raw::enter(broker.control(), &Connect::new(V5, unique("witness")));
    witness.subscribe(&topic, 1);
    let connack = [0x82, 0x03, 0x20, 0x01, 0x00];
    for (what, bytes, code) in [
        ("text", frame(0x81, b"\xC3\xA4"), 1003),
        ("unmasked", connack.to_vec(), 1002),
        ("deflated", frame(0xC2, b"x"), 1002),
        ("an unknown kind", frame(0x83, b"x"), 1002),
        ("too long", frame(BINARY, &vec![0; 65_537]), 1009),
    ] {
        let mut client = web(&broker, "ws:small");
        client.enter(&Connect::new(V5, unique("a19")).will(&topic, what));
        client.stream.stream.write_all(&bytes).unwrap();
        client.closed();
        assert_eq!(client.stream.closed, Some(code), "{what}");
        assert_eq!(witness.message().1, what);
    }
    // A stranger's frame need not be longer than a CONNECT, whatever the listener takes from those it knows.
    let mut stranger = web(&broker, "ws:web");
    stranger.stream.stream.write_all(&frame(BINARY, &vec![0x10; 64 * 1024])).unwrap();
    stranger.closed();
    assert_eq!(stranger.stream.closed, Some(1009));
    assert_alive(&broker);
}

/// The status of the answer to a request.
fn status(address: SocketAddr, request: &str) -> String {
    let answer = ask(&mut dial(address), request).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn a_19_a_20_upgrades_that_may_not_be_are_refused_with_a_status() {
    let broker = WEB.get();
    let address = broker.address("ws:web");
    let asks = |path: &str, subprotocol: Option<&str>| status(address, &request(path, "127.0.0.1", subprotocol));
    assert_eq!(asks("/mqtt", Some("mqtt")), "101");
    assert_eq!(asks("/mqtt", Some("mqttv3.1, mqtt")), "101", "one of several");
    assert_eq!(asks("/mqtt", Some("mqttv3.1")), "400");
    assert_eq!(asks("/mqtt", None), "400");
    assert_eq!(asks("/", Some("mqtt")), "404");
    assert_eq!(asks("/admin", Some("mqtt")), "404");
    assert_eq!(status(address, "GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n"), "426");
    let pages = broker.address("ws:pages");
    let from = |origin: &str| {
        let asked = request("/mqtt", "127.0.0.1", Some("mqtt"));
        status(pages, &asked.replace("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n")))
    };
    assert_eq!(from("https://console.example.org"), "101");
    assert_eq!(from("https://evil.example"), "403");
    let line = broker.journal.expect(0, "refused", |line| line.says("refused") && line.text("detail").contains("403"));
    assert_eq!((line.text("at"), line.text("listener")), ("upgrade".to_owned(), "ws:pages".to_owned()));
    // Raw MQTT where WebSocket is spoken.
    let mut lost = raw::dial(address);
    lost.send(&Connect::new(V5, "lost").bytes());
    assert!(lost.closed().packets.is_empty());
    assert_alive(&broker);
}

#[test]
fn a_19_a_long_upgrade_header_costs_nothing() {
    let broker = WEB.get();
    let asked = request("/mqtt", "127.0.0.1", Some("mqtt"));
    let long = asked.replace("\r\n\r\n", &format!("\r\nX-Pad: {}\r\n\r\n", "x".repeat(64 * 1024)));
    let before = broker.cpu_ticks();
    for _ in 0..20 {
        let mut stream = dial(broker.address("ws:web"));
        // The broker may close before all of it is written.
        let _ = stream.write_all(long.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{}", answer.escape_ascii());
    }
    // A tick is a hundredth of a second; other cases of this broker may run beside this one.
    let spent = broker.cpu_ticks() - before;
    assert!(spent < 20 * 10, "{spent} ticks for twenty requests");
    assert_alive(&broker);
}

/// A broker whose secure WebSocket listener asks for client certificates.
struct Secure {
    broker: Broker,
    certificates: Certificates,
}

static SECURE: Shared<Secure> = Shared::new(|| {
    let certificates = Certificates::make();
    let cn = r#"{ source = "subject.cn", set = "username" }"#;
    let plugins = [namespace_lookup(), entry("sni-selector", ""), mtls_identity(cn)];
    let mutual = listener("mutual", REQUIRED, &plugins).replace("listeners.ssl.", "listeners.wss.");
    let open = listener("open", "verify = verify_none", &plugins[..2]).replace("listeners.ssl.", "listeners.wss.");
    let setup = Setup::new(&[mutual, open].concat());
    certificates.write(&setup);
    Secure { broker: setup.start(), certificates }
});

#[test]
fn row_80_client_certificates_rule_on_wss_as_on_ssl() {
    let secure = SECURE.get();
    let address = secure.broker.address("wss:mutual");
    let device = unique("device");
    let (acme, globex) = (&secure.certificates.acme_ca, &secure.certificates.globex_ca);

    // Without a certificate the handshake ends, before a byte of HTTP.
    let mut nobody = tls::naming(name::ACME).dial(address).unwrap();
    // Nothing is written: it could meet a closed socket, whose reset would overtake the alert.
    let error = nobody.stream.read(&mut [0]).unwrap_err();
    assert_eq!(tls::refusal(&error).alert(), AlertDescription::CertificateRequired);
    // Another tenant's certificate is a stranger's.
    let mut stranger = tls::naming(name::ACME).showing(&globex.device(&device)).dial(address).unwrap();
    assert!(ask(&mut stranger.stream, &request("/mqtt", name::ACME, Some("mqtt"))).is_err());

    let enter = |connect: &Connect| {
        let offer = tls::naming(name::ACME).showing(&acme.device(&device));
        let stream = offer.dial(address).unwrap().stream;
        let mut client = RawClient::over(Frames::upgrade(stream, name::ACME)).speaking(connect.version);
        client.send(&connect.bytes());
        let code = client.next("CONNACK").connack_code().unwrap();
        (client, code)
    };
    // The certificate says who it is, and the CONNECT may not say otherwise.
    let (_, code) = enter(&Connect::new(V5, &device).username("somebody-else"));
    assert_eq!(code, 0x86);
    let (client, code) = enter(&Connect::new(V5, &device));
    assert_eq!(code, 0);
    let line =
        secure.broker.journal.expect(0, "admitted", |line| line.says("admitted") && line.text("client_id") == device);
    assert_eq!((line.text("username"), line.text("namespace")), (device.clone(), "acme".to_owned()));
    client.leave();
    assert_alive(&secure.broker);
}

#[test]
fn the_tenant_comes_from_the_tls_name_and_another_host_is_misdirected() {
    let secure = SECURE.get();
    let address = secure.broker.address("wss:open");
    let asks = |offer: &tls::Offer, host: &str| {
        let mut client = offer.dial(address).unwrap();
        client.stream.read_deadline(ANSWER_WITHIN);
        ask(&mut client.stream, &request("/mqtt", host, Some("mqtt"))).unwrap()[9..12].to_owned()
    };
    let acme = tls::naming(name::ACME);
    assert_eq!(asks(&acme, name::ACME), "101");
    assert_eq!(asks(&acme, "MQTT.Acme.example.org.:8084"), "101");
    assert_eq!(asks(&acme, name::GLOBEX), "421");
    assert_eq!(asks(&acme, "127.0.0.1"), "421");
    assert_eq!(asks(&tls::nameless(), name::GLOBEX), "101", "without a TLS name the host decides nothing");
    assert_eq!(asks(&acme.clone().alpn(&["http/1.1"]), name::ACME), "101");
    assert!(acme.alpn(&["mqtt"]).dial(address).is_err(), "the TLS layer carries HTTP here");
    assert_alive(&secure.broker);
}

/// paho-mqtt over secure WebSocket; `cargo xtask conformance` plays more.
#[test]
fn paho_speaks_secure_websocket_with_its_certificate() {
    let secure = SECURE.get();
    let dir = secure.broker.dir();
    let device = unique("paho-wss");
    let (certificate, key) = secure.certificates.acme_ca.device(&device).write(dir, &device);
    for version in [Version::V3_1_1, Version::V5] {
        let at = json!({
            "transport": "wss", "version": version.to_string(), "host": name::DEFAULT,
            "port": secure.broker.address("wss:mutual").port(),
            "ca": dir.join("server-ca.pem"), "certificate": certificate, "key": key,
        });
        let program = Library::named("paho-mqtt").program();
        let mut stage = Stage::start(&program, version, at, &dir.join("paho-wss.log"));
        // The sizes need each of the three lengths that a frame may have.
        for wanted in ["round trips", "payload sizes"] {
            let scenario = ALL.iter().find(|scenario| scenario.name == wanted).unwrap();
            stage.play(wanted, scenario.play).unwrap();
        }
    }
    let admitted = |line: &Line| line.says("admitted") && line.text("username") == device;
    secure.broker.journal.expect(0, "admitted", admitted);
    assert_alive(&secure.broker);
}

/// paho-mqtt over WebSocket.
#[test]
fn paho_speaks_websocket() {
    let broker = WEB.get();
    let address = broker.address("ws:web");
    for version in [Version::V3_1_1, Version::V5] {
        let at = json!({
            "transport": "ws", "version": version.to_string(), "host": "127.0.0.1", "port": address.port(),
        });
        let program = Library::named("paho-mqtt").program();
        let mut stage = Stage::start(&program, version, at, &broker.dir().join("paho-ws.log"));
        let scenario = ALL.iter().find(|scenario| scenario.name == "payload sizes").unwrap();
        stage.play(scenario.name, scenario.play).unwrap();
    }
    assert_alive(&broker);
}

const PROXY: &str = "proxy_protocol = true, proxy_protocol_trusted = [\"127.0.0.0/8\"], proxy_protocol_timeout = 2s";

static PROXIED: Shared<Broker> = Shared::new(|| {
    let certificates = Certificates::make();
    let listeners = format!(
        "listeners.tcp.proxied {{ bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 2, {PROXY}\n\
         access_rules = [\"deny 203.0.113.0/24\", \"allow all\"] }}\n\
         listeners.tcp.distrust {{ bind = \"127.0.0.1:0\", proxy_protocol = true, \
         proxy_protocol_trusted = \"192.0.2.1\" }}\n\
         listeners.ssl.proxied {{ bind = \"127.0.0.1:0\", {PROXY}\n\
         ssl_options {{ certfile = server.pem, keyfile = server.key }} }}\n\
         listeners.ws.proxied {{ bind = \"127.0.0.1:0\", {PROXY} }}"
    );
    let setup = Setup::new(&listeners);
    certificates.default.write(setup.dir.path(), "server");
    setup.start()
});

/// A version 1 header.
fn line(source: &str) -> Vec<u8> {
    format!("PROXY TCP4 {source} 198.51.100.1 50000 1883\r\n").into_bytes()
}

/// A version 2 header: this command, TCP over IPv4 from 192.0.2.99:50000, and these fields.
fn binary(command: u8, fields: &[u8]) -> Vec<u8> {
    let addresses = [192, 0, 2, 99, 198, 51, 100, 1, 0xC3, 0x50, 0x07, 0x5B];
    let length = u16::try_from(addresses.len() + fields.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\x00\r\nQUIT\n"[..], &[command, 0x11], &length, &addresses, fields].concat()
}

/// What the log says of a client.
fn peer_of(broker: &Broker, client_id: &str) -> String {
    let told =
        broker.journal.expect(0, "admitted", |line| line.says("admitted") && line.text("client_id") == client_id);
    told.text("peer")
}

#[test]
fn a_trusted_proxy_says_whose_a_connection_is() {
    let broker = PROXIED.get();
    let tls_fields = b"\x20\x00\x0D\x07\x00\x00\x00\x00\x22\x00\x05admin";
    let own = |header: Vec<u8>| {
        let id = unique("proxied");
        let mut client = raw::dial(broker.address("tcp:proxied"));
        // The header and the CONNECT in one segment: the header alone is taken off.
        let connect = Connect::new(V5, &id);
        client.send(&[header, connect.bytes()].concat());
        assert_eq!(client.next("CONNACK").connack_code(), Some(0));
        let address = client.stream.local_addr().unwrap().to_string();
        client.leave();
        (peer_of(&broker, &id), address)
    };
    assert_eq!(own(line("192.0.2.7")).0, "192.0.2.7:50000");
    assert_eq!(own(binary(0x21, b"")).0, "192.0.2.99:50000");
    let (peer, _) = own(binary(0x21, tls_fields));
    assert_eq!(peer, "192.0.2.99:50000", "what it says of TLS changes nothing");
    let (peer, address) = own(binary(0x20, b""));
    assert_eq!(peer, address, "LOCAL: the proxy's own connection");
    assert_alive(&broker);
}

#[test]
fn tls_and_websocket_come_behind_the_header() {
    let broker = PROXIED.get();
    let mut socket = dial(broker.address("ws:proxied"));
    socket.write_all(&line("192.0.2.8")).unwrap();
    let mut client = RawClient::over(Frames::upgrade(socket, "127.0.0.1"));
    let id = unique("behind");
    client.enter(&Connect::new(V5, &id));
    assert_eq!(peer_of(&broker, &id), "192.0.2.8:50000");
    client.leave();

    let mut socket = dial(broker.address("ssl:proxied"));
    let greeting = hello::naming("localhost").records(16_384);
    socket.write_all(&[binary(0x21, b""), greeting].concat()).unwrap();
    let answer = hello::answer(&mut RawClient::over(socket));
    assert!(matches!(answer, Answer::Served(_)), "{answer:?}");
    assert_alive(&broker);
}

#[test]
fn a_20_broken_headers_are_refused_and_logged_once() {
    let broker = PROXIED.get();
    for (what, header) in [
        ("a field longer than the header", binary(0x21, b"\x02\x00\x09short")),
        ("a TLS field longer than its own", binary(0x21, b"\x20\x00\x09\x01\x00\x00\x00\x00\x22\x00\xFFx")),
        ("an unknown version", binary(0x31, b"")),
        ("a line that is none", b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 x\r\n".to_vec()),
        ("no header", Connect::new(V5, "x").bytes()),
    ] {
        let mut client = raw::dial(broker.address("tcp:proxied"));
        client.send(&[header, Connect::new(V5, "x").bytes()].concat());
        let own = client.stream.local_addr().unwrap().to_string();
        assert!(client.closed().packets.is_empty(), "{what}");
        let refused = |line: &Line| line.says("refused") && line.has("peer") && line.text("peer") == own;
        assert_eq!(broker.journal.expect(0, what, refused).text("at"), "proxy");
        assert_eq!(broker.journal.lines().into_iter().filter(refused).count(), 1, "{what}");
    }
    let mut silent = raw::dial(broker.address("tcp:proxied"));
    assert!(silent.closed().packets.is_empty(), "no header in time");
    assert_alive(&broker);
}

#[test]
fn headers_of_others_are_not_believed() {
    let broker = PROXIED.get();
    let mut client = raw::dial(broker.address("tcp:distrust"));
    client.send(&[line("192.0.2.1"), Connect::new(V5, "x").bytes()].concat());
    assert!(client.closed().packets.is_empty());
    let refused = |line: &Line| line.says("refused") && line.text("listener") == "tcp:distrust";
    assert!(broker.journal.expect(0, "refused", refused).text("detail").contains("proxy_protocol_trusted"));
    assert_alive(&broker);
}

#[test]
fn rules_and_limits_hold_for_the_address_in_the_header() {
    let broker = PROXIED.get();
    let behind = |source: &str| {
        let mut client = raw::dial(broker.address("tcp:proxied"));
        client.send(&line(source));
        client
    };
    // By access_rules.
    assert!(behind("203.0.113.5").closed().packets.is_empty());
    // Two may be at the door from one address, and all come from the proxy's: the third of one is refused.
    let waiting = ["192.0.2.51"; 3].map(behind);
    let refused = |line: &Line| {
        line.says("refused") && line.text("peer").starts_with("192.0.2.51:") && line.text("why") == "rate_limited"
    };
    broker.journal.expect(0, "refused by the limit", refused);
    let mut other = behind("192.0.2.52");
    other.enter(&Connect::new(V5, unique("other")));
    other.leave();
    drop(waiting);
    assert_alive(&broker);
}

#[test]
fn access_rules_decide_before_a_byte_is_read() {
    let broker = Setup::new(
        "listeners.tcp.denied { bind = \"127.0.0.1:0\", access_rules = [\"deny 127.0.0.0/8\", \"allow all\"] }\n\
         listeners.tcp.allowed { bind = \"127.0.0.1:0\", access_rules = [\"allow 127.0.0.1\", \"deny all\"] }\n\
         listeners.tcp.unmatched { bind = \"127.0.0.1:0\", access_rules = [\"deny 10.0.0.0/8\"] }",
    )
    .start();
    let mut denied = raw::dial(broker.address("tcp:denied"));
    assert!(denied.closed().packets.is_empty());
    let line = broker.journal.expect(0, "refused", |line| line.says("refused"));
    assert_eq!((line.text("at"), line.text("why")), ("accept".to_owned(), "not_allowed".to_owned()));
    assert!(line.text("detail").contains("deny 127.0.0.0/8"), "{line:?}");
    for listener in ["tcp:allowed", "tcp:unmatched"] {
        raw::enter(broker.address(listener), &Connect::new(V5, unique("rules"))).leave();
    }
    assert_alive(&broker);
}

#[test]
fn a_connection_rate_delays_and_refuses_nobody() {
    let broker = Setup::new("listeners.tcp.slow { bind = \"127.0.0.1:0\", max_conn_rate = \"5/s\" }").start();
    let address = broker.address("tcp:slow");
    let began = Instant::now();
    for _ in 0..15 {
        raw::enter(address, &Connect::new(V5, unique("rate"))).leave();
    }
    // Five at once, ten at five a second.
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1_900), "fifteen connections in {took:?}");
    assert_alive(&broker);
}

#[test]
fn settings_that_cannot_be_are_found_by_check() {
    for (listener, expect) in [
        ("listeners.ws.a { bind = 0, websocket { compress = true } }", "websocket.compress"),
        ("listeners.tcp.a { bind = 0, proxy_protocol = true }", "`proxy_protocol_trusted` is missing"),
        ("listeners.tcp.a { bind = 0, access_rules = [\"allow everybody\"] }", "access_rules[0]"),
        ("listeners.tcp.a { bind = 0, max_conn_rate = fast }", "is no rate"),
    ] {
        let checked = Setup::new(listener).check();
        assert_eq!(checked.code, Some(1), "{listener}");
        assert!(checked.text.contains(expect), "{}", checked.text);
    }
}
