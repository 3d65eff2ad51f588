//! B: CONNECT and sessions.

use std::collections::HashSet;

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::Setup;
use postern_tests::raw;
use postern_tests::wire::{self, Connect, V3_1, V3_1_1, V5, Will, kind};

use crate::fixture::PLAIN;

#[test]
fn b_01_an_empty_client_id_that_wants_to_be_remembered_is_refused() {
    let broker = PLAIN.get();
    let mut connect = Connect::new(V3_1_1, "");
    connect.clean = false;
    assert_eq!(raw::dial(broker.control()).refused(&connect), 2);
    raw::enter(broker.control(), &Connect::new(V3_1_1, "")).leave();
    assert_alive(&broker);
}

#[test]
fn b_01_mqtt_3_1_clients_enter_and_must_name_themselves() {
    let broker = PLAIN.get();
    let mut client = raw::enter(broker.control(), &Connect::new(V3_1, unique("b01")));
    let topic = unique("b01/old");
    client.subscribe(&topic, 1).send(&wire::publish(V3_1, &topic, 0, 0, "x"));
    assert_eq!(client.message(), (topic, "x".to_owned()));
    assert_eq!(raw::dial(broker.control()).refused(&Connect::new(V3_1, "")), 2);
    assert_alive(&broker);
}

/// v5: MQTT-3.1.3-6, MQTT-3.1.3-7, MQTT-3.2.2-16
#[test]
fn b_02_an_empty_client_id_is_given_a_unique_one() {
    // At once, as many as a process may have open by default; then again.
    const CLIENTS: usize = 500;
    const WAVES: usize = 5;
    let broker = PLAIN.get();
    let address = broker.control();
    let mut given = HashSet::new();
    for _ in 0..WAVES {
        let mut clients = (0..CLIENTS).map(|_| raw::dial(address)).collect::<Vec<_>>();
        for client in &mut clients {
            client.send(&Connect::new(V5, "").bytes());
        }
        given.extend(clients.iter_mut().map(|client| {
            let connack = client.expect(kind::CONNACK);
            assert_eq!(connack.connack_code(), Some(0));
            connack.connack_property(0x12).expect("no Assigned Client Identifier")
        }));
    }
    assert_eq!(given.len(), CLIENTS * WAVES);
    // Who named itself is given no other name.
    let connack = raw::dial(address).enter(&Connect::new(V5, unique("b02")));
    assert_eq!(connack.connack_property(0x12), None);
    assert_alive(&broker);
}

/// v3.1.1: MQTT-3.1.3-6
#[test]
fn b_02_an_assigned_client_id_is_logged_and_has_its_own_topics_and_rights() {
    let broker = Setup::new("listeners.tcp.mounted { bind = \"127.0.0.1:0\", mountpoint = \"of/${clientid}/\" }")
        .and("authorization.rules = [{ permission = allow, topics = [\"own/${clientid}\", \"of/#\"] }]")
        .start();
    let mut ids = HashSet::new();
    for version in [V3_1_1, V3_1_1, V5] {
        let mut watch = raw::enter(broker.control(), &Connect::new(V5, "watch"));
        watch.subscribe("of/#", 0);
        let mark = broker.journal.mark();
        let mut client = raw::dial(broker.address("tcp:mounted"));
        let connack = client.enter(&Connect::new(version, ""));
        let line = broker.journal.expect(mark, "the nameless client's line", |line| {
            line.says("admitted") && line.text("listener") == "tcp:mounted"
        });
        let id = line.text("client_id");
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        if version == V5 {
            assert_eq!(connack.connack_property(0x12), Some(id.clone().into_bytes()));
        }
        let own = format!("own/{id}");
        client.send(&wire::publish(version, &own, 0, 0, "mine")).ping();
        assert_eq!(watch.message(), (format!("of/{id}/{own}"), "mine".to_owned()));
        client.send(&wire::publish(version, "own/other", 0, 0, "not mine")).ping();
        client.send(&wire::publish(version, &own, 0, 0, "fence"));
        assert_eq!(watch.message().1, "fence");
        assert!(ids.insert(id));
    }
    broker.assert_sound();
}

#[test]
fn b_03_connect_flags_that_contradict_themselves_close_and_publish_no_will() {
    let broker = PLAIN.get();
    let topic = unique("b03/will");
    let mut witness = raw::enter(broker.control(), &Connect::new(V5, unique("witness")));
    witness.subscribe(&topic, 0);
    for version in [V3_1_1, V5] {
        let honest = Connect::new(version, unique("b03"));
        // Reserved bit; will flag 0 with QoS 1; will flag 0 with retain.
        let mut connects = [0x01, 0x08, 0x20].map(|flip| Connect { flip_flags: flip, ..honest.clone() }).to_vec();
        let will = Will { topic: topic.clone().into(), payload: b"x".to_vec(), qos: 3, retain: false };
        connects.push(Connect { will: Some(will), ..honest.clone() });
        if version == V3_1_1 {
            connects.push(Connect { password: Some(b"x".to_vec()), ..honest.clone() });
        }
        for connect in connects {
            let closed = raw::dial(broker.control()).send(&connect.bytes()).closed();
            assert_ne!(closed.connack(), Some(0), "{:02x?}", connect.bytes());
        }
    }
    // 5.0 allows a password without a user name.
    let alone = Connect { password: Some(b"x".to_vec()), ..Connect::new(V5, unique("b03")) };
    raw::enter(broker.control(), &alone).leave();
    // Nothing came before this.
    raw::enter(broker.control(), &Connect::new(V5, unique("b03"))).publish(&topic, "fence");
    assert_eq!(witness.message().1, "fence");
    assert_alive(&broker);
}

#[test]
fn b_04_zero_where_it_means_nothing_is_a_protocol_error() {
    let broker = PLAIN.get();
    for (what, list) in [
        ("Receive Maximum 0", &[0x21, 0, 0][..]),
        ("Maximum Packet Size 0", &[0x27, 0, 0, 0, 0]),
        ("Authentication Data without Method", &[0x16, 0, 1, b'x']),
    ] {
        let code = raw::dial(broker.control()).refused(&Connect::new(V5, unique("b04")).property(list));
        assert_eq!(code, 0x82, "{what}");
    }
    let honest = Connect::new(V5, unique("b04")).property(&[0x21, 0, 1, 0x27, 0, 0, 1, 0]);
    raw::enter(broker.control(), &honest).leave();
    assert_alive(&broker);
}

#[test]
fn b_04_an_unknown_protocol_level_is_named() {
    let broker = PLAIN.get();
    assert_eq!(raw::dial(broker.control()).refused(&Connect::new(6, unique("b04"))), 0x84);
    assert_alive(&broker);
}

#[test]
fn b_06_a_second_connect_takes_the_session_over() {
    let broker = PLAIN.get();
    for version in [V3_1_1, V5] {
        let (name, topic, last) = (unique("b06"), unique("b06/topic"), unique("b06/will"));
        let mut witness = raw::enter(broker.control(), &Connect::new(V5, unique("witness")));
        witness.subscribe(&last, 0);
        let mut first =
            raw::enter(broker.control(), &Connect::new(version, &name).persistent().will(&last, "taken over"));
        first.subscribe(&topic, 1);
        let mut second = raw::dial(broker.control());
        let connack = second.enter(&Connect::new(version, &name).persistent());
        assert!(connack.session_present(), "{connack:?}");
        let closed = first.closed();
        assert_eq!(closed.disconnect(), (version == V5).then_some(0x8E), "{closed:?}");
        assert_eq!(witness.message().1, "taken over");
        // The subscription came along.
        witness.publish(&topic, "to the second");
        assert_eq!(second.message(), (topic, "to the second".to_owned()));
        // A clean start ends it.
        let connack = raw::dial(broker.control()).enter(&Connect::new(version, &name));
        assert!(!connack.session_present());
    }
    assert_alive(&broker);
}

#[test]
fn b_06_twenty_connects_at_once_leave_one_connection() {
    let broker = PLAIN.get();
    let address = broker.control();
    let name = unique("b06");
    let mut clients = (0..20).map(|_| raw::dial(address)).collect::<Vec<_>>();
    for client in &mut clients {
        client.send(&Connect::new(V5, &name).bytes());
    }
    let mut witness = raw::enter(address, &Connect::new(V5, unique("witness")));
    let left = clients.into_iter().filter_map(|mut client| {
        assert_eq!(client.expect(kind::CONNACK).connack_code(), Some(0));
        client.send(&wire::PINGREQ);
        let answer = client.next("PINGRESP or DISCONNECT");
        (answer.kind() == kind::PINGRESP).then_some(client)
    });
    // Each that is not the last is told so; the last may be asked at any time.
    let mut left = left.collect::<Vec<_>>();
    let mut served = 0;
    for client in &mut left {
        client.send(&wire::PINGREQ);
        match client.next("PINGRESP or DISCONNECT").disconnect_code() {
            None => served += 1,
            Some(code) => assert_eq!(code, 0x8E),
        }
    }
    assert_eq!(served, 1);
    witness.ping();
    assert_alive(&broker);
}

#[test]
fn b_15_what_follows_a_refused_connect_is_not_processed() {
    let broker = PLAIN.get();
    let topic = unique("b15/retained");
    let refused = Connect::new(V5, unique("b15")).property(&[0x21, 0, 0]).bytes();
    let pipelined = [refused, wire::retain(V5, &topic, 0, 0, "must not stay")].concat();
    let closed = raw::dial(broker.control()).send(&pipelined).closed();
    assert_eq!(closed.connack(), Some(0x82));
    let mut client = raw::enter(broker.control(), &Connect::new(V5, unique("b15")));
    client.subscribe(&topic, 0);
    raw::enter(broker.control(), &Connect::new(V5, unique("b15"))).publish(&topic, "fence");
    assert_eq!(client.message().1, "fence");
    assert_alive(&broker);
}

#[test]
fn b_16_auth_without_a_method_closes() {
    let broker = PLAIN.get();
    let mut client = raw::enter(broker.control(), &Connect::new(V5, unique("b16")));
    let closed = client.send(&wire::packet(0xF0, &[0x19, 0])).closed();
    assert_eq!(closed.disconnect(), Some(0x82), "{closed:?}");
    let closed = raw::dial(broker.control()).send(&wire::packet(0xF0, &[0x19, 0])).closed();
    assert!(closed.packets.is_empty(), "{closed:?}");
    assert_alive(&broker);
}
