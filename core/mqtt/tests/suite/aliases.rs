//! Topic aliases from the server to the client (3.3.2.3.4), seen from the client: what it decodes is what was sent.

use std::sync::Arc;

use bytes::BytesMut;
use postern_mqtt::packet::{Connect, Message, Packet, Publish, QoS, Version};
use postern_mqtt::wire::{Decoder, Sender};
use postern_mqtt::{Limits, Link, Sent, Topic};
use proptest::prelude::*;

use crate::talk::*;

const V5: Version = Version::V5;

/// Long enough for an alias.
const TOPIC: &str = "sensor/a";

fn publish(topic: &str, payload: &'static str) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        packet_id: None,
        message: Arc::new(Message::new(Topic::new(topic).expect("a topic"), payload.into())),
        expiry_left: None,
        subscription_ids: Vec::new(),
    })
}

/// To a client that takes aliases up to this.
fn link(maximum: Option<u16>) -> Link {
    live_with(Connect { topic_alias_maximum: maximum, ..connect(V5) }, Limits::default())
}

/// The alias in a PUBLISH of QoS 0 whose only property it is; none if it has none.
fn alias_of(bytes: &[u8]) -> Option<u16> {
    let topic = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    match &bytes[4 + topic..] {
        [3, 0x23, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

/// v5: MQTT-3.3.2-8, MQTT-3.3.2-11
#[test]
fn a_topic_is_named_with_its_alias_and_then_by_it_alone_until_another_takes_it_over() {
    let mut link = link(Some(1));
    let name = "0008 73656E736F722F61";
    assert_eq!(said(&mut link, &publish(TOPIC, "1")), hex(&format!("30 0F {name} 03 23 0001 31")));
    assert_eq!(said(&mut link, &publish(TOPIC, "2")), hex("30 07 0000 03 23 0001 32"));
    // There is one alias, and it is given: the other topic has to come again for it.
    let other = "0008 73656E736F722F62";
    assert_eq!(said(&mut link, &publish("sensor/b", "3")), hex(&format!("30 0C {other} 00 33")));
    assert_eq!(said(&mut link, &publish(TOPIC, "4")), hex("30 07 0000 03 23 0001 34"));
    assert_eq!(said(&mut link, &publish("sensor/b", "5")), hex(&format!("30 0F {other} 03 23 0001 35")));
    assert_eq!(said(&mut link, &publish("sensor/b", "6")), hex("30 07 0000 03 23 0001 36"));
    assert_eq!(said(&mut link, &publish(TOPIC, "7")), hex(&format!("30 0C {name} 00 37")));
}

/// v5: MQTT-3.1.2-26, MQTT-3.1.2-27, MQTT-3.3.2-11
#[test]
fn no_alias_is_above_what_the_client_takes() {
    let ours = Limits::default().outbound_topic_aliases;
    for (maximum, highest) in [(None, None), (Some(0), None), (Some(3), Some(3)), (Some(u16::MAX), Some(ours))] {
        let mut link = link(maximum);
        let mut given = Vec::new();
        for n in 0..100 {
            let packet = publish(&format!("sensor/{n}"), "");
            given.extend((0..3).filter_map(|_| alias_of(&said(&mut link, &packet))));
        }
        assert_eq!(given.iter().max().copied(), highest, "{maximum:?}");
        assert_eq!(given.iter().min().copied(), highest.map(|_| 1), "{maximum:?}");
    }
}

/// v5: MQTT-3.1.2-27
#[test]
fn aliases_can_be_switched_off() {
    let limits = Limits { outbound_topic_aliases: 0, ..Limits::default() };
    let mut link = live_with(Connect { topic_alias_maximum: Some(10), ..connect(V5) }, limits);
    for _ in 0..3 {
        assert_eq!(alias_of(&said(&mut link, &publish(TOPIC, ""))), None);
    }
}

#[test]
fn in_3_x_there_are_none() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let mut link = live(version);
        for _ in 0..3 {
            assert_eq!(said(&mut link, &publish(TOPIC, "x")), hex("30 0B 0008 73656E736F722F61 78"));
        }
    }
}

#[test]
fn a_short_topic_is_always_named() {
    let mut link = link(Some(10));
    for _ in 0..3 {
        assert_eq!(said(&mut link, &publish("a/b", "")), hex("30 06 0003 612F62 00"));
    }
}

/// What just fits without an alias is not lost by introducing one.
///
/// v5: MQTT-3.1.2-24, MQTT-3.1.2-25
#[test]
fn an_alias_is_not_introduced_where_it_would_pass_the_maximum_packet_size() {
    // 2 header, 2 + 8 topic, 1 property length, 3 payload; 3 more to introduce the alias.
    for (bytes, alias) in [(16, None), (18, None), (19, Some(1))] {
        let connect = Connect { topic_alias_maximum: Some(10), maximum_packet_size: Some(bytes), ..connect(V5) };
        let mut link = live_with(connect, Limits::default());
        for expected in [alias, alias] {
            let sent = said(&mut link, &publish(TOPIC, "123"));
            assert!(sent.len() <= bytes as usize);
            assert_eq!(alias_of(&sent), expected, "{bytes}");
        }
    }
    // An alias that could not be introduced with one payload can be with the next.
    let connect = Connect { topic_alias_maximum: Some(10), maximum_packet_size: Some(18), ..connect(V5) };
    let mut link = live_with(connect, Limits::default());
    for (payload, alias) in [("123", None), ("12", Some(1)), ("1234567", Some(1))] {
        assert_eq!(alias_of(&said(&mut link, &publish(TOPIC, payload))), alias, "{payload}");
    }
    assert_eq!(link.send(&publish(TOPIC, "12345678901"), &mut BytesMut::new()), Sent::TooLarge);
}

/// v5: MQTT-3.3.2-7
#[test]
fn a_new_connection_begins_without_aliases() {
    let mut first = link(Some(10));
    said(&mut first, &publish(TOPIC, ""));
    assert_eq!(said(&mut first, &publish(TOPIC, "")), hex("30 06 0000 03 23 0001"));
    assert_eq!(said(&mut link(Some(10)), &publish(TOPIC, "")), hex("30 0E 0008 73656E736F722F61 03 23 0001"));
}

/// The aliases of the publisher mean nothing to the subscriber, not even if the two are the same client.
///
/// v5: MQTT-3.1.2-27
#[test]
fn the_alias_of_the_publisher_goes_no_further() {
    let mut link = link(None);
    let named = hex("30 0E 0008 73656E736F722F61 03 23 0005");
    let Packet::Publish(first) = taken(&mut link, &named) else { panic!("PUBLISH") };
    let Packet::Publish(second) = taken(&mut link, &hex("30 06 0000 03 23 0005")) else { panic!("PUBLISH") };
    assert_eq!(first.message.topic, second.message.topic);
    let plain = hex("30 0B 0008 73656E736F722F61 00");
    assert_eq!(said(&mut link, &Packet::Publish(first)), plain);
    assert_eq!(said(&mut link, &Packet::Publish(second)), plain);
}

proptest! {
    /// Whatever is sent in whatever order, the client reads the topics that were meant.
    #[test]
    fn the_client_reads_what_was_meant(
        topics in proptest::collection::vec(0_u8..30, 0..200),
        maximum in 0_u16..20,
        packet_bytes in 16_u32..40,
    ) {
        let connect = Connect {
            topic_alias_maximum: Some(maximum),
            maximum_packet_size: Some(packet_bytes),
            ..connect(V5)
        };
        let mut link = live_with(connect, Limits::default());
        let limits = Limits { topic_alias_maximum: maximum, packet_bytes, ..Limits::default() };
        let mut client = Decoder::new(Sender::Server, Some(V5), limits);
        let mut wire = BytesMut::new();
        for topic in topics {
            let packet = publish(&format!("sensor/{}", "x".repeat(usize::from(topic))), "payload");
            if link.send(&packet, &mut wire) == Sent::Written {
                prop_assert_eq!(client.next(&mut wire), Ok(Some(packet)));
            }
            prop_assert!(wire.is_empty());
        }
    }
}
