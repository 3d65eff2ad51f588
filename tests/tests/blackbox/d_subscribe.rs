//! D: subscriptions, shared ones, and retained messages.

use std::collections::HashSet;
use std::net::TcpStream;

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::Broker;
use postern_tests::raw::{self, RawClient};
use postern_tests::wire::{self, Connect, V3_1_1, V5, kind};

use crate::fixture::{PLAIN, disconnected_with, plain_broker, refused_after_connect};

type Client = RawClient<TcpStream>;

const VERSIONS: [u8; 2] = [V3_1_1, V5];

fn anybody(broker: &Broker, version: u8) -> Client {
    raw::enter(broker.control(), &Connect::new(version, unique("d")))
}

/// "Topic Filter invalid" of 5.0, and what 3.1.1 has for it.
fn invalid(version: u8) -> u8 {
    if version == V5 { 0x8F } else { 0x80 }
}

/// Each filter is refused by itself, beside one that is granted, and can be neither had nor given up.
fn refused_alone(filters: &[&str]) {
    let broker = PLAIN.get();
    for version in VERSIONS {
        for filter in filters {
            let good = unique("d/good");
            let mut client = anybody(&broker, version);
            let both = wire::subscribe_with(version, 7, &[], &[(*filter, 1), (&good, 1)]);
            assert_eq!(client.codes(&both), [invalid(version), 1], "{version} {filter:.40?}");
            client.publish(&good, "granted");
            assert_eq!(client.message(), (good.clone(), "granted".to_owned()));
            if version == V5 {
                let codes = client.codes(&wire::unsubscribe_all(V5, 8, &[*filter, &good]));
                assert_eq!(codes, [0x8F, 0], "{filter:.40?}");
            }
        }
    }
    assert_alive(&broker);
}

/// A packet that names it, even beside one that is a filter, is a violation (MQTT-4.8.2-1, 4.13.1).
fn is_no_filter(filter: &str) {
    const TOPIC_FILTER_INVALID: u8 = 0x8F;
    for version in VERSIONS {
        let ask = wire::subscribe_with(version, 7, &[], &[("d/good", 1), (filter, 1)]);
        for bytes in [ask, wire::unsubscribe_all(version, 8, &["d/good", filter])] {
            let reason = refused_after_connect(version, &bytes).disconnect();
            assert_eq!(reason, (version == V5).then_some(TOPIC_FILTER_INVALID), "{version} {filter:?}");
        }
    }
}

/// v5: MQTT-3.8.4-6, MQTT-4.7.1-1, MQTT-4.7.1-2
/// v3.1.1: MQTT-3.8.4-5, MQTT-4.7.1-2, MQTT-4.7.1-3
#[test]
fn d_01_a_filter_that_is_none_ends_the_connection_and_one_that_is_too_deep_fails_alone() {
    let deep = "/".repeat(65_400);
    refused_alone(&[&deep]);
    for filter in ["", "a/#/b", "a#", "a+/b", "#/a", "+a", "a/+b", "##", "a/b#"] {
        is_no_filter(filter);
    }
    for version in VERSIONS {
        refused_after_connect(version, &wire::subscribe(version, 7, "a\0b", 0));
        refused_after_connect(version, &wire::unsubscribe(version, 7, "a\0b"));
        // No filter at all.
        refused_after_connect(version, &wire::subscribe_with(version, 7, &[], &[("", 0); 0]));
        refused_after_connect(version, &wire::unsubscribe_all(version, 7, &[""; 0]));
    }
    let broker = PLAIN.get();
    let mut client = anybody(&broker, V5);
    let deepest = "+/".repeat(63) + "#";
    for fine in ["/", "+", "#", "/+/#", "$SYS/#", "a b/ä", &deepest] {
        assert_eq!(client.codes(&wire::subscribe(V5, 7, fine, 0)), [0], "{fine}");
        assert_eq!(client.codes(&wire::unsubscribe(V5, 8, fine)), [0], "{fine}");
    }
    assert_alive(&broker);
}

/// v5: MQTT-4.8.2-1, MQTT-4.8.2-2
#[test]
fn d_02_a_shared_subscription_has_a_name_and_a_filter() {
    for filter in ["$share", "$share/", "$share//t", "$share/g", "$share/g/", "$share/g+/t", "$share/g#/t"] {
        is_no_filter(filter);
    }
    let broker = PLAIN.get();
    let topic = unique("d02");
    // The prefix is written in one way; this is a topic like others.
    let ordinary = format!("$SHARE/g/{topic}");
    let mut client = anybody(&broker, V5);
    client.subscribe(&ordinary, 1).publish(&topic, "not for it").publish(&ordinary, "for it");
    assert_eq!(client.message(), (ordinary, "for it".to_owned()));
    assert_alive(&broker);
}

#[test]
fn d_02_the_members_of_a_group_share_and_others_have_their_own() {
    const MESSAGES: usize = 30;
    let broker = PLAIN.get();
    let topic = unique("d02/shared");
    let mut members = VERSIONS.map(|version| {
        let mut client = anybody(&broker, version);
        client.subscribe(&format!("$share/group/{topic}"), 1);
        client
    });
    let mut alone = anybody(&broker, V5);
    alone.subscribe(&format!("$share/other/{topic}"), 0).subscribe(&topic, 0);
    let mut publisher = anybody(&broker, V5);
    for n in 0..MESSAGES {
        publisher.publish(&topic, &n.to_string());
    }
    // The other group has one member, which is subscribed as itself too: two copies of each.
    let mut copies = (0..2 * MESSAGES).map(|_| alone.message().1.parse::<usize>().unwrap()).collect::<Vec<_>>();
    copies.sort_unstable();
    assert_eq!(copies, (0..2 * MESSAGES).map(|n| n / 2).collect::<Vec<_>>());
    let shares = members
        .each_mut()
        .map(|member| (0..MESSAGES / 2).map(|_| member.message().1.parse::<usize>().unwrap()).collect::<Vec<_>>());
    for share in &shares {
        assert!(share.is_sorted(), "{shares:?}");
    }
    let mut all = shares.concat();
    all.sort_unstable();
    assert_eq!(all, (0..MESSAGES).collect::<Vec<_>>());
    for member in &mut members {
        member.ping();
    }
    assert_alive(&broker);
}

/// v5: MQTT-3.8.3-4, MQTT-3.8.3-3
#[test]
fn d_03_no_local_is_not_for_shared_subscriptions() {
    const NO_LOCAL: u8 = 0b100;
    disconnected_with(&wire::subscribe(V5, 7, "$share/g/d03", NO_LOCAL | 1), 0x82);
    let broker = PLAIN.get();
    let topic = unique("d03");
    let mut client = anybody(&broker, V5);
    assert_eq!(client.codes(&wire::subscribe(V5, 7, &topic, NO_LOCAL | 1)), [1]);
    client.publish(&topic, "own");
    anybody(&broker, V5).publish(&topic, "another's");
    assert_eq!(client.message().1, "another's");
    assert_alive(&broker);
}

/// v5: MQTT-4.7.2-1
/// v3.1.1: MQTT-4.7.2-1
#[test]
fn d_04_a_leading_wildcard_does_not_match_a_leading_dollar() {
    let broker = plain_broker();
    for version in VERSIONS {
        let mut wild = anybody(&broker, version);
        wild.subscribe("#", 0).subscribe("+/info", 0);
        let mut named = anybody(&broker, version);
        named.subscribe("$x/+", 1).subscribe("$x/info", 0);
        let mut publisher = anybody(&broker, V5);
        publisher.publish("$x/info", "by name");
        assert_eq!(named.message(), ("$x/info".to_owned(), "by name".to_owned()));
        // `$SYS` is the broker's own.
        publisher.send(&wire::publish(V5, "$SYS/x", 1, 9, "forged"));
        assert_eq!(publisher.expect(kind::PUBACK).acknowledgement_code(), 0x87);
        publisher.publish("fence", "x");
        assert_eq!(wild.message().0, "fence");
    }
    assert_alive(&broker);
}

/// v5: MQTT-3.8.3-5
/// v3.1.1: MQTT-3.8.3-4
#[test]
fn d_05_reserved_options_close() {
    for options in [0x40, 0x80, 0x03, 0x30, 0xFF] {
        disconnected_with(&wire::subscribe(V5, 7, "d05", options), 0x81);
    }
    for options in [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80] {
        refused_after_connect(V3_1_1, &wire::subscribe(V3_1_1, 7, "d05", options));
    }
    let broker = PLAIN.get();
    // All that may be asked for: Retain Handling 2, Retain As Published, No Local, QoS 2.
    assert_eq!(anybody(&broker, V5).codes(&wire::subscribe(V5, 7, "d05", 0x2E)), [2]);
    assert_alive(&broker);
}

/// Filters of one client that share nothing but their first level.
fn distinct(client: usize, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("d06/{client}/{n}/+/x")).collect()
}

fn subscribe_all(client: &mut Client, version: u8, filters: &[String]) -> Vec<u8> {
    let one = |batch: &[String]| {
        let with_options = batch.iter().map(|filter| (filter, 0)).collect::<Vec<_>>();
        wire::subscribe_with(version, 7, &[], &with_options)
    };
    filters.chunks(500).flat_map(|batch| client.codes(&one(batch))).collect()
}

#[test]
fn d_06_one_clients_subscriptions_have_a_limit_and_giving_them_up_makes_room() {
    const LIMIT: usize = 1_000;
    let broker = PLAIN.get();
    for version in VERSIONS {
        let mut client = anybody(&broker, version);
        let filters = distinct(usize::from(version), 10_000);
        let codes = subscribe_all(&mut client, version, &filters);
        let refused = if version == V5 { 0x97 } else { 0x80 };
        assert!(codes[..LIMIT].iter().all(|&code| code == 0), "{:?}", &codes[..LIMIT]);
        assert!(codes[LIMIT..].iter().all(|&code| code == refused), "{:?}", &codes[LIMIT..]);
        // One that is there already is no further one.
        assert_eq!(client.codes(&wire::subscribe(version, 7, &filters[0], 1)), [1]);
        for batch in filters.chunks(1_000) {
            let codes = client.codes(&wire::unsubscribe_all(version, 8, batch));
            assert!(version != V5 || codes.iter().all(|&code| code == 0 || code == 0x11), "{codes:?}");
        }
        assert_eq!(client.codes(&wire::subscribe(version, 7, &filters[LIMIT], 1)), [1]);
    }
    assert_alive(&broker);
}

#[test]
fn d_06_what_many_subscriptions_took_is_given_back() {
    const CLIENTS: usize = 40;
    const FILTERS: usize = 1_000;
    /// One filter costs far more than this: so much growth would be a list that nobody clears.
    const BYTES_PER_FILTER: usize = 32;
    const ROUNDS: usize = 16;
    let broker = plain_broker();
    let mut clients = (0..CLIENTS).map(|_| anybody(&broker, V5)).collect::<Vec<_>>();
    let mut cycle = || {
        for (number, client) in clients.iter_mut().enumerate() {
            let codes = subscribe_all(client, V5, &distinct(number, FILTERS));
            assert!(codes.iter().all(|&code| code == 0));
        }
        let full = broker.resident_bytes();
        for (number, client) in clients.iter_mut().enumerate() {
            let filters = distinct(number, FILTERS);
            assert!(client.codes(&wire::unsubscribe_all(V5, 8, &filters)).iter().all(|&code| code == 0));
        }
        full.max(broker.resident_bytes())
    };
    // The allocator keeps what the first rounds took, for each thread that a realm ran on. A list that nobody clears
    // would grow in every round.
    let slack = u64::try_from(CLIENTS * FILTERS * BYTES_PER_FILTER).unwrap();
    let (mut peak, mut quiet, mut seen) = (0, 0, Vec::new());
    while quiet < 2 {
        assert!(seen.len() < ROUNDS, "it grows and grows: {seen:?}");
        let bytes = cycle();
        quiet = if bytes < peak + slack { quiet + 1 } else { 0 };
        peak = peak.max(bytes);
        seen.push(bytes);
    }
    assert_alive(&broker);
}

/// v5: MQTT-3.3.4-2, MQTT-3.3.4-3, MQTT-3.3.4-5
#[test]
fn d_07_overlapping_filters_are_one_message_of_the_highest_qos_with_all_identifiers() {
    let broker = plain_broker();
    let mut client = anybody(&broker, V5);
    for (id, filter, qos) in [(1, "a/+", 0), (2, "a/#", 1), (3, "#", 2)] {
        assert_eq!(client.codes(&wire::subscribe_with(V5, 7, &[0x0B, id], &[(filter, qos)])), [qos]);
    }
    let mut publisher = anybody(&broker, V5);
    let mut publish = |topic: &str| {
        publisher.send(&wire::publish(V5, topic, 2, 7, topic)).expect(kind::PUBREC);
        publisher.send(&wire::acknowledge(kind::PUBREL, 7)).expect(kind::PUBCOMP);
    };
    let mut comes = |client: &mut Client, topic: &str, qos: u8, ids: &[usize]| {
        publish(topic);
        let packet = client.expect(kind::PUBLISH);
        assert_eq!((packet.qos(), packet.subscription_ids()), (qos, ids.to_vec()), "{packet:?}");
        let (got, id, _) = packet.published(V5);
        assert_eq!(got, topic);
        if qos == 2 {
            client.send(&wire::acknowledge(kind::PUBREC, id)).expect(kind::PUBREL);
            client.send(&wire::acknowledge(kind::PUBCOMP, id));
        }
        // One copy, not one for each filter.
        client.ping();
    };
    comes(&mut client, "a/b", 2, &[1, 2, 3]);
    comes(&mut client, "a/b/c", 2, &[2, 3]);
    comes(&mut client, "b", 2, &[3]);
    assert_eq!(client.codes(&wire::unsubscribe(V5, 8, "#")), [0]);
    comes(&mut client, "a/b", 1, &[1, 2]);
    // Subscribed again without an identifier, it has none.
    assert_eq!(client.codes(&wire::subscribe(V5, 7, "a/#", 0)), [0]);
    comes(&mut client, "a/b", 0, &[1]);
    assert_alive(&broker);
}

/// v5: MQTT-3.3.1-8, MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11, MQTT-3.3.1-12, MQTT-3.8.4-4, MQTT-3.8.4-8
#[test]
fn d_08_retain_handling_says_when_retained_messages_come_and_the_granted_qos_how() {
    const ID: [u8; 2] = [0x0B, 42];
    let broker = PLAIN.get();
    let topic = unique("d08");
    let mut publisher = anybody(&broker, V5);
    publisher.send(&wire::retain(V5, &topic, 2, 7, "kept")).expect(kind::PUBREC);
    publisher.send(&wire::acknowledge(kind::PUBREL, 7)).expect(kind::PUBCOMP);
    // Retain Handling, and whether the message comes at the first SUBSCRIBE and at the next.
    for (handling, first, again) in [(0, true, true), (1, true, false), (2, false, false)] {
        let mut client = anybody(&broker, V5);
        for comes in [first, again] {
            assert_eq!(client.codes(&wire::subscribe_with(V5, 7, &ID, &[(&topic, handling << 4)])), [0]);
            if comes {
                let packet = client.expect(kind::PUBLISH);
                assert_eq!((packet.qos(), packet.retained(), packet.is_dup()), (0, true, false), "{handling}");
                assert_eq!(packet.subscription_ids(), [42]);
                assert_eq!(packet.published(V5).2, b"kept");
            }
            // Nothing before this, which is live and says so.
            publisher.publish(&topic, "live");
            let packet = client.expect(kind::PUBLISH);
            assert_eq!((packet.published(V5).2, packet.retained()), (b"live".to_vec(), false), "{handling}");
        }
    }
    let mut old = anybody(&broker, V3_1_1);
    for _ in 0..2 {
        old.subscribe(&topic, 1);
        let packet = old.expect(kind::PUBLISH);
        assert_eq!((packet.qos(), packet.retained()), (1, true));
    }
    // A shared subscription has none, and an empty message takes it away.
    let mut member = anybody(&broker, V5);
    member.subscribe(&format!("$share/g/{topic}"), 1);
    publisher.publish(&topic, "live");
    assert_eq!(member.message().1, "live");
    publisher.send(&wire::retain(V5, &topic, 1, 8, "")).expect(kind::PUBACK);
    let mut late = anybody(&broker, V5);
    late.subscribe(&topic, 0);
    publisher.publish(&topic, "fence");
    assert_eq!(late.message().1, "fence");
    assert_alive(&broker);
}

#[test]
fn d_11_many_retained_messages_to_a_slow_reader_hold_nobody_up() {
    const TOPICS: usize = 30_000;
    const BATCH: usize = 1_000;
    const PAYLOAD_BYTES: usize = 200;
    const GROWTH_BYTES_MAX: u64 = 16 << 20;
    /// Of a replay that is cut, this much must come all the same.
    const LEAST: usize = 1_000;
    let broker = plain_broker();
    let mut publisher = anybody(&broker, V5);
    for batch in 0..TOPICS / BATCH {
        let topics = (batch * BATCH..(batch + 1) * BATCH).map(|n| format!("d11/{}/{n}", n % 100));
        let all = topics.flat_map(|topic| wire::publish_with(V5, 1, topic, 0, &[], vec![b'x'; PAYLOAD_BYTES]));
        publisher.send(&all.collect::<Vec<_>>()).ping();
    }
    assert_alive(&broker);
    let before = broker.resident_bytes();
    for qos in [0, 1] {
        let mut slow = anybody(&broker, V5);
        slow.subscribe("d11/#", qos);
        // It reads nothing for now.
        for _ in 0..3 {
            assert_alive(&broker);
        }
        let grown = broker.resident_bytes().saturating_sub(before);
        assert!(grown < GROWTH_BYTES_MAX, "resident memory grew by {grown} bytes");
        let mut topics = HashSet::new();
        while topics.len() < LEAST {
            let packet = slow.expect(kind::PUBLISH);
            assert!(packet.retained(), "{packet:?}");
            let (topic, id, _) = packet.published(V5);
            if packet.qos() == 1 {
                slow.send(&wire::acknowledge(kind::PUBACK, id));
            }
            assert!(topics.insert(topic), "{packet:?} came twice");
        }
    }
    assert_alive(&broker);
}

/// v5: MQTT-3.10.4-1, MQTT-3.11.3-1
/// v3.1.1: MQTT-3.10.4-1
#[test]
fn d_12_unsubscribe_names_the_filter_byte_for_byte() {
    let broker = PLAIN.get();
    // One letter, and the same out of two characters.
    let stem = unique("d12");
    let (composed, decomposed) = (format!("{stem}/H\u{00E4}user"), format!("{stem}/Ha\u{0308}user"));
    for version in VERSIONS {
        let mut client = anybody(&broker, version);
        client.subscribe(&composed, 1);
        let others = [composed.to_lowercase(), composed.to_uppercase(), decomposed.clone(), format!("{stem}/+")];
        let codes = client.codes(&wire::unsubscribe_all(version, 8, &others));
        assert_eq!(codes, if version == V5 { vec![0x11; 4] } else { Vec::new() });
        let mut publisher = anybody(&broker, V5);
        publisher.publish(&decomposed, "another topic").publish(&composed, "still subscribed");
        assert_eq!(client.message(), (composed.clone(), "still subscribed".to_owned()));
        assert_eq!(
            client.codes(&wire::unsubscribe(version, 8, &composed)),
            if version == V5 { vec![0] } else { vec![] }
        );
        publisher.publish(&composed, "gone");
        client.ping();
    }
    assert_alive(&broker);
}
