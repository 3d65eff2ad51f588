//! PUBLISH, topic aliases, SUBSCRIBE and UNSUBSCRIBE: what each field may hold.

use postern_mqtt::packet::{Packet, RetainHandling, Version};
use postern_mqtt::{Fault, Limits, ReasonCode};

use crate::talk::*;

const V5: Version = Version::V5;
const V3: Version = Version::V3_1_1;

fn topic_of(packet: Packet) -> String {
    let Packet::Publish(publish) = packet else { panic!("PUBLISH") };
    publish.message.topic.as_str().to_owned()
}

/// v5: MQTT-3.3.2-1
/// v3.1.1: MQTT-3.3.2-1
#[test]
fn c_01_a_publish_needs_a_topic_or_a_known_alias() {
    refuses(V3, &hex("30 02 0000"), Fault::TopicMissing);
    refuses(V5, &hex("30 03 0000 00"), Fault::TopicMissing);
    refuses(V5, &hex("30 06 0000 03 23 0001"), Fault::TopicMissing);
    assert_eq!(Fault::TopicMissing.reason(), ReasonCode::PROTOCOL_ERROR);
}

/// v5: MQTT-3.3.2-8, MQTT-3.3.2-9, MQTT-3.3.2-12
#[test]
fn c_01_mqtt_3_3_2_8_and_9_an_alias_of_zero_or_above_the_maximum_is_refused() {
    refuses(V5, &hex("30 07 0001 61 03 23 0000"), Fault::TopicAlias);
    refuses(V5, &hex("30 07 0001 61 03 23 0011"), Fault::TopicAlias);
    refuses(V5, &hex("30 06 0000 03 23 FFFF"), Fault::TopicAlias);
    assert_eq!(Fault::TopicAlias.reason(), ReasonCode::TOPIC_ALIAS_INVALID);
    assert_eq!(topic_of(taken(&mut live(V5), &hex("30 07 0001 61 03 23 0010"))), "a");
    let none = Limits { topic_alias_maximum: 0, ..Limits::default() };
    let error = receive(&mut live_with(connect(V5), none), &hex("30 07 0001 61 03 23 0001"));
    assert_eq!(error.expect_err("not offered").fault(), Fault::TopicAlias);
}

/// v5: MQTT-3.3.2-12
#[test]
fn mqtt_3_3_2_12_aliases_are_set_used_and_set_anew() {
    let mut link = live(V5);
    assert_eq!(topic_of(taken(&mut link, &hex("30 07 0001 61 03 23 0002"))), "a");
    assert_eq!(topic_of(taken(&mut link, &hex("30 07 0001 62 03 23 0001"))), "b");
    assert_eq!(topic_of(taken(&mut link, &hex("30 06 0000 03 23 0002"))), "a");
    assert_eq!(topic_of(taken(&mut link, &hex("30 07 0001 63 03 23 0002"))), "c");
    assert_eq!(topic_of(taken(&mut link, &hex("30 06 0000 03 23 0002"))), "c");
    assert_eq!(topic_of(taken(&mut link, &hex("30 06 0000 03 23 0001"))), "b");
}

/// v5: MQTT-3.3.2-7
#[test]
fn c_02_mqtt_3_3_2_7_an_alias_means_nothing_on_another_connection() {
    taken(&mut live(V5), &hex("30 07 0001 61 03 23 0001"));
    refuses(V5, &hex("30 06 0000 03 23 0001"), Fault::TopicMissing);
}

/// v5: MQTT-3.3.2-2
/// v3.1.1: MQTT-3.3.2-2
#[test]
fn c_04_mqtt_3_3_2_2_wildcards_in_a_topic_name_are_refused() {
    for topic in ["0001 23", "0001 2B", "0003 612F2B", "0003 612F23", "0002 6123"] {
        let bytes = hex(topic);
        refuses(V3, &framed(0x30, &bytes), Fault::TopicInvalid);
        refuses(V5, &framed(0x30, &[&bytes[..], &[0]].concat()), Fault::TopicInvalid);
    }
    assert_eq!(Fault::TopicInvalid.reason(), ReasonCode::TOPIC_NAME_INVALID);
    assert_eq!(topic_of(taken(&mut live(V3), &hex("30 04 0002 2461"))), "$a", "a question of policy, not of form");
}

#[test]
fn a_topic_of_slashes_is_refused_by_its_depth() {
    let topic = |slashes: usize| framed(0x30, &field(&vec![b'/'; slashes]));
    refuses(V3, &topic(65_400), Fault::TopicInvalid);
    let levels = Limits::default().topic_levels;
    refuses(V3, &topic(levels), Fault::TopicInvalid);
    taken(&mut live(V3), &topic(levels - 1));
}

#[test]
fn a_topic_longer_than_allowed_is_refused_and_a_filter_by_itself() {
    let bytes = Limits::default().topic_bytes;
    let topic = |bytes: usize| framed(0x30, &field(&vec![b't'; bytes]));
    refuses(V3, &topic(bytes + 1), Fault::TopicInvalid);
    taken(&mut live(V3), &topic(bytes));
    let filters = [bytes + 1, bytes].map(|bytes| [field(&vec![b't'; bytes]), vec![0]].concat()).concat();
    let Packet::Subscribe(subscribe) = taken(&mut live(V3), &framed(0x82, &[vec![0, 1], filters].concat())) else {
        panic!("a SUBSCRIBE");
    };
    let valid: Vec<bool> = subscribe.subscriptions.iter().map(|subscription| subscription.filter.is_ok()).collect();
    assert_eq!(valid, [false, true]);
}

/// v5: MQTT-3.3.2-14
#[test]
fn c_04_mqtt_3_3_2_14_a_response_topic_must_be_a_topic_name() {
    refuses(V5, &hex("30 08 0001 61 04 08 0001 23"), Fault::ResponseTopic);
    refuses(V5, &hex("30 07 0001 61 03 08 0000"), Fault::ResponseTopic);
    assert_eq!(Fault::ResponseTopic.reason(), ReasonCode::PROTOCOL_ERROR);
    taken(&mut live(V5), &hex("30 08 0001 61 04 08 0001 62"));
}

/// v5: MQTT-1.5.7-1, MQTT-3.3.2-13, MQTT-3.3.2-19
#[test]
fn texts_in_properties_must_be_utf_8() {
    // Content Type, Response Topic, User Property: a surrogate.
    for property in ["03 0003 EDA080", "08 0003 EDA080", "26 0003 EDA080 0000", "26 0000 0003 EDA080"] {
        let section = hex(property);
        let length = [u8::try_from(section.len()).expect("short")];
        refuses(V5, &framed(0x30, &[&hex("0001 61")[..], &length, &section].concat()), Fault::NotUtf8);
    }
}

/// v5: MQTT-3.3.4-6
#[test]
fn c_04_mqtt_3_3_4_6_a_subscription_identifier_from_a_client_is_refused() {
    refuses(V5, &hex("30 06 0001 61 02 0B 01"), Fault::SubscriptionIdFromClient);
    refuses(V5, &hex("30 06 0001 61 02 0B 00"), Fault::PropertyValue);
}

#[test]
fn c_12_user_properties_and_binary_data_arrive_unchanged_and_in_order() {
    let section = hex("01 01 09 0003 00FF00 26 0001 61 0001 31 26 0001 62 0001 32 26 0001 61 0001 33");
    let length = [u8::try_from(section.len()).unwrap()];
    let bytes = framed(0x30, &[&hex("0001 61")[..], &length, &section, b"text"].concat());
    let Packet::Publish(publish) = taken(&mut live(V5), &bytes) else { panic!("PUBLISH") };
    let message = &publish.message;
    let pairs: Vec<(&str, &str)> = message.user_properties.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(pairs, [("a", "1"), ("b", "2"), ("a", "3")]);
    assert_eq!(message.correlation_data.as_deref(), Some(&[0, 0xFF, 0][..]));
    assert_eq!((message.payload_is_utf8, &message.payload[..]), (Some(true), &b"text"[..]));
    assert_eq!((publish.expiry_left, publish.subscription_ids.len()), (None, 0));
}

#[test]
fn c_13_a_payload_that_is_not_the_text_it_claims_to_be_is_passed_on() {
    let Packet::Publish(publish) = taken(&mut live(V5), &hex("30 08 0001 61 02 01 01 C080")) else { panic!("PUBLISH") };
    assert_eq!(publish.message.payload[..], [0xC0, 0x80]);
}

/// v5: MQTT-2.2.1-3
/// v3.1.1: MQTT-2.3.1-1
#[test]
fn mqtt_2_2_1_3_packet_identifier_0_is_refused() {
    for version in VERSIONS {
        let properties = if version == V5 { "00" } else { "" };
        for (first, body) in [
            (0x32, format!("0001 61 0000 {properties}")),
            (0x34, format!("0001 61 0000 {properties}")),
            (0x82, format!("0000 {properties} 0001 61 00")),
            (0xA2, format!("0000 {properties} 0001 61")),
            (0x40, "0000".to_owned()),
            (0x62, "0000".to_owned()),
        ] {
            refuses(version, &framed(first, &hex(&body)), Fault::PacketIdZero);
        }
    }
}

#[test]
fn acks_of_5_0_may_be_short() {
    for (bytes, reason) in [
        ("40 02 0001", ReasonCode::SUCCESS),
        ("40 03 0001 10", ReasonCode::NO_MATCHING_SUBSCRIBERS),
        ("40 04 0001 87 00", ReasonCode::NOT_AUTHORIZED),
    ] {
        let Packet::PubAck(ack) = taken(&mut live(V5), &hex(bytes)) else { panic!("PUBACK") };
        assert_eq!((ack.packet_id.get(), ack.reason), (1, reason));
    }
    for (bytes, reason) in
        [("E0 00", ReasonCode::SUCCESS), ("E0 01 04", ReasonCode::DISCONNECT_WITH_WILL), ("E0 02 04 00", ReasonCode(4))]
    {
        assert!(matches!(taken(&mut live(V5), &hex(bytes)), Packet::Disconnect(d) if d.reason == reason));
    }
}

/// v5: MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1, MQTT-3.14.2-1, MQTT-3.15.2-1
#[test]
fn mqtt_3_4_2_1_and_its_like_reasons_that_a_packet_does_not_have_are_refused() {
    for bytes in
        ["40 03 0001 01", "50 03 0001 92", "62 03 0001 80", "70 03 0001 10", "E0 01 8E", "E0 01 03", "F0 01 01"]
    {
        refuses(V5, &hex(bytes), Fault::ReasonUnknown);
    }
    taken(&mut live(V5), &hex("62 03 0001 92"));
    taken(&mut live(V5), &hex("50 03 0001 91"));
}

/// v5: MQTT-3.8.3-2, MQTT-3.10.3-2
/// v3.1.1: MQTT-3.8.3-3, MQTT-3.10.3-2
#[test]
fn mqtt_3_8_3_2_and_3_10_3_2_a_request_needs_a_filter() {
    for version in VERSIONS {
        let body: &[u8] = if version == V5 { &[0, 1, 0] } else { &[0, 1] };
        refuses(version, &framed(0x82, body), Fault::NoFilter);
        refuses(version, &framed(0xA2, body), Fault::NoFilter);
    }
}

/// v5: MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.7.3-1, MQTT-4.8.2-1, MQTT-4.8.2-2, MQTT-4.13.1-1
/// v3.1.1: MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.3-1, MQTT-4.8.0-1
#[test]
fn a_filter_that_is_not_well_formed_ends_the_connection() {
    for filter in ["", "a/#/b", "a#", "a+", "+a/b", "$share", "$share/g", "$share/g/", "$share//a", "$share/g+/a"] {
        for (version, head) in [(V3, "0001"), (V5, "0001 00")] {
            let body = [&hex(head)[..], &field(b"ok"), &[1], &field(filter.as_bytes()), &[1]].concat();
            refuses(version, &framed(0x82, &body), Fault::FilterInvalid);
            let body = [&hex(head)[..], &field(b"ok"), &field(filter.as_bytes())].concat();
            refuses(version, &framed(0xA2, &body), Fault::FilterInvalid);
        }
    }
    assert_eq!(Fault::FilterInvalid.reason(), ReasonCode::TOPIC_FILTER_INVALID);
}

#[test]
fn a_filter_that_is_too_deep_fails_alone() {
    let deep = "/".repeat(200);
    let filters = [&deep[..], "ok/+"];
    let mut body = hex("0001 00");
    for filter in filters {
        body.extend(field(filter.as_bytes()));
        body.push(1);
    }
    let Packet::Subscribe(subscribe) = taken(&mut live(V5), &framed(0x82, &body)) else { panic!("SUBSCRIBE") };
    let valid: Vec<bool> = subscribe.subscriptions.iter().map(|s| s.filter.is_ok()).collect();
    assert_eq!(valid, [false, true]);
    let Err(invalid) = &subscribe.subscriptions[0].filter else { panic!("invalid") };
    assert_eq!(invalid.reason, ReasonCode::TOPIC_FILTER_INVALID);
    let mut body = hex("0001 00");
    body.extend(filters.iter().flat_map(|filter| field(filter.as_bytes())));
    let Packet::Unsubscribe(unsubscribe) = taken(&mut live(V5), &framed(0xA2, &body)) else { panic!("UNSUBSCRIBE") };
    assert_eq!(unsubscribe.filters.iter().map(Result::is_ok).collect::<Vec<_>>(), valid);
}

/// v5: MQTT-3.8.3-5
/// v3.1.1: MQTT-3.8.3-4
#[test]
fn mqtt_3_8_3_5_reserved_options_are_refused() {
    for options in [0x04, 0x10, 0x40, 0x80] {
        refuses(V3, &framed(0x82, &[&hex("0001 0001 61")[..], &[options]].concat()), Fault::SubscriptionOptions);
    }
    for options in [0x40, 0x80, 0x30] {
        refuses(V5, &framed(0x82, &[&hex("0001 00 0001 61")[..], &[options]].concat()), Fault::SubscriptionOptions);
    }
    refuses(V3, &hex("82 06 0001 0001 61 03"), Fault::QoS3);
    refuses(V5, &hex("82 07 0001 00 0001 61 03"), Fault::QoS3);
    let Packet::Subscribe(subscribe) = taken(&mut live(V5), &hex("82 07 0001 00 0001 61 2E")) else {
        panic!("SUBSCRIBE")
    };
    let options = &subscribe.subscriptions[0];
    assert!(options.no_local && options.retain_as_published && options.retain_handling == RetainHandling::Never);
}

/// v5: MQTT-3.8.3-4
#[test]
fn mqtt_3_8_3_4_no_local_on_a_shared_subscription_is_refused() {
    let subscribe = |options: u8| framed(0x82, &[&hex("0001 00")[..], &field(b"$share/g/a"), &[options]].concat());
    refuses(V5, &subscribe(0x05), Fault::NoLocalShared);
    let Packet::Subscribe(subscribe) = taken(&mut live(V5), &subscribe(0x01)) else { panic!("SUBSCRIBE") };
    let filter = subscribe.subscriptions[0].filter.as_ref().expect("valid");
    assert_eq!((filter.share(), filter.as_str()), (Some("g"), "a"));
}

#[test]
fn a_subscription_identifier_is_neither_zero_nor_twofold() {
    refuses(V5, &hex("82 09 0001 02 0B 00 0001 61 00"), Fault::PropertyValue);
    refuses(V5, &hex("82 0B 0001 04 0B 01 0B 02 0001 61 00"), Fault::PropertyRepeated);
    let Packet::Subscribe(subscribe) = taken(&mut live(V5), &hex("82 0C 0001 05 0B FFFFFF7F 0001 61 00")) else {
        panic!("SUBSCRIBE")
    };
    assert_eq!(subscribe.subscription_id, Some(268_435_455));
}

#[test]
fn more_filters_than_allowed_are_refused() {
    let limits = Limits { filters: 2, ..Limits::default() };
    let filters =
        |first: u8, each: &str, count: usize| framed(first, &[hex("0001 00"), hex(each).repeat(count)].concat());
    for (first, each) in [(0x82, "0001 61 00"), (0xA2, "0001 61")] {
        taken(&mut live_with(connect(V5), limits), &filters(first, each, 2));
        let error = receive(&mut live_with(connect(V5), limits), &filters(first, each, 3));
        assert_eq!(error.expect_err("one too many").fault(), Fault::TooManyFilters);
    }
}
