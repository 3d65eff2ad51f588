//! Clients that were written elsewhere: mosquitto's programs, paho-mqtt, rumqttc.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::programs;
use rumqttc::{TlsConfiguration, Transport};

use crate::fixture::{PLAIN, gate, name};

/// `mosquitto_pub` and `mosquitto_sub` against the plain broker.
fn mosquitto(version: &str, more: &[&str]) -> Vec<String> {
    let address = PLAIN.get().control();
    let port = address.port().to_string();
    let fixed = ["-h", "127.0.0.1", "-p", &port, "-V", version];
    fixed.iter().chain(more).map(|&argument| argument.to_owned()).collect()
}

/// A subscriber that is subscribed.
fn listening(arguments: &[String]) -> programs::Running {
    // `-d` tells of the SUBACK; into a pipe the program would keep its lines until it ends.
    let fixed = ["-oL", "mosquitto_sub", "-d"].map(str::to_owned);
    let running = programs::start("stdbuf", &[&fixed, arguments].concat());
    running.says("Subscribed");
    running
}

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

#[test]
fn mosquitto_publishes_and_subscribes_at_each_qos() {
    let broker = PLAIN.get();
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let topic = unique("mosquitto/qos");
            let subscriber = listening(&mosquitto(version, &["-t", &topic, "-q", qos, "-C", "1", "-v"]));
            let message = format!("by {version} at {qos}");
            programs::run("mosquitto_pub", &mosquitto(version, &["-t", &topic, "-q", qos, "-m", &message]), b"")
                .succeeded();
            subscriber.says(&format!("{topic} {message}"));
            subscriber.ends().succeeded();
        }
    }
    assert_alive(&broker);
}

#[test]
fn mosquitto_finds_retained_messages_and_sessions_again() {
    let broker = PLAIN.get();
    for version in ["mqttv311", "mqttv5"] {
        let (topic, id) = (unique("mosquitto/kept"), unique("mosquitto"));
        let publish = |more: &[&str]| {
            let arguments = mosquitto(version, &[&["-t", &topic, "-q", "1"], more].concat());
            programs::run("mosquitto_pub", &arguments, b"").succeeded();
        };
        publish(&["-m", "retained", "-r"]);
        let once = mosquitto(version, &["-t", &topic, "-C", "1", "-F", "%r %p"]);
        assert!(programs::run("mosquitto_sub", &once, b"").succeeded().contains("1 retained"));
        publish(&["-n", "-r"]);
        // A session: subscribe and go, be sent something, come back.
        let mut session = vec!["-t", &topic, "-q", "1", "-c", "-i", &id];
        if version == "mqttv5" {
            session.extend(["-x", "300"]);
        }
        programs::run("mosquitto_sub", &mosquitto(version, &[&session[..], &["-E"]].concat()), b"").succeeded();
        publish(&["-m", "while away"]);
        let back = mosquitto(version, &[&session[..], &["-C", "1"]].concat());
        assert!(programs::run("mosquitto_sub", &back, b"").succeeded().contains("while away"));
    }
    assert_alive(&broker);
}

#[test]
fn mosquitto_leaves_a_will() {
    let broker = PLAIN.get();
    let topic = unique("mosquitto/will");
    let witness = listening(&mosquitto("mqttv5", &["-t", &topic, "-C", "1"]));
    let lost = mosquitto("mqttv5", &["-t", &unique("other"), "--will-topic", &topic, "--will-payload", "lost"]);
    // Dropped, it is killed: no goodbye.
    drop(listening(&lost));
    witness.says("lost");
    witness.ends().succeeded();
    assert_alive(&broker);
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

#[test]
fn paho_plays_its_scenarios() {
    let broker = PLAIN.get();
    std::thread::scope(|scope| {
        for version in ["3.1.1", "5"] {
            let broker = &broker;
            scope.spawn(move || {
                for scenario in ["qos", "order", "wildcards", "retained", "will", "session", "takeover"] {
                    let ran = programs::paho(scenario, version, broker.control(), &[]);
                    assert_eq!(ran.code, Some(0), "{scenario} {version}: {}", ran.text);
                }
            });
        }
    });
    programs::paho("options", "5", broker.control(), &[]).succeeded();
    assert_alive(&broker);
}

#[test]
fn paho_members_of_two_tenants_never_meet() {
    let gate = gate();
    let dir = gate.broker.dir();
    let (acme, globex) = gate.twins("paho");
    let (acme, globex) = (acme.write(dir, "paho-acme"), globex.write(dir, "paho-globex"));
    let files = [dir.join("server-ca.pem"), acme.0, acme.1, globex.0, globex.1].map(|path| path.display().to_string());
    for version in ["3.1.1", "5"] {
        programs::paho("tenants", version, gate.at("mutual"), &files.each_ref().map(String::as_str)).succeeded();
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
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls))));
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
