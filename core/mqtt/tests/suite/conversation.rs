//! What the server may say, in which version, how large and how talkative.

use std::sync::Arc;

use bytes::BytesMut;
use postern_mqtt::packet::{
    Ack, Auth, ConnAck, Disconnect, Message, Packet, PacketId, Publish, QoS, SubAck, UserProperties, Version,
};
use postern_mqtt::{Fault, Limits, Link, ReasonCode, Sent, Topic};

use crate::talk::*;

const V5: Version = Version::V5;
const V3: Version = Version::V3_1_1;

const ID: PacketId = PacketId::MIN;

fn pairs() -> UserProperties {
    vec![("k".into(), "v".into())]
}

fn explained() -> Ack {
    Ack { reason_string: Some("why".into()), user_properties: pairs(), ..Ack::new(ID, ReasonCode::NOT_AUTHORIZED) }
}

fn publish(payload: &'static [u8]) -> Publish {
    let message = Message::new(Topic::new("a").expect("a topic"), payload.into());
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        packet_id: None,
        message: Arc::new(message),
        expiry_left: None,
        subscription_ids: Vec::new(),
    }
}

/// A link to a client with this Maximum Packet Size.
fn narrow(bytes: u32) -> Link {
    let mut connect = connect(V5);
    connect.maximum_packet_size = Some(bytes);
    live_with(connect, Limits::default())
}

#[test]
fn acks_are_as_short_as_they_can_be() {
    let ack = |reason| Packet::PubAck(Ack::new(ID, reason));
    assert_eq!(said(&mut live(V5), &ack(ReasonCode::SUCCESS)), hex("40 02 0001"));
    assert_eq!(said(&mut live(V5), &ack(ReasonCode::NOT_AUTHORIZED)), hex("40 03 0001 87"));
    let full = hex("40 11 0001 87 0D 1F 0003 776879 26 0001 6B 0001 76");
    assert_eq!(said(&mut live(V5), &Packet::PubAck(explained())), full);
    assert_eq!(said(&mut live(V5), &Packet::Disconnect(Disconnect::default())), hex("E0 00"));
    let disconnect = Packet::Disconnect(Disconnect::new(ReasonCode::SESSION_TAKEN_OVER));
    assert_eq!(said(&mut live(V5), &disconnect), hex("E0 01 8E"));
}

/// v5: MQTT-3.1.2-24
#[test]
fn mqtt_3_1_2_24_user_properties_go_first_then_the_reason_string_then_the_packet() {
    let ack = Packet::PubAck(explained());
    assert_eq!(said(&mut narrow(19), &ack).len(), 19);
    assert_eq!(said(&mut narrow(18), &ack), hex("40 0A 0001 87 06 1F 0003 776879"));
    assert_eq!(said(&mut narrow(12), &ack), hex("40 0A 0001 87 06 1F 0003 776879"));
    assert_eq!(said(&mut narrow(11), &ack), hex("40 03 0001 87"));
    assert_eq!(said(&mut narrow(5), &ack), hex("40 03 0001 87"));
    let ack = Packet::SubAck(SubAck {
        packet_id: ID,
        reasons: vec![ReasonCode::SUCCESS; 2],
        reason_string: Some("why".into()),
    });
    assert_eq!(said(&mut narrow(7), &ack), hex("90 05 0001 00 00 00"));
    let mut output = BytesMut::new();
    assert_eq!(narrow(6).send(&ack, &mut output), Sent::TooLarge);
    assert!(output.is_empty());
}

/// A limit that is one byte short of the whole packet, and what is said instead: user properties go first, then the
/// reason string. No packet exists that such a limit makes longer.
///
/// v5: MQTT-3.4.2-2, MQTT-3.4.2-3, MQTT-3.5.2-2, MQTT-3.5.2-3, MQTT-3.6.2-2, MQTT-3.6.2-3, MQTT-3.7.2-2, MQTT-3.7.2-3
/// v5: MQTT-3.9.2-1, MQTT-3.11.2-1, MQTT-3.14.2-3, MQTT-3.14.2-4
#[test]
fn explanations_are_left_out_of_every_kind_of_packet_that_would_grow_too_large() {
    let why = hex("1F 0003 776879");
    for (packet, plain) in [
        (Packet::PubAck(explained()), "40 03 0001 87"),
        (Packet::PubRec(explained()), "50 03 0001 87"),
        (Packet::PubRel(explained()), "62 03 0001 87"),
        (Packet::PubComp(explained()), "70 03 0001 87"),
        (
            Packet::Disconnect(Disconnect {
                reason_string: Some("why".into()),
                user_properties: pairs(),
                ..Disconnect::new(ReasonCode::BANNED)
            }),
            "E0 01 8A",
        ),
    ] {
        let (plain, whole) = (hex(plain), said(&mut live(V5), &packet));
        let bytes = |bytes: usize| u32::try_from(bytes).expect("short");
        assert_eq!(said(&mut narrow(bytes(whole.len())), &packet), whole);
        let without_pairs = said(&mut narrow(bytes(whole.len() - 1)), &packet);
        assert!(without_pairs.ends_with(&why), "{without_pairs:02X?}");
        assert_eq!(said(&mut narrow(bytes(without_pairs.len())), &packet), without_pairs);
        assert_eq!(said(&mut narrow(bytes(without_pairs.len() - 1)), &packet), plain);
        // No client with a smaller limit could take a CONNACK.
        assert_eq!(said(&mut narrow(bytes(plain.len().max(5))), &packet), plain);
    }
    let ack = SubAck { packet_id: ID, reasons: vec![ReasonCode::SUCCESS], reason_string: Some("why".into()) };
    for (packet, plain) in
        [(Packet::SubAck(ack.clone()), "90 04 0001 00 00"), (Packet::UnsubAck(ack), "B0 04 0001 00 00")]
    {
        assert_eq!(said(&mut narrow(12), &packet).len(), 12);
        assert_eq!(said(&mut narrow(11), &packet), hex(plain));
    }
}

/// v5: MQTT-2.2.2-1
#[test]
fn without_properties_their_length_is_zero() {
    let sub_ack = SubAck { packet_id: ID, reasons: vec![ReasonCode::GRANTED_QOS_1], reason_string: None };
    assert_eq!(said(&mut live(V5), &Packet::Publish(publish(b"x"))), hex("30 05 0001 61 00 78"));
    assert_eq!(said(&mut live(V5), &Packet::SubAck(sub_ack.clone())), hex("90 04 0001 00 01"));
    assert_eq!(said(&mut live(V5), &Packet::UnsubAck(sub_ack)), hex("B0 04 0001 00 01"));
    let mut link = Link::new(Limits::default(), 0);
    taken(&mut link, &wire(V5, &Packet::Connect(Box::new(connect(V5)))));
    assert_eq!(said(&mut link, &conn_ack(ReasonCode::SUCCESS)), hex("20 03 00 00 00"));
}

/// v5: MQTT-3.14.2-2
#[test]
fn mqtt_3_14_2_2_a_disconnect_of_the_server_has_no_session_expiry() {
    let disconnect = |session_expiry| Disconnect {
        session_expiry,
        reason_string: Some("why".into()),
        ..Disconnect::new(ReasonCode::BANNED)
    };
    let bytes = hex("E0 08 8A 06 1F 0003 776879");
    for expiry in [None, Some(0), Some(60)] {
        assert_eq!(said(&mut live(V5), &Packet::Disconnect(disconnect(expiry))), bytes);
    }
}

/// v5: MQTT-3.1.2-24
#[test]
fn mqtt_3_1_2_25_a_publish_that_is_too_large_is_not_sent() {
    let packet = Packet::Publish(publish(b"12345"));
    assert_eq!(said(&mut narrow(11), &packet), hex("30 09 0001 61 00 3132333435"));
    let mut output = BytesMut::new();
    let mut link = narrow(10);
    assert_eq!(link.send(&packet, &mut output), Sent::TooLarge);
    assert!(output.is_empty());
    assert_eq!(said(&mut link, &Packet::PingResp), hex("D0 00"), "the connection goes on");
    let mut with_property = publish(b"12345");
    Arc::make_mut(&mut with_property.message).user_properties = pairs();
    assert_eq!(narrow(17).send(&Packet::Publish(with_property), &mut output), Sent::TooLarge, "never maimed");
}

/// v5: MQTT-3.2.2-19, MQTT-3.2.2-20, MQTT-3.14.2-3
#[test]
fn mqtt_3_2_2_19_connack_and_disconnect_keep_within_the_maximum() {
    let mut connect = connect(V5);
    connect.maximum_packet_size = Some(10);
    let mut link = Link::new(Limits::default(), 0);
    taken(&mut link, &wire(V5, &Packet::Connect(Box::new(connect))));
    let ack = ConnAck { reason_string: Some("why".into()), user_properties: pairs(), ..ConnAck::default() };
    // With the reason string it would have 11 bytes, with the pair too 18.
    assert_eq!(said(&mut link, &Packet::ConnAck(Box::new(ack))), hex("20 03 00 00 00"));
    let farewell = Disconnect { reason_string: Some("x".repeat(20).into()), ..Disconnect::new(ReasonCode::BANNED) };
    assert_eq!(said(&mut link, &Packet::Disconnect(farewell)), hex("E0 01 8A"));
}

#[test]
fn a_client_that_cannot_take_a_connack_is_not_let_in() {
    let mut connect = connect(V5);
    connect.maximum_packet_size = Some(4);
    let mut link = Link::new(Limits::default(), 0);
    taken(&mut link, &wire(V5, &Packet::Connect(Box::new(connect))));
    let mut output = BytesMut::new();
    assert_eq!(link.send(&conn_ack(ReasonCode::SUCCESS), &mut output), Sent::TooLarge);
    assert!(output.is_empty());
    assert_eq!(receive(&mut link, &hex("C0 00")).expect_err("is over").fault(), Fault::AfterEnd);
}

/// v5: MQTT-3.1.2-29
#[test]
fn mqtt_3_1_2_29_without_problem_information_only_three_packets_explain() {
    let quiet = || {
        let mut connect = connect(V5);
        connect.request_problem_information = false;
        live_with(connect, Limits::default())
    };
    for (packet, bytes) in [
        (Packet::PubAck(explained()), "40 03 0001 87"),
        (Packet::PubRec(explained()), "50 03 0001 87"),
        (Packet::PubRel(explained()), "62 03 0001 87"),
        (Packet::PubComp(explained()), "70 03 0001 87"),
    ] {
        assert_eq!(said(&mut quiet(), &packet), hex(bytes));
    }
    let ack = SubAck { packet_id: ID, reasons: vec![ReasonCode::GRANTED_QOS_1], reason_string: Some("why".into()) };
    assert_eq!(said(&mut quiet(), &Packet::SubAck(ack.clone())), hex("90 04 0001 00 01"));
    assert_eq!(said(&mut quiet(), &Packet::UnsubAck(ack.clone())), hex("B0 04 0001 00 01"));
    assert_eq!(said(&mut live(V5), &Packet::SubAck(ack)), hex("90 0A 0001 06 1F 0003 776879 01"));
    let mut message = publish(b"");
    Arc::make_mut(&mut message.message).user_properties = pairs();
    assert_eq!(said(&mut quiet(), &Packet::Publish(message)), hex("30 0B 0001 61 07 26 0001 6B 0001 76"));
    let farewell = Disconnect { reason_string: Some("why".into()), ..Disconnect::new(ReasonCode::BANNED) };
    assert_eq!(said(&mut quiet(), &Packet::Disconnect(farewell)), hex("E0 08 8A 06 1F 0003 776879"));
}

/// v3.1.1: MQTT-3.9.3-2
#[test]
fn in_3_x_failures_become_what_can_be_said() {
    for version in [Version::V3_1, V3] {
        assert_eq!(said(&mut live(version), &Packet::PubAck(explained())), hex("40 02 0001"));
        assert_eq!(said(&mut live(version), &Packet::PubRec(explained())), hex("50 02 0001"));
        let reasons = vec![
            ReasonCode::SUCCESS,
            ReasonCode::GRANTED_QOS_1,
            ReasonCode::GRANTED_QOS_2,
            ReasonCode::NOT_AUTHORIZED,
            ReasonCode::TOPIC_FILTER_INVALID,
        ];
        let ack = SubAck { packet_id: ID, reasons, reason_string: Some("why".into()) };
        assert_eq!(said(&mut live(version), &Packet::SubAck(ack.clone())), hex("90 07 0001 00 01 02 80 80"));
        assert_eq!(said(&mut live(version), &Packet::UnsubAck(ack)), hex("B0 02 0001"));
    }
}

#[test]
fn in_3_x_there_is_no_disconnect_from_the_server_yet_it_ends_the_connection() {
    for version in [Version::V3_1, V3] {
        let mut link = live(version);
        let mut output = BytesMut::new();
        let disconnect = Packet::Disconnect(Disconnect::new(ReasonCode::SESSION_TAKEN_OVER));
        assert_eq!(link.send(&disconnect, &mut output), Sent::NotInThisVersion);
        assert!(output.is_empty());
        assert_eq!(receive(&mut link, &hex("C0 00")).expect_err("is over").fault(), Fault::AfterEnd);
    }
}

/// v5: MQTT-3.2.0-2, MQTT-4.12.0-6
#[test]
fn auth_and_what_only_clients_say_are_never_written() {
    let auth = Auth { reason: ReasonCode::CONTINUE_AUTHENTICATION, ..Auth::default() };
    for version in VERSIONS {
        let mut output = BytesMut::new();
        for packet in [Packet::Auth(auth.clone()), Packet::PingReq, Packet::Connect(Box::new(connect(version)))] {
            assert_eq!(live(version).send(&packet, &mut output), Sent::NotInThisVersion);
        }
        assert_eq!(live(version).send(&conn_ack(ReasonCode::SUCCESS), &mut output), Sent::NotInThisVersion);
        assert!(output.is_empty());
    }
}

#[test]
fn mqtt_3_14_4_1_after_disconnect_nothing_is_received_or_sent() {
    for version in VERSIONS {
        let mut link = live(version);
        let mut input = BytesMut::from(&hex("E0 00 C0 00")[..]);
        assert!(matches!(link.receive(0, &mut input), Ok(Some(Packet::Disconnect(_)))));
        let error = link.receive(0, &mut input).expect_err("is over");
        assert_eq!((error.fault(), error.farewell()), (Fault::AfterEnd, None));
        assert_eq!(link.receive(0, &mut BytesMut::new()), Ok(None));
        assert_eq!(link.send(&Packet::PingResp, &mut BytesMut::new()), Sent::NotInThisVersion);
        assert_eq!(link.keep_alive_deadline_ms(), None);
    }
}

/// v5: MQTT-3.14.4-1
#[test]
fn after_a_disconnect_of_ours_nothing_more_is_sent() {
    let mut link = live(V5);
    said(&mut link, &Packet::Disconnect(Disconnect::new(ReasonCode::SERVER_SHUTTING_DOWN)));
    let mut output = BytesMut::new();
    assert_eq!(link.send(&Packet::Disconnect(Disconnect::default()), &mut output), Sent::NotInThisVersion);
    assert_eq!(link.send(&Packet::Publish(publish(b"x")), &mut output), Sent::NotInThisVersion);
    assert!(output.is_empty());
}

#[test]
fn a_publish_to_a_subscriber_carries_what_is_its_own() {
    let mut packet = publish(b"x");
    Arc::make_mut(&mut packet.message).expiry = Some(60);
    let as_given = hex("30 0A 0001 61 05 02 0000003C 78");
    assert_eq!(said(&mut live(V5), &Packet::Publish(packet.clone())), as_given);
    packet.expiry_left = Some(7);
    packet.subscription_ids = vec![1, 200];
    (packet.qos, packet.packet_id, packet.dup, packet.retain) = (QoS::ExactlyOnce, Some(ID), true, true);
    let own = hex("3D 11 0001 61 0001 0A 0B 01 0B C801 02 00000007 78");
    assert_eq!(said(&mut live(V5), &Packet::Publish(packet.clone())), own);
    assert_eq!(said(&mut live(V3), &Packet::Publish(packet)), hex("3D 06 0001 61 0001 78"));
}

/// v5: MQTT-2.2.1-2
/// v3.1.1: MQTT-2.3.1-5
#[test]
fn a_publish_whose_identifier_does_not_fit_its_qos_is_not_written() {
    let mut packet = publish(b"x");
    packet.packet_id = Some(ID);
    let mut output = BytesMut::new();
    assert_eq!(live(V5).send(&Packet::Publish(packet.clone()), &mut output), Sent::NotInThisVersion);
    (packet.qos, packet.packet_id) = (QoS::AtLeastOnce, None);
    assert_eq!(live(V5).send(&Packet::Publish(packet), &mut output), Sent::NotInThisVersion);
    assert!(output.is_empty());
}

/// v5: MQTT-3.3.1-2, MQTT-4.3.1-1
/// v3.1.1: MQTT-3.3.1-2, MQTT-4.3.1-1
#[test]
fn mqtt_3_3_1_2_dup_is_not_written_with_qos_0() {
    let packet = Publish { dup: true, ..publish(b"") };
    assert_eq!(said(&mut live(V3), &Packet::Publish(packet)), hex("30 03 0001 61"));
}

#[test]
fn a_text_that_no_string_can_hold_is_not_written() {
    let mut ack = explained();
    ack.reason_string = Some("x".repeat(65_536).into());
    // Left out like one that is too large for the client.
    assert_eq!(said(&mut live(V5), &Packet::PubAck(ack)), hex("40 03 0001 87"));
    let mut packet = publish(b"");
    Arc::make_mut(&mut packet.message).content_type = Some("x".repeat(65_536).into());
    let mut output = BytesMut::new();
    assert_eq!(live(V5).send(&Packet::Publish(packet), &mut output), Sent::TooLarge);
    assert!(output.is_empty());
}

#[test]
fn errors_speak_without_words_of_the_peer() {
    let mut link = live(V5);
    let error = receive(&mut link, &hex("30 04 0002 8080 00")).expect_err("malformed");
    assert_eq!(error.to_string(), "a string is not well-formed UTF-8");
    assert_eq!(error.reason().label(), "Malformed Packet");
}
