//! A: framing and parser. Each hostile packet has an honest neighbour that is taken.

use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::raw::{self, Closed};
use postern_tests::wire::{self, Connect, V3_1_1, V5, Will, kind};

use crate::fixture::{PLAIN, disconnected_with, hex, refused_after_connect};

/// Sends the bytes on a new connection and takes the close.
fn refused_bytes(bytes: &[u8]) -> Closed {
    let broker = PLAIN.get();
    let closed = raw::dial(broker.control()).send(bytes).closed();
    assert_ne!(closed.connack(), Some(0), "let in by {bytes:02x?}");
    closed
}

#[test]
fn a_01_a_fifth_length_byte_closes_at_once() {
    let closed = refused_bytes(&hex("10 FF FF FF FF 7F"));
    assert_eq!(closed.connack(), None);
    assert_alive(&PLAIN.get());
}

#[test]
fn a_02_a_quarter_gigabyte_announced_is_neither_waited_for_nor_allocated() {
    const CONNECTIONS: usize = 500;
    const GROWTH_BYTES_MAX: u64 = 20 << 20;
    let broker = crate::fixture::plain_broker();
    let address = broker.control();
    assert_alive(&broker);
    let before = broker.resident_bytes();
    let mut clients = (0..CONNECTIONS).map(|_| raw::dial(address)).collect::<Vec<_>>();
    for client in &mut clients {
        client.send(&hex("10 FF FF FF 7F"));
    }
    for client in &mut clients {
        assert_eq!(client.closed().connack(), None);
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "resident memory grew by {grown} bytes");
    assert_alive(&broker);
}

#[test]
fn a_02_the_first_packet_may_have_16_kib_and_not_more() {
    let broker = PLAIN.get();
    let with_will_of = |bytes: usize| {
        let mut connect = Connect::new(V5, unique("a02"));
        connect.will = Some(Will { topic: b"a02/will".to_vec(), payload: vec![b'x'; bytes], qos: 0, retain: false });
        connect
    };
    raw::enter(broker.control(), &with_will_of(16_000)).leave();
    refused_bytes(&with_will_of(16_500).bytes());
    assert_alive(&broker);
}

#[test]
fn a_04_mqtt_1_5_5_1_a_length_in_more_bytes_than_it_needs_closes() {
    let honest = Connect::new(V5, "").bytes();
    assert_eq!(honest[1], 13);
    refused_bytes(&[&[0x10, 0x8D, 0x00][..], &honest[2..]].concat());
    let broker = PLAIN.get();
    raw::enter(broker.control(), &Connect::new(V5, "")).leave();
    assert_alive(&broker);
}

#[test]
fn a_05_a_publish_as_first_packet_is_not_answered() {
    let closed = refused_bytes(&hex("30 05 00 01 61 78 79"));
    assert!(closed.packets.is_empty(), "{closed:?}");
    assert_alive(&PLAIN.get());
}

#[test]
fn a_06_a_second_connect_closes() {
    for version in [V3_1_1, V5] {
        let broker = PLAIN.get();
        let connect = Connect::new(version, unique("a06")).bytes();
        let closed = raw::dial(broker.control()).send(&[&connect[..], &connect].concat()).closed();
        if version == V5 && closed.connack() == Some(0) {
            assert_eq!(closed.disconnect(), Some(0x82), "{closed:?}");
        }
        assert_alive(&broker);
    }
}

#[test]
fn a_07_mosquitto_2163_closes() {
    // An honest CONNECT, then a packet that only a server sends.
    let broker = PLAIN.get();
    let mut client = raw::dial(broker.control());
    client.send(&hex("101000044d5154540502003c03210014000029020001e000"));
    let closed = client.closed();
    assert!(
        closed.packets.iter().all(|packet| matches!(packet.kind(), kind::CONNACK | kind::DISCONNECT)),
        "{closed:?}"
    );
    assert_alive(&broker);
}

#[test]
fn a_08_a_property_twice_is_refused() {
    let once = hex("10 12 0004 4D515454 05 02 003C 05 1100000001 0000");
    let broker = PLAIN.get();
    assert_eq!(raw::dial(broker.control()).send(&once).expect(kind::CONNACK).connack_code(), Some(0));
    let twice = hex("10 17 0004 4D515454 05 02 003C 0A 1100000001 1100000002 0000");
    let closed = refused_bytes(&twice);
    assert!(matches!(closed.connack(), None | Some(0x82)), "{closed:?}");
    assert_alive(&broker);
}

/// So many user properties, each `a` = `b`.
fn user_properties(count: usize) -> Vec<u8> {
    hex("26 0001 61 0001 62").repeat(count)
}

#[test]
fn a_10_many_user_properties_in_connect_meet_the_cap() {
    refused_bytes(&Connect::new(V5, unique("a10")).property(&user_properties(20_000)).bytes());
    assert_alive(&PLAIN.get());
}

#[test]
fn a_10_many_user_properties_in_publish_are_refused_or_handled_quickly() {
    const WITHIN: Duration = Duration::from_secs(2);
    let broker = PLAIN.get();
    for count in [10, 1_000, 10_000, 20_000] {
        let mut client = raw::enter(broker.control(), &Connect::new(V5, unique("a10")));
        let began = Instant::now();
        client.send(&wire::publish_with(V5, 0b010, "a10/many", 7, &user_properties(count), "x"));
        let answer = client.next("PUBACK or DISCONNECT");
        match answer.disconnect_code() {
            None => assert_eq!((answer.kind(), answer.id()), (kind::PUBACK, 7)),
            Some(code) => {
                assert!(count > 10, "ten user properties are refused with {code:#04x}");
                assert!(matches!(code, 0x81 | 0x95 | 0x97), "{count} user properties: {code:#04x}");
            }
        }
        assert!(began.elapsed() < WITHIN, "{count} user properties took {:?}", began.elapsed());
    }
    assert_alive(&broker);
}

#[test]
fn a_11_property_lengths_that_do_not_fit_are_malformed() {
    // Longer than the packet; ending in the middle of Message Expiry Interval.
    for (length, list) in [(200, &hex("0100")[..]), (3, &hex("02 00000001")[..])] {
        let body = [&wire::text("a11")[..], &wire::varint(length), list].concat();
        disconnected_with(&wire::packet(0x30, &body), 0x81);
        let connect = [&hex("0004 4D515454 05 02 003C")[..], &wire::varint(length), list, &wire::text("a11")].concat();
        let closed = refused_bytes(&wire::packet(0x10, &connect));
        assert!(matches!(closed.connack(), None | Some(0x81 | 0x82)), "{closed:?}");
    }
    assert_alive(&PLAIN.get());
}

#[test]
fn a_12_wrong_flags_in_the_fixed_header_close() {
    let filter = [&hex("0007")[..], &wire::text("a12"), &[0]].concat();
    let v5_filter = [&hex("0007 00")[..], &wire::text("a12"), &[0]].concat();
    let topics = [&hex("0007")[..], &wire::text("a12")].concat();
    let v5_topics = [&hex("0007 00")[..], &wire::text("a12")].concat();
    for (first, v3, v5) in [
        (0x80, &filter, &v5_filter),
        (0xA0, &topics, &v5_topics),
        (0x60, &hex("0007"), &hex("0007")),
        (0xC1, &Vec::new(), &Vec::new()),
        (0xE1, &Vec::new(), &Vec::new()),
    ] {
        refused_after_connect(V3_1_1, &wire::packet(first, v3));
        disconnected_with(&wire::packet(first, v5), 0x81);
    }
    disconnected_with(&wire::packet(0xF1, &[]), 0x81);
    assert_alive(&PLAIN.get());
}

#[test]
fn a_13_packet_types_that_do_not_exist_close() {
    for version in [V3_1_1, V5] {
        refused_after_connect(version, &wire::packet(0x00, &[]));
    }
    refused_after_connect(V3_1_1, &wire::packet(0xF0, &[]));
    // Packets that only a server sends.
    for first in [0x20, 0x90, 0xB0, 0xD0] {
        refused_after_connect(V5, &wire::packet(first, &hex("0007 00")));
    }
    assert_alive(&PLAIN.get());
}

#[test]
fn a_14_qos_3_and_dup_without_qos_close() {
    for version in [V3_1_1, V5] {
        refused_after_connect(version, &wire::publish_with(version, 0b1000, "a14", 0, &[], "x"));
        refused_after_connect(version, &wire::publish_with(version, 0b0110, "a14", 7, &[], "x"));
    }
    disconnected_with(&wire::publish_with(V5, 0b0110, "a14", 7, &[], "x"), 0x81);
    let broker = PLAIN.get();
    let mut client = raw::enter(broker.control(), &Connect::new(V5, unique("a14")));
    client.send(&wire::publish_with(V5, 0b1010, "a14", 7, &[], "x")).expect(kind::PUBACK);
    assert_alive(&broker);
}

/// Not UTF-8, or NUL: overlong, a surrogate, beyond Unicode, a lone continuation, cut off.
const BAD_TEXTS: [&[u8]; 6] = [b"a\xC0\x80", b"a\xED\xA0\x80", b"\xF5\x80\x80\x80", b"a\x80b", b"ab\xE2\x82", b"a\0b"];

#[test]
fn a_15_bad_texts_in_connect_are_refused() {
    for bad in BAD_TEXTS {
        for version in [V3_1_1, V5] {
            let honest = Connect::new(version, unique("a15")).will("a15/will", "x").username("name");
            let mut connects = vec![honest.clone(), honest.clone(), honest.clone()];
            connects[0].client_id = bad.to_vec();
            connects[1].username = Some(bad.to_vec());
            connects[2].will.as_mut().unwrap().topic = bad.to_vec();
            if version == V5 {
                let pair = |name: &[u8], value: &[u8]| [&[0x26][..], &wire::text(name), &wire::text(value)].concat();
                connects.push(honest.clone().property(&pair(bad, b"v")));
                connects.push(honest.clone().property(&pair(b"k", bad)));
            }
            for connect in connects {
                let closed = refused_bytes(&connect.bytes());
                assert_ne!(closed.connack(), Some(0), "{bad:02x?}: {closed:?}");
            }
            raw::enter(PLAIN.get().control(), &honest).leave();
        }
    }
    assert_alive(&PLAIN.get());
}

#[test]
fn a_15_bad_texts_after_connect_close() {
    for bad in BAD_TEXTS {
        for version in [V3_1_1, V5] {
            refused_after_connect(version, &wire::publish(version, bad, 0, 0, "x"));
            refused_after_connect(version, &wire::subscribe(version, 7, bad, 0));
        }
        let pair = |name: &[u8], value: &[u8]| [&[0x26][..], &wire::text(name), &wire::text(value)].concat();
        for list in [pair(bad, b"v"), pair(b"k", bad)] {
            refused_after_connect(V5, &wire::publish_with(V5, 0, "a15", 0, &list, "x"));
        }
    }
    assert_alive(&PLAIN.get());
}

#[test]
fn a_17_one_byte_a_segment_works() {
    let broker = PLAIN.get();
    for version in [V3_1_1, V5] {
        let topic = unique("a17/slow");
        let session = [
            Connect::new(version, unique("a17")).bytes(),
            wire::subscribe(version, 3, &topic, 1),
            wire::publish(version, &topic, 1, 9, "one byte at a time"),
        ];
        let mut client = raw::dial(broker.control()).speaking(version);
        for byte in session.concat() {
            client.send(&[byte]);
        }
        assert_eq!(client.expect(kind::CONNACK).connack_code(), Some(0));
        client.expect(kind::SUBACK);
        let mut kinds = [client.next("PUBACK or PUBLISH").kind(), client.next("PUBACK or PUBLISH").kind()];
        kinds.sort_unstable();
        assert_eq!(kinds, [kind::PUBLISH, kind::PUBACK]);
    }
    assert_alive(&broker);
}

#[test]
fn a_17_a_thousand_packets_in_one_segment_keep_their_order() {
    const PACKETS: usize = 1_000;
    let broker = PLAIN.get();
    let topic = unique("a17/burst");
    let mut subscriber = raw::enter(broker.control(), &Connect::new(V5, unique("a17")));
    subscriber.subscribe(&topic, 0);
    let burst = (0..PACKETS).flat_map(|n| wire::publish(V5, &topic, 0, 0, n.to_string())).collect::<Vec<_>>();
    let mut publisher = raw::enter(broker.control(), &Connect::new(V5, unique("a17")));
    publisher.send(&burst).ping();
    for n in 0..PACKETS {
        assert_eq!(subscriber.message(), (topic.clone(), n.to_string()));
    }
    assert_alive(&broker);
}

/// v5: MQTT-3.12.4-1, MQTT-4.2.0-1
/// v3.1.1: MQTT-3.12.4-1, MQTT-4.2.0-1
#[test]
fn a_17_a_whole_session_in_one_segment_is_answered_in_order() {
    const MESSAGES: u16 = 1_000;
    let broker = PLAIN.get();
    for version in [V3_1_1, V5] {
        let topic = unique("a17/session");
        let mut session = Connect::new(version, unique("a17")).bytes();
        session.extend(wire::subscribe(version, 7, &topic, 0));
        session.extend((1..=MESSAGES).flat_map(|n| wire::publish(version, &topic, 1, n, n.to_string())));
        session.extend(wire::PINGREQ);
        let mut client = raw::dial(broker.control()).speaking(version);
        client.send(&session);
        assert_eq!(client.expect(kind::CONNACK).connack_code(), Some(0));
        client.await_kind(kind::SUBACK);
        for n in 1..=MESSAGES {
            assert_eq!(client.await_kind(kind::PUBACK).id(), n);
        }
        client.await_kind(kind::PINGRESP);
        for n in 1..=MESSAGES {
            assert_eq!(client.await_kind(kind::PUBLISH).published(version).2, n.to_string().as_bytes());
        }
    }
    assert_alive(&broker);
}
