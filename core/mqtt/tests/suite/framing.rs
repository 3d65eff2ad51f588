//! Fixed headers, lengths, flags and strings: cases.

use bytes::BytesMut;
use postern_mqtt::packet::{Packet, QoS, Version};
use postern_mqtt::{Fault, Limits, ReasonCode};

use crate::talk::*;

const V5: Version = Version::V5;
const V3: Version = Version::V3_1_1;

#[test]
fn a_01_a_fifth_length_byte_is_refused_before_it_comes() {
    refuses_connect(&hex("10 FF FF FF FF 7F"), Fault::VarIntTooLong, "");
    refuses_connect(&hex("10 FF FF FF FF"), Fault::VarIntTooLong, "");
    assert_eq!(receive(&mut fresh(), &hex("10 FF FF FF")), Ok(None), "the fourth may still end it");
}

#[test]
fn a_02_an_announced_size_is_refused_before_anything_is_buffered() {
    let mut input = BytesMut::from(&hex("10 FF FF FF 7F")[..]);
    let capacity = input.capacity();
    let error = fresh().receive(0, &mut input).expect_err("too large");
    assert_eq!((error.fault(), error.farewell()), (Fault::PacketTooLarge, None));
    assert_eq!(input.capacity(), capacity);
    // 16,385 bytes with their header, and one fewer.
    refuses_connect(&hex("10 FE 7F"), Fault::PacketTooLarge, "");
    assert_eq!(receive(&mut fresh(), &hex("10 FD 7F")), Ok(None));
}

/// v5: MQTT-3.2.2-15
#[test]
fn c_14_a_large_publish_is_refused_by_its_header() {
    // Four bytes of header leave 1,048,572 bytes of the 1 MiB.
    refuses(V5, &hex("30 FD FF 3F"), Fault::PacketTooLarge);
    refuses(V3, &hex("30 FD FF 3F"), Fault::PacketTooLarge);
    assert_eq!(receive(&mut live(V5), &hex("30 FC FF 3F")), Ok(None));
    assert_eq!(Fault::PacketTooLarge.reason(), ReasonCode::PACKET_TOO_LARGE);
}

#[test]
fn a_valid_length_of_four_bytes_is_taken() {
    let limits = Limits { packet_bytes: 4 * 1024 * 1024, ..Limits::default() };
    let body = [&hex("0001 61 00")[..], &vec![b'x'; 2_097_152]].concat();
    let bytes = framed(0x30, &body);
    assert_eq!(bytes[1..5], hex("84 80 80 01"));
    let Packet::Publish(publish) = taken(&mut live_with(connect(V5), limits), &bytes) else { panic!("PUBLISH") };
    assert_eq!(publish.message.payload.len(), 2_097_152);
}

/// v5: MQTT-1.5.5-1
#[test]
fn a_04_mqtt_1_5_5_1_a_non_minimal_length_is_refused() {
    let rest = "00044D515454 05 02 003C 00 0000";
    refuses_connect(&hex(&format!("10 8D 00 {rest}")), Fault::VarIntNotMinimal, "");
    assert!(matches!(taken(&mut fresh(), &hex(&format!("10 0D {rest}"))), Packet::Connect(_)));
    refuses(V5, &hex("C0 80 00"), Fault::VarIntNotMinimal);
    // The length of the property section, and an identifier in it.
    refuses(V5, &hex("30 05 0001 61 80 00"), Fault::VarIntNotMinimal);
    refuses(V5, &hex("30 07 0001 61 03 81 00 01"), Fault::VarIntNotMinimal);
}

/// v5: MQTT-3.1.0-1
/// v3.1.1: MQTT-3.1.0-1
#[test]
fn a_05_mqtt_3_1_0_1_the_first_packet_must_be_connect() {
    refuses_connect(&hex("30 05 00 01 61 78 79"), Fault::NotConnect, "");
    for first in ["20", "30", "82", "C0", "E0", "F0"] {
        refuses_connect(&hex(first), Fault::NotConnect, "");
    }
}

/// v5: MQTT-3.1.0-2
/// v3.1.1: MQTT-3.1.0-2, MQTT-4.8.0-1
#[test]
fn a_06_mqtt_3_1_0_2_a_second_connect_is_refused() {
    for version in VERSIONS {
        let bytes = wire(version, &Packet::Connect(Box::new(connect(version))));
        refuses(version, &bytes, Fault::SecondConnect);
        refuses(version, &[0x10], Fault::SecondConnect);
    }
    assert_eq!(Fault::SecondConnect.reason(), ReasonCode::PROTOCOL_ERROR);
}

#[test]
fn a_06_two_connects_in_one_segment_give_one_connack() {
    let one = wire(V5, &Packet::Connect(Box::new(connect(V5))));
    let mut input = BytesMut::from(&[&one[..], &one[..]].concat()[..]);
    let mut link = fresh();
    assert!(matches!(link.receive(0, &mut input), Ok(Some(Packet::Connect(_)))));
    assert_eq!(link.receive(0, &mut input), Ok(None), "nothing before CONNACK");
    let _ = link.send(&conn_ack(ReasonCode::SUCCESS), &mut BytesMut::new());
    assert_eq!(link.receive(0, &mut input).expect_err("second").fault(), Fault::SecondConnect);
}

#[test]
fn a_07_a_connect_followed_by_a_packet_of_servers_is_refused() {
    let mut input = BytesMut::from(&hex("101000044d5154540502003c03210014000029020001e000")[..]);
    let mut link = fresh();
    assert!(matches!(link.receive(0, &mut input), Ok(Some(Packet::Connect(_)))));
    let _ = link.send(&conn_ack(ReasonCode::SUCCESS), &mut BytesMut::new());
    assert_eq!(link.receive(0, &mut input).expect_err("CONNACK").fault(), Fault::WrongDirection);
}

#[test]
fn packets_that_only_servers_send_are_refused() {
    for version in VERSIONS {
        for bytes in ["20 02 00 00", "90 03 0001 00", "B0 02 0001", "D0 00"] {
            refuses(version, &hex(bytes), Fault::WrongDirection);
        }
    }
}

#[test]
fn a_08_a_property_given_twice_is_refused() {
    let twice = hex("10 17 00044D515454 05 02 003C 0A 1100000001 1100000002 0000");
    refuses_connect(&twice, Fault::PropertyRepeated, &conn_ack_hex(ReasonCode::PROTOCOL_ERROR));
    let once = hex("10 12 00044D515454 05 02 003C 05 1100000001 0000");
    assert!(matches!(taken(&mut fresh(), &once), Packet::Connect(c) if c.session_expiry == Some(1)));
}

#[test]
fn every_property_but_user_property_is_refused_when_repeated() {
    for property in ["01 01", "02 00000001", "03 0001 61", "08 0001 61", "09 0001 61", "23 0001"] {
        let body = |times: usize| {
            let section = hex(property).repeat(times);
            [&hex("0001 61")[..], &[u8::try_from(section.len()).unwrap()], &section].concat()
        };
        refuses(V5, &framed(0x30, &body(2)), Fault::PropertyRepeated);
        assert!(matches!(taken(&mut live(V5), &framed(0x30, &body(1))), Packet::Publish(_)));
    }
}

fn publish_with_user_properties(count: usize) -> Vec<u8> {
    let section = hex("26 0001 61 0001 62").repeat(count);
    let mut length = framed(0, &section);
    length.remove(0);
    framed(0x30, &[&hex("0001 61")[..], &length].concat())
}

#[test]
fn a_10_more_user_properties_than_allowed_are_refused() {
    let limit = Limits::default().user_properties;
    refuses(V5, &publish_with_user_properties(limit + 1), Fault::TooManyUserProperties);
    refuses(V5, &publish_with_user_properties(20_000), Fault::TooManyUserProperties);
    let Packet::Publish(publish) = taken(&mut live(V5), &publish_with_user_properties(limit)) else {
        panic!("PUBLISH")
    };
    assert_eq!(publish.message.user_properties.len(), limit);
    // Before CONNACK their size alone is too much: 20,000 of them have 140,000 bytes.
    refuses_connect(&hex("10 ED C5 08"), Fault::PacketTooLarge, "");
}

#[test]
fn more_bytes_of_user_properties_than_allowed_are_refused() {
    let limits = Limits { user_property_bytes: 20, ..Limits::default() };
    let bytes = |value: usize| {
        let pair = [&[0x26][..], &field(b"name"), &field(&vec![b'v'; value])].concat();
        let properties = [pair.clone(), pair].concat();
        let length = u8::try_from(properties.len()).expect("short");
        framed(0x30, &[&field(b"t")[..], &[length], &properties].concat())
    };
    let error = receive(&mut live_with(connect(V5), limits), &bytes(7)).expect_err("22 bytes");
    assert_eq!((error.fault(), error.reason()), (Fault::TooManyUserProperties, ReasonCode::QUOTA_EXCEEDED));
    taken(&mut live_with(connect(V5), limits), &bytes(6));
}

/// Twenty small packets against one with as many properties: the same work if it is linear, twenty times as much
/// if it is quadratic. Both take about as long, so what else the machine does disturbs both alike, and one calm
/// round of many is enough.
#[test]
fn a_10_user_properties_cost_linear_time() {
    let limits = Limits { user_properties: 100_000, user_property_bytes: 1 << 20, ..Limits::default() };
    let (small, large) = (publish_with_user_properties(1_000), publish_with_user_properties(20_000));
    let time = |bytes: &[u8], times: usize| {
        let mut link = live_with(connect(V5), limits);
        let mut input = BytesMut::from(&bytes.repeat(times)[..]);
        let start = std::time::Instant::now();
        for _ in 0..times {
            assert!(matches!(link.receive(0, &mut input), Ok(Some(Packet::Publish(_)))));
        }
        start.elapsed()
    };
    let is_linear = (0..20).any(|_| time(&large, 1) < time(&small, 20) * 4);
    assert!(is_linear, "20,000 in one packet cost more than 4 times what they cost in 20");
}

/// v5: MQTT-4.13.1-1
#[test]
fn a_11_property_lengths_that_lie_are_refused() {
    // Longer than the packet.
    refuses(V5, &hex("30 05 0001 61 05 01"), Fault::Truncated);
    // Ending within a property.
    refuses(V5, &hex("30 08 0001 61 03 02 0000 00"), Fault::Truncated);
    refuses(V5, &hex("30 04 0001 61 80"), Fault::Truncated);
    refuses(V5, &hex("30 03 0001 61"), Fault::Truncated);
    let connect = hex("10 0E 00044D515454 05 02 003C 09 11 0000");
    refuses_connect(&connect, Fault::Truncated, &conn_ack_hex(ReasonCode::MALFORMED_PACKET));
}

/// v5: MQTT-2.1.3-1, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1, MQTT-3.15.1-1
/// v3.1.1: MQTT-2.2.2-1, MQTT-2.2.2-2, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1
#[test]
fn a_12_mqtt_2_1_3_1_wrong_flags_are_refused_by_the_first_byte() {
    for first in ["80", "A0", "60", "C1", "E1", "41", "51", "71", "83"] {
        for version in VERSIONS {
            refuses(version, &hex(first), Fault::FixedHeaderFlags);
        }
    }
    refuses(V5, &hex("F1"), Fault::FixedHeaderFlags);
    refuses_connect(&hex("11"), Fault::FixedHeaderFlags, "");
}

#[test]
fn a_12_right_flags_are_taken() {
    for version in [V3, Version::V3_1] {
        for bytes in ["82 06 0001 0001 61 00", "A2 05 0001 0001 61", "62 02 0001", "C0 00", "E0 00", "40 02 0001"] {
            taken(&mut live(version), &hex(bytes));
        }
    }
    for bytes in ["82 07 0001 00 0001 61 00", "A2 06 0001 00 0001 61", "62 02 0001", "C0 00", "E0 00"] {
        taken(&mut live(V5), &hex(bytes));
    }
}

#[test]
fn dup_on_what_3_1_sends_again_is_taken_there_only() {
    for first in [0x8A, 0xAA, 0x6A] {
        let body: &[u8] = if first == 0x8A { b"\0\x01\0\x01a\0" } else { b"\0\x01\0\x01a" };
        let body = if first == 0x6A { &body[..2] } else { body };
        taken(&mut live(Version::V3_1), &framed(first, body));
        refuses(V3, &[first], Fault::FixedHeaderFlags);
        refuses(V5, &[first], Fault::FixedHeaderFlags);
    }
}

#[test]
fn a_13_reserved_packet_types_are_refused() {
    for version in VERSIONS {
        refuses(version, &[0x00], Fault::ReservedType(0));
    }
    refuses(Version::V3_1, &[0xF0], Fault::ReservedType(15));
    refuses(V3, &[0xF0], Fault::ReservedType(15));
    refuses_connect(&[0x00], Fault::ReservedType(0), "");
}

/// v5: MQTT-3.3.1-4
/// v3.1.1: MQTT-3.3.1-4
#[test]
fn a_14_mqtt_3_3_1_4_qos_3_is_refused() {
    for version in VERSIONS {
        refuses(version, &hex("36 05 0001 61 0001"), Fault::QoS3);
    }
    assert_eq!(Fault::QoS3.reason(), ReasonCode::MALFORMED_PACKET);
}

/// v5: MQTT-3.3.1-2
/// v3.1.1: MQTT-3.3.1-2
#[test]
fn a_14_mqtt_3_3_1_2_dup_without_qos_is_refused() {
    for version in VERSIONS {
        refuses(version, &hex("38 04 0001 61 00"), Fault::DupQoS0);
    }
    let Packet::Publish(publish) = taken(&mut live(V3), &hex("3A 05 0001 61 0001")) else { panic!("PUBLISH") };
    assert_eq!((publish.dup, publish.qos), (true, QoS::AtLeastOnce));
}

const BAD_STRINGS: [(&str, Fault); 6] = [
    ("C0 80", Fault::NotUtf8),
    ("ED A0 80", Fault::NotUtf8),
    ("F5 80 80 80", Fault::NotUtf8),
    ("80", Fault::NotUtf8),
    ("61 E2 82", Fault::NotUtf8),
    ("61 00 62", Fault::Nul),
];

/// v5: MQTT-1.5.4-1, MQTT-1.5.4-2, MQTT-3.1.3-4, MQTT-3.1.3-11, MQTT-3.1.3-12
/// v3.1.1: MQTT-1.5.3-1, MQTT-1.5.3-2, MQTT-3.1.3-4, MQTT-3.1.3-10, MQTT-3.1.3-11
#[test]
fn a_15_mqtt_1_5_4_1_and_2_bad_strings_in_a_connect_are_refused() {
    for (bad, fault) in BAD_STRINGS {
        let bad = field(&hex(bad));
        let ok = field(b"a");
        for level in [3, 4, 5] {
            let name: &[u8] = if level == 3 { b"MQIsdp" } else { b"MQTT" };
            let said = if level == 5 { conn_ack_hex(ReasonCode::MALFORMED_PACKET) } else { String::new() };
            let no_properties: &[u8] = if level == 5 { &[0] } else { &[] };
            let packet = |client: &[u8], will: &[u8], user: &[u8]| {
                let head = [&field(name)[..], &[level, 0b1000_0110, 0, 60], no_properties].concat();
                framed(0x10, &[&head, client, no_properties, will, &ok, user].concat())
            };
            taken(&mut fresh(), &packet(&ok, &ok, &ok));
            refuses_connect(&packet(&bad, &ok, &ok), fault, &said);
            refuses_connect(&packet(&ok, &bad, &ok), fault, &said);
            refuses_connect(&packet(&ok, &ok, &bad), fault, &said);
        }
    }
}

/// v5: MQTT-1.5.4-1, MQTT-1.5.4-2, MQTT-1.5.7-1, MQTT-3.3.2-1, MQTT-3.8.3-1, MQTT-3.10.3-1
/// v3.1.1: MQTT-1.5.3-1, MQTT-1.5.3-2, MQTT-3.3.2-1, MQTT-3.8.3-1, MQTT-3.10.3-1
#[test]
fn a_15_mqtt_1_5_4_1_and_2_bad_strings_after_connack_are_refused() {
    for (bad, fault) in BAD_STRINGS {
        let bad = field(&hex(bad));
        for version in VERSIONS {
            let no_properties: &[u8] = if version == V5 { &[0] } else { &[] };
            refuses(version, &framed(0x30, &[&bad[..], no_properties].concat()), fault);
            refuses(version, &framed(0x82, &[&[0, 1], no_properties, &bad, &[0]].concat()), fault);
            refuses(version, &framed(0xA2, &[&[0, 1], no_properties, &bad].concat()), fault);
        }
        let ok = field(b"a");
        for pair in [[&bad[..], &ok].concat(), [&ok[..], &bad].concat()] {
            let section = [&[0x26][..], &pair].concat();
            let length = [u8::try_from(section.len()).unwrap()];
            refuses(V5, &framed(0x30, &[&ok[..], &length, &section].concat()), fault);
        }
    }
}

/// v5: MQTT-1.5.4-3
/// v3.1.1: MQTT-1.5.3-3
#[test]
fn a_15_mqtt_1_5_4_3_a_byte_order_mark_and_rare_characters_are_kept() {
    let topic = "\u{FEFF}ä/A\u{2A6D4}/\u{10FFFD}";
    let body = field(topic.as_bytes());
    let Packet::Publish(publish) = taken(&mut live(V3), &framed(0x30, &body)) else { panic!("PUBLISH") };
    assert_eq!(publish.message.topic.as_str(), topic);
}

/// 1.5.4 lets a receiver refuse them, where they are part of a name.
#[test]
fn control_characters_and_noncharacters_in_names_are_refused() {
    for text in ["\u{1}", "a\u{1F}", "\n", "\u{7F}", "\u{9F}", "\u{FFFE}", "\u{FDD0}", "\u{10FFFF}"] {
        let name = field(text.as_bytes());
        refuses(V3, &framed(0x30, &name), Fault::DisallowedCharacter);
        refuses(V5, &framed(0x30, &[&name[..], &[0]].concat()), Fault::DisallowedCharacter);
        refuses(V5, &framed(0x82, &[&hex("0001 00")[..], &name, &[0]].concat()), Fault::DisallowedCharacter);
        refuses(V3, &framed(0xA2, &[&hex("0001")[..], &name].concat()), Fault::DisallowedCharacter);
        let connect = |level: u8, properties: &str, flags: u8, fields: &[&[u8]]| {
            let fields = fields.concat();
            framed(0x10, &[&hex("00044D515454")[..], &[level, flags, 0, 60], &hex(properties), &fields].concat())
        };
        let id = field(b"a");
        refuses_connect(&connect(4, "", 2, &[&name]), Fault::ClientIdCharacter, "20 02 00 02");
        refuses_connect(&connect(5, "00", 2, &[&name]), Fault::ClientIdCharacter, "20 03 00 85 00");
        refuses_connect(&connect(5, "00", 0x82, &[&id, &name]), Fault::DisallowedCharacter, "20 03 00 81 00");
        refuses_connect(&connect(4, "", 6, &[&id, &name, &id]), Fault::DisallowedCharacter, "");
    }
    // Text that names nothing may have lines.
    taken(&mut live(V5), &hex("30 0D 0001 61 09 26 0001 6B 0003 610A62"));
}

#[test]
fn bytes_after_the_last_field_are_refused() {
    for bytes in ["C0 01 00", "62 03 0001 00", "E0 01 00", "40 03 0001 00"] {
        refuses(V3, &hex(bytes), Fault::TrailingBytes);
    }
    refuses(V5, &hex("C0 01 00"), Fault::TrailingBytes);
    refuses(V5, &hex("40 05 0001 00 00 00"), Fault::TrailingBytes);
    refuses(V5, &hex("E0 03 00 00 00"), Fault::TrailingBytes);
    refuses_connect(&hex("10 0E 00044D515454 04 02 003C 0001 61 00"), Fault::TrailingBytes, "");
}

/// Two segmentations of one stream: the packets are the same, in order.
#[test]
fn a_17_one_byte_at_a_time_is_the_same_conversation() {
    for version in VERSIONS {
        let properties = if version == V5 { "00" } else { "" };
        let mut stream = hex(&format!("82 {:02X} 0001 {properties} 0001 61 01", 6 + properties.len() / 2));
        stream.extend(hex(&format!("32 {:02X} 0001 61 0002 {properties} 78", 6 + properties.len() / 2)));
        stream.extend(hex("C0 00 E0 00"));
        let mut whole = BytesMut::from(&stream[..]);
        let mut link = live(version);
        let mut expected = Vec::new();
        while let Some(packet) = link.receive(0, &mut whole).expect("well-formed") {
            expected.push(packet);
        }
        assert_eq!(expected.len(), 4);
        let (mut link, mut input, mut packets) = (live(version), BytesMut::new(), Vec::new());
        for byte in stream {
            input.extend_from_slice(&[byte]);
            packets.extend(link.receive(0, &mut input).expect("well-formed"));
        }
        assert_eq!(packets, expected);
    }
}

#[test]
fn a_17_a_thousand_packets_in_one_segment_keep_their_order() {
    let mut input = BytesMut::new();
    for id in 1..=1_000_u16 {
        let payload = vec![b'x'; usize::from(id) * 8];
        input.extend_from_slice(&framed(0x32, &[&hex("0001 61")[..], &id.to_be_bytes(), &[0], &payload].concat()));
    }
    let mut link = live(V5);
    for id in 1..=1_000_u16 {
        let Ok(Some(Packet::Publish(publish))) = link.receive(0, &mut input) else { panic!("PUBLISH {id}") };
        assert_eq!(publish.packet_id.map(std::num::NonZeroU16::get), Some(id));
        assert_eq!(publish.message.payload.len(), usize::from(id) * 8);
    }
    assert!(input.is_empty());
}
