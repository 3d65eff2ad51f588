//! What an operator sees of a broker over HTTP: exact counts, a bounded number of series, and no way to hurt it there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup};
use postern_tests::hello;
use postern_tests::http::{self, Scrape};
use postern_tests::pki::Authority;
use postern_tests::raw::{self, ANSWER_WITHIN};
use postern_tests::tls;
use postern_tests::wire::{self, Connect, V3_1_1, V5, kind};

use crate::fixture::{Certificates, REQUIRED, entry, listener, mtls_identity, name, namespace_lookup};

const HTTP: &str = "dashboard.listeners.http.bind = \"127.0.0.1:0\"\n";
/// What may still be on its way when a client has its answer, such as the end of its connection.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

fn at(broker: &Broker) -> SocketAddr {
    broker.address("http:dashboard")
}

/// Scrapes until a series has this value.
fn settled(broker: &Broker, series: &str, value: f64) -> Scrape {
    let end = Instant::now() + SETTLED_WITHIN;
    loop {
        let scrape = Scrape::of(at(broker));
        if (scrape.get(series) - value).abs() < f64::EPSILON {
            return scrape;
        }
        assert!(Instant::now() < end, "{series} is {} and never {value}", scrape.get(series));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn assert_grown(before: &Scrape, after: &Scrape, expect: &[(&str, usize)]) {
    for (series, count) in expect {
        let grown = after.since(before, series);
        assert!(
            (grown - f64::from(u32::try_from(*count).unwrap())).abs() < f64::EPSILON,
            "{series}: {grown}, not {count}"
        );
    }
}

#[test]
fn known_traffic_is_counted_exactly() {
    let broker = Setup::new(HTTP).start();
    let before = Scrape::of(at(&broker));
    let mut to_broker = 0;
    let mut to_client = 0;
    let mut sends = |client: &mut raw::RawClient<TcpStream>, bytes: &[u8], answers: usize| {
        client.send(bytes);
        to_broker += bytes.len();
        for _ in 0..answers {
            let packet = client.next("an answer");
            to_client += 2 + packet.body.len();
        }
    };
    let mut client = raw::dial(broker.control());
    sends(&mut client, &Connect::new(V3_1_1, "counted").bytes(), 1);
    let mut client = client.speaking(V3_1_1);
    sends(&mut client, &wire::subscribe(V3_1_1, 1, "counted/+", 2), 1);
    sends(&mut client, &wire::publish(V3_1_1, "counted/a", 0, 0, "12345"), 1);
    sends(&mut client, &wire::publish(V3_1_1, "counted/a", 1, 2, "1234567"), 2);
    sends(&mut client, &wire::acknowledge(kind::PUBACK, 1), 0);
    sends(&mut client, &wire::retain(V3_1_1, "counted/b", 2, 3, "123"), 2);
    sends(&mut client, &wire::acknowledge(kind::PUBREL, 3), 1);
    sends(&mut client, &wire::acknowledge(kind::PUBREC, 2), 1);
    sends(&mut client, &wire::PINGREQ, 1);
    let received = |what: &str| format!("postern_packets_received_total{{namespace=\"(global)\",type=\"{what}\"}}");
    let sent = |what: &str| format!("postern_packets_sent_total{{namespace=\"(global)\",type=\"{what}\"}}");
    let of = |name: &str| format!("{name}{{namespace=\"(global)\"}}");
    let qos = |name: &str, qos: u8| format!("{name}{{namespace=\"(global)\",qos=\"{qos}\"}}");
    let after = Scrape::of(at(&broker));
    assert_grown(
        &before,
        &after,
        &[
            ("postern_connections_accepted_total{listener=\"tcp:control\"}", 1),
            ("postern_connections_admitted_total{listener=\"tcp:control\"}", 1),
            ("postern_connections_open{listener=\"tcp:control\"}", 1),
            (&received("connect"), 1),
            (&received("subscribe"), 1),
            (&received("publish"), 3),
            (&received("puback"), 1),
            (&received("pubrec"), 1),
            (&received("pubrel"), 1),
            (&received("pubcomp"), 0),
            (&received("pingreq"), 1),
            (&received("disconnect"), 0),
            (&sent("connack"), 1),
            (&sent("suback"), 1),
            (&sent("publish"), 3),
            (&sent("puback"), 1),
            (&sent("pubrec"), 1),
            (&sent("pubrel"), 1),
            (&sent("pubcomp"), 1),
            (&sent("pingresp"), 1),
            (&qos("postern_publishes_received_total", 0), 1),
            (&qos("postern_publishes_received_total", 1), 1),
            (&qos("postern_publishes_received_total", 2), 1),
            (&qos("postern_publishes_sent_total", 2), 1),
            (&of("postern_publish_received_bytes_total"), 15),
            (&of("postern_publish_sent_bytes_total"), 15),
            (&of("postern_received_bytes_total"), to_broker),
            (&of("postern_sent_bytes_total"), to_client),
            (&of("postern_sessions"), 1),
            (&of("postern_sessions_connected"), 1),
            (&of("postern_subscriptions"), 1),
            (&of("postern_retained_messages"), 1),
            // The QoS 2 message that the client has not completed.
            (&of("postern_inflight_messages"), 1),
            (&of("postern_unreleased_packet_ids"), 0),
        ],
    );
    client.leave();
    let end = settled(&broker, "postern_connections_open{listener=\"tcp:control\"}", 0.0);
    assert_grown(&after, &end, &[(&received("disconnect"), 1)]);
    for gauge in
        ["postern_sessions", "postern_sessions_connected", "postern_subscriptions", "postern_inflight_messages"]
    {
        assert_grown(&before, &end, &[(&of(gauge), 0)]);
    }
    assert!(end.get("process_resident_memory_bytes") > 1e6 && end.get("process_open_fds") > 5.0);
    assert_alive(&broker);
}

#[test]
fn losses_and_refusals_of_a_realm_are_counted_by_reason() {
    let rules = "authorization.rules = [{ permission = deny, topics = [\"no/#\"] }, { permission = allow, topics = all }]\n\
                 mqtt.max_mqueue_len = 2\n";
    let broker = Setup::new(&format!("{HTTP}{rules}")).start();
    let before = Scrape::of(at(&broker));
    let away = unique("away");
    let mut subscriber = raw::enter(broker.control(), &Connect::new(V5, &away).persistent());
    subscriber.subscribe("queued", 1);
    subscriber.leave();
    let mut client = raw::enter(broker.control(), &Connect::new(V5, unique("refused")));
    for _ in 0..5 {
        client.publish("queued", "1");
    }
    client.send(&wire::publish(V5, "no/1", 0, 0, "x")).send(&wire::publish(V5, "no/2", 1, 1, "x"));
    assert_eq!(client.expect(kind::PUBACK).body[2], 0x87);
    client.send(&wire::publish(V5, "$SYS/forged", 1, 1, "x"));
    assert_eq!(client.expect(kind::PUBACK).body[2], 0x87);
    client.send(&wire::subscribe(V5, 3, "no/#", 0));
    assert_eq!(client.expect(kind::SUBACK).body.last(), Some(&0x87));
    let refused = |request: &str, reason: &str| {
        format!("postern_requests_refused_total{{namespace=\"(global)\",request=\"{request}\",reason=\"{reason}\"}}")
    };
    let dropped =
        |reason: &str| format!("postern_messages_dropped_total{{namespace=\"(global)\",reason=\"{reason}\"}}");
    let after = Scrape::of(at(&broker));
    assert_grown(
        &before,
        &after,
        &[
            (&dropped("queue_full"), 3),
            (&dropped("not_authorized"), 2),
            (&dropped("reserved_topic"), 1),
            (&refused("publish", "not_authorized"), 3),
            (&refused("subscribe", "not_authorized"), 1),
            ("postern_queued_messages{namespace=\"(global)\"}", 2),
            ("postern_sessions{namespace=\"(global)\"}", 2),
            ("postern_sessions_connected{namespace=\"(global)\"}", 1),
        ],
    );
    assert_alive(&broker);
}

#[test]
fn each_line_about_a_connection_says_whom_it_concerns_and_a_flood_of_them_is_cut() {
    const FLOOD: usize = 5000;
    let rules =
        "authorization.rules = [{ permission = deny, topics = [\"no/#\"] }, { permission = allow, topics = all }]\n";
    let broker = Setup::new(rules).start();
    let mut connect = Connect::new(V5, "of\u{2028}\"interest").username("some\"body");
    connect.password = Some(b"hunter2-secret".to_vec());
    let mut client = raw::enter(broker.control(), &connect);
    let own = client.stream.local_addr().unwrap().to_string();
    client.send(&wire::publish(V5, "no/1", 1, 1, "payload-secret")).expect(kind::PUBACK);
    client.send(&wire::subscribe(V5, 3, "no/#", 0)).expect(kind::SUBACK);
    client.leave();
    for (message, request) in
        [("admitted", ""), ("request refused", "publish"), ("request refused", "subscribe"), ("closed", "")]
    {
        let line = broker.journal.expect(0, message, |line| line.says(message) && line.text("request") == request);
        assert_eq!((line.text("listener"), line.text("peer")), ("tcp:control".to_owned(), own.clone()), "{line:?}");
        assert_eq!((line.text("namespace"), line.text("connection")), ("(global)".to_owned(), "1".to_owned()));
        assert_eq!(
            (line.text("client_id"), line.text("username")),
            ("of\\u{2028}\"interest".into(), "some\"body".into())
        );
    }
    let mut flooding = raw::enter(broker.control(), &Connect::new(V5, "flood"));
    let bytes = wire::publish(V5, "no/2", 0, 0, "x").repeat(FLOOD);
    flooding.send(&bytes);
    flooding.subscribe("done", 0);
    let lines = broker.journal.lines();
    let told = lines.iter().filter(|line| line.text("topic") == "no/2").count();
    assert!((1..FLOOD / 2).contains(&told), "{told} lines");
    assert!(!broker.journal.text().contains("-secret"));
    assert_alive(&broker);
}

/// A broker with a TLS listener that refuses unknown names and strangers' certificates.
fn gate() -> (Broker, Certificates) {
    let certificates = Certificates::make();
    let strict = entry("sni-selector", "unknown = refuse");
    let rules = mtls_identity("{ source = \"subject.cn\", set = \"username\" }");
    let setup = Setup::new(&format!("{HTTP}{}", listener("gate", REQUIRED, &[namespace_lookup(), strict, rules])));
    certificates.write(&setup);
    (setup.start(), certificates)
}

#[test]
fn what_the_gate_does_is_counted_by_listener_stage_reason_and_plugin() {
    let (broker, certificates) = gate();
    let address = broker.address("ssl:gate");
    let before = Scrape::of(at(&broker));
    let device = certificates.acme_ca.device("device");
    let acme = tls::naming(name::ACME).showing(&device);
    acme.enter(address, &Connect::new(V5, "a")).admitted().leave();
    acme.clone().tls12().enter(address, &Connect::new(V5, "a")).admitted().leave();
    tls::naming("unknown.example.org").showing(&device).enter(address, &Connect::new(V5, "b")).alert();
    let stranger = Authority::new("Somebody").device("device");
    tls::naming(name::ACME).showing(&stranger).enter(address, &Connect::new(V5, "c")).alert();
    let wrong = Connect::new(V5, "d").username("somebody-else");
    assert_eq!(acme.enter(address, &wrong).connack(), 0x86);
    let refused = |stage: &str, reason: &str| {
        format!("postern_connections_refused_total{{listener=\"ssl:gate\",stage=\"{stage}\",reason=\"{reason}\"}}")
    };
    let failed =
        |reason: &str| format!("postern_tls_handshake_failures_total{{listener=\"ssl:gate\",reason=\"{reason}\"}}");
    let of = |name: &str| format!("{name}{{listener=\"ssl:gate\"}}");
    let plugin = |name: &str, plugin: &str, position: u8| {
        format!("{name}{{listener=\"ssl:gate\",plugin=\"{plugin}\",position=\"{position}\"}}")
    };
    let after = settled(&broker, &of("postern_connections_open"), 0.0);
    assert_grown(
        &before,
        &after,
        &[
            (&of("postern_connections_accepted_total"), 5),
            (&of("postern_connections_admitted_total"), 2),
            ("postern_tls_handshakes_total{listener=\"ssl:gate\",version=\"TLSv1.3\"}", 2),
            ("postern_tls_handshakes_total{listener=\"ssl:gate\",version=\"TLSv1.2\"}", 1),
            (&refused("certificate", "unknown_name"), 1),
            (&refused("handshake", "bad_certificate"), 1),
            (&refused("connect", "username_mismatch"), 1),
            (&failed("unknown_name"), 1),
            (&failed("unknown_issuer"), 1),
            (&failed("closed"), 0),
            (&plugin("postern_plugin_refusals_total", "sni-selector", 2), 1),
            (&plugin("postern_plugin_failures_total", "sni-selector", 2), 0),
            // Two tenants' members came in; the others never had a CONNECT that counted.
            ("postern_packets_received_total{namespace=\"acme\",type=\"connect\"}", 2),
            ("postern_packets_received_total{namespace=\"globex\",type=\"connect\"}", 0),
        ],
    );
    let asked = |name: &str, position| {
        let of = |metric| after.get(&plugin(metric, name, position));
        (of("postern_plugin_calls_total"), of("postern_plugin_cache_hits_total"))
    };
    let (calls, hits) = asked("mtls-identity", 3);
    assert!((calls + hits - 3.0).abs() < f64::EPSILON, "{calls} calls and {hits} kept answers for three certificates");
    let (calls, _) = asked("namespace-lookup", 1);
    let timed = after.get(&plugin("postern_plugin_call_duration_seconds_count", "namespace-lookup", 1));
    assert!((calls - timed).abs() < f64::EPSILON && calls >= 2.0, "{calls} calls, {timed} of them timed");
    for (namespace, bundle) in [("(global)", "default"), ("acme", "mqtt"), ("globex", "mqtt")] {
        let labels = format!("listener=\"ssl:gate\",namespace=\"{namespace}\",bundle=\"{bundle}\"");
        let expiry = after.get(&format!("postern_certificate_expiry_timestamp_seconds{{{labels}}}"));
        assert!(expiry > after.get("process_start_time_seconds"), "{labels}: {expiry}");
    }
    assert!(
        after.has("postern_sessions{namespace=\"globex\"}"),
        "a namespace that nobody has come to is 0, not absent"
    );
    assert_alive(&broker);
}

#[test]
fn i_17_what_clients_choose_makes_no_series() {
    let (broker, certificates) = gate();
    let address = broker.address("ssl:gate");
    let device = certificates.acme_ca.device("device");
    let one_of_each = |n: usize| {
        let mut client =
            raw::enter(broker.control(), &Connect::new(V5, format!("client-{n}")).username(&format!("user-{n}")));
        client.subscribe(&format!("topic/{n}"), 0).publish(&format!("topic/{n}"), "x");
        client.leave();
        hello::naming(format!("name-{n}.example.org")).ask(address);
    };
    one_of_each(0);
    tls::naming(name::ACME).showing(&device).enter(address, &Connect::new(V5, "a")).admitted().leave();
    settled(&broker, "postern_connections_open{listener=\"tcp:control\"}", 0.0);
    let count =
        "postern_connections_refused_total{listener=\"ssl:gate\",stage=\"certificate\",reason=\"unknown_name\"}";
    let before = settled(&broker, count, 1.0);
    (1..=1000).for_each(one_of_each);
    // The alert is out before its refusal is counted.
    let after = settled(&broker, count, 1001.0);
    assert_eq!(before.names(), after.names());
    for foreign in ["client-", "user-", "topic/", "name-"] {
        assert!(after.names().iter().all(|name| !name.contains(foreign)), "{foreign}");
    }
    assert_alive(&broker);
}

#[test]
fn emqx_s_paths_answer_and_others_do_not() {
    let broker = Setup::new(HTTP).start();
    let names = |path: &str| {
        let answer = http::get(at(&broker), path);
        assert_eq!(answer.status, 200);
        answer.body.lines().filter(|line| line.starts_with("# TYPE")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names("/metrics"), names("/api/v5/prometheus/stats"));
    let status = http::get(at(&broker), "/status");
    assert_eq!((status.status, status.body.as_str()), (200, "Node blackbox is started\npostern is running\n"));
    for path in ["/", "/metrics/", "/metricsx", "/../metrics", "/api/v5/nodes"] {
        assert_eq!(http::get(at(&broker), path).status, 404, "{path}");
    }
    assert_alive(&broker);
}

#[test]
fn without_the_section_nothing_listens_and_a_taken_address_stops_the_start() {
    let broker = Setup::new("").start();
    assert!(broker.journal.lines().iter().all(|line| line.text("listener") != "http:dashboard"));
    let taken = broker.control();
    let refused = Setup::new(&format!("dashboard.listeners.http.bind = \"{taken}\"")).serve_refused();
    assert!(refused.text.contains(&format!("dashboard.listeners.http cannot listen on {taken}")), "{}", refused.text);
    assert_eq!(refused.code, Some(1));
}

fn stuck(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).unwrap();
    stream.set_write_timeout(Some(ANSWER_WITHIN)).unwrap();
    let _ = stream.write_all(bytes);
    stream
}

#[test]
fn hostile_clients_of_the_management_address_hurt_nobody() {
    let broker = Setup::new("dashboard.listeners.http { bind = \"127.0.0.1:0\", max_connections = 16 }").start();
    let address = at(&broker);
    let mut client = raw::enter(broker.control(), &Connect::new(V5, unique("beside")));
    let many_fields = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1000));
    let long_field = format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(1 << 20));
    let long_path = format!("GET /{} HTTP/1.1\r\n\r\n", "m".repeat(1 << 20));
    let never_read = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2000);
    let mut held = Vec::new();
    for _ in 0..8 {
        for bytes in [
            &b""[..],
            b"G",
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"POST /metrics HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\nx",
            many_fields.as_bytes(),
        ] {
            held.push(stuck(address, bytes));
        }
        client.ping();
    }
    for bytes in [long_field, long_path, never_read] {
        let mut stream = stuck(address, bytes.as_bytes());
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let _ = stream.read(&mut [0; 1024]);
        held.push(stream);
        client.ping();
    }
    // More than there are places for; their time passes, and who waits behind them is served.
    let end = Instant::now() + Duration::from_mins(3);
    loop {
        let asked = std::panic::catch_unwind(|| http::get(address, "/status").status);
        if matches!(asked, Ok(200)) {
            break;
        }
        assert!(Instant::now() < end, "the places were never free again");
        client.ping();
    }
    drop(held);
    assert_alive(&broker);
}
