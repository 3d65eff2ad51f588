//! CONNECT and CONNACK: cases B-01 to B-16 as far as bytes go.

use std::num::NonZeroU16;

use bytes::BytesMut;
use postern_mqtt::packet::{ConnAck, Connect, Packet, Password, QoS, Version};
use postern_mqtt::{Fault, Limits, Link, ReasonCode, Sent};

use crate::talk::*;

/// A 3.1.1 or 5.0 CONNECT with these flags; the properties are those of 5.0.
fn connect_bytes(level: u8, flags: u8, properties: &str, payload: &str) -> Vec<u8> {
    let mut body = hex("00044D515454");
    body.extend([level, flags, 0, 60]);
    if level == 5 {
        let properties = hex(properties);
        body.push(u8::try_from(properties.len()).expect("short"));
        body.extend(properties);
    }
    body.extend(hex(payload));
    framed(0x10, &body)
}

/// v3.1.1: MQTT-3.1.3-7, MQTT-3.1.3-8, MQTT-3.1.3-9
#[test]
fn b_01_mqtt_3_1_3_8_an_empty_client_id_needs_a_clean_session() {
    refuses_connect(&connect_bytes(4, 0, "", "0000"), Fault::ClientIdMissing, "20 02 00 02");
    assert!(matches!(taken(&mut fresh(), &connect_bytes(4, 2, "", "0000")), Packet::Connect(_)));
    assert!(matches!(taken(&mut fresh(), &connect_bytes(4, 0, "", "0001 61")), Packet::Connect(_)));
    // 5.0 assigns one in either case.
    assert!(matches!(taken(&mut fresh(), &connect_bytes(5, 0, "", "0000")), Packet::Connect(_)));
}

#[test]
fn in_3_1_a_client_id_may_be_long_but_not_empty() {
    let bytes = |id: &[u8]| framed(0x10, &[&hex("00064D51497364700302003C")[..], &field(id)].concat());
    refuses_connect(&bytes(b""), Fault::ClientIdMissing, "20 02 00 02");
    let Packet::Connect(connect) = taken(&mut fresh(), &bytes(&[b'x'; 200])) else { panic!("CONNECT") };
    assert_eq!((connect.version, connect.client_id.len()), (Version::V3_1, 200));
}

#[test]
fn in_3_1_a_user_name_that_is_announced_may_be_missing() {
    let bytes = hex("10 0F 00064D5149736470 03 C2 003C 0001 61");
    let Packet::Connect(connect) = taken(&mut fresh(), &bytes) else { panic!("CONNECT") };
    assert_eq!((connect.username, connect.password), (None, None));
    refuses_connect(&connect_bytes(4, 0xC2, "", "0001 61"), Fault::Truncated, "");
}

/// v5: MQTT-3.1.2-1, MQTT-3.1.2-2
/// v3.1.1: MQTT-3.1.2-1, MQTT-3.1.2-2
#[test]
fn mqtt_3_1_2_1_and_2_unknown_protocols_are_refused_in_a_version_they_may_know() {
    refuses_connect(&hex("10 0C 00044D515455 04 02 003C 0000"), Fault::ProtocolName, "");
    refuses_connect(&connect_bytes(3, 2, "", "0001 61"), Fault::ProtocolLevel(3), "20 02 00 01");
    refuses_connect(&connect_bytes(0x84, 2, "", "0001 61"), Fault::ProtocolLevel(0x84), "20 03 00 84 00");
    refuses_connect(&connect_bytes(6, 2, "", "0001 61"), Fault::ProtocolLevel(6), "20 03 00 84 00");
    refuses_connect(&hex("10 0E 00064D5149736470 04 02 003C 0000"), Fault::ProtocolLevel(4), "20 02 00 01");
}

/// v5: MQTT-3.1.2-3, MQTT-3.1.4-1
/// v3.1.1: MQTT-3.1.2-3, MQTT-3.1.4-1, MQTT-3.2.2-6
#[test]
fn b_03_mqtt_3_1_2_3_the_reserved_flag_is_refused() {
    refuses_connect(&connect_bytes(4, 0b11, "", "0001 61"), Fault::ConnectFlagReserved, "");
    let said = conn_ack_hex(ReasonCode::MALFORMED_PACKET);
    refuses_connect(&connect_bytes(5, 0b11, "", "0001 61"), Fault::ConnectFlagReserved, &said);
}

/// v5: MQTT-3.1.2-11, MQTT-3.1.2-13
/// v3.1.1: MQTT-3.1.2-11, MQTT-3.1.2-13, MQTT-3.1.2-15
#[test]
fn b_03_mqtt_3_1_2_11_and_13_will_qos_and_retain_need_a_will() {
    for (level, said) in [(4, String::new()), (5, conn_ack_hex(ReasonCode::MALFORMED_PACKET))] {
        for flags in [0b0000_1010, 0b0001_0010, 0b0010_0010] {
            refuses_connect(&connect_bytes(level, flags, "", "0001 61"), Fault::WillFlags, &said);
        }
    }
}

/// v5: MQTT-3.1.2-12
/// v3.1.1: MQTT-3.1.2-14
#[test]
fn b_03_mqtt_3_1_2_12_will_qos_3_is_refused() {
    refuses_connect(&connect_bytes(4, 0b0001_1110, "", "0001 61 0001 77 0001 78"), Fault::QoS3, "");
    let will = "0001 61 00 0001 77 0001 78";
    let said = conn_ack_hex(ReasonCode::MALFORMED_PACKET);
    refuses_connect(&connect_bytes(5, 0b0001_1110, "", will), Fault::QoS3, &said);
    let Packet::Connect(connect) = taken(&mut fresh(), &connect_bytes(5, 0b0011_0110, "", will)) else {
        panic!("CONNECT")
    };
    let will = connect.will.expect("a will");
    assert_eq!((will.qos, will.retain, will.message.topic.as_str()), (QoS::ExactlyOnce, true, "w"));
    assert_eq!(will.message.payload[..], *b"x");
}

/// The five fields of a payload with all of them, in hexadecimal.
const FIELDS: [&str; 5] = ["0001 61", "0001 77", "0002 6D73", "0001 75", "0001 70"];

/// v5: MQTT-3.1.2-9, MQTT-3.1.2-16, MQTT-3.1.2-17, MQTT-3.1.2-18, MQTT-3.1.2-19, MQTT-3.1.3-1, MQTT-3.1.3-3
/// v5: MQTT-3.1.4-1
/// v3.1.1: MQTT-3.1.2-9, MQTT-3.1.2-18, MQTT-3.1.2-19, MQTT-3.1.2-20, MQTT-3.1.2-21, MQTT-3.1.3-1, MQTT-3.1.3-3
/// v3.1.1: MQTT-3.1.4-1
#[test]
fn what_the_flags_announce_is_there_in_its_order_and_nothing_else() {
    for level in [4, 5] {
        let no_properties = if level == 5 { "00" } else { "" };
        let payload = |fields: &[usize]| {
            let field =
                |&at: &usize| if at == 1 { format!("{no_properties}{}", FIELDS[1]) } else { FIELDS[at].to_owned() };
            fields.iter().map(field).collect::<String>()
        };
        // Client identifier; will topic and will message; user name; password.
        for (flags, fields) in [
            (0b0000_0010, &[0][..]),
            (0b0000_0110, &[0, 1, 2]),
            (0b1000_0010, &[0, 3]),
            (0b1100_0010, &[0, 3, 4]),
            (0b1100_0110, &[0, 1, 2, 3, 4]),
        ] {
            let Packet::Connect(connect) = taken(&mut fresh(), &connect_bytes(level, flags, "", &payload(fields)))
            else {
                panic!("CONNECT")
            };
            assert_eq!(&*connect.client_id, "a");
            let will = connect.will.map(|will| (will.message.topic.as_str().to_owned(), will.message.payload.to_vec()));
            assert_eq!(will, fields.contains(&1).then(|| ("w".to_owned(), b"ms".to_vec())));
            assert_eq!(connect.username.as_deref(), fields.contains(&3).then_some("u"));
            assert_eq!(connect.password, fields.contains(&4).then(|| Password("p".into())));

            let said = if level == 5 { conn_ack_hex(ReasonCode::MALFORMED_PACKET) } else { String::new() };
            let short = payload(&fields[..fields.len() - 1]);
            refuses_connect(&connect_bytes(level, flags, "", &short), Fault::Truncated, &said);
            let long = payload(fields) + FIELDS[4];
            refuses_connect(&connect_bytes(level, flags, "", &long), Fault::TrailingBytes, &said);
        }
    }
}

/// v5: MQTT-3.1.3-5
/// v3.1.1: MQTT-3.1.3-5
#[test]
fn client_ids_of_23_letters_and_digits_are_taken() {
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let ids = (0..letters.len()).map(|at| &letters[at..(at + 23).min(letters.len())]);
    for id in ids {
        for version in VERSIONS {
            let mut connect = connect(version);
            connect.client_id = id.into();
            let bytes = wire(version, &Packet::Connect(Box::new(connect)));
            assert!(matches!(taken(&mut fresh(), &bytes), Packet::Connect(taken) if *taken.client_id == *id));
        }
    }
}

/// v3.1.1: MQTT-3.1.2-22
#[test]
fn b_03_mqtt_3_1_2_22_a_password_needs_a_user_name_in_3_x() {
    refuses_connect(&connect_bytes(4, 0b0100_0010, "", "0001 61 0001 70"), Fault::PasswordWithoutUsername, "");
    let Packet::Connect(connect) = taken(&mut fresh(), &connect_bytes(5, 0b0100_0010, "", "0001 61 0001 70")) else {
        panic!("CONNECT")
    };
    assert_eq!((connect.username, connect.password), (None, Some(Password("p".into()))));
}

#[test]
fn an_empty_password_is_not_an_absent_one() {
    let bytes = connect_bytes(4, 0b1100_0010, "", "0001 61 0001 75 0000");
    let Packet::Connect(connect) = taken(&mut fresh(), &bytes) else { panic!("CONNECT") };
    assert_eq!(connect.password, Some(Password(bytes::Bytes::new())));
    assert!(format!("{connect:?}").contains("(password)"));
}

#[test]
fn a_will_topic_must_be_a_topic_name() {
    for topic in ["0001 23", "0001 2B", "0000"] {
        let payload = format!("0001 61 {topic} 0000");
        refuses_connect(&connect_bytes(4, 6, "", &payload), Fault::TopicInvalid, "");
        let payload = format!("0001 61 00 {topic} 0000");
        let said = conn_ack_hex(ReasonCode::TOPIC_NAME_INVALID);
        refuses_connect(&connect_bytes(5, 6, "", &payload), Fault::TopicInvalid, &said);
    }
}

#[test]
fn b_04_zero_limits_and_data_without_a_method_are_refused() {
    let said = conn_ack_hex(ReasonCode::PROTOCOL_ERROR);
    refuses_connect(&connect_bytes(5, 2, "21 0000", "0001 61"), Fault::PropertyValue, &said);
    refuses_connect(&connect_bytes(5, 2, "27 00000000", "0001 61"), Fault::PropertyValue, &said);
    refuses_connect(&connect_bytes(5, 2, "16 0001 61", "0001 61"), Fault::AuthenticationData, &said);
    let bytes = connect_bytes(5, 2, "21 0001 27 00000001", "0001 61");
    let Packet::Connect(connect) = taken(&mut fresh(), &bytes) else { panic!("CONNECT") };
    assert_eq!(connect.receive_maximum.map(std::num::NonZeroU16::get), Some(1));
    assert_eq!(connect.maximum_packet_size, Some(1));
}

#[test]
fn booleans_have_two_values() {
    let said = conn_ack_hex(ReasonCode::PROTOCOL_ERROR);
    for property in ["17 02", "19 02"] {
        refuses_connect(&connect_bytes(5, 2, property, "0001 61"), Fault::PropertyValue, &said);
    }
}

#[test]
fn unknown_and_misplaced_properties_are_malformed() {
    let said = conn_ack_hex(ReasonCode::MALFORMED_PACKET);
    refuses_connect(&connect_bytes(5, 2, "04 00", "0001 61"), Fault::PropertyUnknown, &said);
    refuses_connect(&connect_bytes(5, 2, "7F 00", "0001 61"), Fault::PropertyUnknown, &said);
    // Assigned Client Identifier is for CONNACK, Will Delay for the will.
    refuses_connect(&connect_bytes(5, 2, "12 0001 61", "0001 61"), Fault::PropertyMisplaced, &said);
    refuses_connect(&connect_bytes(5, 2, "18 00000001", "0001 61"), Fault::PropertyMisplaced, &said);
    refuses_connect(&connect_bytes(5, 6, "", "0001 61 03 21 0001 0001 77 0000"), Fault::PropertyMisplaced, &said);
}

/// v5: MQTT-4.12.0-7
#[test]
fn b_16_mqtt_4_12_0_7_auth_without_a_method_in_connect_is_refused() {
    for bytes in ["F0 00", "F0 02 18 00", "F0 02 19 00", "F0 06 18 04 15 0001 61"] {
        refuses(Version::V5, &hex(bytes), Fault::UnexpectedAuth);
    }
    refuses_connect(&hex("F0 00"), Fault::NotConnect, "");
}

#[test]
fn b_10_an_expiry_cannot_be_given_at_disconnect_to_a_session_without_one() {
    refuses(Version::V5, &hex("E0 07 00 05 11 00000064"), Fault::SessionExpiryRaised);
    assert_eq!(Fault::SessionExpiryRaised.reason(), ReasonCode::PROTOCOL_ERROR);
    let zero = hex("E0 07 00 05 11 00000000");
    assert!(matches!(taken(&mut live(Version::V5), &zero), Packet::Disconnect(_)));
    let mut connect = connect(Version::V5);
    connect.session_expiry = Some(1);
    let raised = taken(&mut live_with(connect, Limits::default()), &hex("E0 07 00 05 11 00000064"));
    assert!(matches!(raised, Packet::Disconnect(d) if d.session_expiry == Some(100)));
}

fn greeted(version: Version, keep_alive: u16) -> Link {
    let mut link = fresh();
    let mut connect = connect(version);
    connect.keep_alive = keep_alive;
    taken(&mut link, &wire(version, &Packet::Connect(Box::new(connect))));
    link
}

/// v5: MQTT-3.2.2-22
#[test]
fn b_14_mqtt_3_2_2_21_a_keep_alive_beyond_the_cap_is_lowered_and_5_0_is_told() {
    let limits = Limits::default();
    let (default, max, untold) = (limits.keep_alive_default_s, limits.keep_alive_max_s, limits.keep_alive_untold_s);
    for (asked, told, held_untold) in [(0, Some(default), untold), (65_535, Some(max), untold), (60, None, 60)] {
        for version in VERSIONS {
            let link = greeted(version, asked);
            let (told, held) = if version == Version::V5 { (told, told.unwrap_or(asked)) } else { (None, held_untold) };
            assert_eq!(link.server_keep_alive(), told, "{version:?} {asked}");
            assert_eq!(link.keep_alive_deadline_ms(), Some(u64::from(held) * 1_500));
        }
    }
}

/// v5: MQTT-3.2.2-22
#[test]
fn mqtt_3_2_2_22_a_keep_alive_of_the_server_is_told_and_held() {
    let limits = Limits { server_keep_alive_s: NonZeroU16::new(30), keep_alive_percent: 200, ..Limits::default() };
    let link = live_with(connect(Version::V5), limits);
    assert_eq!((link.server_keep_alive(), link.keep_alive_deadline_ms()), (Some(30), Some(60_000)));
    let link = live_with(connect(Version::V3_1_1), limits);
    assert_eq!((link.server_keep_alive(), link.keep_alive_deadline_ms()), (None, Some(120_000)));
}

#[test]
fn connack_tells_what_the_link_holds_the_client_to() {
    let limits = Limits { packet_bytes: 5_000, topic_alias_maximum: 7, ..Limits::default() };
    let link = live_with(Connect { keep_alive: 0, ..connect(Version::V5) }, limits);
    let ack = link.announce(ConnAck { session_present: true, ..ConnAck::default() });
    assert_eq!((ack.maximum_packet_size, ack.topic_alias_maximum), (Some(5_000), Some(7)));
    assert_eq!((ack.server_keep_alive, ack.session_present), (Some(limits.keep_alive_default_s), true));
}

#[test]
fn a_client_that_nobody_read_from_is_not_to_blame_for_its_silence() {
    let mut link = live(Version::V5);
    assert_eq!(link.keep_alive_deadline_ms(), Some(90_000));
    link.excuse(50_000);
    assert_eq!(link.keep_alive_deadline_ms(), Some(140_000));
    link.excuse(40_000);
    assert_eq!(link.keep_alive_deadline_ms(), Some(140_000), "never back");
}

/// v5: MQTT-3.1.3-8
#[test]
fn a_client_identifier_longer_than_allowed_is_refused() {
    let bytes = Limits::default().client_id_bytes;
    for version in VERSIONS {
        let of = |bytes: usize| {
            let connect = Connect { client_id: "c".repeat(bytes).into(), ..connect(version) };
            wire(version, &Packet::Connect(Box::new(connect)))
        };
        let said = conn_ack_hex(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        let said = if version == Version::V5 { &said } else { "20 02 00 02" };
        refuses_connect(&of(bytes + 1), Fault::ClientIdTooLong, said);
        taken(&mut fresh(), &of(bytes));
    }
}

#[test]
fn b_14_without_cap_and_default_a_client_may_be_silent_for_ever() {
    let limits = Limits { keep_alive_max_s: 0, keep_alive_default_s: 0, ..Limits::default() };
    let mut connect = connect(Version::V5);
    connect.keep_alive = 0;
    let link = live_with(connect.clone(), limits);
    assert_eq!((link.keep_alive_deadline_ms(), link.server_keep_alive()), (None, None));
    connect.keep_alive = 65_535;
    assert_eq!(live_with(connect, limits).keep_alive_deadline_ms(), Some(98_302_500));
}

/// v5: MQTT-3.1.2-22
/// v3.1.1: MQTT-3.1.2-24
#[test]
fn mqtt_3_1_2_22_only_whole_packets_move_the_deadline() {
    let mut link = live(Version::V3_1_1);
    assert_eq!(link.keep_alive_deadline_ms(), Some(90_000));
    let mut input = BytesMut::from(&[0xC0][..]);
    assert_eq!(link.receive(5_000, &mut input), Ok(None));
    let _ = link.send(&Packet::PingResp, &mut BytesMut::new());
    assert_eq!(link.keep_alive_deadline_ms(), Some(90_000));
    input.extend_from_slice(&[0]);
    assert_eq!(link.receive(7_000, &mut input), Ok(Some(Packet::PingReq)));
    assert_eq!(link.keep_alive_deadline_ms(), Some(97_000));
    assert_eq!(fresh().keep_alive_deadline_ms(), None);
}

/// v5: MQTT-3.1.4-6, MQTT-3.2.0-2
/// v3.1.1: MQTT-3.1.4-5
#[test]
fn b_15_mqtt_3_1_4_6_nothing_after_a_refused_connect_is_processed() {
    for version in VERSIONS {
        let mut link = greeted(version, 60);
        let mut input = BytesMut::from(&hex("82 06 0001 0001 61 00")[..]);
        assert_eq!(link.receive(0, &mut input), Ok(None));
        assert_eq!(link.send(&conn_ack(ReasonCode::NOT_AUTHORIZED), &mut BytesMut::new()), Sent::Written);
        assert_eq!(link.receive(0, &mut input).expect_err("is over").fault(), Fault::AfterEnd);
        assert_eq!(link.send(&Packet::PingResp, &mut BytesMut::new()), Sent::NotInThisVersion);
        assert_eq!(link.send(&conn_ack(ReasonCode::SUCCESS), &mut BytesMut::new()), Sent::NotInThisVersion);
    }
}

/// v5: MQTT-3.2.2-1, MQTT-3.2.2-6
/// v3.1.1: MQTT-3.2.2-4
#[test]
fn connack_says_what_its_version_can_say() {
    let ack = |reason| {
        let ack = ConnAck { session_present: true, reason, assigned_client_id: Some("b".into()), ..ConnAck::default() };
        Packet::ConnAck(Box::new(ack))
    };
    let said = |version, reason| {
        let mut output = BytesMut::new();
        assert_eq!(greeted(version, 60).send(&ack(reason), &mut output), Sent::Written);
        output.to_vec()
    };
    assert_eq!(said(Version::V3_1, ReasonCode::SUCCESS), hex("20 02 00 00"));
    assert_eq!(said(Version::V3_1_1, ReasonCode::SUCCESS), hex("20 02 01 00"));
    assert_eq!(said(Version::V5, ReasonCode::SUCCESS), hex("20 07 01 00 04 12 0001 62"));
    // MQTT-3.2.2-4 and -6: no session with a refusal.
    for (reason, code) in [
        (ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, 2),
        (ReasonCode::SERVER_BUSY, 3),
        (ReasonCode::BAD_USER_NAME_OR_PASSWORD, 4),
        (ReasonCode::NOT_AUTHORIZED, 5),
    ] {
        assert_eq!(said(Version::V3_1_1, reason), [0x20, 2, 0, code]);
        assert_eq!(said(Version::V5, reason)[..4], [0x20, 7, 0, reason.0]);
    }
}

#[test]
fn versions_are_named_as_the_standards_are() {
    assert_eq!(VERSIONS.map(|version| version.to_string()), ["3.1", "3.1.1", "5.0"]);
}

/// v5: MQTT-3.2.0-1, MQTT-3.14.0-1
/// v3.1.1: MQTT-3.2.0-1
#[test]
fn mqtt_3_2_0_1_nothing_is_sent_before_connack() {
    let mut output = BytesMut::new();
    assert_eq!(fresh().send(&conn_ack(ReasonCode::SUCCESS), &mut output), Sent::NotInThisVersion);
    let mut link = greeted(Version::V5, 60);
    for packet in [Packet::PingResp, Packet::Disconnect(postern_mqtt::packet::Disconnect::default())] {
        assert_eq!(link.send(&packet, &mut output), Sent::NotInThisVersion);
    }
    assert!(output.is_empty());
    assert_eq!(link.version(), Some(Version::V5));
}

#[test]
fn mqtt_3_2_2_1_and_6_what_no_server_may_answer_is_refused() {
    use postern_mqtt::wire::{Decoder, Sender};
    let read = |version, bytes| {
        let mut decoder = Decoder::new(Sender::Server, Some(version), Limits::default());
        decoder.next(&mut BytesMut::from(&hex(bytes)[..]))
    };
    assert_eq!(read(Version::V3_1_1, "20 02 02 00"), Err(Fault::ConnAckFlags));
    assert_eq!(read(Version::V3_1_1, "20 02 01 05"), Err(Fault::ConnAckFlags));
    assert_eq!(read(Version::V5, "20 03 01 87 00"), Err(Fault::ConnAckFlags));
    assert_eq!(read(Version::V3_1_1, "20 02 00 06"), Err(Fault::ReasonUnknown));
    // MQTT-3.9.3-2 of 3.1.1
    assert_eq!(read(Version::V3_1_1, "90 03 0001 03"), Err(Fault::ReasonUnknown));
    assert_eq!(read(Version::V3_1_1, "20 02 00 05"), Ok(Some(conn_ack(ReasonCode::NOT_AUTHORIZED))));
}
