//! B: what a session keeps, for how long, and for whom.

use std::collections::HashSet;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::Broker;
use postern_tests::raw::{self, RawClient};
use postern_tests::wire::{self, Connect, Packet, V3_1_1, V5, kind};

use crate::fixture::PLAIN;

type Client = RawClient<TcpStream>;

const VERSIONS: [u8; 2] = [V3_1_1, V5];

fn enter(broker: &Broker, connect: &Connect) -> (Client, Packet) {
    let mut client = raw::dial(broker.control());
    let connack = client.enter(connect);
    (client, connack)
}

fn anybody(broker: &Broker) -> Client {
    enter(broker, &Connect::new(V5, unique("b"))).0
}

/// A client that is remembered and has this subscription.
fn remembered(broker: &Broker, version: u8, filter: &str, qos: u8) -> (Connect, Client) {
    let connect = Connect::new(version, unique("b")).persistent();
    let mut client = enter(broker, &connect).0;
    client.subscribe(filter, qos);
    (connect, client)
}

/// How far the exchange of a message has come when the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// QoS 1, the PUBLISH was sent.
    Publish1,
    /// QoS 2, the PUBLISH was sent.
    Publish2,
    /// QoS 2, the broker has got PUBREC and sent PUBREL.
    PubRel,
}

const IN_FLIGHT: usize = 20;

/// Brings messages so far, in this order, and gives their packet identifiers.
fn bring(client: &mut Client, publisher: &mut Client, version: u8, topic: &str, states: &[Reached]) -> Vec<u16> {
    let ids = states.iter().enumerate().map(|(n, state)| {
        let qos = if *state == Reached::Publish1 { 1 } else { 2 };
        publisher.send(&wire::publish(V5, topic, qos, 7, n.to_string()));
        if qos == 2 {
            publisher.await_kind(kind::PUBREC);
            publisher.send(&wire::acknowledge(kind::PUBREL, 7)).await_kind(kind::PUBCOMP);
        } else {
            publisher.await_kind(kind::PUBACK);
        }
        let packet = client.expect(kind::PUBLISH);
        assert_eq!((packet.qos(), packet.is_dup()), (qos, false), "{packet:?}");
        let (_, id, payload) = packet.published(version);
        assert_eq!(payload, n.to_string().as_bytes());
        if *state == Reached::PubRel {
            client.send(&wire::acknowledge(kind::PUBREC, id));
            assert_eq!(client.expect(kind::PUBREL).id(), id);
        }
        id
    });
    ids.collect()
}

/// v5: MQTT-4.4.0-1, MQTT-3.3.1-1, MQTT-4.3.3-6
/// v3.1.1: MQTT-4.4.0-1, MQTT-3.3.1-1
#[test]
fn b_09_what_is_in_flight_is_sent_again_as_far_as_it_was_with_the_same_ids_in_the_same_order() {
    use Reached::{PubRel, Publish1, Publish2};
    let broker = PLAIN.get();
    let mut publisher = anybody(&broker);
    for version in VERSIONS {
        for states in [[Publish1; 3], [Publish2; 3], [PubRel; 3], [PubRel, Publish2, Publish1]] {
            let topic = unique("b09/flight");
            let (connect, mut client) = remembered(&broker, version, &topic, 2);
            let states = states.into_iter().cycle().take(IN_FLIGHT).collect::<Vec<_>>();
            let ids = bring(&mut client, &mut publisher, version, &topic, &states);
            assert_eq!(ids.iter().collect::<HashSet<_>>().len(), IN_FLIGHT, "{ids:?}");
            drop(client);
            let (mut client, connack) = enter(&broker, &connect);
            assert!(connack.session_present());
            for (n, (state, id)) in states.iter().zip(&ids).enumerate() {
                let packet = client.next("what was in flight");
                if *state == PubRel {
                    assert_eq!((packet.kind(), packet.id()), (kind::PUBREL, *id), "{state:?} {n}");
                } else {
                    assert!(packet.is_dup(), "{state:?} {n}: {packet:?}");
                    let (_, again, payload) = packet.published(version);
                    assert_eq!((again, payload), (*id, n.to_string().into_bytes()), "{state:?}");
                }
            }
            for (state, id) in states.iter().zip(ids) {
                match state {
                    Publish1 => client.send(&wire::acknowledge(kind::PUBACK, id)),
                    Publish2 => {
                        assert_eq!(client.send(&wire::acknowledge(kind::PUBREC, id)).expect(kind::PUBREL).id(), id);
                        client.send(&wire::acknowledge(kind::PUBCOMP, id))
                    }
                    PubRel => client.send(&wire::acknowledge(kind::PUBCOMP, id)),
                };
            }
            // All is finished: the next connection begins with what is new.
            client.ping();
            drop(client);
            let mut client = enter(&broker, &connect).0;
            publisher.publish(&topic, "new");
            let packet = client.expect(kind::PUBLISH);
            assert!(!packet.is_dup(), "{packet:?}");
            assert_eq!(packet.published(version).2, b"new");
        }
    }
    assert_alive(&broker);
}

/// v5: MQTT-4.3.3-10, MQTT-4.3.3-12
#[test]
fn b_09_what_a_client_sends_again_after_a_reconnect_is_delivered_once() {
    let broker = PLAIN.get();
    for version in VERSIONS {
        let topic = unique("b09/again");
        let mut witness = anybody(&broker);
        witness.subscribe(&topic, 2);
        let connect = Connect::new(version, unique("b09")).persistent();
        let mut client = enter(&broker, &connect).0;
        let ids = (1..=u16::try_from(IN_FLIGHT).unwrap()).collect::<Vec<_>>();
        for &id in &ids {
            client.send(&wire::publish(version, &topic, 2, id, id.to_string())).expect(kind::PUBREC);
        }
        drop(client);
        let mut client = enter(&broker, &connect).0;
        for &id in &ids {
            let again = wire::publish_with(version, 0b1100, &topic, id, &[], id.to_string());
            assert_eq!(client.send(&again).expect(kind::PUBREC).id(), id);
        }
        for &id in &ids {
            client.send(&wire::acknowledge(kind::PUBREL, id));
            let packet = client.expect(kind::PUBCOMP);
            assert_eq!((packet.id(), packet.acknowledgement_code()), (id, 0));
        }
        // The identifier is free: this is another message.
        client.send(&wire::publish(version, &topic, 2, 1, "another")).expect(kind::PUBREC);
        for expected in ids.iter().map(u16::to_string).chain(["another".to_owned()]) {
            let (_, id, payload) = witness.await_kind(kind::PUBLISH).published(V5);
            assert_eq!(String::from_utf8(payload).unwrap(), expected);
            witness.send(&wire::acknowledge(kind::PUBREC, id));
        }
    }
    assert_alive(&broker);
}

#[test]
fn b_10_a_session_that_had_no_expiry_is_given_none_at_disconnect() {
    let broker = PLAIN.get();
    let expiry = |seconds: u32| [&[0x11][..], &seconds.to_be_bytes()].concat();
    let mut without = anybody(&broker);
    let closed = without.send(&wire::disconnect(0, &expiry(100))).closed();
    assert_eq!(closed.disconnect(), Some(0x82), "{closed:?}");
    // 0 to 0 is no change, and one that is there may become another, or none.
    let closed = anybody(&broker).send(&wire::disconnect(0, &expiry(0))).closed();
    assert!(closed.packets.is_empty(), "{closed:?}");
    for (seconds, stays) in [(100, true), (0, false)] {
        let connect = Connect { clean: false, ..Connect::new(V5, unique("b10")).expiry(10) };
        let closed = enter(&broker, &connect).0.send(&wire::disconnect(0, &expiry(seconds))).closed();
        assert!(closed.packets.is_empty(), "{closed:?}");
        assert_eq!(enter(&broker, &connect).1.session_present(), stays, "{seconds}");
    }
    assert_alive(&broker);
}

/// v5: MQTT-3.1.3-9, MQTT-3.1.2-10, MQTT-3.1.2-8
#[test]
fn b_11_a_delayed_will_does_not_go_out_if_the_client_is_back_in_time() {
    const DELAY_S: u32 = 2;
    let broker = PLAIN.get();
    let topic = unique("b11/will");
    let mut witness = anybody(&broker);
    witness.subscribe(&topic, 0);
    let leaving = |payload: &str| {
        let connect = Connect::new(V5, unique("b11")).persistent();
        connect.will(&topic, payload).will_delay(DELAY_S)
    };
    let (back, gone) = (leaving("is back"), leaving("stays away"));
    drop(enter(&broker, &back));
    let mut client = raw::dial(broker.control());
    let returned = Connect { will: None, will_properties: Vec::new(), ..back };
    assert!(client.enter(&returned).session_present());
    // One that left later and stays away is heard of first: the other's time had passed before.
    let began = Instant::now();
    drop(enter(&broker, &gone));
    assert_eq!(witness.message().1, "stays away");
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
    client.ping();
    assert_alive(&broker);
}

/// v5: MQTT-3.1.2-23
#[test]
fn b_11_a_session_that_ends_before_the_wills_delay_ends_the_delay() {
    const EXPIRY_S: u32 = 1;
    let broker = PLAIN.get();
    let (topic, kept) = (unique("b11/end"), unique("b11/kept"));
    let mut witness = anybody(&broker);
    witness.subscribe(&topic, 0);
    let connect = Connect { clean: false, ..Connect::new(V5, unique("b11")).expiry(EXPIRY_S) };
    let mut client = enter(&broker, &connect.clone().will(&topic, "the session is over").will_delay(600)).0;
    client.subscribe(&kept, 1);
    drop(client);
    assert_eq!(witness.message().1, "the session is over");
    // And it is over: nothing of it is left.
    let (mut client, connack) = enter(&broker, &connect);
    assert!(!connack.session_present(), "{connack:?}");
    witness.publish(&kept, "nobody's");
    client.subscribe(&kept, 1);
    witness.publish(&kept, "own");
    assert_eq!(client.message().1, "own");
    assert_alive(&broker);
}

#[test]
fn b_11_the_end_of_the_session_by_a_clean_start_sends_the_waiting_will() {
    let broker = PLAIN.get();
    let topic = unique("b11/clean");
    let mut witness = anybody(&broker);
    witness.subscribe(&topic, 1);
    let connect = Connect::new(V5, unique("b11")).persistent();
    drop(enter(&broker, &connect.clone().will(&topic, "waiting").will_delay(600)));
    let clean = Connect { clean: true, ..connect };
    assert!(!enter(&broker, &clean).1.session_present());
    assert_eq!(witness.message().1, "waiting");
    assert_alive(&broker);
}

/// v5: MQTT-3.2.2-22
#[test]
fn b_14_a_keep_alive_of_none_or_very_long_is_the_servers() {
    const CAP_S: u16 = 1_200;
    let broker = PLAIN.get();
    let told = |seconds: u16| {
        let (mut client, connack) = enter(&broker, &Connect::new(V5, unique("b14")).keep_alive(seconds));
        client.ping();
        connack.connack_property(0x13).map(|value| u16::from_be_bytes(value.try_into().unwrap()))
    };
    for beyond in [0, CAP_S + 1, u16::MAX] {
        assert!(told(beyond).is_some_and(|seconds| (1..=CAP_S).contains(&seconds)), "{beyond}: {:?}", told(beyond));
    }
    for within in [1, 60, CAP_S] {
        assert_eq!(told(within), None, "{within}");
    }
    // 3.1.1 has no word for it: such clients are let in as they are.
    for seconds in [0, u16::MAX] {
        enter(&broker, &Connect::new(V3_1_1, unique("b14")).keep_alive(seconds)).0.leave();
    }
    assert_alive(&broker);
}

/// v5: MQTT-3.1.2-5, MQTT-3.1.2-6, MQTT-3.2.2-3, MQTT-4.5.0-1
/// v3.1.1: MQTT-3.1.2-4, MQTT-3.1.2-5, MQTT-3.2.2-1, MQTT-3.2.2-2, MQTT-3.2.2-3
#[test]
fn a_session_keeps_subscriptions_and_messages_of_qos_1_and_2_and_a_clean_one_ends_it() {
    let broker = PLAIN.get();
    let mut publisher = anybody(&broker);
    for version in VERSIONS {
        let topic = unique("b/kept");
        let (connect, client) = remembered(&broker, version, &topic, 2);
        client.leave();
        publisher.send(&wire::publish(V5, &topic, 0, 0, "zero"));
        publisher.publish(&topic, "one");
        publisher.send(&wire::publish(V5, &topic, 2, 9, "two")).await_kind(kind::PUBREC);
        publisher.send(&wire::acknowledge(kind::PUBREL, 9)).await_kind(kind::PUBCOMP);
        let (mut client, connack) = enter(&broker, &connect);
        assert!(connack.session_present());
        assert_eq!(client.message().1, "one");
        let packet = client.expect(kind::PUBLISH);
        assert_eq!((packet.qos(), packet.published(version).2), (2, b"two".to_vec()));
        drop(client);
        let clean = Connect { clean: true, ..connect.clone() };
        let (mut client, connack) = enter(&broker, &clean);
        assert!(!connack.session_present());
        publisher.publish(&topic, "nobody's");
        client.ping();
        client.leave();
        // In 3.1.1 that session ended with its connection; in 5.0 it lives on by its expiry.
        let (mut client, connack) = enter(&broker, &connect);
        assert_eq!(connack.session_present(), version == V5);
        client.ping();
    }
    assert_alive(&broker);
}

#[test]
fn a_session_survives_a_change_of_the_clients_version() {
    let broker = PLAIN.get();
    let topic = unique("b/versions");
    let (connect, client) = remembered(&broker, V3_1_1, &topic, 1);
    drop(client);
    let mut publisher = anybody(&broker);
    publisher.send(&wire::publish_with(V5, 0b010, &topic, 3, &[0x01, 1], "from 5.0")).expect(kind::PUBACK);
    let upgraded = Connect::new(V5, &connect.client_id).persistent();
    let (mut client, connack) = enter(&broker, &upgraded);
    assert!(connack.session_present());
    let packet = client.expect(kind::PUBLISH);
    assert_eq!((packet.publish_properties(), packet.published(V5).2), (vec![(1, vec![1])], b"from 5.0".to_vec()));
    // Back again: what is not acknowledged comes in the older version's words.
    let (mut client, connack) = enter(&broker, &connect);
    assert!(connack.session_present());
    assert_eq!(client.message(), (topic, "from 5.0".to_owned()));
    assert_alive(&broker);
}

#[test]
fn a_session_expiry_beyond_the_cap_is_lowered_and_told() {
    const WEEK_S: u32 = 7 * 24 * 3600;
    let broker = PLAIN.get();
    let told = |seconds: u32| {
        let connack = enter(&broker, &Connect::new(V5, unique("b")).expiry(seconds)).1;
        connack.connack_property(0x11).map(|value| u32::from_be_bytes(value.try_into().unwrap()))
    };
    assert_eq!(told(u32::MAX), Some(WEEK_S));
    assert_eq!(told(WEEK_S + 1), Some(WEEK_S));
    assert_eq!(told(WEEK_S), None);
    assert_eq!(told(0), None);
    assert_alive(&broker);
}
