//! The process: coming up, its limits, and going away.

use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Setup, plugin};
use postern_tests::programs;
use postern_tests::raw;
use postern_tests::wire::{self, Connect, V3_1_1, V5, kind};

use crate::fixture::{Certificates, MANAGED, REQUIRED, listener, mtls_identity, namespace_lookup, plain_broker};

#[test]
fn sigterm_and_sigint_end_it_with_0() {
    for signal in ["TERM", "INT"] {
        let broker = plain_broker();
        let mut client = raw::enter(broker.control(), &Connect::new(V5, "watching"));
        broker.signal(signal);
        let status = broker.wait_for_end();
        assert_eq!(status.code(), Some(0), "SIG{signal}: {status:?}");
        let closed = client.closed();
        assert!(matches!(closed.disconnect(), None | Some(0x8B)), "{closed:?}");
    }
}

#[test]
fn ready_names_every_address() {
    let broker = Setup::new("listeners.tcp.second { bind = \"127.0.0.1:0\" }").start();
    let ready = broker.journal.expect(0, "ready", |line| line.says("ready"));
    for listener in ["tcp:control", "tcp:second"] {
        let address = broker.address(listener).to_string();
        assert!(ready.raw.contains(&address), "{address} is not in {ready:?}");
        raw::enter(broker.address(listener), &Connect::new(V5, "")).leave();
    }
    assert_alive(&broker);
}

#[test]
fn a_listener_that_is_switched_off_is_not_opened() {
    let broker = Setup::new("listeners.tcp.second { bind = \"127.0.0.1:0\", enable = false }").start();
    let opened = broker.journal.lines().into_iter().filter(|line| line.says("listening"));
    assert_eq!(opened.map(|line| line.text("listener")).collect::<Vec<_>>(), ["tcp:control"]);
    assert_alive(&broker);
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_its_name() {
    let broker = plain_broker();
    let bind = broker.control().to_string();
    let refused =
        Setup::bare(&format!("node.data_dir = data\nlisteners.tcp.taken {{ bind = \"{bind}\" }}")).serve_refused();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.text.contains(&bind), "{refused:?}");
    assert_alive(&broker);
}

#[test]
fn the_environment_overrides_the_file() {
    let taken = plain_broker();
    let bind = format!("listeners.tcp.default {{ bind = \"{}\" }}", taken.control());
    let broker = Setup::new(&bind).env("POSTERN_LISTENERS__TCP__DEFAULT__BIND", "127.0.0.1:0").start();
    assert_ne!(broker.address("tcp:default"), taken.control());
    raw::enter(broker.address("tcp:default"), &Connect::new(V5, "")).leave();
    assert_alive(&broker);
}

#[test]
fn relative_paths_begin_at_the_working_directory() {
    let certificates = Certificates::make();
    let setup = Setup::new(
        "listeners.ssl.files { bind = \"127.0.0.1:0\", ssl_options { certfile = certs/server.pem, keyfile = certs/server.key } }",
    );
    setup.file("certs/server.pem", certificates.default.chain_pem());
    setup.file("certs/server.key", certificates.default.key_pem());
    let broker = setup.start();
    assert!(postern_tests::tls::naming("localhost").served(broker.address("ssl:files")).is_ok());
    assert_alive(&broker);
}

#[test]
fn every_listener_that_lets_anybody_in_is_warned_about() {
    let tls = "certfile = s.pem, keyfile = s.key";
    let certificates = Certificates::make();
    let setup = Setup::new(&format!(
        "listeners.ssl.open {{ bind = \"127.0.0.1:0\", ssl_options {{ {tls} }} }}\n\
         listeners.ssl.shut {{ bind = \"127.0.0.1:0\", peer_cert_as_username = cn, ssl_options {{ {tls}, cacertfile = ca.pem, {REQUIRED} }} }}\n\
         plugins.dir = \"{}\"",
        plugin("mtls-identity").parent().unwrap().display()
    ));
    certificates.default.write(setup.dir.path(), "s");
    setup.file("ca.pem", certificates.acme_ca.pem());
    let broker = setup.start();
    let lines = broker.journal.lines();
    let warned = |listener: &str| lines.iter().any(|line| line.text("level") == "WARN" && line.raw.contains(listener));
    assert!(warned("listeners.tcp.control") && warned("listeners.ssl.open"), "{lines:?}");
    assert!(!warned("listeners.ssl.shut"), "{lines:?}");
    // The shorthand is the identity of the standard plugin.
    let address = broker.address("ssl:shut");
    let offer = postern_tests::tls::naming("localhost").showing(&certificates.acme_ca.device("by-shorthand"));
    offer.enter(address, &Connect::new(V5, "").username("by-shorthand")).admitted().leave();
    assert_eq!(offer.enter(address, &Connect::new(V5, "").username("another")).connack(), 0x86);
    assert_alive(&broker);
}

#[test]
fn a_second_start_takes_compiled_plugins_from_the_cache() {
    let certificates = Certificates::make();
    let identity = mtls_identity(r#"{ source = "subject.cn", set = "username" }"#);
    let setup = Setup::new(&listener("mutual", REQUIRED, &[namespace_lookup(), identity]));
    certificates.write(&setup);
    let first = setup.start();
    let cold = first.took;
    assert_alive(&first);
    let (status, setup) = first.stop();
    assert_eq!(status.code(), Some(0));
    let before = cache_of(&setup);
    assert!(!before.is_empty(), "nothing in the data directory but certificates");
    let second = setup.start();
    println!("first start {cold:?}, second start {:?}", second.took);
    assert_alive(&second);
    let (_, setup) = second.stop();
    assert_eq!(cache_of(&setup), before, "the second start compiled again");
}

/// The files of the data directory that are neither certificates nor records, with their times of change.
fn cache_of(setup: &Setup) -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
    let mut found = Vec::new();
    let mut left = vec![setup.dir.path().join("data")];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.ends_with("data/certs") || path.ends_with("data/store") {
                continue;
            }
            if path.is_dir() {
                left.push(path);
            } else {
                found.push((path, entry.metadata().unwrap().modified().unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn max_connections_bounds_a_listener() {
    let broker = Setup::new("listeners.tcp.small { bind = \"127.0.0.1:0\", max_connections = 3 }").start();
    let address = broker.address("tcp:small");
    let mut inside = (0..3).map(|_| raw::enter(address, &Connect::new(V5, ""))).collect::<Vec<_>>();
    let closed = raw::dial(address).send(&Connect::new(V5, "").bytes()).closed();
    assert_ne!(closed.connack(), Some(0), "{closed:?}");
    for client in &mut inside {
        client.ping();
    }
    inside.pop().unwrap().leave();
    // The place is free once the broker has seen the end of the connection.
    let end = Instant::now() + raw::ANSWER_WITHIN;
    loop {
        let mut client = raw::dial(address);
        client.send(&Connect::new(V5, "").bytes());
        let let_in =
            matches!(wire::read_packet(&mut client.stream), Ok(Some(packet)) if packet.connack_code() == Some(0));
        if let_in {
            break;
        }
        assert!(Instant::now() < end, "the place was never free again");
    }
    assert_alive(&broker);
}

#[test]
fn f_02_one_address_cannot_hold_all_unauthenticated_places() {
    const CAP: usize = 8;
    let listeners =
        format!("listeners.tcp.capped {{ bind = \"127.0.0.1:0\", max_unauthenticated_per_address = {CAP} }}");
    let broker = Setup::new(&listeners).start();
    let address = broker.address("tcp:capped");
    let mut silent = (0..CAP).map(|_| raw::dial(address)).collect::<Vec<_>>();
    // The broker has counted them once it has refused one more.
    let closed = raw::dial(address).closed();
    assert!(closed.packets.is_empty(), "{closed:?}");
    let line = broker.journal.expect(0, "the refusal", |line| line.says("refused"));
    assert_eq!((line.text("at"), line.text("why")), ("accept".into(), "rate_limited".into()), "{line:?}");
    // Another address is served.
    let port = address.port().to_string();
    let other = ["-h", "127.0.0.1", "-p", &port, "-A", "127.0.0.9", "-t", "capped", "-m", "x", "-q", "1"];
    programs::run("mosquitto_pub", &other, b"").succeeded();
    // Who enters gives the place back: more than the cap may be inside.
    let mut inside = Vec::new();
    for client in &mut silent {
        client.enter(&Connect::new(V5, ""));
    }
    for _ in 0..CAP {
        inside.push(raw::enter(address, &Connect::new(V5, "")));
    }
    for client in silent.iter_mut().chain(&mut inside) {
        client.ping();
    }
    assert_alive(&broker);
}

#[test]
fn a_mountpoint_stands_before_all_topics_and_is_not_seen() {
    let broker =
        Setup::new("listeners.tcp.mounted { bind = \"127.0.0.1:0\", mountpoint = \"site/${clientid}/\" }").start();
    let mut outside = raw::enter(broker.control(), &Connect::new(V5, "outside"));
    outside.subscribe("site/#", 1);
    let mut mounted = raw::enter(broker.address("tcp:mounted"), &Connect::new(V5, "pump"));
    mounted.subscribe("state", 1);
    mounted.send(&wire::publish(V5, "state", 0, 0, "on"));
    assert_eq!(outside.message(), ("site/pump/state".into(), "on".into()));
    assert_eq!(mounted.message(), ("state".into(), "on".into()));
    let mut publisher = raw::enter(broker.control(), &Connect::new(V5, "publisher"));
    publisher.publish("site/other/state", "not the pump's").publish("site/pump/state", "off");
    assert_eq!(mounted.message(), ("state".into(), "off".into()));
    assert_alive(&broker);
}

#[test]
fn e_01_a_client_id_in_a_mountpoint_is_never_a_wildcard() {
    let broker =
        Setup::new("listeners.tcp.mounted { bind = \"127.0.0.1:0\", mountpoint = \"site/${clientid}/\" }").start();
    let address = broker.address("tcp:mounted");
    let mut pump = raw::enter(address, &Connect::new(V5, "pump"));
    for treacherous in ["+", "#", "../x", "pump/deep", "a+b", "a\u{0001}"] {
        let mut client = raw::dial(address);
        client.send(&Connect::new(V5, treacherous).bytes());
        // Refused, or confined to its own literal level.
        if !matches!(wire::read_packet(&mut client.stream), Ok(Some(packet)) if packet.connack_code() == Some(0)) {
            continue;
        }
        client.send(&wire::subscribe(V5, 1, "#", 0));
        client.next("SUBACK");
        pump.publish("state", "secret");
        client.ping();
    }
    assert_alive(&broker);
}

#[test]
fn a_reader_that_stops_reading_costs_bounded_memory_and_holds_nobody_up() {
    const PAYLOAD_BYTES: usize = 64 * 1024;
    const MESSAGES: usize = 2_000;
    const GROWTH_BYTES_MAX: u64 = 64 << 20;
    let broker = plain_broker();
    assert_alive(&broker);
    let before = broker.resident_bytes();
    let mut deaf = raw::enter(broker.control(), &Connect::new(V5, "deaf"));
    deaf.subscribe("flood", 0);
    let mut listening = raw::enter(broker.control(), &Connect::new(V5, "listening"));
    listening.subscribe("other", 1);
    let mut publisher = raw::enter(broker.control(), &Connect::new(V5, "publisher"));
    let payload = vec![b'x'; PAYLOAD_BYTES];
    for n in 0..MESSAGES {
        publisher.send(&wire::publish(V5, "flood", 0, 0, &payload));
        if n % 200 == 0 {
            publisher.publish("other", "still");
            assert_eq!(listening.message().1, "still");
        }
    }
    publisher.ping();
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "resident memory grew by {grown} bytes");
    assert_alive(&broker);
}

#[test]
fn f6_out_of_file_descriptors_nobody_is_cut_off_and_it_passes() {
    const DESCRIPTORS: &str = "64";
    let broker = plain_broker();
    let mut inside = raw::enter(broker.control(), &Connect::new(V5, "inside"));
    let limits = ["--pid", &broker.pid().to_string(), &format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}")];
    programs::run("prlimit", &limits, b"").succeeded();
    let crowd = (0..100).map(|_| raw::dial(broker.control())).collect::<Vec<_>>();
    inside.ping();
    // Waiting for a free descriptor is no reason to keep a core busy.
    let before = broker.cpu_ticks();
    std::thread::sleep(Duration::from_secs(1));
    let used = broker.cpu_ticks() - before;
    assert!(used < 50, "{used} ticks of 10 ms in a second");
    inside.ping();
    drop(crowd);
    assert_alive(&broker);
}

#[test]
fn a_client_that_falls_silent_is_taken_for_gone() {
    let broker = crate::fixture::PLAIN.get();
    for version in [V3_1_1, V5] {
        let topic = unique("keep-alive/will");
        let mut witness = raw::enter(broker.control(), &Connect::new(V5, unique("witness")));
        witness.subscribe(&topic, 0);
        let began = Instant::now();
        let connect = Connect::new(version, unique("silent")).keep_alive(1).will(&topic, "gone");
        let mut silent = raw::enter(broker.control(), &connect);
        let closed = silent.closed();
        let took = began.elapsed();
        assert_eq!(closed.disconnect(), (version == V5).then_some(0x8D), "{closed:?}");
        // One and a half times the keep-alive [MQTT-3.1.2-22], and what a busy machine adds.
        assert!(took > Duration::from_millis(1_400) && took < Duration::from_secs(8), "{took:?}");
        assert_eq!(witness.message().1, "gone");
    }
    // Who pings stays.
    let mut pinging = raw::enter(broker.control(), &Connect::new(V5, unique("pinging")).keep_alive(1));
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(700));
        pinging.ping();
    }
    assert_alive(&broker);
}

#[test]
fn a_silent_plain_connection_is_ended() {
    let broker = crate::fixture::PLAIN.get();
    let closed = raw::dial(broker.control()).closed_within(Duration::from_secs(20)).expect("still open");
    assert!(closed.packets.is_empty(), "{closed:?}");
    assert_alive(&broker);
}

#[test]
fn a_goodbye_without_will_publishes_none() {
    let broker = crate::fixture::PLAIN.get();
    let topic = unique("goodbye/will");
    let mut witness = raw::enter(broker.control(), &Connect::new(V5, unique("witness")));
    witness.subscribe(&topic, 0);
    raw::enter(broker.control(), &Connect::new(V5, unique("leaving")).will(&topic, "must not come")).leave();
    // Reason 0x04 asks for the will all the same.
    let mut asking = raw::enter(broker.control(), &Connect::new(V5, unique("leaving")).will(&topic, "asked for"));
    asking.send(&wire::packet(kind::DISCONNECT << 4, &[0x04])).closed();
    assert_eq!(witness.message().1, "asked for");
    assert_alive(&broker);
}

#[test]
fn standard_plugins_run_where_a_listener_names_none() {
    let certificates = Certificates::make();
    let dir = plugin("sni-selector");
    let dir = dir.parent().unwrap().display().to_string();
    let setup = Setup::new(&format!(
        "plugins.dir = \"{dir}\"\nlisteners.ssl.standard {{ bind = \"127.0.0.1:0\", ssl_options {{ {MANAGED}\n }} }}"
    ));
    certificates.write(&setup);
    let broker = setup.start();
    let address = broker.address("ssl:standard");
    for (asked, leaf) in [(crate::fixture::name::ACME, &certificates.acme), ("a.t.example.org", &certificates.wild)] {
        assert_eq!(postern_tests::tls::naming(asked).served(address).unwrap(), leaf.leaf(), "{asked}");
    }
    assert_alive(&broker);
}
