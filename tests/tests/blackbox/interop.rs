//! Clients that were written elsewhere: mosquitto's programs, paho-mqtt, rumqttc.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::clients::matrix::{Library, Transport, Version};
use postern_tests::clients::scenarios::ALL;
use postern_tests::clients::site::Site;
use postern_tests::clients::stage::{End, Stage, message};
use postern_tests::programs;
use postern_tests::shared::Shared;
use rumqttc::TlsConfiguration;
use serde_json::json;

use crate::fixture::{PLAIN, gate, name};

/// A broker with a listener for each transport.
static SITE: Shared<Site> = Shared::new(Site::start);

/// Plays all scenarios over TCP, in all versions at the same time.
fn plays(library: &str) {
    let site = SITE.get();
    let library = Library::named(library);
    std::thread::scope(|scope| {
        for &version in library.versions {
            let site = &site;
            scope.spawn(move || {
                let log = site.broker.dir().join(format!("{}-{version}.log", library.name));
                let at = site.at(Transport::Tcp, version);
                let mut stage = Stage::start(&library.program(), version, at, &log);
                for scenario in ALL.iter().filter(|scenario| scenario.since <= version) {
                    let played = stage.play(scenario.name, scenario.play);
                    assert!(!matches!(played, Err(End::Failed(_))), "{} {version}: {played:?}", scenario.name);
                }
            });
        }
    });
    assert_alive(&site.broker);
}

#[test]
fn mosquitto_plays_the_scenarios() {
    plays("mosquitto");
}

#[test]
fn paho_plays_the_scenarios() {
    plays("paho-mqtt");
}

#[test]
fn mosquitto_enters_by_its_certificate() {
    let gate = gate();
    let dir = gate.broker.dir();
    let named = unique("mosquitto");
    let (certificate, key) = gate.certificates.acme_ca.device(&named).write(dir, &named);
    let port = gate.at("mutual").port().to_string();
    let ca = dir.join("server-ca.pem");
    let publish = |ca: &std::path::Path, more: &[&str]| {
        let paths = [ca, &certificate, &key].map(|path| path.display().to_string());
        let fixed = ["-h", name::DEFAULT, "-p", &port, "-t", "mosquitto", "-m", "x", "-q", "1", "-i", &named];
        let tls = ["--cafile", &paths[0], "--cert", &paths[1], "--key", &paths[2]];
        programs::run("mosquitto_pub", &[&fixed[..], &tls, more].concat(), b"")
    };
    publish(&ca, &[]).succeeded();
    let line =
        gate.broker.journal.expect(0, "admitted", |line| line.says("admitted") && line.text("client_id") == named);
    assert_eq!(line.text("username"), named, "{line:?}");
    assert_ne!(publish(&ca, &["-u", "somebody-else"]).code, Some(0));
    gate.assert_alive();
}

/// Two tenants by the names that they ask for, with the same client identifier and the same topic.
#[test]
fn paho_members_of_two_tenants_never_meet() {
    let gate = gate();
    let dir = gate.broker.dir();
    let (acme, globex) = gate.twins("paho");
    let port = gate.at("mutual").port();
    let member = |server_name: &str, (certificate, key): (PathBuf, PathBuf), version: Version| {
        json!({
            "transport": "ssl", "version": version.to_string(), "host": "127.0.0.1", "port": port,
            "server_name": server_name, "ca": dir.join("server-ca.pem"), "certificate": certificate, "key": key,
        })
    };
    for version in [Version::V3_1_1, Version::V5] {
        let at = [
            member(name::ACME, acme.write(dir, "paho-acme"), version),
            member(name::GLOBEX, globex.write(dir, "paho-globex"), version),
        ];
        let log = dir.join("paho-tenants.log");
        let mut stage = Stage::start(&Library::named("paho-mqtt").program(), version, json!({}), &log);
        for (client, at) in ["acme", "globex"].iter().zip(&at) {
            stage.enter(client, &json!({ "id": "same", "at": at })).unwrap();
            stage.subscribe(client, "state", 1).unwrap();
        }
        for client in ["acme", "globex"] {
            stage.publish(client, &message("state", client, 1)).unwrap();
        }
        for client in ["acme", "globex"] {
            // What is heard first is one's own: of the other's nothing came before it, and nothing comes after.
            stage.hears(client, &message("state", client, 1)).unwrap();
            stage.publish(client, &message("state", "fence", 1)).unwrap();
            stage.hears(client, &message("state", "fence", 1)).unwrap();
        }
    }
    gate.assert_alive();
}

/// Runs the event loop until the wanted thing has come.
fn until<E>(mut next: impl FnMut(Duration) -> E, mut wanted: impl FnMut(E) -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "rumqttc waited in vain");
        if wanted(next(left)) {
            return;
        }
    }
}

#[test]
fn rumqttc_3_1_1_round_trip_at_each_qos() {
    use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
    let broker = PLAIN.get();
    let topic = unique("rumqttc/v4");
    let options = MqttOptions::new(unique("rumqttc"), "127.0.0.1", broker.control().port());
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe(&topic, QoS::ExactlyOnce).unwrap();
    let mut left = vec![QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::AtMostOnce];
    until(
        |within| connection.recv_timeout(within).unwrap().unwrap(),
        |event| {
            match event {
                Event::Incoming(Packet::SubAck(_)) => {}
                Event::Incoming(Packet::Publish(publish)) => {
                    let sent = left.pop().unwrap();
                    assert_eq!((publish.qos, &publish.payload[..]), (sent, format!("{sent:?}").as_bytes()));
                }
                _ => return false,
            }
            if let Some(&next) = left.last() {
                client.publish(&topic, next, false, format!("{next:?}")).unwrap();
            }
            left.is_empty()
        },
    );
    assert_alive(&broker);
}

#[test]
fn rumqttc_5_round_trip_at_each_qos() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{Client, Event, MqttOptions};
    let broker = PLAIN.get();
    let topic = unique("rumqttc/v5");
    let options = MqttOptions::new(unique("rumqttc"), "127.0.0.1", broker.control().port());
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe(&topic, QoS::ExactlyOnce).unwrap();
    let mut left = vec![QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::AtMostOnce];
    until(
        |within| connection.recv_timeout(within).unwrap().unwrap(),
        |event| {
            match event {
                Event::Incoming(Packet::SubAck(_)) => {}
                Event::Incoming(Packet::Publish(publish)) => {
                    let sent = left.pop().unwrap();
                    assert_eq!((publish.qos, &publish.payload[..]), (sent, format!("{sent:?}").as_bytes()));
                }
                _ => return false,
            }
            if let Some(&next) = left.last() {
                client.publish(&topic, next, false, format!("{next:?}")).unwrap();
            }
            left.is_empty()
        },
    );
    assert_alive(&broker);
}

#[test]
fn rumqttc_enters_by_its_certificate_and_trusts_the_brokers() {
    use rumqttc::{Client, ConnectReturnCode, Event, MqttOptions, Packet};
    let gate = gate();
    let named = unique("rumqttc");
    let credentials = gate.certificates.acme_ca.device(&named);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(gate.certificates.server_ca.certificate()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(credentials.chain.clone(), credentials.private_key())
        .unwrap();
    let mut options = MqttOptions::new(&named, name::DEFAULT, gate.at("mutual").port());
    options.set_transport(rumqttc::Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls))));
    let (_client, mut connection) = Client::new(options, 10);
    until(
        |within| connection.recv_timeout(within).unwrap().unwrap(),
        |event| matches!(event, Event::Incoming(Packet::ConnAck(ack)) if ack.code == ConnectReturnCode::Success),
    );
    let line =
        gate.broker.journal.expect(0, "admitted", |line| line.says("admitted") && line.text("client_id") == named);
    assert_eq!(line.text("username"), named, "{line:?}");
    gate.assert_alive();
}
