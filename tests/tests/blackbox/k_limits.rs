//! K: limits that the operator sets, and how a client is told of them.

use postern_tests::alive::assert_alive;
use postern_tests::broker::Setup;
use postern_tests::raw;
use postern_tests::wire::{self, Connect, V3_1_1, V5, Will, kind};

/// CONNACK properties.
mod property {
    pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(super) const RESPONSE_INFORMATION: u8 = 0x1A;
    pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(super) const MAXIMUM_QOS: u8 = 0x24;
    pub(super) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(super) const WILDCARD_AVAILABLE: u8 = 0x28;
    pub(super) const SHARED_AVAILABLE: u8 = 0x2A;
    /// Of CONNECT.
    pub(super) const REQUEST_RESPONSE_INFORMATION: [u8; 2] = [0x19, 1];
}

fn willing(id: &str, qos: u8, retain: bool) -> Connect {
    let will = Will { topic: b"w".to_vec(), payload: b"x".to_vec(), qos, retain };
    Connect { will: Some(will), ..Connect::new(V5, id) }
}

/// v5: MQTT-3.1.2-28, MQTT-3.2.2-9, MQTT-3.2.2-22
#[test]
fn what_the_operator_sets_is_told_in_connack() {
    let broker = Setup::new(
        "mqtt { max_packet_size = 10KB, max_topic_alias = 3, max_awaiting_rel = 5, server_keepalive = 45\n\
         max_qos_allowed = 1, retain_available = false, wildcard_subscription = false, shared_subscription = false\n\
         response_information = \"answers/\" }",
    )
    .start();
    let connack = raw::dial(broker.control())
        .enter(&Connect::new(V5, "asking").property(&property::REQUEST_RESPONSE_INFORMATION));
    for (id, value) in [
        (property::MAXIMUM_PACKET_SIZE, &[0, 0, 0x28, 0][..]),
        (property::TOPIC_ALIAS_MAXIMUM, &[0, 3]),
        (property::RECEIVE_MAXIMUM, &[0, 5]),
        (property::SERVER_KEEP_ALIVE, &[0, 45]),
        (property::MAXIMUM_QOS, &[1]),
        (property::RETAIN_AVAILABLE, &[0]),
        (property::WILDCARD_AVAILABLE, &[0]),
        (property::SHARED_AVAILABLE, &[0]),
        (property::RESPONSE_INFORMATION, b"answers/"),
    ] {
        assert_eq!(connack.connack_property(id).as_deref(), Some(value), "{id:#04x}");
    }
    let connack = raw::dial(broker.control()).enter(&Connect::new(V5, "silent"));
    assert_eq!(connack.connack_property(property::RESPONSE_INFORMATION), None);
    assert_alive(&broker);
}

/// v5: MQTT-3.2.2-10, MQTT-3.2.2-12, MQTT-3.2.2-13
#[test]
fn what_is_not_offered_is_refused_with_its_code() {
    let broker = Setup::new(
        "mqtt { max_qos_allowed = 1, retain_available = false, wildcard_subscription = false\n\
         shared_subscription = false }",
    )
    .start();
    for (qos, retain, code) in [(2, false, 0x9B), (0, true, 0x9A)] {
        assert_eq!(raw::dial(broker.control()).refused(&willing("will", qos, retain)), code);
    }
    raw::enter(broker.control(), &willing("will", 1, false)).leave();
    for (packet, code) in [(wire::publish(V5, "t", 2, 7, "x"), 0x9B), (wire::retain(V5, "t", 0, 0, "x"), 0x9A)] {
        let mut client = raw::enter(broker.control(), &Connect::new(V5, "publisher"));
        client.send(&wire::publish(V5, "t", 1, 6, "x"));
        client.expect(kind::PUBACK);
        assert_eq!(client.send(&packet).closed().disconnect(), Some(code));
    }
    for (version, codes) in [(V5, [1, 0xA2, 0xA2, 0x9E]), (V3_1_1, [1, 0x80, 0x80, 0x80])] {
        let mut client = raw::enter(broker.control(), &Connect::new(version, "subscriber"));
        for (filter, code) in ["t", "t/+", "t/#", "$share/g/t"].into_iter().zip(codes) {
            let suback = client.send(&wire::subscribe(version, 3, filter, 2)).expect(kind::SUBACK);
            assert_eq!(suback.body.last(), Some(&code), "{filter}");
        }
        client.leave();
    }
    assert_alive(&broker);
}

#[test]
fn limits_of_one_packet_hold_at_the_limit_and_not_beyond() {
    let broker = Setup::new(
        "mqtt { max_clientid_len = 30, max_topic_len = 20, max_topic_levels = 4, max_user_properties = 1\n\
         max_subscribe_filters = 2, max_subscriptions = 2 }",
    )
    .start();
    raw::enter(broker.control(), &Connect::new(V5, "c".repeat(30))).leave();
    assert_eq!(raw::dial(broker.control()).refused(&Connect::new(V5, "c".repeat(31))), 0x85);
    assert_eq!(raw::dial(broker.control()).refused(&Connect::new(V3_1_1, "c".repeat(31))), 2);

    let pair = [&[0x26][..], &wire::text("n"), &wire::text("v")].concat();
    let filters = |count: usize| {
        let filters = [wire::text("f"), vec![0]].concat().repeat(count);
        wire::packet(0x82, &[&[0, 1, 0][..], &filters].concat())
    };
    for (good, bad, code) in [
        (wire::publish(V5, "t".repeat(20), 0, 0, ""), wire::publish(V5, "t".repeat(21), 0, 0, ""), 0x90),
        (wire::publish(V5, "a/b/c/d", 0, 0, ""), wire::publish(V5, "a/b/c/d/e", 0, 0, ""), 0x90),
        (wire::publish_with(V5, 0, "t", 0, &pair, ""), wire::publish_with(V5, 0, "t", 0, &pair.repeat(2), ""), 0x97),
        (filters(2), filters(3), 0x97),
    ] {
        let mut client = raw::enter(broker.control(), &Connect::new(V5, "packets"));
        client.send(&good).ping();
        assert_eq!(client.send(&bad).closed().disconnect(), Some(code));
    }
    let mut client = raw::enter(broker.control(), &Connect::new(V5, "subscriptions"));
    for (filter, code) in [("a", 0), ("b", 0), ("c", 0x97), ("a/b/c/d/e", 0x8F), ("b", 0)] {
        let suback = client.send(&wire::subscribe(V5, 3, filter, 0)).expect(kind::SUBACK);
        assert_eq!(suback.body.last(), Some(&code), "{filter}");
    }
    assert_alive(&broker);
}

#[test]
fn the_user_name_becomes_the_client_identifier_where_that_is_asked_for() {
    let broker = Setup::new("mqtt.use_username_as_clientid = true").start();
    let named = |id: &str| Connect::new(V5, id).username("device-1");
    let mut first = raw::enter(broker.control(), &named("one"));
    let connack = raw::dial(broker.control()).enter(&named(""));
    assert_eq!(connack.connack_property(0x12).as_deref(), Some(&b"device-1"[..]), "told to who named itself not");
    assert_eq!(first.closed().disconnect(), Some(0x8E), "it is the same client");
    raw::enter(broker.control(), &Connect::new(V5, "without")).leave();
    assert_eq!(raw::dial(broker.control()).refused(&Connect::new(V5, "x").username(&"u".repeat(257))), 0x85);
    assert_alive(&broker);
}

#[test]
fn a_client_that_never_connects_is_cut_off_after_idle_timeout() {
    let broker = Setup::new("mqtt.idle_timeout = 1s").start();
    let mark = broker.journal.mark();
    raw::dial(broker.control()).send(&[0x10]).closed();
    let line = broker.journal.expect(mark, "the refusal", |line| line.says("refused"));
    assert!(line.raw.contains("no CONNECT within 1s"), "{}", line.raw);
    assert_alive(&broker);
}
