//! `$SYS`: what a namespace is told of itself, in the words of mosquitto and EMQX, and what it is never told.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup};
use postern_tests::clients::matrix::{Library, Version};
use postern_tests::clients::stage::{Stage, message};
use postern_tests::programs;
use postern_tests::raw::{self, Duplex, RawClient};
use postern_tests::shared::Shared;
use postern_tests::tls;
use postern_tests::wire::{self, Connect, V5, kind};
use serde_json::json;

use crate::fixture::{Certificates, entry, listener, name, namespace_lookup};

const EVERY_SECOND: &str = "sys_topics { sys_msg_interval = 1s, sys_heartbeat_interval = 1s }\n";

static BROKER: Shared<Broker> = Shared::new(broker);

fn broker() -> Broker {
    Setup::new(EVERY_SECOND).start()
}

/// Subscribes, and takes what is retained: all of it comes before the answer to a ping.
fn figures<S: Duplex>(client: &mut RawClient<S>, filter: &str) -> BTreeMap<String, String> {
    client.send(&wire::subscribe(V5, 7, filter, 0));
    assert_eq!(client.expect(kind::SUBACK).body.last(), Some(&0));
    client.send(&wire::unsubscribe(V5, 8, filter));
    let mut found = BTreeMap::new();
    loop {
        let packet = client.next("a figure or UNSUBACK");
        if packet.kind() == kind::UNSUBACK {
            return found;
        }
        let (topic, _, payload) = packet.published(V5);
        // What is told anew meanwhile is not.
        if packet.retained() {
            found.insert(topic, String::from_utf8(payload).unwrap());
        }
    }
}

fn assert_told(told: &BTreeMap<String, String>, expect: &[(&str, &str)]) {
    for (topic, value) in expect {
        assert_eq!(told.get(*topic).map(String::as_str), Some(*value), "{topic}");
    }
}

fn watcher(address: SocketAddr) -> RawClient<std::net::TcpStream> {
    raw::enter(address, &Connect::new(V5, unique("watcher")))
}

#[test]
fn the_figures_of_mosquitto_and_emqx_are_there_at_once_and_right() {
    let broker = broker();
    raw::enter(broker.control(), &Connect::new(V5, "away").persistent()).leave();
    let mut client = watcher(broker.control());
    client.publish("some/topic", "12345").subscribe("$share/g/x", 0);
    client.send(&wire::retain(V5, "kept", 1, 9, "x")).expect(kind::PUBACK);
    let told = figures(&mut client, "$SYS/#");
    assert_told(
        &told,
        &[
            ("$SYS/broker/clients/total", "2"),
            ("$SYS/broker/clients/connected", "1"),
            ("$SYS/broker/clients/disconnected", "1"),
            ("$SYS/broker/clients/maximum", "1"),
            ("$SYS/broker/publish/messages/received", "2"),
            ("$SYS/broker/publish/bytes/received", "6"),
            ("$SYS/broker/publish/messages/dropped", "0"),
            ("$SYS/broker/retained messages/count", "1"),
            ("$SYS/broker/messages/stored", "1"),
            ("$SYS/broker/messages/inflight", "0"),
            ("$SYS/broker/subscriptions/count", "1"),
            ("$SYS/broker/shared_subscriptions/count", "1"),
            ("$SYS/brokers", "blackbox"),
            ("$SYS/brokers/blackbox/stats/connections/count", "2"),
            ("$SYS/brokers/blackbox/stats/live_connections/count", "1"),
            ("$SYS/brokers/blackbox/metrics/packets/connect/received", "2"),
            ("$SYS/brokers/blackbox/metrics/messages/qos1/received", "2"),
        ],
    );
    for topic in [
        "$SYS/broker/version",
        "$SYS/broker/uptime",
        "$SYS/broker/bytes/received",
        "$SYS/broker/messages/sent",
        "$SYS/broker/store/messages/bytes",
        "$SYS/broker/load/messages/received/1min",
        "$SYS/brokers/blackbox/version",
        "$SYS/brokers/blackbox/uptime",
        "$SYS/brokers/blackbox/datetime",
        "$SYS/brokers/blackbox/sysdescr",
    ] {
        assert!(told.contains_key(topic), "{topic}");
    }
    assert_alive(&broker);
}

#[test]
fn mosquitto_sub_and_paho_see_them() {
    let broker = BROKER.get();
    let port = broker.control().port().to_string();
    let arguments = ["-h", "127.0.0.1", "-p", &port, "-t", "$SYS/broker/version", "-C", "1", "-F", "%r %p"];
    let said = programs::run("mosquitto_sub", &arguments, b"").succeeded();
    assert!(said.contains("1 postern version "), "{said}");
    let paho = Library::named("paho-mqtt");
    for version in [Version::V3_1_1, Version::V5] {
        let at = json!({
            "transport": "tcp", "version": version.to_string(), "host": "127.0.0.1", "port": broker.control().port(),
        });
        let log = broker.dir().join(format!("paho-system-{version}.log"));
        let mut stage = Stage::start(&paho.program(), version, at, &log);
        stage.enter_clean("watcher").unwrap();
        stage.enter_clean("greedy").unwrap();
        stage.subscribe("greedy", "#", 0).unwrap();
        stage.subscribe("watcher", "$SYS/broker/uptime", 0).unwrap();
        for retain in [true, false] {
            stage.hears("watcher", &json!({ "topic": "$SYS/broker/uptime", "retain": retain })).unwrap();
        }
        let fence = unique("fence");
        stage.publish("watcher", &message(&fence, "", 1)).unwrap();
        let heard = loop {
            let heard = stage.see("greedy", "message").unwrap()["topic"].as_str().unwrap().to_owned();
            if heard.starts_with('$') || heard == fence {
                break heard;
            }
        };
        assert_eq!(heard, fence, "nobody gets them by a leading wildcard");
    }
    assert_alive(&broker);
}

#[test]
fn clients_cannot_speak_there() {
    let broker = BROKER.get();
    let mut client = watcher(broker.control());
    let before = figures(&mut client, "$SYS/broker/version");
    for topic in ["$SYS/broker/version", "$SYS", "$SYS/brokers/blackbox/clients/x/connected"] {
        client.send(&wire::retain(V5, topic, 1, 3, "forged"));
        assert_eq!(client.expect(kind::PUBACK).body[2], 0x87, "{topic}");
    }
    assert_eq!(figures(&mut client, "$SYS/broker/version"), before);
    assert_alive(&broker);
}

#[test]
fn access_rules_hold_for_them_as_for_any_topic() {
    let rules = "authorization.rules = [{ permission = allow, action = subscribe, topics = [\"$SYS/broker/#\"] }]\n";
    let broker = Setup::new(&format!("{EVERY_SECOND}{rules}")).start();
    let mut client = watcher(broker.control());
    for filter in ["$SYS/#", "$SYS/brokers", "#"] {
        client.send(&wire::subscribe(V5, 7, filter, 0));
        assert_eq!(client.expect(kind::SUBACK).body.last(), Some(&0x87), "{filter}");
    }
    assert!(figures(&mut client, "$SYS/broker/+").contains_key("$SYS/broker/version"));
    broker.assert_sound();
}

#[test]
fn a_tenant_is_told_its_own_figures_and_never_anothers() {
    let certificates = Certificates::make();
    let names = listener("names", "verify = verify_none", &[namespace_lookup(), entry("sni-selector", "")]);
    let setup = Setup::new(&format!("{EVERY_SECOND}{names}"));
    certificates.write(&setup);
    let broker = setup.start();
    let member = |tenant: &str, id: &str| {
        let mut client = tls::naming(tenant).dial(broker.address("ssl:names")).unwrap();
        client.enter(&Connect::new(V5, id));
        client
    };
    let mut of_acme: Vec<_> = (0..5).map(|n| member(name::ACME, &format!("acme-{n}"))).collect();
    for _ in 0..20 {
        of_acme[0].publish("secret/of/acme", "a payload of acme's");
    }
    of_acme[1].send(&wire::retain(V5, "kept", 1, 9, "x")).expect(kind::PUBACK);
    let told = figures(&mut member(name::GLOBEX, "globex-0"), "$SYS/#");
    assert_told(
        &told,
        &[
            ("$SYS/broker/clients/total", "1"),
            ("$SYS/broker/clients/maximum", "1"),
            ("$SYS/broker/publish/messages/received", "0"),
            ("$SYS/broker/publish/bytes/received", "0"),
            ("$SYS/broker/retained messages/count", "0"),
            ("$SYS/broker/messages/stored", "0"),
            ("$SYS/brokers/blackbox/stats/sessions/count", "1"),
            ("$SYS/brokers/blackbox/metrics/packets/publish/received", "0"),
        ],
    );
    assert!(told.iter().all(|(topic, value)| !topic.contains("acme") && !value.contains("acme")), "{told:?}");
    let told = figures(&mut of_acme[2], "$SYS/broker/#");
    assert_told(&told, &[("$SYS/broker/clients/connected", "5"), ("$SYS/broker/publish/messages/received", "21")]);
    assert_alive(&broker);
}

#[test]
fn clients_that_come_and_go_are_told_of_where_it_is_asked_for() {
    let events = "sys_topics.sys_event_messages { client_connected = true, client_disconnected = true }\n";
    let broker = Setup::new(events).start();
    let mut watcher = watcher(broker.control());
    watcher.subscribe("$SYS/brokers/+/clients/#", 0);
    // It is told of itself, unless that was before it asked.
    let mut next = |what: &str| loop {
        let (topic, payload) = watcher.message();
        if !topic.contains("/watcher-") {
            let json: serde_json::Value = serde_json::from_str(&payload).unwrap();
            assert_eq!(topic, format!("$SYS/brokers/blackbox/clients/{what}"));
            return json;
        }
    };
    let connect = Connect::new(V5, "come-and-go").username("somebody");
    let first = raw::enter(broker.control(), &connect);
    let json = next("come-and-go/connected");
    assert_eq!((&json["clientid"], &json["username"]), (&"come-and-go".into(), &"somebody".into()));
    assert_eq!((&json["ipaddress"], &json["proto_ver"]), (&"127.0.0.1".into(), &5.into()));
    first.leave();
    assert_eq!(next("come-and-go/disconnected")["reason"], "normal");
    drop(raw::enter(broker.control(), &connect));
    next("come-and-go/connected");
    assert_eq!(next("come-and-go/disconnected")["reason"], "tcp_closed");
    let mut first = raw::enter(broker.control(), &connect);
    next("come-and-go/connected");
    let second = raw::enter(broker.control(), &connect);
    assert_eq!(first.closed().disconnect(), Some(0x8E));
    next("come-and-go/connected");
    assert_eq!(next("come-and-go/disconnected")["reason"], "takenover");
    second.leave();
    next("come-and-go/disconnected");
    // Who is not let in has not come; a name that makes no topic is left out, and hurts nobody.
    raw::dial(broker.control()).refused(&Connect::new(V5, "forger").will("$SYS/x", "forged"));
    raw::enter(broker.control(), &Connect::new(V5, "wild+#card")).leave();
    raw::enter(broker.control(), &Connect::new(V5, "last")).leave();
    next("last/connected");
    broker.assert_sound();
}
